//! `tintype node`: runs a node until it is told to stop.

use crate::{
    context::Context,
    failure::{Failure, Result},
    testnet::lock,
};
use ::node::config::NodeDir;
use clap::Args;
use ledger::{light::Checkpoint, units::Height};
use rustix::process::{Signal, getpid, kill_process, set_parent_process_death_signal};
use serde_json::json;
use std::{io::IsTerminal, path::PathBuf};

/// `tintype node`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Stop when the lock on FILE is freed: the launcher that started this node is gone
    #[arg(long, value_name = "FILE", hide = true)]
    pub until_lock_freed: Option<PathBuf>,
    /// Of a validator whose folder was lost while its key was kept: vote from this height on, instead of finding out
    /// from the others. DANGER: below the first height that it never signed at, it signs twice
    #[arg(long, value_name = "HEIGHT")]
    pub vote_from: Option<u64>,
    /// Fetch the blocks from before this node's history in the background, as with `backfill = true` under `[sync]` in
    /// tintype.toml
    #[arg(long)]
    pub backfill: bool,
    /// Of a node without a state: believe a snapshot from this block's validators on, not from the genesis's. Somebody whom
    /// you trust told you its hash
    #[arg(long, value_name = "HEIGHT:HASH")]
    pub trust: Option<Checkpoint>,
    /// Follow this space, from snapshot to snapshot, and nothing else of the chain; may be given several times. As with
    /// `spaces` under `[sync]` in tintype.toml
    #[arg(long, value_name = "NAME", conflicts_with = "backfill")]
    pub space: Vec<String>,
}

/// Runs the node in `--dir`.
///
/// # Errors
/// If the folder is not a node's, or the node fails.
pub fn run(context: &Context, args: &NodeArgs) -> Result {
    let dir = NodeDir::new(&context.dir);
    if !dir.config_file().is_file() {
        let message = format!("{} is not the folder of a node", context.dir.display());
        return Err(Failure::failed("not_a_node", message)
            .help("`tintype init --dir DIR` makes one; `tintype node --dir DIR` runs it"));
    }
    // What can be wrong is said before anything is opened.
    dir.config()?;
    dir.key()?;
    if !dir.genesis_file().exists() {
        let message = format!("{} has no genesis.json", context.dir.display());
        return Err(Failure::failed("genesis_missing", message).help(
            "copy it from another node of the chain; `tintype genesis` makes one for a new chain",
        ));
    }
    dir.genesis()?;
    if let Some(file) = &args.until_lock_freed {
        end_with_launcher(file.clone())?;
    }
    let name = dir.config()?.name;
    run_node(&dir, args)?;
    if context.out.is_json() {
        context
            .out
            .document(&json!({"name": name, "state": "stopped"}));
    }
    Ok(())
}

/// Runs the node. It returns when the node was told to stop by SIGTERM or SIGINT.
fn run_node(dir: &NodeDir, args: &NodeArgs) -> Result {
    let level = dir.config()?.log_level;
    // The consensus library tells every vote at the level of information.
    let quiet = format!("arc_malachitebft_core_consensus=warn,{level}");
    let filter = tracing_subscriber::EnvFilter::try_new(&quiet)
        .map_err(|e| Failure::failed("bad_config", format!("log_level {level:?}: {e}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // On a full disk a line of the log is lost. To say so on standard error as well, which is the same file, would
        // panic in whichever thread has something to say.
        .log_internal_errors(false)
        .init();
    if let Some(height) = args.vote_from.map(Height) {
        ::node::runtime::vote_from(dir, height).map_err(|e| {
            Failure::failed("not_wiped", e.to_string())
                .help("--vote-from is for a node without a write-ahead log; this one knows what it has signed")
        })?;
    }
    let (backfill, trust) = (args.backfill, args.trust);
    let config_file = dir.config_file();
    let mut named = dir.config()?;
    named.sync.spaces.extend(args.space.iter().cloned());
    named.check(&config_file)?;
    let change = |config: &mut ::node::config::Config| {
        config.sync.backfill |= backfill;
        config.sync.trust = trust.or(config.sync.trust);
        config.sync.spaces.extend(args.space.iter().cloned());
    };
    ::node::runtime::run(dir, change).map_err(|e| Failure::failed("node_failed", e.to_string()))
}

/// Stops this process gracefully when the launcher ends, however it ends.
fn end_with_launcher(file: PathBuf) -> Result {
    // A paused process cannot notice anything: the kernel wakes it when its launcher dies.
    let _ = set_parent_process_death_signal(Some(Signal::CONT));
    let wait = move || {
        if lock::wait_until_freed(&file).is_ok() {
            let _ = kill_process(getpid(), Signal::TERM);
        }
    };
    std::thread::Builder::new()
        .name("lifeline".into())
        .spawn(wait)
        .map(|_| ())
        .map_err(|e| Failure::failed("io", format!("the lifeline's thread cannot start: {e}")))
}
