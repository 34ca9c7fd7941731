//! The folder of a node: its configuration, its key, and what it says of itself while it runs.
//!
//! Everything read here is written by an operator: an error names the file, the line, and what to do. The key file is
//! the node's whole identity. It is made so that only its owner reads it, and refused if others can.

use ledger::{
    genesis::{Genesis, GenesisError},
    keys::SecretKey,
};
use rand_core::RngCore;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Bytes that any of the files read here may have; a genesis with very many accounts has the most.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Characters of a node's name.
pub const NODE_NAME_BYTES_MAX: usize = 64;

/// Why a node's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The write-ahead log cannot be made.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Where it listens; port 0 takes any free one.
    pub address: SocketAddr,
}

impl Default for Http {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { address }
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sync {
    /// The way.
    pub mode: SyncMode,
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

    fn check(&self, path: &Path) -> Result<(), ConfigError> {
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

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    before.iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// The folder of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDir(PathBuf);

impl NodeDir {
    /// The folder at `path`, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `tintype.toml`.
    pub fn config_file(&self) -> PathBuf {
        self.0.join("tintype.toml")
    }

    /// The secret key.
    pub fn key_file(&self) -> PathBuf {
        self.0.join("key")
    }

    /// The genesis.
    pub fn genesis_file(&self) -> PathBuf {
        self.0.join("genesis.json")
    }

    /// The block log.
    pub fn ledger(&self) -> PathBuf {
        self.0.join("ledger")
    }

    /// What was promised to consensus.
    pub fn wal(&self) -> PathBuf {
        self.0.join("wal")
    }

    /// The index, which can be rebuilt.
    pub fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    /// Manifests and chunks.
    pub fn snapshots(&self) -> PathBuf {
        self.0.join("snapshots")
    }

    /// Held by the process that runs the node.
    pub fn lock_file(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// What the running node says of itself.
    pub fn run_file(&self) -> PathBuf {
        self.0.join("run.json")
    }

    /// What the node writes to its log, if a launcher started it.
    pub fn log_file(&self) -> PathBuf {
        self.0.join("node.log")
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, and the line or value.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let path = self.config_file();
        Config::parse(&read_text(&path)?, &path)
    }

    /// Replaces the configuration.
    ///
    /// # Errors
    /// [`ConfigError`] if it cannot be written.
    pub fn write_config(&self, config: &Config) -> Result<(), ConfigError> {
        let path = self.config_file();
        config.check(&path)?;
        replace_file(&path, config.to_toml(&path)?.as_bytes())
    }

    /// Reads the genesis.
    ///
    /// # Errors
    /// [`ConfigError`] names the file and what is wrong.
    pub fn genesis(&self) -> Result<Genesis, ConfigError> {
        read_genesis(&self.genesis_file())
    }

    /// Reads the key.
    ///
    /// # Errors
    /// As [`read_key`].
    pub fn key(&self) -> Result<SecretKey, ConfigError> {
        read_key(&self.key_file())
    }

    /// Makes a new node's identity: its key, and a write-ahead log that says it has never signed anything. A folder
    /// with a key and without that log was wiped, and its node must not vote before it knows what it may have said.
    ///
    /// # Errors
    /// [`ConfigError`] if there is an identity already, or it cannot be written.
    pub fn create_identity(&self) -> Result<SecretKey, ConfigError> {
        let key = random_key();
        write_key(&self.key_file(), &key)?;
        ledger::store::Wal::create_never_signed(&self.wal())?;
        Ok(key)
    }

    /// What the running node said of itself, if it did. Whether it still runs is another question:
    /// see [`RunInfo::is_alive`].
    pub fn run_info(&self) -> Option<RunInfo> {
        serde_json::from_str(&read_text(&self.run_file()).ok()?).ok()
    }

    /// Says where this process can be found. To be called when its ports are bound.
    ///
    /// # Errors
    /// [`ConfigError::Io`].
    pub fn write_run_info(&self, info: &RunInfo) -> Result<(), ConfigError> {
        let path = self.run_file();
        let text =
            serde_json::to_vec(info).map_err(|e| ConfigError::io(&path, io::Error::other(e)))?;
        replace_file(&path, &text)
    }
}

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

fn parse_stat(text: &str) -> Option<ProcessStat> {
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

/// Reads a genesis file.
///
/// # Errors
/// [`ConfigError`] names the file and what is wrong.
pub fn read_genesis(path: &Path) -> Result<Genesis, ConfigError> {
    let text = read_text(path)?;
    Genesis::from_json(text.as_bytes()).map_err(|source| ConfigError::Genesis {
        path: path.to_owned(),
        source,
    })
}

/// Reads a key file.
///
/// # Errors
/// [`ConfigError`], also if others than the owner can read it.
pub fn read_key(path: &Path) -> Result<SecretKey, ConfigError> {
    let mode = fs::metadata(path)
        .map_err(|e| ConfigError::io(path, e))?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(ConfigError::KeyExposed { path, mode });
    }
    parse_key(&read_text(path)?).ok_or_else(|| ConfigError::KeyMalformed {
        path: path.to_owned(),
    })
}

/// The key whose seed a text holds as 64 hex digits.
pub fn parse_key(text: &str) -> Option<SecretKey> {
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim(), &mut seed).ok()?;
    Some(SecretKey::from_seed(seed))
}

/// Makes a key at random.
pub fn random_key() -> SecretKey {
    let mut seed = [0; 32];
    rand_core::OsRng.fill_bytes(&mut seed);
    SecretKey::from_seed(seed)
}

/// Writes a key to a new file that only its owner can read.
///
/// # Errors
/// [`ConfigError::Io`], also if there is such a file already.
pub fn write_key(path: &Path, key: &SecretKey) -> Result<(), ConfigError> {
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        writeln!(file, "{}", hex::encode(key.seed()))?;
        file.sync_all()
    };
    write().map_err(|e| ConfigError::io(path, e))
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

/// Writes a file so that a reader sees the old content or the new, never a part.
///
/// # Errors
/// [`ConfigError::Io`].
pub fn replace_file(path: &Path, content: &[u8]) -> Result<(), ConfigError> {
    let write = || {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = PathBuf::from(name);
        let mut file = fs::File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|e| ConfigError::io(path, e))
}

#[cfg(test)]
mod tests;
