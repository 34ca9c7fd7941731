//! What is gossiped: the channels, the messages, and how much of them may wait for the node at once.

use crate::peer::Peer;
use ledger::{envelope::ENVELOPE_BYTES_MAX, hash::ChainId};
use libp2p::gossipsub::{IdentTopic, MessageId};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Bytes behind the payload that tell one publication of it from the next.
pub(crate) const EDITION_BYTES: usize = 4;

/// What a message is about. Each has a topic, a size limit and a share of the node's attention of its own, so that a
/// flood on one leaves the others alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// Proposals, votes, certificates.
    Consensus,
    /// Envelopes of transactions.
    Transactions,
    /// Attested roots and pictures.
    Attestations,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Consensus, Self::Transactions, Self::Attestations];

    /// Bytes of a message.
    pub const fn bytes_max(self) -> usize {
        match self {
            // The ids of the largest block.
            Self::Consensus => 4 << 20,
            Self::Transactions => ENVELOPE_BYTES_MAX,
            Self::Attestations => 1 << 20,
        }
    }

    /// What may wait for the node: messages, bytes. A quarter of it may come from one peer.
    const fn waiting_max(self) -> Load {
        let (messages, bytes) = match self {
            Self::Consensus => (2048, 32 << 20),
            // Many and small: an envelope leaves a busy node every few milliseconds, and each waits while a block is executed.
            Self::Transactions => (4096, 48 << 20),
            Self::Attestations => (256, 8 << 20),
        };
        Load { messages, bytes }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Transactions => "transactions",
            Self::Attestations => "attestations",
        }
    }

    pub(crate) fn topic(self, chain: &ChainId) -> IdentTopic {
        let version = crate::PROTOCOL_VERSION;
        IdentTopic::new(format!("tintype/{version}/{chain}/{}", self.name()))
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of one publication: the hash of its topic and content.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct GossipId([u8; 32]);

impl GossipId {
    /// Computed by the sender and each receiver for itself, so that nobody can name a message falsely.
    pub(crate) fn of(topic: &str, data: &[u8]) -> Self {
        let topic_bytes = topic.len() as u64;
        let digest = Sha256::new()
            .chain_update(b"tintype gossip")
            .chain_update(topic_bytes.to_be_bytes())
            .chain_update(topic)
            .chain_update(data);
        Self(digest.finalize().into())
    }

    pub(crate) fn from_message_id(id: &MessageId) -> Option<Self> {
        id.0.as_slice().try_into().ok().map(Self)
    }

    pub(crate) fn to_message_id(self) -> MessageId {
        MessageId::new(&self.0)
    }
}

impl fmt::Debug for GossipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "GossipId({a:02x}{b:02x}{c:02x}{d:02x})")
    }
}

/// A message that waits for the node's [`Verdict`]. Keep its [`Place`] until the work on it is done, verdict or not.
#[derive(Debug)]
pub struct Gossip {
    /// Its channel.
    pub channel: Channel,
    /// The peer that forwarded it; who made it is said inside.
    pub from: Peer,
    /// Its name, for the verdict.
    pub id: GossipId,
    /// Its content, not verified.
    pub data: Vec<u8>,
    /// What it takes of the waiting room.
    pub place: Place,
}

/// What the node thinks of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is true and new: forward it.
    Accept,
    /// It is not to be forwarded, and nobody's fault: old, early, unknown.
    Ignore,
    /// It is proven false, and the peer that forwarded it must have known. Counts as [`crate::Fault::Rejected`].
    Reject,
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is on its way to every connected peer.
    Sent,
    /// It had been published or received before, and is not sent again.
    Known,
    /// Nobody is there to hear it.
    NoPeers,
    /// All peers are too slow to take more.
    Dropped,
}

/// Messages and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    messages: usize,
    bytes: usize,
}

impl Load {
    fn fits(self, bytes: usize, max: Self, share: usize) -> bool {
        self.messages < max.messages / share && self.bytes + bytes <= max.bytes / share
    }

    fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.messages -= 1;
        self.bytes -= bytes;
    }
}

/// A peer may fill a quarter of a channel's waiting room.
const PEERS_TO_FILL: usize = 4;

#[derive(Debug, Default)]
struct Loads {
    channels: HashMap<Channel, Load>,
    peers: HashMap<(Peer, Channel), Load>,
}

/// The waiting rooms of the channels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting(Arc<Mutex<Loads>>);

impl Waiting {
    /// A place for a message, if there is room.
    pub(crate) fn enter(&self, channel: Channel, from: Peer, bytes: usize) -> Option<Place> {
        let mut loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let max = channel.waiting_max();
        let here = loads.channels.get(&channel).copied().unwrap_or_default();
        let theirs = loads.peers.get(&(from, channel)).copied();
        // The first message of a peer always fits its share, so that a large one is not shut out for good.
        let theirs_fit = theirs.is_none_or(|load| load.fits(bytes, max, PEERS_TO_FILL));
        if !here.fits(bytes, max, 1) || !theirs_fit {
            return None;
        }
        loads.channels.entry(channel).or_default().add(bytes);
        loads.peers.entry((from, channel)).or_default().add(bytes);
        Some(Place {
            waiting: self.clone(),
            channel,
            from,
            bytes,
        })
    }
}

/// A message's place in the waiting room of its channel, given back when dropped: while it lives, the message counts
/// against what its channel and its sender may have waiting. Whoever passes on what a message said passes this on too.
#[derive(Debug)]
pub struct Place {
    waiting: Waiting,
    channel: Channel,
    from: Peer,
    bytes: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut loads = self
            .waiting
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(load) = loads.channels.get_mut(&self.channel) {
            load.remove(self.bytes);
        }
        let key = (self.from, self.channel);
        if let Some(load) = loads.peers.get_mut(&key) {
            load.remove(self.bytes);
            if load.messages == 0 {
                loads.peers.remove(&key);
            }
        }
    }
}

#[cfg(test)]
#[path = "gossip_tests.rs"]
mod tests;
