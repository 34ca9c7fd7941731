//! A page: a small subtree in one allocation.
//!
//! Nine tenths of a binary tree are its lowest levels. Holding them as nodes costs an allocation, a pointer to follow and
//! two hundred bytes an entry; holding them side by side costs copying the page when one of its entries changes. (Measured in
//! `prototypes/tree`: half the memory, twice the speed.) The hashes of the inner nodes are held too, so that a change hashes
//! only the way up from its entry; the topmost one's is with the node above the page, like that of every node.
//!
//! Which subtrees are pages follows from their content alone: those of at most [`PAGE_ENTRIES_MAX`] entries and
//! [`PAGE_BYTES_MAX`] bytes, and every single entry. So equal trees are equal in memory too.
//!
//! ```text
//! ┌───┬─────────┬──────────────┬──────────────────┬─────────────────────┬────────────────────────────────┬─────────────────┐
//! │ n │ pending │ n × place 32 │ n × leaf hash 32 │ n-2 × inner hash 32 │ n × (key start, value start) 4 │ key, value, ... │
//! └───┴─────────┴──────────────┴──────────────────┴─────────────────────┴────────────────────────────────┴─────────────────┘
//! ```
//! Inner nodes come before those below them, left before right. *Pending* has a bit for each entry: the nodes above one that is
//! set are to be hashed. (A page of one entry has no inner node.)

use super::digest::{self, ENTRY_OVERHEAD_BYTES, Summary, Totals};
use super::near;
use super::place::{Place, bit, parting};
use super::seal::Held;
use super::{EntryRef, KEY_BYTES_MAX};
use crate::hash::Hash;
use std::cell::Cell;
use std::ops::Range;
use triomphe::Arc;

/// Entries a page may hold.
pub(super) const PAGE_ENTRIES_MAX: usize = 8;
const _: () = assert!(PAGE_ENTRIES_MAX <= 8, "a bit for each is a byte");
const _: () = assert!(
    PAGE_BYTES_MAX < 1 << 16 && KEY_BYTES_MAX < 1 << 16,
    "starts are u16"
);
/// Bytes a page of more than one entry may hold: a page is copied whole when one of its entries changes.
pub(super) const PAGE_BYTES_MAX: u64 = 4096;

/// Bytes before the places.
const START: usize = 2;

/// Leaves and inner nodes but the topmost of a page of `n` entries.
#[inline]
fn hash_count(n: usize) -> usize {
    n + n.saturating_sub(2)
}

/// Bytes before the first key.
#[inline]
fn head_bytes(n: usize) -> usize {
    START + n * (32 + 4) + hash_count(n) * 32
}

/// The most bytes before the first key.
const HEADS_MAX: usize = START + PAGE_ENTRIES_MAX * (32 + 4) + (2 * PAGE_ENTRIES_MAX - 2) * 32;

/// Whether a subtree of these totals is one page.
#[inline]
pub(super) fn fits(totals: Totals) -> bool {
    totals.entries <= 1
        || totals.entries <= PAGE_ENTRIES_MAX as u64 && totals.bytes <= PAGE_BYTES_MAX
}

/// An entry on its way into a page.
#[derive(Clone, Copy)]
pub(super) struct Slot<'a> {
    pub place: &'a [u8; 32],
    /// The leaf's hash, when it is known.
    pub hash: Option<Hash>,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// Hashes those whose hash is not known, two at a time.
pub(super) fn hash_all<'s, 'a: 's>(slots: impl Iterator<Item = &'s mut Slot<'a>>) {
    let parts = |slot: &Slot<'a>| (slot.place, slot.key, slot.value);
    let mut unknown = slots.filter(|slot| slot.hash.is_none());
    while let Some(a) = unknown.next() {
        let Some(b) = unknown.next() else {
            a.hash = Some(a.hash());
            return;
        };
        let hashes = digest::entries([parts(a), parts(b)]);
        [a.hash, b.hash] = hashes.map(Some);
    }
}

impl Slot<'_> {
    /// The leaf's hash.
    pub(super) fn hash(&self) -> Hash {
        self.hash
            .unwrap_or_else(|| digest::entry(self.place, self.key, self.value))
    }

    pub(super) fn totals(&self) -> Totals {
        Totals::of_entry(self.key.len(), self.value.len())
    }
}

/// One to [`PAGE_ENTRIES_MAX`] entries in the order of their places.
#[derive(Clone)]
pub(super) struct Page(Arc<[u8]>);

impl Page {
    /// Packs slots in the order of their places, at least one and at most [`PAGE_ENTRIES_MAX`]. All inner nodes are pending.
    pub(super) fn pack(slots: &[Slot<'_>]) -> Self {
        debug_assert!((1..=PAGE_ENTRIES_MAX).contains(&slots.len()));
        debug_assert!(slots.is_sorted_by(|a, b| a.place < b.place));
        let payload: usize = slots.iter().map(|s| s.key.len() + s.value.len()).sum();
        let hashes_end = START + (slots.len() + hash_count(slots.len())) * 32;
        let mut page = Vec::with_capacity(head_bytes(slots.len()) + payload);
        page.extend([u8::try_from(slots.len()).unwrap_or(u8::MAX), u8::MAX]);
        for slot in slots {
            page.extend_from_slice(slot.place);
        }
        for slot in slots {
            page.extend_from_slice(&slot.hash().0);
        }
        page.resize(hashes_end, 0);
        let mut start = 0;
        for slot in slots {
            for part in [slot.key, slot.value] {
                page.extend(u16::try_from(start).unwrap_or(u16::MAX).to_be_bytes());
                start += part.len();
            }
        }
        for slot in slots {
            page.extend_from_slice(slot.key);
            page.extend_from_slice(slot.value);
        }
        Self(Arc::from(page))
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.0[0])
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Asks for what a change will need: all of it if the page will be copied, else what is hashed.
    #[inline]
    pub(super) fn ask(&self, copied: bool) {
        let bytes = &self.0[..];
        near::ask_head(bytes);
        let needed = if copied {
            bytes.len()
        } else {
            bytes.len().min(HEADS_MAX)
        };
        near::ask(&bytes[..needed]);
    }

    /// Asks for the count of versions that have it.
    #[inline]
    pub(super) fn ask_count(&self) {
        near::ask_head(&self.0[..]);
    }

    #[inline]
    pub(super) fn places(&self) -> &[[u8; 32]] {
        let n = self.len();
        self.0[START..START + n * 32].as_chunks().0
    }

    /// The hashes of the leaves, and after them those of the inner nodes.
    #[inline]
    pub(super) fn hashes(&self) -> &[[u8; 32]] {
        let n = self.len();
        let start = START + n * 32;
        self.0[start..start + hash_count(n) * 32].as_chunks().0
    }

    /// The key and the value of the entry at `index`.
    #[inline]
    pub(super) fn payload(&self, index: usize) -> (&[u8], &[u8]) {
        let payload = &self.0[head_bytes(self.len())..];
        let [start, middle, end] = self.starts().of(index);
        (&payload[start..middle], &payload[middle..end])
    }

    #[inline]
    fn starts(&self) -> Starts<'_> {
        let n = self.len();
        let (head, payload) = self.0.split_at(head_bytes(n));
        let starts = &head[head.len() - n * 4..];
        Starts {
            starts: starts.as_chunks::<2>().0.as_chunks().0,
            end: payload.len(),
        }
    }

    pub(super) fn entry(&self, index: usize) -> EntryRef<'_> {
        let (key, value) = self.payload(index);
        EntryRef {
            place: Place(self.places()[index]),
            key,
            value,
        }
    }

    pub(super) fn slot(&self, index: usize) -> Slot<'_> {
        let (key, value) = self.payload(index);
        Slot {
            place: &self.places()[index],
            hash: Some(Hash(self.hashes()[index])),
            key,
            value,
        }
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        (0..self.len()).map(|index| self.slot(index))
    }

    /// Its bytes, copied if another version of the tree has it.
    #[inline]
    fn own(&mut self) -> &mut [u8] {
        if !self.0.is_unique() {
            self.0 = Arc::from(&self.0[..]);
        }
        let Some(page) = Arc::get_mut(&mut self.0) else {
            unreachable!("nobody else has seen it");
        };
        page
    }

    /// Overwrites the entry at `index` by one of the same lengths, in place when nobody shares the page. What is above it is
    /// pending then.
    pub(super) fn overwrite(&mut self, index: usize, key: &[u8], value: &[u8], hash: Hash) {
        let parts = split_mut(self.own());
        *parts.pending |= 1 << index;
        parts.hashes[index] = hash.0;
        let [start, middle, end] = parts.starts.of(index);
        parts.payload[start..middle].copy_from_slice(key);
        parts.payload[middle..end].copy_from_slice(value);
    }

    /// The summary of the whole page without hashing anything: pending if it has more than one entry.
    #[inline]
    pub(super) fn known(&self) -> Summary {
        let all = 0..self.len();
        let totals = self.starts().totals(&all);
        match self.hashes() {
            [hash] => Summary {
                hash: Hash(*hash),
                totals,
            },
            _ => Summary::pending(totals),
        }
    }

    /// The summary of a subtree inside the page: `range` is all of the entries under one of its inner nodes but the topmost, or
    /// one entry.
    pub(super) fn summary_of(&self, range: Range<usize>) -> Summary {
        let mut node = Within::top(self.len());
        while node.range.len() > range.len() {
            let (_, left, right) = node.children(self.places());
            let is_right = right.range.start <= range.start;
            node = if is_right { right } else { left };
        }
        Summary {
            hash: Hash(self.hashes()[node.hash_index()]),
            totals: self.starts().totals(&range),
        }
    }

    /// What is inside and its topmost node, for sealing: nothing is pending from now on.
    #[inline]
    pub(super) fn inside(&mut self) -> (Inside<'_>, Within) {
        let top = Within::top(self.len());
        let parts = split_mut(self.own());
        let inside = Inside {
            pending: std::mem::take(parts.pending),
            places: parts.places,
            hashes: Cell::from_mut(parts.hashes).as_slice_of_cells(),
            starts: parts.starts,
        };
        (inside, top)
    }

    /// The bit at which the page's entries part; that behind the end when it holds a single one.
    pub(super) fn parting(&self) -> u16 {
        let places = self.places();
        parting(&places[0], &places[places.len() - 1])
    }
}

/// Where the entries in `range`, at least two, part: the bit, and the first that has it.
#[inline]
pub(super) fn split(places: &[[u8; 32]], range: Range<usize>) -> (u16, usize) {
    let (start, end) = (range.start, range.end);
    let at = parting(&places[start], &places[end - 1]);
    let zeros = places[range].iter().take_while(|p| !bit(p, at)).count();
    (at, start + zeros)
}

/// Where each entry's key and value start in the payload, and where the payload ends.
#[derive(Clone, Copy)]
struct Starts<'p> {
    starts: &'p [[[u8; 2]; 2]],
    end: usize,
}

impl Starts<'_> {
    /// Where the key of the entry at `index` starts; behind the last entry, the end.
    #[inline]
    fn start(&self, index: usize) -> usize {
        let start = self.starts.get(index);
        start.map_or(self.end, |[start, _]| {
            usize::from(u16::from_be_bytes(*start))
        })
    }

    /// Where the key and the value of the entry at `index` start, and where it ends.
    #[inline]
    fn of(&self, index: usize) -> [usize; 3] {
        let middle = usize::from(u16::from_be_bytes(self.starts[index][1]));
        [self.start(index), middle, self.start(index + 1)]
    }

    /// What some entries make together.
    #[inline]
    fn totals(&self, range: &Range<usize>) -> Totals {
        let entries = range.len() as u64;
        let bytes = self
            .start(range.end)
            .saturating_sub(self.start(range.start)) as u64;
        Totals {
            entries,
            bytes: bytes.saturating_add(entries.saturating_mul(ENTRY_OVERHEAD_BYTES)),
        }
    }
}

/// A node inside a page.
pub(super) struct Within {
    /// The entries below it.
    range: Range<usize>,
    /// If it is an inner node: where its hash is. (The topmost one's would be that of the last leaf.)
    inner_index: usize,
}

impl Within {
    /// The topmost node of a page of `n` entries.
    #[inline]
    fn top(n: usize) -> Self {
        Self {
            range: 0..n,
            inner_index: n - 1,
        }
    }

    /// The bit at which its children part, and the children.
    #[inline]
    fn children(&self, places: &[[u8; 32]]) -> (u16, Self, Self) {
        let Range { start, end } = self.range;
        let (bit, middle) = split(places, start..end);
        let left = Self {
            range: start..middle,
            inner_index: self.inner_index + 1,
        };
        let right = Self {
            range: middle..end,
            inner_index: self.inner_index + (middle - start),
        };
        (bit, left, right)
    }

    #[inline]
    fn hash_index(&self) -> usize {
        match self.range.len() {
            1 => self.range.start,
            _ => self.inner_index,
        }
    }
}

/// What is inside a page: for sealing.
pub(super) struct Inside<'p> {
    pending: u8,
    places: &'p [[u8; 32]],
    hashes: &'p [Cell<[u8; 32]>],
    starts: Starts<'p>,
}

impl<'p> Inside<'p> {
    /// The bit at which a node's children part, and the children.
    #[inline]
    pub(super) fn children(&self, node: &Within) -> (u16, Within, Within) {
        node.children(self.places)
    }

    #[inline]
    pub(super) fn held(&self, node: &Within) -> Held<'p> {
        Held {
            hash: &self.hashes[node.hash_index()],
            totals: self.starts.totals(&node.range),
        }
    }

    /// Whether a node is to be hashed.
    #[inline]
    pub(super) fn is_pending(&self, node: &Within) -> bool {
        let Range { start, end } = node.range;
        let below = (1u32 << end) - (1 << start);
        end - start > 1 && u32::from(self.pending) & below != 0
    }
}

struct Parts<'a> {
    pending: &'a mut u8,
    places: &'a [[u8; 32]],
    hashes: &'a mut [[u8; 32]],
    starts: Starts<'a>,
    payload: &'a mut [u8],
}

#[inline]
fn split_mut(page: &mut [u8]) -> Parts<'_> {
    let n = usize::from(page[0]);
    let (head, rest) = page.split_at_mut(START);
    let (places, rest) = rest.split_at_mut(n * 32);
    let (hashes, rest) = rest.split_at_mut(hash_count(n) * 32);
    let (starts, payload) = rest.split_at_mut(n * 4);
    let starts = Starts {
        starts: starts.as_chunks::<2>().0.as_chunks().0,
        end: payload.len(),
    };
    Parts {
        pending: &mut head[1],
        places: places.as_chunks().0,
        hashes: hashes.as_chunks_mut().0,
        starts,
        payload,
    }
}
