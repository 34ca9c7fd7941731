//! `tintype query`: what the ledger holds.

mod space;

use crate::{
    api::{self, TransactionAnswer},
    client::{Client, query, segment},
    context::Context,
    evidence::Checker,
    failure::{Failure, Result},
    names::Names,
    table::{fields, grouped, or_dash, table},
};
use clap::{Args, Subcommand};
use ledger::{
    state::entries,
    validators::{Validator, ValidatorSet},
};
use serde_json::json;

/// `tintype query ...`
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// Ask for the state after this height [default: the newest]
    #[arg(long, global = true, value_name = "H")]
    pub height: Option<u64>,
    /// What to ask for.
    #[command(subcommand)]
    pub what: What,
}

/// What to ask for.
#[derive(Debug, Subcommand)]
pub enum What {
    /// An account's balance and nonce
    Account {
        /// A name or an address
        account: String,
    },
    /// A record's value and version
    Record {
        /// Its space
        space: String,
        /// Its key
        key: String,
    },
    /// A space: who owns it, who may write, and how often it was changed; with --all, its records
    Space {
        /// Its name
        space: String,
        /// List its records, with the proof that none is left out
        #[arg(long)]
        all: bool,
    },
    /// What became of a transaction, and in which block
    Tx {
        /// Its id, or the first 8 or more digits of it
        id: String,
    },
    /// A block, with the ids of its transactions
    Block {
        /// A height, a hash or the first 8 or more digits of it, or `latest`
        block: String,
    },
    /// The validators, and what each one's vote weighs
    Validators,
}

/// Asks.
///
/// # Errors
/// Exit code 3 with `not_found` for what is not there, 5 if no node answers.
pub fn run(context: &Context, args: &QueryArgs) -> Result {
    let at = args.height;
    if at.is_some() && matches!(args.what, What::Tx { .. } | What::Block { .. }) {
        let message =
            "--height is of the state that is asked, and of no use for a transaction or block";
        return Err(Failure::usage(message).help("leave it out"));
    }
    match &args.what {
        What::Account { account } => ask_account(context, account, at),
        What::Record { space, key } => ask_record(context, space, key, at),
        What::Space { space, all: false } => space::ask_space(context, space, at),
        What::Space { space, all: true } => space::list_records(context, space, at),
        What::Tx { id } => ask_transaction(context, id),
        What::Block { block } => ask_block(context, block),
        What::Validators => ask_validators(context, at),
    }
}

fn ask_account(context: &Context, text: &str, at: Option<u64>) -> Result {
    let names = Names::of(&context.dir);
    let address = names.address(text)?;
    let client = context.client()?;
    let path = format!("/v1/accounts/{address}{}", query(at, &["proof=true"]));
    let checker = Checker::new(&context.dir, &client, at);
    let account: api::Account = checker.ask::<_, entries::Account>(&path, &address)?;
    let claimed = entries::Account {
        balance: account.balance,
        nonce: account.nonce,
        entries: account.entries,
    };
    let verified = checker.holds(&account.evidence, &address, Some(&claimed))?;
    let name = names.name_of(&address).or(account.name);
    let document = json!({
        "name": name,
        "address": address,
        "balance": account.balance,
        "nonce": account.nonce,
        "next_nonce": account.next_nonce,
        "height": account.evidence.height,
        "state_root": account.evidence.state_root,
        "verified": verified,
    });
    context.out.result(&document, || {
        fields(&[
            ("name", or_dash(name.clone())),
            ("address", address.to_string()),
            ("balance", grouped(account.balance.0)),
            ("nonce", account.nonce.to_string()),
            ("height", grouped(account.evidence.height.0)),
            ("state root", account.evidence.state_root.to_string()),
            ("verified", checker.verdict(verified)),
        ])
    });
    Ok(())
}

fn ask_record(context: &Context, space: &str, key: &str, at: Option<u64>) -> Result {
    let client = context.client()?;
    let query = query(at, &["proof=true"]);
    let path = format!(
        "/v1/spaces/{}/records/{}{query}",
        segment(space),
        segment(key)
    );
    let checker = Checker::new(&context.dir, &client, at);
    let place = (space.to_owned(), key.as_bytes().to_vec());
    let record: api::Record = checker.ask::<_, entries::Record>(&path, &place)?;
    let value = match &record.value {
        Some(text) => text.clone().into_bytes(),
        None => hex::decode(&record.value_hex).unwrap_or_default(),
    };
    let claimed = entries::Record {
        value,
        version: record.version,
        writer: record.writer,
        written_at: record.written_at,
    };
    let evidence = &record.evidence;
    let verified = checker.holds(evidence, &place, Some(&claimed))?;
    let document = json!({
        "space": record.space,
        "key": record.key,
        "value": record.value,
        "value_hex": record.value_hex,
        "version": record.version,
        "writer": record.writer,
        "written_at": record.written_at,
        "height": evidence.height,
        "state_root": evidence.state_root,
        "verified": verified,
    });
    let writer = Names::of(&context.dir).name_of(&record.writer);
    context.out.result(&document, || {
        let hex = || format!("0x{}", record.value_hex);
        fields(&[
            ("space", record.space.clone()),
            ("key", record.key.clone()),
            ("value", record.value.clone().unwrap_or_else(hex)),
            ("version", record.version.to_string()),
            (
                "writer",
                writer.unwrap_or_else(|| record.writer.to_string()),
            ),
            ("written at", grouped(record.written_at.0)),
            ("height", grouped(evidence.height.0)),
            ("state root", evidence.state_root.to_string()),
            ("verified", checker.verdict(verified)),
        ])
    });
    Ok(())
}

fn ask_transaction(context: &Context, id: &str) -> Result {
    let client = context.client()?;
    let answer: TransactionAnswer = client.get(&format!("/v1/transactions/{}", segment(id)))?;
    let document = api::without_help(&answer);
    context.out.result(&document, || super::tx::text(&answer));
    Ok(())
}

fn ask_block(context: &Context, name: &str) -> Result {
    let client = context.client()?;
    let block: api::Block = client.get(&format!("/v1/blocks/{}", segment(name)))?;
    let proposer = Names::of(&context.dir).name_of(&block.proposer);
    context.out.result(&block_document(&block), || {
        let mut text = fields(&[
            ("height", grouped(block.height.0)),
            ("hash", block.hash.to_string()),
            ("parent", block.parent.to_string()),
            ("time", format!("{} ms since 1970", block.time)),
            (
                "proposer",
                proposer.unwrap_or_else(|| block.proposer.to_string()),
            ),
            ("state root", block.state_root.to_string()),
            ("transactions", grouped(block.transactions.len() as u64)),
        ]);
        for id in &block.transactions {
            text.push_str(&format!("  {id}\n"));
        }
        text
    });
    Ok(())
}

/// What scripts are told of a block: the header is spelt out, not repeated.
fn block_document(block: &api::Block) -> serde_json::Value {
    json!({
        "height": block.height,
        "hash": block.hash,
        "parent": block.parent,
        "time": block.time,
        "proposer": block.proposer,
        "state_root": block.state_root,
        "transactions": block.transactions,
        "certificate": block.certificate,
    })
}

fn ask_validators(context: &Context, at: Option<u64>) -> Result {
    let client = context.client()?;
    let path = format!("/v1/validators{}", query(at, &["proof=true"]));
    let answer: api::Validators = client.get(&path)?;
    let checker = Checker::new(&context.dir, &client, at);
    let evidence = &answer.evidence;
    let (height, state_root) = (evidence.height, evidence.state_root);
    let proven = checker.proven(evidence, |state, proof| state.validators(proof))?;
    if let Some(proven) = &proven {
        let claimed = answer.validators.iter();
        let claimed = claimed.map(|v| Validator::new(v.public_key, v.power));
        let claimed = ValidatorSet::new(claimed.collect()).ok();
        let current = proven.value().as_ref().map(|sets| &sets.current);
        let mut all = answer.validators.iter();
        let same = all.all(|v| v.address == v.public_key.address());
        if !same || current != claimed.as_ref() {
            return Err(checker.falsehood("the proof shows other validators than the answer"));
        }
    }
    let verified = proven.is_some();
    let names = Names::of(&context.dir);
    let list: Vec<api::Validator> = answer
        .validators
        .into_iter()
        .map(|mut v| {
            v.name = v.name.or_else(|| names.name_of(&v.address));
            v
        })
        .collect();
    let document = json!({
        "height": height,
        "validators": list,
        "state_root": state_root,
        "verified": verified,
    });
    context.out.result(&document, || {
        let row = |v: &api::Validator| {
            vec![
                or_dash(v.name.clone()),
                v.address.to_string(),
                v.power.to_string(),
            ]
        };
        let rows: Vec<Vec<String>> = list.iter().map(row).collect();
        format!(
            "height {height}, verified: {}\n{}",
            checker.verdict(verified),
            table(&["NAME", "ADDRESS", "POWER"], &rows)
        )
    });
    Ok(())
}

/// The validators, as a node says.
///
/// # Errors
/// If it does not answer.
pub fn validators(client: &Client, at: Option<u64>) -> Result<api::Validators> {
    client.get(&format!("/v1/validators{}", query(at, &[])))
}
