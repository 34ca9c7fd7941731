//! `tintype tx validator add|remove`: a change of who votes.
//!
//! Each validator approves by a transaction of its own; the one that brings the approvals past 2/3 of the power makes the
//! change, in force two heights later. Of a testnet on this machine all keys are at hand, and all approve.

use super::{approvals::approve_by_all, query::validators, tx::ValidatorCommand};
use crate::{
    api::Validator,
    client::Client,
    context::Context,
    failure::{Exit, Failure, Result},
    names::Names,
    sender::{Options, Sender},
};
use ledger::{
    keys::{PublicKey, SecretKey},
    transaction::{Operation, Proposal},
    units::Power,
};
use std::time::{Duration, Instant};

/// How long an approved change may take to be in force: two blocks.
const IN_FORCE_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Who is to vote with which power; with none it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose vote.
    pub public_key: PublicKey,
    /// What it is to weigh.
    pub power: Power,
}

impl Change {
    /// What was typed.
    ///
    /// # Errors
    /// `not_found` if there is no such key, `not_a_node` if it is no node's.
    pub fn of(names: &Names, command: &ValidatorCommand) -> Result<Self> {
        let (public_key, power) = match command {
            ValidatorCommand::Add { validator, power } => (names.voter(validator)?, *power),
            // Whoever it is should not have the vote.
            ValidatorCommand::Remove { validator } => (names.public_key(validator)?, 0),
        };
        let power = Power(power);
        Ok(Self { public_key, power })
    }

    /// An approval of it.
    pub const fn operation(self) -> Operation {
        let Self { public_key, power } = self;
        Operation::Approve {
            proposal: Proposal::Validator { public_key, power },
        }
    }

    fn is_in_force(&self, set: &[Validator]) -> bool {
        let found = set.iter().find(|v| v.public_key == self.public_key);
        found.map_or(Power(0), |v| v.power) == self.power
    }
}

/// Approves what was typed: by `approver` alone, or by every validator whose key is here.
///
/// # Errors
/// `nothing_to_change` if it is so already, `no_validator_key`, and what the ledger refuses.
pub fn run(
    context: &Context,
    command: &ValidatorCommand,
    approver: Option<&SecretKey>,
    options: Options,
) -> Result {
    let change = Change::of(&Names::of(&context.dir), command)?;
    let client = context.client()?;
    if change.is_in_force(&validators(&client, None)?.validators) {
        let message = match change.power {
            Power(0) => "it is not among the validators".to_owned(),
            power => format!("it is a validator with power {power} already"),
        };
        return Err(Failure::new(Exit::Refused, "nothing_to_change", message)
            .help("`tintype query validators` lists them"));
    }
    let answer = match approver {
        Some(key) => {
            Sender::new(&client, &context.dir)?.send(key, &[change.operation()], options)?
        }
        None => {
            let answer = approve_by_all(context, &client, &change.operation(), options)?;
            if options.wait.is_some() {
                wait_until_in_force(&client, change)?;
            }
            answer
        }
    };
    context.out.result(&answer, || super::tx::text(&answer));
    Ok(())
}

/// Waits until an approved change is in force.
///
/// # Errors
/// `timeout` if it takes too long.
pub fn wait_until_in_force(client: &Client, change: Change) -> Result {
    let deadline = Instant::now() + IN_FORCE_LIMIT;
    while Instant::now() < deadline {
        if change.is_in_force(&validators(client, None)?.validators) {
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
    let message = "the change is approved, but not in force yet: that takes two more blocks";
    Err(Failure::failed("timeout", message)
        .help("`tintype query validators` shows who votes; do the validators run?"))
}
