//! What peers last said of themselves.

use super::{Shared, join, lock};
use ledger::{block::CertifiedHeader, units::Height};
use p2p::Peer;
use std::{collections::BTreeSet, sync::Arc};

/// What a peer last said of itself.
pub(super) struct Head {
    status: Arc<p2p::Status>,
    /// Its height, if the certificate it showed holds under a validator set that is known here.
    certified: Option<Height>,
}

impl Shared {
    /// A peer has said what it has.
    pub(in crate::runtime) fn hear(
        &self,
        peer: Peer,
        status: p2p::Status,
        head: Option<&CertifiedHeader>,
    ) {
        let certified = head
            .filter(|h| self.is_certified(h))
            .map(|h| h.header.height);
        let status = Arc::new(status);
        lock(&self.heads).insert(peer, Head { status, certified });
    }

    /// A peer is gone.
    pub(in crate::runtime) fn forget(&self, peer: &Peer) {
        lock(&self.heads).remove(peer);
    }

    /// Forgets whoever is not connected: an answer may come in after its peer has gone.
    pub(in crate::runtime) fn keep_heads_of(&self, connected: &BTreeSet<Peer>) {
        lock(&self.heads).retain(|peer, _| connected.contains(peer));
    }

    /// What peers last said of themselves.
    pub(in crate::runtime) fn heard(&self) -> Vec<(Peer, Arc<p2p::Status>)> {
        let heads = lock(&self.heads);
        heads
            .iter()
            .map(|(peer, head)| (*peer, Arc::clone(&head.status)))
            .collect()
    }

    /// How many peers have said what they have, and how many of these offer snapshots.
    pub(in crate::runtime) fn offering(&self) -> (usize, usize) {
        let heads = lock(&self.heads);
        let offers = |head: &&Head| !head.status.snapshots.is_empty();
        (heads.len(), heads.values().filter(offers).count())
    }

    /// What each peer says it has.
    pub(in crate::runtime) fn heard_of(&self) -> Vec<join::Having> {
        let having = |Head { status, .. }: &Head| join::Having {
            earliest_block: Some(status.earliest_block).filter(|first| *first <= status.height),
            snapshot: status.snapshots.iter().map(|s| s.height).max(),
        };
        lock(&self.heads).values().map(having).collect()
    }

    /// The highest block that a peer has shown, its certificate checked as far as it can be here.
    pub(in crate::runtime) fn highest_certified(&self) -> Option<Height> {
        lock(&self.heads).values().filter_map(|h| h.certified).max()
    }

    fn is_certified(&self, head: &CertifiedHeader) -> bool {
        let newest = self.pictures().states.back().cloned();
        let sets = match &newest {
            Some(state) => {
                let sets = state.validators();
                vec![&sets.current, &sets.next, &sets.after_next]
            }
            None => vec![self.voters.of_genesis()],
        };
        let CertifiedHeader {
            header,
            certificate,
        } = head;
        sets.into_iter()
            .find(|set| set.hash() == header.validators)
            .is_some_and(|set| {
                certificate
                    .verify_for(header.height, header.hash(), &self.chain, set)
                    .is_ok()
            })
    }
}
