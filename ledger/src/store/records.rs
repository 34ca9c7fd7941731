//! Append-only files of checksummed records: what the segments of the block log and the WAL are made of.
//!
//! The bytes are drawn in `docs/formats.md`. In short: a file header, then records one after the other, each a
//! header of 36 bytes and a payload. Integers are big-endian and of fixed width.
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
use super::format::{Checksum, FILE_HEADER_BYTES, FileHeader, FileKind, RecordHeader, RecordKind};
use super::{Result, scan};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest payload: far above the largest block that a genesis allows, and small enough to be read at once.
pub const PAYLOAD_BYTES_MAX: u32 = 32 << 20;

/// A frame larger than this is given back after use, so that one large block does not cost memory for ever.
const FRAME_BYTES_KEPT: usize = 1 << 20;
/// How much is copied at once when the tail is written again.
const COPY_BYTES: usize = 1 << 20;

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
