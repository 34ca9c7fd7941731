//! How nodes find each other and talk: gossip on three channels, requests with answers, connections that come back.
//! It carries bytes and knows nothing of consensus, blocks or states.
//!
//! # Specification
//! - **Identity.** A peer is its Ed25519 node key. Noise proves it on every connection, so [`Peer::public_key`] is
//!   authenticated; peers with any other kind of key are disconnected.
//! - **One chain.** The chain's id is in the name of every topic, of the request protocol and of the protocol version that
//!   identify tells. A peer of another chain (or protocol version) is disconnected and reported as
//!   [`Event::WrongChain`].
//! - **Connected** is said of a peer once it is identified as one of ours and hears our gossip, so that what is published
//!   on [`Event::Connected`] reaches it. Before anything else that comes from a peer, its `Connected` comes. `Connected`
//!   and [`Event::Disconnected`] alternate and are never dropped; if the node is slow to hear them, a pair that cancels
//!   out may be.
//! - **Gossip** is forwarded only after the node accepted it ([`Network::verdict`]), within about
//!   [`VERDICT_WITHIN`]. A message's id is the hash of channel and content: the same content is delivered once, until
//!   about [`DUPLICATES_REMEMBERED`] have passed. Payloads are signed inside by those who made them; gossip adds no
//!   signature of its own.
//! - **Requests** get exactly one end: an answer or a [`RequestError`], within the request timeout. An answer of the wrong
//!   kind, or with more items than were asked for, is `Malformed`. A dropped [`Reply`] is told to the asker as `Refused`.
//! - **Finding peers.** The configured peers are redialled for ever. Every peer is asked for the peers that it knows, and
//!   those are dialled up to a target, so that one known address is enough to find all.
//!
//! # Trust model
//! Trusted: the local node, its configuration, the transport's cryptography. A peer is trusted with nothing:
//! - What it sends is bounded in size before it is allocated, in rate, and in number under way, by peer and in all. The
//!   bounds are constants beside the code that keeps them, each with its reason.
//! - Addresses that it tells of others are hints: dialled a few at a time, forgotten when they fail, and the key found
//!   there must be the one that was named. Names (DNS) are looked up only for configured peers.
//! - Only proof of a lie counts against a peer ([`Fault`], [`Verdict::Reject`]), and so does a flood that no honest peer
//!   can cause; too many, and it is blocked for some minutes. Slow, absent and pruned peers are never blocked. Keys cost
//!   nothing, so a block stops an accident or a fool; the bounds above are what stops an attacker.
//!
//! # Cost
//! One task owns libp2p's swarm; it hashes, counts and moves bytes, and never verifies, decodes large values or waits. Work
//! on payloads happens where the [`Event`]s are taken. If that is slow, gossip is dropped (as if ignored) and requests
//! are refused; nothing waits.

mod behaviour;
mod book;
mod config;
mod doors;
mod event;
mod faults;
mod frames;
mod gossip;
mod handle;
mod messages;
mod metrics;
mod peer;
mod task;

pub use behaviour::{DUPLICATES_REMEMBERED, VERDICT_WITHIN};
pub use config::{Config, Limits};
pub use event::{Event, Reply};
pub use faults::Fault;
pub use frames::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
pub use gossip::{Channel, Gossip, GossipId, Place, Published, Verdict};
pub use handle::{Error, Network, Publication, PublishError, RequestError};
pub use libp2p::Multiaddr;
pub use messages::{
    BLOCKS_ASKED_MAX, BODIES_ASKED_MAX, BODIES_BYTES_MAX, Payload, Request, Response,
    SNAPSHOTS_OFFERED_MAX, SnapshotOffer, Status,
};
pub use metrics::Metrics;
pub use peer::{Peer, PeerInfo};

/// The version of everything said here. Peers of another version are peers of another chain.
pub const PROTOCOL_VERSION: u32 = 2;
