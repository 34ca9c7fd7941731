//! What can be typed: the options that every command takes, and the commands. Each command's own are in its file.

use crate::{
    commands::{
        bench::BenchArgs, genesis::GenesisArgs, init::InitArgs, keys::KeysCommand, node::NodeArgs,
        query::QueryArgs, snapshot::SnapshotCommand, testnet::TestnetArgs, tx::TxArgs,
        verify::VerifyCommand,
    },
    context::Context,
    output::Output,
};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// The heading of the options that every command takes.
const EVERYWHERE: &str = "Options of every command";

/// Where a testnet is if nothing is said.
pub const DEFAULT_DIR: &str = "./testnet";

/// A peer-to-peer node that commits signed transactions and takes provable snapshots.
#[derive(Debug, Parser)]
#[command(
    name = "tintype",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Print one JSON document on standard output
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,

    /// The testnet's folder, or the node's for `init`, `node` and `doctor` [default: ./testnet]
    #[arg(long, global = true, env = "TINTYPE_DIR", value_name = "DIR", hide_env_values = true, help_heading = EVERYWHERE)]
    pub dir: Option<PathBuf>,

    /// The node to ask, by name or URL [default: the first one that answers]
    #[arg(long, global = true, value_name = "NAME|URL", help_heading = EVERYWHERE)]
    pub node: Option<String>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a network of nodes on this machine
    Testnet(TestnetArgs),
    /// Send a transaction and wait until it is final
    Tx(TxArgs),
    /// Ask for accounts, records, transactions, blocks and validators
    Query(QueryArgs),
    /// Make, show, bring in and take out client keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// List, show and take snapshots
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Check that nodes agree, or that a ledger is whole
    #[command(subcommand)]
    Verify(VerifyCommand),
    /// Load the network and measure what it commits
    Bench(BenchArgs),
    /// Make a node's folder: its key and its configuration
    Init(InitArgs),
    /// Make a genesis from the keys of several nodes
    Genesis(GenesisArgs),
    /// Run a node
    Node(NodeArgs),
    /// Look for what keeps a testnet or a node from working
    Doctor,
}

impl Command {
    /// Whether it ends in its own way when it is interrupted.
    pub fn handles_signals(&self) -> bool {
        match self {
            Self::Node(_) => true,
            Self::Testnet(args) => args.handles_signals(),
            _ => false,
        }
    }
}

impl Cli {
    /// What every command is given.
    pub fn context(&self) -> Context {
        Context {
            out: Output::new(self.json),
            dir: self.dir.clone().unwrap_or_else(|| DEFAULT_DIR.into()),
            dir_given: self.dir.is_some(),
            node: self.node.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_sound_and_documented() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_the_interface_promises_can_be_typed() {
        for line in [
            "testnet",
            "testnet --validators 7 --fresh --detach",
            "testnet up --snapshot-interval 10",
            "testnet status --watch --json",
            "testnet add --validator --sync snapshot",
            "testnet kill node0",
            "testnet logs node0 --follow",
            "tx transfer alice bob 5 --from alice --no-wait --nonce 3",
            "tx put s k v --if-version 2",
            "tx space create s --writer bob --writer carol",
            "tx validator add node4",
            "query block latest",
            "query record s k --height 4",
            "snapshot take --node http://127.0.0.1:1",
            "verify roots --height 9",
            "verify ledger node0",
            "bench --seconds 3 --rate 50 --accounts 10",
            "node --dir x --until-lock-freed y",
        ] {
            let words = std::iter::once("tintype").chain(line.split(' '));
            Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }
}
