//! The hashes of the tree, and the sums that go with them.
//!
//! Leaves and inner nodes are short and of known shape, so their SHA-256 blocks are laid out here directly. That is what
//! a batch spends most of its time on; the streaming interface costs nearly as much again as the compression.

use super::lanes::{self, Block};
use crate::hash::{Domain, Hash, Hasher, hash};
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

/// The hash of a node that is to be hashed when all below it stands ([`super::seal`]); no node's real one.
pub(super) const PENDING: Hash = Hash([0; 32]);

impl Summary {
    /// That of a node that is to be hashed.
    #[inline]
    pub(super) fn pending(totals: Totals) -> Self {
        let hash = PENDING;
        Self { hash, totals }
    }

    #[inline]
    pub(super) fn is_pending(&self) -> bool {
        self.hash == PENDING
    }
}

const BLOCK_BYTES: usize = size_of::<Block>();
/// What two blocks hold besides the padding's first bit and the length.
const TWO_BLOCKS_MAX: usize = 2 * BLOCK_BYTES - 9;
const ONE_BLOCK_MAX: usize = BLOCK_BYTES - 9;

/// Something to be hashed.
enum Message {
    One([Block; 1]),
    Two([Block; 2]),
    /// Too long to be laid out here, and hashed already.
    Long(Hash),
}

impl Message {
    /// Pads the first `len` bytes, at most [`TWO_BLOCKS_MAX`].
    #[inline]
    fn padded(mut blocks: [Block; 2], len: usize) -> Self {
        pad(&mut blocks, len);
        if len <= ONE_BLOCK_MAX {
            Self::One([blocks[0]])
        } else {
            Self::Two(blocks)
        }
    }

    #[inline]
    fn hash(&self) -> Hash {
        match self {
            Self::One(message) => Hash(lanes::one(message)),
            Self::Two(message) => Hash(lanes::one(message)),
            Self::Long(hash) => *hash,
        }
    }

    /// The hashes of two.
    #[inline]
    fn both([a, b]: [&Self; 2]) -> [Hash; 2] {
        match (a, b) {
            (Self::One(a), Self::One(b)) => lanes::two([a, b]).map(Hash),
            (Self::Two(a), Self::Two(b)) => lanes::two([a, b]).map(Hash),
            _ => [a.hash(), b.hash()],
        }
    }
}

/// Pads the first `len` bytes to one or two blocks; the others are zero.
#[inline]
fn pad(blocks: &mut [Block; 2], len: usize) {
    blocks[len / BLOCK_BYTES][len % BLOCK_BYTES] = 0x80;
    let last = if len <= ONE_BLOCK_MAX { 0 } else { 1 };
    if let Some(bits) = blocks[last].last_chunk_mut() {
        *bits = (len as u64 * 8).to_be_bytes();
    }
}

/// The hash of the empty tree.
pub(super) fn empty() -> Hash {
    static EMPTY: LazyLock<Hash> = LazyLock::new(|| hash(Domain::TreeEmpty, &[]));
    *EMPTY
}

/// The hash of a value.
#[inline]
pub(super) fn value(value: &[u8]) -> Hash {
    value_message(value).hash()
}

#[inline]
fn value_message(value: &[u8]) -> Message {
    let len = 1 + value.len();
    if len > TWO_BLOCKS_MAX {
        return Message::Long(hash(Domain::TreeValue, value));
    }
    let mut blocks = [[0; BLOCK_BYTES]; 2];
    let flat = blocks.as_flattened_mut();
    flat[0] = Domain::TreeValue as u8;
    flat[1..len].copy_from_slice(value);
    Message::padded(blocks, len)
}

/// The hash of a leaf, from the parts that it commits to.
#[inline]
pub(super) fn leaf(place: &[u8; 32], key: &[u8], value_len: u32, value_hash: &Hash) -> Hash {
    leaf_message(place, key, value_len, value_hash).hash()
}

#[inline]
fn leaf_message(place: &[u8; 32], key: &[u8], value_len: u32, value_hash: &Hash) -> Message {
    const FIXED: usize = 1 + 32 + 4 + 4 + 32;
    let key_len = len_u32(key.len()).to_be_bytes();
    let value_len = value_len.to_be_bytes();
    let len = FIXED + key.len();
    if len > TWO_BLOCKS_MAX {
        let hasher = Hasher::new(Domain::TreeLeaf)
            .chain(place)
            .chain(key_len)
            .chain(value_len)
            .chain(key)
            .chain(value_hash);
        return Message::Long(hasher.finish());
    }
    let mut blocks = [[0; BLOCK_BYTES]; 2];
    let flat = blocks.as_flattened_mut();
    flat[0] = Domain::TreeLeaf as u8;
    flat[1..33].copy_from_slice(place);
    flat[33..37].copy_from_slice(&key_len);
    flat[37..41].copy_from_slice(&value_len);
    flat[41..41 + key.len()].copy_from_slice(key);
    flat[len - 32..len].copy_from_slice(&value_hash.0);
    Message::padded(blocks, len)
}

/// The hash of a leaf with its value.
#[inline]
pub(super) fn entry(place: &[u8; 32], key: &[u8], bytes: &[u8]) -> Hash {
    leaf(place, key, len_u32(bytes.len()), &value(bytes))
}

/// The hashes of two leaves with their values, each a place, a key and a value.
#[inline]
pub(super) fn entries(both: [(&[u8; 32], &[u8], &[u8]); 2]) -> [Hash; 2] {
    let [a, b] = both.map(|(_, _, value)| value_message(value));
    let values = Message::both([&a, &b]);
    let leaf = |index: usize| {
        let (place, key, value): (&[u8; 32], &[u8], &[u8]) = both[index];
        leaf_message(place, key, len_u32(value.len()), &values[index])
    };
    Message::both([&leaf(0), &leaf(1)])
}

/// What an inner node's hash is made of.
pub(super) struct InnerMessage {
    /// The bit at which the children part.
    pub bit: u16,
    pub left: Summary,
    pub right: Summary,
}

impl InnerMessage {
    /// Where the children are.
    const LEFT: usize = 3;
    const RIGHT: usize = Self::LEFT + 48;
    /// Bytes of it.
    pub(super) const LEN: usize = Self::RIGHT + 48;

    /// What stands before the children.
    #[inline]
    pub(super) fn head(&self) -> [u8; 3] {
        let [high, low] = self.bit.to_be_bytes();
        [Domain::TreeInner as u8, high, low]
    }

    /// Its bytes, padded.
    pub(super) fn blocks(&self) -> [Block; 2] {
        let mut blocks = [[0; BLOCK_BYTES]; 2];
        let flat = blocks.as_flattened_mut();
        flat[..3].copy_from_slice(&self.head());
        for (at, child) in [(Self::LEFT, &self.left), (Self::RIGHT, &self.right)] {
            flat[at..at + 32].copy_from_slice(&child.hash.0);
            flat[at + 32..at + 40].copy_from_slice(&child.totals.entries.to_be_bytes());
            flat[at + 40..at + 48].copy_from_slice(&child.totals.bytes.to_be_bytes());
        }
        pad(&mut blocks, Self::LEN);
        blocks
    }

    #[inline]
    pub(super) fn hash(&self) -> Hash {
        let [hash] = lanes::inner([self]);
        Hash(hash)
    }

    /// The hashes of two.
    #[inline]
    pub(super) fn both(messages: [&Self; 2]) -> [Hash; 2] {
        lanes::inner(messages).map(Hash)
    }
}

/// The hash of the inner node whose children part at `bit`.
#[inline]
pub(super) fn inner(bit: u16, left: &Summary, right: &Summary) -> Hash {
    let (left, right) = (*left, *right);
    InnerMessage { bit, left, right }.hash()
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
