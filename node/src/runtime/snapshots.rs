//! Taking snapshots while blocks go on, keeping the newest ones, and serving them.
//!
//! A picture of the state is a pointer, so the replica's thread only hands it over. One background thread writes; while
//! it is busy one more may wait, and what comes beyond is left out and counted: nothing ever waits for the disk here.
//!
//! What is kept follows from the configuration of this start and from what is on disk, and from nothing that was noted: so
//! at each start what an earlier configuration kept beyond it goes, and a chain may change its snapshot interval as it likes.
//!
//! What peers are fetching is leased ([`leases`]), so that it stays to the end although newer ones push it out.

mod leases;

use super::{background, join::Liars, reaper};
use crate::{
    event::Event,
    handle::{NotHere, SnapshotInfo},
};
use ::snapshot::{
    chunk::ChunkId,
    manifest::{Manifest, ManifestId, Picture},
    store::{Removed, Store, StoreError, write_snapshot},
};
use leases::Leases;
use ledger::{
    block::CertifiedHeader, hash::Hash, state::State, store::disk::write_atomic, units::Height,
};
use p2p::Peer;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::Instant,
};
use tokio::sync::broadcast;

/// A state of so many entries is not made anew from the genesis at every start until the first snapshot is due: that would
/// cost seconds each time.
const EARLY_ENTRIES_MIN: u64 = 100_000;

/// Of the thread that writes them, a ninth of an ordinary one's weight: woken otherwise by who hands a picture over, it took that one's
/// core for some milliseconds. Not more, so that it keeps up also where blocks take all there is.
const NICENESS: i32 = 10;

/// The snapshots of a node.
pub(super) struct Snapshots {
    store: Store,
    keep: usize,
    /// The last one written, loaded or fetched, in memory: the next is written as what changed since.
    last: Mutex<Option<Picture>>,
    jobs: SyncSender<Job>,
    /// What each one cost when it was written: the chunks alone do not tell once older snapshots are gone. Told only.
    written: Mutex<BTreeMap<Hash, u64>>,
    written_file: PathBuf,
    leases: Mutex<Leases<Holder>>,
    /// Who has lied about snapshots.
    pub(super) liars: Liars,
    events: broadcast::Sender<Event>,
    /// Whether one was asked for before its time.
    asked_early: AtomicBool,
    pub(super) skipped_total: AtomicU64,
    pub(super) taken_total: AtomicU64,
    /// The longest that a snapshot has held up the replica's thread, in microseconds.
    pub(super) pause_us_max: AtomicU64,
}

/// Who is fetching a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Peer(Peer),
    /// Whoever asks by HTTP.
    Client,
}

/// A state to be written, and who wants to know.
struct Job {
    state: State,
    certified: CertifiedHeader,
    answer: Option<SyncSender<Result<SnapshotInfo, String>>>,
}

impl Snapshots {
    /// Those of a store, and the thread that adds to them. It ends with the last pointer to what is returned.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start(
        store: Store,
        written_file: PathBuf,
        keep: usize,
        last: Option<Picture>,
        liars: Liars,
        events: broadcast::Sender<Event>,
    ) -> std::io::Result<Arc<Self>> {
        // A file that is gone or unreadable costs a figure, nothing else.
        let written = std::fs::read(&written_file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let (jobs, taken) = sync_channel(1);
        let snapshots = Arc::new(Self {
            store,
            keep,
            last: Mutex::new(last),
            jobs,
            written: Mutex::new(written),
            written_file,
            leases: Mutex::default(),
            liars,
            events,
            asked_early: AtomicBool::new(false),
            skipped_total: AtomicU64::new(0),
            taken_total: AtomicU64::new(0),
            pause_us_max: AtomicU64::new(0),
        });
        // Before anyone fetches or offers: `keep` may have been made smaller, and a sync or a write may have been given up.
        snapshots.retain();
        let weak = Arc::downgrade(&snapshots);
        std::thread::Builder::new()
            .name("snapshots".into())
            .spawn(move || work(&weak, &taken))?;
        Ok(snapshots)
    }

    /// The chunk store.
    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    /// The last snapshot, with its state.
    pub(super) fn last(&self) -> Option<Picture> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    /// From now on the next one is written as what changed since this.
    pub(super) fn set_last(&self, picture: Picture) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // The state that was held goes with the lock free.
        let before = last.replace(picture);
        drop(last);
        drop(before);
    }

    /// Whether to take one although none is due: there is none at all, and to start without one would cost much.
    pub(super) fn wants_first(&self, state: &State) -> bool {
        let is_large = state.tree().totals().entries >= EARLY_ENTRIES_MIN;
        // Once: if it fails, the next that is due is near enough.
        is_large
            && !self.asked_early.swap(true, Ordering::Relaxed)
            && self.store.manifests().is_empty()
    }

    /// Takes a snapshot in the background. `certified` is the header of the state's height.
    pub(super) fn take(&self, state: State, certified: CertifiedHeader) {
        let height = state.height();
        let answer = None;
        if self
            .jobs
            .try_send(Job {
                state,
                certified,
                answer,
            })
            .is_err()
        {
            self.skipped_total.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%height, "a snapshot is left out: the disk has not finished those before");
        }
    }

    /// Takes a snapshot, and returns when it is whole on disk.
    pub(super) fn take_now(
        &self,
        state: State,
        certified: CertifiedHeader,
    ) -> Result<SnapshotInfo, NotHere> {
        let (answer, taken) = sync_channel(1);
        let job = Job {
            state,
            certified,
            answer: Some(answer),
        };
        let failed = |why: &str| NotHere::Failed(why.to_owned());
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(failed("others are waiting to be written")),
            Err(TrySendError::Disconnected(_)) => return Err(failed("the node is stopping")),
        }
        taken
            .recv()
            .map_err(|_| failed("the node is stopping"))?
            .map_err(NotHere::Failed)
    }

    /// All of them, newest first.
    pub(super) fn list(&self) -> Vec<SnapshotInfo> {
        let manifests = self.store.manifests();
        manifests.iter().map(|m| self.info(m)).collect()
    }

    /// The newest.
    pub(super) fn newest(&self) -> Option<SnapshotInfo> {
        self.store.manifests().first().map(|m| self.info(m))
    }

    fn info(&self, manifest: &Manifest) -> SnapshotInfo {
        let written = self.written().get(&manifest.id().0).copied();
        let new_bytes = written.unwrap_or_else(|| self.store.new_bytes(manifest));
        SnapshotInfo::of(manifest, new_bytes)
    }

    /// The manifest of a height, encoded.
    pub(super) fn manifest_at(&self, height: Height) -> Result<Vec<u8>, NotHere> {
        Ok(self.fetched_by_client(height)?.encode())
    }

    /// A chunk of the snapshot of a height, whole.
    pub(super) fn chunk_at(&self, height: Height, id: ChunkId) -> Result<Vec<u8>, NotHere> {
        let manifest = self.fetched_by_client(height)?;
        let none = || NotHere::Unknown(format!("chunk {id} in the snapshot at height {height}"));
        let chunk = manifest.chunk(&id).ok_or_else(none)?;
        let read = self.store.chunk_for_peer(&manifest, chunk, None);
        read.map_err(|error| {
            self.report_damage();
            NotHere::Failed(error.to_string())
        })
    }

    fn fetched_by_client(&self, height: Height) -> Result<Arc<Manifest>, NotHere> {
        let manifests = self.store.manifests();
        let found = manifests.into_iter().find(|m| m.height() == height);
        let none = || NotHere::Unknown(format!("a snapshot at height {height}"));
        let manifest = found.ok_or_else(none)?;
        let now = Instant::now();
        self.leases().take(Holder::Client, manifest.id(), now);
        Ok(manifest)
    }

    /// A manifest for a peer, encoded.
    pub(super) fn manifest_for_peer(&self, peer: Peer, id: ManifestId) -> Option<Vec<u8>> {
        let manifest = self.store.read_manifest(&id).ok()?;
        self.leases().take(Holder::Peer(peer), id, Instant::now());
        Some(manifest.encode())
    }

    /// A chunk for a peer, as a patch on `base` if it has that.
    pub(super) fn chunk_for_peer(
        &self,
        peer: Peer,
        id: ChunkId,
        base: Option<ChunkId>,
    ) -> Option<Vec<u8>> {
        let manifest = self.fetched_by(&peer, &id)?;
        let holder = Holder::Peer(peer);
        self.leases().take(holder, manifest.id(), Instant::now());
        let chunk = manifest.chunk(&id)?;
        match self.store.chunk_for_peer(&manifest, chunk, base) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                tracing::error!(%error, "a chunk for a peer cannot be read");
                self.report_damage();
                None
            }
        }
    }

    /// Whoever asks for a chunk is fetching a snapshot that has it: the one it asked for last, or else the newest.
    fn fetched_by(&self, peer: &Peer, id: &ChunkId) -> Option<Arc<Manifest>> {
        let manifests = self.store.manifests();
        let last = self.leases().of(&Holder::Peer(*peer));
        let mut having = manifests.iter().filter(|m| m.chunk(id).is_some());
        let fetched = having.clone().find(|m| Some(m.id()) == last);
        fetched.or_else(|| having.next()).cloned()
    }

    fn write(&self, state: &State, certified: CertifiedHeader) -> Result<SnapshotInfo, StoreError> {
        let height = state.height();
        let manifests = self.store.manifests();
        if let Some(known) = manifests.iter().find(|m| m.height() == height) {
            return Ok(self.info(known));
        }
        let begun = Instant::now();
        let report = write_snapshot(
            &self.store,
            state.tree(),
            certified,
            state.validators().current.clone(),
            state.parameters().chunk_bytes_max,
            self.last().as_ref(),
        )?;
        let manifest = self.store.read_manifest(&report.manifest)?;
        self.set_last(Picture {
            manifest: Arc::clone(&manifest),
            tree: state.tree().clone(),
        });
        self.note_written(&manifest, report.new_bytes);
        self.retain();
        let info = self.info(&manifest);
        self.taken_total.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            %height, root = %info.root, entries = info.entries, chunks = info.chunks,
            new_bytes = info.new_bytes, elapsed_ms = begun.elapsed().as_millis(),
            "took a snapshot"
        );
        Ok(info)
    }

    /// Remembers what a snapshot cost.
    pub(super) fn note_written(&self, manifest: &Manifest, new_bytes: u64) {
        let kept: BTreeSet<Hash> = self.store.manifests().iter().map(|m| m.id().0).collect();
        let bytes = {
            let mut written = self.written();
            written.insert(manifest.id().0, new_bytes);
            written.retain(|id, _| kept.contains(id));
            serde_json::to_vec(&*written).unwrap_or_default()
        };
        if let Err(error) = write_atomic(&self.written_file, &bytes) {
            tracing::warn!(%error, "what the snapshot cost is not noted");
        }
    }

    fn retain(&self) {
        let leased = self.leases().held(Instant::now());
        match self.store.retain(self.keep, &leased) {
            Ok(removed) if removed == Removed::default() => {}
            Ok(Removed { manifests, chunks }) => {
                tracing::debug!(
                    manifests,
                    chunks,
                    "removed snapshots that are not kept any more"
                );
            }
            Err(error) => tracing::error!(%error, "old snapshots are not removed"),
        }
    }

    /// Says what was found damaged on disk.
    pub(super) fn report_damage(&self) {
        for what in self.store.take_damage() {
            tracing::error!(what, "the snapshots on disk are damaged");
        }
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<Hash, u64>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> MutexGuard<'_, Leases<Holder>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(snapshots: &std::sync::Weak<Snapshots>, jobs: &Receiver<Job>) {
    // What changed since the last snapshot is freed here, when the next is whole.
    reaper::alone();
    background::step_back(NICENESS);
    loop {
        // What was kept for a peer alone goes when that is done, also if no new one comes.
        let lease = snapshots
            .upgrade()
            .and_then(|snapshots| snapshots.leases().end_in(Instant::now()));
        let job = match lease {
            Some(rest) => jobs.recv_timeout(rest),
            None => jobs.recv().map_err(RecvTimeoutError::from),
        };
        let Some(snapshots) = snapshots.upgrade() else {
            return;
        };
        let job = match job {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => {
                snapshots.retain();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let written = snapshots.write(&job.state, job.certified);
        snapshots.report_damage();
        match &written {
            Ok(info) => {
                let _ = snapshots.events.send(Event::Snapshot(*info));
            }
            Err(error) => {
                let height = job.state.height();
                tracing::error!(%height, %error, "a snapshot could not be taken");
            }
        }
        if let Some(answer) = job.answer {
            let _ = answer.send(written.map_err(|e| e.to_string()));
        }
    }
}
