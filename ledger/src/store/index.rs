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
//! Measured on one core, random ids, 54 bytes an entry, microseconds an entry:
//!
//! | how they are put in | at 0.4 M entries | at 3 M |
//! |---|---|---|
//! | blocks of 2,300 as they come, `sled::Batch`es of 256 | 11.5 | |
//! | the same, each block sorted | 8.5 | |
//! | 20,000 sorted, `Batch`es of 256 | 6.2 | |
//! | 20,000 sorted, `Batch`es of 2,000 | 5.8 (930 MB resident) | |
//! | **20,000 sorted, one by one** | **4.0** (105 MB) | **12.5** (306 MB) |
//!
//! So many blocks are put in at once, sorted, one entry after the other. A block that a crash cuts in half is above the
//! extent and comes again. sled asks for up to 1 GiB of cache, so that is set. A sled that finds nonsense may panic
//! instead of returning an error; every call is guarded for that.

mod prefix;
mod unreliable;

pub use prefix::{BadPrefix, HashPrefix};

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
const FORMAT_VERSION: u32 = 2;

const META: &str = "meta";
const BLOCKS: &str = "blocks";
const TRANSACTIONS: &str = "transactions";
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

/// How much is indexed. One value, so that it is never half written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    /// All blocks up to here: so many of them, without a gap.
    up_to: Height,
    blocks: u64,
    transactions: u64,
}

impl Extent {
    fn encode(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.up_to.0.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.blocks.to_be_bytes());
        bytes[16..].copy_from_slice(&self.transactions.to_be_bytes());
        bytes
    }

    /// The lowest height that is indexed: there is no gap above it.
    fn from(&self) -> Height {
        Height(self.up_to.0.saturating_add(1).saturating_sub(self.blocks))
    }

    fn covers(&self, height: Height) -> bool {
        (self.from()..=self.up_to).contains(&height)
    }

    fn decode(bytes: &[u8]) -> sled::Result<Self> {
        let bytes: &[u8; 24] = bytes
            .try_into()
            .map_err(|_| unsupported("its extent has the wrong length"))?;
        Ok(Self {
            up_to: Height(be_u64(bytes, 0)),
            blocks: be_u64(bytes, 8),
            transactions: be_u64(bytes, 16),
        })
    }
}

/// The index, open.
#[derive(Clone, Debug)]
pub struct Index {
    path: PathBuf,
    db: sled::Db,
    meta: sled::Tree,
    blocks: sled::Tree,
    transactions: sled::Tree,
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
            let transactions = db.open_tree(TRANSACTIONS)?;
            match meta.get(KEY_VERSION)? {
                Some(version) if *version == FORMAT_VERSION.to_be_bytes() => {}
                Some(_) => return Err(unsupported("it has another format version")),
                // Entries without a version: a crash between the two, or not ours.
                None if !(meta.is_empty() && blocks.is_empty() && transactions.is_empty()) => {
                    return Err(unsupported("it has entries and no format version"));
                }
                None => {
                    meta.insert(KEY_VERSION, &FORMAT_VERSION.to_be_bytes())?;
                    db.flush()?;
                }
            }
            let index = Self {
                path: dir.to_owned(),
                db,
                meta,
                blocks,
                transactions,
                writing: Arc::default(),
            };
            let extent = index.extent()?;
            let entries = extent.map_or(0, |e| e.blocks.saturating_add(e.transactions));
            let counted = entries <= COUNTED_ENTRIES_MAX;
            if counted {
                index.count()?;
            }
            let state = IndexState {
                up_to: extent.map(|extent| extent.up_to),
                set_aside: None,
                counted,
            };
            Ok((index, state))
        })
    }

    /// Adds blocks, in the order of their heights. One at or below [`Index::up_to`] is there already, and nothing is done
    /// with it. None may be left out: an index with a gap is of no use, and is made anew. The more at once, the cheaper: see
    /// the module's head.
    pub fn put_blocks<'a>(&self, blocks: impl IntoIterator<Item = &'a BlockEntry>) -> Result<()> {
        let _alone = self.alone();
        guarded(&self.path, || {
            let before = self.extent()?;
            let is_new =
                |block: &&BlockEntry| before.is_none_or(|extent| block.height > extent.up_to);
            let new: Vec<&BlockEntry> = blocks.into_iter().filter(is_new).collect();
            let Some(last) = new.last() else {
                return Ok(());
            };
            let next = before.map(|extent| extent.up_to.next());
            if next.is_some_and(|next| new.first().is_some_and(|first| first.height != next)) {
                return Err(unsupported("the blocks do not go on where it ends"));
            }
            let transactions = self.insert(&new)?;
            let (blocks, total) = before.map_or((0, 0), |e| (e.blocks, e.transactions));
            self.set_extent(Extent {
                up_to: last.height,
                blocks: blocks.saturating_add(new.len() as u64),
                transactions: total.saturating_add(transactions),
            })
        })
    }

    /// Adds blocks that end just below [`Index::from`], in the order of their heights. Those from it on are there already,
    /// and of others than those just below it none is added. A crash in between leaves entries that do not count, and are
    /// put in again.
    pub fn put_earlier<'a>(&self, blocks: impl IntoIterator<Item = &'a BlockEntry>) -> Result<()> {
        let _alone = self.alone();
        guarded(&self.path, || {
            let Some(before) = self.extent()? else {
                return Ok(());
            };
            let from = before.from();
            let is_new = |block: &&BlockEntry| block.height < from;
            let new: Vec<&BlockEntry> = blocks.into_iter().filter(is_new).collect();
            if new.last().is_none_or(|last| last.height.next() != from) {
                return Ok(());
            }
            let transactions = self.insert(&new)?;
            self.set_extent(Extent {
                up_to: before.up_to,
                blocks: before.blocks.saturating_add(new.len() as u64),
                transactions: before.transactions.saturating_add(transactions),
            })
        })
    }

    /// Puts in what these blocks hold, and says how many transactions that is.
    fn insert(&self, new: &[&BlockEntry]) -> sled::Result<u64> {
        let mut places: Vec<(&Hash, TxPlace)> = Vec::new();
        for block in new {
            let height = block.height;
            places.extend(block.transactions.iter().map(|(id, position, told)| {
                let (position, told) = (*position, *told);
                (
                    id,
                    TxPlace {
                        height,
                        position,
                        told,
                    },
                )
            }));
        }
        places.sort_unstable_by_key(|(id, _)| *id);
        for (id, place) in &places {
            self.transactions.insert(id.as_bytes(), &place.encode())?;
        }
        for block in new {
            self.blocks
                .insert(block.hash.as_bytes(), &block.height.0.to_be_bytes())?;
        }
        Ok(places.len() as u64)
    }

    /// One at a time changes how much is indexed.
    fn alone(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_extent(&self, extent: Extent) -> sled::Result<()> {
        self.meta.insert(KEY_EXTENT, &extent.encode()).map(|_| ())
    }

    /// The lowest height that is indexed; up to [`Index::up_to`] there is no gap.
    pub fn from(&self) -> Result<Option<Height>> {
        guarded(&self.path, || Ok(self.extent()?.map(|e| e.from())))
    }

    /// The highest height that is indexed.
    pub fn up_to(&self) -> Result<Option<Height>> {
        guarded(&self.path, || Ok(self.extent()?.map(|e| e.up_to)))
    }

    fn extent(&self) -> sled::Result<Option<Extent>> {
        let value = self.meta.get(KEY_EXTENT)?;
        value.map(|value| Extent::decode(&value)).transpose()
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
        let extent = self.extent()?;
        // What a crash left of a block whose end did not get in is outside the extent.
        let counts = |height: Height| extent.is_some_and(|extent| extent.covers(height));
        let mut blocks = 0u64;
        for value in self.blocks.iter().values() {
            blocks += u64::from(counts(read_height(&value?)?));
        }
        let mut transactions = 0u64;
        for value in self.transactions.iter().values() {
            transactions += u64::from(counts(TxPlace::decode(&value?)?.height));
        }
        let expected = extent.map_or((0, 0), |e| (e.blocks, e.transactions));
        if (blocks, transactions) != expected {
            return Err(sled::Error::ReportableBug(format!(
                "it holds {blocks} blocks and {transactions} transactions, not {} and {}",
                expected.0, expected.1
            )));
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
        guarded(&self.path, || {
            let value = self.transactions.get(id.as_bytes())?;
            value.map(|value| TxPlace::decode(&value)).transpose()
        })
    }

    /// The block whose hash begins so.
    pub fn find_block(&self, prefix: &HashPrefix) -> Result<PrefixMatch<Height>> {
        find(&self.path, &self.blocks, prefix, read_height)
    }

    /// The transaction whose id begins so.
    pub fn find_transaction(&self, prefix: &HashPrefix) -> Result<PrefixMatch<TxPlace>> {
        find(&self.path, &self.transactions, prefix, TxPlace::decode)
    }

    /// Writes out what is in memory, which happens by itself twice a second.
    pub fn flush(&self) -> Result<()> {
        guarded(&self.path, || self.db.flush().map(|_| ()))
    }
}

impl TxPlace {
    fn encode(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.height.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.position.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.told.code.to_be_bytes());
        bytes[16..].copy_from_slice(&self.told.found.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> sled::Result<Self> {
        let bytes: &[u8; 24] = bytes
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

fn find<T>(
    path: &Path,
    tree: &sled::Tree,
    prefix: &HashPrefix,
    read: impl Fn(&[u8]) -> sled::Result<T>,
) -> Result<PrefixMatch<T>> {
    guarded(path, || {
        let mut found = PrefixMatch::None;
        for entry in tree.range(prefix.lowest()..) {
            let (key, value) = entry?;
            if !prefix.is_begin_of(&key) {
                break;
            }
            if matches!(found, PrefixMatch::One(..)) {
                return Ok(PrefixMatch::Many);
            }
            let hash = key
                .as_ref()
                .try_into()
                .map_err(|_| unsupported("a key has the wrong length"))?;
            found = PrefixMatch::One(Hash(hash), read(&value)?);
        }
        Ok(found)
    })
}

fn unsupported(what: &str) -> sled::Error {
    sled::Error::Unsupported(what.to_owned())
}
