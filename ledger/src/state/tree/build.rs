//! From sorted entries to a tree, and from verified subtrees to the tree they were cut from.

use super::digest::Totals;
use super::node::Subtree;
use super::page::{self, PAGE_ENTRIES_MAX, Page, Slot};
use super::place::{Place, bit, parting};
use super::seal::seal;
use super::{EntryRef, TooLarge, Tree};

/// So many entries are hashed together; more are built in parallel.
const GROUP_ENTRIES_MAX: usize = 256;

/// These entries make no tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// An entry's place is not above that of the entry before it.
    #[error("the entry at {0} is out of order, or not the only one there")]
    Order(Place),
    /// An entry is larger than the tree takes.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// These subtrees make no tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// A subtree overlaps the one before it, or lies before it.
    #[error("the subtree at {0} overlaps the one before it, or is out of order")]
    Order(super::Prefix),
}

impl Tree {
    /// The tree of these entries, which come in the order of their places.
    ///
    /// Costs one hash of each entry and one of each inner node, spread over all cores.
    ///
    /// # Errors
    /// When places do not rise, or an entry is too large.
    pub fn build<'a>(entries: impl IntoIterator<Item = EntryRef<'a>>) -> Result<Self, BuildError> {
        let entries: Vec<EntryRef<'a>> = entries.into_iter().collect();
        for entry in &entries {
            TooLarge::check(&entry.place, entry.key, entry.value)?;
        }
        for pair in entries.windows(2) {
            if let [before, next] = pair
                && before.place >= next.place
            {
                return Err(BuildError::Order(next.place));
            }
        }
        let mut slots: Vec<Slot<'_>> = entries
            .iter()
            .map(|entry| Slot {
                place: &entry.place.0,
                hash: None,
                key: entry.key,
                value: entry.value,
            })
            .collect();
        let top = sealed(build(&mut slots));
        Ok(Self { top })
    }

    /// The tree that parts into these subtrees, which come in the order of their prefixes.
    ///
    /// Shares their nodes: only the inner nodes above them are made and hashed.
    ///
    /// # Errors
    /// When a subtree overlaps the one before it or lies before it.
    pub fn join(subtrees: &[Subtree]) -> Result<Self, JoinError> {
        for pair in subtrees.windows(2) {
            if let [before, next] = pair {
                let at = parting(before.sample(), next.sample());
                let apart = at < before.parting() && at < next.parting();
                if !apart || bit(before.sample(), at) {
                    return Err(JoinError::Order(next.prefix()));
                }
            }
        }
        let top = sealed(join(subtrees));
        Ok(Self { top })
    }
}

pub(super) fn sealed(mut subtree: Option<Subtree>) -> Option<Subtree> {
    if let Some(subtree) = &mut subtree {
        seal(subtree);
    }
    subtree
}

/// The subtree of slots whose places rise, to be sealed; none of none.
pub(super) fn build(slots: &mut [Slot<'_>]) -> Option<Subtree> {
    if slots.len() <= GROUP_ENTRIES_MAX {
        page::hash_all(slots.iter_mut());
        return build_group(slots);
    }
    let sample = slots.first()?.place;
    let (at, middle) = split(slots)?;
    let (left, right) = slots.split_at_mut(middle);
    let half = |slots: &mut [Slot<'_>]| sealed(build(slots));
    let (left, right) = rayon::join(|| half(left), || half(right));
    above(at, sample, left, right)
}

/// The subtree of a few slots, to be sealed.
pub(super) fn build_group(slots: &[Slot<'_>]) -> Option<Subtree> {
    if slots.len() <= PAGE_ENTRIES_MAX {
        let totals = slots
            .iter()
            .fold(Totals::default(), |sum, slot| sum.plus(slot.totals()));
        if !slots.is_empty() && page::fits(totals) {
            return Some(Subtree::unsealed(Page::pack(slots)));
        }
    }
    let sample = slots.first()?.place;
    let (at, middle) = split(slots)?;
    let (left, right) = slots.split_at(middle);
    above(at, sample, build_group(left), build_group(right))
}

/// Where slots part: the bit, and the first that has it.
fn split(slots: &[Slot<'_>]) -> Option<(u16, usize)> {
    let at = parting(slots.first()?.place, slots.last()?.place);
    Some((at, slots.partition_point(|slot| !bit(slot.place, at))))
}

/// The subtree that parts into those given, which are apart and in order, to be sealed; none of none.
fn join(subtrees: &[Subtree]) -> Option<Subtree> {
    let (first, last) = (subtrees.first()?, subtrees.last()?);
    if subtrees.len() == 1 {
        return Some(first.clone());
    }
    let at = parting(first.sample(), last.sample());
    let middle = subtrees.partition_point(|subtree| !bit(subtree.sample(), at));
    let (left, right) = subtrees.split_at(middle);
    above(at, first.sample(), join(left), join(right))
}

/// What two neighbours make together, either of which may be empty.
fn above(
    at: u16,
    sample: &[u8; 32],
    left: Option<Subtree>,
    right: Option<Subtree>,
) -> Option<Subtree> {
    match (left, right) {
        (Some(left), Some(right)) => Some(Subtree::pair(at, sample, left, right)),
        (one, other) => one.or(other),
    }
}
