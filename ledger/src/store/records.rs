//! Append-only files of checksummed records: what the segments of the block log and the WAL are made of.
//!
//! The bytes are drawn in `docs/formats-store.md`. In short: a file header, then records one after the other, each a
//! header of [`RECORD_HEADER_BYTES`] and a payload. Integers are big-endian and of fixed width.
//!
//! # What makes a tail torn, and what makes it damage
//!
//! A crash may leave the bytes after the last `fsync` in any state, page by page; none of them was acknowledged. Bytes
//! before it must never change. To tell the two apart each record carries **how much of the file was durable when it
//! was written**. When a scan meets a record that is not whole, it looks for a later record header that says the
//! place was durable: if there is one, the file is damaged there, and opening fails. If there is none, the tail is
//! torn and cut back to the last whole record. Damage to what was synced last, with nothing written since, looks like a
//! torn tail: that is why the log's owner compares its end with what the WAL has seen decided.
//!
//! # Why the checksums are salted
//!
//! Payloads hold bytes that strangers chose. A transaction that contains the image of a record must not be taken for
//! one when a torn tail is searched, so each file draws a salt that nobody outside sees, and each checksum covers the
//! salt and the record's own offset. A record that was moved or belongs to another file is not valid either.
//!
//! # After a failure
//!
//! A write or `fsync` that failed is not repeated: the kernel may have dropped the page and would report success. The
//! handle refuses everything from then on. On the next start the bytes not known to be durable may come from the page
//! cache alone, so opening writes them again before it syncs and believes them.

use super::disk;
use super::error::{IoContext, StoreError};
use super::{Result, scan};
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The first bytes of every record file.
pub const FILE_MAGIC: [u8; 8] = *b"TINTYPE\0";
/// The version of the format that this program writes and reads.
pub const FORMAT_VERSION: u16 = 1;
/// The length of a file header.
pub const FILE_HEADER_BYTES: u64 = 56;
/// The first bytes of every record.
pub const RECORD_MAGIC: [u8; 4] = [0xA7, b'R', b'E', b'C'];
/// The length of a record's header.
pub const RECORD_HEADER_BYTES: u64 = 36;
/// The longest payload: far above the largest block that a genesis allows, and small enough to be read at once.
pub const PAYLOAD_BYTES_MAX: u32 = 32 << 20;

const FILE_HEADER_LEN: usize = 56;
pub(super) const RECORD_HEADER_LEN: usize = 36;
/// "There is none before it", in the field for the segment before.
const NO_PREVIOUS: u64 = u64::MAX;
/// A frame larger than this is given back after use, so that one large block does not cost memory for ever.
const FRAME_BYTES_KEPT: usize = 1 << 20;
/// How much is copied at once when the tail is written again.
const COPY_BYTES: usize = 1 << 20;

/// What a record file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FileKind {
    /// A segment of the block log.
    LogSegment = 1,
    /// The WAL.
    Wal = 2,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A block in the log: its hash, then its payload.
    Block = 1,
    /// The first record of a WAL: what was promised before the records that follow.
    WalHead = 2,
    /// A promise.
    Promise = 3,
}

impl RecordKind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Block, Self::WalHead, Self::Promise]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// The segment before one in the log, so that a missing or shortened one is noticed without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its first height.
    pub first: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// What the file holds.
    pub kind: FileKind,
    /// What the checksums of this file start from.
    pub salt: u64,
    /// The height of the first record of a log segment; 0 in a WAL.
    pub first: u64,
    /// The segment before this one, if there was one when it was begun.
    pub previous: Option<Previous>,
    /// The file's length when it got its name, all of it durable: what is not whole before it is damaged, not torn.
    pub born_bytes: u64,
}

impl FileHeader {
    /// A header with a salt of its own.
    pub fn new(kind: FileKind, first: u64, previous: Option<Previous>) -> Self {
        // The keys of std's hasher come from the operating system's random source.
        let mut hasher = std::hash::RandomState::new().build_hasher();
        hasher.write_u64(first);
        Self {
            kind,
            salt: hasher.finish(),
            first,
            previous,
            born_bytes: FILE_HEADER_BYTES,
        }
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; FILE_HEADER_LEN] {
        let previous = self.previous.unwrap_or(Previous {
            first: NO_PREVIOUS,
            bytes: 0,
        });
        let mut bytes = [0; FILE_HEADER_LEN];
        bytes[..8].copy_from_slice(&FILE_MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_be_bytes());
        bytes[10] = self.kind as u8;
        bytes[12..20].copy_from_slice(&self.salt.to_be_bytes());
        bytes[20..28].copy_from_slice(&self.first.to_be_bytes());
        bytes[28..36].copy_from_slice(&previous.first.to_be_bytes());
        bytes[36..44].copy_from_slice(&previous.bytes.to_be_bytes());
        bytes[44..52].copy_from_slice(&self.born_bytes.to_be_bytes());
        let checksum = crc32fast::hash(&bytes[..52]);
        bytes[52..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Reads a header of the wanted kind.
    fn decode(bytes: &[u8; FILE_HEADER_LEN], kind: FileKind, path: &Path) -> Result<Self> {
        if crc32fast::hash(&bytes[..52]) != be_u32(bytes, 52) {
            return Err(StoreError::damaged(
                path,
                0,
                0,
                "the file header's checksum is wrong, or this is no file of tintype",
            ));
        }
        if bytes[..8] != FILE_MAGIC {
            return Err(StoreError::format(path, "it is no record file of tintype"));
        }
        let version = u16::from_be_bytes([bytes[8], bytes[9]]);
        if version != FORMAT_VERSION {
            return Err(StoreError::format(
                path,
                format!("it has format version {version}, this program reads {FORMAT_VERSION}"),
            ));
        }
        if bytes[10] != kind as u8 || bytes[11] != 0 {
            return Err(StoreError::format(
                path,
                format!("it is a file of kind {}, not {}", bytes[10], kind as u8),
            ));
        }
        let previous = match be_u64(bytes, 28) {
            NO_PREVIOUS => None,
            first => Some(Previous {
                first,
                bytes: be_u64(bytes, 36),
            }),
        };
        Ok(Self {
            kind,
            salt: be_u64(bytes, 12),
            first: be_u64(bytes, 20),
            previous,
            born_bytes: be_u64(bytes, 44),
        })
    }

    /// Reads the header of an open file.
    pub(super) fn read(file: &File, path: &Path, kind: FileKind) -> Result<Self> {
        let mut bytes = [0; FILE_HEADER_LEN];
        let found = file.metadata().at("read the length of", path)?.len();
        if found < FILE_HEADER_BYTES {
            return Err(StoreError::damaged(
                path,
                0,
                0,
                format!("it has {found} bytes, less than a file header"),
            ));
        }
        file.read_exact_at(&mut bytes, 0).at("read", path)?;
        Self::decode(&bytes, kind, path)
    }
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub kind: RecordKind,
    pub height: u64,
    /// How much of the file was durable when this was written.
    pub durable_len: u64,
    pub payload_len: u32,
    pub payload_checksum: u32,
}

impl RecordHeader {
    pub fn encode(&self, salt: u64, offset: u64) -> [u8; RECORD_HEADER_LEN] {
        let mut bytes = [0; RECORD_HEADER_LEN];
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        bytes[4..8].copy_from_slice(&self.payload_len.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.height.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.durable_len.to_be_bytes());
        bytes[24] = self.kind as u8;
        bytes[28..32].copy_from_slice(&self.payload_checksum.to_be_bytes());
        let checksum = Checksum::new(salt, offset).add(&bytes[..32]).finish();
        bytes[32..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// The header at `offset`, or what is wrong with it. A valid one has a payload length within bounds.
    pub fn decode(
        bytes: &[u8; RECORD_HEADER_LEN],
        salt: u64,
        offset: u64,
    ) -> Result<Self, &'static str> {
        if bytes[..4] != RECORD_MAGIC {
            return Err("no record begins here");
        }
        if Checksum::new(salt, offset).add(&bytes[..32]).finish() != be_u32(bytes, 32) {
            return Err("the record header's checksum is wrong");
        }
        let payload_len = be_u32(bytes, 4);
        if payload_len > PAYLOAD_BYTES_MAX {
            return Err("the record is longer than allowed");
        }
        let Some(kind) = RecordKind::from_byte(bytes[24]) else {
            return Err("the record is of an unknown kind");
        };
        Ok(Self {
            kind,
            height: be_u64(bytes, 8),
            durable_len: be_u64(bytes, 16),
            payload_len,
            payload_checksum: be_u32(bytes, 28),
        })
    }

    /// The record's length with its header.
    pub fn record_bytes(&self) -> u64 {
        RECORD_HEADER_BYTES + u64::from(self.payload_len)
    }
}

/// A checksum that is valid in one file and at one place only.
pub(super) struct Checksum(crc32fast::Hasher);

impl Checksum {
    pub fn new(salt: u64, offset: u64) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&salt.to_be_bytes());
        hasher.update(&offset.to_be_bytes());
        Self(hasher)
    }

    pub fn add(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    pub fn finish(self) -> u32 {
        self.0.finalize()
    }
}

/// The torn tail that opening cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub path: PathBuf,
    /// Where the tail began: the file's length now.
    pub offset: u64,
    /// How many whole records are left in the file.
    pub records: u64,
    /// How many bytes went.
    pub bytes: u64,
    /// What was wrong with the first of them.
    pub what: String,
}

/// An open record file that can be appended to.
#[derive(Debug)]
pub(super) struct RecordFile {
    file: Arc<File>,
    path: PathBuf,
    header: FileHeader,
    len: u64,
    durable_len: u64,
    latch: Latch,
    frame: Vec<u8>,
}

impl RecordFile {
    /// Begins a file under a temporary name. It does not count until [`RecordFile::publish`].
    pub fn prepare(path: &Path, header: FileHeader) -> Result<Self> {
        let temporary = disk::temporary_name(path);
        let file = disk::create(&temporary)?;
        Ok(Self {
            file: Arc::new(file),
            path: temporary,
            header,
            len: FILE_HEADER_BYTES,
            durable_len: FILE_HEADER_BYTES,
            latch: Latch::default(),
            frame: Vec::new(),
        })
    }

    /// Makes a prepared file durable and gives it its name, in the place of what had it.
    pub fn publish(mut self, path: &Path) -> Result<Self> {
        self.header.born_bytes = self.len;
        self.guarded(|this| {
            disk::write_at(&this.file, &this.path, &this.header.encode(), 0)?;
            disk::sync_all(&this.file, &this.path)?;
            disk::publish(&this.path, path)
        })?;
        self.durable_len = self.len;
        self.path = path.to_owned();
        Ok(self)
    }

    /// Opens a file, cuts off a torn tail, and makes durable what is left, before anyone believes it.
    ///
    /// `visit` sees every whole record in order.
    pub fn open(
        path: &Path,
        kind: FileKind,
        visit: impl FnMut(&scan::Record<'_>) -> Result<()>,
    ) -> Result<(Self, Option<Cut>)> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .at("open", path)?;
        let found = scan::scan(&file, path, kind, visit)?;
        if let Some(cut) = &found.cut {
            tracing::warn!(
                file = %path.display(), offset = cut.offset, bytes = cut.bytes, what = %cut.what,
                "cut off a torn tail that was never acknowledged"
            );
            disk::set_len(&file, path, found.len)?;
        }
        write_again(&file, path, found.durable_len, found.len)?;
        disk::sync_all(&file, path)?;
        let opened = Self {
            file: Arc::new(file),
            path: path.to_owned(),
            header: found.header,
            len: found.len,
            durable_len: found.len,
            latch: Latch::default(),
            frame: Vec::new(),
        };
        Ok((opened, found.cut))
    }

    /// Appends a record in one write and returns its offset. It is durable after the next [`RecordFile::sync`].
    pub fn append(&mut self, kind: RecordKind, height: u64, parts: &[&[u8]]) -> Result<u64> {
        let bytes = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        let payload_len = u32::try_from(bytes)
            .ok()
            .filter(|len| *len <= PAYLOAD_BYTES_MAX)
            .ok_or_else(|| StoreError::TooLarge {
                path: self.path.clone(),
                bytes,
                max: u64::from(PAYLOAD_BYTES_MAX),
            })?;
        let offset = self.len;
        let checksum = Checksum::new(self.header.salt, offset);
        let header = RecordHeader {
            kind,
            height,
            durable_len: self.durable_len,
            payload_len,
            payload_checksum: parts
                .iter()
                .fold(checksum, |sum, part| sum.add(part))
                .finish(),
        };
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frame.extend_from_slice(&header.encode(self.header.salt, offset));
        for part in parts {
            frame.extend_from_slice(part);
        }
        self.guarded(|this| disk::write_at(&this.file, &this.path, &frame, offset))?;
        self.len = offset + header.record_bytes();
        if frame.capacity() <= FRAME_BYTES_KEPT {
            self.frame = frame;
        }
        Ok(offset)
    }

    /// Makes durable what was appended. After a failure it is not tried again.
    pub fn sync(&mut self) -> Result<()> {
        self.guarded(|this| {
            if this.durable_len == this.len {
                return Ok(());
            }
            disk::sync_data(&this.file, &this.path)
        })?;
        self.durable_len = self.len;
        Ok(())
    }

    /// Does what changes the disk, unless something failed before, and remembers a failure.
    fn guarded<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.latch.check(&self.path)?;
        let result = act(self);
        self.latch.note(result)
    }

    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn header(&self) -> &FileHeader {
        &self.header
    }

    /// The file's length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.len == FILE_HEADER_BYTES
    }
}

/// Remembers the first write that failed; nothing is written after it.
#[derive(Debug, Default)]
pub(super) struct Latch {
    cause: Option<String>,
}

impl Latch {
    /// Fails if something failed before.
    pub fn check(&self, path: &Path) -> Result<()> {
        match &self.cause {
            None => Ok(()),
            Some(cause) => Err(StoreError::Stopped {
                path: path.to_owned(),
                cause: cause.clone(),
            }),
        }
    }

    /// Remembers a failure of the disk. A refusal that wrote nothing is none.
    pub fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && !matches!(
                error,
                StoreError::TooLarge { .. } | StoreError::NotConsecutive { .. }
            )
        {
            self.cause.get_or_insert_with(|| error.to_string());
        }
        result
    }
}

/// Writes `from..to` over itself, so that a following fsync covers it even if an earlier one lost the page's mark.
fn write_again(file: &File, path: &Path, from: u64, to: u64) -> Result<()> {
    let mut buffer = Vec::new();
    let mut at = from;
    while at < to {
        let count = usize::try_from(to - at).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
        buffer.resize(count, 0);
        file.read_exact_at(&mut buffer, at).at("read", path)?;
        disk::write_at(file, path, &buffer, at)?;
        at += count as u64;
    }
    Ok(())
}

pub(super) fn be_u32(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(out)
}

pub(super) fn be_u64(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(out)
}
