//! What is known of each peer, and what is asked of it.

use super::{
    ASKS_PER_PEER_MAX, Config, NOT_HERE_MAX, OFFERS_MAX, Offer, PEERS_MAX, REMEMBERED_MAX,
    STRIKES_MAX, Wanted,
};
use crate::{
    chunk::ChunkId,
    manifest::{Manifest, ManifestId},
};
use ledger::units::Height;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// The longest that a peer rests after failed requests.
const REST_MS_MAX: u64 = 10_000;
const REST_MS_FIRST: u64 = 250;

/// A request that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub wanted: Wanted,
    pub since_ms: u64,
    /// Not counted on any more, but it takes up its peer's slot.
    pub late: bool,
}

#[derive(Debug, Default)]
pub(super) struct Peer {
    pub offers: BTreeMap<ManifestId, Height>,
    pub asks: Vec<Ask>,
    /// Manifests that it did not have or that could not be used.
    pub refused: BTreeSet<ManifestId>,
    not_here: BTreeSet<ChunkId>,
    /// As in [`Peers::strikes`].
    strikes: u32,
    failures: u32,
    rests_until_ms: u64,
}

impl Peer {
    fn offers(&self, id: &ManifestId) -> bool {
        self.strikes < STRIKES_MAX && self.offers.contains_key(id) && !self.refused.contains(id)
    }

    fn is_free(&self, now_ms: u64, asks_max: usize) -> bool {
        self.asks.len() < asks_max && now_ms >= self.rests_until_ms
    }

    fn is_asked(&self, wanted: Wanted) -> bool {
        self.asks.iter().any(|a| a.wanted == wanted)
    }
}

/// What makes one snapshot better than another, the weightiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Of the provider that has the fewest.
    strikes: Reverse<u32>,
    /// Whether honest nodes probably have it: it is one that all take, or more than one peer has it.
    likely: bool,
    pub height: Height,
    /// One state can be cut in several ways, and only one of them is what honest nodes have.
    providers: usize,
}

/// What is summed up of those who offer one snapshot.
#[derive(Clone, Copy)]
struct Backing {
    strikes: u32,
    providers: usize,
}

impl Backing {
    const NONE: Self = Self {
        strikes: u32::MAX,
        providers: 0,
    };

    fn add(&mut self, peer: &Peer) {
        self.strikes = self.strikes.min(peer.strikes);
        self.providers += 1;
    }

    fn rank(self, height: Height, config: &Config) -> Rank {
        let on_interval = height.0.checked_rem(config.snapshot_interval) == Some(0);
        Rank {
            strikes: Reverse(self.strikes),
            likely: on_interval || self.providers > 1,
            height,
            providers: self.providers,
        }
    }
}

/// A snapshot that is offered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub rank: Rank,
    pub id: ManifestId,
}

/// All peers that may be asked.
#[derive(Debug)]
pub(super) struct Peers<P> {
    peers: BTreeMap<P, Peer>,
    banned: BTreeSet<P>,
    /// Releases held against a peer, also while it is not connected.
    strikes: BTreeMap<P, u32>,
}

impl<P> Default for Peers<P> {
    fn default() -> Self {
        Self {
            peers: BTreeMap::new(),
            banned: BTreeSet::new(),
            strikes: BTreeMap::new(),
        }
    }
}

impl<P: Clone + Ord> Peers<P> {
    pub(super) fn offer(&mut self, peer: &P, mut offers: Vec<Offer>, height_min: Height) {
        let known = self.peers.contains_key(peer);
        if self.banned.contains(peer) || (!known && self.peers.len() >= PEERS_MAX) {
            return;
        }
        offers.retain(|o| o.height >= height_min);
        offers.sort_by_key(|o| Reverse((o.height, o.manifest)));
        offers.truncate(OFFERS_MAX);
        let strikes = self.strikes.get(peer).copied().unwrap_or(0);
        let peer = self.peers.entry(peer.clone()).or_default();
        peer.strikes = strikes;
        peer.offers = offers.iter().map(|o| (o.manifest, o.height)).collect();
        let Peer {
            offers, refused, ..
        } = peer;
        refused.retain(|id| offers.contains_key(id));
    }

    /// Forgets a peer; gives what it still owed.
    pub(super) fn remove(&mut self, peer: &P) -> Vec<Wanted> {
        let peer = self.peers.remove(peer).unwrap_or_default();
        peer.asks.iter().map(|a| a.wanted).collect()
    }

    pub(super) fn ban(&mut self, peer: &P) -> Vec<Wanted> {
        if self.banned.len() >= REMEMBERED_MAX {
            self.banned.pop_first();
        }
        self.banned.insert(peer.clone());
        self.remove(peer)
    }

    /// Holds a release against a peer.
    pub(super) fn strike(&mut self, peer: &P) {
        if self.strikes.len() >= REMEMBERED_MAX && !self.strikes.contains_key(peer) {
            self.strikes.pop_first();
        }
        let strikes = self.strikes.entry(peer.clone()).or_default();
        *strikes = strikes.saturating_add(1);
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.strikes = *strikes;
        }
    }

    /// Whether the target's providers had no strike yet, and somebody else without one offers a snapshot too.
    pub(super) fn has_other_than(&self, target: &ManifestId) -> bool {
        let spotless = |p: &&Peer| p.strikes == 0;
        let (of_target, others): (Vec<&Peer>, _) =
            self.peers.values().partition(|p| p.offers(target));
        of_target.iter().any(spotless)
            && others
                .iter()
                .filter(|p| spotless(p))
                .any(|p| p.offers.keys().any(|id| p.offers(id)))
    }

    /// Takes note of a request made.
    pub(super) fn asked(&mut self, peer: &P, wanted: Wanted, now_ms: u64) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.asks.push(Ask {
                wanted,
                since_ms: now_ms,
                late: false,
            });
        }
    }

    /// Takes a request off a peer; false if there was none.
    pub(super) fn answered(&mut self, peer: &P, wanted: Wanted) -> bool {
        let Some(peer) = self.peers.get_mut(peer) else {
            return false;
        };
        let before = peer.asks.len();
        peer.asks.retain(|a| a.wanted != wanted);
        peer.asks.len() < before
    }

    pub(super) fn succeeded(&mut self, peer: &P) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.failures = 0;
        }
    }

    /// Lets a peer rest after a failed request, longer each time.
    pub(super) fn failed(&mut self, peer: &P, now_ms: u64) {
        if let Some(peer) = self.peers.get_mut(peer) {
            let rest_ms = REST_MS_FIRST << peer.failures.min(16);
            peer.rests_until_ms = now_ms.saturating_add(rest_ms.min(REST_MS_MAX));
            peer.failures = peer.failures.saturating_add(1);
        }
    }

    pub(super) fn refuse(&mut self, peer: &P, id: ManifestId) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.refused.insert(id);
        }
    }

    /// A peer does not have a chunk of the target; with too many of them it does not have the target.
    pub(super) fn not_here(&mut self, peer: &P, chunk: ChunkId, target: ManifestId) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.not_here.insert(chunk);
            if peer.not_here.len() > NOT_HERE_MAX {
                peer.refused.insert(target);
            }
        }
    }

    /// For a new target: who did not have chunks of the last may have those of this.
    pub(super) fn forget_not_here(&mut self) {
        for peer in self.peers.values_mut() {
            peer.not_here.clear();
        }
    }

    /// Marks requests that took too long, and forgets those that took very long. Gives what is late only now.
    pub(super) fn pass_time(&mut self, now_ms: u64, config: &Config) -> Vec<Wanted> {
        let mut late = Vec::new();
        for peer in self.peers.values_mut() {
            let age_ms = |a: &Ask| now_ms.saturating_sub(a.since_ms);
            for ask in &mut peer.asks {
                if !ask.late && age_ms(ask) >= config.request_timeout_ms {
                    ask.late = true;
                    late.push(ask.wanted);
                }
            }
            peer.asks.retain(|a| age_ms(a) < config.forget_ms);
        }
        late
    }

    /// Requests that are in time.
    pub(super) fn in_time(&self) -> impl Iterator<Item = &Ask> {
        self.peers
            .values()
            .flat_map(|p| &p.asks)
            .filter(|a| !a.late)
    }

    pub(super) fn is_in_time(&self, wanted: Wanted) -> bool {
        self.in_time().any(|a| a.wanted == wanted)
    }

    /// What is offered and may still be had, best first.
    pub(super) fn candidates(&self, config: &Config) -> Vec<Candidate> {
        let mut offered: BTreeMap<(Height, ManifestId), Backing> = BTreeMap::new();
        for peer in self.peers.values() {
            for (id, height) in peer.offers.iter().filter(|(id, _)| peer.offers(id)) {
                let backing = offered.entry((*height, *id)).or_insert(Backing::NONE);
                backing.add(peer);
            }
        }
        let mut candidates: Vec<Candidate> = offered
            .into_iter()
            .map(|((height, id), backing)| Candidate {
                rank: backing.rank(height, config),
                id,
            })
            .collect();
        candidates.sort_by_key(|c| Reverse((c.rank, c.id)));
        candidates
    }

    pub(super) fn rank(&self, manifest: &Manifest, config: &Config) -> Rank {
        let id = manifest.id();
        let mut backing = Backing::NONE;
        for peer in self.peers.values().filter(|p| p.offers(&id)) {
            backing.add(peer);
        }
        backing.rank(manifest.height(), config)
    }

    pub(super) fn offered_height(&self, peer: &P, id: &ManifestId) -> Option<Height> {
        self.peers.get(peer)?.offers.get(id).copied()
    }

    /// Those who offer a snapshot, whether or not they can be asked just now.
    pub(super) fn providers(&self, id: &ManifestId) -> impl Iterator<Item = &P> {
        self.peers
            .iter()
            .filter(|(_, p)| p.offers(id))
            .map(|(name, _)| name)
    }

    /// The peer to ask for a manifest: one that has nothing else to do.
    pub(super) fn for_manifest(&self, id: ManifestId, height: Height, now_ms: u64) -> Option<P> {
        self.peers
            .iter()
            .find(|(_, p)| {
                p.offers(&id) && p.offers.get(&id) == Some(&height) && p.is_free(now_ms, 1)
            })
            .map(|(name, _)| name.clone())
    }

    /// The providers of the target that have a free slot, those with the fewest unanswered requests first.
    pub(super) fn free_providers(&self, target: &ManifestId, now_ms: u64) -> Vec<P> {
        let mut free: Vec<(usize, &P)> = self
            .peers
            .iter()
            .filter(|(_, p)| p.offers(target) && p.is_free(now_ms, ASKS_PER_PEER_MAX))
            .map(|(name, p)| (p.asks.len(), name))
            .collect();
        free.sort();
        free.into_iter().map(|(_, name)| name.clone()).collect()
    }

    /// Whether a peer may be asked for a chunk: it did not say "not here", and does not owe it already.
    pub(super) fn may_have(&self, peer: &P, chunk: ChunkId) -> bool {
        self.peers
            .get(peer)
            .is_some_and(|p| !p.not_here.contains(&chunk) && !p.is_asked(Wanted::Chunk(chunk)))
    }
}
