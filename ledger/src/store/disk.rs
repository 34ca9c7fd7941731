//! Every operation that changes the disk, with its file in the error, and the few that need care to be durable.
//!
//! That they all pass here is also what lets tests fail or cut short the n-th of them, or let the power fail (`fault`, in
//! tests only).

use super::Result;
use super::error::{IoContext, StoreError};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

#[cfg(any(test, feature = "fault"))]
pub mod fault;

/// Nothing fails but the disk itself.
#[cfg(not(any(test, feature = "fault")))]
mod fault {
    use std::{fs::File, io, path::Path};

    pub(super) const fn before(_op: super::Op, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) const fn changes(_file: &File, _from: u64, _bytes: u64) {}

    pub(super) const fn synced(_file: &File) {}

    pub(super) const fn torn_write(_len: usize) -> Option<usize> {
        None
    }
}

use fault::before;

/// What is about to be done to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Making a file or a folder.
    Create,
    /// Writing to a file.
    Write,
    /// Cutting a file.
    Truncate,
    /// Making a file's content durable.
    Sync,
    /// Giving a file or a folder another name.
    Rename,
    /// Making the names in a folder durable.
    SyncDir,
    /// Removing a file or a folder.
    Remove,
}

/// The exclusive lock on a node's folder, held for as long as this value lives.
///
/// It is the operating system's lock on `DIR/lock`: it ends with the process, however that ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock of `dir`, or fails at once if another process has it.
    pub fn acquire(dir: &Path) -> Result<Self> {
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .at("open", &path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
                path: dir.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(error).at("lock", &path),
        }
    }
}

/// Replaces `path` by `bytes`: after a crash it holds the old content or the new, whole.
///
/// When it returns the new content is durable.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary_name(path);
    let file = create(&temporary)?;
    write_at(&file, &temporary, bytes, 0)?;
    sync_all(&file, &temporary)?;
    drop(file);
    publish(&temporary, path)
}

/// Makes the names in a folder durable: what was created, renamed or removed in it.
pub fn fsync_dir(dir: &Path) -> Result<()> {
    before(Op::SyncDir, dir)
        .and_then(|()| File::open(dir)?.sync_all())
        .at("fsync the folder", dir)
}

/// Creates a folder and those above it where they are missing, durably.
pub fn create_dir(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = parent_of(dir);
    if !parent.as_os_str().is_empty() {
        create_dir(parent)?;
    }
    before(Op::Create, dir)
        .and_then(|()| match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            other => other,
        })
        .at("create the folder", dir)?;
    fsync_dir(parent)
}

/// The first free name of the form `PATH.WORD-N`, where something is set aside.
pub fn aside_name(path: &Path, word: &str) -> Result<PathBuf> {
    for n in 1..=ASIDE_MAX {
        let candidate = with_suffix(path, &format!(".{word}-{n}"));
        if !candidate.try_exists().at("look for", &candidate)? {
            return Ok(candidate);
        }
    }
    Err(StoreError::Exists {
        path: with_suffix(path, &format!(".{word}-{ASIDE_MAX}")),
    })
}

/// How many things may be set aside under one name: nobody keeps so many on purpose.
const ASIDE_MAX: u32 = 1_000;

/// How the name of a file or folder ends that is being prepared.
pub const TEMPORARY_END: &str = ".new";

/// Where a file is prepared before it gets its name.
pub(super) fn temporary_name(path: &Path) -> PathBuf {
    with_suffix(path, TEMPORARY_END)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The folder of `path`; the current one for a bare name.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new(""),
    }
}

/// Creates an empty file for reading and writing; what a crash left under that name goes.
pub fn create(path: &Path) -> Result<File> {
    before(Op::Create, path)
        .and_then(|()| {
            OpenOptions::new()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .open(path)
        })
        .at("create", path)
}

/// Gives a synced temporary file its name, and makes the name durable.
pub(super) fn publish(temporary: &Path, path: &Path) -> Result<()> {
    rename(temporary, path)?;
    fsync_dir(parent_of(path))
}

/// Writes all of `bytes` at a place in a file.
pub fn write_at(file: &File, path: &Path, bytes: &[u8], offset: u64) -> Result<()> {
    fault::changes(file, offset, bytes.len() as u64);
    if let Some(part) = fault::torn_write(bytes.len()).and_then(|part| bytes.get(..part)) {
        // A crash in the middle of a write: a part of it arrives.
        file.write_all_at(part, offset).at("write to", path)?;
    }
    before(Op::Write, path)
        .and_then(|()| file.write_all_at(bytes, offset))
        .at("write to", path)
}

/// `fdatasync`: content and length.
pub(super) fn sync_data(file: &File, path: &Path) -> Result<()> {
    before(Op::Sync, path)
        .and_then(|()| file.sync_data())
        .at("fsync", path)?;
    fault::synced(file);
    Ok(())
}

/// `fsync`: content, length, and all else that is noted of the file.
pub fn sync_all(file: &File, path: &Path) -> Result<()> {
    before(Op::Sync, path)
        .and_then(|()| file.sync_all())
        .at("fsync", path)?;
    fault::synced(file);
    Ok(())
}

/// Cuts a file, or lengthens it with zeros.
pub fn set_len(file: &File, path: &Path, len: u64) -> Result<()> {
    fault::changes(file, len, u64::MAX - len);
    before(Op::Truncate, path)
        .and_then(|()| file.set_len(len))
        .at("cut", path)
}

/// Gives a file or folder another name, durable after [`fsync_dir`].
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    before(Op::Rename, from)
        .and_then(|()| fs::rename(from, to))
        .at("rename", from)
}

/// Removes a file; that it is gone already is no error.
pub fn remove_file(path: &Path) -> Result<()> {
    before(Op::Remove, path)
        .and_then(|()| match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
        .at("remove", path)
}

/// Removes a folder and what is in it; that it is gone already is no error.
pub(super) fn remove_dir(path: &Path) -> Result<()> {
    before(Op::Remove, path)
        .and_then(|()| match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
        .at("remove the folder", path)
}

/// The names in a folder, sorted.
pub fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).at("list the folder", dir)? {
        // A name that is not UTF-8 is none of ours.
        if let Ok(name) = entry.at("list the folder", dir)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
