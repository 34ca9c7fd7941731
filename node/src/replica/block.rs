//! Blocks of the height under way: making one, putting others' together, executing and judging them.
//!
//! A header names its transactions, so that a list of ids that is not its own is refused before anything is fetched or
//! executed; whether the block is *valid* its execution tells.

use super::{
    ConsensusError, Effect, Journal, Now, Replica, Timer, Verdict,
    candidates::Incomplete,
    context,
    message::{CompactBlock, PROPOSAL_TRANSACTIONS_MAX, SignedProposal, WalRecord},
};
use crate::event::Alarm;
use arc_malachitebft_core_consensus as library;
use arc_malachitebft_core_types as core;
use ledger::{
    block::{Block, Header, rules::Standing},
    codec,
    genesis::PROTOCOL_VERSION,
    hash::{Address, BlockHash, CertificateHash, TxId},
    keys::PublicKey,
    state::{Executed, Execution, State},
    transaction::VerifiedTransaction,
    units::{Round, TimestampMs},
};
use std::{sync::Arc, time::Duration};

/// Bodies are asked for again after this.
const REFETCH_AFTER: Duration = Duration::from_millis(250);
/// A block dated further ahead than this is not voted for until its time comes.
const AHEAD_MS_MAX: u64 = 10_000;

impl Replica {
    /// The blocks that the write-ahead log has, and what this node proposed.
    pub(super) fn recover_candidates(&mut self, wal: &[WalRecord]) {
        for record in wal {
            match record {
                WalRecord::Block(block) => {
                    let block = block.as_ref().clone().from_own_log();
                    let hash = self.candidates.put(Arc::new(block), None);
                    self.execute(&hash);
                }
                WalRecord::Judged {
                    round,
                    proposer,
                    block,
                    synced,
                    ..
                } => {
                    self.candidates.verdict_given(block);
                    if *proposer == self.address && !synced {
                        self.candidates.proposed(*round, *block);
                    }
                }
                _ => {}
            }
        }
        // A crash came between a block and the verdict on it: it waits for one again.
        for record in wal {
            if let WalRecord::Proposal(proposal) = record {
                self.candidates.proposed_again(*proposal);
            }
        }
    }

    /// Makes a block for a round in which it is this node's turn, and proposes it: the same one if it did so before.
    pub(super) fn propose(
        &mut self,
        round: Round,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        let hash = match self.candidates.own(round) {
            Some(hash) => hash,
            None => {
                let (block, executed) = self.make_block(round, now);
                let hash = self.candidates.put(Arc::new(block), None);
                self.candidates.judged(&hash, Ok(executed));
                self.keep(&hash, journal)?;
                self.candidates.proposed(round, hash);
                hash
            }
        };
        let value = library::LocallyProposedValue::new(
            context::Height(self.height()),
            core::Round::new(round.0),
            context::Value(hash),
        );
        self.candidates.verdict_given(&hash);
        self.consensus.feed(library::Input::Propose(value), journal)
    }

    fn make_block(&self, round: Round, now: Now) -> (Block, Executed) {
        let mut execution = Execution::new(&self.state);
        let transactions = self.mempool.fill(&mut execution, PROPOSAL_TRANSACTIONS_MAX);
        let executed = execution.finish();
        let sets = executed.state.validators();
        let earliest = self
            .head
            .as_ref()
            .map_or(0, |(h, _)| h.time.0.saturating_add(1));
        let header = Header {
            protocol_version: PROTOCOL_VERSION,
            chain: self.config.chain,
            height: self.height(),
            round,
            parent: self.parent(),
            parent_certificate: self.parent_certificate(),
            time: TimestampMs(now.unix.0.max(earliest)),
            proposer: self.address,
            transaction_ids: executed.transaction_ids(),
            transactions_root: executed.transactions_root(),
            state_root: executed.state.root(),
            validators: sets.current.hash(),
            next_validators: sets.next.hash(),
        };
        let parent_certificate = self.head.as_ref().map(|(_, c)| c.clone());
        (
            Block {
                header,
                transactions,
                parent_certificate,
            },
            executed,
        )
    }

    fn parent(&self) -> BlockHash {
        self.head.as_ref().map(|(_, c)| c.block).unwrap_or_default()
    }

    fn parent_certificate(&self) -> CertificateHash {
        self.head
            .as_ref()
            .map(|(_, c)| c.hash())
            .unwrap_or_default()
    }

    /// Puts a whole block into the write-ahead log. It is durable before any signature over it.
    fn keep(&self, hash: &BlockHash, journal: &mut dyn Journal) -> Result<(), ConsensusError> {
        if let Some(block) = self.candidates.block(hash) {
            let record = WalRecord::Block(Box::new(block.to_unverified()));
            journal.append(self.height(), &codec::encode(&record))?;
        }
        Ok(())
    }

    /// Takes in the block of a proposal whose signature holds.
    pub(super) fn proposed_block(
        &mut self,
        from: PublicKey,
        proposal: SignedProposal,
        compact: CompactBlock,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        let hash = proposal.proposal.block;
        if self.candidates.proposed_again(proposal) {
            return self.judge_when_timely(hash, now, journal);
        }
        if !self.candidates.wants(&proposal.proposal, from) {
            return Ok(());
        }
        let body = |id: &TxId| self.mempool.get(id).cloned();
        let incomplete = Incomplete::new(compact, proposal, from, body);
        self.candidates.wait(hash, incomplete);
        self.complete(hash, now, journal)?;
        self.refetch(hash);
        Ok(())
    }

    /// Asks for the bodies that are still missing, and will do so again.
    pub(super) fn refetch(&mut self, block: BlockHash) {
        if let Some((from, missing)) = self.candidates.ask(&block) {
            self.emit(Effect::FetchBodies {
                from,
                block,
                missing,
            });
            self.emit(Effect::SetTimer(Timer::Refetch(block), REFETCH_AFTER));
        }
    }

    /// Bodies that were asked for.
    pub(super) fn bodies(
        &mut self,
        block: BlockHash,
        transactions: Vec<VerifiedTransaction>,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        self.candidates.bodies(&block, transactions);
        self.complete(block, now, journal)
    }

    /// Keeps and judges a block whose bodies are all here, if they are.
    fn complete(
        &mut self,
        hash: BlockHash,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        if !self.candidates.complete(&hash) {
            return Ok(());
        }
        self.keep(&hash, journal)?;
        self.judge_when_timely(hash, now, journal)
    }

    /// Judges a block that was proposed, unless it is fresh and dated too far ahead: then later. What a quorum has
    /// prevoted, in this round or in one that the proposal names, is not fresh: they have found it timely.
    pub(super) fn judge_when_timely(
        &mut self,
        hash: BlockHash,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        let (Some(block), Some(SignedProposal { proposal, .. })) = (
            self.candidates.block(&hash),
            self.candidates.proposal(&hash),
        ) else {
            return Ok(());
        };
        let ahead = block.header.time.0.saturating_sub(now.unix.0);
        let is_fresh =
            proposal.proof_of_lock.is_none() && !self.consensus.has_polka(proposal.round, hash);
        if ahead > AHEAD_MS_MAX && is_fresh {
            let wait = Duration::from_millis((ahead - AHEAD_MS_MAX).min(60_000));
            self.emit(Effect::SetTimer(Timer::Timely(hash), wait));
            return Ok(());
        }
        let valid = self.execute(&hash);
        let verdict = Verdict {
            round: proposal.round,
            valid_round: proposal.proof_of_lock,
            proposer: proposal.proposer,
            block: hash,
            valid,
            synced: false,
        };
        self.feed_verdict(&verdict, journal)
    }

    /// Judges the blocks that the write-ahead log has without a verdict.
    pub(super) fn judge_what_waited(
        &mut self,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        let waiting: Vec<BlockHash> = self.candidates.waiting().map(|p| p.block).collect();
        for hash in waiting {
            self.judge_when_timely(hash, now, journal)?;
        }
        Ok(())
    }

    /// Judges the blocks that wait for their time although a quorum has prevoted them.
    pub(super) fn judge_what_a_quorum_wants(
        &mut self,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        let wanted: Vec<BlockHash> = self
            .candidates
            .waiting()
            .filter(|p| self.consensus.has_polka(p.round, p.block))
            .map(|p| p.block)
            .collect();
        for hash in wanted {
            self.judge_when_timely(hash, now, journal)?;
        }
        Ok(())
    }

    /// A block that came by block sync under a certificate that holds. Invalid here, it means that this node is wrong.
    pub(super) fn judge_synced(
        &mut self,
        round: Round,
        hash: BlockHash,
        proposer: Address,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        if self.candidates.block(&hash).is_none() {
            let Some(block) = self.catch_up.block(self.height(), &hash) else {
                return Ok(());
            };
            self.candidates.put(block, None);
            self.keep(&hash, journal)?;
        }
        let valid = self.execute(&hash);
        if !valid {
            self.diverge(hash);
            return Ok(());
        }
        let verdict = Verdict {
            round,
            valid_round: None,
            proposer,
            block: hash,
            valid,
            synced: true,
        };
        self.feed_verdict(&verdict, journal)
    }

    fn diverge(&mut self, hash: BlockHash) {
        let Some(block) = self.candidates.block(&hash) else {
            return;
        };
        let reason = match self.candidates.judgement(&hash) {
            Some(Err(reason)) => reason.clone(),
            _ => String::new(),
        };
        let own = self.own_state(block);
        let alarm = Alarm::Diverged {
            height: self.height(),
            block: hash,
            certified: block.header.state_root,
            here: own.as_ref().map(State::root),
            reason,
        };
        self.diverged = true;
        if let Some(own) = own {
            self.emit(Effect::Astray(own));
        }
        self.emit(Effect::Alarm(alarm));
    }

    /// The state that this node comes to, whatever the header says.
    fn own_state(&self, block: &Block) -> Option<State> {
        let mut execution = Execution::new(&self.state);
        for transaction in &block.transactions {
            execution.apply(transaction).ok()?;
        }
        Some(execution.finish().state)
    }

    /// Executes a block that is here whole, once. Whether it is valid is the answer.
    fn execute(&mut self, hash: &BlockHash) -> bool {
        if let Some(judgement) = self.candidates.judgement(hash) {
            return judgement.is_ok();
        }
        let Some(block) = self.candidates.block(hash).cloned() else {
            return false;
        };
        let judgement = self.judge(&block);
        let valid = judgement.is_ok();
        self.candidates.judged(hash, judgement);
        valid
    }

    /// Validity is a function of the parent state and the block, and of nothing else. The error says what is wrong.
    fn judge(&self, block: &Block) -> Result<Executed, String> {
        let standing = Standing {
            chain: &self.config.chain,
            parent: self.head.as_ref().map(|(header, _)| header),
            voters: self.state.next_validators(),
            parent_voters: &self.state.validators().current,
        };
        standing
            .check(&block.header, block.parent_certificate.as_ref())
            .map_err(|e| e.to_string())?;
        Execution::run(&self.state, block).map_err(|e| e.to_string())
    }
}
