//! How a node without a state gets one: from a snapshot of its peers, or block by block from the genesis.
//!
//! [`plan`](plan::plan) decides, from what peers say in the first moments. The snapshot itself is [`snapshot::sync::Joiner`]'s
//! business, which trusts nobody; here its requests are carried out, and what it ends with is made the node's own:
//! first the manifest (its chunks are there already), then a block log that begins after it. A crash in between leaves
//! a whole snapshot, from which the next start goes on.
//!
//! A node that has a state and lags far behind does the same beside executing blocks ([`jump`]): it asks for what changed since
//! its own snapshot, and starts over from its folder.

mod ask;
mod liars;
mod plan;
pub(super) mod trust;
mod writer;

use super::{
    NodeError,
    shared::{Shared, Syncing},
};
use crate::{
    config::{Sync as SyncConfig, SyncMode},
    event::Event,
    handle::SyncProgress,
};
use ::snapshot::{
    chunk::{ChunkError, VerifiedChunk},
    manifest::{ChunkRef, ManifestId, Picture},
    scope::Scope,
    store::{Store, StoreError, write_snapshot},
    sync::{Config, Input, Joiner, Lie, Offer, Output, Progress},
};
use ledger::{block::CertifiedHeader, state::State, units::Height};
pub(super) use liars::Liars;
use p2p::Peer;
pub(super) use plan::Having;
use plan::{Heard, LAG_MIN, Plan, jumps, plan};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;
use trust::Trust;
use writer::{Put, Writer};

/// How long offers are collected after the first: peers are asked as they connect, and answer in milliseconds.
const OFFER_WINDOW_MS: u64 = 500;
/// How often it looks what peers have said.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often a node that follows the chain looks how far behind it is.
const LOOK_BEHIND_EVERY: Duration = Duration::from_millis(500);
/// How long a node that is to catch up by snapshots listens for a newer one when it starts.
const LISTEN_AHEAD: Duration = Duration::from_millis(2_000);
/// How long it executes blocks after a snapshot could not be had in time.
const AFTER_FAILED_JUMP: Duration = Duration::from_secs(30);
/// How often a joiner is told that time passes.
const TICK_EVERY: Duration = Duration::from_millis(100);

/// A state that was fetched, and the block that it is the state after.
pub(super) struct Joined {
    pub(super) state: State,
    pub(super) certified: CertifiedHeader,
}

/// Why there is no snapshot to start from of a node that is ending.
const STOPPED: &str = "the node was stopped";

/// Gets a state for a node that has none, or says why it is to execute the blocks from the genesis on.
///
/// # Errors
/// [`NodeError`] if the disk fails.
pub(super) async fn join(
    shared: &Arc<Shared>,
    sync: &SyncConfig,
    configured: usize,
    mut stopping: watch::Receiver<bool>,
) -> Result<Result<Joined, &'static str>, NodeError> {
    let begun = Instant::now();
    loop {
        let (peers, offering) = shared.offering();
        let heard = Heard {
            peers,
            offering,
            configured,
            alone: matches!(shared.genesis.validators.as_slice(), [one] if one.public_key == shared.public_key),
            waited: begun.elapsed(),
        };
        match plan(sync.mode, heard) {
            Plan::Snapshot => break,
            Plan::Blocks(why) => {
                tracing::info!(why, "starting from the genesis, block by block");
                if sync.trust.is_some() {
                    tracing::warn!(
                        "the trusted block is of use for snapshots only: each block is checked from the genesis on"
                    );
                }
                shared.snapshots.store().clear_sync_target()?;
                return Ok(Err(why));
            }
            Plan::Wait => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stopping.wait_for(|stop| *stop) => return Ok(Err(STOPPED)),
        }
    }
    tracing::info!("fetching a snapshot");
    let trust = trust::trust(shared, sync.trust, stopping.clone()).await?;
    let Some(trust) = trust else {
        return Ok(Err(STOPPED));
    };
    let before = shared.snapshots.last();
    match fetch(shared, trust, Scope::Whole, before, stopping).await? {
        Some(fetched) => Ok(Ok(adopt(shared, fetched)?)),
        None => Ok(Err("no peer sent the snapshot that it offered")),
    }
}

/// Of a node that has a state and is to catch up by snapshots: listens for a moment, before any block is executed, whether a
/// peer has a newer one, and fetches it. Whether there is one now from which it should start over.
///
/// # Errors
/// [`NodeError`] if the disk fails.
pub(super) async fn look_ahead(
    shared: &Arc<Shared>,
    configured: usize,
    mut stopping: watch::Receiver<bool>,
) -> Result<bool, NodeError> {
    let begun = Instant::now();
    while begun.elapsed() < LISTEN_AHEAD {
        let heard = shared.heard_of();
        if let Some(height_min) = jumps(Some(1), shared.latest(), &heard) {
            return fetch_ahead(shared, height_min, stopping).await;
        }
        if configured > 0 && heard.len() >= configured {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stopping.wait_for(|stop| *stop) => break,
        }
    }
    Ok(false)
}

/// Waits until this node, which has a state and executes blocks, lags so far behind its peers' snapshots that fetching one is
/// better, and fetches it. Over when there is one in the store from which it should start over; as long as there is none, it
/// lasts.
///
/// # Errors
/// [`NodeError`] if the disk fails.
pub(super) async fn jump(
    shared: &Arc<Shared>,
    mode: SyncMode,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), NodeError> {
    // Also of a node that is to catch up by snapshots: one that executes blocks is a few behind at any time.
    let lag_min = (mode != SyncMode::Blocks).then_some(LAG_MIN);
    loop {
        let stopped = async {
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        let stops = tokio::select! {
            () = tokio::time::sleep(LOOK_BEHIND_EVERY) => false,
            () = stopped => true,
        };
        if stops {
            // The caller sees that too, and ends this.
            return std::future::pending().await;
        }
        let Some(height_min) = jumps(lag_min, shared.latest(), &shared.heard_of()) else {
            continue;
        };
        if fetch_ahead(shared, height_min, stopping.clone()).await? {
            return Ok(());
        }
        // The blocks were faster, or nobody sent a snapshot: that costs nothing but some time.
        tokio::time::sleep(AFTER_FAILED_JUMP).await;
    }
}

/// Fetches a snapshot of at least this height, as what changed since the last one here. Whether it is ahead of the blocks
/// executed by then.
async fn fetch_ahead(
    shared: &Arc<Shared>,
    height_min: Height,
    stopping: watch::Receiver<bool>,
) -> Result<bool, NodeError> {
    let Some(validators) = shared.validators() else {
        return Ok(false);
    };
    tracing::info!(own = %shared.latest(), snapshots_from = %height_min, "behind the others: fetching what changed since");
    let trust = Trust {
        validators,
        height_min,
    };
    let before = shared.snapshots.last();
    let Some(fetched) = fetch(shared, trust, Scope::Whole, before, stopping).await? else {
        return Ok(false);
    };
    let joined = adopt(shared, fetched)?;
    let is_ahead = joined.state.height() > shared.latest();
    if !is_ahead {
        // Else that is done when the node has started over from it.
        shared.snapshots.store().clear_sync_target()?;
    }
    Ok(is_ahead)
}

/// What was fetched: verified, and its chunks in the store.
pub(super) struct Fetched {
    pub(super) picture: Picture,
    pub(super) bytes: u64,
}

/// Fetches what `scope` takes of the newest snapshot that is trusted, as patches on an older one where there is one. Nothing, if
/// none can be had, or the node was told to stop.
///
/// # Errors
/// [`NodeError`] if the disk fails.
pub(super) async fn fetch(
    shared: &Arc<Shared>,
    trust: Trust,
    scope: Scope,
    before: Option<Picture>,
    stopping: watch::Receiver<bool>,
) -> Result<Option<Fetched>, NodeError> {
    let driver = Driver::new(Arc::clone(shared), trust, scope, before, stopping)?;
    let fetched = tokio::task::spawn_blocking(move || driver.run()).await;
    shared.set_sync(None);
    fetched.map_err(|_| NodeError::Died("the joiner"))?
}

/// A joiner, and all that carries out what it wants.
struct Driver {
    shared: Arc<Shared>,
    joiner: Joiner<Peer>,
    begun: Instant,
    inputs: Receiver<Input<Peer>>,
    say: Sender<Input<Peer>>,
    writer: Writer,
    stopping: watch::Receiver<bool>,
    tokio: tokio::runtime::Handle,
    /// Peers whose offers it was told.
    told: BTreeSet<Peer>,
    /// Whether a restart is to go on with what is fetched.
    keeps_target: bool,
    /// What is fetched, and since when.
    target: ManifestId,
    fetching: Instant,
}

impl Driver {
    fn new(
        shared: Arc<Shared>,
        trust: Trust,
        scope: Scope,
        before: Option<Picture>,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, NodeError> {
        let store = shared.snapshots.store().clone();
        let Trust {
            validators: trusted,
            height_min,
        } = trust;
        // The target of a sync that was cut short is believed no more than a peer's.
        let resume = store
            .read_sync_target()?
            .and_then(|m| m.verify(&shared.chain, &trusted).ok())
            .filter(|m| m.height() >= height_min)
            .map(Arc::new);
        if let Some(target) = &resume {
            tracing::info!(height = %target.height(), "going on with the snapshot that was being fetched");
        }
        // What is kept in parts is whole until the newer one is; of the snapshot that is fetched a crash loses little then.
        let keeps_target = scope == Scope::Whole || before.is_none();
        let config = Config {
            scope,
            offer_window_ms: OFFER_WINDOW_MS,
            // Of the first blocks. Should it have been changed, that several peers have a snapshot speaks for it.
            snapshot_interval: shared.genesis.parameters.snapshot_interval,
            ..Config::new(shared.chain, trusted, height_min)
        };
        let (say, inputs) = channel();
        let joiner = Joiner::new(config, 0, store.chunk_ids(), resume, before);
        Ok(Self {
            joiner: joiner.shunning(shared.snapshots.liars.all()),
            begun: Instant::now(),
            inputs,
            say,
            writer: Writer::start(&store)?,
            stopping,
            tokio: tokio::runtime::Handle::current(),
            told: BTreeSet::new(),
            target: ManifestId::default(),
            keeps_target,
            fetching: Instant::now(),
            shared,
        })
    }

    fn run(mut self) -> Result<Option<Fetched>, NodeError> {
        let mut ticked = Instant::now();
        loop {
            if *self.stopping.borrow() {
                return Ok(None);
            }
            let due = TICK_EVERY.saturating_sub(ticked.elapsed());
            let input = match self.inputs.recv_timeout(due) {
                // However much there is to hear, time passes.
                Ok(input) if due.is_zero() => {
                    let _ = self.say.send(input);
                    ticked = Instant::now();
                    self.tell_offers();
                    Input::Tick
                }
                Ok(input) => input,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    ticked = Instant::now();
                    self.tell_offers();
                    Input::Tick
                }
            };
            if self.writer.has_failed() {
                self.writer.finish()?;
                return Err(NodeError::Died("the writer of chunks"));
            }
            let now_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            for output in self.joiner.handle(now_ms, input) {
                match output {
                    Output::Done { tree, manifest } => {
                        return self.done(Picture { manifest, tree }).map(Some);
                    }
                    Output::GaveUp(why) => {
                        tracing::warn!(%why, "no snapshot can be had");
                        self.writer.finish()?;
                        self.shared.snapshots.store().clear_sync_target()?;
                        return Ok(None);
                    }
                    other => self.carry_out(other)?,
                }
            }
        }
    }

    /// Says what each peer offers, and who is gone.
    fn tell_offers(&mut self) {
        let heard = self.shared.heard();
        let now: BTreeSet<Peer> = heard.iter().map(|(peer, _)| *peer).collect();
        let gone: Vec<Peer> = self.told.difference(&now).copied().collect();
        for peer in gone {
            let _ = self.say.send(Input::Gone { peer });
        }
        self.told = now;
        for (peer, status) in heard {
            let offers = status.snapshots.iter().map(|s| Offer {
                height: s.height,
                manifest: ManifestId(s.manifest),
            });
            let offers = offers.collect();
            let _ = self.say.send(Input::Offers { peer, offers });
        }
    }

    fn carry_out(&mut self, output: Output<Peer>) -> Result<(), NodeError> {
        let store = self.shared.snapshots.store();
        match output {
            Output::AskManifest { peer, id } => self.ask_manifest(peer, id),
            Output::AskChunk { peer, chunk } => self.ask_chunk(peer, chunk),
            Output::Read { chunk } => {
                let (id, chunk) = (chunk.id(), self.read(&chunk));
                self.shared.snapshots.report_damage();
                let _ = self.say.send(Input::Stored { id, chunk });
            }
            Output::Store { chunk, bytes } => {
                // The joiner itself may be done by now. A thread that has ended is noticed before the next input.
                let target = self.target;
                let _ = self.writer.chunks.send(Put {
                    target,
                    chunk,
                    bytes,
                });
            }
            Output::Target(manifest) => {
                (self.target, self.fetching) = (manifest.id(), Instant::now());
                tracing::info!(
                    height = %manifest.height(), root = %manifest.root(),
                    chunks = manifest.chunks().len(), bytes = manifest.totals().bytes,
                    "fetching this snapshot"
                );
                if self.keeps_target {
                    store.set_sync_target(&manifest)?;
                }
            }
            Output::Ban { peer, lie } => self.ban(peer, &lie),
            Output::Progress(progress) => self.shared.set_sync(Some(told(&progress))),
            Output::Done { .. } | Output::GaveUp(_) => {}
        }
        Ok(())
    }

    fn ban(&self, peer: Peer, lie: &Lie) {
        tracing::warn!(%peer, %lie, "a peer has lied about a snapshot and is not asked again");
        self.shared.snapshots.liars.add(peer);
        self.shared.network.penalize(peer, p2p::Fault::WrongContent);
    }

    /// Reads a chunk of the target from the store.
    fn read(&self, chunk: &ChunkRef) -> Option<Result<VerifiedChunk, ChunkError>> {
        let store = self.shared.snapshots.store();
        match store.load_chunk(self.joiner.target()?, chunk) {
            Ok(chunk) => Some(Ok(chunk)),
            Err(StoreError::Chunk(error)) => Some(Err(error)),
            Err(_) => None,
        }
    }

    /// Waits until all of it is on disk.
    fn done(self, picture: Picture) -> Result<Fetched, NodeError> {
        let verified_ms = self.fetching.elapsed().as_millis();
        let bytes = self.writer.finish()?;
        let manifest = &picture.manifest;
        tracing::info!(
            height = %manifest.height(), root = %manifest.root(), fetched_bytes = bytes,
            entries = picture.tree.totals().entries, verified_ms, fetch_ms = self.fetching.elapsed().as_millis(),
            "the snapshot is here, verified and on disk"
        );
        Ok(Fetched { picture, bytes })
    }
}

/// Makes a state that was fetched this node's own.
fn adopt(shared: &Shared, fetched: Fetched) -> Result<Joined, NodeError> {
    let Fetched { picture, bytes } = fetched;
    let Picture { manifest, tree } = &picture;
    let snapshots = &shared.snapshots;
    let store = snapshots.store();
    let state = State::from_tree(manifest.height(), tree.clone())
        .map_err(|e| NodeError::Sync(e.to_string()))?;
    let certified = manifest.certified();
    let chunk_bytes_max = state.parameters().chunk_bytes_max;
    if manifest.chunk_bytes_max() == chunk_bytes_max {
        store.put_manifest(manifest)?;
        snapshots.note_written(manifest, bytes);
        snapshots.set_last(picture);
    } else {
        // The same state under another cut than the chain's: true, and of no use to others.
        let (header, validators) = (certified.clone(), manifest.validators().clone());
        write_snapshot(store, tree, header, validators, chunk_bytes_max, None)?;
    }
    Ok(Joined { state, certified })
}

fn told(progress: &Progress) -> SyncProgress {
    SyncProgress {
        mode: "snapshot",
        height: progress.height,
        chunks_done: progress.chunks_done,
        chunks_total: progress.chunks_total,
        bytes_done: progress.done.bytes,
        bytes_total: progress.total.bytes,
        bytes_per_second: 0,
        seconds_left: None,
        peers: usize::try_from(progress.peers).unwrap_or(usize::MAX),
    }
}

impl Shared {
    /// How far the sync is, told to those who listen.
    pub(super) fn set_sync(&self, progress: Option<SyncProgress>) {
        let now = Instant::now();
        let mut sync = self.sync();
        *sync = progress.map(|progress| Syncing::new(sync.take(), progress, now));
        if let Some(syncing) = &*sync {
            let _ = self.events.send(Event::Sync(syncing.told(now)));
        }
    }
}

/// The offers of a node, for its peers.
pub(super) fn offers(store: &Store) -> Vec<p2p::SnapshotOffer> {
    store
        .manifests()
        .iter()
        .take(p2p::SNAPSHOTS_OFFERED_MAX)
        .map(|m| p2p::SnapshotOffer {
            height: m.height(),
            manifest: m.id().0,
            root: m.root(),
            bytes: m.totals().bytes,
            chunks: u32::try_from(m.chunks().len()).unwrap_or(u32::MAX),
        })
        .collect()
}
