//! One transaction's operations: laid over the block's changes so far, and kept only if none fails.

use super::{Code, Execution, Outcome, Overlay, from_overlay, write};
use crate::{
    codec,
    genesis::Parameters,
    hash::Address,
    state::entries::{Account, Approvals, Entry, Key, Record, Space},
    transaction::{Operation, Proposal},
    units::{Amount, Power, Version},
};

/// One transaction's operations: all of its changes, until it is known that none fails.
pub(super) struct Attempt<'e, 'a> {
    pub execution: &'e Execution<'a>,
    pub changed: Overlay,
    pub proposals: Vec<Adopted>,
}

/// A change that has enough approvals.
pub(super) enum Adopted {
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

    pub fn operation(&mut self, sender: Address, operation: &Operation) -> Result<(), Outcome> {
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
