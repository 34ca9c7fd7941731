//! The bytes of record files: encoding and checking of the two headers. Drawn in `docs/formats.md`.

use super::Result;
use super::error::{IoContext, StoreError};
use super::records::PAYLOAD_BYTES_MAX;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The first bytes of every record file.
pub(super) const FILE_MAGIC: [u8; 8] = *b"TINTYPE\0";
/// The version of the format that this program writes and reads.
pub(super) const FORMAT_VERSION: u16 = 1;
/// The length of a file header.
pub(super) const FILE_HEADER_BYTES: u64 = 56;
/// The first bytes of every record.
pub(super) const RECORD_MAGIC: [u8; 4] = [0xA7, b'R', b'E', b'C'];
/// The length of a record's header.
pub(super) const RECORD_HEADER_BYTES: u64 = 36;
const FILE_HEADER_LEN: usize = 56;
pub(super) const RECORD_HEADER_LEN: usize = 36;
/// "There is none before it", in the field for the segment before.
const NO_PREVIOUS: u64 = u64::MAX;
/// In the place of [`FileKind::LogSegment`]: a segment that was put before the others later. The field for the segment
/// before it holds the first height of the one after.
const EARLIER_SEGMENT: u8 = 3;
/// What a record file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FileKind {
    /// A segment of the block log.
    LogSegment = 1,
    /// The WAL.
    Wal = 2,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum RecordKind {
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
pub(super) struct Previous {
    /// Its first height.
    pub first: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    /// What the file holds.
    pub kind: FileKind,
    /// What the checksums of this file start from.
    pub salt: u64,
    /// The height of the first record of a log segment; 0 in a WAL.
    pub first: u64,
    /// The segment before this one, if there was one when it was begun.
    pub previous: Option<Previous>,
    /// Of a segment that was put before the others later, and whole from the start: the first height of the one after it.
    pub next: Option<u64>,
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
            next: None,
            born_bytes: FILE_HEADER_BYTES,
        }
    }

    /// The header of a segment that is put before the one that begins at `next`.
    pub fn earlier(first: u64, next: u64) -> Self {
        let next = Some(next);
        Self {
            next,
            ..Self::new(FileKind::LogSegment, first, None)
        }
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; FILE_HEADER_LEN] {
        let (kind, neighbour) = match (self.next, self.previous) {
            (Some(first), _) => (EARLIER_SEGMENT, Previous { first, bytes: 0 }),
            (None, Some(previous)) => (self.kind as u8, previous),
            (None, None) => {
                let (first, bytes) = (NO_PREVIOUS, 0);
                (self.kind as u8, Previous { first, bytes })
            }
        };
        let mut bytes = [0; FILE_HEADER_LEN];
        bytes[..8].copy_from_slice(&FILE_MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_be_bytes());
        bytes[10] = kind;
        bytes[12..20].copy_from_slice(&self.salt.to_be_bytes());
        bytes[20..28].copy_from_slice(&self.first.to_be_bytes());
        bytes[28..36].copy_from_slice(&neighbour.first.to_be_bytes());
        bytes[36..44].copy_from_slice(&neighbour.bytes.to_be_bytes());
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
        let is_earlier = bytes[10] == EARLIER_SEGMENT && kind == FileKind::LogSegment;
        if (bytes[10] != kind as u8 && !is_earlier) || bytes[11] != 0 {
            return Err(StoreError::format(
                path,
                format!("it is a file of kind {}, not {}", bytes[10], kind as u8),
            ));
        }
        let (previous, next) = match be_u64(bytes, 28) {
            next if is_earlier => (None, Some(next)),
            NO_PREVIOUS => (None, None),
            first => {
                let bytes = be_u64(bytes, 36);
                (Some(Previous { first, bytes }), None)
            }
        };
        Ok(Self {
            kind,
            salt: be_u64(bytes, 12),
            first: be_u64(bytes, 20),
            previous,
            next,
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
