//! A batch of changes, applied to both halves of a subtree in parallel.
//!
//! What nobody shares is updated where it stands; what an older version of the tree still holds is copied along the path.
//! A batch that changes nothing copies nothing. The result follows from the content alone: pages and inner nodes are
//! where [`super::page`] says, whatever was there before.

use super::build::build;
use super::digest;
use super::node::{Node, Subtree, merged};
use super::page::{Page, Slot};
use super::place::{Place, bit};
use super::{Change, Op, TooLarge, Tree};
use std::sync::Arc;

/// From this many changes on, the halves of a subtree are updated in parallel.
const PARALLEL_CHANGES_MIN: usize = 256;
/// From this many changes on, a batch is sorted in parallel.
const PARALLEL_SORT_MIN: usize = 4096;

impl Tree {
    /// Applies changes in any order; of several to one place the last counts. Putting an entry where another one is
    /// replaces it, key and all; removing what is not there changes nothing.
    ///
    /// # Errors
    /// When an entry is larger than the tree takes. Nothing has changed then.
    pub fn apply(&mut self, batch: &[Change<'_>]) -> Result<(), TooLarge> {
        for change in batch {
            if let Op::Put { key, value } = change.op {
                TooLarge::check(&change.place, key, value)?;
            }
        }
        if batch.is_sorted_by(|a, b| a.place < b.place) {
            self.apply_sorted(batch);
        } else {
            self.apply_sorted(&sorted(batch));
        }
        Ok(())
    }

    fn apply_sorted(&mut self, batch: &[Change<'_>]) {
        match &mut self.top {
            Some(top) => {
                if update(top, batch) == Outcome::Emptied {
                    self.top = None;
                }
            }
            None => self.top = build(&puts(batch)),
        }
    }
}

/// The batch in the order of places, the last change of each.
fn sorted<'a>(batch: &[Change<'a>]) -> Vec<Change<'a>> {
    use rayon::slice::ParallelSliceMut;
    let mut batch = batch.to_vec();
    // Stable, so that the last one of a place stays the last one.
    if batch.len() >= PARALLEL_SORT_MIN {
        batch.par_sort_by_key(|change| change.place);
    } else {
        batch.sort_by_key(|change| change.place);
    }
    batch.dedup_by(|next, kept| {
        let same = next.place == kept.place;
        if same {
            *kept = *next;
        }
        same
    });
    batch
}

/// So many changes to neighbouring places have what they touch brought near together ([`warm`]).
const WARM_CHANGES_MAX: usize = 256;

/// What became of a subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is what it was, the very nodes.
    Same,
    /// It holds something else, and more than nothing.
    Changed,
    /// Nothing is left. The subtree still holds what it held, for the caller to throw away.
    Emptied,
}

/// Applies changes in the order of places, at most one a place.
fn update(subtree: &mut Subtree, batch: &[Change<'_>]) -> Outcome {
    let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
        return Outcome::Same;
    };
    let Node::Inner(inner) = &subtree.node else {
        return update_page(subtree, batch);
    };
    let departs = subtree
        .departs(&first.place.0)
        .min(subtree.departs(&last.place.0));
    if departs < inner.bit {
        return update_beside(subtree, departs, batch);
    }
    update_inner(subtree, batch)
}

/// Some changes lie outside the subtree: they part from it at bit `at`.
fn update_beside(subtree: &mut Subtree, at: u16, batch: &[Change<'_>]) -> Outcome {
    let (left, right) = halves(at, batch);
    let sample = *subtree.sample();
    let is_right = bit(&sample, at);
    let (inside, outside) = if is_right {
        (right, left)
    } else {
        (left, right)
    };
    let outcome = update(subtree, inside);
    let Some(beside) = build(&puts(outside)) else {
        return outcome;
    };
    *subtree = if outcome == Outcome::Emptied {
        beside
    } else if is_right {
        Subtree::pair(at, &sample, beside, subtree.clone())
    } else {
        Subtree::pair(at, &sample, subtree.clone(), beside)
    };
    Outcome::Changed
}

/// All changes lie inside the subtree, which is an inner node.
fn update_inner(subtree: &mut Subtree, batch: &[Change<'_>]) -> Outcome {
    let Node::Inner(inner) = &mut subtree.node else {
        return Outcome::Same;
    };
    let (lefts, rights) = halves(inner.bit, batch);
    let Some(own) = Arc::get_mut(inner) else {
        let (mut left, mut right) = (inner.left.clone(), inner.right.clone());
        *subtree = match update_both(&mut left, lefts, &mut right, rights) {
            (Outcome::Same, Outcome::Same) => return Outcome::Same,
            (Outcome::Emptied, Outcome::Emptied) => return Outcome::Emptied,
            (Outcome::Emptied, _) => right,
            (_, Outcome::Emptied) => left,
            _ => Subtree::pair(inner.bit, &inner.prefix, left, right),
        };
        return Outcome::Changed;
    };
    match update_both(&mut own.left, lefts, &mut own.right, rights) {
        (Outcome::Same, Outcome::Same) => return Outcome::Same,
        (Outcome::Emptied, Outcome::Emptied) => return Outcome::Emptied,
        (Outcome::Emptied, _) => *subtree = own.right.clone(),
        (_, Outcome::Emptied) => *subtree = own.left.clone(),
        _ => {
            subtree.sum = digest::summary(own.bit, &own.left.sum, &own.right.sum);
            if let Some(page) = merged(subtree.sum.totals, &own.left, &own.right) {
                subtree.node = Node::Page(page);
            }
        }
    }
    Outcome::Changed
}

/// Updates two neighbours, in parallel when there is enough to do.
fn update_both(
    left: &mut Subtree,
    lefts: &[Change<'_>],
    right: &mut Subtree,
    rights: &[Change<'_>],
) -> (Outcome, Outcome) {
    let changes = lefts.len() + rights.len();
    let update = |subtree: &mut Subtree, batch: &[Change<'_>]| {
        if changes > WARM_CHANGES_MAX && batch.len() <= WARM_CHANGES_MAX {
            warm(subtree, batch);
        }
        update(subtree, batch)
    };
    if changes >= PARALLEL_CHANGES_MIN {
        rayon::join(|| update(left, lefts), || update(right, rights))
    } else {
        (update(left, lefts), update(right, rights))
    }
}

/// Reads what a few changes will touch, all of them one level further at a time: so the processor waits for many of the
/// memory's answers at once, where updating one change after another would wait for each.
fn warm(subtree: &Subtree, batch: &[Change<'_>]) {
    let mut nodes = [&subtree.node; WARM_CHANGES_MAX];
    let mut pending = true;
    while pending {
        pending = false;
        for (node, change) in nodes.iter_mut().zip(batch) {
            if let Node::Inner(inner) = node {
                *node = &inner.child(bit(&change.place.0, inner.bit)).node;
                pending = true;
            }
        }
    }
    let mut sum = 0;
    for (node, _) in nodes.iter().zip(batch) {
        if let Node::Page(page) = node {
            sum ^= page.touch();
        }
    }
    std::hint::black_box(sum);
}

/// Updates a page: where it stands if every change keeps its layout, else by packing it anew.
fn update_page(subtree: &mut Subtree, batch: &[Change<'_>]) -> Outcome {
    let Node::Page(page) = &mut subtree.node else {
        return Outcome::Same;
    };
    if batch.len() > page.len() || !batch.iter().all(|change| keeps_layout(page, change)) {
        return repack(subtree, batch);
    }
    let mut outcome = Outcome::Same;
    for change in batch {
        let Op::Put { key, value } = change.op else {
            continue;
        };
        let hash = digest::entry(&change.place.0, key, value);
        if let Some(index) = position(page, &change.place)
            && page.hashes()[index] != hash.0
        {
            page.overwrite(index, key, value, hash);
            outcome = Outcome::Changed;
        }
    }
    if outcome == Outcome::Changed {
        subtree.sum = page.summary();
    }
    outcome
}

fn position(page: &Page, place: &Place) -> Option<usize> {
    page.places().iter().position(|p| *p == place.0)
}

/// Whether a change puts another key and value of the same lengths where there is an entry.
fn keeps_layout(page: &Page, change: &Change<'_>) -> bool {
    let Op::Put { key, value } = change.op else {
        return false;
    };
    position(page, &change.place).is_some_and(|index| {
        let (key_now, value_now) = page.payload(index);
        key.len() == key_now.len() && value.len() == value_now.len()
    })
}

/// Merges a page and changes into what the two make together, which may be a page or a large subtree.
fn repack(subtree: &mut Subtree, batch: &[Change<'_>]) -> Outcome {
    let Node::Page(page) = &subtree.node else {
        return Outcome::Same;
    };
    let mut slots = Vec::with_capacity(page.len() + batch.len());
    let mut kept = page.slots().peekable();
    let mut same = true;
    for change in batch {
        while let Some(slot) = kept.next_if(|slot| *slot.place < change.place.0) {
            slots.push(slot);
        }
        let old = kept.next_if(|slot| *slot.place == change.place.0);
        match (put(change), old) {
            (Some(new), Some(old)) if new.key == old.key && new.value == old.value => {
                slots.push(old);
            }
            (Some(new), _) => {
                slots.push(new);
                same = false;
            }
            (None, Some(_)) => same = false,
            (None, None) => {}
        }
    }
    slots.extend(kept);
    if same {
        return Outcome::Same;
    }
    match build(&slots) {
        Some(built) => {
            *subtree = built;
            Outcome::Changed
        }
        None => Outcome::Emptied,
    }
}

/// The changes on either side of a bit.
fn halves<'b, 'a>(at: u16, batch: &'b [Change<'a>]) -> (&'b [Change<'a>], &'b [Change<'a>]) {
    batch.split_at(batch.partition_point(|change| !bit(&change.place.0, at)))
}

/// What a change puts.
fn put<'b>(change: &'b Change<'_>) -> Option<Slot<'b>> {
    match change.op {
        Op::Put { key, value } => Some(Slot {
            place: &change.place.0,
            hash: None,
            key,
            value,
        }),
        Op::Remove => None,
    }
}

/// What a batch puts into an empty place.
fn puts<'b>(batch: &'b [Change<'_>]) -> Vec<Slot<'b>> {
    batch.iter().filter_map(put).collect()
}
