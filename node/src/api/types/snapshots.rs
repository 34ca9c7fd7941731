//! The snapshots on the node's disk, as it tells them.

use crate::handle;
use ledger::{
    hash::{Hash, StateRoot},
    units::Height,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A snapshot on this node's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// Its height.
    #[schema(value_type = u64)]
    pub height: Height,
    /// The state root.
    #[schema(value_type = String)]
    pub root: StateRoot,
    /// The manifest's id.
    #[schema(value_type = String)]
    pub manifest: Hash,
    /// Entries in it.
    pub entries: u64,
    /// Chunks it is made of.
    pub chunks: u64,
    /// Bytes of its entries.
    pub bytes: u64,
    /// Bytes written for it: of chunks that no earlier snapshot had.
    pub new_bytes: u64,
}

impl From<handle::SnapshotInfo> for Snapshot {
    fn from(info: handle::SnapshotInfo) -> Self {
        Self {
            height: info.height,
            root: info.root,
            manifest: info.manifest,
            entries: info.entries,
            chunks: info.chunks,
            bytes: info.bytes,
            new_bytes: info.new_bytes,
        }
    }
}

/// The snapshots on this node's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Snapshots {
    /// They, newest first.
    pub snapshots: Vec<Snapshot>,
}

/// A snapshot with its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SnapshotDetail {
    /// What `/v1/snapshots` lists.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// The manifest's canonical encoding in hex: it names the chunks.
    pub manifest_hex: String,
}
