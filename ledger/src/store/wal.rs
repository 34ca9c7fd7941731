//! The WAL: what this node has promised to consensus, made durable before anyone hears of it.
//!
//! One file of [`super::records`], `promises`. Its first record, the head, says what was promised before the records
//! that follow: nothing ever ("never signed", as `tintype init` writes it), or promises up to a height. The file is
//! never without its head, and there is no moment at which it is missing: it is only ever replaced by renaming a
//! whole, synced one onto it. So **a missing file means a wiped node**, which may have signed what it no longer knows;
//! [`Wal::open`] reports it and makes none.
//!
//! The entries mean nothing here; they are bytes tagged with a height. A file that is shorter than it was is damaged, not
//! torn (`synced`): its node must not sign either.

mod synced;

use super::error::{IoContext, StoreError};
use super::format::{FileHeader, FileKind, RecordHeader, RecordKind};
use super::records::{Cut, Latch, RecordFile};
use super::{Result, disk, scan};
use crate::units::Height;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use synced::Synced;

/// The size from which the WAL is rewritten without what is no longer needed.
pub const WAL_BYTES_MAX: u64 = 64 << 20;
const NAME: &str = "promises";

const NEVER_SIGNED: u8 = 0;
const PROMISED: u8 = 1;

/// How a WAL is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalOptions {
    /// The size from which [`Wal::advance`] rewrites the file.
    pub bytes_max: u64,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            bytes_max: WAL_BYTES_MAX,
        }
    }
}

/// One promise as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalEntry {
    /// The height it was tagged with.
    pub height: Height,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// An opened WAL and what it holds.
#[derive(Debug)]
pub struct WalOpened {
    /// The WAL, open for appending.
    pub wal: Wal,
    /// The entries at or above the height asked for, in the order they were appended.
    pub entries: Vec<WalEntry>,
    /// The torn tail that was cut off. Nothing in it was made durable, so nothing in it was signed.
    pub cut: Option<Cut>,
}

/// The WAL, open for appending.
#[derive(Debug)]
pub struct Wal {
    file: RecordFile,
    synced: Synced,
    dir: PathBuf,
    options: WalOptions,
    /// The highest height ever promised.
    floor: Option<Height>,
    /// See [`Wal::unknown`].
    unknown: Option<Height>,
    /// Where the first entry of each new highest height lies: all entries at or above it lie there or later.
    starts: VecDeque<Start>,
    /// The size from which the next rewrite happens.
    rewrite_at: u64,
    latch: Latch,
}

#[derive(Clone, Copy, Debug)]
struct Start {
    height: Height,
    offset: u64,
}

impl Wal {
    /// Makes the WAL of a node that has never signed anything, in the folder `dir`, which is made if it is missing.
    ///
    /// This is for `tintype init` alone. It refuses if there is a WAL.
    pub fn create_never_signed(dir: &Path) -> Result<()> {
        create(dir, None)
    }

    /// Makes the WAL of a node that may have promised anything up to `floor`: a wiped one that has found out from its
    /// peers, or was told by its operator, from where on it may vote. It refuses if there is a WAL.
    pub fn create_promised(dir: &Path, floor: Height) -> Result<()> {
        create(dir, Some(floor))
    }

    /// Opens the WAL in the folder `dir` and returns its entries at or above the height `from`.
    ///
    /// `None` means that there is none: the node was wiped, and must not sign before it knows from where on it may.
    pub fn open(dir: &Path, from: Height) -> Result<Option<WalOpened>> {
        Self::open_with(dir, from, WalOptions::default())
    }

    /// As [`Wal::open`], with options of one's own.
    pub fn open_with(dir: &Path, from: Height, options: WalOptions) -> Result<Option<WalOpened>> {
        let path = dir.join(NAME);
        if !path.try_exists().at("look for", &path)? {
            return Ok(None);
        }
        disk::remove_file(&disk::temporary_name(&path))?;
        // A name seen after a crash need not be durable.
        disk::fsync_dir(dir)?;
        let mut floor = None;
        let mut unknown = None;
        let mut starts = VecDeque::new();
        let mut entries = Vec::new();
        let (file, cut) = RecordFile::open(&path, FileKind::Wal, |record| {
            let damaged = |what| StoreError::damaged(&path, record.offset, record.number, what);
            match (record.kind, record.number, record.payload) {
                (RecordKind::WalHead, 0, [NEVER_SIGNED]) => {}
                (RecordKind::WalHead, 0, [PROMISED]) => {
                    unknown = Some(Height(record.height));
                    floor = unknown;
                }
                (RecordKind::Promise, 1.., payload) => {
                    let height = Height(record.height);
                    note_start(&mut starts, height, record.offset);
                    floor = floor.max(Some(height));
                    if height >= from {
                        entries.push(WalEntry {
                            height,
                            payload: payload.to_vec(),
                        });
                    }
                }
                (_, 0, _) => return Err(damaged("the WAL does not begin with its head")),
                _ => return Err(damaged("the record does not belong into a WAL")),
            }
            Ok(())
        })?;
        if file.is_empty() {
            let what = "the WAL has no head";
            return Err(StoreError::damaged(&path, file.len(), 0, what));
        }
        let synced = Synced::open(dir)?;
        let durable = synced.bytes_of(file.header().salt);
        if file.len() < durable {
            let records = cut.map_or(0, |cut| cut.records);
            let what = format!(
                "it ends here, and {durable} bytes of it were durable: what this node has signed since is not known"
            );
            return Err(StoreError::damaged(&path, file.len(), records, what));
        }
        let mut wal = Self {
            file,
            synced,
            dir: dir.to_owned(),
            options,
            floor,
            unknown,
            starts,
            rewrite_at: options.bytes_max,
            latch: Latch::default(),
        };
        wal.forget_below(from);
        wal.note_synced()?;
        Ok(Some(WalOpened { wal, entries, cut }))
    }

    /// Appends a promise, in one write. It counts after the next [`Wal::sync`]; only then may it be signed or sent.
    pub fn append(&mut self, height: Height, payload: &[u8]) -> Result<()> {
        self.latch.check(self.file.path())?;
        let result = self.file.append(RecordKind::Promise, height.0, &[payload]);
        let offset = self.latch.note(result)?;
        note_start(&mut self.starts, height, offset);
        self.floor = self.floor.max(Some(height));
        Ok(())
    }

    /// Makes durable what was appended. After a failure the WAL refuses everything.
    pub fn sync(&mut self) -> Result<()> {
        self.latch.check(self.file.path())?;
        let result = self.file.sync().and_then(|()| self.note_synced());
        self.latch.note(result)
    }

    fn note_synced(&mut self) -> Result<()> {
        self.synced.note(self.file.header().salt, self.file.len())
    }

    /// Entries below `height` are needed no more: call it when the block below is durable in the log.
    ///
    /// They go when the file has grown past [`WalOptions::bytes_max`]. It is then written anew, synced, and put in the
    /// place of the old one; what was appended and not yet synced is durable too when that has happened.
    pub fn advance(&mut self, height: Height) -> Result<()> {
        self.latch.check(self.file.path())?;
        self.forget_below(height);
        if self.file.len() < self.rewrite_at {
            return Ok(());
        }
        let result = self.rewrite(height);
        self.latch.note(result)
    }

    /// The highest height that was ever promised anything at, as far as this node knows; none if it never signed.
    pub fn floor(&self) -> Option<Height> {
        self.floor
    }

    /// The highest height at which something may have been promised that is not written here: it was before the folder
    /// was wiped, or has been left out since. None if there is no such height.
    pub fn unknown(&self) -> Option<Height> {
        self.unknown
    }

    /// The file's length in bytes.
    pub fn bytes(&self) -> u64 {
        self.file.len()
    }

    fn forget_below(&mut self, height: Height) {
        while self.starts.front().is_some_and(|s| s.height < height) {
            self.starts.pop_front();
        }
    }

    fn rewrite(&mut self, height: Height) -> Result<()> {
        let path = self.dir.join(NAME);
        // What is left out was promised below `height`, and not above the floor.
        let left_out = self.floor.min(height.previous());
        let unknown = self.unknown.max(left_out);
        let mut file = prepare(&path, unknown)?;
        let mut starts = VecDeque::new();
        let end = self.file.len();
        let mut offset = self.starts.front().map_or(end, |start| start.offset);
        while offset < end {
            let (header, payload) = self.read(offset)?;
            if header.height >= height.0 {
                let at = file.append(RecordKind::Promise, header.height, &[&payload])?;
                note_start(&mut starts, Height(header.height), at);
            }
            offset += header.record_bytes();
        }
        self.file = file.publish(&path)?;
        self.unknown = unknown;
        self.starts = starts;
        // When what is needed is itself that large, rewriting at each call would be quadratic.
        self.rewrite_at = self
            .options
            .bytes_max
            .max(self.file.len().saturating_mul(2));
        self.note_synced()
    }

    fn read(&self, offset: u64) -> Result<(RecordHeader, Vec<u8>)> {
        let path = self.file.path();
        let at = scan::RecordAt {
            salt: self.file.header().salt,
            offset,
            end: self.file.len(),
        };
        scan::read_record(self.file.file(), path, at, &mut [])?
            .map_err(|what| StoreError::damaged(path, offset, 0, what))
    }
}

fn create(dir: &Path, floor: Option<Height>) -> Result<()> {
    let path = dir.join(NAME);
    disk::create_dir(dir)?;
    if path.try_exists().at("look for", &path)? {
        return Err(StoreError::Exists { path });
    }
    prepare(&path, floor)?.publish(&path).map(|_| ())
}

/// Begins a file with its head; it has no name yet.
fn prepare(path: &Path, floor: Option<Height>) -> Result<RecordFile> {
    let mut file = RecordFile::prepare(path, FileHeader::new(FileKind::Wal, 0, None))?;
    let (floor, state) = match floor {
        Some(floor) => (floor.0, PROMISED),
        None => (0, NEVER_SIGNED),
    };
    file.append(RecordKind::WalHead, floor, &[&[state]])?;
    Ok(file)
}

fn note_start(starts: &mut VecDeque<Start>, height: Height, offset: u64) {
    if starts.back().is_none_or(|last| last.height < height) {
        starts.push_back(Start { height, offset });
    }
}
