//! `tintype node`: runs a node until it is told to stop.

use crate::{
    context::Context,
    failure::{Failure, Result},
    testnet::lock,
};
use ::node::config::NodeDir;
use clap::Args;
use rustix::process::{Signal, getpid, kill_process, set_parent_process_death_signal};
use std::path::PathBuf;

/// `tintype node`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Stop when the lock on FILE is freed: the launcher that started this node is gone
    #[arg(long, value_name = "FILE", hide = true)]
    pub until_lock_freed: Option<PathBuf>,
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
    dir.genesis()?;
    if let Some(file) = &args.until_lock_freed {
        end_with_launcher(file.clone())?;
    }
    run_node(&dir)
}

/// SEAM: the one call into the node's runtime. `node::run(dir.clone(), RunOptions::default())` goes here; it returns when the
/// node was asked to stop by SIGTERM or SIGINT, which it handles itself.
fn run_node(dir: &NodeDir) -> Result {
    let message = format!("{}: the runtime is not connected yet", dir.path().display());
    Err(Failure::failed("not_in_this_version", message))
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
