//! The launcher's lock: one launcher a testnet, and the lifeline of the nodes that it started.
//!
//! The launcher holds `launcher.lock` exclusively while it runs in the foreground. Each of its nodes waits for a shared
//! lock on the same file. The kernel frees the lock when the launcher ends, however it ends, and the nodes then stop.

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

/// How long a lock that is held for a moment only is waited for.
const MOMENT: Duration = Duration::from_millis(800);

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
        let deadline = Instant::now() + MOMENT;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(Errno::WOULDBLOCK) => return Err(taken(testnet)),
                Err(e) => return Err(Failure::io("cannot lock", &path, &e.into())),
            }
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
