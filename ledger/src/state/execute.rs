//! Execution: transactions applied one after another to a parent state.
//!
//! Two kinds of failure, and only two. A transaction that is *inadmissible* (unknown sender, wrong nonce, expired) may
//! not stand in a block, and makes a block that has it invalid. One whose operations fail stands in the block with its
//! [`Code`], and changes nothing but its sender's nonce. Both follow from the parent state and the bytes alone.
//!
//! Nothing here panics, overflows or reads a clock. The sum of all balances never changes.

mod attempt;
mod outcome;

pub use outcome::{Code, Outcome};

use super::{
    State, apply,
    entries::{Account, Entry, Key, ValidatorSets},
    read_at,
    tree::{Change, Op, Place},
};
use crate::{
    block::{Block, transaction_ids_hash, transactions_root},
    codec,
    genesis::Parameters,
    hash::{Address, StateRoot, TransactionIdsHash, TransactionsRoot, TxId, ValidatorSetHash},
    transaction::{TransactionError, VerifiedTransaction},
    units::{Height, Nonce},
};
use attempt::{Adopted, Attempt};
use std::{collections::BTreeMap, sync::Arc};

/// Why a transaction may not be in the next block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inadmissible {
    /// It breaks a limit of the chain.
    #[error(transparent)]
    Limits(#[from] TransactionError),
    /// The sender has no account.
    #[error("the account {0} does not exist")]
    UnknownSender(Address),
    /// The nonce was used.
    #[error("the nonce {found} was used already, the account's next is {expected}")]
    StaleNonce {
        /// The nonce it has.
        found: Nonce,
        /// The one it needs.
        expected: Nonce,
    },
    /// The nonce is not yet due.
    #[error("the nonce {found} is ahead of the account's next, {expected}")]
    FutureNonce {
        /// The nonce it has.
        found: Nonce,
        /// The one it needs.
        expected: Nonce,
    },
    /// Its time has passed.
    #[error("the transaction was valid up to height {last_valid}, the next block is {height}")]
    Expired {
        /// The last height it could be in.
        last_valid: Height,
        /// The height it would be in.
        height: Height,
    },
}

/// Why a block is not valid after its parent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlock {
    /// It is not for the height after the parent.
    #[error("the block is for height {found}, the next is {expected}")]
    Height {
        /// Its height.
        found: Height,
        /// The next.
        expected: Height,
    },
    /// Its transactions are too large together.
    #[error("the block's transactions have {found} bytes, at most {max} are allowed")]
    TooLarge {
        /// Bytes they have.
        found: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// A transaction in it may not be there.
    #[error("transaction {id} may not be in the block: {why}")]
    Transaction {
        /// Which.
        id: TxId,
        /// Why.
        why: Inadmissible,
    },
    /// A header's claim is not what execution finds.
    #[error("the header says {what} {claimed}, execution finds {found}")]
    Mismatch {
        /// Which claim.
        what: &'static str,
        /// What the header says.
        claimed: crate::hash::Hash,
        /// What execution finds.
        found: crate::hash::Hash,
    },
}

/// A state in the making: the parent's, with the changes of the transactions so far laid over it.
pub struct Execution<'a> {
    parent: &'a State,
    height: Height,
    parameters: Parameters,
    /// The sets as they are after this block if no more changes come.
    sets: ValidatorSets,
    changed: Overlay,
    bytes: u64,
    outcomes: Vec<(TxId, Outcome)>,
}

/// Encoded entries by place; none where one was removed.
type Overlay = BTreeMap<Place, (Vec<u8>, Option<Vec<u8>>)>;

/// What a block's execution came to.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The state after it.
    pub state: State,
    /// What became of each transaction, in order.
    pub outcomes: Vec<(TxId, Outcome)>,
}

impl Executed {
    /// The hash of the list of its transactions.
    pub fn transaction_ids(&self) -> TransactionIdsHash {
        transaction_ids_hash(self.outcomes.iter().map(|(id, _)| *id))
    }

    /// The root over the transactions and their outcomes.
    pub fn transactions_root(&self) -> TransactionsRoot {
        transactions_root(self.outcomes.iter().map(|(id, outcome)| (*id, outcome)))
    }
}

impl<'a> Execution<'a> {
    /// Starts the block after `parent`.
    pub fn new(parent: &'a State) -> Self {
        let sets = parent.validators();
        Self {
            parent,
            height: parent.height().next(),
            parameters: *parent.parameters(),
            sets: ValidatorSets {
                current: sets.next.clone(),
                next: sets.after_next.clone(),
                after_next: sets.after_next.clone(),
            },
            changed: Overlay::new(),
            bytes: 0,
            outcomes: Vec::new(),
        }
    }

    /// Bytes that the block has left for transactions.
    pub const fn bytes_left(&self) -> u64 {
        self.parent
            .parameters()
            .block_bytes_max
            .saturating_sub(self.bytes)
    }

    /// Applies one transaction. If it is inadmissible, nothing has changed.
    ///
    /// # Errors
    /// [`Inadmissible`] names the reason.
    pub fn apply(&mut self, transaction: &VerifiedTransaction) -> Result<Outcome, Inadmissible> {
        transaction.check_limits(self.parent.parameters())?;
        let sender = transaction.sender();
        let mut account: Account = self
            .read(&sender)
            .ok_or(Inadmissible::UnknownSender(sender))?;
        admissible(&account, transaction, self.height)?;
        account.nonce = account.nonce.next();
        self.write(&sender, &account);
        let mut attempt = Attempt {
            execution: self,
            changed: Overlay::new(),
            proposals: vec![],
        };
        let result = transaction
            .operations
            .iter()
            .try_for_each(|operation| attempt.operation(sender, operation));
        let outcome = match result {
            Ok(()) => {
                let Attempt {
                    changed, proposals, ..
                } = attempt;
                self.changed.extend(changed);
                for proposal in proposals {
                    self.adopt(proposal);
                }
                Outcome::APPLIED
            }
            Err(outcome) => outcome,
        };
        self.bytes += transaction.encoded_bytes();
        self.outcomes.push((transaction.id(), outcome));
        Ok(outcome)
    }

    fn adopt(&mut self, proposal: Adopted) {
        match proposal {
            Adopted::Validators(set) => self.sets.after_next = set,
            Adopted::Parameters(parameters) => self.parameters = parameters,
        }
    }

    /// Ends the block.
    pub fn finish(mut self) -> Executed {
        let sets = std::mem::replace(&mut self.sets, self.parent.validators().clone());
        if sets != *self.parent.validators() {
            self.write(&(), &sets);
        }
        if self.parameters != *self.parent.parameters() {
            let parameters = self.parameters;
            self.write(&(), &parameters);
        }
        let changes = self.changed.iter().map(|(place, (key, value))| {
            let op = value
                .as_ref()
                .map_or(Op::Remove, |value| Op::Put { key, value });
            Change { place: *place, op }
        });
        let state = State {
            height: self.height,
            tree: apply(self.parent.tree().clone(), &changes.collect::<Vec<_>>()),
            parameters: self.parameters,
            validators: Arc::new(sets),
        };
        Executed {
            state,
            outcomes: self.outcomes,
        }
    }

    /// Executes a whole block and holds its header against what comes of it.
    ///
    /// # Errors
    /// [`InvalidBlock`] names the first fault.
    pub fn run(parent: &'a State, block: &Block) -> Result<Executed, InvalidBlock> {
        let header = &block.header;
        let mut execution = Self::new(parent);
        if header.height != execution.height {
            let (found, expected) = (header.height, execution.height);
            return Err(InvalidBlock::Height { found, expected });
        }
        let found = block
            .transactions
            .iter()
            .map(VerifiedTransaction::encoded_bytes)
            .sum();
        let max = parent.parameters().block_bytes_max;
        if found > max {
            return Err(InvalidBlock::TooLarge { found, max });
        }
        for transaction in &block.transactions {
            execution
                .apply(transaction)
                .map_err(|why| InvalidBlock::Transaction {
                    id: transaction.id(),
                    why,
                })?;
        }
        let executed = execution.finish();
        let sets = executed.state.validators();
        let (root, current, next): (StateRoot, ValidatorSetHash, ValidatorSetHash) =
            (executed.state.root(), sets.current.hash(), sets.next.hash());
        let claims = [
            ("validators", header.validators.into(), current.into()),
            (
                "next validators",
                header.next_validators.into(),
                next.into(),
            ),
            (
                "transaction ids",
                header.transaction_ids.into(),
                executed.transaction_ids().into(),
            ),
            (
                "transactions root",
                header.transactions_root.into(),
                executed.transactions_root().into(),
            ),
            ("state root", header.state_root.into(), root.into()),
        ];
        for (what, claimed, found) in claims {
            if claimed != found {
                return Err(InvalidBlock::Mismatch {
                    what,
                    claimed,
                    found,
                });
            }
        }
        Ok(executed)
    }

    fn read<E: Entry>(&self, name: &E::Name) -> Option<E> {
        let key = E::key(name);
        let place = key.place();
        match self.changed.get(&place) {
            Some(entry) => from_overlay(&key, entry),
            None => read_at(self.parent.tree(), &key, &place),
        }
    }

    fn write<E: Entry>(&mut self, name: &E::Name, entry: &E) {
        write(&mut self.changed, &E::key(name), Some(codec::encode(entry)));
    }
}

/// Whether a transaction may be in the block of `height`, given its sender's account.
pub(super) fn admissible(
    account: &Account,
    transaction: &VerifiedTransaction,
    height: Height,
) -> Result<(), Inadmissible> {
    let (found, expected) = (transaction.nonce, account.nonce);
    let last_valid = transaction.last_valid;
    if last_valid < height {
        return Err(Inadmissible::Expired { last_valid, height });
    }
    match found.cmp(&expected) {
        std::cmp::Ordering::Less => Err(Inadmissible::StaleNonce { found, expected }),
        std::cmp::Ordering::Greater => Err(Inadmissible::FutureNonce { found, expected }),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

fn write(overlay: &mut Overlay, key: &Key, value: Option<Vec<u8>>) {
    overlay.insert(key.place(), (key.encode(), value));
}

fn from_overlay<E: Entry>(key: &Key, (found, value): &(Vec<u8>, Option<Vec<u8>>)) -> Option<E> {
    if *found != key.encode() {
        return None;
    }
    codec::decode_unchecked(value.as_deref()?, super::VALUE_BYTES_MAX).ok()
}
