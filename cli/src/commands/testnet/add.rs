//! `tintype testnet add`: a new node, from an empty folder to one that follows the chain, and votes if asked to.

use crate::{
    api::{self, Origin},
    client::Client,
    commands::{
        approvals::approve_by_all,
        query::validators,
        validator::{Change, wait_until_in_force},
    },
    context::{Context, best, client_of},
    failure::{Failure, Result},
    interrupt::{self, Known},
    output::Output,
    sender::Options,
    table::visible,
    testnet::{Member, create, launch, process::alive, status::Poller, view},
};
use clap::{Args, ValueEnum};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use ledger::{
    light::Checkpoint,
    units::{Height, Power},
};
use node::config::{Sync, SyncMode};
use serde_json::Map;
use std::time::{Duration, Instant};

/// How long the newcomer may take to follow, if nothing else is said.
const FOLLOW_LIMIT_S: u64 = 600;
const POLL: Duration = Duration::from_millis(100);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// `tintype testnet add`
#[derive(Clone, Debug, Args)]
pub struct AddArgs {
    /// Its name [default: the next free node0, node1, ...]
    pub name: Option<String>,
    /// Make it a validator: approved with the validator keys of this testnet, once it follows
    #[arg(long)]
    pub validator: bool,
    /// How it catches up
    #[arg(long, value_enum, default_value_t = Way::Auto)]
    pub sync: Way,
    /// Then fetch the blocks from before its snapshot too, in the background
    #[arg(long)]
    pub backfill: bool,
    /// Believe a snapshot from this block's validators on, not from the genesis's: a source that you trust told you its hash
    #[arg(long, value_name = "HEIGHT:HASH")]
    pub trust: Option<Checkpoint>,
    /// Follow this space, from snapshot to snapshot, and nothing else of the chain; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with_all = ["validator", "sync", "backfill"])]
    pub space: Vec<String>,
    /// Seconds it may take to follow the chain
    #[arg(long, value_name = "S", default_value_t = FOLLOW_LIMIT_S)]
    pub timeout: u64,
}

/// How a node catches up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// By a snapshot where that is shorter
    Auto,
    /// By a snapshot
    Snapshot,
    /// By executing every block
    Blocks,
}

impl From<Way> for SyncMode {
    fn from(way: Way) -> Self {
        match way {
            Way::Auto => Self::Auto,
            Way::Snapshot => Self::Snapshot,
            Way::Blocks => Self::Blocks,
        }
    }
}

/// Adds a node.
///
/// # Errors
/// If it does not start, does not follow the chain in time, or its vote is not approved.
pub fn run(context: &Context, args: &AddArgs) -> Result {
    let testnet = context.testnet()?;
    let others: Vec<Client> = testnet.members()?.iter().filter_map(client_of).collect();
    if others.is_empty() {
        let message = format!(
            "no node of {} runs: there is nobody to catch up with",
            context.dir.display()
        );
        return Err(
            Failure::new(crate::failure::Exit::Unreachable, "unreachable", message)
                .help("`tintype testnet` starts them"),
        );
    }
    let sync = Sync {
        mode: args.sync.into(),
        backfill: args.backfill,
        trust: args.trust,
        spaces: args.space.clone(),
    };
    let member = create::add_node(&testnet, args.name.as_deref(), sync)?;
    interrupt::leaves("node", left(&member.name, "was made, and may be starting"));
    launch::start_one(context.out, &testnet, &member)?;
    interrupt::leaves("node", left(&member.name, "stays, and runs"));
    let limit = Duration::from_secs(args.timeout);
    follow(context.out, &member, &others, limit)?;
    if args.validator {
        vote(context, &member, &others)?;
    }
    let status = Poller::new(&testnet)?.poll()?;
    let node = status.nodes.iter().find(|node| node.name == member.name);
    let origin = node.and_then(|node| node.origin.as_ref());
    let way = origin.map(|origin| came(&member.name, origin));
    context.out.result(&node, || {
        let table = view::render_for(context.out, &status);
        way.unwrap_or_default() + &table
    });
    Ok(())
}

/// Which way a newcomer came to its state, and why.
fn came(name: &str, origin: &Origin) -> String {
    let Origin { from, height, why } = origin;
    let way = match from.as_str() {
        "snapshot" => format!("by the snapshot of height {height}"),
        "genesis" => "by executing every block from the genesis on".into(),
        _ => format!("by the state of height {height} in its folder"),
    };
    format!("{name} follows the chain, {way}: {why}\n")
}

/// What an interruption leaves of a newcomer.
fn left(name: &str, state: &str) -> Known {
    let how = format!(
        "`tintype testnet status` shows it, `tintype testnet start {name}` and `stop {name}` start and stop it"
    );
    Known {
        message: format!("{name} {state}"),
        help: how,
        found: Map::from_iter([("name".to_owned(), name.into())]),
        ..Known::default()
    }
}

/// Waits until the newcomer follows: it says so, and is at most a block behind.
fn follow(out: Output, member: &Member, others: &[Client], limit: Duration) -> Result {
    let bar = progress_bar(out);
    let deadline = Instant::now() + limit;
    let name = &member.name;
    while Instant::now() < deadline {
        let client = alive(member).map(|info| Client::new(name, &info.http));
        let Some(client) = client else {
            bar.finish_and_clear();
            let message = format!("{name} ended while it caught up");
            return Err(Failure::failed("node_ended", message)
                .help(format!("`tintype testnet logs {name}` shows its log")));
        };
        if let Ok(status) = client.status(ANSWER_LIMIT) {
            let highest = others
                .iter()
                .filter_map(|other| other.status(ANSWER_LIMIT).ok())
                .map(|other| other.height)
                .max();
            show(&bar, &status, highest);
            // Of spaces there is something new with each snapshot, and not with each block.
            let is_there = |highest| !status.spaces.is_empty() || status.height.next() >= highest;
            if status.ready && highest.is_some_and(is_there) {
                bar.finish_and_clear();
                return Ok(());
            }
        }
        std::thread::sleep(POLL);
    }
    bar.finish_and_clear();
    let message = format!(
        "{name} does not follow the chain after {} s",
        limit.as_secs()
    );
    Err(Failure::failed("timeout", message).help(format!(
        "it goes on trying: see `tintype testnet status` and `tintype testnet logs {name}`"
    )))
}

fn progress_bar(out: Output) -> ProgressBar {
    if !out.has_progress() {
        return ProgressBar::hidden();
    }
    // Of length 1: one of length 0 is full from the start.
    let bar = ProgressBar::new(1);
    if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {eta}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, status: &api::Status, highest: Option<Height>) {
    let Progress { text, done, total } = Progress::of(status, highest);
    bar.set_length(total.max(1));
    bar.set_position(done.min(total));
    bar.set_message(visible(&text).into_owned());
    bar.tick();
}

/// How far a newcomer is: in bytes of a snapshot, else in blocks.
#[derive(Debug, PartialEq, Eq)]
struct Progress {
    text: String,
    done: u64,
    total: u64,
}

impl Progress {
    fn of(status: &api::Status, highest: Option<Height>) -> Self {
        let (name, height) = (&status.name, status.height);
        match &status.sync {
            Some(sync) if sync.bytes_total > 0 => {
                let (done, total) = (sync.bytes_done, sync.bytes_total);
                let text = format!(
                    "{name}: {} to height {}, {}/{} chunks ({}/{}, {}/s) from {} peers",
                    sync.mode,
                    sync.height,
                    sync.chunks_done,
                    sync.chunks_total,
                    HumanBytes(done),
                    HumanBytes(total),
                    HumanBytes(sync.bytes_per_second),
                    sync.peers
                );
                Self { text, done, total }
            }
            sync => {
                let goal = sync.as_ref().map(|sync| sync.height).max(highest);
                let goal_text = goal.map_or_else(|| "?".into(), |h| h.to_string());
                Self {
                    text: format!("{name}: height {height} of {goal_text}"),
                    done: height.0,
                    total: goal.unwrap_or_default().0,
                }
            }
        }
    }
}

/// Makes the newcomer a validator: approved by those of this testnet, and waited for until it votes.
fn vote(context: &Context, member: &Member, others: &[Client]) -> Result {
    let public_key = member.dir.key()?.public_key();
    let client =
        best(others.to_vec()).ok_or_else(|| crate::testnet::not_running("every other node"))?;
    let client = &client;
    let in_force = validators(client, None)?.validators;
    let power = in_force.iter().map(|v| v.power).min().unwrap_or(Power(1));
    let options = Options {
        nonce: None,
        valid_for: None,
        wait: Some(Duration::from_secs(30)),
    };
    let change = Change { public_key, power };
    approve_by_all(context, client, &change.operation(), options)?;
    wait_until_in_force(client, change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(sync: &serde_json::Value) -> api::Status {
        let hash = "00".repeat(32);
        let value = json!({
            "name": "node4", "version": "0", "public_key": hash, "chain_id": hash, "chain_name": "c",
            "validator": false, "voting": false, "ready": false, "height": 0, "block_hash": null,
            "block_time": null, "state_root": hash, "last_block_transactions": 0,
            "earliest_block": null, "peers": 0, "p2p": [], "mempool": 0, "snapshot": null,
            "sync": sync, "alarm": null, "stands_still_seconds": null,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn it_is_told_which_way_a_newcomer_took_and_why() {
        let origin = |from: &str, why: &str| Origin {
            from: from.into(),
            height: Height(100),
            why: why.into(),
        };
        assert_eq!(
            came("node4", &origin("snapshot", "peers offered it")),
            "node4 follows the chain, by the snapshot of height 100: peers offered it\n"
        );
        let blocks = came("node4", &origin("genesis", "no peer has a snapshot"));
        assert!(blocks.contains("every block") && blocks.ends_with(": no peer has a snapshot\n"));
    }

    #[test]
    fn the_bar_is_empty_at_the_beginning_and_counts_what_is_fetched() {
        let begun = Progress::of(&status(&json!(null)), Some(Height(230)));
        assert_eq!((begun.done, begun.total), (0, 230));
        assert_eq!(begun.text, "node4: height 0 of 230");
        let sync = |mode: &str, bytes_total: u64| {
            let sync = json!({
                "mode": mode, "height": 240, "chunks_done": 1, "chunks_total": 4,
                "bytes_done": bytes_total / 4, "bytes_total": bytes_total, "peers": 3,
            });
            Progress::of(&status(&sync), Some(Height(230)))
        };
        let blocks = sync("blocks", 0);
        assert_eq!((blocks.done, blocks.total), (0, 240));
        let snapshot = sync("snapshot", 4096);
        assert_eq!((snapshot.done, snapshot.total), (1024, 4096));
        assert!(snapshot.text.contains("1/4 chunks"), "{}", snapshot.text);
    }
}
