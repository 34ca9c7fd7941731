//! What a network is started with.

use ledger::{hash::ChainId, keys::SecretKey};
use libp2p::Multiaddr;
use std::time::Duration;

/// Who this node is, where it listens, whom it knows.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's key: its identity to its peers.
    pub key: SecretKey,
    /// The chain. Peers of another one are turned away.
    pub chain: ChainId,
    /// Where to listen, such as `/ip4/0.0.0.0/tcp/26000`; port 0 takes any that is free.
    pub listen: Vec<Multiaddr>,
    /// Where others reach this node, if it cannot know that itself (behind a translated address).
    pub advertise: Vec<Multiaddr>,
    /// Peers to stay connected to, with or without `/p2p/ID` at the end; `/dns4/NAME/tcp/PORT` is looked up at each dial.
    /// The node's own address may be among them, so that all nodes can share one list.
    pub peers: Vec<Multiaddr>,
    /// Whether it hears gossip, and forwards it. Who does not costs others nothing, and is known to them by what it asks.
    pub hears_gossip: bool,
    /// How much of everything.
    pub limits: Limits,
}

impl Config {
    /// A node that listens nowhere and knows nobody yet.
    pub fn new(key: SecretKey, chain: ChainId) -> Self {
        Self {
            key,
            chain,
            listen: Vec::new(),
            advertise: Vec::new(),
            peers: Vec::new(),
            hears_gossip: true,
            limits: Limits::default(),
        }
    }
}

/// What an operator or a test may want to set. All other bounds are constants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Look for more peers while fewer than these are connected.
    pub peers_target: usize,
    /// Connections in all. As many as [`Limits::peers_target`] of them are kept for those that this node dials, so that
    /// strangers who dial in cannot cut it off from the peers it chose.
    pub connections_max: u32,
    /// How long a request may take, from asking to the last byte of the answer.
    pub request_timeout: Duration,
    /// Bytes of an answer that this node takes.
    pub response_bytes_max: u32,
    /// New gossip messages a second from one peer, and twice as many at once after a pause. The default is several times
    /// what all nodes of a loaded network make together, since one peer may forward it all; and few enough that the names
    /// of all that came within [`crate::DUPLICATES_REMEMBERED`] stay in some 20 MB. What is more is ignored; a peer that
    /// goes on past that is blocked.
    pub gossip_per_second_max: u32,
    /// The first pause before a lost peer is dialled again. It doubles at each failure.
    pub redial_first: Duration,
    /// The longest such pause.
    pub redial_max: Duration,
    /// Faults after which a peer is blocked, if they come within [`Limits::block_for`] of each other.
    pub faults_max: u32,
    /// How long a peer stays blocked.
    pub block_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peers_target: 16,
            connections_max: 96,
            request_timeout: Duration::from_secs(10),
            response_bytes_max: crate::RESPONSE_BYTES_MAX,
            gossip_per_second_max: 10_000,
            redial_first: Duration::from_millis(500),
            redial_max: Duration::from_secs(20),
            faults_max: 3,
            block_for: Duration::from_secs(600),
        }
    }
}
