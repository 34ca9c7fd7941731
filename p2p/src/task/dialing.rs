//! Dialling: the configured peers for ever, the ones heard of up to the target.

use super::Task;
use crate::{
    book::{Backoff, Book},
    config::Config,
    peer::split_identity,
};
use libp2p::{
    Multiaddr, PeerId,
    futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered},
    multiaddr::Protocol,
    swarm::{ConnectionId, DialError, dial_opts::DialOpts},
};
use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    time::{Duration, Instant},
};

/// Dials begun at once to peers heard of.
const DIALS_AT_ONCE_MAX: usize = 8;
/// How long looking up a name may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses taken of one name.
const LOOKUP_ADDRESSES_MAX: usize = 8;
/// How often a peer is asked again for others, while there are too few.
const ASK_AGAIN_EVERY: Duration = Duration::from_secs(15);

/// A configured peer.
struct Configured {
    address: Multiaddr,
    /// Said by the address, or learnt when it was reached.
    peer: Option<PeerId>,
    /// Whether the address says it.
    fixed: bool,
    attempts: u32,
    /// A lookup or dial is under way.
    busy: bool,
    next_try: Instant,
    /// It turned out to be this node.
    is_self: bool,
}

/// Why a dial was begun.
enum Purpose {
    Configured(usize),
    Heard(PeerId),
}

/// What a configured peer's address stands for now.
pub(super) struct Resolved {
    index: usize,
    addresses: Vec<Multiaddr>,
}

pub(super) struct Dialing {
    configured: Vec<Configured>,
    book: Book,
    backoff: Backoff,
    dials: HashMap<ConnectionId, Purpose>,
    lookups: FuturesUnordered<BoxFuture<'static, Resolved>>,
    ask_again: Instant,
}

/// A number in 0..=1. The standard library's hasher is seeded anew each time; nothing here needs better chance.
fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(u32::MAX)
}

impl Dialing {
    pub(super) fn new(config: &Config, local: PeerId) -> Self {
        let now = Instant::now();
        let backoff = Backoff {
            first: config.limits.redial_first,
            max: config.limits.redial_max,
        };
        let configured = config.peers.iter().cloned().map(|address| {
            let (address, peer) = split_identity(address);
            Configured {
                address,
                peer,
                fixed: peer.is_some(),
                attempts: 0,
                busy: false,
                next_try: now,
                is_self: peer == Some(local),
            }
        });
        Self {
            configured: configured.collect(),
            book: Book::new(backoff),
            backoff,
            dials: HashMap::new(),
            lookups: FuturesUnordered::new(),
            ask_again: now + ASK_AGAIN_EVERY,
        }
    }

    /// The next lookup that ends; none if none is under way.
    pub(super) async fn resolved(&mut self) -> Option<Resolved> {
        self.lookups.next().await
    }

    pub(super) fn is_configured(&self, peer: &PeerId) -> bool {
        self.configured.iter().any(|c| c.peer == Some(*peer))
    }

    pub(super) fn heard(&mut self, source: PeerId, peer: PeerId, address: Multiaddr, now: Instant) {
        self.book.hear(source, peer, address, now);
    }

    pub(super) fn met(&mut self, peer: PeerId, listens: Vec<Multiaddr>, now: Instant) {
        self.book.meet(peer, listens, now);
    }

    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.book.forget(peer);
    }

    /// A peer of this chain is there.
    pub(super) fn reached(&mut self, peer: &PeerId) {
        for configured in &mut self.configured {
            if configured.peer == Some(*peer) {
                configured.attempts = 0;
            }
        }
    }

    fn pause(&mut self, index: usize, now: Instant) {
        if let Some(configured) = self.configured.get_mut(index) {
            configured.busy = false;
            configured.next_try = now + self.backoff.pause(configured.attempts, chance());
            configured.attempts = configured.attempts.saturating_add(1);
        }
    }
}

/// The addresses that a name stands for; an address without a name stands for itself.
async fn resolve(index: usize, address: Multiaddr) -> Resolved {
    let mut parts = address.iter();
    let (name, wanted): (_, fn(&std::net::SocketAddr) -> bool) = match parts.next() {
        Some(Protocol::Dns(name)) => (name.into_owned(), |_| true),
        Some(Protocol::Dns4(name)) => (name.into_owned(), |a| a.is_ipv4()),
        Some(Protocol::Dns6(name)) => (name.into_owned(), |a| a.is_ipv6()),
        _ => {
            return Resolved {
                index,
                addresses: vec![address],
            };
        }
    };
    let rest: Vec<_> = parts.map(|part| part.acquire()).collect();
    let lookup = tokio::net::lookup_host((name.as_str(), 0));
    let found = match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
        Ok(Ok(found)) => found.filter(wanted).take(LOOKUP_ADDRESSES_MAX).collect(),
        Ok(Err(error)) => {
            tracing::debug!(name, %error, "the name of a peer is not known");
            Vec::new()
        }
        Err(_) => Vec::new(),
    };
    let with_rest = |ip: std::net::IpAddr| {
        let mut address = Multiaddr::from(ip);
        rest.iter().for_each(|part| address.push(part.clone()));
        address
    };
    Resolved {
        index,
        addresses: found.into_iter().map(|a| with_rest(a.ip())).collect(),
    }
}

impl Task {
    /// Dials whoever is due.
    pub(super) fn dial_due(&mut self, now: Instant) {
        for (index, configured) in self.dialing.configured.iter_mut().enumerate() {
            let connected = |peer: &PeerId| self.connections.contains(peer);
            let wanted = !configured.is_self
                && !configured.busy
                && configured.next_try <= now
                && !configured.peer.as_ref().is_some_and(connected);
            if wanted {
                configured.busy = true;
                let lookup = resolve(index, configured.address.clone());
                self.dialing.lookups.push(Box::pin(lookup));
            }
        }
        let heard = |purpose: &&Purpose| matches!(purpose, Purpose::Heard(_));
        let dialling = self.dialing.dials.values().filter(heard).count();
        let there = self.connections.count() + dialling;
        let missing = self.limits.peers_target.saturating_sub(there);
        if missing == 0 {
            return;
        }
        let (connections, faults) = (&self.connections, &self.faults);
        let Dialing {
            book,
            dials,
            configured,
            ..
        } = &mut self.dialing;
        let wanted = |peer: &PeerId| {
            let dialled = |purpose: &Purpose| matches!(purpose, Purpose::Heard(p) if p == peer);
            !connections.contains(peer)
                && !faults.is_blocked(peer)
                && !dials.values().any(dialled)
                // The configured ones have a pace of their own.
                && !configured.iter().any(|c| c.peer == Some(*peer))
        };
        let count = missing.min(DIALS_AT_ONCE_MAX);
        for (peer, addresses) in book.due(count, now, chance(), wanted) {
            let options = DialOpts::peer_id(peer)
                .addresses(addresses)
                .allocate_new_port()
                .build();
            self.dial(options, Purpose::Heard(peer));
        }
        if self.dialing.ask_again <= now {
            self.dialing.ask_again = now + ASK_AGAIN_EVERY;
            // The map's order is random, and so is who is asked.
            let anyone = self.connections.listening().next().map(|(peer, _)| peer);
            if let Some(peer) = anyone {
                self.ask_for_peers(peer);
            }
        }
    }

    /// A configured peer's address is known.
    pub(super) fn on_resolved(&mut self, resolved: Resolved) {
        let Resolved { index, addresses } = resolved;
        let Some(configured) = self.dialing.configured.get(index) else {
            return;
        };
        let expected = configured.peer.filter(|_| configured.fixed);
        // Without an identity, only one address can be dialled at a time.
        let turn = configured.attempts as usize % addresses.len().max(1);
        let Some(one) = addresses.get(turn).cloned() else {
            self.dialing.pause(index, Instant::now());
            return;
        };
        // A new port each time: with that of the listener, two nodes that dial each other at one moment would share one
        // socket, and a lost connection could not be made again for a minute.
        let options = match expected {
            Some(peer) => DialOpts::peer_id(peer)
                .addresses(addresses)
                .allocate_new_port()
                .build(),
            None => DialOpts::unknown_peer_id()
                .address(one)
                .allocate_new_port()
                .build(),
        };
        self.dial(options, Purpose::Configured(index));
    }

    fn dial(&mut self, options: DialOpts, purpose: Purpose) {
        let connection = options.connection_id();
        self.dialing.dials.insert(connection, purpose);
        if let Err(error) = self.swarm.dial(options) {
            self.on_dial_failed(connection, &error);
        }
    }

    pub(super) fn on_dial_succeeded(&mut self, connection: ConnectionId, peer: PeerId) {
        if let Some(Purpose::Configured(index)) = self.dialing.dials.remove(&connection) {
            // The next try is for when the connection is lost.
            self.dialing.pause(index, Instant::now());
            if let Some(configured) = self.dialing.configured.get_mut(index) {
                configured.peer = Some(peer);
            }
        }
    }

    pub(super) fn on_dial_failed(&mut self, connection: ConnectionId, error: &DialError) {
        let Some(purpose) = self.dialing.dials.remove(&connection) else {
            return;
        };
        match purpose {
            Purpose::Configured(index) => {
                self.dialing.pause(index, Instant::now());
                let Some(configured) = self.dialing.configured.get_mut(index) else {
                    return;
                };
                let address = &configured.address;
                match error {
                    DialError::LocalPeerId { .. } => configured.is_self = true,
                    DialError::WrongPeerId { obtained, .. } => {
                        tracing::warn!(%address, %obtained, "a configured peer has another identity");
                    }
                    // Connected or being dialled by another way.
                    DialError::DialPeerConditionFalse(_) => {}
                    _ => tracing::debug!(%address, %error, "a configured peer cannot be reached"),
                }
            }
            Purpose::Heard(peer) => {
                tracing::debug!(%peer, %error, "a peer heard of cannot be reached");
                match error {
                    DialError::WrongPeerId { .. } => self.dialing.forget(&peer),
                    _ => self.dialing.book.failed(&peer),
                }
            }
        }
    }

    /// The last connection to a peer is gone: a configured one is dialled again, soon.
    pub(super) fn on_lost(&mut self, peer: &PeerId, now: Instant) {
        let backoff = self.dialing.backoff;
        for configured in &mut self.dialing.configured {
            if configured.peer == Some(*peer) {
                let pause = backoff.pause(configured.attempts, chance());
                configured.next_try = configured.next_try.min(now + pause);
            }
        }
    }
}
