//! The block log as readers see it: which segments there are, and where each block lies.
//!
//! The records of the last segment are known from the scan at opening and from the appends since. Those of an older
//! segment are found when one of them is first asked for, by hopping over its record headers: opening a long log costs
//! two small reads a segment. A few of these tables are kept. Checksum, height and kind are checked at every read.

use super::error::{IoContext, StoreError};
use super::format::{FileHeader, FileKind, Previous, RecordKind};
use super::{Result, disk, scan};
use crate::{hash::Hash, units::Height};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How many tables of older segments are kept in memory: 4 bytes a block each.
const TABLES_KEPT: usize = 8;
/// The digits of a segment's name: every `u64` fits, and names sort as heights do.
const NAME_DIGITS: usize = 20;
const NAME_END: &str = ".log";
/// The block's hash, at the front of each payload.
const HASH_BYTES: usize = 32;

/// Where a block lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The first height of its segment, which is its name.
    pub segment: Height,
    /// Where its record begins.
    pub offset: u64,
    /// The record's length, with its header.
    pub bytes: u64,
}

/// A block as it was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRecord {
    /// Its height.
    pub height: Height,
    /// The hash it was logged under.
    pub block_hash: Hash,
    /// What was logged: block and certificate.
    pub payload: Vec<u8>,
}

/// The offsets of a segment's records.
#[derive(Debug)]
pub(super) struct Table {
    pub file: Arc<File>,
    pub salt: u64,
    pub len: u64,
    pub offsets: Vec<u32>,
}

/// All that is needed to read one block without holding a lock.
struct Found {
    segment: u64,
    file: Arc<File>,
    salt: u64,
    offset: u64,
    end: u64,
}

impl Found {
    fn new(segment: u64, table: &Table, offset: u32) -> Self {
        Self {
            segment,
            file: Arc::clone(&table.file),
            salt: table.salt,
            offset: u64::from(offset),
            end: table.len,
        }
    }
}

/// The segments, oldest first.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// The first heights of all but the last one, each with its length in bytes.
    pub old: Vec<Previous>,
    /// The first height of the last one, and its table. None in a log without a file.
    pub last: Option<(u64, Table)>,
}

impl Segments {
    /// The lowest height held.
    pub fn first(&self) -> Option<u64> {
        match (self.old.first(), &self.last) {
            (Some(old), _) => Some(old.first),
            (None, Some((first, table))) => (!table.offsets.is_empty()).then_some(*first),
            (None, None) => None,
        }
    }

    /// The height that must come next; none if any may.
    pub fn next(&self) -> Option<u64> {
        let (first, table) = self.last.as_ref()?;
        Some(first.saturating_add(table.offsets.len() as u64))
    }

    /// The highest height held.
    pub fn last(&self) -> Option<u64> {
        self.first().and(self.next()?.checked_sub(1))
    }

    fn count(&self) -> usize {
        self.old.len() + usize::from(self.last.is_some())
    }
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    segments: RwLock<Segments>,
    /// Tables of older segments, the one used last at the end.
    tables: Mutex<Vec<(Previous, Arc<Table>)>>,
}

/// Reads blocks from a log. It can be cloned and shared; it never waits for a write or an fsync.
#[derive(Clone, Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
}

impl LogReader {
    /// Opens a log for reading alone and changes nothing, not even a torn tail, which is left out. This is for
    /// inspecting a log, one that a node has open included; blocks appended after this call are not seen.
    pub fn open(dir: &Path) -> Result<(Self, super::OpenReport)> {
        let (reader, report, damage) = Self::open_to_damage(dir)?;
        match damage {
            Some(damage) => Err(damage),
            None => Ok((reader, report)),
        }
    }

    /// As [`LogReader::open`], but damage that is met in the last segment ends the log there and is returned beside:
    /// for an audit, which checks what stands before it. Older segments are checked when they are read.
    pub fn open_to_damage(dir: &Path) -> Result<(Self, super::OpenReport, Option<StoreError>)> {
        let (mut segments, last) = list(dir)?;
        let (mut cut, mut damage) = (None, None);
        if let Some(first) = last {
            let path = segment_path(dir, first);
            let file = File::open(&path).at("open", &path)?;
            let header = FileHeader::read(&file, &path, FileKind::LogSegment)?;
            let mut offsets = Vec::new();
            let mut len = 0;
            let scanned = scan::scan(&file, &path, FileKind::LogSegment, |record| {
                offsets.push(check_block(&path, first, record)?);
                len = record.offset
                    + super::format::RECORD_HEADER_BYTES
                    + record.payload.len() as u64;
                Ok(())
            });
            match scanned {
                Ok(found) => (cut, len) = (found.cut, found.len),
                Err(error) if error.is_damage() => damage = Some(error),
                Err(error) => return Err(error),
            }
            let table = Table {
                file: Arc::new(file),
                salt: header.salt,
                len,
                offsets,
            };
            segments.last = Some((first, table));
        }
        let reader = Self::new(dir, segments);
        let report = reader.report(cut);
        Ok((reader, report, damage))
    }

    pub(super) fn new(dir: &Path, segments: Segments) -> Self {
        Self {
            shared: Arc::new(Shared {
                dir: dir.to_owned(),
                segments: RwLock::new(segments),
                tables: Mutex::default(),
            }),
        }
    }

    pub(super) fn report(&self, cut: Option<super::Cut>) -> super::OpenReport {
        let segments = self.segments();
        super::OpenReport {
            first: segments.first().map(Height),
            last: segments.last().map(Height),
            segments: segments.count(),
            cut,
        }
    }

    /// The lowest height held.
    pub fn first(&self) -> Option<Height> {
        self.segments().first().map(Height)
    }

    /// The highest height held, durable or not yet.
    pub fn last(&self) -> Option<Height> {
        self.segments().last().map(Height)
    }

    /// The height that comes next; none if a first block of any height would do.
    pub fn next_height(&self) -> Option<Height> {
        self.segments().next().map(Height)
    }

    /// The block at `height`, if it is held. Damage is an error with its place.
    pub fn read(&self, height: Height) -> Result<Option<BlockRecord>> {
        let Some(found) = self.find(height.0)? else {
            return Ok(None);
        };
        let path = segment_path(&self.shared.dir, found.segment);
        let number = height.0 - found.segment;
        let damaged = |what: &str| StoreError::damaged(&path, found.offset, number, what);
        let mut hash = [0; HASH_BYTES];
        let at = scan::RecordAt {
            salt: found.salt,
            offset: found.offset,
            end: found.end,
        };
        let (header, payload) =
            scan::read_record(&found.file, &path, at, &mut hash)?.map_err(damaged)?;
        if (header.kind, header.height) != (RecordKind::Block, height.0) {
            return Err(damaged("the record is not the block that belongs here"));
        }
        Ok(Some(BlockRecord {
            height,
            block_hash: Hash(hash),
            payload,
        }))
    }

    /// The block at `height` if it is held *and* is the one of this hash. One that is another is an error: whoever
    /// asked believed otherwise, as an index that belongs to another log does.
    pub fn read_expecting(&self, height: Height, block_hash: &Hash) -> Result<Option<BlockRecord>> {
        let Some(record) = self.read(height)? else {
            return Ok(None);
        };
        if record.block_hash != *block_hash {
            return Err(StoreError::OtherBlock {
                path: self.shared.dir.clone(),
                height,
                expected: *block_hash,
                found: record.block_hash,
            });
        }
        Ok(Some(record))
    }

    /// The file that has the block at `height`, and the byte where its record begins: for people, to look at.
    pub fn place(&self, height: Height) -> Option<(PathBuf, u64)> {
        let found = self.find(height.0).ok()??;
        Some((segment_path(&self.shared.dir, found.segment), found.offset))
    }

    /// The blocks from `height` on, one after the other, up to the end at the time it is reached. It ends after an
    /// error.
    pub fn iter_from(&self, height: Height) -> Blocks {
        Blocks {
            reader: self.clone(),
            next: Some(height),
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    pub(super) fn segments(&self) -> RwLockReadGuard<'_, Segments> {
        // A panic elsewhere cannot leave the list half changed: each change is one assignment or push.
        let lock = self.shared.segments.read();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn segments_mut(&self) -> RwLockWriteGuard<'_, Segments> {
        let lock = self.shared.segments.write();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget_tables(&self) {
        self.tables().clear();
    }

    /// The segment of a block, how to read it, and the block's offset.
    fn find(&self, height: u64) -> Result<Option<Found>> {
        let (segment, after) = {
            let segments = self.segments();
            if let Some((first, table)) = &segments.last
                && height >= *first
            {
                let index = usize::try_from(height - first).ok();
                let offset = index.and_then(|index| table.offsets.get(index));
                return Ok(offset.map(|offset| Found::new(*first, table, *offset)));
            }
            let count = segments.old.partition_point(|old| old.first <= height);
            let Some(segment) = count.checked_sub(1).and_then(|i| segments.old.get(i)) else {
                return Ok(None);
            };
            let next = segments.old.get(count).map(|old| old.first);
            let after = next.or(segments.last.as_ref().map(|(first, _)| *first));
            (*segment, after.unwrap_or(u64::MAX))
        };
        let table = match self.table(segment, after) {
            // It was removed since the list was looked at.
            Err(_) if !self.segments().old.contains(&segment) => return Ok(None),
            other => other?,
        };
        let index = usize::try_from(height - segment.first).ok();
        let offset = index.and_then(|index| table.offsets.get(index));
        Ok(offset.map(|offset| Found::new(segment.first, &table, *offset)))
    }

    /// The table of an older segment, which must reach up to the height `after`.
    fn table(&self, segment: Previous, after: u64) -> Result<Arc<Table>> {
        {
            let mut tables = self.tables();
            if let Some(i) = tables.iter().position(|(of, _)| *of == segment) {
                let entry = tables.remove(i);
                let table = Arc::clone(&entry.1);
                tables.push(entry);
                return Ok(table);
            }
        }
        let path = segment_path(&self.shared.dir, segment.first);
        let file = File::open(&path).at("open", &path)?;
        let header = FileHeader::read(&file, &path, FileKind::LogSegment)?;
        let offsets = scan::offsets(&file, &path, &header, segment.bytes)?;
        if segment.first.checked_add(offsets.len() as u64) != Some(after) {
            let what = format!("it ends before block {after}, where the next segment begins");
            let records = offsets.len() as u64;
            return Err(StoreError::damaged(&path, segment.bytes, records, what));
        }
        let table = Arc::new(Table {
            file: Arc::new(file),
            salt: header.salt,
            len: segment.bytes,
            offsets,
        });
        self.keep_table(segment, Arc::clone(&table));
        Ok(table)
    }

    pub(super) fn keep_table(&self, segment: Previous, table: Arc<Table>) {
        let mut tables = self.tables();
        if tables.len() >= TABLES_KEPT {
            tables.remove(0);
        }
        tables.push((segment, table));
    }

    fn tables(&self) -> MutexGuard<'_, Vec<(Previous, Arc<Table>)>> {
        let lock = self.shared.tables.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Streams blocks in the order of their heights.
#[derive(Clone, Debug)]
pub struct Blocks {
    reader: LogReader,
    next: Option<Height>,
}

impl Iterator for Blocks {
    type Item = Result<BlockRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        let height = self.next?;
        let result = self.reader.read(height).transpose();
        self.next = match &result {
            Some(Ok(_)) => Some(height.next()),
            _ => None,
        };
        result
    }
}

/// The file of the segment that begins at `first`.
pub(super) fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:0width$}{NAME_END}", width = NAME_DIGITS))
}

fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(NAME_END)?;
    let plain = digits.len() == NAME_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// The first heights of a folder's segments, by their names, in order. Other names are none of the log's business.
pub(super) fn names(dir: &Path) -> Result<Vec<u64>> {
    let names = disk::names(dir)?;
    Ok(names.iter().filter_map(|name| parse_name(name)).collect())
}

/// A segment as its name and its header show it, and what it says of the one after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub segment: Previous,
    next: Option<u64>,
    born_bytes: u64,
}

impl Shown {
    pub fn new(header: &FileHeader, bytes: u64) -> Self {
        let first = header.first;
        Self {
            segment: Previous { first, bytes },
            next: header.next,
            born_bytes: header.born_bytes,
        }
    }

    /// Whether the segment with this header comes next: it was begun after this one, or this one was put before it.
    pub fn is_followed_by(&self, header: &FileHeader) -> bool {
        let was_put_before =
            self.next == Some(header.first) && self.segment.bytes == self.born_bytes;
        header.previous == Some(self.segment) || was_put_before
    }
}

/// The older segments of a folder, and the first height of the last one. Of each two neighbours one names the other, and
/// how long the earlier one is, so that a missing, foreign or shortened one is found here.
pub(super) fn list(dir: &Path) -> Result<(Segments, Option<u64>)> {
    let mut segments = Segments::default();
    let mut last: Option<Shown> = None;
    for first in names(dir)? {
        let path = segment_path(dir, first);
        let file = File::open(&path).at("open", &path)?;
        let header = FileHeader::read(&file, &path, FileKind::LogSegment)?;
        let bytes = file.metadata().at("read the length of", &path)?.len();
        check_name(&path, first, &header)?;
        if let Some(before) = last.take() {
            if !before.is_followed_by(&header) {
                return Err(broken_chain(dir, &path, &header, &before));
            }
            segments.old.push(before.segment);
        }
        last = Some(Shown::new(&header, bytes));
    }
    Ok((segments, last.map(|last| last.segment.first)))
}

/// Checks that a file holds what its name says.
pub(super) fn check_name(path: &Path, first: u64, header: &FileHeader) -> Result<()> {
    if header.first == first {
        return Ok(());
    }
    let what = format!("by its content it holds the blocks from {}", header.first);
    Err(StoreError::damaged(path, 0, 0, what))
}

fn broken_chain(dir: &Path, path: &Path, header: &FileHeader, before: &Shown) -> StoreError {
    let found = before.segment;
    let shortened = |bytes: u64| {
        let what = format!("it was {bytes} bytes long when it was finished");
        StoreError::damaged(&segment_path(dir, found.first), found.bytes, 0, what)
    };
    let missing = |first: u64| {
        let what = "this segment is missing";
        StoreError::damaged(&segment_path(dir, first), 0, 0, what)
    };
    match (header.previous, before.next) {
        (Some(expected), _) if expected.first == found.first => shortened(expected.bytes),
        (_, Some(next)) if next == header.first => shortened(before.born_bytes),
        (_, Some(next)) => missing(next),
        (Some(expected), None) => missing(expected.first),
        (None, None) => {
            StoreError::damaged(path, 0, 0, "it does not belong after the segment before it")
        }
    }
}

/// Checks that a scanned record is the block that belongs there, and returns its offset.
pub(super) fn check_block(path: &Path, first: u64, record: &scan::Record<'_>) -> Result<u32> {
    let expected = first.checked_add(record.number);
    let damaged = |what: &str| StoreError::damaged(path, record.offset, record.number, what);
    if record.kind != RecordKind::Block
        || Some(record.height) != expected
        || record.payload.len() < HASH_BYTES
    {
        return Err(damaged("the record is not the block that belongs here"));
    }
    u32::try_from(record.offset).map_err(|_| damaged("the segment is too long"))
}

/// The length of a block's record.
pub(super) fn block_bytes(payload_len: usize) -> u64 {
    super::format::RECORD_HEADER_BYTES + (HASH_BYTES + payload_len) as u64
}
