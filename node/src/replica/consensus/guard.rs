//! The sign guard: what this node has signed for a height, round and step it never signs otherwise.
//!
//! Asked again, it answers with the very message it signed before. It learns what it signed before a crash from the
//! write-ahead log, which is durable before each signature.

use super::super::{
    context::{self as ctx, Chain, Content, Proposal, Vote},
    message::{SignedProposal, SignedVote, WalRecord},
};
use arc_malachitebft_core_types::{self as core, SignedMessage};
use ledger::{
    certificate::VoteKind,
    hash::{Address, ChainId},
    keys::{PublicKey, SecretKey, Signature},
    units::{Height, Round},
};
use std::collections::BTreeMap;

/// A signature that convinces nobody, for what no honest node is asked to sign.
const NONE: Signature = Signature([0; 64]);

/// A key, and what it has signed.
pub(super) struct SignGuard {
    key: SecretKey,
    chain: ChainId,
    votes: BTreeMap<(Height, Round, VoteKind), SignedVote>,
    proposals: BTreeMap<(Height, Round), SignedProposal>,
}

impl SignGuard {
    /// One that has signed nothing.
    pub(super) fn new(key: SecretKey, chain: ChainId) -> Self {
        Self {
            key,
            chain,
            votes: BTreeMap::new(),
            proposals: BTreeMap::new(),
        }
    }

    /// The signer.
    pub(super) fn address(&self) -> Address {
        self.key.address()
    }

    /// The signer's public key.
    pub(super) fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// Own votes and proposals in the log are promises.
    pub(super) fn remember(&mut self, record: &WalRecord) {
        let me = self.address();
        match record {
            WalRecord::Vote(v) if v.vote.validator == me => {
                let position = (v.vote.height, v.vote.round, v.vote.kind);
                self.votes.entry(position).or_insert(*v);
            }
            WalRecord::Proposal(p) if p.proposal.proposer == me => {
                let position = (p.proposal.height, p.proposal.round);
                self.proposals.entry(position).or_insert(*p);
            }
            _ => {}
        }
    }

    /// Forgets what is below a height: nobody signs for it any more.
    pub(super) fn forget_below(&mut self, height: Height) {
        self.votes.retain(|(h, ..), _| *h >= height);
        self.proposals.retain(|(h, _), _| *h >= height);
    }

    /// Signs a vote, or answers with the one signed before.
    pub(super) fn vote(&mut self, vote: Vote) -> core::SignedVote<Chain> {
        let Some(unsigned) = vote.to_ledger() else {
            // A vote in no round: it cannot be.
            return SignedMessage::new(vote, NONE);
        };
        let signature = || self.sign(Content::Vote(vote));
        let position = (unsigned.height, unsigned.round, unsigned.kind);
        let before = self.votes.get(&position).copied();
        let signed = before.unwrap_or_else(|| SignedVote {
            vote: unsigned,
            signature: signature(),
        });
        self.votes.insert(position, signed);
        signed.into()
    }

    /// Signs a proposal, or answers with the one signed before.
    pub(super) fn proposal(&mut self, proposal: Proposal) -> core::SignedProposal<Chain> {
        let Some(unsigned) = proposal.to_ledger() else {
            return SignedMessage::new(proposal, NONE);
        };
        let signature = || self.sign(Content::Proposal(proposal));
        let position = (unsigned.height, unsigned.round);
        let before = self.proposals.get(&position).copied();
        let signed = before.unwrap_or_else(|| SignedProposal {
            proposal: unsigned,
            signature: signature(),
        });
        self.proposals.insert(position, signed);
        signed.into()
    }

    fn sign(&self, content: Content) -> Signature {
        ctx::sign_bytes(&self.chain, content)
            .map_or(NONE, |(domain, bytes)| self.key.sign(domain, &bytes))
    }
}
