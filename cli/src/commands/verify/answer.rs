//! `tintype verify answer`: a saved answer, checked without a node against the genesis, field by field.

use crate::{
    answer::Answer,
    api::{Account, Block, ChainParameters, Record, Space, Validators},
    context::Context,
    evidence::Checker,
    failure::{Failure, Result},
    table::fields,
    testnet::Testnet,
};
use clap::Args;
use ledger::{genesis::Genesis, hash::StateRoot, state::entries::Entry, units::Height};
use node::config::read_genesis;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{fs, io::Read, path::PathBuf};

/// Bytes of an answer, at the most.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// `tintype verify answer`
#[derive(Debug, Args)]
pub struct AnswerArgs {
    /// The answer: of an account, record, space, validators, parameters or block
    pub file: PathBuf,
    /// The chain's genesis [default: that of --dir]
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    /// What the answer is about.
    about: String,
    /// The height that it is true of.
    height: Height,
    /// The root of that state.
    state_root: StateRoot,
    /// Whether all that a proof can show of it is so.
    verified: bool,
    /// Its fields that no proof shows: whoever gave it may have said anything there.
    not_proven: &'static [&'static str],
}

/// Checks.
///
/// # Errors
/// Exit code 4 if the answer is false, or is not proven by what is in the file.
pub fn run(context: &Context, args: &AnswerArgs) -> Result {
    let genesis = match &args.genesis {
        Some(file) => read_genesis(file)?,
        None => Testnet::at(&context.dir).genesis().map_err(|failure| {
            failure.help("--genesis names the chain's genesis.json, --dir the folder that has it")
        })?,
    };
    let mut text = Vec::new();
    let unreadable = |e: std::io::Error| Failure::io("cannot read", &args.file, &e);
    let file = fs::File::open(&args.file).map_err(unreadable)?;
    let mut file = file.take(ANSWER_BYTES_MAX);
    file.read_to_end(&mut text).map_err(unreadable)?;
    let report = check(genesis, &text)?;
    context.out.result(&report, || {
        let mut rows = vec![
            ("about", report.about.clone()),
            ("height", report.height.to_string()),
            ("state root", report.state_root.to_string()),
            ("verified", "yes: proof and certificate hold".into()),
        ];
        if !report.not_proven.is_empty() {
            rows.push(("not proven", report.not_proven.join(", ")));
        }
        fields(&rows)
    });
    Ok(())
}

fn check(genesis: Genesis, text: &[u8]) -> Result<Report> {
    let mut document: Value =
        serde_json::from_slice(text).map_err(|e| no_answer(&e.to_string()))?;
    // What `query` keeps apart stands among the others in the API's own answers.
    let apart = document
        .get("node_says")
        .and_then(Value::as_object)
        .cloned();
    if let (Some(apart), Some(all)) = (apart, document.as_object_mut()) {
        for (name, value) in apart {
            all.entry(name).or_insert(value);
        }
    }
    let checker = Checker::offline(genesis);
    let has = |field: &str| document.get(field).is_some();
    if has("transactions") {
        let block: Block = read(document)?;
        let name = block.height.to_string();
        return Ok(Report {
            verified: checker.block(&block, &name)?,
            about: format!("block {name}"),
            height: block.height,
            state_root: block.state_root,
            not_proven: &[],
        });
    }
    if has("balance") {
        let account: Account = read(document)?;
        let about = format!("account {}", account.address);
        report(&checker, &account, &account.address, about)
    } else if has("key_hex") {
        let record: Record = read(document)?;
        let key = hex::decode(&record.key_hex).map_err(|e| no_answer(&e.to_string()))?;
        let about = format!("record {:?} in space {:?}", record.key, record.space);
        report(&checker, &record, &(record.space.clone(), key), about)
    } else if has("owner") {
        let space: Space = read(document)?;
        let about = format!("space {:?}", space.space);
        report(&checker, &space, &space.space, about)
    } else if has("validators") {
        let validators: Validators = read(document)?;
        report(&checker, &validators, &(), "the validators".into())
    } else if has("parameters") {
        let parameters: ChainParameters = read(document)?;
        report(&checker, &parameters, &(), "the parameters".into())
    } else {
        Err(no_answer(
            "it has none of the fields that say what it is about",
        ))
    }
}

fn report<A: Answer>(
    checker: &Checker<'_>,
    answer: &A,
    name: &<A::Entry as Entry>::Name,
    about: String,
) -> Result<Report> {
    let verified = checker.confirms(answer, name)?;
    let evidence = answer.evidence();
    Ok(Report {
        about,
        height: evidence.height,
        state_root: evidence.state_root,
        verified,
        not_proven: A::NOT_PROVEN,
    })
}

fn read<T: DeserializeOwned>(document: Value) -> Result<T> {
    serde_json::from_value(document).map_err(|e| no_answer(&e.to_string()))
}

fn no_answer(why: &str) -> Failure {
    Failure::failed("bad_answer", format!("the file is no answer that can be checked: {why}"))
        .help("save what `tintype query ... --json --proof` prints, or curl with `?proof=true` of one account, record, space, of the validators or the parameters, or of a block")
}
