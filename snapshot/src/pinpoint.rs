//! Where two states differ that others hold, found by asking them: what the state consists of, then the same of those parts
//! alone that differ, down to the entries. So messages follow the difference, not the size.
//!
//! Nobody is believed: parts must fold to what they are parts of, entries must be proven against the root that their holder
//! gave, and be all that their part was said to hold. Which of two roots is the right one is another question, which a
//! certificate answers.

use crate::compare::{Differing, differing_parts};
use ledger::{
    codec::{self, CodecError},
    hash::StateRoot,
    state::tree::{
        BuildError, Difference, EntryRef, FoldError, Folded, Part, Place, PlaceRange, Prefix,
        RangeError, RangeProof, Tree, fold,
    },
};

/// So many parts a holder gives at once.
pub const PARTS: usize = 64;
/// Bytes of so many parts, encoded.
const PARTS_BYTES_MAX: usize = PARTS * 128;
/// Parts of no more entries are read rather than parted again.
const READ_ENTRIES_MAX: u64 = 64;

/// Decodes the parts that a holder gave.
///
/// # Errors
/// If they are too many, or not in their canonical encoding.
pub fn decode_parts(bytes: &[u8]) -> Result<Vec<Part>, CodecError> {
    codec::decode(bytes, PARTS_BYTES_MAX)
}

/// Someone who holds a state, and may lie.
pub trait Holder {
    /// Why nothing is had from it.
    type Error;

    /// Asks for what lies below a prefix, parted into a few (see [`ledger::state::tree::Subtree::parts`]); nothing if nothing does.
    ///
    /// # Errors
    /// If it does not answer.
    fn parts(&self, below: &Prefix) -> Result<Vec<Part>, Self::Error>;

    /// Asks for the entries of a range, or the first of them, with their proof.
    ///
    /// # Errors
    /// If it does not answer.
    fn entries(&self, range: PlaceRange) -> Result<RangeProof, Self::Error>;

    /// The error that it is to have said what no state has.
    fn lied(&self, lie: Lie) -> Self::Error;
}

/// What a holder says contradicts the root that it gave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lie {
    /// Parts that make no tree.
    #[error("the parts that it gives make no tree: {0}")]
    Fold(#[from] FoldError),
    /// Parts of something else, or none.
    #[error("the parts that it gives below {0} are not those of what it said to have there")]
    OtherParts(Prefix),
    /// Entries that are not proven.
    #[error("the entries that it gives are not those of its state: {0}")]
    Range(#[from] RangeError),
    /// Entries that no tree has.
    #[error("the entries that it gives make no tree: {0}")]
    Build(#[from] BuildError),
    /// Other entries than the part has.
    #[error("the entries that it gives below {0} are not those of what it said to have there")]
    OtherEntries(Prefix),
}

/// A state as its holder claims it.
#[derive(Debug)]
pub struct Claimed<'a, H> {
    /// The root that it gave.
    pub root: StateRoot,
    /// Who has it.
    pub holder: &'a H,
}

impl<H: Holder> Claimed<'_, H> {
    fn lie<T>(&self, lie: impl Into<Lie>) -> Result<T, H::Error> {
        Err(self.holder.lied(lie.into()))
    }

    fn fold(&self, parts: &[Part]) -> Result<Folded, H::Error> {
        fold(parts).or_else(|error| self.lie(error))
    }

    /// What the whole state consists of.
    fn top(&self) -> Result<Vec<Part>, H::Error> {
        let parts = self.holder.parts(&Prefix::ROOT)?;
        if self.fold(&parts)?.root != self.root {
            return self.lie(Lie::OtherParts(Prefix::ROOT));
        }
        Ok(parts)
    }

    /// What the larger ones of some parts consist of, and the others.
    fn part(&self, parts: &[Part]) -> Result<Vec<Part>, H::Error> {
        let mut smaller = Vec::new();
        for part in parts {
            if part.totals.entries <= READ_ENTRIES_MAX {
                smaller.push(*part);
                continue;
            }
            let below = self.holder.parts(&part.prefix)?;
            let Folded { root, totals } = self.fold(&below)?;
            let are_its = (root, totals) == (part.hash.into(), part.totals)
                && below.len() > 1
                && below.iter().all(|child| part.prefix.covers(&child.prefix));
            if !are_its {
                return self.lie(Lie::OtherParts(part.prefix));
            }
            smaller.extend(below);
        }
        Ok(smaller)
    }

    /// The entries of some parts.
    fn read(&self, parts: &[Part]) -> Result<Tree, H::Error> {
        let mut entries = Vec::new();
        for part in parts {
            self.read_one(part, &mut entries)?;
        }
        tree(&entries).or_else(|error| self.lie(error))
    }

    fn read_one(&self, part: &Part, all: &mut Vec<Owned>) -> Result<(), H::Error> {
        let others = Lie::OtherEntries(part.prefix);
        let mut entries = Vec::new();
        let mut rest = Some(PlaceRange::from(part.prefix));
        while let Some(range) = rest {
            let proof = self.holder.entries(range)?;
            let proven = match proof.verify(self.root, range) {
                Ok(proven) => proven,
                Err(error) => return self.lie(error),
            };
            entries.extend(proven.entries.iter().map(Owned::from));
            let is_more = entries.len() as u64 > part.totals.entries;
            if is_more || (proven.entries.is_empty() && proven.next.is_some()) {
                return self.lie(others);
            }
            rest = proven.next.map(|from| PlaceRange { from, ..range });
        }
        // The hash of a part does not say where its entries are: they do.
        match tree(&entries) {
            Ok(tree) if tree.top().is_some_and(|top| top.part() == *part) => all.extend(entries),
            Ok(_) => return self.lie(others),
            Err(error) => return self.lie(error),
        }
        Ok(())
    }
}

/// An entry that came in an answer.
struct Owned {
    place: Place,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl From<&EntryRef<'_>> for Owned {
    fn from(entry: &EntryRef<'_>) -> Self {
        Self {
            place: entry.place,
            key: entry.key.to_vec(),
            value: entry.value.to_vec(),
        }
    }
}

fn tree(entries: &[Owned]) -> Result<Tree, BuildError> {
    Tree::build(entries.iter().map(|entry| EntryRef {
        place: entry.place,
        key: &entry.key,
        value: &entry.value,
    }))
}

/// Shows every entry that differs to `see`, in the order of places. Asks for what differs alone; holds a little more than the
/// entries of one place where that is.
///
/// # Errors
/// If one of the two does not answer, or lies.
pub fn pinpoint<A: Holder, B: Holder<Error = A::Error>>(
    old: &Claimed<'_, A>,
    new: &Claimed<'_, B>,
    mut see: impl FnMut(Difference<'_>),
) -> Result<(), A::Error> {
    let split = |olds: Vec<Part>, news: Vec<Part>| {
        let mut places = differing_parts(&olds, &news, |part| *part);
        // The same, parted otherwise, since elsewhere there is more on one side.
        let is_same = |at: &Differing<Part>| match (fold(&at.old), fold(&at.new)) {
            (Ok(old), Ok(new)) => old == new,
            _ => false,
        };
        places.retain(|at| !is_same(at));
        // The next one last.
        places.reverse();
        places
    };
    if old.root == new.root {
        return Ok(());
    }
    let mut pending = split(old.top()?, new.top()?);
    while let Some(Differing {
        old: olds,
        new: news,
    }) = pending.pop()
    {
        let mut all = olds.iter().chain(&news);
        if all.any(|part| part.totals.entries > READ_ENTRIES_MAX) {
            pending.extend(split(old.part(&olds)?, new.part(&news)?));
        } else {
            let (before, after) = (old.read(&olds)?, new.read(&news)?);
            before.changes(&after).for_each(&mut see);
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "pinpoint_tests.rs"]
mod tests;
