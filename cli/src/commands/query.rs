//! `tintype query`: what the ledger holds.

mod block;
mod space;

use crate::{
    api,
    client::{Client, query, segment},
    context::Context,
    evidence::Checker,
    failure::{Failure, Result},
    names::Names,
    table::{fields, grouped, or_dash, table},
};
use clap::{Args, Subcommand};
use ledger::hash::Address;
use serde_json::{Value, json};

/// `tintype query ...`
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// Ask for the state after this height [default: the newest]
    #[arg(long, global = true, value_name = "H")]
    pub height: Option<u64>,
    /// Show also what cannot be verified, as the node's word: `verified` is then false
    #[arg(long, global = true)]
    pub unverified: bool,
    /// Keep the proof in the JSON document, which `tintype verify answer` then checks anywhere
    #[arg(long, global = true)]
    pub proof: bool,
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
/// Exit code 3 with `not_found` for what is not there, 4 if an answer is false or cannot be verified, 5 if no node answers.
pub fn run(context: &Context, args: &QueryArgs) -> Result {
    if args.proof && !context.out.is_json() {
        return Err(Failure::usage("--proof is of a JSON document").help("give --json too"));
    }
    let has_none = matches!(
        args.what,
        What::Tx { .. } | What::Block { .. } | What::Space { all: true, .. }
    );
    if args.proof && has_none {
        let message = "--proof is of one entry: an account, a record, a space, or the validators";
        return Err(Failure::usage(message).help("leave it out"));
    }
    if args.height.is_some() && matches!(args.what, What::Tx { .. } | What::Block { .. }) {
        let message =
            "--height is of the state that is asked, and of no use for a transaction or block";
        return Err(Failure::usage(message).help("leave it out"));
    }
    match &args.what {
        What::Account { account } => ask_account(context, account, args),
        What::Record { space, key } => ask_record(context, space, key, args),
        What::Space { space, all: false } => space::ask_space(context, space, args),
        What::Space { space, all: true } => space::list_records(context, space, args),
        What::Tx { id } => block::ask_transaction(context, id, args),
        What::Block { block } => block::ask_block(context, block, args),
        What::Validators => ask_validators(context, args),
    }
}

/// What checks the answers to it.
fn checker<'a>(context: &Context, client: &'a Client, args: &QueryArgs) -> Result<Checker<'a>> {
    let checker = Checker::new(&context.dir, client, args.height)?;
    Ok(checker.unverified(args.unverified))
}

/// Adds to a document what it takes to check it again, if that is wanted.
fn keep_proof(document: &mut Value, evidence: &api::Evidence, args: &QueryArgs) {
    let Some(fields) = document.as_object_mut().filter(|_| args.proof) else {
        return;
    };
    fields.insert("proof".into(), json!(evidence.proof));
    fields.insert("header".into(), json!(evidence.header));
    fields.insert("certificate".into(), json!(evidence.certificate));
}

fn ask_account(context: &Context, text: &str, args: &QueryArgs) -> Result {
    let names = Names::of(&context.dir);
    let address = names.address(text)?;
    let client = context.client()?;
    let path = query(args.height, &["proof=true"]);
    let path = format!("/v1/accounts/{address}{path}");
    let checker = checker(context, &client, args)?;
    let (account, verified) = checker.ask::<api::Account>(&path, &address)?;
    let name = names.name_of(&address);
    let mut document = account_document(&account, name.as_deref(), &address, verified);
    keep_proof(&mut document, &account.evidence, args);
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

/// What scripts are told of an account. Its next nonce depends on what waits on the node, which no proof shows.
fn account_document(
    account: &api::Account,
    name: Option<&str>,
    address: &Address,
    verified: bool,
) -> Value {
    json!({
        "name": name,
        "address": address,
        "balance": account.balance,
        "nonce": account.nonce,
        "entries": account.entries,
        "height": account.evidence.height,
        "state_root": account.evidence.state_root,
        "verified": verified,
        "node_says": {"next_nonce": account.next_nonce},
    })
}

fn ask_record(context: &Context, space: &str, key: &str, args: &QueryArgs) -> Result {
    let client = context.client()?;
    let query = query(args.height, &["proof=true"]);
    let path = format!(
        "/v1/spaces/{}/records/{}{query}",
        segment(space),
        segment(key)
    );
    let checker = checker(context, &client, args)?;
    let place = (space.to_owned(), key.as_bytes().to_vec());
    let (record, verified) = checker.ask::<api::Record>(&path, &place)?;
    let evidence = &record.evidence;
    let mut document = json!({
        "space": space,
        "key": key,
        "key_hex": record.key_hex,
        "value": record.value,
        "value_hex": record.value_hex,
        "version": record.version,
        "writer": record.writer,
        "written_at": record.written_at,
        "height": evidence.height,
        "state_root": evidence.state_root,
        "verified": verified,
    });
    keep_proof(&mut document, evidence, args);
    let writer = Names::of(&context.dir).name_of(&record.writer);
    context.out.result(&document, || {
        let hex = || format!("0x{}", record.value_hex);
        fields(&[
            ("space", space.to_owned()),
            ("key", key.to_owned()),
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

fn ask_validators(context: &Context, args: &QueryArgs) -> Result {
    let client = context.client()?;
    let path = format!("/v1/validators{}", query(args.height, &["proof=true"]));
    let checker = checker(context, &client, args)?;
    let (answer, verified) = checker.ask::<api::Validators>(&path, &())?;
    let height = answer.evidence.height;
    let list = called(answer.validators, &Names::of(&context.dir));
    let mut document = json!({
        "height": height,
        "validators": list,
        "total_power": answer.total_power,
        "state_root": answer.evidence.state_root,
        "verified": verified,
    });
    keep_proof(&mut document, &answer.evidence, args);
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

/// The validators by the names that they have here: those that a node gives them prove nothing.
fn called(validators: Vec<api::Validator>, names: &Names) -> Vec<api::Validator> {
    let known = |v: api::Validator| api::Validator {
        name: names.name_of(&v.address),
        ..v
    };
    validators.into_iter().map(known).collect()
}

/// The validators, as a node says.
///
/// # Errors
/// If it does not answer.
pub fn validators(client: &Client, at: Option<u64>) -> Result<api::Validators> {
    client.get(&format!("/v1/validators{}", query(at, &[])))
}
