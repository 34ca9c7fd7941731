//! The block log: every block a node has committed, in the order of their heights. All else is derived from it.
//!
//! A folder of segments, each a file of [`super::records`] named after its first height. A segment that has reached
//! [`LogOptions::segment_bytes_max`] is synced and the next one begun, so only the last one can have a torn tail. A log
//! may begin at any height: a node that came from a snapshot at H begins at H + 1.
//!
//! A block counts when [`Log::sync`] has returned after its [`Log::append`]; nothing may be acknowledged before.
//!
//! Earlier blocks than those that are held can be put before them, a whole segment at a time: [`super::prepend`].
//!
//! What a log cannot know is that blocks it once held at its very end are gone (see [`super::records`]). Its owner
//! compares [`OpenReport::last`] with what the WAL has seen decided.

use super::error::{IoContext, StoreError};
use super::format::{FileHeader, FileKind, Previous, RecordKind};
use super::prepend::Prepender;
use super::records::{Cut, Latch, RecordFile};
use super::segments::{BlockRecord, Blocks, Location, LogReader, Segments, Table};
use super::{Result, disk, salvage, segments};
use crate::{hash::Hash, units::Height};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The size from which a segment is finished: a few seconds of reading to scan the last one at opening at worst, and
/// 16 files a GiB.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// No segment may be longer than this, whatever is configured: offsets are kept in 32 bits.
pub(super) const SEGMENT_BYTES_LIMIT: u64 = 1 << 30;

/// How a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The size from which a segment is finished. It may be passed by one record.
    pub segment_bytes_max: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes_max: SEGMENT_BYTES_MAX,
        }
    }
}

/// What opening a log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// The lowest height held.
    pub first: Option<Height>,
    /// The highest height held.
    pub last: Option<Height>,
    /// How many files there are.
    pub segments: usize,
    /// The torn tail that was cut off (or left out, by [`LogReader::open`]). No block in it was acknowledged.
    pub cut: Option<Cut>,
}

/// The block log, open for appending. There is one in a process; [`Log::reader`] gives out as many readers as wanted.
#[derive(Debug)]
pub struct Log {
    reader: LogReader,
    options: LogOptions,
    active: Option<RecordFile>,
    durable: Option<Height>,
    latch: Latch,
}

impl Log {
    /// Opens the log in the folder `dir`, which is made if it is missing.
    ///
    /// A torn tail is cut off and reported. Everything that the log then holds has been made durable.
    pub fn open(dir: &Path) -> Result<(Self, OpenReport)> {
        Self::open_with(dir, LogOptions::default())
    }

    /// As [`Log::open`], with options of one's own.
    pub fn open_with(dir: &Path, options: LogOptions) -> Result<(Self, OpenReport)> {
        finish_reset(dir)?;
        disk::create_dir(dir)?;
        for name in disk::names(dir)? {
            if name.ends_with(disk::TEMPORARY_END) {
                disk::remove_file(&dir.join(name))?;
            }
        }
        // Names seen after a crash need not be durable, any more than bytes.
        disk::fsync_dir(dir)?;
        disk::fsync_dir(disk::parent_of(dir))?;
        let (mut segments, last) = segments::list(dir)?;
        let (active, cut) = match last {
            None => (None, None),
            Some(first) => {
                let (active, table, cut) = open_active(dir, first)?;
                segments.last = Some((first, table));
                (Some(active), cut)
            }
        };
        let durable = segments.last().map(Height);
        let reader = LogReader::new(dir, segments);
        let report = reader.report(cut);
        let log = Self {
            reader,
            options,
            active,
            durable,
            latch: Latch::default(),
        };
        Ok((log, report))
    }

    /// After [`Log::open`] failed with [`StoreError::Damaged`]: keeps the blocks before the first damage and sets all
    /// that follows aside in a folder `DIR.damaged-N`, which is returned. The node then fetches the missing blocks
    /// from its peers, verified like any others. Nothing is done to a log without damage.
    ///
    /// This reads and checks the whole log.
    pub fn set_aside_damage(dir: &Path) -> Result<Option<PathBuf>> {
        finish_reset(dir)?;
        salvage::set_aside_damage(dir)
    }

    /// Appends a block, in one write. It is durable after the next [`Log::sync`].
    pub fn append(
        &mut self,
        height: Height,
        block_hash: &Hash,
        payload: &[u8],
    ) -> Result<Location> {
        self.latch.check(self.reader.dir())?;
        if let Some(expected) = self.next()
            && expected != height
        {
            return Err(StoreError::NotConsecutive {
                path: self.reader.dir().to_owned(),
                expected,
                found: height,
            });
        }
        let result = self.append_checked(height.0, block_hash, payload);
        self.latch.note(result)
    }

    fn append_checked(&mut self, height: u64, hash: &Hash, payload: &[u8]) -> Result<Location> {
        let full = self.options.segment_bytes_max.min(SEGMENT_BYTES_LIMIT);
        let mut active = match self.active.take() {
            Some(active) if takes_more(&active, full) => active,
            before => self.begin_segment(before, height)?,
        };
        let appended = active.append(RecordKind::Block, height, &[hash.as_bytes(), payload]);
        let (segment, len, path) = (
            active.header().first,
            active.len(),
            active.path().to_owned(),
        );
        self.active = Some(active);
        let offset = appended?;
        let short = u32::try_from(offset)
            .map_err(|_| StoreError::damaged(&path, offset, 0, "the segment is too long"))?;
        if let Some((_, table)) = &mut self.reader.segments_mut().last {
            table.offsets.push(short);
            table.len = len;
        }
        Ok(Location {
            segment: Height(segment),
            offset,
            bytes: segments::block_bytes(payload.len()),
        })
    }

    /// Finishes the last segment and begins the next one.
    fn begin_segment(&mut self, before: Option<RecordFile>, height: u64) -> Result<RecordFile> {
        let previous = match before {
            None => None,
            Some(mut before) => {
                before.sync()?;
                Some(Previous {
                    first: before.header().first,
                    bytes: before.len(),
                })
            }
        };
        let path = segments::segment_path(self.reader.dir(), height);
        let header = FileHeader::new(FileKind::LogSegment, height, previous);
        let active = RecordFile::prepare(&path, header)?.publish(&path)?;
        let table = Table {
            file: Arc::clone(active.file()),
            salt: active.header().salt,
            len: active.len(),
            offsets: Vec::new(),
        };
        let mut segments = self.reader.segments_mut();
        let finished = segments.last.replace((height, table));
        segments.old.extend(previous);
        drop(segments);
        if let (Some(previous), Some((_, table))) = (previous, finished) {
            self.reader.keep_table(previous, Arc::new(table));
        }
        Ok(active)
    }

    /// Makes durable what was appended. After a failure the log refuses every later write.
    pub fn sync(&mut self) -> Result<()> {
        self.latch.check(self.reader.dir())?;
        if let Some(active) = &mut self.active {
            let result = active.sync();
            self.latch.note(result)?;
        }
        self.durable = self.last();
        Ok(())
    }

    /// Removes the segments that hold only blocks below `height`, oldest first, and returns how many went. Blocks below
    /// it that share a segment with later ones stay.
    pub fn truncate_before(&mut self, height: Height) -> Result<usize> {
        self.latch.check(self.reader.dir())?;
        let mut removed = 0;
        loop {
            let mut segments = self.reader.segments_mut();
            let after = match segments.old.get(1) {
                Some(next) => Some(next.first),
                None => segments.last.as_ref().map(|(first, _)| *first),
            };
            if segments.old.is_empty() || after.is_none_or(|after| after > height.0) {
                break;
            }
            let old = segments.old.remove(0);
            drop(segments);
            disk::remove_file(&segments::segment_path(self.reader.dir(), old.first))?;
            removed += 1;
        }
        if removed > 0 {
            disk::fsync_dir(self.reader.dir())?;
        }
        Ok(removed)
    }

    /// Starts over, empty, with `next` as the only height that may come first: after a fast sync to `next - 1`.
    ///
    /// What was there is set aside in `DIR.set-aside-N`, which is returned if it held blocks. A crash leaves the old log
    /// or the new one.
    pub fn reset_to(&mut self, next: Height) -> Result<Option<PathBuf>> {
        self.latch.check(self.reader.dir())?;
        let result = self.reset_checked(next.0);
        self.latch.note(result)
    }

    fn reset_checked(&mut self, next: u64) -> Result<Option<PathBuf>> {
        let dir = self.reader.dir().to_owned();
        let held_blocks = self.first().is_some();
        self.active = None;
        let fresh = disk::temporary_name(&dir);
        disk::remove_dir(&fresh)?;
        disk::create_dir(&fresh)?;
        let path = segments::segment_path(&fresh, next);
        let header = FileHeader::new(FileKind::LogSegment, next, None);
        RecordFile::prepare(&path, header)?.publish(&path)?;
        // From the first rename on, `finish_reset` does the second one if it is missing.
        let aside = disk::aside_name(&dir, "set-aside")?;
        disk::rename(&dir, &aside)?;
        disk::rename(&fresh, &dir)?;
        disk::fsync_dir(disk::parent_of(&dir))?;
        let (active, table, _) = open_active(&dir, next)?;
        *self.reader.segments_mut() = Segments {
            old: Vec::new(),
            last: Some((next, table)),
        };
        self.reader.forget_tables();
        self.active = Some(active);
        self.durable = None;
        if held_blocks {
            tracing::info!(folder = %aside.display(), next, "started a new block log, set the old one aside");
            return Ok(Some(aside));
        }
        disk::remove_dir(&aside)?;
        Ok(None)
    }

    /// What puts earlier blocks before those that are here, from another thread. There may be one at a time, and no
    /// [`Log::truncate_before`] or [`Log::reset_to`] beside it.
    pub fn prepender(&self) -> Prepender {
        Prepender::new(self.reader.clone())
    }

    /// A reader of this log, for other threads.
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// The lowest height held.
    pub fn first(&self) -> Option<Height> {
        self.reader.first()
    }

    /// The highest height held, durable or not yet.
    pub fn last(&self) -> Option<Height> {
        self.reader.last()
    }

    /// The highest height that is durable.
    pub fn durable(&self) -> Option<Height> {
        self.durable
    }

    /// The height that [`Log::append`] takes next; none if a first block of any height would do.
    pub fn next(&self) -> Option<Height> {
        self.reader.next_height()
    }

    /// See [`LogReader::read`].
    pub fn read(&self, height: Height) -> Result<Option<BlockRecord>> {
        self.reader.read(height)
    }

    /// See [`LogReader::read_expecting`].
    pub fn read_expecting(&self, height: Height, block_hash: &Hash) -> Result<Option<BlockRecord>> {
        self.reader.read_expecting(height, block_hash)
    }

    /// See [`LogReader::iter_from`].
    pub fn iter_from(&self, height: Height) -> Blocks {
        self.reader.iter_from(height)
    }
}

/// Whether a segment is not yet finished. One that was put before others, and is the last since those were damaged, is.
fn takes_more(active: &RecordFile, full: u64) -> bool {
    active.is_empty() || (active.len() < full && active.header().next.is_none())
}

fn open_active(dir: &Path, first: u64) -> Result<(RecordFile, Table, Option<Cut>)> {
    let path = segments::segment_path(dir, first);
    let mut offsets = Vec::new();
    let (active, cut) = RecordFile::open(&path, FileKind::LogSegment, |record| {
        offsets.push(segments::check_block(&path, first, record)?);
        Ok(())
    })?;
    let table = Table {
        file: Arc::clone(active.file()),
        salt: active.header().salt,
        len: active.len(),
        offsets,
    };
    Ok((active, table, cut))
}

/// Ends a [`Log::reset_to`] that a crash interrupted: the new folder is whole once the old one has lost its name.
fn finish_reset(dir: &Path) -> Result<()> {
    let fresh = disk::temporary_name(dir);
    if !fresh.try_exists().at("look for", &fresh)? {
        return Ok(());
    }
    if dir.try_exists().at("look for", dir)? {
        return disk::remove_dir(&fresh);
    }
    disk::rename(&fresh, dir)?;
    disk::fsync_dir(disk::parent_of(dir))
}
