//! Where everything of a node lies.

use super::{
    Config, ConfigError, RunInfo,
    keys::{ensure_token, random_key, read_key, read_token, write_key},
    read_text,
};
use ledger::{genesis::Genesis, keys::SecretKey, store::disk::write_atomic};
use std::{
    io,
    path::{Path, PathBuf},
};

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

    /// Proofs against validators that signed twice.
    pub fn evidence(&self) -> PathBuf {
        self.0.join("evidence")
    }

    /// The validator sets that the chain has had.
    pub fn validators(&self) -> PathBuf {
        self.0.join("validators")
    }

    /// Held by the process that runs the node.
    pub fn lock_file(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// The secret that lets a client change the running node.
    pub fn token_file(&self) -> PathBuf {
        self.0.join("api-token")
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
        Ok(write_atomic(&path, config.to_toml(&path)?.as_bytes())?)
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

    /// The token that lets a client change the node, made at random at the first call.
    ///
    /// # Errors
    /// [`ConfigError::Io`] if it cannot be written.
    pub fn ensure_token(&self) -> Result<String, ConfigError> {
        ensure_token(&self.token_file())
    }

    /// The token that lets a client change the node, if it has one and this user may read it.
    pub fn token(&self) -> Option<String> {
        read_token(&self.token_file())
    }

    /// What the running node said of itself, if it did. Whether it still runs is another question:
    /// see [`RunInfo::is_alive`].
    pub fn run_info(&self) -> Option<RunInfo> {
        serde_json::from_str(&read_text(&self.run_file()).ok()?).ok()
    }

    /// Says where this process can be found. To be called when its ports are bound.
    ///
    /// # Errors
    /// [`ConfigError::Store`].
    pub fn write_run_info(&self, info: &RunInfo) -> Result<(), ConfigError> {
        let path = self.run_file();
        let text =
            serde_json::to_vec(info).map_err(|e| ConfigError::io(&path, io::Error::other(e)))?;
        Ok(write_atomic(&path, &text)?)
    }
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
