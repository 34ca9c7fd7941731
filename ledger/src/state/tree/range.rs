//! Proofs of all that lies in a range of places: which entries are there, and that there are no others.
//!
//! A proof shows the leaves of a stretch of the tree in their order: the last one *before* the range, the entries in it, and
//! the first one *after* it (the outer two without their values). Beside them stand the summaries of what hangs to the
//! left of the way to the first leaf, and to the right of the way to the last. Where the tree ends before the range does,
//! there is no leaf on that side, and nothing beside it.
//!
//! # Why nothing is missing
//! The bits at which neighbouring leaves part follow from their places, so leaves and summaries fold up to one root
//! ([`super::fold`] does the same with parts). That root being the tree's, every hash below it is the preimage of the one above:
//! the leaves are leaves of the real tree, and the summaries are its subtrees. No summary stands between two leaves, so
//! those shown are *all* from the first to the last, in the tree's order, which is that of places. An entry of the range
//! that is not shown would have to be left of the first leaf, which lies before the range, or right of the last, which lies
//! after it; or, where no such leaf is shown, in a summary on a side that has none.
//!
//! # Pages
//! A proof may end early, for [`PageLimits`]: then the leaf after the entries lies *inside* the range, and says where the next
//! page begins. Whoever verifies is told so ([`ProvenRange::next`]); a page passes for the whole range in no way.

use super::digest::{self, Summary, Totals};
use super::fold::parent;
use super::node::{Node, Subtree};
use super::page::{self, Page};
use super::place::{PLACE_BITS, Place, Prefix, bit, parting};
use super::proof::{Leaf, Step, walk};
use super::{EntryRef, Tree};
use crate::{
    codec,
    hash::{Hash, StateRoot},
};
use std::ops::{ControlFlow, Range};

/// Bytes of an encoded proof that whoever verifies one should read, at the most: a page of the usual limits, its largest
/// entry, and the two ways.
pub const RANGE_PROOF_BYTES_MAX: usize = 4 << 20;

/// Places from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceRange {
    /// The first.
    pub from: Place,
    /// The last.
    pub to: Place,
}

impl PlaceRange {
    /// All places.
    pub const ALL: Self = Self {
        from: Place([0; 32]),
        to: Place([0xff; 32]),
    };

    /// What of it comes after a place; none if nothing does.
    pub fn after(self, place: &Place) -> Option<Self> {
        let from = place.next()?.max(self.from);
        (from <= self.to).then_some(Self { from, ..self })
    }

    /// Whether a place lies in it.
    pub fn contains(&self, place: &Place) -> bool {
        (self.from..=self.to).contains(place)
    }
}

impl From<Prefix> for PlaceRange {
    /// The places that begin with a prefix.
    fn from(prefix: Prefix) -> Self {
        let from = *prefix.bits();
        let mut to = from;
        let (whole, rest) = (usize::from(prefix.bit_count() >> 3), prefix.bit_count() & 7);
        for (index, byte) in to.0.iter_mut().enumerate().skip(whole) {
            *byte |= if index == whole { 0xff >> rest } else { 0xff };
        }
        Self { from, to }
    }
}

/// How much one proof may show. One entry is shown whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// Entries.
    pub entries: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// An entry of the range.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Shown {
    place: Place,
    #[serde(with = "codec::bytes")]
    key: Vec<u8>,
    #[serde(with = "codec::bytes")]
    value: Vec<u8>,
}

impl Shown {
    fn summary(&self) -> Summary {
        Summary {
            hash: digest::entry(&self.place.0, &self.key, &self.value),
            totals: Totals::of_entry(self.key.len(), self.value.len()),
        }
    }

    fn entry(&self) -> EntryRef<'_> {
        EntryRef {
            place: self.place,
            key: &self.key,
            value: &self.value,
        }
    }
}

/// A proof of what is in a range, to be checked against a root.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RangeProof {
    /// What hangs to the left of the way to the first leaf, from the root down.
    left: Vec<Step>,
    /// The last leaf before the range; none if the tree has none.
    before: Option<Leaf>,
    /// The entries, in the order of their places.
    entries: Vec<Shown>,
    /// The first leaf after them; none if the tree has none.
    after: Option<Leaf>,
    /// What hangs to the right of the way to the last leaf, from the root down.
    right: Vec<Step>,
}

/// What a proof proves: the entries of its range, up to where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenRange<'a> {
    /// The entries, in the order of their places.
    pub entries: Vec<EntryRef<'a>>,
    /// The place of the next entry of the range, where the proof ends before the range does. None: these are all.
    pub next: Option<Place>,
}

/// A range proof does not prove anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// It leads to another root.
    #[error("the proof leads to root {found:.16}, not {expected:.16}")]
    Root {
        /// The root to prove against.
        expected: StateRoot,
        /// The root that the proof leads to.
        found: StateRoot,
    },
    /// Places that do not ascend.
    #[error("the proof's entry at {0} is out of order")]
    Order(Place),
    /// An entry outside of the range that was asked for.
    #[error("the proof shows an entry at {0}, which lies outside of the range")]
    Outside(Place),
    /// The leaf before the range does not lie before it: entries between the two could be missing.
    #[error("the proof begins behind {0}, which does not lie before the range")]
    BeginsLate(Place),
    /// A subtree beside the way that no tree can have.
    #[error("the proof has a subtree beside its way at bit {bit}, where no tree can have one")]
    Step {
        /// The bit.
        bit: u16,
    },
    /// Subtrees beside a way to no leaf: they could hold entries of the range.
    #[error("the proof has subtrees on a side on which it says that the tree ends")]
    Unbounded,
    /// Totals are larger than can be counted.
    #[error("the proof counts more than can be counted")]
    Overflow,
}

impl Tree {
    /// Proves what lies in `range`: all of it, or the first entries within `limits`.
    ///
    /// Costs a few steps for the way down, and one for each entry shown.
    pub fn prove_range(&self, range: PlaceRange, limits: PageLimits) -> RangeProof {
        let mut found = Found::new(range, limits);
        if let Some(top) = &self.top {
            // It breaks off at the first leaf after the entries: nothing more is to be found then.
            let _ = found.search(At::Subtree(top));
        }
        found.proof(|place| {
            let mut steps = Vec::new();
            if let Some(top) = &self.top {
                walk(top, place, &mut steps);
            }
            steps
        })
    }
}

/// A node of the tree: one that is in memory, or one inside a page.
#[derive(Clone)]
pub(super) enum At<'a> {
    Subtree(&'a Subtree),
    InPage(&'a Page, Range<usize>),
}

impl<'a> At<'a> {
    /// Its two children; none for a leaf.
    fn children(&self) -> Option<(Self, Self)> {
        match self {
            Self::Subtree(subtree) => match &subtree.node {
                Node::Inner(inner) => {
                    Some((Self::Subtree(&inner.left), Self::Subtree(&inner.right)))
                }
                Node::Page(page) => Self::InPage(page, 0..page.len()).children(),
            },
            Self::InPage(page, range) if range.len() > 1 => {
                let (_, middle) = page::split(page.places(), range.clone());
                Some((
                    Self::InPage(page, range.start..middle),
                    Self::InPage(page, middle..range.end),
                ))
            }
            Self::InPage(..) => None,
        }
    }

    /// The first entry of a page, or of what is in it; for a leaf the only one.
    fn entry(&self) -> Option<EntryRef<'a>> {
        match self {
            Self::Subtree(subtree) => match &subtree.node {
                Node::Inner(_) => None,
                Node::Page(page) => Some(page.entry(0)),
            },
            Self::InPage(page, range) => Some(page.entry(range.start)),
        }
    }

    /// Its last entry.
    fn last(mut self) -> EntryRef<'a> {
        while let Some((_, right)) = self.children() {
            self = right;
        }
        self.entry().unwrap_or(EntryRef {
            place: Place::default(),
            key: &[],
            value: &[],
        })
    }

    /// Whether all of it lies before `place`.
    fn is_before(&self, place: &Place) -> bool {
        let last_of = |prefix: &[u8; 32], len: u16| {
            let at = parting(prefix, &place.0);
            // They part inside the prefix, and `place` is on the right.
            at < len.min(PLACE_BITS) && bit(&place.0, at)
        };
        match self {
            Self::Subtree(subtree) => match &subtree.node {
                Node::Inner(inner) => last_of(&inner.prefix, inner.bit),
                Node::Page(page) => page.places().last().is_some_and(|p| *p < place.0),
            },
            Self::InPage(page, range) => {
                let last = page.places().get(range.clone()).and_then(<[_]>::last);
                last.is_some_and(|p| *p < place.0)
            }
        }
    }
}

/// What a search has found so far.
pub(super) struct Found<'a> {
    range: PlaceRange,
    limits: PageLimits,
    bytes: u64,
    /// The last subtree that lies before the range.
    before: Option<At<'a>>,
    entries: Vec<Shown>,
    after: Option<EntryRef<'a>>,
}

impl<'a> Found<'a> {
    pub(super) fn new(range: PlaceRange, limits: PageLimits) -> Self {
        Self {
            range,
            limits,
            bytes: 0,
            before: None,
            entries: Vec::new(),
            after: None,
        }
    }

    /// Goes through a subtree from left to right, until the first leaf after the entries.
    pub(super) fn search(&mut self, at: At<'a>) -> ControlFlow<()> {
        if at.is_before(&self.range.from) {
            self.before = Some(at);
            return ControlFlow::Continue(());
        }
        if let Some((left, right)) = at.children() {
            self.search(left)?;
            return self.search(right);
        }
        at.entry()
            .map_or(ControlFlow::Continue(()), |entry| self.take(entry))
    }

    fn take(&mut self, entry: EntryRef<'a>) -> ControlFlow<()> {
        let bytes = (entry.key.len() as u64).saturating_add(entry.value.len() as u64);
        let sum = self.bytes.saturating_add(bytes);
        let count = self.entries.len() as u64;
        let full = count > 0 && (count >= self.limits.entries || sum > self.limits.bytes);
        if full || entry.place > self.range.to {
            self.after = Some(entry);
            return ControlFlow::Break(());
        }
        self.bytes = sum;
        self.entries.push(Shown {
            place: entry.place,
            key: entry.key.to_vec(),
            value: entry.value.to_vec(),
        });
        ControlFlow::Continue(())
    }
}

impl Found<'_> {
    /// The proof of what was found; `way` gives the steps from the root to a leaf.
    pub(super) fn proof(self, way: impl Fn(&Place) -> Vec<Step>) -> RangeProof {
        let before = self.before.map(At::last).map(Leaf::of);
        let after = self.after.map(Leaf::of);
        // What hangs to the left, or to the right, of the way to a leaf.
        let beside = |leaf: &Option<Leaf>, left: bool| {
            let Some(Leaf { place, .. }) = leaf else {
                return Vec::new();
            };
            let mut steps = way(place);
            steps.retain(|step| bit(&place.0, step.bit) == left);
            steps
        };
        RangeProof {
            left: beside(&before, true),
            right: beside(&after, false),
            before,
            entries: self.entries,
            after,
        }
    }
}

impl RangeProof {
    /// The entries that the tree of this root has in `range`: all of them, unless [`ProvenRange::next`] says that there are
    /// more.
    ///
    /// # Errors
    /// When the proof does not prove that.
    pub fn verify(
        &self,
        root: StateRoot,
        range: PlaceRange,
    ) -> Result<ProvenRange<'_>, RangeError> {
        if let Some(before) = self.before.as_ref().filter(|b| b.place >= range.from) {
            return Err(RangeError::BeginsLate(before.place));
        }
        let shown = self.entries.iter().map(|entry| entry.place);
        let before_it = self.after.iter().map(|leaf| leaf.place);
        let before_it = before_it.filter(|place| *place < range.from);
        if let Some(outside) = shown.filter(|p| !range.contains(p)).chain(before_it).next() {
            return Err(RangeError::Outside(outside));
        }
        let unbounded = |leaf: &Option<Leaf>, steps: &[Step]| leaf.is_none() && !steps.is_empty();
        if unbounded(&self.before, &self.left) || unbounded(&self.after, &self.right) {
            return Err(RangeError::Unbounded);
        }
        let found = StateRoot::from(self.fold()?);
        if found != root {
            return Err(RangeError::Root {
                expected: root,
                found,
            });
        }
        let next = self.after.as_ref().map(|leaf| leaf.place);
        Ok(ProvenRange {
            entries: self.entries.iter().map(Shown::entry).collect(),
            next: next.filter(|place| *place <= range.to),
        })
    }

    /// The leaves with their summaries, from left to right.
    fn leaves(&self) -> impl Iterator<Item = (Place, Summary)> {
        let outer = |leaf: &Leaf| (leaf.place, leaf.summary());
        let shown = self.entries.iter().map(|e| (e.place, e.summary()));
        let before = self.before.iter().map(outer);
        before.chain(shown).chain(self.after.iter().map(outer))
    }

    /// The hash that leaves and subtrees fold up to.
    ///
    /// `lefts` holds what lies to the left of the way to the last leaf so far, with the bits at which it parts. Those bits
    /// rise, and the leaf's own place has all of them set: so each is another than the one at which the next leaf parts.
    fn fold(&self) -> Result<Hash, RangeError> {
        let mut leaves = self.leaves();
        let Some((mut place, mut sum)) = leaves.next() else {
            return Ok(digest::empty());
        };
        check_steps(&self.left, &place, true)?;
        let steps = self.left.iter();
        let mut lefts: Vec<(u16, Summary)> = steps.map(|step| (step.bit, step.sibling)).collect();
        for (next, next_sum) in leaves {
            if next <= place {
                return Err(RangeError::Order(next));
            }
            let at = parting(&place.0, &next.0);
            sum = close(&mut lefts, sum, Some(at))?;
            lefts.push((at, sum));
            (place, sum) = (next, next_sum);
        }
        check_steps(&self.right, &place, false)?;
        for step in self.right.iter().rev() {
            sum = close(&mut lefts, sum, Some(step.bit))?;
            sum = parent(step.bit, &sum, &step.sibling).map_err(|_| RangeError::Overflow)?;
        }
        Ok(close(&mut lefts, sum, None)?.hash)
    }
}

/// The summary of the largest subtree that ends with `sum` and parts from what follows at `above`, or of all.
fn close(
    lefts: &mut Vec<(u16, Summary)>,
    mut sum: Summary,
    above: Option<u16>,
) -> Result<Summary, RangeError> {
    while let Some((at, left)) = lefts.pop_if(|(at, _)| above.is_none_or(|above| *at > above)) {
        sum = parent(at, &left, &sum).map_err(|_| RangeError::Overflow)?;
    }
    Ok(sum)
}

/// Bits rise on the way down, stay inside a place, and are those at which the way to `place` goes right (or left).
fn check_steps(steps: &[Step], place: &Place, goes_right: bool) -> Result<(), RangeError> {
    let mut bit_min = 0;
    for &Step { bit: at, .. } in steps {
        if at < bit_min || at >= PLACE_BITS || bit(&place.0, at) != goes_right {
            return Err(RangeError::Step { bit: at });
        }
        bit_min = at + 1;
    }
    Ok(())
}
