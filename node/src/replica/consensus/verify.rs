//! What is verified for the consensus library, and remembered: signatures one by one, and certificates vote by vote.

use super::{
    super::context::{Address, Chain, Content, Height, ValidatorSet, Value, Vote},
    Host,
};
use arc_malachitebft_core_types as core;
use core::{
    CertificateError, CommitCertificate, NilOrVal, Round, RoundCertificate, RoundCertificateType,
    ThresholdParam, VoteType,
};
use ledger::keys::Signature;

/// The library's own error, which it wants back as it is.
type Verdict = Result<(), CertificateError<Chain>>;

#[allow(clippy::result_large_err, reason = "the library's own error type")]
impl Host {
    pub(super) fn vote(
        &self,
        kind: VoteType,
        (height, round): (Height, Round),
        value: Value,
        validator: Address,
    ) -> Vote {
        Vote {
            kind,
            height,
            round,
            value: NilOrVal::Val(value),
            validator,
        }
    }

    pub(super) fn check_commit(
        &mut self,
        c: &CommitCertificate<Chain>,
        set: &ValidatorSet,
        threshold: ThresholdParam,
    ) -> Verdict {
        let vote = |a| self.vote(VoteType::Precommit, (c.height, c.round), c.value_id, a);
        let votes: Vec<_> = c
            .commit_signatures
            .iter()
            .map(|s| (vote(s.address), s.signature))
            .collect();
        self.check(set, threshold, &votes)
    }

    pub(super) fn check_round(
        &mut self,
        c: &RoundCertificate<Chain>,
        set: &ValidatorSet,
        thresholds: &core::ThresholdParams,
    ) -> Verdict {
        let threshold = match c.cert_type {
            RoundCertificateType::Skip => thresholds.honest,
            RoundCertificateType::Precommit => {
                let wrong = |s: &&core::RoundSignature<Chain>| s.vote_type != VoteType::Precommit;
                if let Some(s) = c.round_signatures.iter().find(wrong) {
                    return Err(CertificateError::InvalidVoteType(s.address));
                }
                thresholds.quorum
            }
        };
        let votes: Vec<_> = c
            .round_signatures
            .iter()
            .map(|s| {
                let vote = Vote {
                    kind: s.vote_type,
                    height: c.height,
                    round: c.round,
                    value: s.value_id,
                    validator: s.address,
                };
                (vote, s.signature)
            })
            .collect();
        self.check(set, threshold, &votes)
    }

    /// Known signers, each once, every signature, enough power.
    pub(super) fn check(
        &mut self,
        set: &ValidatorSet,
        threshold: ThresholdParam,
        votes: &[(Vote, Signature)],
    ) -> Verdict {
        let set = set.ledger();
        let mut seen = std::collections::BTreeSet::new();
        let mut signed = 0;
        for (vote, signature) in votes {
            let address = vote.validator;
            if !seen.insert(address) {
                return Err(CertificateError::DuplicateVote(address));
            }
            let validator = set
                .get(&address.0)
                .ok_or(CertificateError::UnknownValidator(address))?;
            if !self
                .verified
                .holds(Content::Vote(*vote), &validator.public_key, signature)
            {
                let signature = core::CommitSignature::new(address, *signature);
                return Err(CertificateError::InvalidCommitSignature(signature));
            }
            signed += validator.power.0;
        }
        let total = set.total().0;
        if threshold.is_met(signed, total) {
            return Ok(());
        }
        let expected = threshold.min_expected(total);
        Err(CertificateError::NotEnoughVotingPower {
            signed,
            total,
            expected,
        })
    }
}
