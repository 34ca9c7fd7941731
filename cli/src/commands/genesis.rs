//! `tintype genesis`: the file that a chain starts from, out of the keys of several nodes.

use super::init::Initialised;
use crate::{
    context::Context,
    failure::{Failure, Result},
    names::Names,
    table::fields,
    testnet::create::now,
};
use clap::Args;
use ledger::{
    genesis::{Generated, Genesis, GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    store::disk::write_atomic,
    units::{Amount, Power},
};
use node::config::NodeDir;
use serde_json::json;
use std::path::{Path, PathBuf};

/// `tintype genesis`.
#[derive(Debug, Args)]
pub struct GenesisArgs {
    /// The validators: a node's folder, a file with what `init --json` printed, or NAME=PUBLIC_KEY
    #[arg(required = true, value_name = "VALIDATOR")]
    pub validators: Vec<String>,
    /// The chain's name
    #[arg(long, default_value = "tintype")]
    pub chain_name: String,
    /// An account that holds something from the start
    #[arg(long = "account", value_name = "NAME=ADDRESS=BALANCE")]
    pub accounts: Vec<String>,
    /// Blocks from one snapshot to the next
    #[arg(long, value_name = "BLOCKS")]
    pub snapshot_interval: Option<u64>,
    /// Generated records that are there from the start, to see what a state of that size costs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=Generated::COUNT_MAX))]
    pub entries: Option<u64>,
    /// Where to write it; it is copied into the node folders that were given as well
    #[arg(long, default_value = "genesis.json", value_name = "FILE")]
    pub out: PathBuf,
}

/// Makes the file.
///
/// # Errors
/// If something given is none, or a file is there already.
pub fn run(context: &Context, args: &GenesisArgs) -> Result {
    let validators: Vec<GenesisValidator> = args
        .validators
        .iter()
        .map(|text| validator(text))
        .collect::<Result<_>>()?;
    let names = Names::of(&context.dir);
    let accounts: Vec<GenesisAccount> = args
        .accounts
        .iter()
        .map(|text| account(text, &names))
        .collect::<Result<_>>()?;
    let mut parameters = Parameters::default();
    if let Some(interval) = args.snapshot_interval {
        parameters.snapshot_interval = interval;
    }
    let genesis = Genesis {
        protocol_version: PROTOCOL_VERSION,
        chain_name: args.chain_name.clone(),
        time: now(),
        parameters,
        validators,
        accounts,
        generated: args.entries.map(Generated::of),
    };
    genesis.check().map_err(|e| Failure::usage(e.to_string()))?;
    let folders = args
        .validators
        .iter()
        .filter(|text| Path::new(text).is_dir());
    let mut files: Vec<PathBuf> = folders.map(|f| NodeDir::new(f).genesis_file()).collect();
    files.push(args.out.clone());
    if let Some(file) = files.iter().find(|file| file.exists()) {
        let message = format!("{} is there already", file.display());
        return Err(Failure::failed("exists", message)
            .help("a chain keeps its genesis for ever: move the old one away to start another"));
    }
    for file in &files {
        write_atomic(file, genesis.to_json().as_bytes())?;
    }
    let chain_id = genesis.chain_id();
    let written: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    let document = json!({
        "chain_id": chain_id,
        "chain_name": genesis.chain_name,
        "validators": genesis.validators.len(),
        "accounts": genesis.accounts.len(),
        "entries": args.entries.unwrap_or(0),
        "files": written,
    });
    context.out.result(&document, || {
        fields(&[
            ("chain", chain_id.to_string()),
            ("files", written.join(", ")),
            (
                "next",
                "copy it into every node's folder as genesis.json".into(),
            ),
        ])
    });
    Ok(())
}

fn validator(text: &str) -> Result<GenesisValidator> {
    let power = Power(1);
    let path = Path::new(text);
    if path.is_dir() {
        let dir = NodeDir::new(path);
        let (name, public_key) = (dir.config()?.name, dir.key()?.public_key());
        return Ok(GenesisValidator {
            name,
            public_key,
            power,
        });
    }
    if path.is_file() {
        let bytes = std::fs::read(path).map_err(|e| Failure::io("cannot read", path, &e))?;
        let made: Initialised = serde_json::from_slice(&bytes).map_err(|e| {
            Failure::usage(format!(
                "{text} is not what `tintype init --json` prints: {e}"
            ))
        })?;
        let (name, public_key) = (made.name, made.public_key);
        return Ok(GenesisValidator {
            name,
            public_key,
            power,
        });
    }
    let pair = text.split_once('=');
    let parsed = pair.and_then(|(name, key)| Some((name.to_owned(), key.parse().ok()?)));
    match parsed {
        Some((name, public_key)) => Ok(GenesisValidator {
            name,
            public_key,
            power,
        }),
        None => Err(Failure::usage(format!(
            "{text:?} is no folder of a node, no file, and not NAME=PUBLIC_KEY"
        ))),
    }
}

fn account(text: &str, names: &Names) -> Result<GenesisAccount> {
    let parts: Vec<&str> = text.split('=').collect();
    let [name, address, balance] = parts.as_slice() else {
        return Err(Failure::usage(format!(
            "{text:?} is not NAME=ADDRESS=BALANCE"
        )));
    };
    let balance = balance
        .parse::<Amount>()
        .map_err(|_| Failure::usage(format!("{balance:?} is not an amount")))?;
    let (name, address) = ((*name).to_owned(), names.address(address)?);
    Ok(GenesisAccount {
        name,
        address,
        balance,
    })
}
