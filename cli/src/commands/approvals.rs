//! What validators approve together: a change of who votes, or of the chain's parameters.
//!
//! Each approves by a transaction of its own; the one that brings the approvals past 2/3 of the power makes the change. Of
//! a testnet on this machine all keys are at hand, and all approve.

use super::query::validators;
use crate::{
    api::TransactionAnswer,
    client::Client,
    context::Context,
    failure::{Exit, Failure, Result},
    sender::{Options, Sender},
};
use ledger::transaction::Operation;

/// How often the approvals begin anew because the set changed under them.
const SETS_MAX: u32 = 5;

/// Approves a change with every validator key that lies in this testnet's folder, until it is made: more than 2/3 of the
/// power are enough. Gives the last approval's answer.
///
/// # Errors
/// `no_validator_key` if there are too few here, and what the ledger refuses.
pub fn approve_by_all(
    context: &Context,
    client: &Client,
    operation: &Operation,
    options: Options,
) -> Result<TransactionAnswer> {
    let sender = Sender::new(client, &context.dir)?;
    let mut last = None;
    for _ in 0..SETS_MAX {
        match approvals(context, client, &sender, operation, options, &mut last) {
            // An earlier change came into force between the look at the set and the approval.
            Err(failure) if failure.code == "not_a_validator" => {}
            Err(failure) => return Err(failure),
            Ok(()) => break,
        }
    }
    last.ok_or_else(|| {
        let message = "every validator here has approved it already";
        Failure::new(Exit::Refused, "already_approved", message)
            .help("other validators have to approve it: run this where their keys are")
    })
}

fn approvals(
    context: &Context,
    client: &Client,
    sender: &Sender<'_>,
    operation: &Operation,
    options: Options,
    last: &mut Option<TransactionAnswer>,
) -> Result {
    let set = validators(client, None)?.validators;
    let total: u128 = set.iter().map(|v| u128::from(v.power.0)).sum();
    let mut approved = 0;
    for member in context.testnet()?.members()? {
        let key = member.dir.key()?;
        let address = key.address();
        let Some(validator) = set.iter().find(|v| v.address == address) else {
            continue;
        };
        match sender.send(&key, std::slice::from_ref(operation), options) {
            Ok(answer) => *last = Some(answer),
            Err(failure) if failure.code == "already_approved" => {}
            Err(failure) => return Err(failure),
        }
        approved += u128::from(validator.power.0);
        if approved * 3 > total * 2 {
            return Ok(());
        }
    }
    let message = format!("the validator keys here hold {approved} of {total} voting power");
    Err(Failure::failed("no_validator_key", message)
        .help("more than 2/3 must approve: run this where the other keys are as well"))
}
