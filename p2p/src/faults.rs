//! Who lied how often, and who is blocked until when. Pure: the clock is an argument.
//!
//! A fault is proof, never suspicion: what is late, missing or unknown counts nothing.

use libp2p::PeerId;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Peers whose faults are counted, and peers that are blocked, at most. Keys cost an attacker nothing; forgetting the
/// oldest of them costs little, since the bounds on everything else hold for each anew.
const REMEMBERED_MAX: usize = 1024;

/// What a peer did that no honest peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It sent a signature of its own that does not verify, or two contents under one of its numbers.
    Forged,
    /// It sent content (a chunk, a block, a body) that is not what its name or proof says.
    WrongContent,
    /// It sent bytes that are no encoding of anything.
    Malformed,
    /// It forwarded gossip that was rejected as false.
    Rejected,
    /// It sent more than any honest peer can.
    Flood,
}

/// The record of one peer.
struct Record {
    faults: u32,
    last: Instant,
}

/// Faults counted, blocks in force.
pub(crate) struct Faults {
    faults_max: u32,
    block_for: Duration,
    records: HashMap<PeerId, Record>,
    blocked: HashMap<PeerId, Instant>,
}

/// What became of a fault.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was counted.
    Counted,
    /// It was one too many: block the peer. `forgotten` was blocked and has to make room.
    Block { forgotten: Option<PeerId> },
}

impl Faults {
    pub(crate) fn new(faults_max: u32, block_for: Duration) -> Self {
        Self {
            faults_max,
            block_for,
            records: HashMap::new(),
            blocked: HashMap::new(),
        }
    }

    /// Counts a fault. A flood is one too many at once: the next would come before anything else.
    pub(crate) fn count(&mut self, peer: PeerId, fault: Fault, now: Instant) -> Outcome {
        if self.records.len() >= REMEMBERED_MAX && !self.records.contains_key(&peer) {
            remove_first(&mut self.records, |record| record.last);
        }
        let record = self.records.entry(peer).or_insert(Record {
            faults: 0,
            last: now,
        });
        if now.duration_since(record.last) > self.block_for {
            record.faults = 0;
        }
        record.faults += 1;
        record.last = now;
        if record.faults < self.faults_max && fault != Fault::Flood {
            return Outcome::Counted;
        }
        self.records.remove(&peer);
        let full = self.blocked.len() >= REMEMBERED_MAX && !self.blocked.contains_key(&peer);
        let forgotten = full
            .then(|| remove_first(&mut self.blocked, |until| *until))
            .flatten();
        self.blocked.insert(peer, now + self.block_for);
        Outcome::Block { forgotten }
    }

    pub(crate) fn is_blocked(&self, peer: &PeerId) -> bool {
        self.blocked.contains_key(peer)
    }

    /// The peers whose block is over.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<PeerId> {
        self.blocked
            .extract_if(|_, until| *until <= now)
            .map(|(peer, _)| peer)
            .collect()
    }
}

/// Removes the entry with the smallest time.
fn remove_first<V>(map: &mut HashMap<PeerId, V>, time: impl Fn(&V) -> Instant) -> Option<PeerId> {
    let peer = *map.iter().min_by_key(|(_, value)| time(value))?.0;
    map.remove(&peer);
    Some(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: Duration = Duration::from_secs(600);

    #[test]
    fn blocks_at_the_threshold_and_not_before() {
        let (mut faults, peer, now) = (Faults::new(3, BLOCK), PeerId::random(), Instant::now());
        assert_eq!(faults.count(peer, Fault::Rejected, now), Outcome::Counted);
        assert_eq!(faults.count(peer, Fault::Forged, now), Outcome::Counted);
        assert!(!faults.is_blocked(&peer));
        let third = faults.count(peer, Fault::Malformed, now);
        assert_eq!(third, Outcome::Block { forgotten: None });
        assert!(faults.is_blocked(&peer));
        assert_eq!(faults.expire(now + BLOCK / 2), []);
        assert_eq!(faults.expire(now + BLOCK), [peer]);
        assert!(!faults.is_blocked(&peer));
    }

    #[test]
    fn old_faults_are_forgotten() {
        let (mut faults, peer, now) = (Faults::new(2, BLOCK), PeerId::random(), Instant::now());
        assert_eq!(faults.count(peer, Fault::Rejected, now), Outcome::Counted);
        let later = now + BLOCK * 2;
        assert_eq!(faults.count(peer, Fault::Rejected, later), Outcome::Counted);
    }

    #[test]
    fn remembers_no_more_than_its_bound() {
        let (mut faults, now) = (Faults::new(1, BLOCK), Instant::now());
        let first = PeerId::random();
        faults.count(first, Fault::Forged, now);
        for i in 1..1024 {
            let at = now + Duration::from_millis(i);
            let outcome = faults.count(PeerId::random(), Fault::Forged, at);
            assert_eq!(outcome, Outcome::Block { forgotten: None });
        }
        let outcome = faults.count(PeerId::random(), Fault::Forged, now + BLOCK / 2);
        let forgotten = Some(first);
        assert_eq!(outcome, Outcome::Block { forgotten });
        assert_eq!(faults.blocked.len(), REMEMBERED_MAX);
    }
}
