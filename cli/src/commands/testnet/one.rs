//! `tintype testnet kill|stop|start|pause|resume NAME`: what is done to one node.

use crate::{
    context::Context,
    failure::{Failure, Result},
    testnet::{Member, launch, not_running, process},
};
use clap::Args;
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

/// Which node.
#[derive(Clone, Debug, Args)]
pub struct NameArgs {
    /// The node's name
    pub name: String,
}

fn say(context: &Context, member: &Member, state: &str) {
    let pid = process::alive(member).map(|info| info.pid);
    let document = json!({"name": member.name, "state": state, "pid": pid});
    context
        .out
        .result(&document, || format!("{} is {state}", member.name));
}

pub(super) fn kill(context: &Context, args: &NameArgs) -> Result {
    let member = context.testnet()?.member(&args.name)?;
    process::kill(&member)?;
    say(context, &member, "stopped");
    Ok(())
}

pub(super) fn stop(context: &Context, args: &NameArgs) -> Result {
    let member = context.testnet()?.member(&args.name)?;
    if process::stop_all(std::slice::from_ref(&member), &|| false).is_empty() {
        return Err(not_running(&member.name));
    }
    say(context, &member, "stopped");
    Ok(())
}

pub(super) fn start(context: &Context, args: &NameArgs) -> Result {
    let testnet = context.testnet()?;
    let member = testnet.member(&args.name)?;
    if process::alive(&member).is_some() {
        let message = format!("{} runs already", member.name);
        return Err(Failure::failed("already_running", message));
    }
    launch::start_one(context.out, &testnet, &member)?;
    say(context, &member, "running");
    Ok(())
}

pub(super) fn pause(context: &Context, args: &NameArgs) -> Result {
    change(context, args, Signal::STOP, process::Life::Paused, "paused")
}

pub(super) fn resume(context: &Context, args: &NameArgs) -> Result {
    change(
        context,
        args,
        Signal::CONT,
        process::Life::Running,
        "running",
    )
}

/// Sends a signal, and waits until the kernel says that it worked.
fn change(
    context: &Context,
    args: &NameArgs,
    signal: Signal,
    wanted: process::Life,
    state: &str,
) -> Result {
    let member = context.testnet()?.member(&args.name)?;
    process::signal(&member, signal)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while process::life(&member) != wanted && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    say(context, &member, state);
    Ok(())
}
