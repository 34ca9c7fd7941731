//! How far a node is with what it fetches.

use crate::handle;
use ledger::units::Height;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far down a node's history reaches, and how far it is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Backfill {
    /// The first block it has; null if it has none yet.
    #[schema(value_type = Option<u64>)]
    pub earliest: Option<Height>,
    /// The first that it is to have.
    #[schema(value_type = u64)]
    pub target: Height,
}

/// How far a sync is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncProgress {
    /// `snapshot` or `blocks`.
    pub mode: String,
    /// The height it goes for.
    #[schema(value_type = u64)]
    pub height: Height,
    /// Chunks verified and stored.
    pub chunks_done: u64,
    /// Chunks in all.
    pub chunks_total: u64,
    /// Bytes of these.
    pub bytes_done: u64,
    /// Bytes in all.
    pub bytes_total: u64,
    /// Bytes that came a second, since it began.
    #[serde(default)]
    pub bytes_per_second: u64,
    /// Seconds until all have come, at that pace; null if none comes.
    #[serde(default)]
    pub seconds_left: Option<u64>,
    /// Peers it fetches from.
    pub peers: u64,
}

impl From<&handle::SyncProgress> for SyncProgress {
    fn from(sync: &handle::SyncProgress) -> Self {
        Self {
            mode: sync.mode.to_owned(),
            height: sync.height,
            chunks_done: sync.chunks_done,
            chunks_total: sync.chunks_total,
            bytes_done: sync.bytes_done,
            bytes_total: sync.bytes_total,
            bytes_per_second: sync.bytes_per_second,
            seconds_left: sync.seconds_left,
            peers: sync.peers as u64,
        }
    }
}

/// What a node started from, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Origin {
    /// `folder`, `snapshot` (fetched from peers) or `genesis` (every block is executed).
    pub from: String,
    /// The height of the state it started with.
    #[schema(value_type = u64)]
    pub height: Height,
    /// Why.
    pub why: String,
}

impl From<&handle::Origin> for Origin {
    fn from(origin: &handle::Origin) -> Self {
        Self {
            from: origin.from.to_owned(),
            height: origin.height,
            why: origin.why.clone(),
        }
    }
}
