//! The consensus library, and our side of each of its effects.
//!
//! Tendermint (Buchman, Kwon, Milosevic 2018) as a coroutine that yields effects. What it leaves to its host, and what
//! a node must do lest it vote twice, is done here:
//!
//! - the write-ahead log is durable *before* each signature, and before anything is published;
//! - a sign guard answers with the vote or proposal that was signed before for the same height, round and step;
//! - a timer of an older height never reaches the library, whose timeouts carry no height;
//! - certificates count known signers, each once, every signature verified;
//! - what was verified is remembered, since the library asks again.
//!
//! What a certificate is checked for is in `verify`.
//!
//! Trust: every input that reaches the library from outside has had its sender and signature checked by the caller.

mod guard;
mod records;
mod verify;

pub use records::{polka_of, round_of};

use super::{
    context::{self as ctx, Address, Chain, Content, Height, Vote, to_ledger_round},
    evidence::{Conflicts, conflicts},
    journal::{Journal, JournalError},
    message::{SignedProposal, SignedVote, VoteSet, WalRecord, from_core_proposal, from_core_vote},
    verified::Verified,
};
use arc_malachitebft_core_consensus::{
    self as library, ConsensusMsg, Effect, Input, LivenessMsg, Params, Resumable, Resume,
    SignedConsensusMsg, State, process,
};
use arc_malachitebft_core_types as core;
use core::{
    LinearTimeouts, RoundCertificate, RoundCertificateType, Timeout, ValuePayload,
    VoteExtensionPolicy, VoteType,
};
use guard::SignGuard;
use ledger::{
    codec,
    hash::{BlockHash, ChainId},
    keys::{PublicKey, SecretKey, Signature},
    units::{Height as LedgerHeight, Round as LedgerRound},
    validators::ValidatorSet as LedgerSet,
};
use records::{input_of, record_of};
use std::time::Duration;

/// Heights ahead for which the library keeps inputs: only the next, whose validators are known.
const QUEUED_HEIGHTS_MAX: usize = 2;
/// Inputs it keeps for a height ahead. Each had its signature checked, so that nobody crowds others out.
const QUEUED_INPUTS_MAX: usize = 1024;

/// Names a timer that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId(pub u64);

/// What consensus asks of the replica around it, in order.
#[derive(Debug)]
pub enum Request {
    /// Say a vote to all.
    PublishVote(SignedVote),
    /// Say a proposal to all, with its block.
    PublishProposal(SignedProposal),
    /// Others may have missed what was said: say the own proposal again, if there is one.
    Repeat,
    /// Say a quorum's prevotes to all.
    PublishPolka(VoteSet),
    /// Say to all that a round is over, or that a later one has begun.
    PublishRound {
        /// Whether these are enough to skip ahead, rather than a quorum's precommits.
        skip: bool,
        /// The votes.
        votes: VoteSet,
    },
    /// Wake me so long from now.
    Timer(TimerId, Duration),
    /// Make a block for this round and propose it.
    Propose(LedgerHeight, LedgerRound),
    /// A certificate that came by block sync holds: judge its block.
    JudgeSynced(LedgerHeight, LedgerRound, BlockHash, ledger::hash::Address),
    /// A certificate that came by block sync does not hold.
    RejectSynced(String),
    /// This is decided.
    Decided(ledger::certificate::Certificate),
    /// These signed two things where they may sign one, at this height.
    Accuse(LedgerHeight, Conflicts),
    /// The height is over.
    Finalized,
}

/// Why consensus cannot go on. The node must stop.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The disk failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The library gave up.
    #[error("the consensus library stopped: {0}")]
    Library(String),
}

impl From<library::Error<Chain>> for ConsensusError {
    fn from(error: library::Error<Chain>) -> Self {
        Self::Library(error.to_string())
    }
}

/// One node's part in the consensus of one height after another.
pub struct Consensus {
    library: State<Chain>,
    host: Host,
}

/// Our side of the library's effects.
struct Host {
    guard: SignGuard,
    timers: Vec<(Timeout, TimerId)>,
    next_timer: u64,
    /// While the write-ahead log is fed again, nothing is appended to it.
    replaying: bool,
    verified: Verified,
    propose_timeout: Duration,
    vote_timeout: Duration,
    requests: Vec<Request>,
}

/// How long a replica waits in the first round; each later round waits half as long again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a proposal. Each height whose proposer is dead costs one.
    pub propose: Duration,
    /// For the votes of those who are late, once a quorum has voted.
    pub vote: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            propose: Duration::from_millis(500),
            vote: Duration::from_millis(300),
        }
    }
}

impl Consensus {
    /// Consensus at the height after `decided`. Nothing happens before [`start`](Self::start).
    pub fn new(
        key: SecretKey,
        chain: ChainId,
        decided: LedgerHeight,
        set: &LedgerSet,
        timeouts: Timeouts,
    ) -> Self {
        let address = Address(key.address());
        let params = Params {
            address,
            threshold_params: core::ThresholdParams::default(),
            value_payload: ValuePayload::ProposalAndParts,
            enabled: true,
        };
        let library = State::new(
            Chain,
            Height(decided.next()),
            set.into(),
            params,
            QUEUED_HEIGHTS_MAX,
            QUEUED_INPUTS_MAX,
        );
        let host = Host {
            guard: SignGuard::new(key, chain),
            timers: Vec::new(),
            next_timer: 0,
            replaying: false,
            verified: Verified::new(chain),
            propose_timeout: timeouts.propose,
            vote_timeout: timeouts.vote,
            requests: Vec::new(),
        };
        Self { library, host }
    }

    /// Starts a height, as a voter or only as a listener, and feeds what the write-ahead log has of it.
    ///
    /// # Errors
    /// [`ConsensusError`]; then it must not be used any more.
    pub fn start(
        &mut self,
        height: LedgerHeight,
        set: &LedgerSet,
        votes: bool,
        wal: &[WalRecord],
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        self.library.params.enabled = votes;
        // What came between the end of the last height and now: starting the next one forgets it.
        let driver = &mut self.library.driver;
        let late = conflicts(driver.take_vote_evidence(), driver.take_proposal_evidence());
        self.host.accuse(self.library.height().0, late);
        let host = &mut self.host;
        host.timers.clear();
        host.guard.forget_below(height);
        for record in wal {
            host.guard.remember(record);
        }
        let inputs: Vec<Input<Chain>> = wal
            .iter()
            .filter_map(|record| input_of(height, record))
            .collect();
        host.replaying = true;
        // `is_restart` is false even after a crash: true would throw pending inputs away.
        self.feed(
            Input::StartHeight(
                Height(height),
                set.into(),
                false,
                None,
                VoteExtensionPolicy::Disabled,
            ),
            journal,
        )?;
        self.library
            .record_recovered_own_precommit_extensions(inputs.iter());
        self.library.index_wal_entries(inputs.iter());
        for input in inputs {
            self.feed(input, journal)?;
        }
        self.library.reset_entries_index();
        self.host.replaying = false;
        Ok(())
    }

    /// The height under way.
    pub fn height(&self) -> LedgerHeight {
        self.library.height().0
    }

    /// Whether a round is close enough to the one under way to be kept anything of. The library drops what is not.
    pub fn is_within_reach(&self, round: LedgerRound) -> bool {
        let reach = i64::from(library::MAX_FUTURE_ROUND_LOOKAHEAD);
        i64::from(round.0) <= self.library.round().as_i64().saturating_add(reach)
    }

    /// Whether a quorum is known to have prevoted a block in a round.
    pub fn has_polka(&self, round: LedgerRound, block: BlockHash) -> bool {
        let round = core::Round::new(round.0);
        self.library
            .polka_certificate(round, &ctx::Value(block))
            .is_some()
    }

    /// What is asked of the replica since the last call.
    pub fn take_requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.host.requests)
    }

    /// Whether a signature over a vote or proposal holds. Remembered if it does.
    pub fn verify(&mut self, content: Content, key: &PublicKey, signature: &Signature) -> bool {
        self.host.verified.holds(content, key, signature)
    }

    /// A timer that was asked for has run out.
    ///
    /// # Errors
    /// [`ConsensusError`].
    pub fn timer(
        &mut self,
        id: TimerId,
        journal: &mut dyn Journal,
    ) -> Result<bool, ConsensusError> {
        let Some(index) = self.host.timers.iter().position(|(_, timer)| *timer == id) else {
            return Ok(false);
        };
        let (timeout, _) = self.host.timers.swap_remove(index);
        self.feed(Input::TimeoutElapsed(timeout), journal)?;
        Ok(true)
    }

    /// Gives the library one input. The only call into it.
    ///
    /// # Errors
    /// [`ConsensusError`]; then it must not be used any more.
    pub fn feed(
        &mut self,
        input: Input<Chain>,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        let (library, host) = (&mut self.library, &mut self.host);
        process!(
            input: input, state: library, metrics: &(),
            with: effect => match host.handle(effect, journal) {
                Ok(resume) => Ok::<_, ConsensusError>(resume),
                // Leaving drops the coroutine half-way: the caller stops the node.
                Err(error) => return Err(error.into()),
            }
        )
    }
}

impl Host {
    fn handle(
        &mut self,
        effect: Effect<Chain>,
        journal: &mut dyn Journal,
    ) -> Result<Resume<Chain>, JournalError> {
        use Effect as E;
        Ok(match effect {
            E::CancelAllTimeouts(r) => {
                self.timers.clear();
                r.resume_with(())
            }
            E::CancelTimeout(timeout, r) => {
                self.timers.retain(|(t, _)| *t != timeout);
                r.resume_with(())
            }
            E::ScheduleTimeout(timeout, r) => {
                self.schedule(timeout);
                r.resume_with(())
            }
            E::StartRound(_, _, _, _, r) => {
                self.sync(journal)?;
                r.resume_with(())
            }
            E::WalAppend(height, input, r) => {
                if let (false, Some(record)) = (self.replaying, record_of(&input)) {
                    journal.append(height.0, &codec::encode(&record))?;
                }
                r.resume_with(())
            }
            E::SignVote(vote, r) => {
                self.sync(journal)?;
                let signed = self.guard.vote(vote);
                let (content, key) = (Content::Vote(signed.message), self.guard.public_key());
                self.verified.trust_own(content, key, signed.signature);
                r.resume_with(signed)
            }
            E::SignProposal(proposal, r) => {
                self.sync(journal)?;
                let signed = self.guard.proposal(proposal);
                let (content, key) = (Content::Proposal(signed.message), self.guard.public_key());
                self.verified.trust_own(content, key, signed.signature);
                r.resume_with(signed)
            }
            E::PublishConsensusMsg(message, r) => {
                self.sync(journal)?;
                self.publish(&message);
                r.resume_with(())
            }
            E::PublishLivenessMsg(message, r) => {
                self.sync(journal)?;
                self.publish_liveness(message);
                r.resume_with(())
            }
            E::RepublishVote(vote, r) => {
                self.requests.push(Request::Repeat);
                self.requests
                    .extend(from_core_vote(&vote).map(Request::PublishVote));
                r.resume_with(())
            }
            E::RepublishRoundCertificate(certificate, r) => {
                self.publish_round(&certificate);
                r.resume_with(())
            }
            E::GetValue(height, round, _, r) => {
                if let Some(round) = to_ledger_round(round) {
                    self.requests.push(Request::Propose(height.0, round));
                }
                r.resume_with(())
            }
            // The block goes with every proposal that is published, so there is nothing to send again here.
            E::RestreamProposal(_, _, _, _, _, r) => r.resume_with(()),
            E::CertVerifiedSyncValue(response, proposer, r) => {
                let c = &response.certificate;
                if let Some(round) = to_ledger_round(c.round) {
                    let (height, block) = (c.height.0, c.value_id.0);
                    self.requests
                        .push(Request::JudgeSynced(height, round, block, proposer.0));
                }
                r.resume_with(())
            }
            E::CertRejectedSyncValue(_, _, error, r) => {
                self.requests.push(Request::RejectSynced(error.to_string()));
                r.resume_with(())
            }
            E::Decide(certificate, _, r) => {
                self.requests
                    .extend(ctx::to_ledger_certificate(&certificate).map(Request::Decided));
                r.resume_with(())
            }
            E::Finalize(certificate, _, evidence, r) => {
                let height = certificate.height;
                self.accuse(height.0, conflicts(evidence.votes, evidence.proposals));
                self.requests.push(Request::Finalized);
                r.resume_with(())
            }
            E::VerifySignature(message, key, r) => {
                let content = match message.message {
                    ConsensusMsg::Vote(vote) => Content::Vote(vote),
                    ConsensusMsg::Proposal(proposal) => Content::Proposal(proposal),
                };
                r.resume_with(self.verified.holds(content, &key, &message.signature))
            }
            E::VerifyCommitCertificate(c, set, thresholds, r) => {
                r.resume_with(self.check_commit(&c, &set, thresholds.quorum))
            }
            E::VerifyExtendedCommitCertificate(c, set, thresholds, _, r) => {
                let certificate = c.trim_vote_extensions();
                r.resume_with(self.check_commit(&certificate, &set, thresholds.quorum))
            }
            E::VerifyPolkaCertificate(c, set, thresholds, r) => {
                let vote = |a| self.vote(VoteType::Prevote, (c.height, c.round), c.value_id, a);
                let votes: Vec<_> = c
                    .polka_signatures
                    .iter()
                    .map(|s| (vote(s.address), s.signature))
                    .collect();
                r.resume_with(self.check(&set, thresholds.quorum, &votes))
            }
            E::VerifyRoundCertificate(c, set, thresholds, r) => {
                r.resume_with(self.check_round(&c, &set, &thresholds))
            }
            E::ExtendVote(_, _, _, _, r) => r.resume_with(None),
            E::VerifyVoteExtension(_, _, _, _, _, _, r) => r.resume_with(Ok(())),
        })
    }

    fn accuse(&mut self, height: LedgerHeight, conflicts: Conflicts) {
        if !conflicts.is_empty() {
            self.requests.push(Request::Accuse(height, conflicts));
        }
    }

    fn sync(&self, journal: &mut dyn Journal) -> Result<(), JournalError> {
        // What is fed again was durable already.
        if self.replaying {
            Ok(())
        } else {
            journal.sync()
        }
    }

    fn schedule(&mut self, timeout: Timeout) {
        let first = match timeout.kind {
            core::TimeoutKind::Propose => self.propose_timeout,
            core::TimeoutKind::Prevote | core::TimeoutKind::Precommit => self.vote_timeout,
            core::TimeoutKind::Rebroadcast => LinearTimeouts::default().rebroadcast,
            core::TimeoutKind::FinalizeHeight(duration) => duration,
        };
        let round = timeout.round.as_u32().unwrap_or(0).min(60);
        let duration = first.saturating_add(first / 2 * round);
        let id = TimerId(self.next_timer);
        self.next_timer += 1;
        self.timers.retain(|(t, _)| *t != timeout);
        self.timers.push((timeout, id));
        self.requests.push(Request::Timer(id, duration));
    }

    fn publish(&mut self, message: &SignedConsensusMsg<Chain>) {
        self.requests.extend(match message {
            SignedConsensusMsg::Vote(v) => from_core_vote(v).map(Request::PublishVote),
            SignedConsensusMsg::Proposal(p) => from_core_proposal(p).map(Request::PublishProposal),
        });
    }

    fn publish_liveness(&mut self, message: LivenessMsg<Chain>) {
        match message {
            LivenessMsg::Vote(v) => {
                self.requests
                    .extend(from_core_vote(&v).map(Request::PublishVote));
            }
            LivenessMsg::PolkaCertificate(c) => {
                let votes = c.votes(&Chain).filter_map(|v| from_core_vote(&v)).collect();
                self.requests.push(Request::PublishPolka(VoteSet(votes)));
            }
            LivenessMsg::SkipRoundCertificate(c) => self.publish_round(&c),
        }
    }

    fn publish_round(&mut self, c: &RoundCertificate<Chain>) {
        let vote = |s: &core::RoundSignature<Chain>| {
            let vote = Vote {
                kind: s.vote_type,
                height: c.height,
                round: c.round,
                value: s.value_id,
                validator: s.address,
            };
            Some(SignedVote {
                vote: vote.to_ledger()?,
                signature: s.signature,
            })
        };
        let votes = VoteSet(c.round_signatures.iter().filter_map(vote).collect());
        let skip = c.cert_type == RoundCertificateType::Skip;
        self.requests.push(Request::PublishRound { skip, votes });
    }
}
