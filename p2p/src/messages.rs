//! What one node asks another, and the answers. Payloads that belong to other crates are opaque bytes here; who asked
//! decodes and verifies them.

use ledger::{
    codec,
    envelope::EnvelopeId,
    hash::{BlockHash, ChainId, Hash, StateRoot, TxId},
    units::{Height, Round},
};
use serde::{Deserialize, Serialize};

/// Blocks in one answer. More would not fit anyway, and a peer must not make another read a whole log at once.
pub const BLOCKS_ASKED_MAX: u32 = 256;
/// Transactions asked for at once: one block's worth, and the ids fit a request.
pub const BODIES_ASKED_MAX: usize = 4096;
/// Bytes of transactions in one answer, after which no further one is added: who wants more asks again. The answer is
/// held in memory whole, and a few of these a second follow the fastest chain.
pub const BODIES_BYTES_MAX: usize = 1 << 20;
/// Snapshots that a status offers. A node keeps a handful.
pub const SNAPSHOTS_OFFERED_MAX: usize = 64;
/// Bytes of a place's prefix in the state tree.
const PREFIX_BYTES_MAX: usize = 33;
/// Addresses in one answer about peers.
pub(crate) const PEERS_TOLD_MAX: usize = 32;
/// Bytes of such an answer.
pub(crate) const PEERS_BYTES_MAX: u32 = 8 << 10;

/// Bytes of another crate.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(#[serde(with = "codec::bytes")] pub Vec<u8>);

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// A question to one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// How far are you, and what do you have?
    Status,
    /// The committed blocks from `from` on, at most `max` of them.
    Blocks {
        /// The first height.
        from: Height,
        /// At most so many, of at most [`BLOCKS_ASKED_MAX`].
        max: u32,
    },
    /// The transactions with these ids, at most [`BODIES_ASKED_MAX`].
    Bodies {
        /// The ids, strictly ascending: one named twice would make a small question a large answer.
        ids: Vec<TxId>,
    },
    /// The proposal of a block.
    Proposal {
        /// Its height.
        height: Height,
        /// Its round.
        round: Round,
        /// Its hash.
        block: BlockHash,
    },
    /// An envelope by its number.
    Envelope(EnvelopeId),
    /// A snapshot's manifest.
    Manifest {
        /// The manifest's id.
        id: Hash,
    },
    /// A chunk of a snapshot.
    Chunk {
        /// The chunk's id: the hash of its subtree.
        id: Hash,
        /// An older chunk that who asks has: a patch on it will do as well.
        base: Option<Hash>,
    },
    /// The state root after a height.
    Root {
        /// The height.
        height: Height,
    },
    /// The children of a node of the state tree, for finding out where two trees differ.
    Children {
        /// The height of the state.
        height: Height,
        /// The node, by the prefix of its places.
        prefix: Payload,
    },
    /// What a light client needs to believe a block's header.
    Light {
        /// The block's height.
        height: Height,
    },
}

/// The answer to the [`Request`] of the same name, or [`Response::NotHere`]. Encoded, it must stay within
/// [`crate::RESPONSE_BYTES_MAX`] (status 64 KiB, light 128 KiB, children 256 KiB, envelope 3 MiB, bodies, proposal, manifest and chunk
/// 8 MiB).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// How far the peer says it is.
    Status(Box<Status>),
    /// Blocks, in order, from the height asked for; empty when the peer has not got so far.
    Blocks(Vec<Payload>),
    /// Those of the transactions that the peer has, in the order asked for, up to [`BODIES_BYTES_MAX`].
    Bodies(Vec<Payload>),
    /// The proposal, if the peer has it.
    Proposal(Option<Payload>),
    /// The envelope, if the peer has it.
    Envelope(Option<Payload>),
    /// The manifest, if the peer has it.
    Manifest(Option<Payload>),
    /// The chunk, whole or as a patch on what was named, if the peer has it.
    Chunk(Option<Payload>),
    /// The root, if the peer has it.
    Root(Option<StateRoot>),
    /// The children, if there is such a node in the state the peer has.
    Children(Option<Payload>),
    /// The peer had it once and keeps it no more. What it has begins at this height.
    NotHere {
        /// The first height of what was asked for (blocks, roots or states) that the peer still has.
        earliest: Height,
    },
    /// Header, certificate and validators, if the peer has them.
    Light(Option<Payload>),
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its chain.
    pub chain: ChainId,
    /// The version it speaks: [`crate::PROTOCOL_VERSION`].
    pub version: u32,
    /// The last height it committed.
    pub height: Height,
    /// The first block it has; with none, the one after the last height.
    pub earliest_block: Height,
    /// The header and certificate of its last block, to be decoded and verified; none at genesis.
    pub head: Option<Payload>,
    /// Its snapshots, newest first, at most [`SNAPSHOTS_OFFERED_MAX`].
    pub snapshots: Vec<SnapshotOffer>,
}

/// A snapshot that a node has whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotOffer {
    /// Its height.
    pub height: Height,
    /// The manifest's id.
    pub manifest: Hash,
    /// The state root.
    pub root: StateRoot,
    /// Bytes of its entries, as the peer says.
    pub bytes: u64,
    /// Chunks, as the peer says.
    pub chunks: u32,
}

impl Request {
    /// Bytes of an answer that make sense, so that a peer cannot make another take more.
    pub(crate) fn answer_bytes_max(&self) -> u32 {
        match self {
            Self::Root { .. } => 1 << 10,
            Self::Status => 64 << 10,
            Self::Light { .. } => 128 << 10,
            Self::Children { .. } => 256 << 10,
            Self::Envelope(_) => 3 << 20,
            Self::Bodies { .. }
            | Self::Proposal { .. }
            | Self::Manifest { .. }
            | Self::Chunk { .. } => 8 << 20,
            Self::Blocks { .. } => crate::RESPONSE_BYTES_MAX,
        }
    }

    /// Whether it keeps the bounds that are not in its type. Checked by who asks and by who is asked.
    pub(crate) fn is_bounded(&self) -> bool {
        match self {
            Self::Blocks { max, .. } => *max <= BLOCKS_ASKED_MAX,
            Self::Bodies { ids } => ids.len() <= BODIES_ASKED_MAX && ids.is_sorted_by(|a, b| a < b),
            Self::Children { prefix, .. } => prefix.0.len() <= PREFIX_BYTES_MAX,
            Self::Status
            | Self::Proposal { .. }
            | Self::Envelope(_)
            | Self::Manifest { .. }
            | Self::Chunk { .. }
            | Self::Root { .. }
            | Self::Light { .. } => true,
        }
    }

    /// Whether that is an answer to this: of its kind, and no more than was asked for.
    pub(crate) fn is_answered_by(&self, response: &Response) -> bool {
        match (self, response) {
            (Self::Status, Response::Status(status)) => {
                status.snapshots.len() <= SNAPSHOTS_OFFERED_MAX
            }
            (Self::Blocks { max, .. }, Response::Blocks(blocks)) => {
                u32::try_from(blocks.len()).is_ok_and(|count| count <= *max)
            }
            (Self::Bodies { ids }, Response::Bodies(bodies)) => bodies.len() <= ids.len(),
            (Self::Proposal { .. }, Response::Proposal(_))
            | (Self::Envelope(_), Response::Envelope(_))
            | (Self::Manifest { .. }, Response::Manifest(_))
            | (Self::Chunk { .. }, Response::Chunk(_))
            | (Self::Root { .. }, Response::Root(_))
            | (Self::Children { .. }, Response::Children(_))
            | (Self::Light { .. }, Response::Light(_)) => true,
            (
                Self::Blocks { .. } | Self::Root { .. } | Self::Children { .. },
                Response::NotHere { .. },
            ) => true,
            _ => false,
        }
    }
}

/// What is really on the wire: the node's questions, and this crate's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Question {
    /// For the node.
    Node(Request),
    /// Whom are you connected to?
    Peers,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The node's.
    Node(Response),
    /// Addresses with identities, in libp2p's binary form, at most [`PEERS_TOLD_MAX`].
    Peers(Vec<Payload>),
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
