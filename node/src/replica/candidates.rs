//! The blocks of the height under way: those that are here whole, and those whose bodies are on their way.
//!
//! A block's hash is its header's, and the header names its transactions and the parent's certificate: what stands here
//! under a hash was held against that header, so that every copy is the same.

use super::message::{CompactBlock, SignedProposal};
use ledger::{
    block::Block,
    certificate::BlockProposal,
    hash::{BlockHash, TxId},
    keys::PublicKey,
    state::Executed,
    transaction::VerifiedTransaction,
    units::Round,
};
use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

/// Blocks proposed in one round that a replica keeps. A byzantine proposer has its own rounds only, and so takes
/// nobody's place; as many as the consensus library keeps, which bounds the rounds too.
const A_ROUND_MAX: usize = 2;
/// Peers that are remembered as having passed one block on.
const SOURCES_MAX: usize = 8;

/// The blocks of the height under way.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    whole: BTreeMap<BlockHash, Whole>,
    incomplete: BTreeMap<BlockHash, Incomplete>,
    /// What this node has proposed, by round: one value for a height and round, always.
    own: BTreeMap<Round, BlockHash>,
}

#[derive(Debug)]
struct Whole {
    block: Arc<Block>,
    judgement: Option<Result<Executed, String>>,
    /// Where it was proposed last, until consensus is given a verdict on it.
    proposal: Option<SignedProposal>,
    /// Whether consensus was given one at this height.
    verdict_given: bool,
    /// Where each transaction stands, made when one is first asked for.
    positions: OnceCell<HashMap<TxId, usize>>,
    /// The round it was proposed in by another.
    round: Option<Round>,
}

impl Whole {
    fn transaction(&self, id: &TxId) -> Option<&VerifiedTransaction> {
        let transactions = &self.block.transactions;
        let positions = self
            .positions
            .get_or_init(|| (0..).zip(transactions).map(|(n, t)| (t.id(), n)).collect());
        transactions.get(*positions.get(id)?)
    }
}

/// A block some of whose bodies are not here.
#[derive(Debug)]
pub(super) struct Incomplete {
    compact: CompactBlock,
    proposal: SignedProposal,
    have: HashMap<TxId, VerifiedTransaction>,
    /// Who passed it on, and should have the bodies. The first is asked next.
    sources: Vec<PublicKey>,
}

impl Incomplete {
    /// A block of which `have` says which bodies are here.
    pub(super) fn new(
        compact: CompactBlock,
        proposal: SignedProposal,
        from: PublicKey,
        have: impl Fn(&TxId) -> Option<VerifiedTransaction>,
    ) -> Self {
        let ids = compact.transactions.iter();
        let have = ids.filter_map(|id| Some((*id, have(id)?))).collect();
        Self {
            compact,
            proposal,
            have,
            sources: vec![from],
        }
    }

    fn missing(&self) -> Vec<TxId> {
        let ids = self.compact.transactions.iter();
        ids.filter(|id| !self.have.contains_key(id))
            .copied()
            .collect()
    }

    /// The block, and where it was proposed, if all its bodies are here.
    fn assemble(mut self) -> (Block, SignedProposal) {
        let ids = self.compact.transactions.iter();
        let transactions = ids.filter_map(|id| self.have.remove(id)).collect();
        let block = Block {
            header: self.compact.header,
            transactions,
            parent_certificate: self.compact.parent_certificate,
        };
        (block, self.proposal)
    }
}

impl Candidates {
    /// A block that is here whole.
    pub(super) fn block(&self, hash: &BlockHash) -> Option<&Arc<Block>> {
        self.whole.get(hash).map(|w| &w.block)
    }

    /// What was found of a block that was executed, or why it is invalid.
    pub(super) fn judgement(&self, hash: &BlockHash) -> Option<&Result<Executed, String>> {
        self.whole.get(hash)?.judgement.as_ref()
    }

    /// Remembers what came of executing a block.
    pub(super) fn judged(&mut self, hash: &BlockHash, judgement: Result<Executed, String>) {
        if let Some(whole) = self.whole.get_mut(hash) {
            whole.judgement = Some(judgement);
        }
    }

    /// A block that was executed and found valid, and what came of it.
    pub(super) fn take_executed(&mut self, hash: &BlockHash) -> Option<(Arc<Block>, Executed)> {
        let whole = self.whole.remove(hash)?;
        Some((whole.block, whole.judgement?.ok()?))
    }

    /// The body of a transaction of one of the blocks.
    pub(super) fn transaction(&self, id: &TxId) -> Option<&VerifiedTransaction> {
        let whole = self.whole.values().find_map(|w| w.transaction(id));
        whole.or_else(|| self.incomplete.values().find_map(|i| i.have.get(id)))
    }

    /// Takes a whole block in, unless it is here.
    pub(super) fn put(&mut self, block: Arc<Block>, proposal: Option<SignedProposal>) -> BlockHash {
        let hash = block.hash();
        self.incomplete.remove(&hash);
        self.whole.entry(hash).or_insert(Whole {
            block,
            judgement: None,
            proposal,
            verdict_given: false,
            positions: OnceCell::new(),
            round: proposal.map(|p| p.proposal.round),
        });
        hash
    }

    /// Where a block was proposed, while it waits for a verdict.
    pub(super) fn proposal(&self, hash: &BlockHash) -> Option<SignedProposal> {
        self.whole.get(hash)?.proposal
    }

    /// The proposals of whole blocks that wait for a verdict.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &BlockProposal> {
        let waiting = self.whole.values().filter_map(|w| w.proposal.as_ref());
        waiting.map(|p| &p.proposal)
    }

    /// Consensus is given a verdict on the block: it waits no more, and one is enough for all rounds.
    pub(super) fn verdict_given(&mut self, hash: &BlockHash) {
        if let Some(whole) = self.whole.get_mut(hash) {
            whole.proposal = None;
            whole.verdict_given = true;
        }
    }

    /// A proposal came. Whether it is of a whole block that has no verdict yet, and so waits for one, is the answer: its
    /// time had not come, or a crash came first.
    pub(super) fn proposed_again(&mut self, proposal: SignedProposal) -> bool {
        let whole = self.whole.get_mut(&proposal.proposal.block);
        let Some(whole) = whole.filter(|w| !w.verdict_given) else {
            return false;
        };
        whole.proposal = Some(proposal);
        true
    }

    /// The block this node proposed in a round.
    pub(super) fn own(&self, round: Round) -> Option<BlockHash> {
        let hash = self.own.get(&round)?;
        self.whole.contains_key(hash).then_some(*hash)
    }

    /// Remembers what this node proposed in a round, for good.
    pub(super) fn proposed(&mut self, round: Round, hash: BlockHash) {
        self.own.entry(round).or_insert(hash);
    }

    /// Whether there is use for another copy of a proposal. Who passed it on is remembered as having the bodies.
    pub(super) fn wants(&mut self, proposal: &BlockProposal, from: PublicKey) -> bool {
        let (hash, round) = (&proposal.block, proposal.round);
        if self.whole.contains_key(hash) {
            return false;
        }
        if let Some(incomplete) = self.incomplete.get_mut(hash) {
            let sources = &mut incomplete.sources;
            if sources.len() < SOURCES_MAX && !sources.contains(&from) {
                sources.push(from);
            }
            return false;
        }
        let whole = self.whole.values().filter_map(|w| w.round);
        let incomplete = self.incomplete.values().map(|i| i.proposal.proposal.round);
        whole.chain(incomplete).filter(|r| *r == round).count() < A_ROUND_MAX
    }

    /// Waits for the bodies of a block.
    pub(super) fn wait(&mut self, hash: BlockHash, incomplete: Incomplete) {
        self.incomplete.insert(hash, incomplete);
    }

    /// Whom to ask for which bodies of a block, another one each time. None if nothing is missing.
    pub(super) fn ask(&mut self, hash: &BlockHash) -> Option<(PublicKey, Vec<TxId>)> {
        let incomplete = self.incomplete.get_mut(hash)?;
        let from = *incomplete.sources.first()?;
        incomplete.sources.rotate_left(1);
        let missing = incomplete.missing();
        (!missing.is_empty()).then_some((from, missing))
    }

    /// Bodies came. Those that a block does not name change nothing.
    pub(super) fn bodies(&mut self, hash: &BlockHash, bodies: Vec<VerifiedTransaction>) {
        let Some(incomplete) = self.incomplete.get_mut(hash) else {
            return;
        };
        let missing: HashSet<TxId> = incomplete.missing().into_iter().collect();
        let wanted = bodies.into_iter().filter(|t| missing.contains(&t.id()));
        incomplete.have.extend(wanted.map(|t| (t.id(), t)));
    }

    /// Puts a block together whose bodies are all here.
    pub(super) fn complete(&mut self, hash: &BlockHash) -> bool {
        let incomplete = self.incomplete.remove(hash);
        match incomplete {
            Some(incomplete) if incomplete.missing().is_empty() => {
                let (block, proposal) = incomplete.assemble();
                self.put(Arc::new(block), Some(proposal));
                true
            }
            Some(incomplete) => {
                self.incomplete.insert(*hash, incomplete);
                false
            }
            None => false,
        }
    }
}
