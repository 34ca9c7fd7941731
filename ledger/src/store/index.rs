//! Where blocks and transactions are, by their hashes. Derived from the block log, and never on a durable path.
//!
//! It is a `sled` database, which loses the newest writes in a crash and, rarely, cannot be opened after one (sled
//! #1533, #1527). Neither matters: what it lacks is added again from the log ([`IndexState::up_to`] says from where), and
//! what cannot be opened is set aside for a fresh one. Whoever acts on an answer reads the block it names with
//! [`LogReader::read_expecting`](super::LogReader::read_expecting), so that an index of another log is noticed too.
//!
//! What an owner does at its start: if `up_to` is above the log's last height, [`Index::start_over`]; then
//! [`Index::put_blocks`] with the blocks of the log above `up_to`, and [`Index::put_earlier`] with those below `from`.
//!
//! # Cost
//! Ids are random, so that a tree on disk with an entry for each is changed all over, ever more the larger it is. Transactions are in
//! sorted runs instead (`runs`), and the more come at once, the better: an entry costs one or two microseconds of a core, however many there
//! are (`cargo bench -p tintype-ledger --bench index`, docs/benchmarks.md). To find one every run is asked, and whole ones are not merged any
//! more: at 100 M transactions there are some hundred of them, and an id that is nowhere takes milliseconds.
//!
//! What a crash cuts off is not in the extent, which is written last, and comes again. sled asks for up to 1 GiB of cache, so that is set.
//! A sled that finds nonsense may panic instead of returning an error; every call is guarded for that.

mod extent;
mod prefix;
mod runs;
mod unreliable;

pub use prefix::{BadPrefix, HashPrefix};

use extent::Extent;
use runs::{Run, Runs};
pub(super) use unreliable::open_sled;
use unreliable::{guarded, set_aside};

use super::format::{be_u32, be_u64};
use super::{Result, StoreError, disk};
use crate::{hash::Hash, units::Height};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The memory that sled may use for its cache.
pub const CACHE_BYTES: u64 = 64 << 20;
/// Up to so many entries are counted at opening, at about half a million a second.
pub const COUNTED_ENTRIES_MAX: u64 = 1_000_000;
/// The version of what the entries look like. Another one is rebuilt.
const FORMAT_VERSION: u32 = 3;

const META: &str = "meta";
const BLOCKS: &str = "blocks";
const KEY_VERSION: &str = "version";
const KEY_EXTENT: &str = "extent";

/// What opening an index found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexState {
    /// The highest height that is indexed; none in a fresh index.
    pub up_to: Option<Height>,
    /// Where an index that could not be used was put.
    pub set_aside: Option<PathBuf>,
    /// Whether its entries were counted. If not, there are more than [`COUNTED_ENTRIES_MAX`] of them, and
    /// [`Index::check`] belongs into a background thread.
    pub counted: bool,
}

/// Where a transaction is, and its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxPlace {
    /// The height of its block.
    pub height: Height,
    /// Which of the block's transactions it is, from 0.
    pub position: u32,
    /// What became of it.
    pub told: Told,
}

/// What became of a transaction, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The code of its outcome, as in the transactions root.
    pub code: u32,
    /// The figure that explains it.
    pub found: u64,
}

/// A block to be indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: Hash,
    /// Its transactions, each with its position in the block, in any order.
    pub transactions: Vec<(Hash, u32, Told)>,
}

/// What begins with a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixMatch<T> {
    /// Nothing.
    None,
    /// One thing: its hash, and where it is.
    One(Hash, T),
    /// Several: more digits are needed.
    Many,
}

/// The index, open.
#[derive(Clone, Debug)]
pub struct Index {
    path: PathBuf,
    db: sled::Db,
    meta: sled::Tree,
    blocks: sled::Tree,
    runs: Runs,
    /// As in `meta`.
    extent: Arc<Mutex<Option<Arc<Extent>>>>,
    writing: Arc<Mutex<()>>,
}

impl Index {
    /// Opens the index in the folder `dir`, which is made if it is missing.
    ///
    /// One that is damaged, or of another format version, is set aside as `DIR.damaged-N`, and an empty one takes its
    /// place. One that is in use by another process, or that the disk refuses to open, is an error.
    pub fn open(dir: &Path) -> Result<(Self, IndexState)> {
        match Self::try_open(dir) {
            Err(error @ StoreError::Index { .. }) => {
                let aside = set_aside(dir)?;
                tracing::warn!(
                    %error, folder = aside.as_ref().map(|p| p.display().to_string()),
                    "the index is unusable and is rebuilt from the block log"
                );
                let (index, state) = Self::try_open(dir)?;
                let set_aside = aside;
                Ok((index, IndexState { set_aside, ..state }))
            }
            other => other,
        }
    }

    /// Closes this index, sets it aside as one that is damaged, and opens an empty one: when it failed, when it is ahead
    /// of the log, or when it belongs to another. Clones of it must be gone.
    pub fn start_over(self) -> Result<(Self, IndexState)> {
        let dir = self.path.clone();
        drop(self);
        let set_aside = set_aside(&dir)?;
        let (index, state) = Self::try_open(&dir)?;
        Ok((index, IndexState { set_aside, ..state }))
    }

    fn try_open(dir: &Path) -> Result<(Self, IndexState)> {
        disk::create_dir(dir)?;
        guarded(dir, || {
            let db = open_sled(dir)?;
            let meta = db.open_tree(META)?;
            let blocks = db.open_tree(BLOCKS)?;
            let runs = Runs::open(&db)?;
            match meta.get(KEY_VERSION)? {
                Some(version) if *version == FORMAT_VERSION.to_be_bytes() => {}
                Some(_) => return Err(unsupported("it has another format version")),
                // Entries without a version: a crash between the two, or not ours.
                None if !(meta.is_empty() && blocks.is_empty() && runs.is_empty()) => {
                    return Err(unsupported("it has entries and no format version"));
                }
                None => {
                    meta.insert(KEY_VERSION, &FORMAT_VERSION.to_be_bytes())?;
                    db.flush()?;
                }
            }
            let extent = meta.get(KEY_EXTENT)?;
            let extent = extent.map(|extent| Extent::decode(&extent)).transpose()?;
            runs.sweep(extent.as_ref().map_or(&[], |extent| &extent.runs))?;
            let entries = extent
                .as_ref()
                .map_or(0, |e| e.blocks.saturating_add(e.transactions()));
            let state = IndexState {
                up_to: extent.as_ref().map(|extent| extent.up_to),
                set_aside: None,
                counted: entries <= COUNTED_ENTRIES_MAX,
            };
            let index = Self {
                path: dir.to_owned(),
                db,
                meta,
                blocks,
                runs,
                extent: Arc::new(Mutex::new(extent.map(Arc::new))),
                writing: Arc::default(),
            };
            if state.counted {
                index.count()?;
            }
            Ok((index, state))
        })
    }

    /// Adds blocks, in the order of their heights. One at or below [`Index::up_to`] is there already, and nothing is done
    /// with it. None may be left out: an index with a gap is of no use, and is made anew. The more at once, the cheaper: see
    /// the module's head.
    pub fn put_blocks<'a>(&self, blocks: impl IntoIterator<Item = &'a BlockEntry>) -> Result<()> {
        let _alone = self.alone();
        guarded(&self.path, || {
            let before = self.extent();
            let is_new = |block: &&BlockEntry| {
                before
                    .as_ref()
                    .is_none_or(|extent| block.height > extent.up_to)
            };
            let new: Vec<&BlockEntry> = blocks.into_iter().filter(is_new).collect();
            let (Some(first), Some(last)) = (new.first(), new.last()) else {
                return Ok(());
            };
            let nothing = || Extent {
                up_to: Height(first.height.0.saturating_sub(1)),
                blocks: 0,
                runs: Vec::new(),
            };
            let before = before.map_or_else(nothing, |extent| (*extent).clone());
            if first.height != before.up_to.next() {
                return Err(unsupported("the blocks do not go on where it ends"));
            }
            self.insert(before, last.height, &new)
        })
    }

    /// Adds blocks that end just below [`Index::from`], in the order of their heights. Those from it on are there already,
    /// and of others than those just below it none is added. A crash in between leaves entries that do not count, and are
    /// put in again.
    pub fn put_earlier<'a>(&self, blocks: impl IntoIterator<Item = &'a BlockEntry>) -> Result<()> {
        let _alone = self.alone();
        guarded(&self.path, || {
            let Some(before) = self.extent() else {
                return Ok(());
            };
            let from = before.from();
            let is_new = |block: &&BlockEntry| block.height < from;
            let new: Vec<&BlockEntry> = blocks.into_iter().filter(is_new).collect();
            if new.last().is_none_or(|last| last.height.next() != from) {
                return Ok(());
            }
            let up_to = before.up_to;
            self.insert((*before).clone(), up_to, &new)
        })
    }

    /// Puts in what these blocks hold, and merges what is to be merged then.
    fn insert(&self, extent: Extent, up_to: Height, new: &[&BlockEntry]) -> sled::Result<()> {
        let Extent {
            blocks, mut runs, ..
        } = extent;
        let places = places(new);
        if !places.is_empty() {
            runs.push(self.runs.put(&runs, &places)?);
        }
        for block in new {
            self.blocks
                .insert(block.hash.as_bytes(), &block.height.0.to_be_bytes())?;
        }
        let mut extent = Extent {
            up_to,
            blocks: blocks.saturating_add(new.len() as u64),
            runs,
        };
        self.set_extent(&extent)?;
        while let Some(merged) = runs::due(&extent.runs) {
            let whole = self.runs.merge(&extent.runs, &merged)?;
            let expected = merged.iter().map(|run| run.entries).sum();
            if whole.entries != expected {
                return Err(lacks("transactions in some runs", whole.entries, expected));
            }
            extent.runs.retain(|run| !merged.contains(run));
            extent.runs.push(whole);
            self.set_extent(&extent)?;
            for run in merged {
                self.runs.remove(run)?;
            }
        }
        Ok(())
    }

    /// One at a time changes how much is indexed.
    fn alone(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in it counts from now on, and nothing else does.
    fn set_extent(&self, extent: &Extent) -> sled::Result<()> {
        self.meta.insert(KEY_EXTENT, extent.encode())?;
        let now = Some(Arc::new(extent.clone()));
        // Held for no longer than it takes: who puts in is the last to get a core, and others answer meanwhile.
        let before = std::mem::replace(&mut *self.lock_extent(), now);
        drop(before);
        Ok(())
    }

    fn lock_extent(&self) -> MutexGuard<'_, Option<Arc<Extent>>> {
        self.extent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extent(&self) -> Option<Arc<Extent>> {
        self.lock_extent().clone()
    }

    /// What the runs that count have. While they are asked, some may be merged and removed: then it is asked again, unless what was
    /// found is `enough`.
    fn ask<T>(
        &self,
        search: impl Fn(&[Run]) -> sled::Result<T>,
        enough: impl Fn(&T) -> bool,
    ) -> Result<T> {
        loop {
            let extent = self.extent();
            let runs = extent.as_ref().map_or(&[][..], |extent| &extent.runs);
            let found = guarded(&self.path, || search(runs))?;
            let now = self.extent();
            let same_runs = match (&extent, &now) {
                (Some(then), Some(now)) => Arc::ptr_eq(then, now),
                (then, now) => then.is_none() && now.is_none(),
            };
            if same_runs || enough(&found) {
                return Ok(found);
            }
        }
    }

    /// The lowest height that is indexed; up to [`Index::up_to`] there is no gap.
    pub fn from(&self) -> Option<Height> {
        self.extent().map(|extent| extent.from())
    }

    /// The highest height that is indexed.
    pub fn up_to(&self) -> Option<Height> {
        self.extent().map(|extent| extent.up_to)
    }

    /// Lets the next [`Index::open`] set this one aside: for one that is found bad while it is in use.
    pub fn condemn(&self) -> Result<()> {
        guarded(&self.path, || {
            self.meta.insert(KEY_VERSION, &[0; 4])?;
            self.db.flush().map(|_| ())
        })
    }

    /// Counts the entries, and fails if some are missing: the answer is then [`Index::start_over`]. Blocks may be put in
    /// meanwhile; the count is of those that were in before.
    pub fn check(&self) -> Result<()> {
        guarded(&self.path, || self.count())
    }

    /// One flipped bit in sled's file can make it lose some and answer "not there" without an error:
    /// seen in 1 of 50 such files of 90,000 entries. Hence the count.
    fn count(&self) -> sled::Result<()> {
        let Some(extent) = self.extent() else {
            return Ok(());
        };
        // What a crash left of a block whose end did not get in is outside the extent.
        let mut blocks = 0u64;
        for value in self.blocks.iter().values() {
            blocks += u64::from(extent.covers(read_height(&value?)?));
        }
        if blocks != extent.blocks {
            return Err(lacks("blocks", blocks, extent.blocks));
        }
        for run in &extent.runs {
            let transactions = self.runs.count(*run)?;
            // One that was merged meanwhile was counted then, and may be half removed by now.
            let counts = |extent: Arc<Extent>| extent.runs.contains(run);
            if transactions != run.entries && self.extent().is_some_and(counts) {
                return Err(lacks("transactions in one run", transactions, run.entries));
            }
        }
        Ok(())
    }

    /// The height of the block of this hash.
    pub fn block_height(&self, block_hash: &Hash) -> Result<Option<Height>> {
        guarded(&self.path, || {
            let value = self.blocks.get(block_hash.as_bytes())?;
            value.map(|value| read_height(&value)).transpose()
        })
    }

    /// Where the transaction of this id is.
    pub fn transaction(&self, id: &Hash) -> Result<Option<TxPlace>> {
        let search = |runs: &[Run]| {
            // The newest first: they are asked for most.
            let mut found = runs.iter().rev().map(|run| self.runs.get(*run, id));
            found.find_map(Result::transpose).transpose()
        };
        self.ask(search, Option::is_some)
    }

    /// The block whose hash begins so.
    pub fn find_block(&self, prefix: &HashPrefix) -> Result<PrefixMatch<Height>> {
        guarded(&self.path, || {
            let mut found = PrefixMatch::None;
            for entry in self.blocks.range(prefix.lowest()..) {
                let (hash, height) = entry?;
                if !prefix.is_begin_of(&hash) {
                    break;
                }
                found = found.and(PrefixMatch::One(read_hash(&hash)?, read_height(&height)?));
            }
            Ok(found)
        })
    }

    /// The transaction whose id begins so.
    pub fn find_transaction(&self, prefix: &HashPrefix) -> Result<PrefixMatch<TxPlace>> {
        let search = |runs: &[Run]| {
            let mut found = runs.iter().map(|run| self.runs.find(*run, prefix));
            found.try_fold(PrefixMatch::None, |all, one| Ok(all.and(one?)))
        };
        self.ask(search, |_| false)
    }

    /// Writes out what is in memory, which happens by itself twice a second.
    pub fn flush(&self) -> Result<()> {
        guarded(&self.path, || self.db.flush().map(|_| ()))
    }
}

impl<T> PrefixMatch<T> {
    /// What both have.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, found) | (found, Self::None) => found,
            _ => Self::Many,
        }
    }
}

/// Where the transactions of blocks are, in the order of their ids.
fn places<'a>(blocks: &[&'a BlockEntry]) -> Vec<(&'a Hash, TxPlace)> {
    let mut places = Vec::new();
    for block in blocks {
        let height = block.height;
        let place = |(id, position, told): &'a (Hash, u32, Told)| {
            let (position, told) = (*position, *told);
            (
                id,
                TxPlace {
                    height,
                    position,
                    told,
                },
            )
        };
        places.extend(block.transactions.iter().map(place));
    }
    places.sort_unstable_by_key(|(id, _)| *id);
    places
}

impl TxPlace {
    /// Bytes of it.
    const BYTES: usize = 24;

    fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.height.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.position.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.told.code.to_be_bytes());
        bytes[16..].copy_from_slice(&self.told.found.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> sled::Result<Self> {
        let bytes: &[u8; Self::BYTES] = bytes
            .try_into()
            .map_err(|_| unsupported("an entry has the wrong length"))?;
        Ok(Self {
            height: Height(be_u64(bytes, 0)),
            position: be_u32(bytes, 8),
            told: Told {
                code: be_u32(bytes, 12),
                found: be_u64(bytes, 16),
            },
        })
    }
}

fn read_height(bytes: &[u8]) -> sled::Result<Height> {
    let bytes = bytes
        .try_into()
        .map_err(|_| unsupported("an entry has the wrong length"))?;
    Ok(Height(u64::from_be_bytes(bytes)))
}

fn read_hash(bytes: &[u8]) -> sled::Result<Hash> {
    let bytes = bytes
        .try_into()
        .map_err(|_| unsupported("a key has the wrong length"))?;
    Ok(Hash(bytes))
}

fn lacks(what: &str, found: u64, expected: u64) -> sled::Error {
    sled::Error::ReportableBug(format!("it holds {found} {what}, not {expected}"))
}

fn unsupported(what: &str) -> sled::Error {
    sled::Error::Unsupported(what.to_owned())
}
