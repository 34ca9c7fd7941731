//! `tintype testnet`: the launcher's commands, one file each.

mod add;
mod down;
mod logs;
mod one;
mod status;
mod up;

use crate::{context::Context, failure::Result};
use clap::{Args, Subcommand};

/// `tintype testnet [...]`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct TestnetArgs {
    /// What to do; `up` if nothing is said.
    #[command(subcommand)]
    pub command: Option<TestnetCommand>,
    /// Those of `up`.
    #[command(flatten)]
    pub up: up::UpArgs,
}

/// What to do with a testnet.
#[derive(Debug, Subcommand)]
pub enum TestnetCommand {
    /// Make it if need be, start every node, and show the live table until Ctrl-C
    Up(up::UpArgs),
    /// Stop every node, gracefully, and the launcher if there is one
    Down,
    /// Show every node: what it does, its height, its snapshot, and whether all agree
    Status(status::StatusArgs),
    /// Add a node to those that run, and wait until it follows the chain
    Add(add::AddArgs),
    /// Kill a node as `kill -9` does
    Kill(one::NameArgs),
    /// Stop one node gracefully
    Stop(one::NameArgs),
    /// Start a node that was stopped or killed
    Start(one::NameArgs),
    /// Stop a node's process where it is (SIGSTOP)
    Pause(one::NameArgs),
    /// Let a paused node go on (SIGCONT)
    Resume(one::NameArgs),
    /// Show a node's log
    Logs(logs::LogsArgs),
}

impl TestnetArgs {
    /// Whether it ends in its own way when it is interrupted.
    pub fn handles_signals(&self) -> bool {
        matches!(self.command, None | Some(TestnetCommand::Up(_)))
    }
}

/// Does what was typed.
///
/// # Errors
/// Those of the command.
pub fn run(context: &Context, args: TestnetArgs) -> Result {
    match args.command.unwrap_or(TestnetCommand::Up(args.up)) {
        TestnetCommand::Up(args) => up::run(context, &args),
        TestnetCommand::Down => down::run(context),
        TestnetCommand::Status(args) => status::run(context, &args),
        TestnetCommand::Add(args) => add::run(context, &args),
        TestnetCommand::Kill(args) => one::kill(context, &args),
        TestnetCommand::Stop(args) => one::stop(context, &args),
        TestnetCommand::Start(args) => one::start(context, &args),
        TestnetCommand::Pause(args) => one::pause(context, &args),
        TestnetCommand::Resume(args) => one::resume(context, &args),
        TestnetCommand::Logs(args) => logs::run(context, &args),
    }
}
