//! One file a command.

pub mod approvals;
pub mod bench;
pub mod diff;
pub mod doctor;
pub mod genesis;
pub mod init;
pub mod keys;
pub mod node;
pub mod parameter;
pub mod query;
pub mod snapshot;
pub mod testnet;
pub mod tx;
pub mod validator;
pub mod verify;

use crate::{args::Command, context::Context, failure::Result};

/// Does what was typed.
///
/// # Errors
/// Those of the command.
pub fn run(context: &Context, command: Command) -> Result {
    match command {
        Command::Testnet(args) => testnet::run(context, args),
        Command::Tx(args) => tx::run(context, &args),
        Command::Query(args) => query::run(context, &args),
        Command::Keys(command) => keys::run(context, &command),
        Command::Snapshot(command) => snapshot::run(context, &command),
        Command::Verify(command) => verify::run(context, &command),
        Command::Diff(args) => diff::run(context, &args),
        Command::Bench(args) => bench::run(context, &args),
        Command::Init(args) => init::run(context, &args),
        Command::Genesis(args) => genesis::run(context, &args),
        Command::Node(args) => node::run(context, &args),
        Command::Doctor => doctor::run(context),
    }
}
