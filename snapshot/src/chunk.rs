//! A chunk: one subtree of the state, as bytes.
//!
//! # The format
//! ```text
//! form u8 = 1 (whole) ‖ bytes u64 ‖ zstd frame of: per entry, in the order of places
//!                                    key length u32 ‖ value length u32 ‖ key ‖ value
//! ```
//! Numbers are big-endian. `bytes` is the length uncompressed, and equals the subtree's bytes as the tree counts them. Places are
//! not stored: they follow from the keys. The form says from the first byte whether a chunk stands alone; another form (a
//! patch on an older chunk) can be added without touching this one. The same subtree gives the same bytes with the same zstd
//! library; other compressions of the same entries are as good, as the id is the hash of the *subtree*.
//!
//! # Trust
//! The bytes come from a peer or a disk. Before anything is allocated the length promised is held against the manifest's, which
//! is proven; then the subtree is rebuilt and its hash compared. Nothing else is believed.
//!
//! # Cost
//! Verifying takes a hash for the place, two for the leaf and one for an inner node per entry, besides decompression: for
//! 256 KiB a few milliseconds. It is to run where that delays nothing.

use crate::manifest::ChunkRef;
use ledger::{
    codec,
    hash::{Hash, StateRoot},
    state::{
        entries::{KEY_BYTES_MAX, Key},
        tree::{BuildError, EntryRef, Part, Place, Subtree, Totals, Tree},
    },
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of a chunk uncompressed, at the most: what a genesis may choose, and above any single entry (1 MiB).
pub const BYTES_MAX: u64 = 4 << 20;

/// Bytes of an encoded chunk, at the most: head, checksums, and the 1/128 by which zstd may let incompressible bytes grow.
pub const ENCODED_BYTES_MAX: usize = (4 << 20) + (4 << 13) + 1024;

/// The form byte of a chunk that stands alone.
const WHOLE: u8 = 1;
const HEAD_BYTES: usize = 1 + 8;
const ZSTD_LEVEL: i32 = 3;

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
    #[error("the chunk is of form {0}, this program reads {WHOLE}")]
    Form(u8),
    /// Too short for its head.
    #[error("the chunk has {0} bytes, its head alone has {HEAD_BYTES}")]
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
    /// The entries are another subtree.
    #[error("the chunk's entries hash to {found:.8}, wanted was {expected:.8}")]
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

/// The place of an entry of a state, from the key that its leaf keeps; none if the key is no state's.
pub fn place_of(key: &[u8]) -> Option<Place> {
    let key: Key = codec::decode(key, KEY_BYTES_MAX).ok()?;
    Some(key.place())
}

/// Encodes a subtree.
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
        for part in [entry.key, entry.value] {
            // Bounded by BYTES_MAX, far below 2^32.
            let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
            plain.extend_from_slice(&len.to_be_bytes());
        }
        plain.extend_from_slice(entry.key);
        plain.extend_from_slice(entry.value);
    }
    debug_assert_eq!(plain.len() as u64, bytes, "the tree counts what is stored");
    let frame = zstd::bulk::compress(&plain, ZSTD_LEVEL).map_err(|e| compression(&e))?;
    let mut encoded = Vec::with_capacity(HEAD_BYTES + frame.len());
    encoded.push(WHOLE);
    encoded.extend_from_slice(&bytes.to_be_bytes());
    encoded.extend_from_slice(&frame);
    Ok(encoded)
}

/// Verifies the bytes of a chunk whose totals are proven.
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
    let plain = decompress(bytes, bytes_max.min(BYTES_MAX))?;
    let entries = parse(&plain)?;
    let tree = Tree::build(entries)?;
    let found = tree.root();
    if found != StateRoot::from(chunk.hash) {
        return Err(ChunkError::OtherHash {
            found: found.into(),
            expected: chunk.hash,
        });
    }
    let subtree = tree.top().ok_or(ChunkError::Empty)?;
    if subtree.part() != chunk.part() {
        return Err(ChunkError::NotAsListed {
            found: Box::new(subtree.part()),
            listed: Box::new(chunk.part()),
        });
    }
    Ok(VerifiedChunk(subtree.clone()))
}

/// The bytes of the entries, of which there are at most `bytes_max`: allocated only once that is known.
fn decompress(bytes: &[u8], bytes_max: u64) -> Result<Vec<u8>, ChunkError> {
    if bytes.len() > ENCODED_BYTES_MAX {
        return Err(ChunkError::TooLong {
            found: bytes.len(),
            max: ENCODED_BYTES_MAX,
        });
    }
    let (head, frame) = bytes
        .split_first_chunk::<HEAD_BYTES>()
        .ok_or(ChunkError::NoHead(bytes.len()))?;
    let [form, promise @ ..] = *head;
    if form != WHOLE {
        return Err(ChunkError::Form(form));
    }
    let promise = u64::from_be_bytes(promise);
    let too_much = ChunkError::Promise {
        found: promise,
        max: bytes_max,
    };
    if promise > bytes_max {
        return Err(too_much);
    }
    let capacity = usize::try_from(promise).map_err(|_| too_much)?;
    let plain = zstd::bulk::decompress(frame, capacity).map_err(|e| compression(&e))?;
    if plain.len() != capacity {
        return Err(ChunkError::Compression(format!(
            "{} bytes, {promise} were promised",
            plain.len()
        )));
    }
    Ok(plain)
}

fn parse(mut plain: &[u8]) -> Result<Vec<EntryRef<'_>>, ChunkError> {
    let mut entries = Vec::new();
    while !plain.is_empty() {
        let bad = ChunkError::Entry(entries.len() as u64);
        let Some((entry, rest)) = parse_entry(plain) else {
            return Err(bad);
        };
        entries.push(entry);
        plain = rest;
    }
    Ok(entries)
}

fn parse_entry(plain: &[u8]) -> Option<(EntryRef<'_>, &[u8])> {
    let (key_len, plain) = plain.split_first_chunk::<4>()?;
    let (value_len, plain) = plain.split_first_chunk::<4>()?;
    let key_len = usize::try_from(u32::from_be_bytes(*key_len)).ok()?;
    let value_len = usize::try_from(u32::from_be_bytes(*value_len)).ok()?;
    let (key, plain) = plain.split_at_checked(key_len)?;
    let (value, plain) = plain.split_at_checked(value_len)?;
    let place = place_of(key)?;
    Some((EntryRef { place, key, value }, plain))
}

fn compression(error: &std::io::Error) -> ChunkError {
    ChunkError::Compression(error.to_string())
}

#[cfg(test)]
mod tests;
