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
use super::digest::{self, ENTRY_OVERHEAD_BYTES, Summary, Totals, len_u32};
use super::place::{Place, bit, parting};
use crate::hash::Hash;
use std::ops::Range;
use triomphe::Arc;

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
    /// Packs slots in the order of their places, at least one and at most [`PAGE_ENTRIES_MAX`].
    pub(super) fn pack(slots: &[Slot<'_>]) -> Self {
        debug_assert!((1..=PAGE_ENTRIES_MAX).contains(&slots.len()));
        debug_assert!(slots.is_sorted_by(|a, b| a.place < b.place));
        let payload: usize = slots.iter().map(|s| s.key.len() + s.value.len()).sum();
        let mut page = Vec::with_capacity(1 + slots.len() * HEAD_BYTES + payload);
        page.push(u8::try_from(slots.len()).unwrap_or(u8::MAX));
        for slot in slots {
            page.extend_from_slice(slot.place);
        }
        for slot in slots {
            page.extend_from_slice(&slot.hash().0);
        }
        let mut end = 0;
        for slot in slots {
            for part in [slot.key, slot.value] {
                end += part.len();
                page.extend_from_slice(&len_u32(end).to_be_bytes());
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

    /// Whether no other version of the tree has it.
    pub(super) fn is_unique(&self) -> bool {
        self.0.is_unique()
    }

    /// Reads a byte of each cache line that a change will need: all if the page will be copied, else what is hashed.
    #[inline]
    pub(super) fn touch(&self, copied: bool) -> u8 {
        let heads = 1 + self.len() * HEAD_BYTES;
        let needed = if copied { self.0.len() } else { heads };
        let bytes = self.0.iter().take(needed);
        bytes.step_by(64).fold(0, |sum, byte| sum ^ byte)
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
        let payload = &self.0[1 + self.len() * HEAD_BYTES..];
        let start = index.checked_sub(1).map_or(0, |last| self.end(last));
        let [key_end, value_end] = self.ends()[index].map(|end| u32::from_be_bytes(end) as usize);
        (&payload[start..key_end], &payload[key_end..value_end])
    }

    /// Where each entry's key and value end in the payload.
    #[inline]
    fn ends(&self) -> &[[[u8; 4]; 2]] {
        let n = self.len();
        let ends = &self.0[1 + n * 64..1 + n * HEAD_BYTES];
        ends.as_chunks::<4>().0.as_chunks().0
    }

    /// Where the entry at `index` ends in the payload.
    #[inline]
    fn end(&self, index: usize) -> usize {
        u32::from_be_bytes(self.ends()[index][1]) as usize
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

    /// Overwrites the value of the entry at `index` by one of the same length, in place when nobody shares the page.
    pub(super) fn overwrite(&mut self, index: usize, key: &[u8], value: &[u8], hash: Hash) {
        if !self.0.is_unique() {
            self.0 = Arc::from(&self.0[..]);
        }
        let Some(page) = Arc::get_mut(&mut self.0) else {
            unreachable!("nobody else has seen it");
        };
        let (hashes, ends, payload) = split_mut(page);
        hashes[index] = hash.0;
        let end = u32::from_be_bytes(ends[index][1]) as usize;
        let key_end = end - value.len();
        payload[key_end..end].copy_from_slice(value);
        payload[key_end - key.len()..key_end].copy_from_slice(key);
    }

    /// What some of its entries make together.
    #[inline]
    fn totals_of(&self, range: &Range<usize>) -> Totals {
        let entries = range.len() as u64;
        let start = range.start.checked_sub(1).map_or(0, |last| self.end(last));
        let bytes = self.end(range.end - 1).saturating_sub(start) as u64;
        Totals {
            entries,
            bytes: bytes.saturating_add(entries.saturating_mul(ENTRY_OVERHEAD_BYTES)),
        }
    }

    /// The summary of a subtree inside the page, `range` being all of its entries, without hashing anything: pending if it has
    /// more than one.
    #[inline]
    pub(super) fn known(&self, range: &Range<usize>) -> Summary {
        let totals = self.totals_of(range);
        match range.len() {
            1 => Summary {
                hash: Hash(self.hashes()[range.start]),
                totals,
            },
            _ => Summary::pending(totals),
        }
    }

    /// The summary of the whole page.
    pub(super) fn summary(&self) -> Summary {
        self.summary_of(0..self.len())
    }

    /// The summary of a subtree inside the page: `range` is all of the entries under one of its inner nodes.
    pub(super) fn summary_of(&self, range: Range<usize>) -> Summary {
        if range.len() <= 1 {
            return self.known(&range);
        }
        let (parting, middle) = split(self.places(), range.clone());
        digest::summary(
            parting,
            &self.summary_of(range.start..middle),
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

type Parts<'a> = (&'a mut [[u8; 32]], &'a mut [[[u8; 4]; 2]], &'a mut [u8]);

/// A page's hashes, ends and payload.
fn split_mut(page: &mut [u8]) -> Parts<'_> {
    let n = usize::from(page[0]);
    let (_places, rest) = page[1..].split_at_mut(n * 32);
    let (hashes, rest) = rest.split_at_mut(n * 32);
    let (ends, payload) = rest.split_at_mut(n * 8);
    let ends = ends.as_chunks_mut::<4>().0.as_chunks_mut().0;
    (hashes.as_chunks_mut().0, ends, payload)
}
