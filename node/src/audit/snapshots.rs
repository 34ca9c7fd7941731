//! The kept snapshots that an audit may stand on: those whose certificates convince who trusts the genesis.

use ledger::{
    block::Header,
    hash::{BlockHash, ChainId},
    state::State,
    units::Height,
    validators::ValidatorSet,
};
use snapshot::{
    manifest::{Manifest, UntrustedManifest},
    store::{Inspector, StoreError},
};
use std::{collections::BTreeMap, path::Path};

/// Verified manifests, and the folder with their chunks.
pub(super) struct Snapshots {
    inspector: Inspector,
    manifests: BTreeMap<Height, Manifest>,
    genesis_set: ValidatorSet,
    /// Whether one was still being fetched when the manifests had been read.
    pub(super) is_syncing: bool,
    /// Snapshots that were not used, and why.
    pub(super) unused: Vec<String>,
}

impl Snapshots {
    /// Reads and verifies the manifests of a folder; nothing in it is changed.
    pub(super) fn look(
        dir: &Path,
        chain: ChainId,
        genesis_set: &ValidatorSet,
    ) -> Result<Self, StoreError> {
        let inspector = Inspector::new(dir);
        let kept = inspector.manifests()?;
        let mut snapshots = Self {
            is_syncing: inspector.is_syncing(),
            inspector,
            manifests: BTreeMap::new(),
            genesis_set: genesis_set.clone(),
            unused: kept.unreadable,
        };
        // Lowest first: each is believed by the genesis's validators, or by those of one that is believed already.
        for manifest in kept.manifests {
            let height = manifest.height_claimed();
            match snapshots.verify(&manifest, &chain) {
                Ok(manifest) => {
                    snapshots.manifests.insert(height, manifest);
                }
                Err(why) => snapshots.not_used(height, &why),
            }
        }
        Ok(snapshots)
    }

    fn verify(&self, manifest: &UntrustedManifest, chain: &ChainId) -> Result<Manifest, String> {
        // The nearest set first: it has most in common.
        let newest_first = self.known_sets().into_iter().rev();
        let mut first_error = None;
        for set in newest_first {
            match manifest.clone().verify(chain, &set) {
                Ok(manifest) => return Ok(manifest),
                Err(error) => first_error = first_error.or(Some(error.to_string())),
            }
        }
        Err(first_error.unwrap_or_default())
    }

    fn not_used(&mut self, height: Height, why: &str) {
        let what = format!("the snapshot at height {height} was not used: {why}");
        self.unused.push(what);
    }

    /// The validator sets that are known without any state: the genesis's, and the snapshots' in order.
    pub(super) fn known_sets(&self) -> Vec<ValidatorSet> {
        let of_snapshots = self.manifests.values().map(|m| m.validators().clone());
        std::iter::once(self.genesis_set.clone())
            .chain(of_snapshots)
            .collect()
    }

    /// The block that a quorum signed at a snapshot's height.
    pub(super) fn block_at(&self, height: Height) -> Option<BlockHash> {
        self.manifests.get(&height).map(Manifest::block)
    }

    /// The height of the newest.
    pub(super) fn newest(&self) -> Option<Height> {
        self.manifests.keys().next_back().copied()
    }

    /// The state after a height, if a snapshot of it is there whole.
    pub(super) fn load(&mut self, height: Height) -> Option<(Header, State)> {
        let manifest = self.manifests.get(&height)?;
        let loaded = self
            .inspector
            .load(manifest)
            .map_err(|e| e.to_string())
            .and_then(|tree| State::from_tree(height, tree).map_err(|e| e.to_string()))
            .and_then(|state| {
                // Verified chunks of a verified manifest give no other root: an error of ours, then.
                let (found, expected) = (state.root(), manifest.root());
                let wrong = || format!("its chunks give root {found}, not {expected}");
                (found == expected).then_some(state).ok_or_else(wrong)
            });
        let header = manifest.header().clone();
        match loaded {
            Ok(state) => Some((header, state)),
            Err(why) => {
                self.not_used(height, &why);
                None
            }
        }
    }
}
