//! What can be typed: the options that every command takes, and the commands. Each command's own are in its file.

use crate::{
    commands::{
        bench::BenchArgs, diff::DiffArgs, genesis::GenesisArgs, init::InitArgs, keys::KeysCommand,
        node::NodeArgs, query::QueryArgs, snapshot::SnapshotCommand, testnet::TestnetArgs,
        tx::TxArgs, verify::VerifyCommand,
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

/// What a stranger needs below the list of commands.
const FIRST_STEPS: &str = "\
First steps:
  tintype testnet                        # four validators on this machine, until Ctrl-C
  tintype tx transfer alice bob 5        # in another terminal
  tintype query account bob
  tintype testnet add                    # a fifth node, by a snapshot from the others

`tintype help COMMAND` shows more of each.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 refused by the ledger, or not there;
4 nodes disagree or something does not verify; 5 a node does not answer; 130 interrupted.";

/// A peer-to-peer node that commits signed transactions and takes provable snapshots.
#[derive(Debug, Parser)]
#[command(
    name = "tintype",
    version,
    propagate_version = true,
    after_help = FIRST_STEPS,
    max_term_width = 100
)]
pub struct Cli {
    /// Print one JSON document on standard output
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,

    /// The testnet's folder, or the node's for `init`, `node` and `doctor` [default: ./testnet]
    #[arg(long, global = true, env = "TINTYPE_DIR", value_name = "DIR", hide_env_values = true, help_heading = EVERYWHERE)]
    pub dir: Option<PathBuf>,

    /// The node to ask, by name or URL [default: the first one that follows the whole chain]
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
    #[command(after_help = "\
Examples:
  tintype testnet                        # make or carry on ./testnet, and show it until Ctrl-C
  tintype testnet --detach               # return at the first block, and leave it running
  tintype testnet --fresh --validators 7 # remove it and begin anew, with seven validators
  tintype testnet --fresh --entries 1000000
  tintype testnet status --watch
  tintype testnet add --validator
  tintype testnet add --sync snapshot --backfill
  tintype testnet kill node2
  tintype testnet start node2
  tintype testnet down")]
    Testnet(TestnetArgs),
    /// Send a transaction and wait until it is final
    #[command(after_help = "\
Examples:
  tintype tx transfer alice bob 5
  tintype tx space create notes --writer bob
  tintype tx put notes greeting hello --from bob
  tintype tx put notes greeting bye --if-version 1
  tintype tx validator add node4
  tintype tx parameter snapshot_interval 50")]
    Tx(TxArgs),
    /// Ask for accounts, spaces, records, transactions, blocks and validators
    #[command(after_help = "\
Examples:
  tintype query account alice
  tintype query account alice --height 120   # as it was then: one of the last 64 heights
  tintype query record notes greeting
  tintype query space notes --all            # its records, with the proof that none is left out
  tintype query tx 1f0c9a7b                  # the first 8 or more digits of the id
  tintype query block latest")]
    Query(QueryArgs),
    /// Make, show, import and export the keys that sign transactions
    #[command(subcommand)]
    #[command(after_help = "\
Examples:
  tintype keys add erin
  tintype tx transfer alice erin 100         # makes the account
  tintype keys export erin erin.key")]
    Keys(KeysCommand),
    /// List, show, take, carry and compare snapshots
    #[command(subcommand)]
    #[command(after_help = "\
Examples:
  tintype snapshot list --node node1
  tintype snapshot show 100
  tintype snapshot take
  tintype snapshot export 100 state.tintype  # of the testnet, verified
  tintype snapshot verify state.tintype      # offline, against the genesis in ./testnet
  tintype snapshot import state.tintype node4
  tintype snapshot export 100 s3://backups/tintype   # only the chunks that are missing there
  tintype snapshot verify s3://backups/tintype@100   # without a height: the newest
  tintype snapshot diff 100 200")]
    Snapshot(SnapshotCommand),
    /// Check that nodes agree, that a chain is certified, or that a ledger is whole
    #[command(subcommand)]
    #[command(after_help = "\
Examples:
  tintype verify roots
  tintype verify chain                       # from the genesis, as a light client
  tintype verify chain --node http://192.0.2.7:26001 --trusting-period 7d
  tintype verify ledger node0                # also of a node that does not run
  tintype verify ledger /var/lib/tintype")]
    Verify(VerifyCommand),
    /// Say in which entries the states of two nodes differ, and whose is the chain's
    #[command(after_help = "\
Examples:
  tintype diff node0 node3
  tintype diff node0 http://192.0.2.7:26001 --height 120")]
    Diff(DiffArgs),
    /// Load the network and measure what it commits
    #[command(after_help = "\
Examples:
  tintype bench --seconds 30                 # as much as the network takes
  tintype bench --rate 500                   # how long a transaction takes at 500 a second")]
    Bench(BenchArgs),
    /// Make a node's folder: its key and its configuration
    #[command(after_help = "\
Example, for a node on a host of its own:
  tintype init --dir /var/lib/tintype --name paris --peer /ip4/192.0.2.7/tcp/26000
Then `tintype genesis` makes the genesis.json that every node of the chain needs in its folder.")]
    Init(InitArgs),
    /// Make a genesis from the keys of several nodes
    #[command(after_help = "\
Examples:
  tintype genesis paris/ rome/ oslo/ bern/   # folders made by `tintype init`
  tintype genesis paris=PUBLIC_KEY rome=PUBLIC_KEY --account treasury=ADDRESS=1000000 --out genesis.json")]
    Genesis(GenesisArgs),
    /// Run a node
    #[command(after_help = "\
Example:
  tintype node --dir /var/lib/tintype        # with tintype.toml, key and genesis.json in it")]
    Node(NodeArgs),
    /// Look for what keeps a testnet or a node from working
    #[command(after_help = "\
Examples:
  tintype doctor                             # of the testnet
  tintype doctor --dir /var/lib/tintype      # of a node")]
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

    /// The lines of a help text that show what to type.
    fn examples(command: &clap::Command) -> Vec<String> {
        let text = command.get_after_help().map(ToString::to_string);
        let text = text.unwrap_or_default();
        let lines = text.lines().map(str::trim);
        let typed = lines.filter(|line| line.starts_with("tintype "));
        let without_comment = |line: &str| line.split(" #").next().map(str::to_owned);
        typed.filter_map(without_comment).collect()
    }

    #[test]
    fn every_command_shows_examples_and_they_can_be_typed() {
        let cli = Cli::command();
        let mut all = examples(&cli);
        for command in cli.get_subcommands() {
            let shown = examples(command);
            assert!(!shown.is_empty(), "{} has no example", command.get_name());
            all.extend(shown);
        }
        for line in all {
            Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    /// A node that is added takes free ports: an option that would change nothing is refused, wherever it stands.
    #[test]
    fn what_would_be_ignored_cannot_be_typed() {
        for line in [
            "testnet add --base-port 43000",
            "testnet --base-port 43000 add",
            "testnet --validators 4 down",
        ] {
            let words = std::iter::once("tintype").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
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
            "query space s --all --height 4",
            "verify roots --height 9",
            "verify chain --trust 3:abababababababababababababababababababababababababababababababab",
            "verify ledger node0",
            "diff node0 node1",
            "bench --seconds 3 --rate 50 --accounts 10",
            "node --dir x --until-lock-freed y",
        ] {
            let words = std::iter::once("tintype").chain(line.split(' '));
            Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }
}
