//! `tintype query`: what the ledger holds.

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
use ledger::state::entries::Key;
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
    let account: api::Account = client.get(&path)?;
    let wanted = ledger::state::entries::Account {
        balance: account.balance,
        nonce: account.nonce,
        entries: account.entries,
    };
    let checker = Checker::new(&context.dir, &client);
    let verified = checker.holds(
        &account.evidence,
        &Key::Account(address),
        &ledger::codec::encode(&wanted),
    )?;
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
            ("verified", yes(verified, checker.knows_genesis())),
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
    let record: api::Record = client.get(&path)?;
    let value = match &record.value {
        Some(text) => text.clone().into_bytes(),
        None => hex::decode(&record.value_hex).unwrap_or_default(),
    };
    let wanted = ledger::state::entries::Record {
        value,
        version: record.version,
        writer: record.writer,
        written_at: record.written_at,
    };
    let name = Key::Record {
        space: space.to_owned(),
        key: key.as_bytes().to_vec(),
    };
    let evidence = &record.evidence;
    let checker = Checker::new(&context.dir, &client);
    let verified = checker.holds(evidence, &name, &ledger::codec::encode(&wanted))?;
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
            ("verified", yes(verified, checker.knows_genesis())),
        ])
    });
    Ok(())
}

fn yes(verified: bool, knows_genesis: bool) -> String {
    let text = match (verified, knows_genesis) {
        (true, _) => "yes: proof and certificate hold",
        (false, true) => "no: no proof that a certificate covers",
        (false, false) => {
            "no: no genesis is known here to check it against; --dir says which folder has the chain's genesis.json"
        }
    };
    text.into()
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
    let answer = validators(&client, at)?;
    let height = answer.evidence.height;
    let names = Names::of(&context.dir);
    let list: Vec<api::Validator> = answer
        .validators
        .into_iter()
        .map(|mut v| {
            v.name = v.name.or_else(|| names.name_of(&v.address));
            v
        })
        .collect();
    context
        .out
        .result(&json!({"height": height, "validators": list}), || {
            let row = |v: &api::Validator| {
                vec![
                    or_dash(v.name.clone()),
                    v.address.to_string(),
                    v.power.to_string(),
                ]
            };
            let rows: Vec<Vec<String>> = list.iter().map(row).collect();
            format!(
                "height {}\n{}",
                height,
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
