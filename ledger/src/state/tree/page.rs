//! A page: a small subtree in one allocation.
//!
//! Nine tenths of a binary tree are its lowest levels. Holding them as nodes costs an allocation, a pointer to follow and
//! two hundred bytes an entry; holding them side by side costs the hashes of a handful of inner nodes, which are made anew
//! when the page changes. (Measured in `prototypes/tree`: half the memory, twice the speed.)
//!
//! Which subtrees are pages follows from their content alone: those of at most [`PAGE_ENTRIES_MAX`] entries and
//! [`PAGE_BYTES_MAX`] bytes, and every single entry. So equal trees are equal in memory too.
//!
//! ```text
//! ┌───┬──────────────┬───────────────────┬────────────────────────────┬──────────────────────────────┐
//! │ n │ n × place 32 │ n × leaf hash 32  │ n × (key end, value end) 8 │ key, value, key, value, ...  │
//! └───┴──────────────┴───────────────────┴────────────────────────────┴──────────────────────────────┘
//! ```

use super::EntryRef;
use super::digest::{self, Summary, Totals, len_u32};
use super::place::{Place, bit, parting};
use crate::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

/// Entries a page may hold.
pub(super) const PAGE_ENTRIES_MAX: usize = 8;
/// Bytes a page of more than one entry may hold: a page is copied whole when one of its entries changes.
pub(super) const PAGE_BYTES_MAX: u64 = 4096;

/// Bytes of an entry before its key and value.
const HEAD_BYTES: usize = 32 + 32 + 8;

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
    pub hash: Option<&'a [u8; 32]>,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

impl Slot<'_> {
    pub(super) fn totals(&self) -> Totals {
        Totals::of_entry(self.key.len(), self.value.len())
    }
}

/// One to [`PAGE_ENTRIES_MAX`] entries in the order of their places.
#[derive(Clone)]
pub(super) struct Page(Arc<[u8]>);

impl Page {
    /// Packs slots in the order of their places, at least one and at most [`PAGE_ENTRIES_MAX`].
    pub(super) fn pack(slots: &[Slot<'_>]) -> Self {
        debug_assert!((1..=PAGE_ENTRIES_MAX).contains(&slots.len()));
        debug_assert!(slots.is_sorted_by(|a, b| a.place < b.place));
        let payload: usize = slots.iter().map(|s| s.key.len() + s.value.len()).sum();
        let heads = 1 + slots.len() * HEAD_BYTES;
        let mut page: Arc<[u8]> = std::iter::repeat_n(0, heads + payload).collect();
        let bytes = Arc::make_mut(&mut page);
        bytes[0] = u8::try_from(slots.len()).unwrap_or(u8::MAX);
        let (places, hashes, ends, payload) = split_mut(bytes);
        let mut at = 0;
        for (index, slot) in slots.iter().enumerate() {
            places[index] = *slot.place;
            hashes[index] = match slot.hash {
                Some(hash) => *hash,
                None => digest::entry(slot.place, slot.key, slot.value).0,
            };
            let key_end = at + slot.key.len();
            let value_end = key_end + slot.value.len();
            payload[at..key_end].copy_from_slice(slot.key);
            payload[key_end..value_end].copy_from_slice(slot.value);
            ends[index] = [
                len_u32(key_end).to_be_bytes(),
                len_u32(value_end).to_be_bytes(),
            ];
            at = value_end;
        }
        Self(page)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.0[0])
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Reads a byte of each cache line.
    #[inline]
    pub(super) fn touch(&self) -> u8 {
        self.0.iter().step_by(64).fold(0, |sum, byte| sum ^ byte)
    }

    #[inline]
    pub(super) fn places(&self) -> &[[u8; 32]] {
        let n = self.len();
        self.0[1..1 + n * 32].as_chunks().0
    }

    #[inline]
    pub(super) fn hashes(&self) -> &[[u8; 32]] {
        let n = self.len();
        self.0[1 + n * 32..1 + n * 64].as_chunks().0
    }

    /// The key and the value of the entry at `index`.
    #[inline]
    pub(super) fn payload(&self, index: usize) -> (&[u8], &[u8]) {
        let n = self.len();
        let ends = self.0[1 + n * 64..1 + n * HEAD_BYTES].as_chunks::<4>().0;
        let end = |at: usize| u32::from_be_bytes(ends[at]) as usize;
        let payload = &self.0[1 + n * HEAD_BYTES..];
        let start = if index == 0 { 0 } else { end(2 * index - 1) };
        let (key_end, value_end) = (end(2 * index), end(2 * index + 1));
        (&payload[start..key_end], &payload[key_end..value_end])
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
            hash: Some(&self.hashes()[index]),
            key,
            value,
        }
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        (0..self.len()).map(|index| self.slot(index))
    }

    /// Overwrites the value of the entry at `index` by one of the same length, in place when nobody shares the page.
    pub(super) fn overwrite(&mut self, index: usize, key: &[u8], value: &[u8], hash: Hash) {
        let (_, hashes, ends, payload) = split_mut(Arc::make_mut(&mut self.0));
        hashes[index] = hash.0;
        let end = u32::from_be_bytes(ends[index][1]) as usize;
        let key_end = end - value.len();
        payload[key_end..end].copy_from_slice(value);
        payload[key_end - key.len()..key_end].copy_from_slice(key);
    }

    /// The summary of the whole page.
    pub(super) fn summary(&self) -> Summary {
        self.summary_of(0..self.len())
    }

    /// The summary of a subtree inside the page: `range` is all of the entries under one of its inner nodes.
    pub(super) fn summary_of(&self, range: Range<usize>) -> Summary {
        let places = self.places();
        let first = range.start;
        if range.len() <= 1 {
            let (key, value) = self.payload(first);
            return Summary {
                hash: Hash(self.hashes()[first]),
                totals: Totals::of_entry(key.len(), value.len()),
            };
        }
        let (parting, middle) = split(places, range.clone());
        digest::summary(
            parting,
            &self.summary_of(first..middle),
            &self.summary_of(middle..range.end),
        )
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

type Parts<'a> = (
    &'a mut [[u8; 32]],
    &'a mut [[u8; 32]],
    &'a mut [[[u8; 4]; 2]],
    &'a mut [u8],
);

/// A page's places, hashes, ends and payload.
fn split_mut(page: &mut [u8]) -> Parts<'_> {
    let n = usize::from(page[0]);
    let (places, rest) = page[1..].split_at_mut(n * 32);
    let (hashes, rest) = rest.split_at_mut(n * 32);
    let (ends, payload) = rest.split_at_mut(n * 8);
    (
        places.as_chunks_mut().0,
        hashes.as_chunks_mut().0,
        ends.as_chunks_mut::<4>().0.as_chunks_mut().0,
        payload,
    )
}
