//! `tintype testnet [up]`: makes the testnet if need be, starts every node, and shows them.

use crate::{
    context::Context,
    failure::{Exit, Failure, Result},
    table::{grouped, visible},
    testnet::{
        Member, Testnet,
        create::{self, Plan},
        launch,
        lock::LauncherLock,
        process,
        status::{Poller, TestnetStatus},
        view, wiring,
    },
};
use clap::Args;
use ledger::genesis::Generated;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long the first block may take, if the state that comes before it is small.
const FIRST_BLOCK_LIMIT: Duration = Duration::from_secs(60);
/// How long nodes whose launcher died may take to notice.
const ORPHANS_LIMIT: Duration = Duration::from_secs(20);

/// `tintype testnet [up]`
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct UpArgs {
    /// Validators of a new testnet [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub validators: Option<u16>,
    /// Blocks from one snapshot to the next, in a new testnet [default: 100]
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u64).range(1..))]
    pub snapshot_interval: Option<u64>,
    /// Generated records in the first state of a new testnet, to see what that size costs [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=Generated::COUNT_MAX))]
    pub entries: Option<u64>,
    /// Listen on this port and those after it, two a node; a testnet that is there moves to them [default: free ones
    /// from 26000]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..))]
    pub base_port: Option<u16>,
    /// Remove the nodes and the genesis that are there, and make a new chain
    #[arg(long)]
    pub fresh: bool,
    /// Return when the first block is final, and leave the nodes running
    #[arg(long)]
    pub detach: bool,
}

/// Whether the launcher was asked to end, and whether by Ctrl-C.
#[derive(Clone, Debug, Default)]
struct Interrupts {
    asked: Arc<AtomicBool>,
    by_ctrl_c: Arc<AtomicBool>,
}

impl Interrupts {
    fn listen() -> Result<Self> {
        let interrupts = Self::default();
        let pairs = [
            (SIGINT, &interrupts.by_ctrl_c),
            (SIGINT, &interrupts.asked),
            (SIGTERM, &interrupts.asked),
            (SIGHUP, &interrupts.asked),
        ];
        for (signal, flag) in pairs {
            signal_hook::flag::register(signal, Arc::clone(flag))
                .map_err(|e| Failure::failed("io", format!("signals cannot be handled: {e}")))?;
        }
        Ok(interrupts)
    }

    fn came(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Forgets what came, to notice the next.
    fn forget(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }
}

/// Starts the testnet.
///
/// # Errors
/// If the folder is another's, a launcher runs there already, a port asked for is taken, or a node does not start.
pub fn run(context: &Context, args: &UpArgs) -> Result {
    let testnet = Testnet::at(&context.dir);
    let plan = Plan {
        validators: args.validators.map(usize::from),
        snapshot_interval: args.snapshot_interval,
        entries: args.entries,
        base_port: args.base_port,
        fresh: args.fresh,
    };
    let interrupts = Interrupts::listen()?;
    if !testnet.genesis_file().exists() {
        // Before a folder is made, or a lock file written into somebody else's.
        create::check(&testnet, &plan)?;
    }
    create::make_dir(&context.dir)?;
    let lock = LauncherLock::take(&testnet)?;
    end_orphans(&testnet)?;
    let made = create::ensure(&testnet, &plan)?;
    let members = testnet.members()?;
    launch::restore(context.out, &testnet, &members)?;
    if let (Some(base), false) = (args.base_port, made)
        && wiring::move_to(&testnet, &members, base)?
    {
        let note = format!("moving the nodes that are there to the ports from {base} on");
        context.out.note(&note);
    }
    if !context.out.is_json() {
        let verb = if made { "made" } else { "carrying on" };
        let genesis = testnet.genesis()?;
        context.out.note(&format!(
            "{verb} chain {} ({:.12}) in {}",
            visible(&genesis.chain_name),
            genesis.chain_id(),
            testnet.dir().display()
        ));
        if let Some(generated) = genesis.generated {
            context.out.note(&generated_note(generated));
        }
    }
    let lifeline = (!args.detach).then(|| testnet.lock_file());
    let is_interrupted = || interrupts.came();
    let (mut children, _) = launch::start(
        context.out,
        &testnet,
        &members,
        lifeline.as_ref(),
        &is_interrupted,
    )?;
    let mut poller = Poller::new(&testnet)?;
    let shown = if args.detach {
        let limit = match members.as_slice() {
            [] => FIRST_BLOCK_LIMIT,
            [first, ..] => process::with_making(FIRST_BLOCK_LIMIT, first),
        };
        first_block(&mut poller, limit, &is_interrupted).map(|status| {
            context
                .out
                .result(&status, || view::render_for(context.out, &status));
        })
    } else {
        let footer = "Ctrl-C stops all nodes; other commands work in another terminal";
        let is_over = || {
            children.reap();
            is_interrupted()
        };
        view::watch(context.out, &mut poller, footer, is_over)
    };
    if args.detach && shown.is_ok() {
        drop(lock);
        return Ok(());
    }
    let by_ctrl_c = interrupts.by_ctrl_c.load(Ordering::Relaxed);
    stop(context, &testnet, &members, &interrupts);
    children.reap();
    drop(lock);
    shown?;
    if by_ctrl_c {
        return Err(Failure::silent(Exit::Interrupted));
    }
    Ok(())
}

/// Says what can be asked for.
fn generated_note(generated: Generated) -> String {
    let (count, space) = (grouped(generated.count), Generated::SPACE);
    let key = generated.key(0);
    format!("{count} generated records; try `tintype query record {space} {key}`")
}

fn stop(context: &Context, testnet: &Testnet, started: &[Member], interrupts: &Interrupts) {
    if !context.out.is_json() {
        context
            .out
            .note("stopping all nodes; once more Ctrl-C kills them");
    }
    interrupts.forget();
    // Also those that were added from another terminal.
    let members = testnet.members().unwrap_or_else(|_| started.to_vec());
    process::stop_all(&members, &|| interrupts.came());
}

/// Waits until a block is final.
fn first_block(
    poller: &mut Poller,
    limit: Duration,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<TestnetStatus> {
    let deadline = Instant::now() + limit;
    loop {
        let status = poller.poll()?;
        let is_final = |height: Option<ledger::units::Height>| height.is_some_and(|h| h.0 > 0);
        if status.nodes.iter().any(|node| is_final(node.height)) {
            return Ok(status);
        }
        if is_interrupted() {
            return Err(process::interrupted());
        }
        if Instant::now() > deadline {
            let message = format!("no block was final within {} s", limit.as_secs());
            return Err(Failure::failed("timeout", message)
                .help("`tintype testnet logs node0` shows a node's log")
                .with_found(&status));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Nodes that run although the lock was free: those whose launcher died are about to end, and are waited for. Others
/// were left running by `--detach`.
fn end_orphans(testnet: &Testnet) -> Result {
    let deadline = Instant::now() + ORPHANS_LIMIT;
    loop {
        let members = testnet.members()?;
        let running: Vec<&Member> = members
            .iter()
            .filter(|m| process::alive(m).is_some())
            .collect();
        if running.is_empty() {
            return Ok(());
        }
        let detached = running
            .iter()
            .any(|m| process::alive(m).is_some_and(|info| !process::has_lifeline(&info)));
        if detached {
            return Err(runs_already(testnet, &members, &running));
        }
        if Instant::now() > deadline {
            let orphans: Vec<Member> = running.into_iter().cloned().collect();
            process::stop_all(&orphans, &|| false);
            return Ok(());
        }
        for member in running {
            if process::life(member) == process::Life::Paused {
                process::signal(member, rustix::process::Signal::CONT)?;
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn runs_already(testnet: &Testnet, members: &[Member], running: &[&Member]) -> Failure {
    let dir = testnet.dir().display();
    let is_stopped = |m: &&Member| running.iter().all(|r| r.name != m.name);
    let stopped: Vec<&str> = members
        .iter()
        .filter(is_stopped)
        .map(|m| m.name.as_str())
        .collect();
    let shows = "`tintype testnet status --watch` shows it, `tintype testnet down` stops it";
    let Some(first) = stopped.first() else {
        let message = format!("the testnet in {dir} runs already");
        return Failure::failed("already_running", message).help(shows);
    };
    let running: Vec<&str> = running.iter().map(|m| m.name.as_str()).collect();
    let message = format!(
        "the testnet in {dir} runs already: {}; stopped: {}",
        running.join(", "),
        stopped.join(", ")
    );
    let help = format!("`tintype testnet start {first}` starts one that is stopped; {shows}");
    Failure::failed("already_running", message).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_testnet_of_which_some_run_it_is_said_how_the_others_start() {
        let testnet = Testnet::at(std::path::Path::new("net"));
        let members: Vec<Member> = ["node0", "node1", "node2"]
            .map(|name| Member {
                name: name.into(),
                dir: testnet.node_dir(name),
            })
            .into();
        let all: Vec<&Member> = members.iter().collect();
        let some = runs_already(&testnet, &members, &all[..2]);
        assert_eq!(some.code, "already_running");
        assert!(
            some.message.ends_with("node0, node1; stopped: node2"),
            "{some}"
        );
        assert!(some.help.contains("testnet start node2"), "{}", some.help);
        let whole = runs_already(&testnet, &members, &all);
        assert!(!whole.help.contains("testnet start"), "{}", whole.help);
    }
}
