//! A testnet on this machine: a folder that holds a genesis, client keys and one folder a node.
//!
//! ```text
//! TESTNET/
//!   genesis.json   what the chain starts from
//!   keys/NAME      client keys, 0600
//!   launcher.lock  held by the launcher while it runs in the foreground
//!   node0/ ...     a node's folder each: whatever has a tintype.toml, or a node's key (all that may be left of one)
//!   .new/          a testnet in the making: what it holds takes the place of the above when it is whole
//! ```
//!
//! The folders are the only truth about which nodes there are. Whether one runs, its `run.json` and the kernel say. The
//! folder itself is locked while nodes are added or wired anew.

pub mod create;
pub mod launch;
pub mod lock;
pub mod ports;
pub mod process;
pub mod status;
pub mod view;
pub mod wiring;

use crate::failure::{Exit, Failure, Result};
use ledger::genesis::Genesis;
use node::config::{ConfigError, NodeDir, read_genesis};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The folder in a testnet's folder where a new one is made.
const STAGE: &str = ".new";

/// A testnet's folder.
#[derive(Clone, Debug)]
pub struct Testnet {
    dir: PathBuf,
}

/// A node of a testnet.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name: the folder's.
    pub name: String,
    /// Its folder.
    pub dir: NodeDir,
}

impl Testnet {
    /// The testnet in `dir`, which must be there.
    ///
    /// # Errors
    /// `no_testnet` if there is none, `not_a_testnet` if there is something else.
    pub fn open(dir: &Path) -> Result<Self> {
        let testnet = Self::at(dir);
        if testnet.genesis_file().is_file() {
            return Ok(testnet);
        }
        let exists = dir.is_dir() && !testnet.foreign_entries()?.is_empty();
        let shown = dir.display();
        let help = "`tintype testnet` makes one; `--dir` or TINTYPE_DIR says where it is";
        if exists {
            let message = format!("{shown} is not the folder of a testnet: it has no genesis.json");
            return Err(Failure::failed("not_a_testnet", message).help(help));
        }
        let message = format!("there is no testnet in {shown}");
        Err(Failure::failed("no_testnet", message).help(help))
    }

    /// The testnet that is or will be in `dir`.
    pub fn at(dir: &Path) -> Self {
        let dir = dir.to_owned();
        Self { dir }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `genesis.json`.
    pub fn genesis_file(&self) -> PathBuf {
        self.dir.join("genesis.json")
    }

    /// The folder of the client keys.
    pub fn keys_dir(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// What the foreground launcher holds.
    pub fn lock_file(&self) -> PathBuf {
        self.dir.join("launcher.lock")
    }

    /// Where a new testnet is made, before it takes the place of the one that is there.
    pub fn stage(&self) -> Self {
        Self::at(&self.dir.join(STAGE))
    }

    /// Reads the genesis.
    ///
    /// # Errors
    /// If the file is none.
    pub fn genesis(&self) -> Result<Genesis> {
        Ok(read_genesis(&self.genesis_file())?)
    }

    /// The folder that a node of this name has or would have.
    pub fn node_dir(&self, name: &str) -> NodeDir {
        NodeDir::new(self.dir.join(name))
    }

    /// The nodes, by name, `node2` before `node10`.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn members(&self) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        for (name, path) in self.entries()? {
            if is_node(&path) {
                let dir = NodeDir::new(path);
                members.push(Member { name, dir });
            }
        }
        members.sort_by_key(|m| natural(&m.name));
        Ok(members)
    }

    /// The node of this name.
    ///
    /// # Errors
    /// `not_found` with the names there are.
    pub fn member(&self, name: &str) -> Result<Member> {
        let members = self.members()?;
        let names: Vec<String> = members.iter().map(|m| m.name.clone()).collect();
        members.into_iter().find(|m| m.name == name).ok_or_else(|| {
            let message = format!("there is no node {name:?} in {}", self.dir.display());
            Failure::not_found(message).help(format!("the nodes are: {}", names.join(", ")))
        })
    }

    /// What lies in the folder and was not made by this program.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn foreign_entries(&self) -> Result<Vec<String>> {
        let entries = self.entries()?;
        let foreign = entries.into_iter().filter(|(_, path)| !is_ours(path));
        Ok(foreign.map(|(name, _)| name).collect())
    }

    /// Removes the genesis and then the nodes, and nothing else. The launcher's lock stays, since it is held, and so do
    /// the client keys: no chain is needed for a key to be worth something.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn wipe(&self) -> Result {
        let mut entries = self.entries()?;
        // Without a genesis half of a testnet is not taken for a whole one.
        entries.sort_by_key(|(name, _)| name != "genesis.json");
        for (name, path) in entries {
            if !is_ours(&path) || matches!(name.as_str(), "launcher.lock" | "keys" | STAGE) {
                continue;
            }
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(|e| Failure::io("cannot remove", &path, &e))?;
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<(String, PathBuf)>> {
        if !self.dir.is_dir() {
            return Ok(Vec::new());
        }
        let read = || {
            fs::read_dir(&self.dir)?
                .map(|entry| {
                    let entry = entry?;
                    Ok((
                        entry.file_name().to_string_lossy().into_owned(),
                        entry.path(),
                    ))
                })
                .collect::<io::Result<Vec<_>>>()
        };
        read().map_err(|e| Failure::io("cannot read", &self.dir, &e))
    }
}

/// Whether a folder is a node's. Its key may be all that is left of it.
fn is_node(path: &Path) -> bool {
    let dir = NodeDir::new(path);
    // A client's key may be called `key`.
    let is_keys = path.file_name().is_some_and(|name| name == "keys");
    let has_key = || matches!(dir.key(), Ok(_) | Err(ConfigError::KeyExposed { .. }));
    !is_keys && path.is_dir() && (dir.config_file().is_file() || has_key())
}

/// Whether this program made what is at `path`, a direct entry of a testnet's folder.
fn is_ours(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    if path.is_symlink() {
        return false;
    }
    if path.is_dir() {
        return matches!(name, "keys" | STAGE) || is_node(path);
    }
    // The second is what a crash leaves of writing the first.
    matches!(name, "genesis.json" | "genesis.json.new" | "launcher.lock")
}

/// A name to sort by, numbers by their value.
fn natural(name: &str) -> (String, u64, String) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name.get(stem.len()..).and_then(|n| n.parse().ok());
    (stem.to_owned(), number.unwrap_or(0), name.to_owned())
}

/// The error of a node that should run and does not.
pub fn not_running(name: &str) -> Failure {
    Failure::new(
        Exit::Failed,
        "not_running",
        format!("{name} is not running"),
    )
    .help(format!("`tintype testnet start {name}` starts it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::config::Config;

    #[test]
    fn nodes_are_folders_with_a_configuration_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let testnet = Testnet::at(folder.path());
        for name in ["node10", "node2", "other"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in ["node10", "node2"] {
            testnet
                .node_dir(name)
                .write_config(&Config::named(name))
                .unwrap();
        }
        let names: Vec<String> = testnet
            .members()
            .unwrap()
            .into_iter()
            .map(|m| m.name)
            .collect();
        assert_eq!(names, ["node2", "node10"]);
        assert_eq!(testnet.foreign_entries().unwrap(), ["other"]);
        assert_eq!(testnet.member("node3").unwrap_err().exit, Exit::Refused);
        assert_eq!(
            Testnet::open(folder.path()).unwrap_err().code,
            "not_a_testnet"
        );
        testnet.wipe().unwrap();
        assert!(
            folder.path().join("other").is_dir(),
            "what is not ours stays"
        );
        assert!(!folder.path().join("node2").exists());
    }
}
