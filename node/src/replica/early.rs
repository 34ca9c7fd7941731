//! Messages of the height after the one under way, kept until it begins.
//!
//! Their signatures are checked before they come here. Room is each signer's own: what one signs, or others say again of
//! it, takes nobody else's place. Sets of votes, which anyone can put together, have room by who passed them on.

use super::message::{Message, SignedProposal, SignedVote};
use ledger::{hash::Address, keys::PublicKey};
use std::collections::BTreeMap;

/// Votes and proposals that are kept of each signer.
const A_SIGNER_MAX: usize = 32;
/// Sets of votes that are kept of each peer, and peers of whom they are.
const SETS_A_PEER_MAX: usize = 4;
const PEERS_MAX: usize = 64;

/// What was said early.
#[derive(Debug, Default)]
pub(super) struct Early {
    signed: BTreeMap<Address, Vec<(PublicKey, Message)>>,
    sets: BTreeMap<PublicKey, Vec<Message>>,
}

impl Early {
    pub(super) fn is_empty(&self) -> bool {
        self.signed.is_empty() && self.sets.is_empty()
    }

    /// Keeps a message that `signer` signed, or signed first, if there is room for it and it says something new.
    pub(super) fn keep(&mut self, signer: Address, from: PublicKey, message: Message) {
        if matches!(message, Message::Vote(_) | Message::Proposal(..)) {
            let kept = self.signed.entry(signer).or_default();
            let known = kept.iter().any(|(_, m)| say_the_same(m, &message));
            if !known && kept.len() < A_SIGNER_MAX {
                kept.push((from, message));
            }
        } else if self.sets.len() < PEERS_MAX || self.sets.contains_key(&from) {
            let kept = self.sets.entry(from).or_default();
            if kept.len() < SETS_A_PEER_MAX {
                kept.push(message);
            }
        }
    }

    /// All that was kept: what one signed first, since sets of votes matter only to whoever missed them.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (PublicKey, Message)> + use<> {
        let Self { signed, sets } = std::mem::take(self);
        let sets = sets
            .into_iter()
            .flat_map(|(from, messages)| messages.into_iter().map(move |m| (from, m)));
        signed.into_values().flatten().chain(sets)
    }
}

/// Whether two messages of one signer say the same, whatever stands beside it.
fn say_the_same(a: &Message, b: &Message) -> bool {
    match (a, b) {
        (Message::Vote(SignedVote { vote: a, .. }), Message::Vote(SignedVote { vote: b, .. })) => {
            a == b
        }
        (
            Message::Proposal(SignedProposal { proposal: a, .. }, _),
            Message::Proposal(SignedProposal { proposal: b, .. }, _),
        ) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::VoteSet;
    use super::*;
    use ledger::{
        certificate::{Vote, VoteKind},
        hash::BlockHash,
        keys::{SecretKey, Signature},
        units::{Height, Round},
    };

    fn vote(validator: u8, round: u32) -> SignedVote {
        SignedVote {
            vote: Vote {
                kind: VoteKind::Prevote,
                height: Height(9),
                round: Round(round),
                block: Some(BlockHash([7; 32])),
                validator: Address([validator; 32]),
            },
            signature: Signature([1; 64]),
        }
    }

    fn peer(n: u8) -> PublicKey {
        SecretKey::from_seed([n; 32]).public_key()
    }

    fn count(early: &mut Early) -> usize {
        early.take().count()
    }

    #[test]
    fn what_is_said_again_takes_no_place() {
        let mut early = Early::default();
        let signer = Address([1; 32]);
        for n in 0..200 {
            let vote = Message::Vote(vote(1, 0));
            early.keep(signer, peer(n), vote);
            let set = VoteSet(vec![self::vote(1, 0); usize::from(n) + 1]);
            early.keep(signer, peer(1), Message::RoundEnded(set));
        }
        early.keep(signer, peer(2), Message::Vote(vote(1, 1)));
        assert!(!early.is_empty());
        assert_eq!(count(&mut early), 2 + SETS_A_PEER_MAX);
        assert!(early.is_empty());
    }

    #[test]
    fn nobody_crowds_another_out() {
        let mut early = Early::default();
        for round in 0..1000 {
            early.keep(Address([1; 32]), peer(1), Message::Vote(vote(1, round)));
        }
        early.keep(Address([2; 32]), peer(1), Message::Vote(vote(2, 0)));
        assert_eq!(count(&mut early), A_SIGNER_MAX + 1);
    }
}
