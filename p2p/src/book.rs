//! The addresses that peers told us of other peers. Pure: clock and chance are arguments.
//!
//! Hints, all of them. An entry that was never reached goes after a few failures; one that was reached stays, and is tried
//! more and more rarely. No peer can fill the book: each may add only so many entries that were never reached.

use libp2p::{Multiaddr, PeerId};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Peers in the book.
const PEERS_MAX: usize = 512;
/// Peers in the book that one peer told of and that nobody reached yet.
const UNREACHED_PER_SOURCE_MAX: usize = 32;
/// Addresses of one peer: its interfaces, in both families.
pub(crate) const ADDRESSES_MAX: usize = 4;
/// Dials after which a peer that was never reached is forgotten.
const ATTEMPTS_MAX: u32 = 3;

struct Entry {
    addresses: Vec<Multiaddr>,
    source: PeerId,
    reached: bool,
    attempts: u32,
    next_try: Instant,
}

/// Doubling pauses with a random part, so that nodes that lost each other at one moment do not all come back at another.
#[derive(Clone, Copy)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) max: Duration,
}

impl Backoff {
    /// The pause after so many failures; `chance` is in 0..=1.
    pub(crate) fn pause(self, attempts: u32, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(1 << attempts.min(20));
        doubled.min(self.max).mul_f64(0.5 + 0.5 * chance)
    }
}

/// The address book.
pub(crate) struct Book {
    entries: HashMap<PeerId, Entry>,
    backoff: Backoff,
}

impl Book {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self {
            entries: HashMap::new(),
            backoff,
        }
    }

    /// Notes down that `source` told of `peer`. What is known is not replaced: a lie must not push out the truth.
    pub(crate) fn hear(&mut self, source: PeerId, peer: PeerId, address: Multiaddr, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&peer) {
            let room = !entry.reached && entry.addresses.len() < ADDRESSES_MAX;
            if room && !entry.addresses.contains(&address) {
                entry.addresses.push(address);
            }
            return;
        }
        let unreached = |entry: &&Entry| !entry.reached && entry.source == source;
        let told = self.entries.values().filter(unreached).count();
        if told >= UNREACHED_PER_SOURCE_MAX || !self.make_room() {
            return;
        }
        let entry = Entry {
            addresses: vec![address],
            source,
            reached: false,
            attempts: 0,
            next_try: now,
        };
        self.entries.insert(peer, entry);
    }

    /// Notes down where a connected peer says that it listens.
    pub(crate) fn meet(&mut self, peer: PeerId, mut addresses: Vec<Multiaddr>, now: Instant) {
        addresses.truncate(ADDRESSES_MAX);
        if addresses.is_empty() || (!self.entries.contains_key(&peer) && !self.make_room()) {
            return;
        }
        let entry = Entry {
            addresses,
            source: peer,
            reached: true,
            attempts: 0,
            next_try: now,
        };
        self.entries.insert(peer, entry);
    }

    /// Makes room for one: the entry goes that failed most, those never reached first.
    fn make_room(&mut self) -> bool {
        if self.entries.len() < PEERS_MAX {
            return true;
        }
        let worst = self
            .entries
            .iter()
            .max_by_key(|(_, entry)| (!entry.reached, entry.attempts))
            .filter(|(_, entry)| !entry.reached || entry.attempts > 0)
            .map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.entries.remove(&peer).is_some())
    }

    /// Up to `count` peers to dial now. Each counts as tried.
    pub(crate) fn due(
        &mut self,
        count: usize,
        now: Instant,
        chance: f64,
        wanted: impl Fn(&PeerId) -> bool,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut due: Vec<_> = self
            .entries
            .iter_mut()
            .filter(|(peer, entry)| entry.next_try <= now && wanted(peer))
            .collect();
        due.sort_by_key(|(_, entry)| entry.attempts);
        due.truncate(count);
        due.into_iter()
            .map(|(peer, entry)| {
                entry.next_try = now + self.backoff.pause(entry.attempts, chance);
                entry.attempts += 1;
                (*peer, entry.addresses.clone())
            })
            .collect()
    }

    /// A dial failed.
    pub(crate) fn failed(&mut self, peer: &PeerId) {
        let hopeless = |entry: &Entry| !entry.reached && entry.attempts >= ATTEMPTS_MAX;
        if self.entries.get(peer).is_some_and(hopeless) {
            self.entries.remove(peer);
        }
    }

    /// Forgets a peer: it is of another chain, or not who it was said to be.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.entries.remove(peer);
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
