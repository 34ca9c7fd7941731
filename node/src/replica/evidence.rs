//! Proof that a validator signed two things where it may sign one: the two, with their signatures.
//!
//! It convinces anyone who knows the validator's key, and needs nobody's word: [`Equivocation::verify`]. Whether that key
//! was a validator's at the height is for the reader to see in the chain.
//!
//! The consensus library keeps at most three pairs of votes and three of proposals for a validator and height, and only
//! while the height lasts; what comes later is not looked at.

use super::{
    context::{Address as LibraryAddress, Chain},
    message::{SignedProposal, SignedVote, from_core_proposal, from_core_vote},
};
use arc_malachitebft_core_types as core;
use ledger::{
    certificate::SignedContent,
    hash::{Address, ChainId},
    keys::PublicKey,
    units::Height,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Two that exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Conflict {
    /// Votes of one kind in one round.
    Votes {
        /// The one that came first.
        first: SignedVote,
        /// The other.
        second: SignedVote,
    },
    /// Proposals for one round.
    Proposals {
        /// The one that came first.
        first: SignedProposal,
        /// The other.
        second: SignedProposal,
    },
}

/// All that is held against one validator at one height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equivocation {
    /// The chain that it signed for.
    pub chain: ChainId,
    /// The validator.
    pub validator: Address,
    /// Its key.
    pub public_key: PublicKey,
    /// The height.
    pub height: Height,
    /// What it signed: at least one pair.
    pub conflicts: Vec<Conflict>,
}

/// Why something is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// Nothing is held against anyone.
    #[error("it holds no pair")]
    Empty,
    /// The key is another's.
    #[error("the key is not the validator's")]
    OtherKey,
    /// The two are not of the validator, or not for one position.
    #[error("the two are not of this validator for one height, round and step")]
    OtherPosition,
    /// The two say the same.
    #[error("the two are the same")]
    Same,
    /// Somebody else may have made this.
    #[error("a signature does not hold")]
    Signature,
}

impl Equivocation {
    /// Whether it proves that the validator signed two things where it may sign one.
    ///
    /// # Errors
    /// [`NoProof`] says why not.
    pub fn verify(&self) -> Result<(), NoProof> {
        if self.conflicts.is_empty() {
            return Err(NoProof::Empty);
        }
        if self.public_key.address() != self.validator {
            return Err(NoProof::OtherKey);
        }
        self.conflicts
            .iter()
            .try_for_each(|conflict| self.verify_one(conflict))
    }

    fn verify_one(&self, conflict: &Conflict) -> Result<(), NoProof> {
        match conflict {
            Conflict::Votes { first, second } => {
                let position = |v: &SignedVote| {
                    let v = &v.vote;
                    (v.validator, v.height, v.round, v.kind)
                };
                let expected = (
                    self.validator,
                    self.height,
                    first.vote.round,
                    first.vote.kind,
                );
                if position(first) != expected || position(second) != expected {
                    return Err(NoProof::OtherPosition);
                }
                self.two_signed(
                    (&first.vote, &first.signature),
                    (&second.vote, &second.signature),
                )
            }
            Conflict::Proposals { first, second } => {
                let position = |p: &SignedProposal| {
                    let p = &p.proposal;
                    (p.proposer, p.height, p.round)
                };
                let expected = (self.validator, self.height, first.proposal.round);
                if position(first) != expected || position(second) != expected {
                    return Err(NoProof::OtherPosition);
                }
                self.two_signed(
                    (&first.proposal, &first.signature),
                    (&second.proposal, &second.signature),
                )
            }
        }
    }

    fn two_signed<T: SignedContent + PartialEq>(
        &self,
        first: (&T, &ledger::keys::Signature),
        second: (&T, &ledger::keys::Signature),
    ) -> Result<(), NoProof> {
        if first.0 == second.0 {
            return Err(NoProof::Same);
        }
        for (content, signature) in [first, second] {
            content
                .verify(&self.chain, &self.public_key, signature)
                .map_err(|_| NoProof::Signature)?;
        }
        Ok(())
    }
}

/// Conflicts by who signed them.
pub type Conflicts = BTreeMap<Address, Vec<Conflict>>;

/// The library's pairs as ours. It has verified their signatures.
pub(super) fn conflicts(
    votes: impl IntoIterator<Item = (LibraryAddress, Vec<core::DoubleVote<Chain>>)>,
    proposals: impl IntoIterator<Item = (LibraryAddress, Vec<core::DoubleProposal<Chain>>)>,
) -> Conflicts {
    let mut conflicts = Conflicts::new();
    for (validator, pairs) in votes {
        let pairs = pairs.iter().filter_map(|(first, second)| {
            Some(Conflict::Votes {
                first: from_core_vote(first)?,
                second: from_core_vote(second)?,
            })
        });
        conflicts.entry(validator.0).or_default().extend(pairs);
    }
    for (validator, pairs) in proposals {
        let pairs = pairs.iter().filter_map(|(first, second)| {
            Some(Conflict::Proposals {
                first: from_core_proposal(first)?,
                second: from_core_proposal(second)?,
            })
        });
        conflicts.entry(validator.0).or_default().extend(pairs);
    }
    conflicts.retain(|_, pairs| !pairs.is_empty());
    conflicts
}

#[cfg(test)]
mod tests;
