//! The state tree: a persistent, path-compressed, binary radix Merkle tree over 32-byte places, in memory.
//!
//! For: the root after every block, proofs of what is and is not in the state, a picture of the state that costs one
//! pointer, and cutting the state into pieces that can be fetched and verified alone. Not for: durability (the block log
//! and the snapshots hold the state on disk), or knowing what the entries mean: whoever owns them derives a [`Place`] from
//! a key, so that different keys get different places.
//!
//! # The tree
//! Places are bit strings, bit 0 first. An *inner node* stands where the places below it part: it has two children, and
//! commits to the bit at which they do. There are no inner nodes of one child, so a tree of n entries has n - 1. The tree
//! follows from its entries alone, whatever the order, the batches and the threads that put them there.
//!
//! ```text
//! H            = SHA-256, the first byte being the tag of a `Domain`
//! empty        = H(TreeEmpty)
//! value hash   = H(TreeValue ‖ value)
//! leaf         = H(TreeLeaf ‖ place 32 ‖ key length u32 ‖ value length u32 ‖ key ‖ value hash 32)
//! inner        = H(TreeInner ‖ bit u16 ‖ left ‖ right)       left, right = hash 32 ‖ entries u64 ‖ bytes u64
//! ```
//! Numbers are big-endian. The bytes of an entry are those of key and value and [`ENTRY_OVERHEAD_BYTES`]. As each child's
//! totals are under its parent's hash, they are as certain as the root: how much a subtree holds is proven before any of it
//! is fetched. (Sums alone would not do: shifting counts between siblings would keep the sum.)
//!
//! # Why absence is proven by another entry
//! A [`Proof`] follows the bits of the place that was asked for, from the root down. Every hash on the way is the preimage
//! of the one above it, so each step is an inner node of the real tree, entered on the side that the place's own bit says.
//! Suppose that the place had an entry in that tree. At each inner node above it the entry is on the side of its own bit,
//! so the same way would have led to that entry. The way led to a leaf of *another* place; so there is none. It matters
//! nothing that path compression skips bits: in a skipped stretch the two places may well part, and nothing needs to be
//! shown about it.
//!
//! # In memory
//! A subtree of a few small entries is one allocation (`page`), with the hashes of all its nodes but the topmost; the levels
//! above it are nodes that hold their children's summaries. Both are shared between versions by `Arc`; cloning a [`Tree`] copies
//! one pointer, and a batch copies what it changes unless nobody else holds it. An entry of 80 bytes takes about 215, with
//! place, hashes and all.
//!
//! # Cost
//! An update of one of a million entries, in a batch of 10,000, hashes some 19 blocks of SHA-256: 3 of the entry, 5 inside its
//! page, and those of the nodes above that few other updates share. Two blocks are hashed at a time (`lanes`), so a batch places
//! its changes first and hashes what they left pending afterwards, level by level (`seal`). Most of the rest of the time is memory:
//! nodes far apart, which a group of changes asks for together before it needs them (`near`; `warm` in `apply`), copies of what older
//! versions still hold, and letting go of those (`let_go`).
//! The benchmark is `ledger/benches/tree`; beside another tree, `tests/peers`.
//!
//! # Trust
//! Everything from outside goes through [`Tree::build`], [`Tree::join`], [`fold`], [`Proof::verify`] or
//! [`RangeProof::verify`], which give errors. No
//! recursion is deeper than [`PLACE_BITS`].

mod apply;
mod audit;
mod build;
mod changes;
mod digest;
mod fold;
mod lanes;
mod let_go;
mod near;
mod node;
mod page;
mod partial;
mod place;
mod proof;
mod range;
mod seal;
mod walk;

#[cfg(test)]
mod tests;

pub use audit::Damage;
pub use build::{BuildError, JoinError};
pub use changes::{Changes, Difference};
pub use digest::{ENTRY_OVERHEAD_BYTES, Summary, Totals};
pub use fold::{FoldError, Folded, Part, fold, fold_cut};
pub use node::Subtree;
pub use partial::{NotHeld, PartialTree};
pub use place::{PLACE_BITS, Place, Prefix, PrefixError};
pub use proof::{Proof, ProofError};
pub use range::{
    PageLimits, PlaceRange, ProvenRange, RANGE_PROOF_BYTES_MAX, RangeError, RangeProof,
};
pub use walk::Iter;

use crate::hash::StateRoot;

/// Bytes a key may have. What the state allows is far less; this bounds what the tree must be ready for. (A page says in 16 bits
/// where a key ends.)
pub const KEY_BYTES_MAX: usize = 64 * 1024 - 1;
/// Bytes a value may have; as for [`KEY_BYTES_MAX`].
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One version of the state. Cloning it copies a pointer, and what is cloned never changes.
#[derive(Clone, Default)]
pub struct Tree {
    top: Option<Subtree>,
}

/// An entry of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// Where it is.
    pub place: Place,
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

/// What a batch does at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Where.
    pub place: Place,
    /// What.
    pub op: Op<'a>,
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Puts an entry, in place of the one that is there.
    Put {
        /// Its key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// Removes the entry that is there, if there is one.
    Remove,
}

/// An entry is larger than the tree takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the entry at {place} has a key of {key_bytes} bytes and a value of {value_bytes}, \
     the most are {KEY_BYTES_MAX} and {VALUE_BYTES_MAX}"
)]
pub struct TooLarge {
    /// Where.
    pub place: Place,
    /// Bytes of its key.
    pub key_bytes: u64,
    /// Bytes of its value.
    pub value_bytes: u64,
}

impl TooLarge {
    fn check(place: &Place, key: &[u8], value: &[u8]) -> Result<(), Self> {
        if key.len() <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX {
            return Ok(());
        }
        Err(Self {
            place: *place,
            key_bytes: key.len() as u64,
            value_bytes: value.len() as u64,
        })
    }
}

impl Tree {
    /// The root.
    pub fn root(&self) -> StateRoot {
        self.top
            .as_ref()
            .map_or_else(digest::empty, Subtree::hash)
            .into()
    }

    /// What the tree holds.
    pub fn totals(&self) -> Totals {
        self.top.as_ref().map(Subtree::totals).unwrap_or_default()
    }

    /// The entry at `place`.
    pub fn get(&self, place: &Place) -> Option<EntryRef<'_>> {
        self.top.as_ref()?.get(place)
    }

    /// The whole tree as a subtree; none if it is empty.
    pub fn top(&self) -> Option<&Subtree> {
        self.top.as_ref()
    }
}

impl From<Subtree> for Tree {
    fn from(top: Subtree) -> Self {
        Self { top: Some(top) }
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Totals { entries, bytes } = self.totals();
        write!(
            f,
            "Tree({:.8}, {entries} entries, {bytes} bytes)",
            self.root()
        )
    }
}

impl std::fmt::Debug for Subtree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.part().fmt(f)
    }
}
