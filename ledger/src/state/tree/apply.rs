//! A batch of changes, applied to both halves of a subtree in parallel.
//!
//! What nobody shares is updated where it stands; what an older version of the tree still holds is copied along the path.
//! A batch that changes nothing copies nothing. The result follows from the content alone: pages and inner nodes are
//! where [`super::page`] says, whatever was there before.
//!
//! Once few enough changes are left for a subtree to handle them as a group, three passes go over them: what they will touch is
//! brought near ([`warm`]), everything is put where it belongs, and what that leaves pending is sealed ([`super::seal`]).

use super::build::{build, sealed};
use super::digest::Summary;
use super::near;
use super::node::{Node, Subtree, merged};
use super::page::{self, Page, Slot};
use super::place::{bit, parting};
use super::seal::seal;
use super::{Change, Op, TooLarge, Tree};
use triomphe::Arc;

/// From this many changes on, the halves of a subtree are updated in parallel.
const PARALLEL_CHANGES_MIN: usize = 256;
/// From this many changes on, a batch is sorted in parallel.
const PARALLEL_SORT_MIN: usize = 4096;
/// So many changes to neighbouring places are a group.
const GROUP_CHANGES_MAX: usize = 128;

/// A change on its way into the tree.
struct Edit<'a> {
    place: &'a [u8; 32],
    /// What it puts; none removes.
    put: Option<Slot<'a>>,
}

impl<'a> Edit<'a> {
    fn of(change: &'a Change<'_>) -> Self {
        let place = &change.place.0;
        let put = match change.op {
            Op::Put { key, value } => Some(Slot {
                place,
                hash: None,
                key,
                value,
            }),
            Op::Remove => None,
        };
        Self { place, put }
    }
}

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
        self.apply_sorted(&mut sorted(batch));
        Ok(())
    }

    fn apply_sorted(&mut self, edits: &mut [Edit<'_>]) {
        let Some(top) = &mut self.top else {
            self.top = sealed(build(&mut puts(edits)));
            return;
        };
        match update_part(top, edits, usize::MAX) {
            Outcome::Same => {}
            Outcome::Changed => seal(top),
            Outcome::Emptied => self.top = None,
        }
    }
}

/// The batch in the order of places, the last change of each.
fn sorted<'a>(batch: &'a [Change<'_>]) -> Vec<Edit<'a>> {
    if batch.is_sorted_by(|a, b| a.place < b.place) {
        return batch.iter().map(Edit::of).collect();
    }
    let mut order = order(batch);
    // Of one place, the last change comes first.
    order.dedup_by_key(|(_, index)| batch[*index].place);
    let edit = |(_, index): &(u64, usize)| Edit::of(&batch[*index]);
    order.iter().map(edit).collect()
}

/// The batch's indices in the order of places, and of one place the later change first. Sorted by the first 64 bits that are not
/// the same in all of them, which most often decide.
fn order(batch: &[Change<'_>]) -> Vec<(u64, usize)> {
    use rayon::slice::ParallelSliceMut;
    let first = batch.first().map_or([0; 32], |change| change.place.0);
    let shared = batch.iter().map(|c| parting(&first, &c.place.0)).min();
    let start = usize::from(shared.unwrap_or(0) / 8).min(24);
    let bits = |change: &Change<'_>| {
        let bytes = change.place.0[start..].first_chunk();
        bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes))
    };
    let indexed = batch.iter().enumerate();
    let mut order: Vec<_> = indexed.map(|(i, change)| (bits(change), i)).collect();
    let compare = |(a_bits, a): &(u64, usize), (b_bits, b): &(u64, usize)| {
        let places = || batch[*a].place.cmp(&batch[*b].place);
        a_bits.cmp(b_bits).then_with(places).then(b.cmp(a))
    };
    if batch.len() >= PARALLEL_SORT_MIN {
        order.par_sort_unstable_by(compare);
    } else {
        order.sort_unstable_by(compare);
    }
    order
}

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

/// Updates a subtree by a part of `whole` changes: as a group, if the whole was no group yet and the part is.
fn update_part(subtree: &mut Subtree, edits: &mut [Edit<'_>], whole: usize) -> Outcome {
    if whole <= GROUP_CHANGES_MAX || edits.len() > GROUP_CHANGES_MAX {
        return update(subtree, edits);
    }
    warm(subtree, edits);
    page::hash_all(edits.iter_mut().filter_map(|edit| edit.put.as_mut()));
    let outcome = update(subtree, edits);
    if outcome == Outcome::Changed {
        seal(subtree);
    }
    outcome
}

/// Applies changes in the order of places, at most one a place. What is changed is to be sealed.
fn update(subtree: &mut Subtree, edits: &mut [Edit<'_>]) -> Outcome {
    let (Some(first), Some(last)) = (edits.first(), edits.last()) else {
        return Outcome::Same;
    };
    let Node::Inner(inner) = &subtree.node else {
        return update_page(subtree, edits);
    };
    let departs = subtree
        .departs(first.place)
        .min(subtree.departs(last.place));
    if departs < inner.bit {
        return update_beside(subtree, departs, edits);
    }
    update_inner(subtree, edits)
}

/// Some changes lie outside the subtree: they part from it at bit `at`.
fn update_beside(subtree: &mut Subtree, at: u16, edits: &mut [Edit<'_>]) -> Outcome {
    let whole = edits.len();
    let (left, right) = halves(at, edits);
    let sample = *subtree.sample();
    let is_right = bit(&sample, at);
    let (inside, outside) = if is_right {
        (right, left)
    } else {
        (left, right)
    };
    let outcome = update_part(subtree, inside, whole);
    let Some(beside) = build(&mut puts(outside)) else {
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
fn update_inner(subtree: &mut Subtree, edits: &mut [Edit<'_>]) -> Outcome {
    let Node::Inner(inner) = &mut subtree.node else {
        return Outcome::Same;
    };
    let Some(own) = Arc::get_mut(inner) else {
        let (mut left, mut right) = (inner.left.clone(), inner.right.clone());
        *subtree = match update_both(inner.bit, &mut left, &mut right, edits) {
            (Outcome::Same, Outcome::Same) => return Outcome::Same,
            (Outcome::Emptied, Outcome::Emptied) => return Outcome::Emptied,
            (Outcome::Emptied, _) => right,
            (_, Outcome::Emptied) => left,
            _ => Subtree::pair(inner.bit, &inner.prefix, left, right),
        };
        return Outcome::Changed;
    };
    match update_both(own.bit, &mut own.left, &mut own.right, edits) {
        (Outcome::Same, Outcome::Same) => return Outcome::Same,
        (Outcome::Emptied, Outcome::Emptied) => return Outcome::Emptied,
        (Outcome::Emptied, _) => *subtree = own.right.clone(),
        (_, Outcome::Emptied) => *subtree = own.left.clone(),
        _ => {
            let totals = own.left.totals().plus(own.right.totals());
            subtree.sum = Summary::pending(totals);
            if let Some(page) = merged(totals, &own.left, &own.right) {
                subtree.node = Node::Page(page);
            }
        }
    }
    Outcome::Changed
}

/// Updates two neighbours that part at bit `at`, in parallel when there is enough to do.
fn update_both(
    at: u16,
    left: &mut Subtree,
    right: &mut Subtree,
    edits: &mut [Edit<'_>],
) -> (Outcome, Outcome) {
    let whole = edits.len();
    let (lefts, rights) = halves(at, edits);
    let mut left = || update_part(left, lefts, whole);
    let mut right = || update_part(right, rights, whole);
    if whole >= PARALLEL_CHANGES_MIN {
        rayon::join(left, right)
    } else {
        (left(), right())
    }
}

/// Asks for what a group of changes will touch, all of them one level further at a time: so the memory's answers come many at once,
/// where updating one change after another would wait for each.
fn warm(subtree: &Subtree, edits: &[Edit<'_>]) {
    // Where each change is, and whether from there on everything is copied, being shared.
    let mut ways = [(&subtree.node, false); GROUP_CHANGES_MAX];
    let mut further = true;
    while further {
        further = false;
        for ((node, copied), edit) in ways.iter_mut().zip(edits) {
            let Node::Inner(inner) = node else {
                continue;
            };
            *copied |= !inner.is_unique();
            let right = bit(edit.place, inner.bit);
            if *copied {
                // The copy and the original will share the other child: its count goes up.
                inner.child(!right).node.ask_count();
            }
            *node = &inner.child(right).node;
            match node {
                Node::Inner(inner) => near::ask(&**inner),
                Node::Page(page) => page.ask(*copied),
            }
            further = true;
        }
    }
}

/// Updates a page: where it stands if every change keeps its layout, else by packing it anew.
fn update_page(subtree: &mut Subtree, edits: &mut [Edit<'_>]) -> Outcome {
    let Node::Page(page) = &mut subtree.node else {
        return Outcome::Same;
    };
    if edits.len() > page.len() || !edits.iter().all(|edit| keeps_layout(page, edit)) {
        return repack(subtree, edits);
    }
    let mut outcome = Outcome::Same;
    for put in edits.iter().filter_map(|edit| edit.put.as_ref()) {
        let hash = put.hash();
        if let Some(index) = position(page, put.place)
            && page.hashes()[index] != hash.0
        {
            page.overwrite(index, put.key, put.value, hash);
            outcome = Outcome::Changed;
        }
    }
    if outcome == Outcome::Changed {
        subtree.sum = page.known();
    }
    outcome
}

fn position(page: &Page, place: &[u8; 32]) -> Option<usize> {
    page.places().iter().position(|p| p == place)
}

/// Whether a change puts another key and value of the same lengths where there is an entry.
fn keeps_layout(page: &Page, edit: &Edit<'_>) -> bool {
    let Some(put) = &edit.put else {
        return false;
    };
    position(page, edit.place).is_some_and(|index| {
        let (key_now, value_now) = page.payload(index);
        put.key.len() == key_now.len() && put.value.len() == value_now.len()
    })
}

/// Merges a page and changes into what the two make together, which may be a page or a large subtree.
fn repack(subtree: &mut Subtree, edits: &[Edit<'_>]) -> Outcome {
    let Node::Page(page) = &subtree.node else {
        return Outcome::Same;
    };
    let mut slots = Vec::with_capacity(page.len() + edits.len());
    let mut kept = page.slots().peekable();
    let mut same = true;
    for edit in edits {
        while let Some(slot) = kept.next_if(|slot| slot.place < edit.place) {
            slots.push(slot);
        }
        let old = kept.next_if(|slot| slot.place == edit.place);
        match (edit.put, old) {
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
    match build(&mut slots) {
        Some(built) => {
            *subtree = built;
            Outcome::Changed
        }
        None => Outcome::Emptied,
    }
}

/// The changes on either side of a bit.
fn halves<'e, 'a>(at: u16, edits: &'e mut [Edit<'a>]) -> (&'e mut [Edit<'a>], &'e mut [Edit<'a>]) {
    let middle = edits.partition_point(|edit| !bit(edit.place, at));
    edits.split_at_mut(middle)
}

/// What a batch puts into an empty place.
fn puts<'a>(edits: &[Edit<'a>]) -> Vec<Slot<'a>> {
    edits.iter().filter_map(|edit| edit.put).collect()
}
