//! Transactions: what a sender signs, and what is checked before anything is done with one.
//!
//! A transaction is one or more operations that all apply or none. Its id covers the signature. Whether it is *valid*
//! (may stand in a block) depends on the parent state and its bytes alone; whether its operations *succeed* is recorded
//! beside it in the block as an [`Outcome`](crate::state::Outcome).

use crate::{
    codec,
    genesis::Parameters,
    hash::{Address, ChainId, Domain, TxId, hash},
    keys::{Batch, PublicKey, SecretKey, Signature},
    units::{Amount, Height, Nonce, Power, Version},
    untrusted::Untrusted,
};
use serde::{Deserialize, Serialize};
use std::{ops::Deref, sync::Arc};

/// Bytes that a space's name may have.
pub const SPACE_NAME_BYTES_MAX: usize = 64;
/// Writers that a space may have: its entry stays small.
pub const SPACE_WRITERS_MAX: usize = 64;
/// Bytes of the largest transaction any chain may allow. One message of the network carries it with room to spare.
pub const TRANSACTION_BYTES_MAX: usize = 1 << 20;

/// A change that a transaction asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Moves an amount to another account, which need not exist.
    Transfer {
        /// Who receives it.
        to: Address,
        /// How much.
        amount: Amount,
    },
    /// Makes a space, in which its writers may keep records.
    CreateSpace {
        /// Its name: 1 to 64 bytes.
        space: String,
        /// Who may write besides the sender, who owns it.
        writers: Vec<Address>,
    },
    /// Replaces a space's writers. Only the owner may.
    SetWriters {
        /// The space.
        space: String,
        /// Who may write besides the owner.
        writers: Vec<Address>,
    },
    /// Writes a record.
    Put {
        /// The space.
        space: String,
        /// The record's key.
        #[serde(with = "codec::bytes")]
        key: Vec<u8>,
        /// Its new value.
        #[serde(with = "codec::bytes")]
        value: Vec<u8>,
        /// Write only if this is the record's version now (0: only if it is absent).
        expected: Option<Version>,
    },
    /// Removes a record.
    Delete {
        /// The space.
        space: String,
        /// The record's key.
        #[serde(with = "codec::bytes")]
        key: Vec<u8>,
        /// Remove only if this is the record's version now.
        expected: Option<Version>,
    },
    /// A validator's approval of a change. The approval that brings them past 2/3 of the power makes it.
    Approve {
        /// The change approved.
        proposal: Proposal,
    },
}

/// A change that needs the approval of more than 2/3 of the voting power.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proposal {
    /// Adds a validator, changes its power, or with power 0 removes it.
    Validator {
        /// The validator's key.
        public_key: PublicKey,
        /// Its new power.
        power: Power,
    },
    /// Replaces the chain's parameters.
    Parameters(Parameters),
}

/// What a sender signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// The chain it is for.
    pub chain: ChainId,
    /// The sender's key; the account is its address.
    pub sender: PublicKey,
    /// The number of transactions the sender has made before.
    pub nonce: Nonce,
    /// The last height at which it may be in a block.
    pub last_valid: Height,
    /// What it does, all or nothing.
    pub operations: Vec<Operation>,
}

impl Transaction {
    /// Signs it with the sender's key.
    pub fn sign(self, key: &SecretKey) -> SignedTransaction {
        let signature = key.sign(Domain::TransactionPayload, &codec::encode(&self));
        SignedTransaction {
            transaction: self,
            signature,
        }
    }
}

/// A transaction with its signature, as it is stored and sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTransaction {
    /// What was signed.
    pub transaction: Transaction,
    /// The sender's signature.
    pub signature: Signature,
}

/// Why a transaction is refused whatever the state is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// It is larger than the chain allows.
    #[error("the transaction has {found} bytes, this chain allows {max}")]
    TooLarge {
        /// Bytes it has.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// It is made for another chain.
    #[error("the transaction is for chain {found}, this is chain {expected}")]
    WrongChain {
        /// The chain it names.
        found: ChainId,
        /// This chain.
        expected: ChainId,
    },
    /// It has no operation, or too many.
    #[error("the transaction has {found} operations, it may have 1 to {max}")]
    OperationCount {
        /// Operations it has.
        found: usize,
        /// Operations allowed.
        max: u32,
    },
    /// A part of an operation is outside its limits.
    #[error("operation {index}: {what} has {found} bytes or items, it may have {min} to {max}")]
    OutOfBounds {
        /// Which operation, from 0.
        index: usize,
        /// Which part of it.
        what: &'static str,
        /// Its size.
        found: usize,
        /// The least allowed.
        min: usize,
        /// The most allowed.
        max: usize,
    },
    /// The signature is not the sender's over these bytes.
    #[error("the signature is not the sender's over this transaction")]
    InvalidSignature,
    /// The bytes are no transaction.
    #[error("the bytes are no transaction: {0}")]
    Malformed(String),
}

/// A transaction whose size, chain and signature are verified, with what is derived from it kept beside it.
/// Cloning shares it.
#[derive(Clone, Debug)]
pub struct VerifiedTransaction(Arc<Verified>);

#[derive(Debug)]
struct Verified {
    signed: SignedTransaction,
    id: TxId,
    sender: Address,
    encoded_bytes: u32,
}

impl VerifiedTransaction {
    /// Its id.
    pub fn id(&self) -> TxId {
        self.0.id
    }

    /// The sender's address.
    pub fn sender(&self) -> Address {
        self.0.sender
    }

    /// Bytes of its encoding.
    pub fn encoded_bytes(&self) -> u64 {
        u64::from(self.0.encoded_bytes)
    }

    /// The transaction with its signature.
    pub fn signed(&self) -> &SignedTransaction {
        &self.0.signed
    }
}

impl VerifiedTransaction {
    /// Takes a transaction of a certified block of this node's own log as verified.
    pub(crate) fn from_own_log(signed: SignedTransaction) -> Self {
        let encoded = codec::encode(&signed);
        Self::derive(signed, &encoded)
    }

    fn derive(signed: SignedTransaction, encoded: &[u8]) -> Self {
        Self(Arc::new(Verified {
            id: hash(Domain::TransactionId, encoded).into(),
            sender: signed.transaction.sender.address(),
            encoded_bytes: u32::try_from(encoded.len()).unwrap_or(u32::MAX),
            signed,
        }))
    }
}

impl Deref for VerifiedTransaction {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.0.signed.transaction
    }
}

impl PartialEq for VerifiedTransaction {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for VerifiedTransaction {}

impl SignedTransaction {
    /// The id: the hash of the encoding with the signature.
    pub fn id(&self) -> TxId {
        hash(Domain::TransactionId, &codec::encode(self)).into()
    }

    /// Decodes one from outside.
    ///
    /// # Errors
    /// [`TransactionError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Untrusted<Self>, TransactionError> {
        codec::decode(bytes, TRANSACTION_BYTES_MAX)
            .map(Untrusted::new)
            .map_err(|e| TransactionError::Malformed(e.to_string()))
    }
}

impl VerifiedTransaction {
    /// Holds it against a chain's parameters, which may change: checked when it is taken in, and again in the block.
    ///
    /// # Errors
    /// [`TransactionError`] names the limit that it breaks.
    pub fn check_limits(&self, parameters: &Parameters) -> Result<(), TransactionError> {
        let max = usize::try_from(parameters.transaction_bytes_max).unwrap_or(usize::MAX);
        let found = self.0.encoded_bytes as usize;
        if found > max {
            return Err(TransactionError::TooLarge { found, max });
        }
        let count = self.operations.len();
        let max = parameters.operations_max;
        if count == 0 || !u32::try_from(count).is_ok_and(|n| n <= max) {
            return Err(TransactionError::OperationCount { found: count, max });
        }
        let mut operations = self.operations.iter().enumerate();
        operations.try_for_each(|(index, operation)| check_operation(parameters, index, operation))
    }
}

fn check_operation(
    parameters: &Parameters,
    index: usize,
    operation: &Operation,
) -> Result<(), TransactionError> {
    let within = |what, found: usize, min: usize, max: usize| {
        if (min..=max).contains(&found) {
            Ok(())
        } else {
            Err(TransactionError::OutOfBounds {
                index,
                what,
                found,
                min,
                max,
            })
        }
    };
    let name = |space: &str| within("the space's name", space.len(), 1, SPACE_NAME_BYTES_MAX);
    let key = |key: &[u8]| within("the key", key.len(), 1, parameters.key_bytes_max as usize);
    match operation {
        Operation::Transfer { .. } | Operation::Approve { .. } => Ok(()),
        Operation::CreateSpace { space, writers } | Operation::SetWriters { space, writers } => {
            name(space)?;
            within("the list of writers", writers.len(), 0, SPACE_WRITERS_MAX)
        }
        Operation::Put {
            space,
            key: k,
            value,
            ..
        } => {
            name(space)?;
            key(k)?;
            within(
                "the value",
                value.len(),
                0,
                parameters.value_bytes_max as usize,
            )
        }
        Operation::Delete { space, key: k, .. } => {
            name(space)?;
            key(k)
        }
    }
}

/// Verifies many transactions at once: size and chain of each, then all signatures in one batch.
pub fn verify_batch(
    transactions: Vec<Untrusted<SignedTransaction>>,
    chain: &ChainId,
) -> Vec<Result<VerifiedTransaction, TransactionError>> {
    let mut batch = Batch::with_capacity(transactions.len());
    let prepared: Vec<_> = transactions
        .into_iter()
        .map(|untrusted| {
            let signed = untrusted.into_verified();
            let encoded = codec::encode(&signed);
            let (found, max) = (encoded.len(), TRANSACTION_BYTES_MAX);
            if found > max {
                return Err(TransactionError::TooLarge { found, max });
            }
            if signed.transaction.chain != *chain {
                let (found, expected) = (signed.transaction.chain, *chain);
                return Err(TransactionError::WrongChain { found, expected });
            }
            // The signature is the last field, of fixed size: what is signed is the encoding without it.
            let payload = &encoded[..encoded.len() - 64];
            let sender = &signed.transaction.sender;
            batch.add(
                sender,
                Domain::TransactionPayload,
                payload,
                &signed.signature,
            );
            Ok(VerifiedTransaction::derive(signed, &encoded))
        })
        .collect();
    let mut verdicts = batch.verify().into_iter();
    prepared
        .into_iter()
        .map(|item| {
            let transaction = item?;
            if verdicts.next() == Some(true) {
                Ok(transaction)
            } else {
                Err(TransactionError::InvalidSignature)
            }
        })
        .collect()
}

impl Untrusted<SignedTransaction> {
    /// Verifies size, chain and signature.
    ///
    /// # Errors
    /// [`TransactionError`] names the reason.
    pub fn verify(self, chain: &ChainId) -> Result<VerifiedTransaction, TransactionError> {
        verify_batch(vec![self], chain)
            .pop()
            .unwrap_or(Err(TransactionError::InvalidSignature))
    }
}
