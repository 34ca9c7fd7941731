//! Peers that were proven to lie about a snapshot, kept as long as the process lives: a joiner lasts for one snapshot, and the next
//! one shall not ask them again.

use ::snapshot::sync::REMEMBERED_MAX;
use p2p::Peer;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The liars. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(in crate::runtime) struct Liars(Arc<Mutex<BTreeSet<Peer>>>);

impl Liars {
    /// Adds one. Of too many some are forgotten, who must lie anew to be known.
    pub(super) fn add(&self, peer: Peer) {
        let mut liars = self.lock();
        if liars.len() >= REMEMBERED_MAX && !liars.contains(&peer) {
            liars.pop_first();
        }
        liars.insert(peer);
    }

    pub(super) fn all(&self) -> BTreeSet<Peer> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
