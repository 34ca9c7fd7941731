//! How much of the WAL is known to have been durable: what tells a WAL that was cut short from one with a torn tail.
//!
//! A torn tail is what a crash leaves of bytes that were never synced, and nothing was signed on their strength. When bytes
//! that *were* synced are missing (somebody truncated the file, or the disk lost its end), what was signed is forgotten,
//! and the record before the end cannot tell. So after each sync the length is noted beside the file, in
//! `wal/synced`: salt of the file u64, length u64, CRC-32 of both. The note itself is not synced: it is never ahead of
//! the truth, and one that a power failure leaves behind it only tells less.

use super::super::{Result, disk, error::IoContext};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const NAME: &str = "synced";
const NOTE_BYTES: usize = 20;

/// The note, open for writing.
#[derive(Debug)]
pub(super) struct Synced {
    file: File,
    path: PathBuf,
    noted: (u64, u64),
}

impl Synced {
    /// Opens the note of the WAL in a folder, or makes an empty one.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(NAME);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .at("open", &path)?;
        let mut note = [0; NOTE_BYTES];
        // A short or torn note says nothing.
        let noted = match file.read_exact_at(&mut note, 0) {
            Ok(()) => decode(&note).unwrap_or_default(),
            Err(_) => (0, 0),
        };
        Ok(Self { file, path, noted })
    }

    /// Bytes of the file with this salt that were durable, as far as is noted.
    pub(super) fn bytes_of(&self, salt: u64) -> u64 {
        let (of, bytes) = self.noted;
        if of == salt { bytes } else { 0 }
    }

    /// Notes that so many bytes of the file with this salt are durable.
    pub(super) fn note(&mut self, salt: u64, bytes: u64) -> Result<()> {
        if self.noted != (salt, bytes) {
            disk::write_at(&self.file, &self.path, &encode(salt, bytes), 0)?;
            self.noted = (salt, bytes);
        }
        Ok(())
    }
}

fn encode(salt: u64, bytes: u64) -> [u8; NOTE_BYTES] {
    let mut note = [0; NOTE_BYTES];
    note[..8].copy_from_slice(&salt.to_be_bytes());
    note[8..16].copy_from_slice(&bytes.to_be_bytes());
    let checksum = crc32fast::hash(&note[..16]);
    note[16..].copy_from_slice(&checksum.to_be_bytes());
    note
}

fn decode(note: &[u8; NOTE_BYTES]) -> Option<(u64, u64)> {
    let (content, checksum) = note.split_first_chunk::<16>()?;
    let (salt, bytes) = content.split_first_chunk::<8>()?;
    let bytes: &[u8; 8] = bytes.try_into().ok()?;
    let holds = crc32fast::hash(content).to_be_bytes() == checksum;
    holds.then(|| (u64::from_be_bytes(*salt), u64::from_be_bytes(*bytes)))
}
