//! Who a peer is, and what an address of a peer may look like.

use ledger::keys::PublicKey;
use libp2p::{
    Multiaddr, PeerId,
    identity::{self, ed25519},
    multiaddr::Protocol,
};
use std::{
    fmt,
    net::IpAddr,
    str::FromStr,
    time::{Duration, SystemTime},
};

/// Bytes of an address that a peer tells. The longest honest one (IPv6, TCP, an identity) has 64.
const ADDRESS_BYTES_MAX: usize = 128;

/// A peer, named by its node key. Written as libp2p does, in base 58.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    id: PeerId,
    key: PublicKey,
}

impl Peer {
    /// The peer with that identity, if the identity is an Ed25519 key.
    pub(crate) fn from_id(id: PeerId) -> Option<Self> {
        // An identity is a multihash; that of a short key is the key itself behind two bytes of code and length.
        let bytes = id.to_bytes();
        let [0, _, encoded @ ..] = bytes.as_slice() else {
            return None;
        };
        let key = identity::PublicKey::try_decode_protobuf(encoded)
            .ok()?
            .try_into_ed25519()
            .ok()?;
        Some(Self {
            id,
            key: PublicKey(key.to_bytes()),
        })
    }

    /// The peer with that node key; none if the bytes are not a key.
    pub fn from_public_key(key: &PublicKey) -> Option<Self> {
        let inner = ed25519::PublicKey::try_from_bytes(&key.0).ok()?;
        Some(Self {
            id: identity::PublicKey::from(inner).to_peer_id(),
            key: *key,
        })
    }

    /// Its node key, which the transport has authenticated.
    pub fn public_key(&self) -> PublicKey {
        self.key
    }

    pub(crate) fn id(&self) -> PeerId {
        self.id
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({})", self.id)
    }
}

impl FromStr for Peer {
    type Err = NotAPeer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .ok()
            .and_then(Self::from_id)
            .ok_or_else(|| NotAPeer(text.chars().take(80).collect()))
    }
}

/// A text names no peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of a peer with an Ed25519 key")]
pub struct NotAPeer(String);

/// A connected peer.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Who.
    pub peer: Peer,
    /// Where it is connected from or to.
    pub address: Multiaddr,
    /// Since when.
    pub connected_since: SystemTime,
    /// Whether this node dialled.
    pub outbound: bool,
    /// How long the last ping took there and back.
    pub rtt: Option<Duration>,
}

/// The identity at the end of an address, and the address without it.
pub(crate) fn split_identity(mut address: Multiaddr) -> (Multiaddr, Option<PeerId>) {
    match address.iter().last() {
        Some(Protocol::P2p(id)) => {
            address.pop();
            (address, Some(id))
        }
        _ => (address, None),
    }
}

/// The IP address in front.
pub(crate) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// Whether an address that a peer told is one to dial: an IP address with a port and nothing more. No names: looking one up
/// at a stranger's wish tells others what this node does.
pub(crate) fn is_dialable(address: &Multiaddr) -> bool {
    let Some(ip) = ip(address) else { return false };
    if ip.is_unspecified() || ip.is_multicast() || address.len() > ADDRESS_BYTES_MAX {
        return false;
    }
    let mut rest = address.iter().skip(1);
    let transport = match rest.next() {
        Some(Protocol::Tcp(port)) => port != 0,
        #[cfg(feature = "quic")]
        Some(Protocol::Udp(port)) => port != 0 && rest.next() == Some(Protocol::QuicV1),
        _ => false,
    };
    transport && rest.next().is_none()
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
