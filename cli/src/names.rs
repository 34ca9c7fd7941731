//! From what a person types to keys and addresses.
//!
//! A name is a client key in `TESTNET/keys`, a node (its validator key), or an account of the genesis, in this order. 64
//! hex digits are an address; 8 or more are the one known address that begins so.

use crate::failure::{Exit, Failure, Result};
use crate::testnet::Testnet;
use ledger::{
    hash::Address,
    keys::{PublicKey, SecretKey},
};
use node::config::{is_name, read_key};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Hex digits of a prefix, at the least.
const PREFIX_DIGITS_MIN: usize = 8;

/// The keys and names of a testnet's folder.
#[derive(Clone, Debug)]
pub struct Names {
    testnet: Testnet,
}

impl Names {
    /// Those of a testnet, which need not be there: addresses can then be given in full.
    pub fn of(dir: &Path) -> Self {
        let testnet = Testnet::at(dir);
        Self { testnet }
    }

    /// The file of a client key, whether there is one or not.
    ///
    /// # Errors
    /// If the name cannot be a file's.
    pub fn key_file(&self, name: &str) -> Result<PathBuf> {
        if !is_name(name) {
            let message = format!("{name:?} cannot be a key's name");
            return Err(Failure::usage(message).help("use letters, digits, '-', '_' and '.'"));
        }
        Ok(self.testnet.keys_dir().join(name))
    }

    /// Whether a node of the testnet is called so.
    pub fn is_node(&self, name: &str) -> bool {
        self.testnet.node_dir(name).key_file().is_file()
    }

    /// The names of the client keys.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn client_keys(&self) -> Result<Vec<String>> {
        let dir = self.testnet.keys_dir();
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let read = fs::read_dir(&dir).map_err(|e| Failure::io("cannot read", &dir, &e))?;
        let names = read.flatten().filter(|entry| entry.path().is_file());
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| is_name(name)).collect();
        names.sort();
        Ok(names)
    }

    /// The secret key of this name.
    ///
    /// # Errors
    /// `not_found` if there is none.
    pub fn secret(&self, name: &str) -> Result<SecretKey> {
        let file = self.key_file(name)?;
        if file.is_file() {
            return Ok(read_key(&file)?);
        }
        let node = self.testnet.node_dir(name).key_file();
        if node.is_file() {
            return Ok(read_key(&node)?);
        }
        let known = self.client_keys()?;
        let help = if known.is_empty() {
            "`tintype keys add NAME` makes one".into()
        } else {
            format!(
                "the keys are: {}; `tintype keys add NAME` makes one",
                known.join(", ")
            )
        };
        let dir = self.testnet.keys_dir();
        Err(Failure::not_found(format!("there is no key {name:?} in {}", dir.display())).help(help))
    }

    /// The address that is meant.
    ///
    /// # Errors
    /// `not_found`, or `ambiguous_prefix`.
    pub fn address(&self, text: &str) -> Result<Address> {
        if let Ok(address) = text.to_ascii_lowercase().parse() {
            return Ok(address);
        }
        let known = self.known()?;
        if let Some((_, address)) = known.iter().find(|(name, _)| *name == text) {
            return Ok(*address);
        }
        let addresses: Vec<(String, Address)> = known
            .values()
            .map(|address| (address.to_string(), *address))
            .collect();
        let found = by_prefix(text, &addresses)?;
        if found.is_none() && !self.testnet.dir().exists() {
            Testnet::open(self.testnet.dir())?;
        }
        found.ok_or_else(|| {
            let mut names: Vec<&str> = known.keys().map(String::as_str).collect();
            if names.is_empty() {
                names.push("none is known here");
            }
            Failure::not_found(format!("there is no account called {text:?}")).help(format!(
                "give an address of 64 hex digits, or one of the names: {}",
                names.join(", ")
            ))
        })
    }

    /// The public key that is meant: of a node, of a client key, or 64 hex digits.
    ///
    /// # Errors
    /// `not_found`.
    pub fn public_key(&self, text: &str) -> Result<PublicKey> {
        if let Ok(key) = text.to_ascii_lowercase().parse() {
            return Ok(key);
        }
        Ok(self.secret(text)?.public_key())
    }

    /// The public key of who is to vote: of a node, or 64 hex digits.
    ///
    /// # Errors
    /// `not_a_node` for a client's key, with which no node votes, and for what can be nobody's key; `not_found`.
    pub fn voter(&self, text: &str) -> Result<PublicKey> {
        let refused = |message: String| {
            let help = "give the name of a node of this testnet, or the public key that `tintype init` printed";
            Err(Failure::new(Exit::Refused, "not_a_node", message).help(help))
        };
        if !self.is_node(text) && self.key_file(text).is_ok_and(|file| file.is_file()) {
            return refused(format!(
                "{text} is a client's key: no node votes with it, and a validator that never votes stops the chain"
            ));
        }
        let key = self.public_key(text)?;
        if !key.can_be_owned() {
            return refused(format!("the public key {key} is nobody's"));
        }
        Ok(key)
    }

    /// The name of an address, if it has one here.
    pub fn name_of(&self, address: &Address) -> Option<String> {
        let known = self.known().ok()?;
        known
            .into_iter()
            .find(|(_, a)| a == address)
            .map(|(name, _)| name)
    }

    /// Every name and its address. A key that cannot be read is passed over: it is not the one asked for, or is refused
    /// when it is used.
    fn known(&self) -> Result<BTreeMap<String, Address>> {
        let mut known = BTreeMap::new();
        if let Ok(genesis) = self.testnet.genesis() {
            known.extend(genesis.accounts.into_iter().map(|a| (a.name, a.address)));
            known.extend(
                genesis
                    .validators
                    .into_iter()
                    .map(|v| (v.name, v.public_key.address())),
            );
        }
        if self.testnet.dir().is_dir() {
            for member in self.testnet.members()? {
                known.extend(
                    member
                        .dir
                        .key()
                        .ok()
                        .map(|key| (member.name, key.address())),
                );
            }
        }
        for name in self.client_keys()? {
            let key = read_key(&self.testnet.keys_dir().join(&name));
            known.extend(key.ok().map(|key| (name, key.address())));
        }
        Ok(known)
    }
}

/// Whether a name reads as an address or as the beginning of one. Whoever types it would not know who is meant.
pub fn is_like_an_address(name: &str) -> bool {
    name.len() >= PREFIX_DIGITS_MIN && name.chars().all(|c| c.is_ascii_hexdigit())
}

/// The one of several things whose hex form begins with `text`; none if `text` is no prefix or nothing begins so.
///
/// # Errors
/// `ambiguous_prefix` if several do.
pub fn by_prefix<T: Copy>(text: &str, things: &[(String, T)]) -> Result<Option<T>> {
    let prefix = text.to_ascii_lowercase();
    if !is_like_an_address(text) {
        return Ok(None);
    }
    let mut matching = things.iter().filter(|(hex, _)| hex.starts_with(&prefix));
    match (matching.next(), matching.next()) {
        (Some(_), Some(_)) => {
            let message = format!("several things begin with {text}");
            Err(Failure::new(Exit::Refused, "ambiguous_prefix", message).help("give more digits"))
        }
        (first, _) => Ok(first.map(|(_, thing)| *thing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::config::{random_key, write_key};

    #[test]
    fn a_prefix_names_one_thing_or_none() {
        let things = [("aabbccdd11".to_owned(), 1), ("aabbccdd22".to_owned(), 2)];
        assert_eq!(by_prefix("aabbccdd1", &things).unwrap(), Some(1));
        assert_eq!(by_prefix("AABBCCDD22", &things).unwrap(), Some(2));
        assert_eq!(by_prefix("ffffffff", &things).unwrap(), None);
        assert_eq!(by_prefix("aabbccd", &things).unwrap(), None, "too short");
        assert_eq!(
            by_prefix("aabbccdd", &things).unwrap_err().code,
            "ambiguous_prefix"
        );
    }

    #[test]
    fn names_addresses_and_prefixes_lead_to_one_account() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::of(folder.path());
        fs::create_dir(folder.path().join("keys")).unwrap();
        let key = random_key();
        write_key(&names.key_file("erin").unwrap(), &key).unwrap();
        let full = key.address().to_string();
        for text in ["erin", &full, full.get(..10).unwrap()] {
            assert_eq!(names.address(text).unwrap(), key.address(), "{text}");
        }
        assert_eq!(names.name_of(&key.address()).as_deref(), Some("erin"));
        assert_eq!(names.address("mallory").unwrap_err().code, "not_found");
        assert_eq!(names.secret("mallory").unwrap_err().exit as u8, 3);
        assert_eq!(names.secret("../erin").unwrap_err().exit as u8, 2);
        let nowhere = Names::of(&folder.path().join("none"));
        assert_eq!(nowhere.address("alice").unwrap_err().code, "no_testnet");
        assert_eq!(nowhere.address(&full).unwrap(), key.address());
    }

    #[test]
    fn nodes_vote_and_clients_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::of(folder.path());
        let (client, node) = (random_key(), random_key());
        fs::create_dir(folder.path().join("keys")).unwrap();
        write_key(&names.key_file("erin").unwrap(), &client).unwrap();
        fs::create_dir(folder.path().join("node4")).unwrap();
        write_key(&names.testnet.node_dir("node4").key_file(), &node).unwrap();
        assert_eq!(names.voter("node4").unwrap(), node.public_key());
        let hex = client.public_key().to_string();
        assert_eq!(names.voter(&hex).unwrap(), client.public_key());
        for nobody in ["erin", &"0".repeat(64)] {
            let refused = names.voter(nobody).unwrap_err();
            assert_eq!((refused.exit as u8, &*refused.code), (3, "not_a_node"));
        }
        assert_eq!(names.voter("node9").unwrap_err().code, "not_found");
    }
}
