//! `tintype testnet down`: stops every node, and the launcher that runs in another terminal.

use crate::{
    context::Context,
    failure::{Failure, Result},
    testnet::{Testnet, lock, process},
};
use node::config::process_stat;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long the launcher may take to stop its nodes: longer than it gives them.
const LAUNCHER_LIMIT: Duration = Duration::from_secs(25);

/// Stops it.
///
/// # Errors
/// If there is no testnet, or a node cannot be stopped.
pub fn run(context: &Context) -> Result {
    let testnet = context.testnet()?;
    let members = testnet.members()?;
    let running: Vec<String> = members
        .iter()
        .filter(|member| process::alive(member).is_some())
        .map(|member| member.name.clone())
        .collect();
    end_launcher(&testnet)?;
    process::stop_all(&testnet.members()?, &|| false);
    if let Some(member) = members.iter().find(|m| process::alive(m).is_some()) {
        let message = format!("{} could not be stopped", member.name);
        return Err(Failure::failed("still_running", message));
    }
    let dir = testnet.dir().display().to_string();
    context
        .out
        .result(&json!({"dir": dir, "stopped": running}), || {
            if running.is_empty() {
                "no node was running".into()
            } else {
                format!("stopped {}", running.join(", "))
            }
        });
    Ok(())
}

fn end_launcher(testnet: &Testnet) -> Result {
    let Some(holder) = lock::holder(testnet)? else {
        return Ok(());
    };
    let same = process_stat(holder.pid).is_some_and(|s| s.started_ticks == holder.started_ticks);
    let pid = i32::try_from(holder.pid)
        .ok()
        .and_then(Pid::from_raw)
        .filter(|_| same);
    let Some(pid) = pid else { return Ok(()) };
    kill_process(pid, Signal::TERM).map_err(|e| {
        Failure::failed(
            "io",
            format!(
                "the launcher (process {}) cannot be signalled: {e}",
                holder.pid
            ),
        )
    })?;
    let deadline = Instant::now() + LAUNCHER_LIMIT;
    while lock::holder(testnet)? == Some(holder) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
