//! Who is connected, since when, over what; and who is turned away.

use super::Task;
use crate::{
    behaviour::Gossipsub,
    event::Event,
    faults::{Fault, Outcome},
    metrics::{add, set},
    peer::{Peer, PeerInfo, is_dialable, split_identity},
};
use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    identify, ping,
    swarm::{ConnectionError, ConnectionId},
};
use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

/// How long a peer may take to say who it is.
const IDENTIFY_WITHIN: Duration = Duration::from_secs(10);
/// How long a peer that is identified may take to say that it hears gossip, before it counts as connected without.
const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(2);
/// How long a peer of another chain stays connected: long enough to learn for itself that it is wrong here, so that the
/// operators of both sides are told.
const WRONG_CHAIN_STAYS: Duration = Duration::from_millis(500);
/// Pings lost in a row that show a connection to be dead.
const PINGS_LOST_MAX: u32 = 3;
/// Characters shown of what a peer of another chain says.
const THEIRS_CHARS_MAX: usize = 120;

struct Connection {
    id: ConnectionId,
    address: Multiaddr,
    outbound: bool,
    pings_lost: u32,
}

/// A peer with at least one connection.
struct Connected {
    peer: Peer,
    connections: Vec<Connection>,
    since: Instant,
    since_time: SystemTime,
    identified: bool,
    subscribed: bool,
    announced: bool,
    /// It is of another chain, and goes then.
    goes_at: Option<Instant>,
    rtt: Option<Duration>,
    /// Where it says that it listens.
    listens: Vec<Multiaddr>,
}

/// All of them. Bounded by the limit on connections.
#[derive(Default)]
pub(super) struct Connections(HashMap<PeerId, Connected>);

impl Connections {
    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.0.contains_key(peer)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Where the announced peers listen.
    pub(super) fn listening(&self) -> impl Iterator<Item = (PeerId, &[Multiaddr])> {
        let announced = self.0.iter().filter(|(_, connected)| connected.announced);
        announced.map(|(peer, connected)| (*peer, connected.listens.as_slice()))
    }

    /// Where a peer is connected from or to.
    pub(super) fn address(&self, peer: &PeerId) -> Option<&Multiaddr> {
        let connection = self.0.get(peer)?.connections.first()?;
        Some(&connection.address)
    }

    pub(super) fn shown(&self) -> Vec<PeerInfo> {
        let announced = self.0.values().filter(|connected| connected.announced);
        let mut shown: Vec<_> = announced
            .filter_map(|connected| {
                let connection = connected.connections.first()?;
                Some(PeerInfo {
                    peer: connected.peer,
                    address: connection.address.clone(),
                    connected_since: connected.since_time,
                    outbound: connection.outbound,
                    rtt: connected.rtt,
                })
            })
            .collect();
        shown.sort_by_key(|info| info.peer);
        shown
    }

    fn open(&self) -> usize {
        self.0.values().map(|peer| peer.connections.len()).sum()
    }
}

impl Task {
    pub(super) fn on_established(
        &mut self,
        id: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        self.on_dial_succeeded(connection, id);
        let Some(peer) = Peer::from_id(id) else {
            tracing::debug!(peer = %id, "a peer whose identity is no Ed25519 key");
            self.disconnect(id);
            return;
        };
        let connected = self.connections.0.entry(id).or_insert_with(|| Connected {
            peer,
            connections: Vec::new(),
            since: Instant::now(),
            since_time: SystemTime::now(),
            identified: false,
            subscribed: false,
            announced: false,
            goes_at: None,
            rtt: None,
            listens: Vec::new(),
        });
        connected.connections.push(Connection {
            id: connection,
            address: split_identity(endpoint.get_remote_address().clone()).0,
            outbound: endpoint.is_dialer(),
            pings_lost: 0,
        });
        add(&self.shared.counters.connections_opened, 1);
        self.show_connections();
    }

    pub(super) fn on_closed(
        &mut self,
        id: PeerId,
        connection: ConnectionId,
        cause: Option<&ConnectionError>,
    ) {
        let Some(connected) = self.connections.0.get_mut(&id) else {
            return;
        };
        connected.connections.retain(|c| c.id != connection);
        if connected.connections.is_empty() {
            let cause = cause.map(ToString::to_string);
            tracing::debug!(peer = %id, cause, "disconnected");
            if connected.announced {
                self.announcements.went(connected.peer);
            }
            self.connections.0.remove(&id);
            self.on_lost(&id, Instant::now());
        }
        self.show_connections();
    }

    fn show_connections(&self) {
        set(
            &self.shared.counters.connections_open,
            self.connections.open(),
        );
        self.show_peers();
    }

    pub(super) fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else {
            return;
        };
        if info.protocol_version != self.spoken {
            self.on_wrong_chain(peer_id, &info.protocol_version);
            return;
        }
        let Some(connected) = self.connections.0.get_mut(&peer_id) else {
            return;
        };
        connected.identified = true;
        connected.listens = info
            .listen_addrs
            .into_iter()
            .map(|address| split_identity(address).0)
            .filter(is_dialable)
            .take(crate::book::ADDRESSES_MAX)
            .collect();
        let listens = connected.listens.clone();
        self.dialing.met(peer_id, listens, Instant::now());
        self.announce_if_ready(peer_id);
    }

    fn on_wrong_chain(&mut self, id: PeerId, theirs: &str) {
        let Some(connected) = self.connections.0.get_mut(&id) else {
            return;
        };
        if connected.goes_at.is_some() {
            return;
        }
        connected.goes_at = Some(Instant::now() + WRONG_CHAIN_STAYS);
        let peer = connected.peer;
        let theirs: String = theirs.chars().take(THEIRS_CHARS_MAX).collect();
        let ours = &self.spoken;
        if self.dialing.is_configured(&id) {
            tracing::warn!(%peer, %theirs, %ours, "a configured peer is of another chain");
        } else {
            tracing::info!(%peer, %theirs, %ours, "a peer of another chain");
        }
        self.dialing.forget(&id);
        // It dials again, and is reported again: this news may be dropped.
        let _ = self.events.try_send(Event::WrongChain { peer, theirs });
    }

    /// A peer says that it hears a channel of this chain.
    pub(super) fn on_subscribed(&mut self, id: PeerId) {
        if let Some(connected) = self.connections.0.get_mut(&id) {
            connected.subscribed = true;
            self.announce_if_ready(id);
        }
    }

    fn announce_if_ready(&mut self, id: PeerId) {
        let ready = |connected: &Connected| connected.identified && connected.subscribed;
        if self.connections.0.get(&id).is_some_and(ready) {
            self.announce(id);
        }
    }

    /// Says that a peer is connected, unless that is said. Whatever a peer sends by a protocol that names this chain
    /// shows as much as identify does.
    pub(super) fn announce(&mut self, id: PeerId) -> Option<Peer> {
        let connected = self.connections.0.get_mut(&id)?;
        if connected.goes_at.is_some() {
            return None;
        }
        let peer = connected.peer;
        if !connected.announced {
            connected.announced = true;
            tracing::debug!(peer = %id, "connected");
            self.announcements.came(peer);
            self.announcements.flush(&self.events);
            self.dialing.reached(&id);
            self.show_peers();
            self.ask_for_peers(id);
        }
        Some(peer)
    }

    pub(super) fn on_ping(&mut self, event: &ping::Event) {
        let Some(connected) = self.connections.0.get_mut(&event.peer) else {
            return;
        };
        let Some(connection) = connected
            .connections
            .iter_mut()
            .find(|c| c.id == event.connection)
        else {
            return;
        };
        match &event.result {
            Ok(rtt) => {
                connection.pings_lost = 0;
                connected.rtt = Some(*rtt);
                self.show_peers();
            }
            Err(ping::Failure::Unsupported) => {}
            Err(_) => {
                connection.pings_lost += 1;
                if connection.pings_lost >= PINGS_LOST_MAX {
                    tracing::debug!(peer = %event.peer, "a connection is dead");
                    self.swarm.close_connection(event.connection);
                }
            }
        }
    }

    /// Disconnects those who do not say who they are, and those of another chain; counts those as connected who do not
    /// want gossip.
    pub(super) fn look_after_the_new(&mut self, now: Instant) {
        let (mut unwanted, mut deaf) = (Vec::new(), Vec::new());
        for (id, connected) in &self.connections.0 {
            let age = now.saturating_duration_since(connected.since);
            let silent = !connected.identified && !connected.announced && age >= IDENTIFY_WITHIN;
            if silent || connected.goes_at.is_some_and(|at| at <= now) {
                unwanted.push(*id);
            } else if connected.identified && !connected.announced && age >= SUBSCRIBE_WITHIN {
                deaf.push(*id);
            }
        }
        for id in unwanted {
            tracing::debug!(peer = %id, "a peer is of another chain or does not say of which");
            self.disconnect(id);
        }
        for id in deaf {
            self.announce(id);
        }
    }

    pub(super) fn penalize(&mut self, id: PeerId, fault: Fault) {
        // What a blocked peer sent before its connection was closed counts no more.
        if id == self.local || self.faults.is_blocked(&id) {
            return;
        }
        let Outcome::Block { forgotten } = self.faults.count(id, fault, Instant::now()) else {
            tracing::info!(peer = %id, ?fault, "a fault of a peer");
            return;
        };
        tracing::warn!(peer = %id, ?fault, for_ = ?self.limits.block_for, "a peer is blocked");
        add(&self.shared.counters.peers_blocked, 1);
        let blocked = &mut self.swarm.behaviour_mut().blocked;
        if let Some(forgotten) = forgotten {
            blocked.unblock_peer(forgotten);
        }
        blocked.block_peer(id);
    }

    pub(super) fn disconnect(&mut self, id: PeerId) {
        // An error says that it is disconnected already.
        let _ = self.swarm.disconnect_peer_id(id);
    }

    pub(super) fn gossipsub(&mut self) -> &mut Gossipsub {
        &mut self.swarm.behaviour_mut().gossip
    }
}
