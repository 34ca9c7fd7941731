//! The locks of a testnet.
//!
//! The launcher's: one launcher a testnet, and the lifeline of the nodes that it started.
//! The launcher holds `launcher.lock` exclusively while it runs in the foreground. Each of its nodes waits for a shared
//! lock on the same file. The kernel frees the lock when the launcher ends, however it ends, and the nodes then stop.
//!
//! The folder's own: held for a moment by whoever adds a node or says which ports are whose.

use super::Testnet;
use crate::failure::{Failure, Result};
use node::config::process_stat;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions},
    io::{Seek, Write},
    path::Path,
    time::{Duration, Instant},
};

/// How long a launcher that is about to end may take to let go of its lock.
const MOMENT: Duration = Duration::from_millis(800);
/// How long others may take to add or wire their nodes.
const CHANGE_LIMIT: Duration = Duration::from_secs(30);
/// How often a lock is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct LauncherLock(#[allow(dead_code, reason = "held, not used")] File);

/// Who holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The launcher's process.
    pub pid: u32,
    /// When it started, in the kernel's ticks.
    pub started_ticks: u64,
}

impl LauncherLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// `already_running` if another launcher has it.
    pub fn take(testnet: &Testnet) -> Result<Self> {
        let path = testnet.lock_file();
        let mut file = open(&path)?;
        match lock_within(&file, MOMENT) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(taken(testnet)),
            Err(e) => return Err(Failure::io("cannot lock", &path, &e.into())),
        }
        let pid = std::process::id();
        let started_ticks = process_stat(pid).map_or(0, |stat| stat.started_ticks);
        let holder = serde_json::to_string(&Holder { pid, started_ticks }).unwrap_or_default();
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()));
        written.map_err(|e| Failure::io("cannot write", &path, &e))?;
        Ok(Self(file))
    }
}

/// Waits until nobody else adds or wires nodes of a testnet, and holds that off while the guard lives. The lock is on
/// the folder itself, so that no file is left behind.
///
/// # Errors
/// `busy` if somebody else takes too long.
pub fn change_alone(testnet: &Testnet) -> Result<File> {
    let dir = testnet.dir();
    let folder = File::open(dir).map_err(|e| Failure::io("cannot open", dir, &e))?;
    match lock_within(&folder, CHANGE_LIMIT) {
        Ok(()) => Ok(folder),
        Err(Errno::WOULDBLOCK) => {
            let message = format!(
                "another command has been changing the nodes of {} for {} s",
                dir.display(),
                CHANGE_LIMIT.as_secs()
            );
            Err(Failure::failed("busy", message).help("let it finish or end it, and try again"))
        }
        Err(e) => Err(Failure::io("cannot lock", dir, &e.into())),
    }
}

/// Locks a file exclusively; [`Errno::WOULDBLOCK`] if another has it until `limit` is over.
pub(super) fn lock_within(file: &File, limit: Duration) -> std::result::Result<(), Errno> {
    let deadline = Instant::now() + limit;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(ASK_AGAIN),
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

/// Who holds the lock of a testnet at the moment.
///
/// # Errors
/// If the file cannot be opened.
pub fn holder(testnet: &Testnet) -> Result<Option<Holder>> {
    let path = testnet.lock_file();
    if !path.exists() {
        return Ok(None);
    }
    match flock(&open(&path)?, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let unknown = Holder {
                pid: 0,
                started_ticks: 0,
            };
            Ok(Some(serde_json::from_str(&text).unwrap_or(unknown)))
        }
        Ok(()) => Ok(None),
        Err(e) => Err(Failure::io("cannot lock", &path, &e.into())),
    }
}

/// Waits until nobody holds `path` exclusively. For the thread of a node that ends with its launcher.
///
/// # Errors
/// If the file cannot be opened or locked.
pub fn wait_until_freed(path: &Path) -> Result {
    let file = open(path)?;
    loop {
        match flock(&file, FlockOperation::LockShared) {
            Err(Errno::INTR) => {}
            Err(e) => return Err(Failure::io("cannot lock", path, &e.into())),
            Ok(()) => return Ok(()),
        }
    }
}

fn taken(testnet: &Testnet) -> Failure {
    let by = match holder(testnet) {
        Ok(Some(holder)) if holder.pid != 0 => format!(" (process {})", holder.pid),
        _ => String::new(),
    };
    let message = format!(
        "a launcher{by} runs the testnet in {} already",
        testnet.dir().display()
    );
    Failure::failed("already_running", message).help(
        "`tintype testnet status` shows it, `tintype testnet down` stops it; --dir makes another one",
    )
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|e| Failure::io("cannot open", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_launcher_is_refused_and_told_who_has_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let testnet = Testnet::at(folder.path());
        assert_eq!(holder(&testnet).unwrap(), None);
        let lock = LauncherLock::take(&testnet).unwrap();
        let failure = LauncherLock::take(&testnet).unwrap_err();
        assert_eq!(failure.code, "already_running");
        let pid = std::process::id();
        assert_eq!(holder(&testnet).unwrap().unwrap().pid, pid);
        drop(lock);
        assert_eq!(holder(&testnet).unwrap(), None);
        wait_until_freed(&testnet.lock_file()).unwrap();
    }
}
