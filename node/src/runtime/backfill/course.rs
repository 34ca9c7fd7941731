//! Which blocks to ask whom for, and whether what came is them. Pure: the clock is an argument.
//!
//! The course goes down from the lowest block that is held. That one's header names the hash of its parent and of the
//! certificate that stands beside it, so the block below is known before anybody is asked, and so on down to the first.
//!
//! # Trust
//! A peer is believed in nothing. A block must hash to what the one above says, its transactions must be those that its
//! header names, and their outcomes those under its transactions root; its certificate is not the peer's, but the one that
//! the block above holds. Only the figures beside the outcomes are told ([`CommittedBlock::outcomes`]).
//!
//! Who lies is never asked again. Who has nothing, or does not answer, rests for [`REST`].
//!
//! # Bounds
//! In memory: [`SEGMENT_BYTES`] and one answer. An answer that was cut short shrinks the next question to what fits.

use ledger::{
    block::CommittedBlock, certificate::Certificate, codec, hash::BlockHash, store::BlockRecord,
    units::Height,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

/// Blocks asked for at once, at the most.
const AT_ONCE_MAX: u64 = 64;
/// An answer of fewer bytes lets the next question be larger.
const ANSWER_BYTES: usize = 1 << 20;
/// So much is collected before it is written: one file of the log.
const SEGMENT_BYTES: u64 = 16 << 20;
/// How long a peer that could not help is left alone.
const REST: Duration = Duration::from_secs(30);
/// Peers remembered for what they did; more than a node has.
const PEERS_MAX: usize = 1024;

/// A peer, and which blocks it says it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Having<P> {
    pub(super) peer: P,
    pub(super) earliest: Height,
    pub(super) latest: Height,
}

/// Blocks to ask a peer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question<P> {
    pub(super) peer: P,
    pub(super) from: Height,
    pub(super) count: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<P> {
    /// Ask, and tell what came of it.
    Ask(Question<P>),
    /// Write what was collected: [`Course::segment`].
    Write,
    /// Nobody can help now.
    Wait,
    /// The first block is held.
    Done,
}

/// What no honest peer sends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lie {
    /// It is no block, or not a whole one.
    #[error("what came as block {height}: {why}")]
    NoBlock { height: Height, why: String },
    /// It is a block, and not the one that the chain has there.
    #[error("what came as block {height} is {found}, the chain has {expected} there")]
    OtherBlock {
        height: Height,
        found: BlockHash,
        expected: BlockHash,
    },
    /// More blocks than were asked for.
    #[error("{found} blocks came where {asked} were asked for")]
    TooMany { found: usize, asked: u64 },
}

/// What is known of the block below the lowest one.
struct Wanted {
    height: Height,
    hash: BlockHash,
    certificate: Certificate,
}

impl Wanted {
    /// The parent of a block; none of the first.
    fn below(block: &CommittedBlock) -> Option<Self> {
        let header = &block.block.header;
        let height = header.height.previous().filter(|h| *h > Height::GENESIS)?;
        let certificate = block.block.parent_certificate.clone()?;
        let hash = header.parent;
        Some(Self {
            height,
            hash,
            certificate,
        })
    }

    /// This very block out of a peer's bytes, as the log keeps it.
    fn verify(&self, bytes: &[u8]) -> Result<(BlockRecord, CommittedBlock), Lie> {
        let height = self.height;
        let no_block = |why: String| Lie::NoBlock { height, why };
        let claimed = CommittedBlock::decode(bytes).map_err(|e| no_block(e.to_string()))?;
        let (found, expected) = (claimed.claim().block.header.hash(), self.hash);
        if found != expected {
            return Err(Lie::OtherBlock {
                height,
                found,
                expected,
            });
        }
        let mut block = claimed.verify_body().map_err(|e| no_block(e.to_string()))?;
        block
            .verified_outcomes()
            .map_err(|e| no_block(e.to_string()))?;
        block.certificate = self.certificate.clone();
        let record = BlockRecord {
            height,
            block_hash: found.into(),
            payload: codec::encode(&block),
        };
        Ok((record, block))
    }
}

/// The way down.
pub(super) struct Course<P> {
    wanted: Option<Wanted>,
    /// In the order of their heights, just below what is in the log.
    collected: VecDeque<BlockRecord>,
    collected_bytes: u64,
    at_once: u64,
    /// When each was asked last, counted, so that they take turns.
    asked: BTreeMap<P, u64>,
    questions: u64,
    resting: BTreeMap<P, Instant>,
    liars: BTreeSet<P>,
}

impl<P: Copy + Ord> Course<P> {
    /// Down from the lowest block of a log.
    pub(super) fn below(lowest: &CommittedBlock) -> Self {
        Self {
            wanted: Wanted::below(lowest),
            collected: VecDeque::new(),
            collected_bytes: 0,
            at_once: AT_ONCE_MAX,
            asked: BTreeMap::new(),
            questions: 0,
            resting: BTreeMap::new(),
            liars: BTreeSet::new(),
        }
    }

    /// What to do next, with these peers.
    pub(super) fn next(&mut self, now: Instant, peers: &[Having<P>]) -> Step<P> {
        let Some(wanted) = self.wanted.as_ref().map(|wanted| wanted.height) else {
            return if self.collected.is_empty() {
                Step::Done
            } else {
                Step::Write
            };
        };
        if self.collected_bytes >= SEGMENT_BYTES {
            return Step::Write;
        }
        self.resting.retain(|_, until| *until > now);
        let can_help = |having: &&Having<P>| {
            (having.earliest..=having.latest).contains(&wanted)
                && !self.liars.contains(&having.peer)
                && !self.resting.contains_key(&having.peer)
        };
        let turn = |having: &&Having<P>| self.asked.get(&having.peer).copied();
        let Some(Having { peer, earliest, .. }) =
            peers.iter().filter(can_help).min_by_key(turn).copied()
        else {
            // So that what is here is not lost, however long it takes.
            return if self.collected.is_empty() {
                Step::Wait
            } else {
                Step::Write
            };
        };
        let lowest = wanted.0.saturating_sub(self.at_once.saturating_sub(1));
        let from = Height(lowest.max(earliest.0).max(1));
        let count = wanted.0 - from.0 + 1;
        self.questions += 1;
        if self.asked.len() >= PEERS_MAX {
            self.asked.clear();
        }
        self.asked.insert(peer, self.questions);
        Step::Ask(Question { peer, from, count })
    }

    /// What a peer answered. It is the blocks from the height asked for on, as many as it likes up to so many.
    ///
    /// # Errors
    /// [`Lie`]; the blocks above the lie are kept, and the peer is asked no more.
    pub(super) fn take(
        &mut self,
        question: Question<P>,
        blocks: &[impl AsRef<[u8]>],
        now: Instant,
    ) -> Result<(), Lie> {
        let taken = self.take_checked(question, blocks, now);
        if taken.is_err() {
            if self.liars.len() >= PEERS_MAX {
                self.liars.clear();
            }
            self.liars.insert(question.peer);
        }
        taken
    }

    fn take_checked(
        &mut self,
        question: Question<P>,
        blocks: &[impl AsRef<[u8]>],
        now: Instant,
    ) -> Result<(), Lie> {
        let (found, asked) = (blocks.len() as u64, question.count);
        if found > asked {
            let found = blocks.len();
            return Err(Lie::TooMany { found, asked });
        }
        if found == 0 {
            self.rest(question.peer, now);
            return Ok(());
        }
        if found < asked {
            // What came does not reach up to what is known: fewer are asked for, so that they all fit.
            self.at_once = found;
            return Ok(());
        }
        let bytes: usize = blocks.iter().map(|block| block.as_ref().len()).sum();
        for block in blocks.iter().rev() {
            let Some(wanted) = &self.wanted else {
                break;
            };
            let (record, block) = wanted.verify(block.as_ref())?;
            self.collected_bytes += record.payload.len() as u64;
            self.collected.push_front(record);
            self.wanted = Wanted::below(&block);
        }
        if bytes < ANSWER_BYTES {
            self.at_once = self.at_once.saturating_mul(2).min(AT_ONCE_MAX);
        }
        Ok(())
    }

    /// A peer could not help, or did not answer.
    pub(super) fn rest(&mut self, peer: P, now: Instant) {
        if self.resting.len() >= PEERS_MAX {
            self.resting.clear();
        }
        self.resting.insert(peer, now + REST);
    }

    /// What was collected, in the order of the heights, to be put before what the log holds.
    pub(super) fn segment(&mut self) -> Vec<BlockRecord> {
        self.collected_bytes = 0;
        std::mem::take(&mut self.collected).into()
    }
}

#[cfg(test)]
impl<P> Course<P> {
    /// As if what was collected were as much as a segment takes.
    pub(super) fn fill_segment(&mut self) {
        self.collected_bytes = SEGMENT_BYTES;
    }
}
