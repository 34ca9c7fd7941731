//! The shell around the replica: the only place where disk, network, clock and HTTP meet.
//!
//! [`recover`] reads a node's folder; [`run`] starts what a node is made of and waits until it is told to stop:
//!
//! - a thread for the [`replica`] and its disk;
//! - the network's task, and beside it threads that check what is gossiped, and what answers peers;
//! - the HTTP API.
//!
//! Killed at any moment, it starts again from its folder.

mod attestations;
mod backend;
mod backfill;
mod background;
mod blocks;
mod error;
mod evidence;
mod gossip;
mod join;
mod journal;
mod metrics;
mod network;
mod outlet;
mod promises;
mod readers;
mod reaper;
mod recover;
mod shared;
mod snapshots;
mod spaces;
mod start;
mod thread;
mod voters;
mod waiters;

pub use error::NodeError;
pub use promises::vote_from;
pub use recover::{Recovered, recover};

use crate::{
    api::{self, ApiConfig},
    config::{Config, NodeDir, RunInfo},
    replica::{self, Replica, Timeouts},
};
use evidence::EvidenceFolder;
use gossip::Lanes;
use journal::DiskJournal;
use ledger::{keys::SecretKey, state::State, store::disk::write_atomic, units::Height};
use outlet::Outlet;
use reaper::Reaper;
use shared::{Beginning, EVENTS_KEPT, Shared};
use snapshots::Snapshots;
use spaces::Spaces;
use start::{Held, start};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    time::Duration,
};
use thread::{Ask, Inbox, Runner};
use tokio::{
    net::TcpListener,
    sync::{broadcast, oneshot, watch},
};
use voters::Voters;

/// Runs the node of a folder until SIGTERM or SIGINT, with its configuration changed for this run.
///
/// # Errors
/// [`NodeError`] says why it did not start or could not go on.
pub fn run(dir: &NodeDir, change: impl Fn(&mut Config)) -> Result<(), NodeError> {
    // Before seconds are spent on a large state, and held between two runs, so that nobody else takes it meanwhile.
    let http = listen(&dir.config()?)?;
    let mut recovered = recover(dir.clone())?;
    change(&mut recovered.config);
    // Heard as long as the process lives, also between two runs.
    let signals = threads(1)?;
    let (stop, stopping) = watch::channel(false);
    signals.spawn(async move {
        told_to_stop().await;
        stop.send_replace(true);
    });
    let result = run_until(recovered, &http, change, &stopping);
    signals.shutdown_background();
    result
}

/// Runs a recovered node until it is told to stop, answering HTTP where [`listen`] has bound. When it has fetched a snapshot far
/// ahead it starts over from its folder, whose configuration `change` changes then.
///
/// # Errors
/// [`NodeError`] says why it could not go on.
pub fn run_until(
    mut recovered: Recovered,
    http: &std::net::TcpListener,
    change: impl Fn(&mut Config),
    stopping: &watch::Receiver<bool>,
) -> Result<(), NodeError> {
    let dir = recovered.dir.clone();
    loop {
        // One a run: with it ends whatever still holds a part of the node, which the next run opens anew.
        let runtime = threads(2)?;
        let liars = recovered.liars.clone();
        let mut stopping = stopping.clone();
        let stopped = async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        let ended = match http.try_clone() {
            Ok(http) => runtime.block_on(serve(recovered, http, stopped)),
            Err(source) => Err(machine("cannot share the HTTP socket")(source)),
        };
        runtime.shutdown_timeout(Duration::from_secs(2));
        match ended? {
            Ended::StartOver => {}
            Ended::Stopped => return Ok(()),
        }
        recovered = recover(dir.clone())?;
        recovered.liars = liars;
        recovered.fetched = true;
        change(&mut recovered.config);
    }
}

/// Listens where the node's HTTP interface is to be.
///
/// # Errors
/// [`NodeError::Http`].
pub fn listen(config: &Config) -> Result<std::net::TcpListener, NodeError> {
    let address = config.http.address;
    let unbound = |source| NodeError::Http { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(unbound)?;
    listener.set_nonblocking(true).map_err(unbound)?;
    Ok(listener)
}

fn threads(count: usize) -> Result<tokio::runtime::Runtime, NodeError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(count)
        .enable_all()
        .build()
        .map_err(machine("cannot start threads"))
}

/// Why a node has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// It was told to.
    Stopped,
    /// Its folder holds a snapshot far ahead of its blocks: it is to be recovered and served again.
    StartOver,
}

fn machine(what: &'static str) -> impl FnOnce(std::io::Error) -> NodeError {
    move |source| NodeError::Machine { what, source }
}

/// Runs a recovered node until `stop` is over, answering HTTP where [`listen`] has bound.
///
/// # Errors
/// [`NodeError`].
async fn serve(
    recovered: Recovered,
    http: std::net::TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Ended, NodeError> {
    let Recovered {
        dir,
        config,
        genesis,
        key,
        state,
        voting,
        replayed: _,
        head,
        wal,
        snapshots,
        picture,
        index,
        journal,
        blocks,
        lock,
        liars,
        fetched,
    } = recovered;
    let own = state.as_ref().map(State::height);
    let spaces = Spaces::of_config(&config, &genesis, &key.public_key(), own)?;
    let address = config.http.address;
    let unbound = |source| NodeError::Http { address, source };
    let listener = TcpListener::from_std(http).map_err(unbound)?;
    let mut p2p_config = p2p::Config::new(key.clone(), genesis.chain_id());
    p2p_config.listen = multiaddresses(&config.p2p.listen)?;
    p2p_config.peers = multiaddresses(&config.p2p.peers)?;
    p2p_config.hears_gossip = spaces.is_none();
    let (network, events) = p2p::Network::start(p2p_config).await?;

    let (inbox, asks) = Inbox::new();
    let news = broadcast::Sender::new(EVENTS_KEPT);
    let snapshots = Snapshots::start(
        snapshots,
        dir.snapshots().join("written.json"),
        usize::try_from(config.snapshots.keep).unwrap_or(usize::MAX),
        picture,
        liars,
        news.clone(),
    )
    .map_err(machine("cannot start the thread of snapshots"))?;
    let voters = genesis
        .validator_set()
        .map_err(|e| NodeError::Genesis(e.to_string()))?;
    let shared = Arc::new(Shared::new(Beginning {
        name: config.name.clone(),
        public_key: key.public_key(),
        genesis: genesis.clone(),
        inbox: inbox.clone(),
        network: network.clone(),
        blocks,
        index,
        state: state.clone(),
        head: head.clone(),
        snapshots,
        voters: Voters::new(&dir.validators(), voters),
        spaces,
        events: news,
        reaper: Reaper::start().map_err(machine("cannot start a thread"))?,
        idle: Duration::from_millis(config.timing.idle_block_interval_ms),
        backfills: config.sync.backfill,
    }));

    let http = listener.local_addr().map_err(unbound)?;
    let p2p_address = network
        .listening()
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    let run_info = RunInfo::of_this_process(format!("http://{http}"), p2p_address.clone())?;
    dir.write_run_info(&run_info)?;
    tracing::info!(%http, p2p = p2p_address, chain = %genesis.chain_id(), "running");

    let (gate, until_followed) = mpsc::channel();
    let lanes = Lanes::start(&shared, until_followed)
        .map_err(machine("cannot start the threads of gossip"))?;
    let network_task = tokio::spawn(network::serve(Arc::clone(&shared), lanes, events));
    let (stop_sender, stopping) = watch::channel(false);
    let stop_sender = Arc::new(stop_sender);
    let stopper = Arc::clone(&stop_sender);
    let stop_task = tokio::spawn(async move {
        stop.await;
        tracing::info!("stopping");
        stopper.send_replace(true);
    });
    let handle: crate::handle::Handle = shared.clone();
    let mut stopping_api = stopping.clone();
    let until_stop = async move {
        let _ = stopping_api.wait_for(|stop| *stop).await;
    };
    let api_config = ApiConfig {
        token: Some(dir.ensure_token()?),
        allowed_hosts: config.http.allowed_hosts.clone(),
    };
    let api_task = tokio::spawn(api::serve(handle, listener, api_config, until_stop));

    let followed = follow(
        &shared,
        Following {
            dir: &dir,
            config: &config,
            key,
            held: Held {
                state,
                head,
                voting,
                wal,
                fetched,
            },
            journal,
            inbox,
            asks,
            gate,
        },
        stopping,
    )
    .await;
    stop_sender.send_replace(true);
    stop_task.abort();
    network.stop().await;
    network_task.abort();
    let _ = tokio::time::timeout(Duration::from_secs(3), api_task).await;
    drop(lock);
    followed
}

/// What following the chain takes.
struct Following<'a> {
    dir: &'a NodeDir,
    config: &'a Config,
    key: SecretKey,
    held: Held,
    journal: DiskJournal,
    inbox: Inbox,
    asks: Receiver<Ask>,
    /// Closed when the replica is to run: consensus messages wait for it.
    gate: mpsc::Sender<Infallible>,
}

/// Gets a state if there is none, and runs the replica until the node is told to stop.
async fn follow(
    shared: &Arc<Shared>,
    following: Following<'_>,
    mut stopping: watch::Receiver<bool>,
) -> Result<Ended, NodeError> {
    let Following {
        dir,
        config,
        key,
        held,
        mut journal,
        inbox,
        asks,
        gate,
    } = following;
    if let Some(spaces) = &shared.spaces {
        spaces::follow(shared, spaces, &config.sync, stopping).await?;
        return Ok(Ended::Stopped);
    }
    // Of a folder that was a follower's of spaces.
    shared.snapshots.store().clear_parts()?;
    let start = match start(shared, config, held, &mut journal, &stopping).await? {
        Ok(start) => start,
        Err(ended) => return Ok(ended),
    };
    if *stopping.borrow() {
        return Ok(Ended::Stopped);
    }
    shared.follow_from(&start);
    drop(gate);
    let incarnation = next_incarnation(dir)?;
    let interval = start.state.parameters().snapshot_interval.max(1);
    let colour = Height(start.state.height().0 / interval * interval);
    let timing = config.timing;
    let replica_config = replica::Config {
        key: key.clone(),
        chain: shared.chain,
        timeouts: Timeouts {
            propose: Duration::from_millis(timing.propose_timeout_ms),
            vote: Duration::from_millis(timing.vote_timeout_ms),
        },
        idle: Duration::from_millis(timing.idle_block_interval_ms),
        mempool: replica::mempool::Limits::default(),
    };
    let (end_backfill, backfill_ended) = watch::channel(false);
    let backfill = config
        .sync
        .backfill
        .then(|| backfill::start(Arc::clone(shared), journal.prepender(), backfill_ended))
        .transpose()
        .map_err(machine("cannot start the thread of backfill"))?;
    let (replica, effects) = Replica::start(replica_config, start, thread::now(), &mut journal)?;
    let outlet = Outlet::new(Arc::clone(shared), key, incarnation, colour);
    let evidence = EvidenceFolder::new(&dir.evidence());
    let stop = Arc::new(AtomicBool::new(false));
    let runner = Runner::new(replica, journal, asks, outlet, evidence, Arc::clone(&stop));
    let (ended, mut end) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("replica".into())
        .spawn(move || {
            let _ = ended.send(runner.run(effects));
        })
        .map_err(machine("cannot start the replica's thread"))?;
    let jumped = join::jump(shared, config.sync.mode, stopping.clone());
    let result = tokio::select! {
        _ = stopping.wait_for(|stop| *stop) => Ok(Ended::Stopped),
        jumped = jumped => jumped.map(|()| Ended::StartOver),
        result = &mut end => match result {
            Ok(result) => result.map(|()| Ended::Stopped).map_err(NodeError::from),
            Err(_) => Err(NodeError::Died("the replica")),
        },
    };
    stop.store(true, Ordering::Release);
    inbox.send(Ask::Wake);
    end_backfill.send_replace(true);
    let ends = move || (thread.join(), backfill.map(std::thread::JoinHandle::join));
    let _ = tokio::task::spawn_blocking(ends).await;
    result
}

fn multiaddresses(texts: &[String]) -> Result<Vec<p2p::Multiaddr>, NodeError> {
    let parse = |text: &String| {
        text.parse().map_err(
            |e: <p2p::Multiaddr as std::str::FromStr>::Err| NodeError::Address {
                text: text.clone(),
                why: e.to_string(),
            },
        )
    };
    texts.iter().map(parse).collect()
}

/// Counts the starts of this node, durably, so that it never says two things under one number.
fn next_incarnation(dir: &NodeDir) -> Result<u64, NodeError> {
    let path = dir.path().join("incarnation");
    let before = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().unwrap_or(0),
        Err(_) => 0u64,
    };
    // The clock keeps it apart from earlier ones even if the file was lost with the folder.
    let seconds = thread::now().unix.0 / 1000;
    let next = before.saturating_add(1).max(seconds);
    write_atomic(&path, next.to_string().as_bytes())?;
    Ok(next)
}

/// Returns on SIGTERM or SIGINT.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
