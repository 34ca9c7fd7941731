//! The hashes of the tree, and the sums that go with them.
//!
//! Leaves and inner nodes are short and of known shape, so their SHA-256 blocks are laid out here directly. That is what
//! a batch spends most of its time on; the streaming interface costs nearly as much again as the compression.

use crate::hash::{Domain, Hash, Hasher, hash};
use sha2::block_api::compress256;
use std::sync::LazyLock;

/// Bytes an entry counts besides its key and its value: the two lengths that stand before them in a chunk.
///
/// A chunk's encoding must not use more, so that a limit on a subtree's bytes is a limit on its chunk.
pub const ENTRY_OVERHEAD_BYTES: u64 = 8;

/// How much a subtree holds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Totals {
    /// Entries in it.
    pub entries: u64,
    /// Bytes in it: of each entry its key, its value and [`ENTRY_OVERHEAD_BYTES`].
    pub bytes: u64,
}

impl Totals {
    /// What one entry counts.
    #[inline]
    pub(super) fn of_entry(key_bytes: usize, value_bytes: usize) -> Self {
        Self {
            entries: 1,
            bytes: (key_bytes as u64)
                .saturating_add(value_bytes as u64)
                .saturating_add(ENTRY_OVERHEAD_BYTES),
        }
    }

    /// Both together, unless that is more than can be counted: only totals that somebody made up are.
    #[inline]
    pub(super) fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self {
            entries: self.entries.checked_add(other.entries)?,
            bytes: self.bytes.checked_add(other.bytes)?,
        })
    }

    /// Both together, for totals of entries in memory, which cannot be too many to count.
    #[inline]
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            entries: self.entries.saturating_add(other.entries),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// What an inner node commits to about a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Summary {
    /// The hash of the child.
    pub hash: Hash,
    /// What it holds.
    pub totals: Totals,
}

const BLOCK_BYTES: usize = 64;
/// What two blocks hold besides the padding's first bit and the length.
const TWO_BLOCKS_MAX: usize = 2 * BLOCK_BYTES - 9;
const ONE_BLOCK_MAX: usize = BLOCK_BYTES - 9;

const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

type Blocks = [[u8; BLOCK_BYTES]; 2];

/// Pads the first `len` bytes, at most [`TWO_BLOCKS_MAX`], and compresses as many blocks as they take.
#[inline]
fn finish(mut blocks: Blocks, len: usize) -> Hash {
    let used = if len <= ONE_BLOCK_MAX { 1 } else { 2 };
    let flat = blocks.as_flattened_mut();
    flat[len] = 0x80;
    let end = used * BLOCK_BYTES;
    flat[end - 8..end].copy_from_slice(&(len as u64 * 8).to_be_bytes());
    let mut state = INITIAL;
    compress256(&mut state, &blocks[..used]);
    let mut digest = [0; 32];
    for (word, bytes) in state.iter().zip(digest.as_chunks_mut::<4>().0) {
        *bytes = word.to_be_bytes();
    }
    Hash(digest)
}

/// The hash of the empty tree.
pub(super) fn empty() -> Hash {
    static EMPTY: LazyLock<Hash> = LazyLock::new(|| hash(Domain::TreeEmpty, &[]));
    *EMPTY
}

/// The hash of a value.
#[inline]
pub(super) fn value(value: &[u8]) -> Hash {
    let len = 1 + value.len();
    if len > TWO_BLOCKS_MAX {
        return hash(Domain::TreeValue, value);
    }
    let mut blocks = [[0; BLOCK_BYTES]; 2];
    let flat = blocks.as_flattened_mut();
    flat[0] = Domain::TreeValue as u8;
    flat[1..len].copy_from_slice(value);
    finish(blocks, len)
}

/// The hash of a leaf, from the parts that it commits to.
#[inline]
pub(super) fn leaf(place: &[u8; 32], key: &[u8], value_len: u32, value_hash: &Hash) -> Hash {
    const FIXED: usize = 1 + 32 + 4 + 4 + 32;
    let key_len = len_u32(key.len()).to_be_bytes();
    let value_len = value_len.to_be_bytes();
    let len = FIXED + key.len();
    if len > TWO_BLOCKS_MAX {
        return Hasher::new(Domain::TreeLeaf)
            .chain(place)
            .chain(key_len)
            .chain(value_len)
            .chain(key)
            .chain(value_hash)
            .finish();
    }
    let mut blocks = [[0; BLOCK_BYTES]; 2];
    let flat = blocks.as_flattened_mut();
    flat[0] = Domain::TreeLeaf as u8;
    flat[1..33].copy_from_slice(place);
    flat[33..37].copy_from_slice(&key_len);
    flat[37..41].copy_from_slice(&value_len);
    flat[41..41 + key.len()].copy_from_slice(key);
    flat[len - 32..len].copy_from_slice(&value_hash.0);
    finish(blocks, len)
}

/// The hash of a leaf with its value.
#[inline]
pub(super) fn entry(place: &[u8; 32], key: &[u8], bytes: &[u8]) -> Hash {
    leaf(place, key, len_u32(bytes.len()), &value(bytes))
}

/// The hash of the inner node whose children part at `bit`.
#[inline]
pub(super) fn inner(bit: u16, left: &Summary, right: &Summary) -> Hash {
    const LEN: usize = 1 + 2 + 2 * (32 + 8 + 8);
    let mut blocks = [[0; BLOCK_BYTES]; 2];
    let flat = blocks.as_flattened_mut();
    flat[0] = Domain::TreeInner as u8;
    flat[1..3].copy_from_slice(&bit.to_be_bytes());
    flat[3..35].copy_from_slice(&left.hash.0);
    flat[35..43].copy_from_slice(&left.totals.entries.to_be_bytes());
    flat[43..51].copy_from_slice(&left.totals.bytes.to_be_bytes());
    flat[51..83].copy_from_slice(&right.hash.0);
    flat[83..91].copy_from_slice(&right.totals.entries.to_be_bytes());
    flat[91..99].copy_from_slice(&right.totals.bytes.to_be_bytes());
    finish(blocks, LEN)
}

/// An inner node's summary, from those of two children that are in memory.
#[inline]
pub(super) fn summary(bit: u16, left: &Summary, right: &Summary) -> Summary {
    Summary {
        hash: inner(bit, left, right),
        totals: left.totals.plus(right.totals),
    }
}

/// A length as it is hashed and stored. Lengths are bounded by the limits of the tree long before they reach 2^32.
#[inline]
pub(super) fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
