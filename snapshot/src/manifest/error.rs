//! Why a manifest is refused, and which reasons an honest peer can never give.

use super::{CHUNK_BYTES_MAX_MAX, CHUNK_BYTES_MAX_MIN, CHUNKS_MAX, FORMAT};
use crate::chunk;
use ledger::{
    codec::CodecError,
    hash::{Hash, StateRoot},
    light::LightError,
    state::tree::{FoldError, Prefix},
};

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Bytes that are no manifest.
    #[error("the manifest is unreadable: {0}")]
    Codec(#[from] CodecError),
    /// A format that this program does not know.
    #[error("the manifest is of format {0}, this program reads {FORMAT}; use a newer program")]
    Format(u8),
    /// It is not the one that was asked for.
    #[error("the manifest has id {found}, expected {expected}")]
    OtherId {
        /// Its id.
        found: Hash,
        /// The id asked for.
        expected: Hash,
    },
    /// The genesis that is trusted names no validators.
    #[error("the genesis is of no use: {0}")]
    Trusted(String),
    /// Its header is not to be believed.
    #[error(transparent)]
    Light(#[from] LightError),
    /// More chunks than are handled.
    #[error("the manifest lists {found} chunks, at most {CHUNKS_MAX} are handled")]
    TooManyChunks {
        /// Chunks listed.
        found: usize,
    },
    /// No chain cuts like this.
    #[error(
        "the manifest says it is cut at {0} bytes, {CHUNK_BYTES_MAX_MIN} to {CHUNK_BYTES_MAX_MAX} are possible"
    )]
    ChunkBytesMax(u64),
    /// A chunk that no state can have.
    #[error(
        "the chunk at {prefix} is said to have {bytes} bytes, no state has one above {}",
        chunk::BYTES_MAX
    )]
    ChunkTooLarge {
        /// Where.
        prefix: Prefix,
        /// Bytes it is said to have.
        bytes: u64,
    },
    /// The chunks make no tree, or are another cut.
    #[error("the manifest's chunks are no snapshot: {0}")]
    Fold(#[from] FoldError),
    /// The chunks make another state.
    #[error("the manifest's chunks fold to root {found}, the header says {expected}")]
    OtherRoot {
        /// Root they give.
        found: StateRoot,
        /// Root in the header.
        expected: StateRoot,
    },
}

impl ManifestError {
    /// Whether an honest peer could never have sent this in answer to the id asked for.
    pub const fn is_lie(&self) -> bool {
        match self {
            Self::Format(_) => false,
            Self::Light(error) => error.is_lie(),
            _ => true,
        }
    }
}
