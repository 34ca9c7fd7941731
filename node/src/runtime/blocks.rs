//! Where transactions are: from ids to blocks. Derived from the block log, on disk in [`ledger::store::Index`].
//!
//! # How
//! A block that has just become final is found at once, in memory: [`TransactionIndex::add`] puts it into the [`backlog`],
//! from which a thread of the lowest priority takes many blocks at a time to the disk, which is cheaper
//! (see the head of [`ledger::store::index`]). What a crash or a stop leaves in the backlog is in the log, with its
//! outcomes, and is indexed at the next start without executing anything.
//!
//! Blocks that are fetched later, from before the others, are put below them ([`TransactionIndex::add_earlier`]).
//!
//! The index holds where things are. What is said of a block (hash, root) is read from its record in the log.
//!
//! # Bounds
//! The backlog holds [`backlog::TRANSACTIONS_MAX`] transactions. A replica that commits faster than this disk takes in
//! waits then ([`TransactionIndex::wait_for_room`]), as it waits for its log.
//!
//! # Trust
//! An index that is damaged, of another format, or not of this log is set aside and rebuilt. One that fails while the node
//! runs is used no more: the newest blocks are answered from memory, older transactions are unknown until the next start.

mod backlog;
#[cfg(test)]
mod tests;

use super::NodeError;
use crate::handle::{Inclusion, NotHere};
use backlog::{Backlog, Worker};
use ledger::{
    block::{Block, CommittedBlock, Header},
    codec,
    hash::{BlockHash, Hash, StateRoot, TxId},
    state::{Code, Outcome, State},
    store::{
        BlockEntry, BlockRecord, HashPrefix, Index, LogReader, PrefixMatch, StoreError, Told,
        TxPlace,
    },
    units::Height,
};
use std::{path::Path, sync::Arc};

/// Transactions that are put into the index at once while it is brought up to the log.
const REBUILD_TRANSACTIONS: usize = 1 << 16;

/// Blocks that are put below the others at once, while it is brought up to the log.
const EARLIER_AT_ONCE: u64 = 512;
/// A log of more blocks than that is not indexed without a word.
const TOLD_BLOCKS: u64 = 1_000;

/// What the index keeps of a block.
pub(super) struct Indexed {
    root: StateRoot,
    /// Its transactions in the order of their ids.
    entry: BlockEntry,
}

impl Indexed {
    pub(super) fn of(block: &Block, state: &State, outcomes: &[(TxId, Outcome)]) -> Self {
        let (height, hash) = (block.header.height, block.hash());
        Self::new(height, hash, state.root(), outcomes)
    }

    fn new(height: Height, hash: BlockHash, root: StateRoot, outcomes: &[(TxId, Outcome)]) -> Self {
        let place = |(position, (id, outcome)): (u32, &(TxId, Outcome))| {
            let told = Told {
                code: u32::from(outcome.code as u16),
                found: outcome.found,
            };
            (Hash::from(*id), position, told)
        };
        let mut transactions: Vec<_> = (0..).zip(outcomes).map(place).collect();
        transactions.sort_unstable_by_key(|(id, ..)| *id);
        let entry = BlockEntry {
            height,
            hash: hash.into(),
            transactions,
        };
        Self { root, entry }
    }

    /// A block as the log has it.
    fn of_log(payload: &[u8]) -> Result<Self, String> {
        let committed: CommittedBlock =
            codec::decode_unchecked(payload, ledger::block::BLOCK_BYTES_MAX)
                .map_err(|e| e.to_string())?;
        let outcomes = committed.verified_outcomes().map_err(|e| e.to_string())?;
        let header = &committed.block.header;
        let (height, hash, root) = (header.height, header.hash(), header.state_root);
        Ok(Self::new(height, hash, root, &outcomes))
    }

    fn place(&self, id: &Hash) -> Option<TxPlace> {
        let transactions = &self.entry.transactions;
        let at = transactions.binary_search_by_key(id, |(id, ..)| *id).ok()?;
        let (_, position, told) = *transactions.get(at)?;
        let height = self.entry.height;
        Some(TxPlace {
            height,
            position,
            told,
        })
    }
}

/// The index. Cloning shares it.
#[derive(Clone)]
pub(super) struct TransactionIndex {
    backlog: Arc<Backlog>,
    disk: Index,
    log: LogReader,
    /// Ends, with its thread, when the last clone goes.
    _worker: Arc<Worker>,
}

impl TransactionIndex {
    /// Opens the index in a folder and brings it up to the log.
    pub(super) fn open(dir: &Path, log: LogReader) -> Result<Self, NodeError> {
        let (mut disk, mut state) = Index::open(dir)?;
        if let Err(unusable) = continues(&disk, state.up_to, &log)? {
            tracing::warn!(unusable, "the index is made anew from the block log");
            (disk, state) = disk.start_over()?;
            bring_up(&disk, &log)?;
        }
        let backlog = Arc::new(Backlog::default());
        let worker =
            Worker::start(Arc::clone(&backlog), disk.clone(), state.counted).map_err(|source| {
                NodeError::Machine {
                    what: "cannot start the index's thread",
                    source,
                }
            })?;
        Ok(Self {
            backlog,
            disk,
            log,
            _worker: Arc::new(worker),
        })
    }

    /// Waits while the disk is too far behind. Not to be called with a lock held that others need.
    pub(super) fn wait_for_room(&self) {
        self.backlog.wait_for_room();
    }

    /// Adds the next block. From now on it is found.
    pub(super) fn add(&self, block: Indexed) {
        self.backlog.push(block);
    }

    /// The lowest height that is indexed on disk.
    pub(super) fn begins_at(&self) -> Option<Height> {
        self.disk.from()
    }

    /// Adds blocks that were put before the log's.
    ///
    /// # Errors
    /// [`StoreError`]; the next start adds them.
    pub(super) fn add_earlier(&self, records: &[BlockRecord]) -> Result<(), StoreError> {
        let read = |record: &BlockRecord| Indexed::of_log(&record.payload).map(|block| block.entry);
        let entries: Result<Vec<BlockEntry>, String> = records.iter().map(read).collect();
        match entries {
            Ok(entries) => self.disk.put_earlier(&entries),
            Err(error) => {
                tracing::error!(
                    error,
                    "blocks from before this node's history are not indexed"
                );
                Ok(())
            }
        }
    }

    pub(super) fn committed(&self, id: &TxId) -> Option<Inclusion> {
        let hash = Hash::from(*id);
        // Memory first: what leaves it meanwhile is on disk before.
        let recent = self.backlog.find(|block| {
            let block_hash = BlockHash::from(block.entry.hash);
            Some((block.place(&hash)?, block_hash, block.root))
        });
        let (place, block, state_root) = match recent {
            Some(found) => found,
            None => {
                let place = known(self.disk.transaction(&hash))??;
                let header = self.header(place.height)?;
                (place, header.hash(), header.state_root)
            }
        };
        Some(Inclusion {
            height: place.height,
            block,
            state_root,
            index: place.position,
            outcome: Outcome {
                code: Code::from_number(u16::try_from(place.told.code).ok()?)?,
                found: place.told.found,
            },
        })
    }

    pub(super) fn root(&self, height: Height) -> Option<StateRoot> {
        let recent = |block: &Indexed| (block.entry.height == height).then_some(block.root);
        self.backlog
            .find(recent)
            .or_else(|| self.header(height).map(|header| header.state_root))
    }

    pub(super) fn transaction_id(&self, prefix: &str) -> Result<TxId, NotHere> {
        let recent = |block: &Indexed, begins: &HashPrefix| {
            let ids = &block.entry.transactions;
            let from = ids.partition_point(|(id, ..)| id.as_bytes().as_slice() < begins.lowest());
            let hits = ids.iter().skip(from).map(|(id, ..)| *id);
            hits.take_while(|id| begins.begins(id)).take(2).collect()
        };
        let found = self.by_prefix(prefix, recent, |begins| {
            self.disk.find_transaction(begins).map(Found::from)
        })?;
        Ok(found.into())
    }

    pub(super) fn block_height(&self, prefix: &str) -> Result<Height, NotHere> {
        let recent = |block: &Indexed, begins: &HashPrefix| {
            let hash = Some(block.entry.hash);
            hash.filter(|hash| begins.begins(hash))
                .into_iter()
                .collect()
        };
        let hash = self.by_prefix(prefix, recent, |begins| {
            self.disk.find_block(begins).map(Found::from)
        })?;
        let recent = |block: &Indexed| (block.entry.hash == hash).then_some(block.entry.height);
        let found = match self.backlog.find(recent) {
            Some(height) => Ok(Some(height)),
            None => self.disk.block_height(&hash),
        };
        found
            .map_err(|e| NotHere::Failed(e.to_string()))?
            .ok_or_else(|| NotHere::Unknown(prefix.into()))
    }

    /// The one hash that begins with the digits, in memory or on disk; a block on its way is in both.
    fn by_prefix(
        &self,
        prefix: &str,
        recent: impl Fn(&Indexed, &HashPrefix) -> Vec<Hash>,
        on_disk: impl Fn(&HashPrefix) -> Result<Found, StoreError>,
    ) -> Result<Hash, NotHere> {
        let unknown = || NotHere::Unknown(prefix.into());
        let begins: HashPrefix = prefix.parse().map_err(|_| unknown())?;
        let mut hits = self.backlog.collect(|block| recent(block, &begins));
        match on_disk(&begins).map_err(|e| NotHere::Failed(e.to_string()))? {
            Found::Many => return Err(NotHere::Ambiguous(prefix.into())),
            Found::One(hash) => hits.push(hash),
            Found::None => {}
        }
        hits.sort_unstable();
        hits.dedup();
        match hits.as_slice() {
            [] => Err(unknown()),
            [one] => Ok(*one),
            _ => Err(NotHere::Ambiguous(prefix.into())),
        }
    }

    fn header(&self, height: Height) -> Option<Header> {
        let record = known(self.log.read(height))??;
        CommittedBlock::logged_header(&record.payload).ok()
    }
}

/// What a prefix leads to on disk.
enum Found {
    None,
    One(Hash),
    Many,
}

impl<T> From<PrefixMatch<T>> for Found {
    fn from(found: PrefixMatch<T>) -> Self {
        match found {
            PrefixMatch::None => Self::None,
            PrefixMatch::One(hash, _) => Self::One(hash),
            PrefixMatch::Many => Self::Many,
        }
    }
}

/// What the disk answers; a failure is told to the operator, and is no answer.
fn known<T>(answer: Result<T, StoreError>) -> Option<T> {
    answer
        .inspect_err(|error| tracing::error!(%error, "a transaction or block was not looked up"))
        .ok()
}

/// Brings the index up to the log, or says why it is of no use.
fn continues(
    disk: &Index,
    up_to: Option<Height>,
    log: &LogReader,
) -> Result<Result<(), String>, NodeError> {
    let brought = match up_to.map_or(Ok(true), |up_to| belongs(disk, up_to, log)) {
        Ok(true) => bring_up(disk, log).and_then(|()| bring_down(disk, log)),
        Ok(false) => return Ok(Err("it is not of this block log".into())),
        Err(error) => Err(error),
    };
    match brought {
        Err(NodeError::Store(error @ StoreError::Index { .. })) => Ok(Err(error.to_string())),
        other => other.map(Ok),
    }
}

/// Whether the log has the block that the index ends with. One that begins after it, as after a fast sync, has none of what
/// the index knows.
fn belongs(disk: &Index, up_to: Height, log: &LogReader) -> Result<bool, NodeError> {
    let Some(record) = log.read(up_to)? else {
        return Ok(false);
    };
    Ok(disk.block_height(&record.block_hash)? == Some(up_to))
}

/// Puts in what the log has below the index: a crash came between the two.
fn bring_down(disk: &Index, log: &LogReader) -> Result<(), NodeError> {
    let Some(first) = log.first() else {
        return Ok(());
    };
    // From the top down: below what is there.
    while let Some(from) = disk.from().filter(|from| *from > first) {
        let lowest = Height(from.0.saturating_sub(EARLIER_AT_ONCE)).max(first);
        let mut entries: Vec<BlockEntry> = Vec::new();
        for record in log.iter_from(lowest) {
            let record = record?;
            if record.height >= from {
                break;
            }
            entries.push(indexed(&record)?.entry);
        }
        disk.put_earlier(&entries)?;
        if disk.from() == Some(from) {
            break; // nothing would change that
        }
    }
    Ok(())
}

fn indexed(record: &BlockRecord) -> Result<Indexed, NodeError> {
    Indexed::of_log(&record.payload).map_err(|why| NodeError::Log {
        height: record.height,
        why,
    })
}

/// Puts in what the log has above the index.
fn bring_up(disk: &Index, log: &LogReader) -> Result<(), NodeError> {
    let above = disk.up_to().unwrap_or(Height::GENESIS);
    let Some(first) = log.first().map(|first| first.max(above.next())) else {
        return Ok(());
    };
    let last = log.last();
    if let Some(last) = last.filter(|last| last.0.saturating_sub(first.0) > TOLD_BLOCKS) {
        tracing::info!(%first, %last, "bringing the index up to the block log, which may take a while");
    }
    let mut waiting: Vec<BlockEntry> = Vec::new();
    let (mut transactions, mut blocks) = (0, 0u64);
    for record in log.iter_from(first) {
        let record = record?;
        let block = indexed(&record)?;
        transactions += block.entry.transactions.len();
        blocks += 1;
        waiting.push(block.entry);
        if transactions >= REBUILD_TRANSACTIONS {
            disk.put_blocks(&waiting)?;
            waiting.clear();
            transactions = 0;
        }
    }
    disk.put_blocks(&waiting)?;
    if blocks > 0 {
        tracing::info!(blocks, "brought the index up to the block log");
    }
    Ok(())
}
