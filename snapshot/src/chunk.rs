//! A chunk: one subtree of the state, as bytes.
//!
//! # The forms
//! A chunk comes *whole*, or as a *[`patch`]* on an older one; its id is the hash of the subtree that results, either way, so
//! both are verified alike. The form is in the first byte.
//! ```text
//! form u8 = 1 (whole) ‖ bytes u64 ‖ zstd frame of: per entry, in the order of places
//!                                    key length u32 ‖ value length u32 ‖ key ‖ value
//! ```
//! Numbers are big-endian. `bytes` is the length uncompressed, and equals the subtree's bytes as the tree counts them. Places are
//! not stored: they follow from the keys. The same subtree gives the same bytes with the same zstd library; other compressions
//! of the same entries are as good.
//!
//! # Trust
//! The bytes come from a peer or a disk. Before anything is allocated the length promised is held against the manifest's, which
//! is proven; then the subtree is rebuilt and its hash compared. Nothing else is believed.
//!
//! # Cost
//! Verifying takes a hash for the place, two for the leaf and one for an inner node per entry, besides decompression: for
//! 256 KiB a few milliseconds. It is to run where that delays nothing. A patch on a subtree in memory costs that for what
//! changed alone.

pub mod patch;
mod plain;

use crate::manifest::ChunkRef;
use ledger::{
    hash::Hash,
    state::tree::{BuildError, Part, Place, PrefixError, Subtree, Totals, Tree},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of a chunk uncompressed, at the most: what a genesis may choose, and above any single entry (1 MiB).
pub const BYTES_MAX: u64 = 4 << 20;

/// Bytes of an encoded chunk, at the most: head, checksums, and the 1/128 by which zstd may let incompressible bytes grow.
pub const ENCODED_BYTES_MAX: usize = (4 << 20) + (4 << 13) + 1024;

/// The form byte of a chunk that stands alone.
const WHOLE: u8 = 1;
/// The form byte of one that is a patch on another.
const PATCH: u8 = 2;

/// What names a chunk: the hash of its subtree.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ChunkId(pub Hash);

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a chunk is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A form that this program does not know.
    #[error(
        "the chunk is of form {0}, this program reads {WHOLE}, and {PATCH} where a patch was asked for"
    )]
    Form(u8),
    /// Too short for its head.
    #[error("the chunk has {0} bytes, its head alone has more")]
    NoHead(usize),
    /// More bytes than any encoding of the chunk may take.
    #[error("the chunk takes {found} bytes compressed, at most {max} are possible")]
    TooLong {
        /// Bytes offered.
        found: usize,
        /// Bytes possible.
        max: usize,
    },
    /// It promises another length than the manifest proves.
    #[error("the chunk promises {found} bytes, at most {max} are proven")]
    Promise {
        /// Bytes promised.
        found: u64,
        /// Bytes proven.
        max: u64,
    },
    /// It does not decompress to what it promised.
    #[error("the chunk does not decompress: {0}")]
    Compression(String),
    /// An entry that is cut off, or whose key is none of a state's.
    #[error("entry {0} of the chunk is unreadable")]
    Entry(u64),
    /// The entries are no subtree.
    #[error("the chunk is no subtree: {0}")]
    Build(#[from] BuildError),
    /// No entries.
    #[error("the chunk is empty")]
    Empty,
    /// A patch on another chunk than the one at hand.
    #[error("the patch is on chunk {found}, at hand is {expected}")]
    OtherBase {
        /// The chunk it is on.
        found: Hash,
        /// The chunk at hand.
        expected: Hash,
    },
    /// A patch that says something twice, out of order, or outside its own bounds.
    #[error("the patch contradicts itself at {0}")]
    Contradiction(Place),
    /// A patch whose bounds are none.
    #[error("the patch is unreadable: {0}")]
    Prefix(#[from] PrefixError),
    /// The entries are another subtree.
    #[error("the chunk's entries hash to {found}, wanted was {expected}")]
    OtherHash {
        /// Hash that they give.
        found: Hash,
        /// Hash wanted.
        expected: Hash,
    },
    /// The entries are the subtree asked for, and the manifest lists it wrongly: the manifest lies.
    #[error(
        "the chunk is right and the manifest lists it wrongly: at {} with {} bytes, it says {} with {}",
        found.prefix, found.totals.bytes, listed.prefix, listed.totals.bytes
    )]
    NotAsListed {
        /// What the chunk is.
        found: Box<Part>,
        /// What the manifest says.
        listed: Box<Part>,
    },
}

/// A chunk whose entries give the hash that was asked for.
#[derive(Clone, Debug)]
pub struct VerifiedChunk(Subtree);

impl VerifiedChunk {
    /// A subtree that was hashed just now, held against what a manifest lists.
    fn of(subtree: &Subtree, chunk: &ChunkRef) -> Result<Self, ChunkError> {
        if subtree.hash() != chunk.hash {
            return Err(ChunkError::OtherHash {
                found: subtree.hash(),
                expected: chunk.hash,
            });
        }
        if subtree.part() != chunk.part() {
            return Err(ChunkError::NotAsListed {
                found: Box::new(subtree.part()),
                listed: Box::new(chunk.part()),
            });
        }
        Ok(Self(subtree.clone()))
    }

    /// The subtree.
    pub const fn subtree(&self) -> &Subtree {
        &self.0
    }

    /// The subtree.
    pub fn into_subtree(self) -> Subtree {
        self.0
    }

    /// The chunk's id.
    pub fn id(&self) -> ChunkId {
        ChunkId(self.0.hash())
    }
}

/// Encodes a subtree, whole.
///
/// # Errors
/// [`ChunkError::Promise`] for one above [`BYTES_MAX`], which no cut gives; [`ChunkError::Compression`] if zstd fails.
pub fn encode(subtree: &Subtree) -> Result<Vec<u8>, ChunkError> {
    let Totals { bytes, .. } = subtree.totals();
    if bytes > BYTES_MAX {
        return Err(ChunkError::Promise {
            found: bytes,
            max: BYTES_MAX,
        });
    }
    let mut plain = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    for entry in subtree.iter() {
        plain::push_entry(&mut plain, entry.key, entry.value);
    }
    debug_assert_eq!(plain.len() as u64, bytes, "the tree counts what is stored");
    plain::pack(vec![WHOLE], &plain)
}

/// Verifies the bytes of a whole chunk whose totals are proven.
///
/// # Errors
/// [`ChunkError`] names the first fault.
pub fn verify(bytes: &[u8], chunk: &ChunkRef) -> Result<VerifiedChunk, ChunkError> {
    verify_within(bytes, chunk, chunk.bytes)
}

/// As [`verify`], of a chunk of which only the hash is proven: its subtree has at most `bytes_max` bytes.
pub(crate) fn verify_within(
    bytes: &[u8],
    chunk: &ChunkRef,
    bytes_max: u64,
) -> Result<VerifiedChunk, ChunkError> {
    let plain = unpack_whole(bytes, bytes_max)?;
    let tree = Tree::build(plain::entries(&plain)?)?;
    VerifiedChunk::of(tree.top().ok_or(ChunkError::Empty)?, chunk)
}

/// The bytes of a whole chunk's entries, at most `bytes_max`.
fn unpack_whole(bytes: &[u8], bytes_max: u64) -> Result<Vec<u8>, ChunkError> {
    let (form, packed) = form_of(bytes)?;
    if form != WHOLE {
        return Err(ChunkError::Form(form));
    }
    plain::unpack(packed, bytes_max.min(BYTES_MAX))
}

/// The form that a chunk comes in, and what follows.
fn form_of(bytes: &[u8]) -> Result<(u8, &[u8]), ChunkError> {
    if bytes.len() > ENCODED_BYTES_MAX {
        return Err(ChunkError::TooLong {
            found: bytes.len(),
            max: ENCODED_BYTES_MAX,
        });
    }
    let (form, packed) = bytes.split_first().ok_or(ChunkError::NoHead(0))?;
    Ok((*form, packed))
}

#[cfg(test)]
mod tests;
