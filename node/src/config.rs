//! The folder of a node: its configuration, its key, and what it says of itself while it runs.
//!
//! Everything read here is written by an operator: an error names the file, the line, and what to do. The key file is
//! the node's whole identity. It is made so that only its owner reads it, and refused if others can.

mod dir;
mod keys;
mod run;

pub use dir::{NodeDir, read_genesis};
pub use keys::{parse_key, random_key, read_key, write_key};
use ledger::{genesis::GenesisError, light::Checkpoint};
pub use run::{ProcessStat, RunInfo, process_stat};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// Bytes that any of the files read here may have; a genesis with very many accounts has the most.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Spaces that a node which follows some may follow.
pub const SPACES_MAX: usize = 1_000;
/// Bytes of a space's name.
const SPACE_BYTES_MAX: usize = 256;
/// Characters of a node's name.
pub const NODE_NAME_BYTES_MAX: usize = 64;

/// Why a node's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be replaced, or the write-ahead log not made.
    #[error(transparent)]
    Store(#[from] ledger::store::StoreError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The configuration is not what it should be.
    #[error("{path}, line {line}: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A value that cannot work.
    #[error("{path}: {field} is {value}, it must be {wanted}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Which value.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        wanted: &'static str,
    },
    /// The key can be read by others than its owner.
    #[error("{path} can be read by others (mode {mode:o}): run `chmod 600 {path}`")]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The key file holds no key.
    #[error("{path} holds no key: expected 64 hex digits")]
    KeyMalformed {
        /// The file.
        path: PathBuf,
    },
    /// The genesis starts no chain.
    #[error("{path}: {source}")]
    Genesis {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: GenesisError,
    },
}

impl ConfigError {
    fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Io { path, source }
    }
}

/// What stands in `tintype.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The node's name, for people.
    pub name: String,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,p2p=debug`.
    #[serde(default = "default_log_level")]
    pub log_level: String,
    /// The network of peers.
    #[serde(default)]
    pub p2p: P2p,
    /// The HTTP interface.
    #[serde(default)]
    pub http: Http,
    /// How long it waits for what.
    #[serde(default)]
    pub timing: Timing,
    /// Which snapshots are kept.
    #[serde(default)]
    pub snapshots: Snapshots,
    /// How it catches up.
    #[serde(default)]
    pub sync: Sync,
}

fn default_log_level() -> String {
    "info".into()
}

/// The network of peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct P2p {
    /// The multiaddresses it listens on.
    pub listen: Vec<String>,
    /// The multiaddresses of peers that it connects to, and keeps connecting to.
    pub peers: Vec<String>,
}

impl Default for P2p {
    fn default() -> Self {
        Self {
            listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
            peers: Vec::new(),
        }
    }
}

/// The HTTP interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Where it listens; port 0 takes any free one.
    pub address: SocketAddr,
    /// Names besides `localhost` and IP addresses under which the node may be asked, and whose pages may ask it.
    pub allowed_hosts: Vec<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allowed_hosts: Vec::new(),
        }
    }
}

/// How long it waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// For a proposal.
    pub propose_timeout_ms: u64,
    /// For the votes of a round.
    pub vote_timeout_ms: u64,
    /// For a transaction, before an empty block is made.
    pub idle_block_interval_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            propose_timeout_ms: 500,
            vote_timeout_ms: 300,
            idle_block_interval_ms: 1000,
        }
    }
}

/// Which snapshots are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Snapshots {
    /// The newest so many.
    pub keep: u32,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self { keep: 3 }
    }
}

/// How a node catches up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sync {
    /// The way.
    pub mode: SyncMode,
    /// Whether it fetches the blocks from before its history afterwards, in the background.
    pub backfill: bool,
    /// A block that is trusted, `HEIGHT:HASH`: a snapshot is believed from its validators on, not from the genesis's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<Checkpoint>,
    /// The spaces that it follows, from snapshot to snapshot, and nothing else of the chain. None: the whole chain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spaces: Vec<String>,
}

/// The way a node catches up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// By a snapshot where that is shorter.
    #[default]
    Auto,
    /// By a snapshot.
    Snapshot,
    /// By executing every block.
    Blocks,
}

impl Config {
    /// A configuration with nothing but a name.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            log_level: default_log_level(),
            p2p: P2p::default(),
            http: Http::default(),
            timing: Timing::default(),
            snapshots: Snapshots::default(),
            sync: Sync::default(),
        }
    }

    /// Reads a configuration from `text`, which stands in `path`.
    ///
    /// # Errors
    /// [`ConfigError`] names the line or the value.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|e| ConfigError::Malformed {
            path: path.to_owned(),
            line: line_of(text, e.span().map_or(0, |span| span.start)),
            message: e.message().to_owned(),
        })?;
        config.check(path)?;
        Ok(config)
    }

    /// The text of the file.
    ///
    /// # Errors
    /// [`ConfigError::Value`] if a value cannot be written.
    pub fn to_toml(&self, path: &Path) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|e| ConfigError::Value {
            path: path.to_owned(),
            field: "the configuration",
            value: e.to_string(),
            wanted: "expressible in TOML",
        })
    }

    /// Checks that a node can live with these values, which stand or will stand in `path`.
    ///
    /// # Errors
    /// [`ConfigError::Value`] names the value and what it may be.
    pub fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |field, value: String, wanted| {
            let path = path.to_owned();
            Err(ConfigError::Value {
                path,
                field,
                value,
                wanted,
            })
        };
        if !is_name(&self.name) {
            let wanted =
                "1 to 64 letters, digits, '-', '_' or '.', beginning with a letter or digit";
            return wrong("name", format!("{:?}", self.name), wanted);
        }
        for (field, ms) in [
            ("timing.propose_timeout_ms", self.timing.propose_timeout_ms),
            ("timing.vote_timeout_ms", self.timing.vote_timeout_ms),
            (
                "timing.idle_block_interval_ms",
                self.timing.idle_block_interval_ms,
            ),
        ] {
            if !(1..=3_600_000).contains(&ms) {
                return wrong(field, ms.to_string(), "1 to 3600000");
            }
        }
        if self.snapshots.keep == 0 {
            return wrong("snapshots.keep", "0".into(), "at least 1");
        }
        let spaces = &self.sync.spaces;
        if spaces.len() > SPACES_MAX {
            return wrong(
                "sync.spaces",
                spaces.len().to_string(),
                "at most 1000 spaces",
            );
        }
        let fits = |name: &&String| (1..=SPACE_BYTES_MAX).contains(&name.len());
        if let Some(bad) = spaces.iter().find(|name| !fits(name)) {
            let value = format!("a name of {} bytes", bad.len());
            return wrong("sync.spaces", value, "names of 1 to 256 bytes");
        }
        if self.sync.backfill && !spaces.is_empty() {
            let wanted = "false on a node that follows some spaces: it keeps no blocks";
            return wrong("sync.backfill", "true".into(), wanted);
        }
        let addresses = [
            ("p2p.listen", &self.p2p.listen),
            ("p2p.peers", &self.p2p.peers),
        ];
        for (field, list) in addresses {
            if let Some(bad) = list.iter().find(|address| !address.starts_with('/')) {
                let wanted = "multiaddresses such as /ip4/127.0.0.1/tcp/26000";
                return wrong(field, format!("{bad:?}"), wanted);
            }
        }
        // A host is compared as it stands in a request, without scheme and port: one with them would match nothing.
        let hosts = &self.http.allowed_hosts;
        if let Some(bad) = hosts.iter().find(|host| !is_host(host)) {
            let wanted = "names or addresses without scheme and port, such as node.example";
            return wrong("http.allowed_hosts", format!("{bad:?}"), wanted);
        }
        Ok(())
    }
}

/// Whether a text can name a node or a key: it becomes the name of a file.
pub fn is_name(text: &str) -> bool {
    let fits = (1..=NODE_NAME_BYTES_MAX).contains(&text.len());
    fits && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Whether a text is the host part of an address on the web: a name, an IPv4 address, or an IPv6 one in brackets.
fn is_host(text: &str) -> bool {
    if let Some(ip) = text.strip_prefix('[') {
        let ip = ip.strip_suffix(']').map(str::parse::<Ipv6Addr>);
        return matches!(ip, Some(Ok(_)));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.chars().all(allowed)
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    before.iter().filter(|&&byte| byte == b'\n').count() + 1
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    let read = || {
        let file = fs::File::open(path)?;
        if file.metadata()?.len() > FILE_BYTES_MAX {
            let message = format!("the file has more than {FILE_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        io::read_to_string(file)
    };
    read().map_err(|e| ConfigError::io(path, e))
}

#[cfg(test)]
mod tests;
