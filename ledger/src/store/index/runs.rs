//! Where transactions are, in sorted runs.
//!
//! Ids are random: put one by one into a tree on disk, each lands on a page of its own, which is read, changed and written for it, and
//! the larger the tree the fewer of its pages are in memory. So transactions that come together are sorted and written as one *run*,
//! [`CHUNK_ENTRIES`] to an entry of sled. To find one, every run is asked; so when there are [`MERGED_RUNS`] runs of about one size,
//! they are merged into a larger one, until it has [`WHOLE_ENTRIES`] (a log-structured merge with size tiers, as in Cassandra). Of a
//! node under load an entry is so written three times in all, however many there are; of an idle one, whose runs begin small, up to seven.
//!
//! Which runs count is said elsewhere, by a list that is written after them: whatever a crash left is not in it, and is swept out.

use super::{HashPrefix, PrefixMatch, TxPlace, read_hash, unsupported};
use crate::hash::Hash;
use crate::store::format::{be_u32, be_u64};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Transactions in one entry of sled.
const CHUNK_ENTRIES: usize = 64;
/// So many runs of one size are merged.
const MERGED_RUNS: usize = 8;
/// A run of so many transactions is left alone: merging it takes a second, and that is what others may have to wait for.
const WHOLE_ENTRIES: u64 = 1 << 18;

const ID_BYTES: usize = 32;
const ENTRY_BYTES: usize = ID_BYTES + TxPlace::BYTES;

/// A transaction's id and where it is.
type Entry = [u8; ENTRY_BYTES];

fn id_of(entry: &Entry) -> &[u8] {
    &entry[..ID_BYTES]
}

fn place_of(entry: &Entry) -> sled::Result<TxPlace> {
    TxPlace::decode(&entry[ID_BYTES..])
}

/// A run that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Its name; newer ones have larger numbers.
    number: u32,
    /// Transactions in it.
    pub entries: u64,
}

impl Run {
    /// Bytes of it in a list of runs.
    pub const BYTES: usize = 12;

    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.number.to_be_bytes());
        bytes[4..].copy_from_slice(&self.entries.to_be_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        Self {
            number: be_u32(bytes, 0),
            entries: be_u64(bytes, 4),
        }
    }

    /// Runs of one tier have about one size; none if it is not merged any more.
    fn tier(&self) -> Option<u32> {
        let merged = self.entries < WHOLE_ENTRIES;
        merged.then(|| self.entries.max(1).ilog(MERGED_RUNS as u64))
    }

    fn key(&self, id: &[u8]) -> Vec<u8> {
        [&self.number.to_be_bytes(), id].concat()
    }
}

/// Those of some runs that are to be merged.
pub(super) fn due(runs: &[Run]) -> Option<Vec<Run>> {
    let tiers = runs.iter().filter_map(Run::tier);
    let crowded =
        |tier: &u32| runs.iter().filter(|run| run.tier() == Some(*tier)).count() >= MERGED_RUNS;
    let tier = tiers.filter(crowded).min()?;
    let of_tier = |run: &&Run| run.tier() == Some(tier);
    Some(runs.iter().filter(of_tier).copied().collect())
}

/// What all runs have, those that count and others.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    chunks: sled::Tree,
    /// Numbers below have been given: also to a run that failed halfway, of which something may be there.
    numbers: Arc<AtomicU32>,
}

impl Runs {
    pub fn open(db: &sled::Db) -> sled::Result<Self> {
        let (chunks, numbers) = (db.open_tree("transactions")?, Arc::default());
        Ok(Self { chunks, numbers })
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Writes a run beside those that count. `places` are in the order of their ids.
    pub fn put(&self, beside: &[Run], places: &[(&Hash, TxPlace)]) -> sled::Result<Run> {
        let entry = |(id, place): &(&Hash, TxPlace)| {
            let mut entry = [0; ENTRY_BYTES];
            entry[..ID_BYTES].copy_from_slice(id.as_bytes());
            entry[ID_BYTES..].copy_from_slice(&place.encode());
            Ok(entry)
        };
        self.write(beside, places.iter().map(entry))
    }

    /// Writes what some runs have as one. They are still there.
    pub fn merge(&self, beside: &[Run], merged: &[Run]) -> sled::Result<Run> {
        let mut sources: Vec<_> = merged.iter().map(|run| self.entries(*run)).collect();
        let mut heads = BinaryHeap::new();
        for (index, source) in sources.iter_mut().enumerate() {
            let first = source.next().transpose()?;
            heads.extend(first.map(|entry| Reverse((entry, index))));
        }
        let next = || {
            let mut head = heads.peek_mut()?;
            let Reverse((entry, index)) = *head;
            match sources[index].next() {
                Some(Ok(after)) => *head = Reverse((after, index)),
                Some(Err(error)) => return Some(Err(error)),
                None => drop(PeekMut::pop(head)),
            }
            Some(Ok(entry))
        };
        self.write(beside, std::iter::from_fn(next))
    }

    fn write(
        &self,
        beside: &[Run],
        entries: impl Iterator<Item = sled::Result<Entry>>,
    ) -> sled::Result<Run> {
        let newest = beside.iter().map(|run| run.number).max();
        let after = newest.map_or(0, |newest| newest.saturating_add(1));
        let number = self.numbers.load(Ordering::Relaxed).max(after);
        self.numbers
            .store(number.saturating_add(1), Ordering::Relaxed);
        let mut run = Run { number, entries: 0 };
        let mut chunk: Vec<Entry> = Vec::with_capacity(CHUNK_ENTRIES);
        for entry in entries {
            chunk.push(entry?);
            if chunk.len() == CHUNK_ENTRIES {
                self.write_chunk(&mut run, &mut chunk)?;
            }
        }
        self.write_chunk(&mut run, &mut chunk)?;
        Ok(run)
    }

    fn write_chunk(&self, run: &mut Run, chunk: &mut Vec<Entry>) -> sled::Result<()> {
        if let Some(first) = chunk.first() {
            self.chunks
                .insert(run.key(id_of(first)), chunk.as_flattened())?;
            run.entries = run.entries.saturating_add(chunk.len() as u64);
            chunk.clear();
        }
        Ok(())
    }

    /// Removes a run.
    pub fn remove(&self, run: Run) -> sled::Result<()> {
        for key in self.chunks.scan_prefix(run.key(&[])).keys() {
            self.chunks.remove(key?)?;
        }
        Ok(())
    }

    /// Removes all runs but those that count.
    pub fn sweep(&self, counting: &[Run]) -> sled::Result<()> {
        let mut from = Some(0_u32);
        while let Some(start) = from {
            let Some(next) = self.chunks.range(start.to_be_bytes()..).keys().next() else {
                return Ok(());
            };
            let number = number_of(&next?)?;
            if !counting.iter().any(|run| run.number == number) {
                self.remove(Run { number, entries: 0 })?;
            }
            from = number.checked_add(1);
        }
        Ok(())
    }

    /// How many transactions a run has.
    pub fn count(&self, run: Run) -> sled::Result<u64> {
        let mut count = 0_u64;
        for chunk in self.chunks.scan_prefix(run.key(&[])).values() {
            count = count.saturating_add(entries_of(&chunk?)?.len() as u64);
        }
        Ok(count)
    }

    /// Where a run has the transaction of this id.
    pub fn get(&self, run: Run, id: &Hash) -> sled::Result<Option<TxPlace>> {
        let Some((_, chunk)) = self.chunk_at(run, id.as_bytes())? else {
            return Ok(None);
        };
        let entries = entries_of(&chunk)?;
        let found = entries.binary_search_by(|entry| id_of(entry).cmp(id.as_bytes().as_slice()));
        found
            .ok()
            .map(|index| place_of(&entries[index]))
            .transpose()
    }

    /// The transaction of a run whose id begins so.
    pub fn find(&self, run: Run, prefix: &HashPrefix) -> sled::Result<PrefixMatch<TxPlace>> {
        // The chunk before may end with ids that begin so.
        let before = self.chunk_at(run, prefix.lowest())?;
        let start = before.map_or_else(|| run.key(prefix.lowest()), |(key, _)| key.to_vec());
        let mut found = PrefixMatch::None;
        for chunk in self
            .chunks
            .range(start..=run.key(&[u8::MAX; ID_BYTES]))
            .values()
        {
            for entry in entries_of(&chunk?)? {
                let id = id_of(entry);
                if prefix.is_begin_of(id) {
                    found = found.and(PrefixMatch::One(read_hash(id)?, place_of(entry)?));
                } else if id > prefix.lowest() {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// The chunk of a run that an id is in, if it is in the run.
    fn chunk_at(&self, run: Run, id: &[u8]) -> sled::Result<Option<(sled::IVec, sled::IVec)>> {
        let mut chunks = self.chunks.range(run.key(&[])..=run.key(id));
        chunks.next_back().transpose()
    }

    fn entries(&self, run: Run) -> impl Iterator<Item = sled::Result<Entry>> {
        let mut chunks = self.chunks.scan_prefix(run.key(&[])).values();
        let mut chunk = Vec::new().into_iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(entry) = chunk.next() {
                    return Some(Ok(entry));
                }
                let next = chunks
                    .next()?
                    .and_then(|next| Ok(entries_of(&next)?.to_vec()));
                match next {
                    Ok(next) => chunk = next.into_iter(),
                    Err(error) => return Some(Err(error)),
                }
            }
        })
    }
}

fn number_of(key: &[u8]) -> sled::Result<u32> {
    let number = key.first_chunk().map(|number| u32::from_be_bytes(*number));
    number.ok_or_else(|| unsupported("a key has the wrong length"))
}

fn entries_of(chunk: &[u8]) -> sled::Result<&[Entry]> {
    match chunk.as_chunks() {
        (entries, []) => Ok(entries),
        _ => Err(unsupported("an entry has the wrong length")),
    }
}
