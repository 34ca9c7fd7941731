//! Making a testnet, and nodes for one that is there.

use super::{
    Member, Testnet, lock,
    ports::{self, Ports},
    wiring,
};
use crate::{
    failure::{Failure, Result},
    names::is_like_an_address,
};
use ledger::{
    genesis::{Generated, Genesis, GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    keys::SecretKey,
    store::disk::write_atomic,
    units::{Amount, Power, TimestampMs},
};
use node::config::{Config, Sync, is_name, random_key, read_key, write_key};
use std::{collections::BTreeSet, fs, io::ErrorKind, path::Path, time::SystemTime};

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
    /// Generated records of its first state.
    pub entries: Option<u64>,
    /// The first port, if it was asked for.
    pub base_port: Option<u16>,
    /// Whether it takes the place of the one that is there.
    pub fresh: bool,
}

impl Plan {
    fn count(&self) -> Result<usize> {
        let count = self.validators.unwrap_or(VALIDATORS);
        if (1..=VALIDATORS_MAX).contains(&count) {
            return Ok(count);
        }
        let message = format!("{count} validators: 1 to {VALIDATORS_MAX} are possible");
        Err(Failure::usage(message))
    }

    fn parameters(&self) -> Result<Parameters> {
        let mut parameters = Parameters::default();
        if let Some(interval) = self.snapshot_interval {
            parameters.snapshot_interval = interval;
        }
        parameters
            .check()
            .map_err(|e| Failure::usage(e.to_string()))?;
        Ok(parameters)
    }

    fn generated(&self) -> Option<Generated> {
        // None is no size of a generated space, but it is one of a testnet.
        self.entries.filter(|count| *count > 0).map(Generated::of)
    }

    /// Ports for all validators, free at the moment.
    fn ports(&self) -> Result<Vec<Ports>> {
        match self.base_port {
            Some(base) => ports::require(self.count()?, base),
            None => ports::choose(self.count()?, &BTreeSet::new()),
        }
    }
}

/// Makes the folder of a testnet, so that its lock can be taken.
///
/// # Errors
/// `not_writable` and the like.
pub fn make_dir(dir: &Path) -> Result {
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

/// Whether the plan needs a testnet to be made, rather than the one that is there carried on. Looks only: a plan that
/// cannot work is refused before anything is made or removed.
///
/// # Errors
/// If the folder holds something else, or another testnet than was asked for, or a port is taken.
pub fn check(testnet: &Testnet, plan: &Plan) -> Result<bool> {
    let dir = testnet.dir().display();
    let elsewhere = "choose an empty or a new folder by --dir or TINTYPE_DIR";
    if testnet.dir().exists() && !testnet.dir().is_dir() {
        let message = format!("{dir} is a file, not a folder");
        return Err(Failure::failed("not_a_testnet", message).help(elsewhere));
    }
    plan.parameters()?;
    let is_there = testnet.genesis_file().exists();
    if is_there && !plan.fresh {
        agrees_with_plan(testnet, plan)?;
        is_one_chain(testnet)?;
        return Ok(false);
    }
    plan.ports()?;
    if let Some(name) = testnet.foreign_entries()?.first() {
        let (message, help) = if is_there {
            let message = format!("{dir} also holds {name:?}, which is no part of a testnet");
            (message, "move it away, or choose another folder by --dir")
        } else {
            let what = "is not the folder of a testnet";
            let message = format!("{dir} {what}: it holds {name:?} and no genesis.json");
            (message, elsewhere)
        };
        return Err(Failure::failed("not_a_testnet", message).help(help));
    }
    // With what is left of a creation that was interrupted there is a stage.
    let is_left_over = testnet.stage().dir().exists();
    match testnet.members()?.first() {
        Some(member) if !is_there && !plan.fresh && !is_left_over => {
            let name = &member.name;
            let message = format!("{dir} has no genesis.json, but {name} is a node with a key");
            let genesis = member.dir.genesis_file();
            let help = format!("copy {} there, or start anew by --fresh", genesis.display());
            Err(Failure::failed("genesis_missing", message).help(help))
        }
        _ => Ok(true),
    }
}

/// Makes the testnet in its folder, unless it is there already. Its lock is held. Says whether it made one.
///
/// # Errors
/// Those of [`check`], or if the folder cannot be written.
pub fn ensure(testnet: &Testnet, plan: &Plan) -> Result<bool> {
    let is_new = check(testnet, plan)?;
    let stage = testnet.stage();
    remove(&stage)?;
    if is_new {
        let made = create(testnet, &stage, plan).and_then(|()| {
            testnet.wipe()?;
            take_over(testnet, &stage)
        });
        // It stays as a sign that the nodes there are half of a testnet, if they are.
        if testnet.genesis_file().exists() || testnet.members()?.is_empty() {
            remove(&stage)?;
        }
        made?;
    }
    Ok(is_new)
}

fn remove(stage: &Testnet) -> Result {
    match fs::remove_dir_all(stage.dir()) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(Failure::io("cannot remove", stage.dir(), &e))
        }
        _ => Ok(()),
    }
}

/// Puts a testnet that was made where it belongs: the nodes, and at last the genesis.
fn take_over(testnet: &Testnet, stage: &Testnet) -> Result {
    let rename = |from: &Path, to: &Path| {
        fs::rename(from, to).map_err(|e| Failure::io("cannot move", from, &e))
    };
    for member in stage.members()? {
        rename(member.dir.path(), testnet.node_dir(&member.name).path())?;
    }
    rename(&stage.genesis_file(), &testnet.genesis_file())
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
        Some(asked) if asked != interval => {
            return other("a snapshot interval of", interval, asked);
        }
        _ => {}
    }
    let entries = genesis.generated.map_or(0, |generated| generated.count);
    match plan.entries {
        Some(asked) if asked != entries => {
            other("a number of generated records of", entries, asked)
        }
        _ => Ok(()),
    }
}

fn is_one_chain(testnet: &Testnet) -> Result {
    let chain = testnet.genesis()?.chain_id();
    for member in testnet.members()? {
        if !member.dir.genesis_file().exists() {
            continue; // it was wiped, and is given one: see `restore`
        }
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

/// Makes a testnet in `stage`. The client keys are those of `testnet`, made there if they are missing.
fn create(testnet: &Testnet, stage: &Testnet, plan: &Plan) -> Result {
    let (count, parameters, ports) = (plan.count()?, plan.parameters()?, plan.ports()?);
    make_dir(stage.dir())?;
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
        let (member, key) = make_node(stage, &Config::named(&name))?;
        let public_key = key.public_key();
        validators.push(GenesisValidator {
            name,
            public_key,
            power: Power(1),
        });
        members.push(member);
    }
    let genesis = Genesis {
        protocol_version: PROTOCOL_VERSION,
        chain_name: chain_name(testnet.dir()),
        time: now(),
        parameters,
        validators,
        accounts,
        generated: plan.generated(),
    };
    genesis.check().map_err(|e| Failure::usage(e.to_string()))?;
    let text = genesis.to_json();
    for (member, ports) in members.iter().zip(ports) {
        wiring::set_ports(member, ports)?;
        write_atomic(&member.dir.genesis_file(), text.as_bytes())?;
    }
    wiring::rewire(stage)?;
    // Last: a folder with a genesis is whole.
    Ok(write_atomic(&stage.genesis_file(), text.as_bytes())?)
}

/// Makes the folder of a node, with a key and a configuration; ports and genesis are still to come.
fn make_node(testnet: &Testnet, config: &Config) -> Result<(Member, SecretKey)> {
    let dir = testnet.node_dir(&config.name);
    fs::create_dir_all(dir.path())
        .map_err(|e| Failure::io("cannot make the folder", dir.path(), &e))?;
    // The configuration first: it marks the folder as ours.
    dir.write_config(config)?;
    let key = dir.create_identity()?;
    let name = config.name.clone();
    Ok((Member { name, dir }, key))
}

/// Gives a node of which little more than its key is left the genesis and a configuration again. Of what it promised to
/// consensus nothing is made up: that its `wal` is missing tells the node that it was wiped. Says what was made.
///
/// # Errors
/// If no ports are free, or the folder cannot be written.
pub fn restore(testnet: &Testnet, member: &Member) -> Result<Vec<&'static str>> {
    let mut made = Vec::new();
    if !member.dir.genesis_file().exists() {
        let genesis = testnet.genesis()?.to_json();
        write_atomic(&member.dir.genesis_file(), genesis.as_bytes())?;
        made.push("genesis.json");
    }
    if !member.dir.config_file().exists() {
        let ports = ports::choose(1, &wiring::reserved(testnet)?)?;
        member.dir.write_config(&Config::named(&member.name))?;
        for ports in ports {
            wiring::set_ports(member, ports)?;
        }
        made.push("tintype.toml");
    }
    Ok(made)
}

/// Makes a node for a testnet that is there: with its genesis, and all others as peers. One at a time, so that no two
/// choose one name or one pair of ports.
///
/// # Errors
/// If the name is taken or is none, or what it is to follow, or the folder cannot be written. Then there is no such node.
pub fn add_node(testnet: &Testnet, name: Option<&str>, sync: Sync) -> Result<Member> {
    let _alone = lock::change_alone(testnet)?;
    let genesis = testnet.genesis()?;
    let name = match name {
        Some(name) if is_name(name) && name != "keys" && !is_like_an_address(name) => {
            name.to_owned()
        }
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
    let mut config = Config::named(&name);
    config.sync = sync;
    config
        .check(&dir.config_file())
        .map_err(|e| Failure::usage(e.to_string()))?;
    let pair = ports::choose(1, &wiring::reserved(testnet)?)?;
    let make = || {
        let (member, _) = make_node(testnet, &config)?;
        for ports in pair {
            wiring::set_ports(&member, ports)?;
        }
        write_atomic(&member.dir.genesis_file(), genesis.to_json().as_bytes())?;
        wiring::rewire(testnet)?;
        Ok(member)
    };
    let made = make();
    if made.is_err() {
        // Half of a node would be in the way of the next attempt.
        let _ = fs::remove_dir_all(dir.path());
    }
    made
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
mod tests;
