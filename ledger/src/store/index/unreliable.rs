//! sled, which may panic, hold its file for a while, or find its own database damaged: what each of these means here.

use super::super::error::IoContext;
use super::super::{Result, StoreError, disk};
use super::CACHE_BYTES;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a sled that was dropped may take to let go of its file.
const LET_GO_LIMIT: Duration = Duration::from_secs(2);
const LET_GO_POLL: Duration = Duration::from_millis(10);

/// Runs a call into sled: its errors and its panics become errors of ours. Only [`StoreError::Index`] speaks against
/// the index; a disk that is full or forbidden, or a lock that another process holds, does not.
pub(super) fn guarded<T>(path: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    let failed = |what: String| StoreError::Index {
        path: path.to_owned(),
        what,
    };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) if in_use(&error) => Err(StoreError::Locked {
            path: path.to_owned(),
        }),
        Ok(Err(sled::Error::Io(error))) if not_its_fault(&error) => Err(error).at("use", path),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(panic) => {
            let what = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(failed(format!(
                "sled panicked: {}",
                what.unwrap_or("no reason given")
            )))
        }
    }
}

/// Opens the database, and waits a little while it is in use: a sled that was dropped lets go of its file only when its
/// threads have ended.
pub(in crate::store) fn open_sled(dir: &Path) -> sled::Result<sled::Db> {
    let deadline = Instant::now() + LET_GO_LIMIT;
    loop {
        let opened = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .open();
        match opened {
            Err(sled::Error::Io(error)) if in_use(&error) && Instant::now() < deadline => {
                std::thread::sleep(LET_GO_POLL);
            }
            opened => return opened,
        }
    }
}

/// sled has no error of its own for this.
fn in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.to_string().contains("could not acquire lock")
}

fn not_its_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
    ) || matches!(error.raw_os_error(), Some(23 | 24))
}

/// Moves an index out of the way, or removes it if there is nothing in it.
pub(super) fn set_aside(dir: &Path) -> Result<Option<PathBuf>> {
    if fs::read_dir(dir)
        .at("list the folder", dir)?
        .next()
        .is_none()
    {
        return Ok(None);
    }
    let aside = disk::aside_name(dir, "damaged")?;
    disk::rename(dir, &aside)?;
    disk::fsync_dir(disk::parent_of(dir))?;
    Ok(Some(aside))
}
