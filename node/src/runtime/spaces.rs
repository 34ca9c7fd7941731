//! A node that follows only some spaces: their records, proven complete, of each snapshot that its peers take.
//!
//! It executes nothing and keeps no blocks. From one snapshot to the next it fetches what changed in the chunks that hold its spaces,
//! verified like any joiner's ([`join`]), and answers with proofs against the roots that certificates are over, as every node
//! does: whoever asks need not believe that it has them all. What it does not hold it never takes for absent.

use super::{NodeError, join, join::Fetched, join::trust::Trust, readers::Readers, shared::Shared};
use crate::{
    config::{Config, Sync as SyncConfig},
    event::Event,
    handle::{NotHere, SnapshotInfo},
};
use ::snapshot::{
    manifest::{ChunkRef, Manifest, Picture},
    scope::Scope,
    store::KeptParts,
};
use ledger::{
    genesis::Genesis,
    keys::PublicKey,
    light::{LightBlock, records_range},
    state::{
        View,
        entries::{Key, Space, ValidatorSets},
        tree::{Part, PartialTree},
    },
    units::Height,
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How often it looks whether a newer snapshot is offered.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After so long without any snapshot it says that it waits for one.
const QUIET: Duration = Duration::from_secs(5);
/// How long it waits after a snapshot that was offered could not be had.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// What is followed, and what of it is here.
pub(super) struct Spaces {
    names: Vec<String>,
    scope: Scope,
    /// So many of the newest stay in memory.
    keep: usize,
    held: Mutex<VecDeque<Held>>,
    /// Older ones that are still read.
    readers: Mutex<Readers<Held>>,
    /// Whether a snapshot was offered that could not be had.
    stuck: AtomicBool,
}

/// What is held of the state at one height.
#[derive(Clone)]
struct Held {
    picture: Picture,
    view: View,
}

impl Spaces {
    /// Those that a node is configured to follow; none if it follows the whole chain. `own` is the height of the state in its folder.
    ///
    /// # Errors
    /// [`NodeError::Spaces`] if it needs, or has, the whole chain.
    pub(super) fn of_config(
        config: &Config,
        genesis: &Genesis,
        key: &PublicKey,
        own: Option<Height>,
    ) -> Result<Option<Self>, NodeError> {
        if config.sync.spaces.is_empty() {
            return Ok(None);
        }
        if genesis.validators.iter().any(|v| v.public_key == *key) {
            let why = "it is a validator, which needs the whole state; leave `spaces` out";
            return Err(NodeError::Spaces(why.into()));
        }
        if let Some(height) = own {
            let why = format!("its folder has the whole chain up to height {height}; use another");
            return Err(NodeError::Spaces(why));
        }
        let keep = usize::try_from(config.snapshots.keep).unwrap_or(usize::MAX);
        Ok(Some(Self::new(config.sync.spaces.clone(), keep)))
    }

    fn new(names: Vec<String>, keep: usize) -> Self {
        let ranges = names.iter().filter_map(|name| records_range(name, None));
        let spaces = names.iter().map(|name| Key::Space(name.clone()));
        // What every state has, so that this one too can say who votes and what the limits are.
        let always = [Key::Parameters, Key::Validators];
        let scope = Scope::Around {
            ranges: ranges.collect(),
            places: spaces.chain(always).map(|key| key.place()).collect(),
        };
        Self {
            names,
            scope,
            keep,
            held: Mutex::default(),
            readers: Mutex::default(),
            stuck: AtomicBool::new(false),
        }
    }

    /// The names of the spaces.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The newest snapshot of which they are here.
    pub(super) fn newest(&self) -> Option<Picture> {
        self.held().back().map(|held| held.picture.clone())
    }

    /// Whether the last snapshot that was offered could be had.
    pub(super) fn is_moving(&self) -> bool {
        !self.stuck.load(Ordering::Relaxed)
    }

    /// What is held of the state at a height, or the newest.
    pub(super) fn view(&self, height: Option<Height>) -> Result<View, NotHere> {
        Ok(self.at(height)?.view)
    }

    /// The block after which a snapshot was taken, with all that a light client needs.
    pub(super) fn light_block(&self, height: Option<Height>) -> Result<LightBlock, NotHere> {
        let manifest = self.at(height)?.picture.manifest;
        let validators = manifest.validators().clone();
        Ok(LightBlock::new(manifest.certified(), validators))
    }

    fn at(&self, height: Option<Height>) -> Result<Held, NotHere> {
        let held = self.held();
        let (Some(first), Some(newest)) = (held.front(), held.back()) else {
            return Err(NotHere::NotReady("it is fetching its spaces".into()));
        };
        let (earliest, latest) = (first.view.height(), newest.view.height());
        let asked = height.unwrap_or(latest);
        let found = held.iter().find(|held| held.view.height() == asked);
        let readers = self.readers();
        match found.or_else(|| readers.get(asked)) {
            Some(found) => Ok(found.clone()),
            None if asked > latest => Err(NotHere::Future { asked, latest }),
            None if asked < earliest => Err(NotHere::StateGone { earliest }),
            None => Err(NotHere::FollowsSpaces),
        }
    }

    fn put(&self, picture: Picture) -> Result<(), NodeError> {
        let Picture { manifest, tree } = &picture;
        let parts: Vec<Part> = manifest.chunks().iter().map(ChunkRef::part).collect();
        let tree = PartialTree::new(parts, tree).map_err(|e| NodeError::Sync(e.to_string()))?;
        let view = View::new(manifest.height(), tree);
        let (mut held, mut readers, now) = (self.held(), self.readers(), Instant::now());
        held.push_back(Held { picture, view });
        let mut old = readers.let_go(now);
        while held.len() > self.keep.max(1)
            && let Some(oldest) = held.pop_front()
        {
            old.extend(readers.keep(oldest.view.height(), oldest, now));
        }
        // They go with the locks free.
        drop((held, readers));
        drop(old);
        Ok(())
    }

    /// Somebody has read a page of this height and will ask for more.
    pub(super) fn reads_on(&self, height: Height, now: Instant) {
        if self.at(Some(height)).is_ok() {
            self.readers().read(height, now);
        }
    }

    fn readers(&self) -> MutexGuard<'_, Readers<Held>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, VecDeque<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the spaces until the node is told to stop.
///
/// # Errors
/// [`NodeError`] if the disk fails, or the block that the operator trusts cannot be had.
pub(super) async fn follow(
    shared: &Arc<Shared>,
    spaces: &Spaces,
    sync: &SyncConfig,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), NodeError> {
    tracing::info!(spaces = ?spaces.names, "following these spaces");
    let store = shared.snapshots.store();
    // Whose validators are believed: of what was held last, also if it is not all there, or another space is wanted now.
    let mut last = take_up(shared, spaces)?;
    loop {
        let newest = spaces.newest();
        let height_min = match (&newest, &last) {
            (Some(newest), _) => newest.manifest.height().next(),
            (None, Some(last)) => last.height(),
            (None, None) => Height(1),
        };
        tokio::select! {
            () = offered(shared, height_min, newest.is_none()) => {}
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        }
        // A newer block that the operator trusts counts more: the validators may have changed too much since.
        let checkpoint = sync.trust.filter(|block| block.height >= height_min);
        let trust = match &last {
            Some(last) if checkpoint.is_none() => Some(Trust {
                validators: last.validators().clone(),
                height_min,
            }),
            _ => join::trust::trust(shared, sync.trust, stopping.clone()).await?,
        };
        let Some(trust) = trust else {
            return Ok(());
        };
        let scope = spaces.scope.clone();
        let fetched = join::fetch(shared, trust, scope, newest, stopping.clone()).await?;
        spaces.stuck.store(fetched.is_none(), Ordering::Relaxed);
        if let Some(fetched) = fetched {
            last = Some(Arc::clone(&fetched.picture.manifest));
            adopt(shared, spaces, fetched)?;
            continue;
        }
        // What came of it is fetched again if it is wanted again.
        store.sweep()?;
        tokio::select! {
            () = tokio::time::sleep(AFTER_FAILURE) => {}
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        }
    }
}

/// Waits until a peer has a snapshot of that height or a later one, and may say that none has.
async fn offered(shared: &Shared, height_min: Height, says_so: bool) {
    let begun = Instant::now();
    let mut is_quiet = says_so;
    let is_newer = |peer: &join::Having| peer.snapshot >= Some(height_min);
    while !shared.heard_of().iter().any(is_newer) {
        if is_quiet && begun.elapsed() >= QUIET {
            is_quiet = false;
            tracing::warn!(
                "no peer has a snapshot from height {height_min} on: the spaces come with the next one \
                 (`tintype snapshot take` takes one now)"
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Takes up what the folder has of the spaces, and says of which snapshot that is.
fn take_up(shared: &Shared, spaces: &Spaces) -> Result<Option<Arc<Manifest>>, NodeError> {
    let store = shared.snapshots.store();
    let Some(KeptParts { manifest, tree }) = store.load_parts(&spaces.scope)? else {
        return Ok(None);
    };
    if manifest.header().chain != shared.chain {
        tracing::warn!("the spaces in this folder are of another chain: fetching this one's");
        store.clear_parts()?;
        store.sweep()?;
        return Ok(None);
    }
    if let Some(tree) = tree {
        tracing::info!(height = %manifest.height(), entries = tree.totals().entries, "the spaces as they were when this node ended");
        let manifest = Arc::clone(&manifest);
        spaces.put(Picture { manifest, tree })?;
    }
    Ok(Some(manifest))
}

/// Keeps what was fetched, and shows it.
fn adopt(shared: &Shared, spaces: &Spaces, fetched: Fetched) -> Result<(), NodeError> {
    let Fetched { picture, bytes } = fetched;
    let manifest = Arc::clone(&picture.manifest);
    shared
        .snapshots
        .store()
        .put_parts(&manifest, &spaces.scope)?;
    spaces.put(picture)?;
    let view = spaces.view(None).ok();
    let is_first = spaces.held().len() == 1;
    for name in spaces.names().iter().filter(|_| is_first) {
        let space = view.as_ref().map(|view| view.entry::<Space>(name));
        if let Some(Ok(None)) = space {
            tracing::warn!(name, height = %manifest.height(), "there is no such space yet");
        }
    }
    let sets = view.and_then(|view| view.entry::<ValidatorSets>(&()).ok()?);
    if sets.is_some_and(|sets| sets.next.get(&shared.public_key.address()).is_some()) {
        tracing::warn!(
            "this node's key is a validator's, and who follows spaces does not vote: leave `spaces` out"
        );
    }
    let info = SnapshotInfo::of(&manifest, bytes);
    let _ = shared.events.send(Event::Snapshot(info));
    Ok(())
}
