//! Execution: transactions applied one after another to a parent state.
//!
//! Two kinds of failure, and only two. A transaction that is *inadmissible* (unknown sender, wrong nonce, expired) may
//! not stand in a block, and makes a block that has it invalid. One whose operations fail stands in the block with its
//! [`Code`], and changes nothing but its sender's nonce. Both follow from the parent state and the bytes alone.
//!
//! Nothing here panics, overflows or reads a clock. The sum of all balances never changes.

use super::{
    State, apply,
    entries::{Account, Approvals, Entry, Key, Record, Space, ValidatorSets},
    read_at,
    tree::{Change, Op, Place},
};
use crate::{
    block::{Block, transactions_root},
    codec,
    genesis::Parameters,
    hash::{Address, StateRoot, TransactionsRoot, TxId, ValidatorSetHash},
    transaction::{Operation, Proposal, TransactionError, VerifiedTransaction},
    units::{Amount, Height, Nonce, Power, Version},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// What became of a transaction in a block. The number is part of the transactions root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u16)]
pub enum Code {
    /// All its operations were applied.
    Applied = 0,
    /// The sender has less than the amount.
    InsufficientBalance = 1,
    /// The receiver would hold more than an amount can say.
    BalanceOverflow = 2,
    /// There is a space of that name, or one that wants its place.
    SpaceExists = 3,
    /// There is no such space.
    SpaceNotFound = 4,
    /// The sender may not write there.
    NotAWriter = 5,
    /// Only the owner may name a space's writers.
    NotTheOwner = 6,
    /// The record's version is not the expected one.
    VersionMismatch = 7,
    /// There is no such record.
    RecordNotFound = 8,
    /// The space's owner has as many entries as an account may.
    TooManyEntries = 9,
    /// Only a validator may approve.
    NotAValidator = 10,
    /// The sender has approved this already.
    AlreadyApproved = 11,
    /// The change would leave no sound validator set, or parameters out of range.
    UnsoundChange = 12,
}

impl Code {
    const ALL: [Self; 13] = [
        Self::Applied,
        Self::InsufficientBalance,
        Self::BalanceOverflow,
        Self::SpaceExists,
        Self::SpaceNotFound,
        Self::NotAWriter,
        Self::NotTheOwner,
        Self::VersionMismatch,
        Self::RecordNotFound,
        Self::TooManyEntries,
        Self::NotAValidator,
        Self::AlreadyApproved,
        Self::UnsoundChange,
    ];

    /// The code of a number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// What became of a transaction, and the figure that explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What became of it. This alone is agreed on.
    pub code: Code,
    /// The balance or the version found, where that is why. Derived, like an index.
    pub found: u64,
}

impl Outcome {
    /// All operations applied.
    pub const APPLIED: Self = Self {
        code: Code::Applied,
        found: 0,
    };

    /// Says it to a person.
    pub fn message(&self) -> String {
        let found = self.found;
        match self.code {
            Code::Applied => "applied".into(),
            Code::InsufficientBalance => format!("the sender's balance was only {found}"),
            Code::BalanceOverflow => {
                "the receiver's balance would be larger than any amount".into()
            }
            Code::SpaceExists => "the space exists already".into(),
            Code::SpaceNotFound => "there is no such space".into(),
            Code::NotAWriter => "the sender may not write in this space".into(),
            Code::NotTheOwner => "only the owner of a space may name its writers".into(),
            Code::VersionMismatch if found == 0 => "the record does not exist (version 0)".into(),
            Code::VersionMismatch => format!("the record's version was {found}"),
            Code::RecordNotFound => "there is no such record".into(),
            Code::TooManyEntries => {
                format!("the owner of the space has {found} entries already, the most there may be")
            }
            Code::NotAValidator => "only a validator may approve a change".into(),
            Code::AlreadyApproved => "the sender has approved this change already".into(),
            Code::UnsoundChange => "the change would leave unsound validators or parameters".into(),
        }
    }
}

impl From<Code> for Outcome {
    fn from(code: Code) -> Self {
        Self { code, found: 0 }
    }
}

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
    #[error("the header says {what} {claimed:.8}, execution finds {found:.8}")]
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

/// One transaction's operations: all of its changes, until it is known that none fails.
struct Attempt<'e, 'a> {
    execution: &'e Execution<'a>,
    changed: Overlay,
    proposals: Vec<Adopted>,
}

/// A change that has enough approvals.
enum Adopted {
    Validators(crate::validators::ValidatorSet),
    Parameters(Parameters),
}

impl Attempt<'_, '_> {
    fn read<E: Entry>(&self, name: &E::Name) -> Option<E> {
        let key = E::key(name);
        match self.changed.get(&key.place()) {
            Some(entry) => from_overlay(&key, entry),
            None => self.execution.read(name),
        }
    }

    fn write<E: Entry>(&mut self, name: &E::Name, entry: &E) {
        write(&mut self.changed, &E::key(name), Some(codec::encode(entry)));
    }

    fn remove<E: Entry>(&mut self, name: &E::Name) {
        write(&mut self.changed, &E::key(name), None);
    }

    fn operation(&mut self, sender: Address, operation: &Operation) -> Result<(), Outcome> {
        match operation {
            Operation::Transfer { to, amount } => self.transfer(sender, *to, *amount),
            Operation::CreateSpace { space, writers } => self.create_space(sender, space, writers),
            Operation::SetWriters { space, writers } => {
                let mut entry: Space = self.read(space.as_str()).ok_or(Code::SpaceNotFound)?;
                if entry.owner != sender {
                    return Err(Code::NotTheOwner.into());
                }
                entry.writers = distinct(writers);
                self.write(space.as_str(), &entry);
                Ok(())
            }
            Operation::Put {
                space,
                key,
                value,
                expected,
            } => self.put(sender, &(space.clone(), key.clone()), value, *expected),
            Operation::Delete {
                space,
                key,
                expected,
            } => self.delete(sender, &(space.clone(), key.clone()), *expected),
            Operation::Approve { proposal } => self.approve(sender, proposal),
        }
    }

    fn transfer(&mut self, sender: Address, to: Address, amount: Amount) -> Result<(), Outcome> {
        let mut from: Account = self.read(&sender).unwrap_or_default();
        from.balance.0 = from.balance.0.checked_sub(amount.0).ok_or(Outcome {
            code: Code::InsufficientBalance,
            found: from.balance.0,
        })?;
        self.write(&sender, &from);
        let mut receiver: Account = self.read(&to).unwrap_or_default();
        receiver.balance.0 = receiver
            .balance
            .0
            .checked_add(amount.0)
            .ok_or(Code::BalanceOverflow)?;
        self.write(&to, &receiver);
        Ok(())
    }

    fn create_space(
        &mut self,
        sender: Address,
        name: &str,
        writers: &[Address],
    ) -> Result<(), Outcome> {
        // The place, not the name: two names whose first 56 bits are the same cannot both exist.
        let place = Key::Space(name.to_owned()).place();
        let overlaid = self
            .changed
            .get(&place)
            .or_else(|| self.execution.changed.get(&place));
        let taken = match overlaid {
            Some((_, value)) => value.is_some(),
            None => self.execution.parent.tree().get(&place).is_some(),
        };
        if taken {
            return Err(Code::SpaceExists.into());
        }
        self.count_entry(sender)?;
        let space = Space {
            owner: sender,
            writers: distinct(writers),
            changes: 0,
        };
        self.write(name, &space);
        Ok(())
    }

    /// One more entry of the account that owns it.
    fn count_entry(&mut self, owner: Address) -> Result<(), Outcome> {
        let mut account: Account = self.read(&owner).unwrap_or_default();
        if account.entries >= self.execution.parent.parameters().entries_per_account_max {
            return Err(Outcome {
                code: Code::TooManyEntries,
                found: account.entries,
            });
        }
        account.entries += 1;
        self.write(&owner, &account);
        Ok(())
    }

    /// The space, if the sender may write there, with its change counter moved on.
    fn change_in(&mut self, sender: Address, name: &str) -> Result<Space, Outcome> {
        let mut space: Space = self.read(name).ok_or(Code::SpaceNotFound)?;
        if space.owner != sender && space.writers.binary_search(&sender).is_err() {
            return Err(Code::NotAWriter.into());
        }
        space.changes = space.changes.saturating_add(1);
        self.write(name, &space);
        Ok(space)
    }

    fn put(
        &mut self,
        sender: Address,
        name: &(String, Vec<u8>),
        value: &[u8],
        expected: Option<Version>,
    ) -> Result<(), Outcome> {
        let space = self.change_in(sender, &name.0)?;
        let before: Option<Record> = self.read(name);
        check_version(before.as_ref(), expected)?;
        if before.is_none() {
            self.count_entry(space.owner)?;
        }
        let record = Record {
            value: value.to_vec(),
            version: Version(space.changes),
            writer: sender,
            written_at: self.execution.height,
        };
        self.write(name, &record);
        Ok(())
    }

    fn delete(
        &mut self,
        sender: Address,
        name: &(String, Vec<u8>),
        expected: Option<Version>,
    ) -> Result<(), Outcome> {
        let space = self.change_in(sender, &name.0)?;
        let before: Option<Record> = self.read(name);
        check_version(before.as_ref(), expected)?;
        if before.is_none() {
            return Err(Code::RecordNotFound.into());
        }
        let mut owner: Account = self.read(&space.owner).unwrap_or_default();
        owner.entries = owner.entries.saturating_sub(1);
        self.write(&space.owner, &owner);
        self.remove::<Record>(name);
        Ok(())
    }

    /// Counts an approval under the set in force, and adopts the change when more than 2/3 of the power approve.
    fn approve(&mut self, sender: Address, proposal: &Proposal) -> Result<(), Outcome> {
        let voters = &self.execution.sets.current;
        if voters.get(&sender).is_none() {
            return Err(Code::NotAValidator.into());
        }
        let adopted = self.outcome_of(proposal)?;
        let mut approvals: Approvals = self.read(proposal).unwrap_or_default();
        if approvals.0.contains(&sender) {
            return Err(Code::AlreadyApproved.into());
        }
        // Those who are no validators any more count no more.
        approvals.0.retain(|a| voters.get(a).is_some());
        approvals.0.push(sender);
        let power = approvals
            .0
            .iter()
            .filter_map(|a| voters.get(a))
            .map(|v| v.power.0)
            .sum();
        if voters.is_quorum(Power(power)) {
            self.remove::<Approvals>(proposal);
            if let Proposal::Validator { public_key, .. } = proposal {
                // A validator sends approvals of its own, so it needs an account.
                let address = public_key.address();
                let account: Account = self.read(&address).unwrap_or_default();
                self.write(&address, &account);
            }
            self.proposals.push(adopted);
        } else {
            self.write(proposal, &approvals);
        }
        Ok(())
    }

    fn outcome_of(&self, proposal: &Proposal) -> Result<Adopted, Outcome> {
        match proposal {
            Proposal::Validator { public_key, power } => {
                let latest = self.proposals.iter().rev().find_map(|p| match p {
                    Adopted::Validators(set) => Some(set),
                    Adopted::Parameters(_) => None,
                });
                let set = latest.unwrap_or(&self.execution.sets.after_next);
                let set = set
                    .with(*public_key, *power)
                    .map_err(|_| Code::UnsoundChange)?;
                Ok(Adopted::Validators(set))
            }
            Proposal::Parameters(parameters) => {
                parameters.check().map_err(|_| Code::UnsoundChange)?;
                Ok(Adopted::Parameters(*parameters))
            }
        }
    }
}

fn check_version(record: Option<&Record>, expected: Option<Version>) -> Result<(), Outcome> {
    let found = record.map_or(Version(0), |r| r.version);
    match expected {
        Some(expected) if expected != found => Err(Outcome {
            code: Code::VersionMismatch,
            found: found.0,
        }),
        _ => Ok(()),
    }
}

/// Sorted and each once, so that membership is a binary search and one set has one encoding.
fn distinct(addresses: &[Address]) -> Vec<Address> {
    let mut addresses = addresses.to_vec();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
