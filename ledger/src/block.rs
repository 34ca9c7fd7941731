//! Blocks: a header that carries the state root after the block, the transactions, and the certificate of the parent.
//!
//! A block's hash is its header's. The header names everything the block's validity depends on: the parent, the
//! transactions with their outcomes, the resulting state, and the validators of this height and the next.
//!
//! What a header must say about its parent and its voters is in [`rules`].

pub mod rules;
#[cfg(test)]
mod tests;

use crate::{
    certificate::Certificate,
    codec::{self, CodecError},
    hash::{
        Address, BlockHash, CertificateHash, ChainId, Domain, Hash, Hasher, StateRoot,
        TransactionIdsHash, TransactionsRoot, TxId, ValidatorSetHash, hash,
    },
    state::Outcome,
    transaction::{SignedTransaction, TransactionError, VerifiedTransaction, verify_batch},
    units::{Height, Round, TimestampMs},
    untrusted::Untrusted,
};
use serde::{Deserialize, Serialize};

/// Bytes of the largest encoded block with its certificate that is read from a peer or a disk.
pub const BLOCK_BYTES_MAX: usize = 20 << 20;

/// What a block's hash covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The protocol's version.
    pub protocol_version: u32,
    /// The chain.
    pub chain: ChainId,
    /// The block's height, from 1.
    pub height: Height,
    /// The round it was first proposed in; one proposed again later keeps it.
    pub round: Round,
    /// The block before; all zeros for the first.
    pub parent: BlockHash,
    /// The certificate of the block before that stands in this block; all zeros for the first.
    pub parent_certificate: CertificateHash,
    /// When, as its proposer says. Later than the parent's; otherwise only data.
    pub time: TimestampMs,
    /// Who made it: the proposer of its height and round.
    pub proposer: Address,
    /// Its transactions, in order: whoever has a list of ids knows at once whether it is this block's.
    pub transaction_ids: TransactionIdsHash,
    /// The root over its transactions and their outcomes.
    pub transactions_root: TransactionsRoot,
    /// The root of the whole state after it.
    pub state_root: StateRoot,
    /// The validators who vote on it.
    pub validators: ValidatorSetHash,
    /// The validators who vote on the next.
    pub next_validators: ValidatorSetHash,
}

impl Header {
    /// The block's hash.
    pub fn hash(&self) -> BlockHash {
        hash(Domain::Header, &codec::encode(self)).into()
    }
}

/// A block whose transactions are verified. Whether it is *valid* only its execution tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The transactions, in order.
    pub transactions: Vec<VerifiedTransaction>,
    /// The proof that the parent is final; none for the first block.
    pub parent_certificate: Option<Certificate>,
}

impl Block {
    /// The hash of the header.
    pub fn hash(&self) -> BlockHash {
        self.header.hash()
    }

    /// The form that is stored and sent.
    pub fn to_unverified(&self) -> UnverifiedBlock {
        UnverifiedBlock {
            header: self.header.clone(),
            transactions: self
                .transactions
                .iter()
                .map(|t| t.signed().clone())
                .collect(),
            parent_certificate: self.parent_certificate.clone(),
        }
    }
}

/// A block as it is stored and sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnverifiedBlock {
    /// The header.
    pub header: Header,
    /// The transactions.
    pub transactions: Vec<SignedTransaction>,
    /// The parent's certificate.
    pub parent_certificate: Option<Certificate>,
}

impl UnverifiedBlock {
    /// Verifies each transaction's size, chain and signature.
    ///
    /// # Errors
    /// [`BlockError::Transaction`] names the first bad one.
    pub fn verify_transactions(self, chain: &ChainId) -> Result<Block, BlockError> {
        let untrusted = self.transactions.into_iter().map(Untrusted::new).collect();
        let transactions = verify_batch(untrusted, chain)
            .into_iter()
            .enumerate()
            .map(|(index, t)| t.map_err(|source| BlockError::Transaction { index, source }))
            .collect::<Result<_, _>>()?;
        Ok(Block {
            header: self.header,
            transactions,
            parent_certificate: self.parent_certificate,
        })
    }

    /// The block, without checking signatures again: for a block of this node's own log or write-ahead log, which it
    /// checked before it wrote them. Executing it still proves its transactions and state roots.
    ///
    /// Nothing in its type says where the block is from: `tests/tidy.rs` keeps the list of those who may call this.
    pub fn from_own_log(self) -> Block {
        let verified = |t: SignedTransaction| VerifiedTransaction::from_own_log(t);
        Block {
            header: self.header,
            transactions: self.transactions.into_iter().map(verified).collect(),
            parent_certificate: self.parent_certificate,
        }
    }
}

/// A block with the certificate that makes it final and what came of its transactions, as the log keeps it and peers
/// send it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedBlock {
    /// The block.
    pub block: UnverifiedBlock,
    /// Its certificate.
    pub certificate: Certificate,
    /// What became of each transaction, in order, so that an index is made without executing anything. The header
    /// proves the codes ([`verified_outcomes`](Self::verified_outcomes)); the figures beside them are only told.
    pub outcomes: Vec<Outcome>,
}

impl CommittedBlock {
    /// Decodes one from outside.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Untrusted<Self>, CodecError> {
        codec::decode(bytes, BLOCK_BYTES_MAX).map(Untrusted::new)
    }

    /// The header of one that this node has logged, without decoding the rest.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn logged_header(payload: &[u8]) -> Result<Header, CodecError> {
        codec::decode_first(payload)
    }

    /// The transactions' ids with their outcomes, once the codes are those that the header's transactions root covers.
    ///
    /// # Errors
    /// [`BlockError::OutcomeCount`], [`BlockError::Outcomes`].
    pub fn verified_outcomes(&self) -> Result<Vec<(TxId, Outcome)>, BlockError> {
        let ids = self.block.transactions.iter().map(SignedTransaction::id);
        self.outcomes_of(ids)
    }

    /// As [`verified_outcomes`](Self::verified_outcomes), for ids that are computed already.
    ///
    /// # Errors
    /// [`BlockError::OutcomeCount`], [`BlockError::Outcomes`].
    pub fn outcomes_of(
        &self,
        ids: impl ExactSizeIterator<Item = TxId>,
    ) -> Result<Vec<(TxId, Outcome)>, BlockError> {
        let (found, expected) = (self.outcomes.len(), ids.len());
        if found != expected {
            return Err(BlockError::OutcomeCount { found, expected });
        }
        let outcomes: Vec<_> = ids.zip(self.outcomes.iter().copied()).collect();
        let found = transactions_root(outcomes.iter().map(|(id, outcome)| (*id, outcome)));
        let claimed = self.block.header.transactions_root;
        if found != claimed {
            return Err(BlockError::Outcomes { claimed, found });
        }
        Ok(outcomes)
    }
}

impl Untrusted<CommittedBlock> {
    /// Checks that the transactions and the parent's certificate are those that the header names. Whether they are any
    /// good, and the header itself, are other questions: [`UnverifiedBlock::verify_transactions`] answers for the
    /// transactions, consensus for the certificate, and executing the block for the rest.
    ///
    /// # Errors
    /// [`Misplaced`](rules::Misplaced).
    pub fn verify_body(self) -> Result<CommittedBlock, rules::Misplaced> {
        let UnverifiedBlock {
            header,
            transactions,
            parent_certificate,
        } = &self.claim().block;
        let ids = transactions.iter().map(SignedTransaction::id);
        header.check_body(ids, parent_certificate.as_ref())?;
        Ok(self.into_verified())
    }
}

/// A header with the certificate that makes it final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedHeader {
    /// The header.
    pub header: Header,
    /// Its certificate.
    pub certificate: Certificate,
}

/// Why a block is refused before it is executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// A transaction in it is bad in itself.
    #[error("transaction {index} of the block: {source}")]
    Transaction {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        source: TransactionError,
    },
    /// Not one outcome a transaction.
    #[error("the block came with {found} outcomes for {expected} transactions")]
    OutcomeCount {
        /// Outcomes that came.
        found: usize,
        /// Transactions it has.
        expected: usize,
    },
    /// Outcomes, or transactions, that are not those of the header.
    #[error(
        "the header says transactions root {claimed}, the transactions and outcomes that came give {found}"
    )]
    Outcomes {
        /// What the header says.
        claimed: TransactionsRoot,
        /// What they give.
        found: TransactionsRoot,
    },
}

/// The hash of a list of transactions, by id, in order.
pub fn transaction_ids_hash(ids: impl IntoIterator<Item = TxId>) -> TransactionIdsHash {
    let hasher = Hasher::new(Domain::TransactionIds);
    ids.into_iter().fold(hasher, Hasher::chain).finish().into()
}

/// The root over a block's transactions and their outcomes: a Merkle tree as in RFC 6962, whose leaves are
/// (id, outcome code), and whose root also covers how many there are.
pub fn transactions_root<'a>(
    transactions: impl IntoIterator<Item = (TxId, &'a Outcome)>,
) -> TransactionsRoot {
    let leaves: Vec<Hash> = transactions
        .into_iter()
        .map(|(id, outcome)| {
            let code = outcome.code as u16;
            Hasher::new(Domain::TransactionLeaf)
                .chain(id)
                .chain(code.to_be_bytes())
                .finish()
        })
        .collect();
    let count = (leaves.len() as u64).to_be_bytes();
    Hasher::new(Domain::TransactionInner)
        .chain(count)
        .chain(fold(&leaves))
        .finish()
        .into()
}

fn fold(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::default(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Hasher::new(Domain::TransactionInner)
                .chain(fold(left))
                .chain(fold(right))
                .finish()
        }
    }
}
