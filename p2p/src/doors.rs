//! Limits how many connections from one IP address may be in their handshake at once.
//!
//! The limit on all handshakes together bounds memory; alone it would let one host with half-open connections keep all
//! others out. A handshake takes milliseconds, so an honest host never has many.

use crate::peer;
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, ListenFailure, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};
use std::{
    collections::HashMap,
    convert::Infallible,
    net::IpAddr,
    task::{Context, Poll},
};

/// Handshakes at once from one address: a testnet of 16 nodes on one machine starts at once.
pub(crate) const HANDSHAKES_PER_ADDRESS_MAX: usize = 16;

/// Too many handshakes from one address.
#[derive(Debug, thiserror::Error)]
#[error("{0} has too many connections half open")]
struct Crowded(IpAddr);

/// Counts the handshakes under way.
#[derive(Default)]
pub(crate) struct Doors {
    handshakes: HashMap<ConnectionId, IpAddr>,
    per_address: HashMap<IpAddr, usize>,
}

impl Doors {
    fn enter(&mut self, connection: ConnectionId, ip: IpAddr) -> Result<(), Crowded> {
        let count = self.per_address.entry(ip).or_default();
        if *count >= HANDSHAKES_PER_ADDRESS_MAX {
            return Err(Crowded(ip));
        }
        *count += 1;
        self.handshakes.insert(connection, ip);
        Ok(())
    }

    fn leave(&mut self, connection: ConnectionId) {
        let Some(ip) = self.handshakes.remove(&connection) else {
            return;
        };
        if let Some(count) = self.per_address.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&ip);
            }
        }
    }
}

impl NetworkBehaviour for Doors {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        match peer::ip(remote) {
            Some(ip) => self.enter(connection, ip).map_err(ConnectionDenied::new),
            None => Ok(()),
        }
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.leave(connection);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) = event {
            self.leave(connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_keep_the_others_out() {
        let mut doors = Doors::default();
        let (crowd, other) = (IpAddr::from([127, 0, 0, 2]), IpAddr::from([127, 0, 0, 1]));
        for i in 0..HANDSHAKES_PER_ADDRESS_MAX {
            let id = ConnectionId::new_unchecked(i);
            assert!(doors.enter(id, crowd).is_ok(), "handshake {i}");
        }
        let next = ConnectionId::new_unchecked(1000);
        assert!(doors.enter(next, crowd).is_err());
        assert!(doors.enter(next, other).is_ok());
        doors.leave(ConnectionId::new_unchecked(0));
        assert!(
            doors
                .enter(ConnectionId::new_unchecked(1001), crowd)
                .is_ok()
        );
    }

    #[test]
    fn remembers_nothing_of_those_who_left() {
        let mut doors = Doors::default();
        let id = ConnectionId::new_unchecked(1);
        assert!(doors.enter(id, IpAddr::from([10, 0, 0, 1])).is_ok());
        doors.leave(id);
        doors.leave(id);
        assert!(doors.handshakes.is_empty() && doors.per_address.is_empty());
    }
}
