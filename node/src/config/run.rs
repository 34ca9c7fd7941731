//! `run.json` and the process that wrote it.

use super::ConfigError;
use serde::{Deserialize, Serialize};
use std::{fs, io, path::Path};

/// `run.json`: where a running node can be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The process.
    pub pid: u32,
    /// When it started, in the kernel's ticks: together with the pid, one process and no other.
    pub started_ticks: u64,
    /// `http://ADDRESS:PORT`.
    pub http: String,
    /// The multiaddress that peers dial, with the peer id.
    pub p2p: String,
}

impl RunInfo {
    /// The entry of this process.
    ///
    /// # Errors
    /// [`ConfigError::Io`] if `/proc` cannot be read.
    pub fn of_this_process(http: String, p2p: String) -> Result<Self, ConfigError> {
        let pid = std::process::id();
        let stat = process_stat(pid).ok_or_else(|| {
            ConfigError::io(Path::new("/proc/self/stat"), io::ErrorKind::NotFound.into())
        })?;
        let started_ticks = stat.started_ticks;
        Ok(Self {
            pid,
            started_ticks,
            http,
            p2p,
        })
    }

    /// The process, if it is still the one that wrote this.
    pub fn process(&self) -> Option<ProcessStat> {
        process_stat(self.pid)
            .filter(|stat| stat.started_ticks == self.started_ticks && stat.state != 'Z')
    }

    /// Whether the process that wrote this still runs.
    pub fn is_alive(&self) -> bool {
        self.process().is_some()
    }
}

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// `R`, `S`, `T` (stopped), `Z` (ended, not yet waited for) and so on.
    pub state: char,
    /// When it started.
    pub started_ticks: u64,
}

/// Looks a process up.
pub fn process_stat(pid: u32) -> Option<ProcessStat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

pub(super) fn parse_stat(text: &str) -> Option<ProcessStat> {
    // The second field is the program's name in parentheses, and may hold spaces and parentheses of its own.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // Field 22 of the line; the state is field 3.
    let started_ticks = fields.nth(18)?.parse().ok()?;
    Some(ProcessStat {
        state,
        started_ticks,
    })
}
