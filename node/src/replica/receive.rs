//! Messages of peers: who signed, for which height, and what follows.
//!
//! Only the height under way reaches the library. What is of the next height is kept aside ([`early`](super::early)), its
//! signature checked against the set that is already known. What is older is dropped, what is further ahead says only
//! that this node lags.

use super::{
    ConsensusError, Journal, Now, Replica,
    consensus::{polka_of, round_of},
    message::{CompactBlock, Message, SignedProposal, VoteSet},
    signer::{is_signed_for, signer},
};
use arc_malachitebft_core_consensus::Input;
use ledger::{hash::Address, keys::PublicKey, validators::ValidatorSet};

impl Replica {
    pub(super) fn receive(
        &mut self,
        from: PublicKey,
        message: Message,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        let height = self.height();
        let about = message.height();
        if about < height {
            return Ok(());
        }
        if about > height.next() {
            self.catch_up.hint(from, about);
            return Ok(());
        }
        if about == height && !self.pausing && !self.finished {
            return self.receive_current(from, message, now, journal);
        }
        // While pausing, the next height is the one about to begin; its validators are known, and the ones after too.
        let sets = self.state.validators();
        let set = if about == height {
            sets.next.clone()
        } else {
            sets.after_next.clone()
        };
        if let Some(signer) = self.signer(&message, &set) {
            self.early.keep(signer, from, message);
        }
        Ok(())
    }

    /// A message of the height under way.
    pub(super) fn receive_current(
        &mut self,
        from: PublicKey,
        message: Message,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        let set = self.state.next_validators().clone();
        if message.height() != self.height() {
            return Ok(());
        }
        if self.signer(&message, &set).is_none() {
            // The shell holds it against whoever passed it on; here it only counts for nothing.
            return Ok(());
        }
        match message {
            Message::Vote(vote) => {
                self.consensus.feed(Input::Vote(vote.into()), journal)?;
                self.judge_what_a_quorum_wants(now, journal)
            }
            Message::Proposal(proposal, compact) => {
                self.receive_proposal(from, proposal, *compact, now, journal)
            }
            Message::Polka(votes) => match polka_of(&votes) {
                Some(polka) => {
                    let polka = Input::PolkaCertificate(polka);
                    self.consensus.feed(polka, journal)?;
                    self.judge_what_a_quorum_wants(now, journal)
                }
                None => Ok(()),
            },
            Message::RoundEnded(votes) => self.receive_round(false, &votes, journal),
            Message::RoundSkipped(votes) => self.receive_round(true, &votes, journal),
        }
    }

    fn receive_round(
        &mut self,
        skip: bool,
        votes: &VoteSet,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        match round_of(skip, votes) {
            Some(c) => self.consensus.feed(Input::RoundCertificate(c), journal),
            None => Ok(()),
        }
    }

    fn receive_proposal(
        &mut self,
        from: PublicKey,
        proposal: SignedProposal,
        compact: CompactBlock,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        // Whoever passed it on may have changed what stands beside the signature: this proves nothing against its signer.
        if !is_signed_for(&proposal.proposal, &compact) {
            return Ok(());
        }
        if !self.consensus.is_within_reach(proposal.proposal.round) {
            return Ok(());
        }
        self.consensus
            .feed(Input::Proposal(proposal.into()), journal)?;
        self.proposed_block(from, proposal, compact, now, journal)
    }

    /// Who signed a message, if the signatures hold and the signers may say it.
    fn signer(&mut self, message: &Message, set: &ValidatorSet) -> Option<Address> {
        let holds =
            |content, key: &_, signature: &_| self.consensus.verify(content, key, signature);
        signer(message, set, holds).ok()
    }
}
