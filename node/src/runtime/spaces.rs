//! A node that follows only some spaces: their records, proven complete, of each snapshot that its peers take.
//!
//! It executes nothing and keeps no blocks. From one snapshot to the next it fetches what changed in the chunks that hold its spaces,
//! verified like any joiner's ([`join`]), and answers with proofs against the roots that certificates are over, as every node
//! does: whoever asks need not believe that it has them all. What it does not hold it never takes for absent.

use super::{NodeError, join, join::Fetched, join::trust::Trust, shared::Shared};
use crate::{
    config::{Config, Sync as SyncConfig},
    event::Event,
    handle::{NotHere, SnapshotInfo},
};
use ::snapshot::{
    manifest::{ChunkRef, Picture},
    scope::Scope,
};
use ledger::{
    genesis::Genesis,
    keys::PublicKey,
    light::{LightBlock, records_range},
    state::{
        View,
        entries::Key,
        tree::{Part, PartialTree},
    },
    units::Height,
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// How often it looks whether a newer snapshot is offered.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is followed, and what of it is here.
pub(super) struct Spaces {
    names: Vec<String>,
    scope: Scope,
    /// So many of the newest stay in memory.
    keep: usize,
    held: Mutex<VecDeque<Held>>,
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

    /// What is held of the state at a height, or the newest.
    pub(super) fn view(&self, height: Option<Height>) -> Result<View, NotHere> {
        let held = self.held();
        let (Some(first), Some(newest)) = (held.front(), held.back()) else {
            return Err(NotHere::NotReady("it is fetching its spaces".into()));
        };
        let (earliest, latest) = (first.view.height(), newest.view.height());
        let asked = height.unwrap_or(latest);
        let found = held.iter().find(|held| held.view.height() == asked);
        match found {
            Some(found) => Ok(found.view.clone()),
            None if asked > latest => Err(NotHere::Future { asked, latest }),
            None if asked < earliest => Err(NotHere::Pruned { earliest }),
            None => Err(NotHere::Unknown(format!(
                "the state at height {asked}, where there was no snapshot,"
            ))),
        }
    }

    /// The block after which a snapshot was taken, with all that a light client needs.
    pub(super) fn light_block(&self, height: Option<Height>) -> Result<LightBlock, NotHere> {
        let height = self.view(height)?.height();
        let held = self.held();
        let found = held.iter().find(|held| held.view.height() == height);
        let manifest = found.map(|held| &held.picture.manifest);
        let gone = || NotHere::Pruned { earliest: height };
        let manifest = manifest.ok_or_else(gone)?;
        let validators = manifest.validators().clone();
        Ok(LightBlock::new(manifest.certified(), validators))
    }

    fn put(&self, picture: Picture) -> Result<(), NodeError> {
        let Picture { manifest, tree } = &picture;
        let parts: Vec<Part> = manifest.chunks().iter().map(ChunkRef::part).collect();
        let tree = PartialTree::new(parts, tree).map_err(|e| NodeError::Sync(e.to_string()))?;
        let view = View::new(manifest.height(), tree);
        let mut held = self.held();
        held.push_back(Held { picture, view });
        while held.len() > self.keep.max(1) {
            held.pop_front();
        }
        Ok(())
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
    if let Some((manifest, tree)) = store.load_parts(&spaces.scope)? {
        tracing::info!(height = %manifest.height(), entries = tree.totals().entries, "the spaces as they were when this node ended");
        spaces.put(Picture { manifest, tree })?;
    }
    loop {
        let newest = spaces.newest();
        let height_min = newest
            .as_ref()
            .map_or(Height(1), |p| p.manifest.height().next());
        let offered = async {
            while !shared
                .heard_of()
                .iter()
                .any(|peer| peer.snapshot >= Some(height_min))
            {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            () = offered => {}
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        }
        let trust = match &newest {
            Some(newest) => Some(Trust {
                validators: newest.manifest.validators().clone(),
                height_min,
            }),
            None => join::trust::trust(shared, sync.trust, stopping.clone()).await?,
        };
        let Some(trust) = trust else {
            return Ok(());
        };
        let scope = spaces.scope.clone();
        let fetched = join::fetch(shared, trust, scope, newest, stopping.clone()).await?;
        if let Some(fetched) = fetched {
            adopt(shared, spaces, fetched)?;
        }
    }
}

fn adopt(shared: &Shared, spaces: &Spaces, fetched: Fetched) -> Result<(), NodeError> {
    let Fetched { picture, bytes } = fetched;
    let manifest = Arc::clone(&picture.manifest);
    shared
        .snapshots
        .store()
        .put_parts(&manifest, &spaces.scope)?;
    spaces.put(picture)?;
    let _ = shared.events.send(Event::Snapshot(SnapshotInfo {
        height: manifest.height(),
        root: manifest.root(),
        manifest: manifest.id().0,
        entries: manifest.totals().entries,
        chunks: manifest.chunks().len() as u64,
        bytes: manifest.totals().bytes,
        new_bytes: bytes,
    }));
    Ok(())
}
