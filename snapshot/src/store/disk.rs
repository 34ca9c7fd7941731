//! Every operation that touches the disk, and the form of a file: what it holds, then a checksum.
//!
//! ```text
//! content ‖ SHA-256("tintype snapshot file" ‖ content) 32
//! ```
//! That all changes pass here is what lets tests cut the work short at the n-th (`fault`, in tests only).

use super::error::{IoContext, Result};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// How the name of a file ends that is being written.
pub(super) const TEMPORARY_END: &str = ".new";
const CHECKSUM_BYTES: usize = 32;

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    Sha256::new_with_prefix(b"tintype snapshot file")
        .chain_update(content)
        .finalize()
        .into()
}

/// Writes a file: after a crash it is there whole or not at all. Its *name* is durable after [`sync_dir`].
pub(super) fn write(path: &Path, content: &[u8]) -> Result<()> {
    // Two threads may write one chunk at the same time.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}{TEMPORARY_END}"));
    let temporary = Path::new(&name);
    let written = write_temporary(temporary, content).and_then(|()| {
        step()
            .and_then(|()| fs::rename(temporary, path))
            .at("rename", temporary)
    });
    if written.is_err() {
        // Gives the space back; what stays is removed at the next start.
        let _ = step_that_frees().and_then(|()| fs::remove_file(temporary));
    }
    written
}

fn write_temporary(temporary: &Path, content: &[u8]) -> Result<()> {
    let mut file = step()
        .and_then(|()| File::create(temporary))
        .at("create", temporary)?;
    #[cfg(test)]
    if fault::is_next() {
        // A crash in the middle of a write: a part of it arrives.
        let _ = file.write_all(content.get(..content.len() / 2).unwrap_or(&[]));
    }
    step()
        .and_then(|()| file.write_all(content))
        .and_then(|()| file.write_all(&checksum(content)))
        .at("write to", temporary)?;
    step().and_then(|()| file.sync_all()).at("fsync", temporary)
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    step_that_frees()
        .and_then(|()| File::open(dir)?.sync_all())
        .at("fsync the folder", dir)
}

/// Removes a file; that it is gone already is no error.
pub(super) fn remove(path: &Path) -> Result<()> {
    step_that_frees()
        .and_then(|()| match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
        .at("remove", path)
}

/// Gives a file another name.
pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    step()
        .and_then(|()| fs::rename(from, to))
        .at("rename", from)
}

/// Makes a folder, and those above it.
pub(super) fn create_dir(dir: &Path) -> Result<()> {
    step()
        .and_then(|()| fs::create_dir_all(dir))
        .at("create the folder", dir)
}

/// A file's content, once its checksum holds.
pub(super) enum Content {
    Whole(Vec<u8>),
    Missing,
    Damaged(String),
}

/// Reads a file of at most `bytes_max` bytes of content.
pub(super) fn read(path: &Path, bytes_max: usize) -> Result<Content> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::Missing),
        Err(error) => return Err(error).at("open", path),
    };
    let mut bytes = Vec::new();
    let bound = (bytes_max + CHECKSUM_BYTES) as u64 + 1;
    file.take(bound).read_to_end(&mut bytes).at("read", path)?;
    if bytes.len() as u64 >= bound {
        return Ok(Content::Damaged("it is too long".to_owned()));
    }
    let Some((content, found)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Ok(Content::Damaged("it is too short".to_owned()));
    };
    if checksum(content) != *found {
        return Ok(Content::Damaged("its checksum does not hold".to_owned()));
    }
    bytes.truncate(bytes.len() - CHECKSUM_BYTES);
    Ok(Content::Whole(bytes))
}

/// Bytes of a file; none of one that is not there.
pub(super) fn len(path: &Path) -> Result<u64> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        found => found.map(|m| m.len()).at("look at", path),
    }
}

/// The names in a folder, sorted. A name that is not UTF-8 is none of ours.
pub(super) fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).at("list the folder", dir)? {
        if let Ok(name) = entry.at("list the folder", dir)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(not(test))]
#[inline]
fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(not(test))]
#[inline]
fn step_that_frees() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use fault::{step, step_that_frees};

#[cfg(test)]
pub(super) mod fault {
    //! From its n-th change on, nothing on the disk changes any more: the process is dead, or the disk is full.
    use std::{cell::Cell, io};

    /// What happens at the n-th change.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Fault {
        /// Nothing happens any more.
        Death,
        /// Nothing happens any more but what takes no space: removing files, syncing folders.
        FullDisk,
    }

    thread_local! {
        static LEFT: Cell<Option<(Fault, u32)>> = const { Cell::new(None) };
    }

    pub(in super::super) fn step() -> io::Result<()> {
        match LEFT.get() {
            None => Ok(()),
            Some((_, 0)) => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Some((fault, left)) => {
                LEFT.set(Some((fault, left - 1)));
                Ok(())
            }
        }
    }

    pub(in super::super) fn step_that_frees() -> io::Result<()> {
        match LEFT.get() {
            Some((Fault::FullDisk, _)) => Ok(()),
            _ => step(),
        }
    }

    pub(super) fn is_next() -> bool {
        LEFT.get().is_some_and(|(_, left)| left == 0)
    }

    /// Runs `work`, and lets only the first `changes` changes of the disk happen. Says whether that was enough.
    pub fn cut_after<T>(fault: Fault, changes: u32, work: impl FnOnce() -> T) -> (T, bool) {
        LEFT.set(Some((fault, changes)));
        let result = work();
        let enough = !is_next();
        LEFT.set(None);
        (result, enough)
    }
}
