//! `tintype tx`: transactions, signed here and sent through a node.

use super::{parameter, validator};
use crate::{
    api::{TransactionAnswer, TransactionState},
    context::Context,
    failure::{Failure, Result},
    names::Names,
    sender::{Options, Sender},
    table::{fields, grouped},
};
use clap::{Args, Subcommand};
use ledger::{
    keys::SecretKey,
    transaction::Operation,
    units::{Amount, Nonce, Version},
};
use node::config::read_key;
use std::{path::PathBuf, time::Duration};

/// Who signs if nothing is said.
const DEFAULT_SENDER: &str = "alice";

/// `tintype tx ...`
#[derive(Debug, Args)]
pub struct TxArgs {
    /// Who signs: the name of a key [default: alice; for `transfer`, FROM]
    #[arg(long, global = true, value_name = "NAME")]
    pub from: Option<String>,
    /// Sign with the key in this file instead
    #[arg(
        long = "key",
        id = "key_file",
        global = true,
        value_name = "FILE",
        conflicts_with = "from"
    )]
    pub key: Option<PathBuf>,
    /// Return as soon as a node has taken it. Two that are sent so at once through different nodes may take one nonce:
    /// then one of them is dropped. `tintype query tx ID` tells
    #[arg(long, global = true)]
    pub no_wait: bool,
    /// Seconds to wait for a block
    #[arg(long, global = true, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub timeout: u64,
    /// Use this nonce, and never another [default: the account's next]
    #[arg(long, global = true, value_name = "N")]
    pub nonce: Option<u64>,
    /// For how many blocks it stays valid [default: 100 and more, by chance: two equal ones are then two]
    #[arg(long, global = true, value_name = "BLOCKS")]
    pub valid_for: Option<u64>,
    /// What to do.
    #[command(subcommand)]
    pub what: What,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Move an amount from one account to another
    Transfer {
        /// Who pays: the name of a key
        #[arg(id = "payer", value_name = "FROM")]
        from: String,
        /// Who receives: a name or an address
        to: String,
        /// How much
        amount: u64,
    },
    /// Write a record into a space, which must be there
    Put {
        /// The space
        space: String,
        /// The record's key
        #[arg(id = "record_key", value_name = "KEY")]
        key: String,
        /// Its new value
        value: String,
        /// Only if this is its version now; 0: only if it is absent
        #[arg(long, value_name = "N")]
        if_version: Option<u64>,
    },
    /// Remove a record
    Delete {
        /// The space
        space: String,
        /// The record's key
        #[arg(id = "record_key", value_name = "KEY")]
        key: String,
        /// Only if this is its version now
        #[arg(long, value_name = "N")]
        if_version: Option<u64>,
    },
    /// Make a space, or say who writes in it
    #[command(subcommand)]
    Space(SpaceCommand),
    /// Approve a change of the validators, with every validator key of this testnet unless --from names one
    #[command(subcommand)]
    Validator(ValidatorCommand),
    /// Approve a change of one of the chain's parameters, with every validator key of this testnet unless --from names one
    Parameter {
        /// Which, as it stands in the genesis, such as snapshot_interval
        name: String,
        /// What it is to be
        value: u64,
    },
}

/// Spaces.
#[derive(Debug, Subcommand)]
pub enum SpaceCommand {
    /// Make a space; the sender owns it
    Create {
        /// Its name
        space: String,
        /// Who may write besides the owner: a name or an address; as often as there are writers
        #[arg(long = "writer", value_name = "NAME")]
        writers: Vec<String>,
    },
    /// Replace a space's writers; only its owner may, and none given means none
    Writers {
        /// Its name
        space: String,
        /// Who may write besides the owner
        #[arg(long = "writer", value_name = "NAME")]
        writers: Vec<String>,
    },
}

/// Validators.
#[derive(Clone, Debug, Subcommand)]
pub enum ValidatorCommand {
    /// Add a validator, or change its power
    Add {
        /// A node's name or a public key
        validator: String,
        /// What its vote weighs beside the others'
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        power: u64,
    },
    /// Remove a validator
    Remove {
        /// A node's name or a public key
        validator: String,
    },
}

impl TxArgs {
    fn options(&self) -> Options {
        Options {
            nonce: self.nonce.map(Nonce),
            valid_for: self.valid_for,
            wait: (!self.no_wait).then(|| Duration::from_secs(self.timeout)),
        }
    }
}

/// Signs, sends and waits.
///
/// # Errors
/// Exit code 3 with the reason for what the ledger refuses.
pub fn run(context: &Context, args: &TxArgs) -> Result {
    let names = Names::of(&context.dir);
    match operation(&names, &args.what) {
        Ok(None) => approve(context, args, &names),
        operation => {
            // The key first: a file that is none is said before a name that is unknown.
            let key = signer(args, &names)?;
            let operations: Vec<Operation> = operation?.into_iter().collect();
            let client = context.client()?;
            let sender = Sender::new(&client, &context.dir)?;
            let answer = sender.send(&key, &operations, args.options())?;
            context.out.result(&answer, || text(&answer));
            Ok(())
        }
    }
}

/// What validators approve together.
fn approve(context: &Context, args: &TxArgs, names: &Names) -> Result {
    let approver = match (&args.from, &args.key) {
        (None, None) => None,
        _ => Some(signer(args, names)?),
    };
    let (approver, options) = (approver.as_ref(), args.options());
    match &args.what {
        What::Validator(command) => validator::run(context, command, approver, options),
        What::Parameter { name, value } => parameter::run(context, name, *value, approver, options),
        _ => Ok(()),
    }
}

fn signer(args: &TxArgs, names: &Names) -> Result<SecretKey> {
    if let Some(file) = &args.key {
        return Ok(read_key(file)?);
    }
    match (&args.what, &args.from) {
        (What::Transfer { from, .. }, Some(other)) if from != other => Err(Failure::usage(
            format!("the transfer is from {from:?}, --from says {other:?}"),
        )),
        (What::Transfer { from, .. }, _) => names.secret(from),
        (_, from) => names.secret(from.as_deref().unwrap_or(DEFAULT_SENDER)),
    }
}

/// What one sender does alone; none for what validators approve together.
fn operation(names: &Names, what: &What) -> Result<Option<Operation>> {
    let addresses = |list: &[String]| {
        list.iter()
            .map(|name| names.address(name))
            .collect::<Result<Vec<_>>>()
    };
    Ok(Some(match what {
        What::Transfer { to, amount, .. } => Operation::Transfer {
            to: names.address(to)?,
            amount: Amount(*amount),
        },
        What::Put {
            space,
            key,
            value,
            if_version,
        } => Operation::Put {
            space: space.clone(),
            key: key.clone().into_bytes(),
            value: value.clone().into_bytes(),
            expected: if_version.map(Version),
        },
        What::Delete {
            space,
            key,
            if_version,
        } => Operation::Delete {
            space: space.clone(),
            key: key.clone().into_bytes(),
            expected: if_version.map(Version),
        },
        What::Space(SpaceCommand::Create { space, writers }) => Operation::CreateSpace {
            space: space.clone(),
            writers: addresses(writers)?,
        },
        What::Space(SpaceCommand::Writers { space, writers }) => Operation::SetWriters {
            space: space.clone(),
            writers: addresses(writers)?,
        },
        What::Validator(_) | What::Parameter { .. } => return Ok(None),
    }))
}

/// What became of a transaction, for people.
pub fn text(answer: &TransactionAnswer) -> String {
    fields(&pairs(answer))
}

/// As names and values.
pub fn pairs(answer: &TransactionAnswer) -> Vec<(&'static str, String)> {
    let status = match answer.status {
        TransactionState::Committed => "committed".to_owned(),
        TransactionState::Pending => "pending".to_owned(),
        TransactionState::Failed => {
            format!(
                "failed: {}: {}",
                answer.code.as_deref().unwrap_or("?"),
                answer.message
            )
        }
    };
    let mut pairs = vec![("status", status)];
    pairs.extend(answer.id.map(|id| ("id", id.to_string())));
    pairs.extend(answer.height.map(|h| ("height", grouped(h.0))));
    pairs.extend(answer.block_hash.map(|hash| ("block", hash.to_string())));
    pairs.extend(
        answer
            .state_root
            .map(|root| ("state root", root.to_string())),
    );
    pairs.extend(answer.elapsed_ms.map(|ms| ("took", format!("{ms} ms"))));
    pairs
}
