//! Which snapshots are being fetched, so that they stay to the end although newer ones push them out. Pure.
//!
//! Whoever asks for a part of a snapshot holds a *lease* on it, and no other: the one on what it asked for before ends. So
//! nobody holds much of the disk, and nobody takes another's lease away. A lease runs out by itself.
//!
//! # Bounds
//! Of the snapshots that are leased [`SNAPSHOTS_MAX`] are kept: those asked for last. Who is fetching asks many times a
//! second, who only wants to fill the disk would have to outdo that under as many names. Holders: [`HOLDERS_MAX`].

use snapshot::manifest::ManifestId;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// A snapshot stays at least so long after its holder last asked for a part of it.
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// Snapshots that are kept for peers beyond those that are kept anyway.
pub(super) const SNAPSHOTS_MAX: usize = 8;
/// More than a node has peers.
const HOLDERS_MAX: usize = 256;

/// The leases of holders `P`.
#[derive(Debug)]
pub(super) struct Leases<P> {
    /// What each asked for last, and when.
    by_holder: BTreeMap<P, (ManifestId, Instant)>,
}

impl<P> Default for Leases<P> {
    fn default() -> Self {
        let by_holder = BTreeMap::new();
        Self { by_holder }
    }
}

impl<P: Clone + Ord> Leases<P> {
    /// A holder asks for a part of a snapshot.
    pub(super) fn take(&mut self, holder: P, snapshot: ManifestId, now: Instant) {
        self.by_holder
            .retain(|_, (_, asked)| now.duration_since(*asked) < LEASE);
        if self.by_holder.len() >= HOLDERS_MAX && !self.by_holder.contains_key(&holder) {
            let oldest = self.by_holder.iter().min_by_key(|(_, (_, asked))| *asked);
            if let Some(oldest) = oldest.map(|(holder, _)| holder.clone()) {
                self.by_holder.remove(&oldest);
            }
        }
        self.by_holder.insert(holder, (snapshot, now));
    }

    /// What a holder asked for last.
    pub(super) fn of(&self, holder: &P) -> Option<ManifestId> {
        self.by_holder.get(holder).map(|(snapshot, _)| *snapshot)
    }

    /// How long until one of them runs out; none if there is none.
    pub(super) fn end_in(&self, now: Instant) -> Option<Duration> {
        let ages = self
            .by_holder
            .values()
            .map(|(_, asked)| now.duration_since(*asked));
        ages.filter_map(|age| LEASE.checked_sub(age).filter(|rest| !rest.is_zero()))
            .min()
    }

    /// The snapshots to be kept.
    pub(super) fn held(&self, now: Instant) -> BTreeSet<ManifestId> {
        let mut asked: Vec<(Instant, ManifestId)> = self
            .by_holder
            .values()
            .filter(|(_, asked)| now.duration_since(*asked) < LEASE)
            .map(|(snapshot, asked)| (*asked, *snapshot))
            .collect();
        asked.sort_unstable_by(|a, b| b.cmp(a));
        let mut held = BTreeSet::new();
        for (_, snapshot) in asked {
            if held.len() < SNAPSHOTS_MAX {
                held.insert(snapshot);
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::hash::Hash;

    fn snapshot(n: u8) -> ManifestId {
        ManifestId(Hash([n; 32]))
    }

    fn at(begun: Instant, seconds: u64) -> Instant {
        begun + Duration::from_secs(seconds)
    }

    #[test]
    fn a_stranger_takes_nobodys_lease_however_many_snapshots_it_asks_for() {
        let begun = Instant::now();
        let mut leases = Leases::default();
        leases.take("joiner", snapshot(1), begun);
        for n in 2..200 {
            leases.take("stranger", snapshot(n), at(begun, 1));
        }
        let held = leases.held(at(begun, 2));
        assert_eq!(held, BTreeSet::from([snapshot(1), snapshot(199)]));
    }

    #[test]
    fn many_names_hold_few_snapshots_and_who_is_fetching_keeps_its_own() {
        let begun = Instant::now();
        let mut leases = Leases::default();
        for second in 0..100u8 {
            let now = at(begun, u64::from(second));
            leases.take(1_000, snapshot(200), now);
            leases.take(u32::from(second), snapshot(second), now);
            let held = leases.held(now);
            assert!(held.contains(&snapshot(200)), "after {second} s");
            assert!(held.len() <= SNAPSHOTS_MAX, "after {second} s: {held:?}");
        }
        for name in 0..2_000 {
            leases.take(name, snapshot(1), at(begun, 100));
        }
        assert_eq!(leases.by_holder.len(), HOLDERS_MAX);
    }

    #[test]
    fn a_lease_runs_out() {
        let begun = Instant::now();
        let mut leases = Leases::default();
        assert_eq!(leases.end_in(begun), None);
        leases.take("joiner", snapshot(1), begun);
        leases.take("another", snapshot(2), at(begun, 10));
        assert_eq!(leases.held(at(begun, 59)).len(), 2);
        assert_eq!(leases.end_in(at(begun, 59)), Some(Duration::from_secs(1)));
        assert_eq!(leases.held(at(begun, 60)).len(), 1);
        assert_eq!(leases.end_in(at(begun, 60)), Some(Duration::from_secs(10)));
        assert_eq!(leases.held(at(begun, 70)).len(), 0);
        assert_eq!(leases.end_in(at(begun, 70)), None);
    }
}
