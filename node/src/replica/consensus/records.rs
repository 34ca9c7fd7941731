//! The library's inputs and certificates as records and messages of ours, and back.

use super::super::{
    context::{Address, Chain, Height, Value, Vote, to_ledger_round},
    message::{SignedVote, TimeoutKind, VoteSet, WalRecord, from_core_proposal, from_core_vote},
};
use arc_malachitebft_core_consensus::{self as library, Input};
use arc_malachitebft_core_types as core;
use core::{Round, RoundCertificate, RoundCertificateType, Timeout};
use ledger::{certificate::VoteKind, units::Height as LedgerHeight};

/// A record as an input, if it is one of this height.
pub(super) fn input_of(height: LedgerHeight, record: &WalRecord) -> Option<Input<Chain>> {
    Some(match record {
        WalRecord::Vote(vote) => Input::Vote((*vote).into()),
        WalRecord::Proposal(proposal) => Input::Proposal((*proposal).into()),
        WalRecord::Block(_) => return None,
        WalRecord::Judged {
            round,
            valid_round,
            proposer,
            block,
            valid,
            synced,
        } => {
            let value = library::ProposedValue {
                height: Height(height),
                round: Round::new(round.0),
                valid_round: valid_round.map_or(Round::Nil, |r| Round::new(r.0)),
                proposer: Address(*proposer),
                value: Value(*block),
                validity: core::Validity::from_bool(*valid),
            };
            let origin = if *synced {
                core::ValueOrigin::Sync
            } else {
                core::ValueOrigin::Consensus
            };
            Input::ProposedValue(value, origin)
        }
        WalRecord::Timeout { kind, round } => {
            let kind = match kind {
                TimeoutKind::Propose => core::TimeoutKind::Propose,
                TimeoutKind::Prevote => core::TimeoutKind::Prevote,
                TimeoutKind::Precommit => core::TimeoutKind::Precommit,
                TimeoutKind::Rebroadcast => core::TimeoutKind::Rebroadcast,
                TimeoutKind::FinalizeHeight => return None,
            };
            Input::TimeoutElapsed(Timeout::new(Round::new(round.0), kind))
        }
        WalRecord::Polka(votes) => Input::PolkaCertificate(polka_of(votes)?),
    })
}

/// A polka from its votes, if they are prevotes for one block in one round.
pub fn polka_of(VoteSet(votes): &VoteSet) -> Option<core::PolkaCertificate<Chain>> {
    let first = votes.first()?.vote;
    let block = first.block?;
    let same = |v: &SignedVote| {
        (v.vote.kind, v.vote.height, v.vote.round, v.vote.block)
            == (VoteKind::Prevote, first.height, first.round, Some(block))
    };
    votes.iter().all(same).then(|| {
        core::PolkaCertificate::new(
            Height(first.height),
            Round::new(first.round.0),
            Value(block),
            votes.iter().map(|v| (*v).into()).collect(),
        )
    })
}

/// A round certificate from its votes, if they are of one height and round.
pub fn round_of(skip: bool, VoteSet(votes): &VoteSet) -> Option<RoundCertificate<Chain>> {
    let first = votes.first()?.vote;
    let same = |v: &SignedVote| (v.vote.height, v.vote.round) == (first.height, first.round);
    votes.iter().all(same).then(|| RoundCertificate {
        height: Height(first.height),
        round: Round::new(first.round.0),
        cert_type: if skip {
            RoundCertificateType::Skip
        } else {
            RoundCertificateType::Precommit
        },
        round_signatures: votes
            .iter()
            .map(|v| {
                let vote = Vote::from(v.vote);
                core::RoundSignature::new(vote.kind, vote.value, vote.validator, v.signature)
            })
            .collect(),
    })
}

/// What the log keeps of an input; none for those that are not kept.
pub(super) fn record_of(input: &Input<Chain>) -> Option<WalRecord> {
    Some(match input {
        Input::Vote(vote) => WalRecord::Vote(from_core_vote(vote)?),
        Input::Proposal(proposal) => WalRecord::Proposal(from_core_proposal(proposal)?),
        Input::ProposedValue(value, origin) => WalRecord::Judged {
            round: to_ledger_round(value.round)?,
            valid_round: to_ledger_round(value.valid_round),
            proposer: value.proposer.0,
            block: value.value.0,
            valid: value.validity.is_valid(),
            synced: !origin.is_consensus(),
        },
        Input::TimeoutElapsed(timeout) => WalRecord::Timeout {
            kind: match timeout.kind {
                core::TimeoutKind::Propose => TimeoutKind::Propose,
                core::TimeoutKind::Prevote => TimeoutKind::Prevote,
                core::TimeoutKind::Precommit => TimeoutKind::Precommit,
                core::TimeoutKind::Rebroadcast => TimeoutKind::Rebroadcast,
                core::TimeoutKind::FinalizeHeight(_) => TimeoutKind::FinalizeHeight,
            },
            round: to_ledger_round(timeout.round)?,
        },
        Input::PolkaCertificate(c) => {
            let votes = c.votes(&Chain).filter_map(|v| from_core_vote(&v)).collect();
            WalRecord::Polka(VoteSet(votes))
        }
        Input::StartHeight(..)
        | Input::RoundCertificate(_)
        | Input::Propose(_)
        | Input::SyncValueResponse(_) => return None,
    })
}
