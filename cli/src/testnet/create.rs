//! Making a testnet, and nodes for one that is there.

use super::{Member, Testnet, lock, ports, wiring};
use crate::failure::{Failure, Result};
use ledger::{
    genesis::{Genesis, GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    keys::SecretKey,
    store::disk::write_atomic,
    units::{Amount, Power, TimestampMs},
};
use node::config::{Config, SyncMode, is_name, random_key, read_key, write_key};
use std::{fs, path::Path, time::SystemTime};

/// The accounts of a new testnet.
pub const ACCOUNTS: [&str; 4] = ["alice", "bob", "carol", "dave"];
/// What each holds.
pub const BALANCE: Amount = Amount(1_000_000);
/// Validators of a new testnet, if nothing else is said.
pub const VALIDATORS: usize = 4;
/// Validators of a testnet, at the most: all run on this machine.
pub const VALIDATORS_MAX: usize = 100;

/// What a new testnet is to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// Validators.
    pub validators: Option<usize>,
    /// Blocks from one snapshot to the next.
    pub snapshot_interval: Option<u64>,
    /// The first port, if it was asked for.
    pub base_port: Option<u16>,
}

/// Makes the folder of a testnet, so that its lock can be taken.
///
/// # Errors
/// `not_writable` and the like.
pub fn make_dir(dir: &Path) -> Result {
    if dir.exists() && !dir.is_dir() {
        let message = format!("{} is a file, not a folder", dir.display());
        return Err(Failure::failed("not_a_testnet", message)
            .help("choose an empty or a new folder by --dir or TINTYPE_DIR"));
    }
    fs::create_dir_all(dir).map_err(|e| {
        let failure = Failure::io("cannot make the folder", dir, &e);
        if failure.code != "io" {
            return failure;
        }
        // A file on the way, a place such as /proc: whatever the system calls it, nothing can be made there.
        Failure {
            code: "not_writable".into(),
            ..failure
        }
        .help("choose a folder that can be written, by --dir or TINTYPE_DIR")
    })
}

/// Makes the testnet in its folder, unless it is there already. Its lock is held. Says whether it made one.
///
/// # Errors
/// If the folder holds something else, or another testnet than was asked for, or cannot be written.
pub fn ensure(testnet: &Testnet, plan: &Plan) -> Result<bool> {
    let dir = testnet.dir().display();
    if testnet.genesis_file().exists() {
        agrees_with_plan(testnet, plan)?;
        is_one_chain(testnet)?;
        return Ok(false);
    }
    let foreign = testnet.foreign_entries()?;
    if let Some(name) = foreign.first() {
        let message =
            format!("{dir} is not the folder of a testnet: it holds {name:?} and no genesis.json");
        return Err(Failure::failed("not_a_testnet", message)
            .help("choose an empty or a new folder by --dir or TINTYPE_DIR"));
    }
    let has_ledger =
        |m: &Member| fs::read_dir(m.dir.ledger()).is_ok_and(|mut d| d.next().is_some());
    if let Some(member) = testnet.members()?.iter().find(|m| has_ledger(m)) {
        let message = format!(
            "{dir} has no genesis.json, but {} has a ledger",
            member.name
        );
        let help = format!(
            "copy {} there, or start anew by --fresh",
            member.dir.genesis_file().display()
        );
        return Err(Failure::failed("genesis_missing", message).help(help));
    }
    // What is left is a creation that was interrupted before it wrote the genesis.
    testnet.wipe()?;
    create(testnet, plan)?;
    Ok(true)
}

fn agrees_with_plan(testnet: &Testnet, plan: &Plan) -> Result {
    let genesis = testnet.genesis()?;
    let other = |what: &str, has: u64, asked: u64| {
        let dir = testnet.dir().display();
        let message = format!("the testnet in {dir} has {what} {has}, not {asked}");
        Err(Failure::failed("other_testnet", message).help(
            "leave the option out to carry on, or make a new one by --fresh or in another --dir",
        ))
    };
    let validators = genesis.validators.len();
    match plan.validators {
        Some(asked) if asked != validators => {
            return other("a number of validators of", validators as u64, asked as u64);
        }
        _ => {}
    }
    let interval = genesis.parameters.snapshot_interval;
    match plan.snapshot_interval {
        Some(asked) if asked != interval => other("a snapshot interval of", interval, asked),
        _ => Ok(()),
    }
}

fn is_one_chain(testnet: &Testnet) -> Result {
    let chain = testnet.genesis()?.chain_id();
    for member in testnet.members()? {
        let found = member.dir.genesis()?.chain_id();
        if found != chain {
            let message = format!(
                "{} belongs to chain {found:.12}, the testnet in {} is chain {chain:.12}",
                member.name,
                testnet.dir().display()
            );
            return Err(Failure::failed("other_chain", message)
                .help("move that node's folder away, or make a new testnet by --fresh"));
        }
    }
    Ok(())
}

fn create(testnet: &Testnet, plan: &Plan) -> Result {
    let count = plan.validators.unwrap_or(VALIDATORS);
    if !(1..=VALIDATORS_MAX).contains(&count) {
        return Err(Failure::usage(format!(
            "{count} validators: 1 to {VALIDATORS_MAX} are possible"
        )));
    }
    let ports = match plan.base_port {
        Some(base) => ports::require(count, base)?,
        None => ports::choose(count, &std::collections::BTreeSet::new())?,
    };
    let keys = testnet.keys_dir();
    fs::create_dir_all(&keys).map_err(|e| Failure::io("cannot make the folder", &keys, &e))?;
    let mut accounts = Vec::new();
    for name in ACCOUNTS {
        let file = keys.join(name);
        if !file.exists() {
            write_key(&file, &random_key())?;
        }
        let (name, address) = (name.to_owned(), read_key(&file)?.address());
        accounts.push(GenesisAccount {
            name,
            address,
            balance: BALANCE,
        });
    }
    let mut validators = Vec::new();
    let mut members = Vec::new();
    for index in 0..count {
        let name = format!("node{index}");
        let (member, key) = make_node(testnet, &name, SyncMode::Auto)?;
        let public_key = key.public_key();
        validators.push(GenesisValidator {
            name,
            public_key,
            power: Power(1),
        });
        members.push(member);
    }
    let mut parameters = Parameters::default();
    if let Some(interval) = plan.snapshot_interval {
        parameters.snapshot_interval = interval;
    }
    let genesis = Genesis {
        protocol_version: PROTOCOL_VERSION,
        chain_name: chain_name(testnet.dir()),
        time: now(),
        parameters,
        validators,
        accounts,
    };
    genesis.check().map_err(|e| Failure::usage(e.to_string()))?;
    let text = genesis.to_json();
    for (member, ports) in members.iter().zip(ports) {
        wiring::set_ports(member, ports)?;
        write_atomic(&member.dir.genesis_file(), text.as_bytes())?;
    }
    wiring::rewire(testnet)?;
    // Last: a folder with a genesis is whole.
    Ok(write_atomic(&testnet.genesis_file(), text.as_bytes())?)
}

/// Makes the folder of a node, with a key and a configuration; ports and genesis are still to come.
fn make_node(testnet: &Testnet, name: &str, mode: SyncMode) -> Result<(Member, SecretKey)> {
    let dir = testnet.node_dir(name);
    fs::create_dir_all(dir.path())
        .map_err(|e| Failure::io("cannot make the folder", dir.path(), &e))?;
    // The configuration first: it marks the folder as ours.
    let mut config = Config::named(name);
    config.sync.mode = mode;
    dir.write_config(&config)?;
    let key = dir.create_identity()?;
    let name = name.to_owned();
    Ok((Member { name, dir }, key))
}

/// Makes a node for a testnet that is there: with its genesis, and all others as peers. One at a time, so that no two
/// choose one name or one pair of ports.
///
/// # Errors
/// If the name is taken or is none, or the folder cannot be written.
pub fn add_node(testnet: &Testnet, name: Option<&str>, mode: SyncMode) -> Result<Member> {
    let _alone = lock::change_alone(testnet)?;
    let genesis = testnet.genesis()?;
    let name = match name {
        Some(name) if is_name(name) && name != "keys" => name.to_owned(),
        Some(name) => {
            return Err(Failure::usage(format!("{name:?} cannot be a node's name"))
                .help("use letters, digits, '-', '_' and '.'"));
        }
        None => (0..)
            .map(|index: u32| format!("node{index}"))
            .find(|name| !testnet.node_dir(name).path().exists())
            .unwrap_or_default(),
    };
    let dir = testnet.node_dir(&name);
    if dir.path().exists() {
        let message = format!("{} is there already", dir.path().display());
        return Err(Failure::failed("exists", message).help(format!(
            "`tintype testnet start {name}` starts it, or choose another name"
        )));
    }
    if testnet.keys_dir().join(&name).exists() {
        let message = format!("{name} is the name of a client key");
        return Err(Failure::failed("exists", message).help("choose another name"));
    }
    let pair = ports::choose(1, &wiring::reserved(testnet)?)?;
    let (member, _) = make_node(testnet, &name, mode)?;
    for ports in pair {
        wiring::set_ports(&member, ports)?;
    }
    write_atomic(&member.dir.genesis_file(), genesis.to_json().as_bytes())?;
    wiring::rewire(testnet)?;
    Ok(member)
}

/// The folder's name and some random digits: two testnets in folders of one name are two chains.
fn chain_name(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let name = dir
        .file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let plain: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(40)
        .collect();
    let stem = if plain.is_empty() { "testnet" } else { &plain };
    let suffix: String = random_key().address().to_string().chars().take(8).collect();
    format!("{stem}-{suffix}")
}

/// The time, for a genesis.
pub fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    TimestampMs(since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_testnet_is_made_once_and_carried_on() {
        let folder = tempfile::tempdir().unwrap();
        let testnet = Testnet::at(folder.path());
        assert!(ensure(&testnet, &Plan::default()).unwrap());
        let chain = testnet.genesis().unwrap().chain_id();
        assert!(!ensure(&testnet, &Plan::default()).unwrap());
        assert_eq!(testnet.genesis().unwrap().chain_id(), chain);
        let members = testnet.members().unwrap();
        assert_eq!(members.len(), VALIDATORS);
        for member in &members {
            assert_eq!(member.dir.config().unwrap().p2p.peers.len(), VALIDATORS - 1);
        }
        let plan = Plan {
            validators: Some(5),
            ..Plan::default()
        };
        assert_eq!(ensure(&testnet, &plan).unwrap_err().code, "other_testnet");

        let added = add_node(&testnet, None, SyncMode::Snapshot).unwrap();
        assert_eq!(added.name, "node4");
        assert_eq!(added.dir.config().unwrap().p2p.peers.len(), VALIDATORS);
        assert_eq!(added.dir.genesis().unwrap().chain_id(), chain);
        assert_eq!(
            add_node(&testnet, Some("node4"), SyncMode::Auto)
                .unwrap_err()
                .code,
            "exists"
        );
    }

    /// Several commands in several terminals, at one moment.
    #[test]
    fn nodes_that_are_added_at_once_have_names_and_ports_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let testnet = Testnet::at(folder.path());
        let plan = Plan {
            validators: Some(1),
            ..Plan::default()
        };
        ensure(&testnet, &plan).unwrap();
        let together = std::sync::Barrier::new(6);
        let add = || {
            together.wait();
            add_node(&testnet, None, SyncMode::Auto).unwrap().name
        };
        let mut names = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(add)).collect();
            let names = threads.into_iter().map(|thread| thread.join().unwrap());
            names.collect::<Vec<_>>()
        });
        names.sort_unstable();
        assert_eq!(
            names,
            ["node1", "node2", "node3", "node4", "node5", "node6"]
        );
        assert_eq!(wiring::reserved(&testnet).unwrap().len(), 2 * 7);
        for member in testnet.members().unwrap() {
            let peers = member.dir.config().unwrap().p2p.peers;
            assert_eq!(peers.len(), 6, "{} knows all others", member.name);
        }
    }

    /// The genesis is the last thing that is written of a testnet.
    #[test]
    fn a_creation_that_was_interrupted_is_begun_again() {
        let folder = tempfile::tempdir().unwrap();
        let testnet = Testnet::at(folder.path());
        make_node(&testnet, "node0", SyncMode::Auto).unwrap();
        fs::write(folder.path().join("genesis.json.new"), "{").unwrap();
        assert!(ensure(&testnet, &Plan::default()).unwrap());
        assert_eq!(testnet.members().unwrap().len(), VALIDATORS);
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "x").unwrap();
        let testnet = Testnet::at(folder.path());
        assert_eq!(
            ensure(&testnet, &Plan::default()).unwrap_err().code,
            "not_a_testnet"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_node_of_another_chain_is_named() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (a, b) = (Testnet::at(one.path()), Testnet::at(two.path()));
        let plan = Plan {
            validators: Some(1),
            ..Plan::default()
        };
        ensure(&a, &plan).unwrap();
        ensure(&b, &plan).unwrap();
        fs::copy(a.genesis_file(), b.node_dir("node0").genesis_file()).unwrap();
        assert_eq!(
            ensure(&b, &Plan::default()).unwrap_err().code,
            "other_chain"
        );
    }
}
