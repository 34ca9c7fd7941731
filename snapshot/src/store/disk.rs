//! The form of a file: what it holds, then a checksum. What changes the disk is [`ledger::store::disk`]'s.
//!
//! ```text
//! content ‖ SHA-256("tintype snapshot file" ‖ name ‖ content) 32
//! ```
//! The name is the file's own, without its folder: so one sound file in the place of another is found without hashing the tree
//! that is in it, which takes milliseconds a chunk, and a source has thousands to serve.

use super::error::{IoContext, Result};
use ledger::store::disk::{TEMPORARY_END, create, remove_file, rename, sync_all, write_at};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

const CHECKSUM_BYTES: usize = 32;

/// Of what a file holds under its name.
fn checksum(path: &Path, content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let name = path.file_name().unwrap_or_default();
    Sha256::new_with_prefix(b"tintype snapshot file")
        .chain_update(name.as_encoded_bytes())
        .chain_update(content)
        .finalize()
        .into()
}

/// Whether a file's content is durable when it gets its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    Yes,
    /// After [`sync`]; until then a power failure may leave anything, which the checksum tells.
    Later,
}

/// Makes a file's content durable; nothing to do for one that is gone.
pub(super) fn sync(path: &Path) -> Result<()> {
    match File::open(path) {
        Ok(file) => Ok(sync_all(&file, path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).at("open", path),
    }
}

/// Writes a file: when the process dies it is there whole or not at all. Its *name* is durable after `fsync_dir`.
pub(super) fn write(path: &Path, content: &[u8], durable: Durable) -> Result<()> {
    // Two threads may write one chunk at the same time.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}{TEMPORARY_END}"));
    let temporary = Path::new(&name);
    let written = write_temporary(temporary, content, checksum(path, content), durable)
        .and_then(|()| rename(temporary, path));
    if written.is_err() {
        // Gives the space back; what stays is removed at the next start.
        let _ = remove_file(temporary);
    }
    Ok(written?)
}

fn write_temporary(
    temporary: &Path,
    content: &[u8],
    checksum: [u8; CHECKSUM_BYTES],
    durable: Durable,
) -> ledger::store::Result<()> {
    let file = create(temporary)?;
    write_at(&file, temporary, content, 0)?;
    write_at(&file, temporary, &checksum, content.len() as u64)?;
    match durable {
        Durable::Yes => sync_all(&file, temporary),
        Durable::Later => Ok(()),
    }
}

/// A file's content, once its checksum holds.
pub(super) enum Content<T = Vec<u8>> {
    Whole(T),
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
    if checksum(path, content) != *found {
        return Ok(Content::Damaged(
            "its checksum does not hold for what it holds under this name".to_owned(),
        ));
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
