//! Tests of the store. Damage is put into real files; crashes and failing disks come from `disk::fault`, which strikes
//! at the n-th change of the disk, so that a test can go through all of them.

mod disk;
mod fixtures;
mod index;
mod log;
mod log_crashes;
mod log_damage;
mod prepend;
mod records;
mod records_faults;
mod wal;

use super::format::{FileHeader, FileKind, RecordKind};
use super::records::{Cut, RecordFile};
use super::{Log, LogOptions, Result};
use crate::hash::{Domain, Hash, hash};
use crate::units::Height;
use std::fs;
use std::path::Path;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A record as a test remembers it.
type Entry = (u64, Vec<u8>);

/// Begins a WAL-like record file without records.
fn new_file(path: &Path) -> Result<RecordFile> {
    RecordFile::prepare(path, FileHeader::new(FileKind::Wal, 0, None))?.publish(path)
}

fn put(file: &mut RecordFile, height: u64, payload: &[u8]) -> Result<u64> {
    file.append(RecordKind::Promise, height, &[payload])
}

/// Opens a record file and returns what it holds.
fn entries(path: &Path) -> Result<(RecordFile, Vec<Entry>, Option<Cut>)> {
    let mut entries = Vec::new();
    let (file, cut) = RecordFile::open(path, FileKind::Wal, |record| {
        entries.push((record.height, record.payload.to_vec()));
        Ok(())
    })?;
    Ok((file, entries, cut))
}

/// Payloads of different lengths, the empty one among them.
fn payload(height: u64) -> Vec<u8> {
    let len = usize::try_from(height * 7 % 41).unwrap();
    (0..len).map(|i| u8::try_from(i).unwrap() ^ 0x5A).collect()
}

fn block_hash(height: u64) -> Hash {
    hash(Domain::Header, &height.to_be_bytes())
}

/// Segments of a few blocks.
const SMALL: LogOptions = LogOptions {
    segment_bytes_max: 400,
};

/// Appends and syncs the blocks of these heights.
fn append_blocks(log: &mut Log, heights: impl IntoIterator<Item = u64>) -> Result<()> {
    for height in heights {
        log.append(Height(height), &block_hash(height), &payload(height))?;
        log.sync()?;
    }
    Ok(())
}

/// A log of small segments with blocks of these heights.
fn make_log(dir: &Path, heights: impl IntoIterator<Item = u64>) {
    let (mut log, _) = Log::open_with(dir, SMALL).unwrap();
    append_blocks(&mut log, heights).unwrap();
}

/// All files of a folder, by name.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    super::disk::names(dir)
        .unwrap()
        .into_iter()
        .map(|name| {
            let bytes = fs::read(dir.join(&name)).unwrap();
            (name, bytes)
        })
        .collect()
}

/// Makes a folder hold exactly these files.
fn restore(dir: &Path, files: &[(String, Vec<u8>)]) {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).unwrap();
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}
