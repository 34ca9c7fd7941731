//! `tintype tx parameter`: a change of one of the chain's parameters.
//!
//! Validators approve all parameters at once, so what is proposed are those in force with the one changed. Those in force
//! are taken from a proven answer: nobody shall sign what a single node made up.

use super::approvals::approve_by_all;
use crate::{
    api::ChainParameters,
    client::{Client, query},
    context::Context,
    evidence::Checker,
    failure::{Exit, Failure, Result},
    sender::{Options, Sender},
};
use ledger::{
    genesis::Parameters,
    keys::SecretKey,
    transaction::{Operation, Proposal},
};
use std::time::{Duration, Instant};

/// How long an approved change may take to be seen by the node that is asked.
const IN_FORCE_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Approves the change: by `approver` alone, or by every validator whose key is here.
///
/// # Errors
/// `usage` for what is no parameter or out of range, `nothing_to_change`, `no_validator_key`, and what the ledger refuses.
pub fn run(
    context: &Context,
    name: &str,
    value: u64,
    approver: Option<&SecretKey>,
    options: Options,
) -> Result {
    // A wrong word is found without asking anyone.
    with(&Parameters::default(), name, value)?;
    let client = context.client()?;
    let before = in_force(context, &client)?;
    let wanted = with(&before, name, value)?;
    wanted.check().map_err(|e| Failure::usage(e.to_string()))?;
    if wanted == before {
        let message = format!("{name} is {value} already");
        return Err(
            Failure::new(Exit::Refused, "nothing_to_change", message).help("choose another value")
        );
    }
    let operation = Operation::Approve {
        proposal: Proposal::Parameters(wanted),
    };
    let answer = match approver {
        Some(key) => Sender::new(&client, &context.dir)?.send(key, &[operation], options)?,
        None => {
            let answer = approve_by_all(context, &client, &operation, options)?;
            if options.wait.is_some() {
                wait_until_in_force(&client, &wanted)?;
            }
            answer
        }
    };
    context.out.result(&answer, || super::tx::text(&answer));
    Ok(())
}

/// The parameters in force, proven.
fn in_force(context: &Context, client: &Client) -> Result<Parameters> {
    let path = format!("/v1/parameters{}", query(None, &["proof=true"]));
    let checker = Checker::new(&context.dir, client, None)?;
    let (answer, _) = checker.ask::<ChainParameters>(&path, &())?;
    Ok(answer.parameters)
}

/// These parameters with the named one changed.
fn with(parameters: &Parameters, name: &str, value: u64) -> Result<Parameters> {
    let mut fields = match serde_json::to_value(parameters) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let Some(field) = fields.get_mut(name) else {
        let known: Vec<&str> = fields.keys().map(String::as_str).collect();
        return Err(Failure::usage(format!("{name:?} is no parameter"))
            .help(format!("there are {}", known.join(", "))));
    };
    *field = value.into();
    serde_json::from_value(fields.into())
        .map_err(|_| Failure::usage(format!("{value} is more than any {name} can be")))
}

fn wait_until_in_force(client: &Client, wanted: &Parameters) -> Result {
    let deadline = Instant::now() + IN_FORCE_LIMIT;
    while Instant::now() < deadline {
        let answer: ChainParameters = client.get("/v1/parameters")?;
        if answer.parameters == *wanted {
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
    let message = "the change is approved, but not in force on the node that was asked";
    Err(Failure::failed("timeout", message)
        .help("`tintype testnet status` shows whether it follows the chain"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_parameter_is_changed_and_the_others_stay() {
        let before = Parameters::default();
        let after = with(&before, "snapshot_interval", 7).unwrap();
        assert_eq!(after.snapshot_interval, 7);
        let snapshot_interval = before.snapshot_interval;
        assert_eq!(
            Parameters {
                snapshot_interval,
                ..after
            },
            before
        );
        assert_eq!(
            with(&before, "operations_max", 5).unwrap().operations_max,
            5
        );
        for (name, value) in [("interval", 7), ("operations_max", u64::MAX)] {
            assert_eq!(with(&before, name, value).unwrap_err().code, "usage");
        }
        let unknown = with(&before, "interval", 7).unwrap_err();
        assert!(
            unknown.help.contains("snapshot_interval"),
            "{}",
            unknown.help
        );
    }
}
