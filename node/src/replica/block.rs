//! Blocks of the height under way: making one, putting others' together, executing and judging them.
//!
//! A block's hash is its header's. Which transactions belong to it the header proves only once they are executed, by the
//! transactions root; the ids beside a proposal are anybody's word. So a body that does not fit says nothing about
//! the block: it is dropped, and another copy is welcome. Only a body that fits makes a block invalid.

use super::{
    ConsensusError, Effect, Journal, Now, Replica, Timer, Verdict, context,
    message::{CompactBlock, SignedProposal, WalRecord},
};
use crate::event::Alarm;
use arc_malachitebft_core_consensus as library;
use arc_malachitebft_core_types as core;
use ledger::{
    block::{
        Block, Header,
        rules::{Misplaced, Place},
    },
    codec,
    genesis::PROTOCOL_VERSION,
    hash::{Address, BlockHash, CertificateHash, StateRoot, TxId},
    keys::PublicKey,
    state::{Executed, Execution},
    transaction::VerifiedTransaction,
    units::{Round, TimestampMs},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// Blocks of one height that a replica keeps: a byzantine proposer has its own rounds only, and two a round.
const CANDIDATES_MAX: usize = 16;
/// Bodies are asked for again after this.
const REFETCH_AFTER: Duration = Duration::from_millis(250);
/// A block dated further ahead than this is not voted for until its time comes.
const AHEAD_MS_MAX: u64 = 10_000;

/// The blocks of the height under way.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    whole: BTreeMap<BlockHash, Whole>,
    /// By block and by who passed it on: a false copy does not keep the true one out.
    incomplete: BTreeMap<(BlockHash, PublicKey), Incomplete>,
    /// What this node has proposed, by round: one value for a height and round, always.
    own: BTreeMap<Round, BlockHash>,
}

#[derive(Debug)]
struct Whole {
    block: Arc<Block>,
    judgement: Option<Result<Executed, Misfit>>,
    /// Where it was proposed, until it is judged.
    proposal: Option<SignedProposal>,
}

/// Why what came as a block is none.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Misfit {
    /// The header lies: the block is invalid, whatever comes with it.
    Block(String),
    /// The transactions or the certificate beside the header are not its own.
    Body(String),
}

impl Misfit {
    fn reason(&self) -> &str {
        let (Self::Block(reason) | Self::Body(reason)) = self;
        reason
    }
}

#[derive(Debug)]
struct Incomplete {
    compact: CompactBlock,
    proposal: SignedProposal,
    have: HashMap<TxId, VerifiedTransaction>,
}

impl Incomplete {
    fn missing(&self) -> Vec<TxId> {
        self.compact
            .transactions
            .iter()
            .filter(|id| !self.have.contains_key(id))
            .copied()
            .collect()
    }
}

impl Candidates {
    /// A block that is here whole.
    pub(super) fn block(&self, hash: &BlockHash) -> Option<&Arc<Block>> {
        self.whole.get(hash).map(|w| &w.block)
    }

    /// A block that was executed and found valid, and what came of it.
    pub(super) fn take_executed(&mut self, hash: &BlockHash) -> Option<(Arc<Block>, Executed)> {
        let whole = self.whole.remove(hash)?;
        Some((whole.block, whole.judgement?.ok()?))
    }

    /// The body of a transaction of one of the blocks.
    pub(super) fn transaction(&self, id: &TxId) -> Option<&VerifiedTransaction> {
        let whole = self
            .whole
            .values()
            .flat_map(|w| &w.block.transactions)
            .find(|t| t.id() == *id);
        whole.or_else(|| self.incomplete.values().find_map(|i| i.have.get(id)))
    }

    fn count(&self) -> usize {
        self.whole.len() + self.incomplete.len()
    }

    fn put(&mut self, block: Block, proposal: Option<SignedProposal>) -> BlockHash {
        let hash = block.hash();
        let whole = Whole {
            block: Arc::new(block),
            judgement: None,
            proposal,
        };
        self.whole.entry(hash).or_insert(whole);
        hash
    }

    /// Forgets a block whose body is not its own.
    fn drop_wrong_body(&mut self, hash: &BlockHash) -> bool {
        let wrong = matches!(
            self.whole.get(hash).and_then(|w| w.judgement.as_ref()),
            Some(Err(Misfit::Body(_)))
        );
        if wrong {
            self.whole.remove(hash);
        }
        wrong
    }
}

impl Replica {
    /// The blocks that the write-ahead log has, and what this node proposed.
    pub(super) fn recover_candidates(&mut self, wal: &[WalRecord]) {
        for record in wal {
            match record {
                WalRecord::Block(block) => {
                    let block = block.as_ref().clone().from_own_log();
                    let hash = self.candidates.put(block, None);
                    self.execute(&hash);
                    self.candidates.drop_wrong_body(&hash);
                }
                WalRecord::Judged {
                    round,
                    proposer,
                    block,
                    synced: false,
                    ..
                } if *proposer == self.address => {
                    self.candidates.own.entry(*round).or_insert(*block);
                }
                _ => {}
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
        let before = self.candidates.own.get(&round).copied();
        let hash = match before.filter(|hash| self.candidates.whole.contains_key(hash)) {
            Some(hash) => hash,
            None => {
                let (block, executed) = self.make_block(round, now);
                let hash = self.candidates.put(block, None);
                if let Some(whole) = self.candidates.whole.get_mut(&hash) {
                    whole.judgement = Some(Ok(executed));
                }
                self.keep(&hash, journal)?;
                self.candidates.own.insert(round, hash);
                hash
            }
        };
        let value = library::LocallyProposedValue::new(
            context::Height(self.height()),
            core::Round::new(round.0),
            context::Value(hash),
        );
        self.consensus.feed(library::Input::Propose(value), journal)
    }

    fn make_block(&self, round: Round, now: Now) -> (Block, Executed) {
        let mut execution = Execution::new(&self.state);
        let transactions = self.mempool.fill(&mut execution);
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
        if self.candidates.whole.contains_key(&hash)
            || self.candidates.incomplete.contains_key(&(hash, from))
            || self.candidates.count() >= CANDIDATES_MAX
        {
            return Ok(());
        }
        let have = compact
            .transactions
            .iter()
            .filter_map(|id| Some((*id, self.mempool.get(id)?.clone())))
            .collect();
        let incomplete = Incomplete {
            compact,
            proposal,
            have,
        };
        let missing = incomplete.missing();
        self.candidates.incomplete.insert((hash, from), incomplete);
        if missing.is_empty() {
            return self.complete(hash, from, now, journal);
        }
        self.emit(Effect::FetchBodies {
            from,
            block: hash,
            missing,
        });
        self.emit(Effect::SetTimer(Timer::Refetch(hash), REFETCH_AFTER));
        Ok(())
    }

    pub(super) fn refetch(&mut self, block: BlockHash) {
        let copies = self
            .candidates
            .incomplete
            .iter()
            .filter(|((hash, _), _)| *hash == block);
        let missing: Vec<(PublicKey, Vec<TxId>)> = copies
            .map(|((_, from), incomplete)| (*from, incomplete.missing()))
            .collect();
        if missing.is_empty() {
            return;
        }
        for (from, missing) in missing {
            self.emit(Effect::FetchBodies {
                from,
                block,
                missing,
            });
        }
        self.emit(Effect::SetTimer(Timer::Refetch(block), REFETCH_AFTER));
    }

    /// Bodies that were asked for. One that is of no use changes nothing here.
    pub(super) fn bodies(
        &mut self,
        block: BlockHash,
        transactions: Vec<VerifiedTransaction>,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        let bodies: HashMap<TxId, VerifiedTransaction> =
            transactions.into_iter().map(|t| (t.id(), t)).collect();
        let mut complete = Vec::new();
        for ((hash, from), incomplete) in &mut self.candidates.incomplete {
            if *hash != block {
                continue;
            }
            for id in incomplete.missing() {
                if let Some(transaction) = bodies.get(&id) {
                    incomplete.have.insert(id, transaction.clone());
                }
            }
            if incomplete.missing().is_empty() {
                complete.push(*from);
            }
        }
        for from in complete {
            self.complete(block, from, now, journal)?;
        }
        Ok(())
    }

    /// Puts a block together whose bodies are all here, and keeps and judges it, if they are its own.
    fn complete(
        &mut self,
        hash: BlockHash,
        from: PublicKey,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        let Some(Incomplete {
            compact,
            proposal,
            mut have,
            ..
        }) = self.candidates.incomplete.remove(&(hash, from))
        else {
            return Ok(());
        };
        if self.candidates.whole.contains_key(&hash) {
            return Ok(());
        }
        let transactions = compact
            .transactions
            .iter()
            .filter_map(|id| have.remove(id))
            .collect();
        let CompactBlock {
            header,
            parent_certificate,
            ..
        } = compact;
        self.candidates.put(
            Block {
                header,
                transactions,
                parent_certificate,
            },
            Some(proposal),
        );
        self.execute(&hash);
        if self.candidates.drop_wrong_body(&hash) {
            return Ok(());
        }
        self.candidates.incomplete.retain(|(h, _), _| *h != hash);
        self.keep(&hash, journal)?;
        self.judge_when_timely(hash, now, journal)
    }

    /// Judges a block that was proposed, unless it is fresh and dated too far ahead: then later. A proposal that names
    /// a polka is not fresh: a quorum has found it timely.
    pub(super) fn judge_when_timely(
        &mut self,
        hash: BlockHash,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        let Some(whole) = self.candidates.whole.get_mut(&hash) else {
            return Ok(());
        };
        let Some(SignedProposal { proposal, .. }) = whole.proposal else {
            return Ok(());
        };
        let ahead = whole.block.header.time.0.saturating_sub(now.unix.0);
        if ahead > AHEAD_MS_MAX && proposal.proof_of_lock.is_none() {
            let wait = Duration::from_millis((ahead - AHEAD_MS_MAX).min(60_000));
            self.emit(Effect::SetTimer(Timer::Timely(hash), wait));
            return Ok(());
        }
        whole.proposal = None;
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

    /// A block that came by block sync under a certificate that holds. Invalid here, it means that this node is wrong.
    pub(super) fn judge_synced(
        &mut self,
        round: Round,
        hash: BlockHash,
        proposer: Address,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        // What came with the certificate was held against the header: it takes the place of what anybody proposed.
        if !self.execute(&hash)
            && let Some(block) = self.catch_up.block(self.height(), &hash)
        {
            self.candidates.whole.remove(&hash);
            self.candidates.put(Block::clone(&block), None);
            self.execute(&hash);
            self.keep(&hash, journal)?;
        }
        if self.candidates.block(&hash).is_none() {
            return Ok(());
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
        let Some(whole) = self.candidates.whole.get(&hash) else {
            return;
        };
        let reason = match &whole.judgement {
            Some(Err(misfit)) => misfit.reason().to_owned(),
            _ => String::new(),
        };
        let alarm = Alarm::Diverged {
            height: self.height(),
            block: hash,
            certified: whole.block.header.state_root,
            here: self.own_root(&whole.block),
            reason,
        };
        self.diverged = true;
        self.emit(Effect::Alarm(alarm));
    }

    /// The root that this node comes to, whatever the header says.
    fn own_root(&self, block: &Block) -> Option<StateRoot> {
        let mut execution = Execution::new(&self.state);
        for transaction in &block.transactions {
            execution.apply(transaction).ok()?;
        }
        Some(execution.finish().state.root())
    }

    /// Executes a block that is here whole, once. Whether it is valid is the answer.
    fn execute(&mut self, hash: &BlockHash) -> bool {
        let Some(block) = self.candidates.block(hash).cloned() else {
            return false;
        };
        if let Some(Whole {
            judgement: Some(judgement),
            ..
        }) = self.candidates.whole.get(hash)
        {
            return judgement.is_ok();
        }
        let judgement = self.judge(&block);
        let valid = judgement.is_ok();
        if let Some(whole) = self.candidates.whole.get_mut(hash) {
            whole.judgement = Some(judgement);
        }
        valid
    }

    /// Validity is a function of the parent state and the block, and of nothing else.
    fn judge(&self, block: &Block) -> Result<Executed, Misfit> {
        let place = Place {
            chain: &self.config.chain,
            parent: self.head.as_ref().map(|(header, _)| header),
            voters: self.state.next_validators(),
            parent_voters: &self.state.validators().current,
        };
        place
            .check(&block.header, block.parent_certificate.as_ref())
            .map_err(|e| match e {
                Misplaced::OtherParentCertificate => Misfit::Body(e.to_string()),
                _ => Misfit::Block(e.to_string()),
            })?;
        Execution::run(&self.state, block).map_err(|e| {
            if e.is_of_the_body() {
                Misfit::Body(e.to_string())
            } else {
                Misfit::Block(e.to_string())
            }
        })
    }
}
