//! A tree of which only some parts are held: what a node has that follows a few spaces.
//!
//! The parts of a cut ([`Tree::cut`]) fold to the root, so each is known by its hash and what it holds, whether its entries are
//! there or not. What lies in parts that are held is read and proven just as in a whole tree, against the same root. Anything
//! else is [`NotHeld`]: never taken for absent.
//!
//! # What a proof needs
//! A [`Proof`] for a place: the part that the place's bits lead to. A [`RangeProof`]: the parts that may hold something of the
//! range, and one more on either side, where the last leaf before it and the first after it are ([`around`]).
//!
//! [`around`]: PartialTree::around

use super::digest::{Summary, Totals};
use super::fold::{FoldError, Part, fold, parent};
use super::node::Subtree;
use super::place::{Place, Prefix, bit, parting};
use super::proof::{Proof, Step, walk};
use super::range::{At, Found, PageLimits, PlaceRange, RangeProof};
use super::{EntryRef, Tree};
use crate::hash::StateRoot;
use std::{ops::Range, sync::Arc};

/// What was asked for lies in a part whose entries are not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entries below {0} are not held here")]
pub struct NotHeld(pub Prefix);

/// A tree by its parts, some with their entries. Cloning it copies a pointer.
#[derive(Clone, Debug)]
pub struct PartialTree {
    root: StateRoot,
    shared: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    parts: Vec<Part>,
    /// What is held, by the part's number.
    held: Vec<Option<Subtree>>,
    /// The nodes above the parts; none in an empty tree.
    top: Option<Child>,
}

/// A part, or a node above parts, with its summary.
#[derive(Debug)]
struct Child {
    sum: Summary,
    to: To,
}

#[derive(Debug)]
enum To {
    Part(usize),
    Fork {
        bit: u16,
        children: Box<(Child, Child)>,
    },
}

impl PartialTree {
    /// The tree that parts into `parts`, which come in order; held are those that `entries` has just so.
    ///
    /// # Errors
    /// [`FoldError`] if the parts make no tree.
    pub fn new(parts: Vec<Part>, entries: &Tree) -> Result<Self, FoldError> {
        let held = parts.iter().map(|part| {
            let subtree = entries.subtree(&part.prefix);
            subtree.filter(|subtree| subtree.part() == *part)
        });
        let held = held.collect();
        let root = fold(&parts)?.root;
        let top = fork(&parts, 0..parts.len())?;
        let shared = Arc::new(Parts { parts, held, top });
        Ok(Self { root, shared })
    }

    /// Which of a cut's parts must be held to prove all that lies in `range`, that they are all included: those that may hold
    /// something of it, and one on either side.
    pub fn around(parts: &[Part], range: PlaceRange) -> Range<usize> {
        let of = |part: &Part| PlaceRange::from(part.prefix);
        let first = parts.partition_point(|part| of(part).to < range.from);
        let behind = parts.partition_point(|part| of(part).from <= range.to);
        first.saturating_sub(1)..(behind.max(first) + 1).min(parts.len())
    }

    /// Which of a cut's parts must be held to prove what is at `place`; none if the tree is empty.
    pub fn towards(parts: &[Part], place: &Place) -> Option<usize> {
        let mut range = 0..parts.len();
        while range.len() > 1 {
            let (at, middle) = halves(parts, &range)?;
            range = match bit(&place.0, at) {
                true => middle..range.end,
                false => range.start..middle,
            };
        }
        range.next()
    }

    /// The root.
    pub const fn root(&self) -> StateRoot {
        self.root
    }

    /// Entries and bytes of what is held.
    pub fn held_totals(&self) -> Totals {
        let held = self.shared.held.iter().flatten();
        held.fold(Totals::default(), |sum, subtree| sum.plus(subtree.totals()))
    }

    /// The entry at `place`.
    ///
    /// # Errors
    /// [`NotHeld`] if that is not known here.
    pub fn get(&self, place: &Place) -> Result<Option<EntryRef<'_>>, NotHeld> {
        let (_, subtree) = self.way(place)?;
        Ok(subtree.and_then(|subtree| subtree.get(place)))
    }

    /// Proves what is at `place`: an entry, or nothing. As [`Tree::prove`].
    ///
    /// # Errors
    /// [`NotHeld`].
    pub fn prove(&self, place: &Place) -> Result<Proof, NotHeld> {
        let (steps, subtree) = self.way(place)?;
        Ok(Proof::along(steps, subtree, place))
    }

    /// Proves what lies in `range`: all of it, or the first entries within `limits`. As [`Tree::prove_range`].
    ///
    /// # Errors
    /// [`NotHeld`].
    pub fn prove_range(
        &self,
        range: PlaceRange,
        limits: PageLimits,
    ) -> Result<RangeProof, NotHeld> {
        let parts = &self.shared.parts;
        let begins_before = |part: &Part| PlaceRange::from(part.prefix).from < range.from;
        let mut first = parts.partition_point(begins_before).saturating_sub(1);
        // A part that begins before the range may yet have nothing there; the one before it has.
        if first > 0 && !begins_with_what_is_before(self.held(first)?, &range.from) {
            first -= 1;
        }
        let mut found = Found::new(range, limits);
        for index in first..parts.len() {
            if found.search(At::Subtree(self.held(index)?)).is_break() {
                break;
            }
        }
        // The leaves shown are in parts that are held.
        Ok(found.proof(|place| {
            let Ok((mut steps, subtree)) = self.way(place) else {
                return Vec::new();
            };
            if let Some(subtree) = subtree {
                walk(subtree, place, &mut steps);
            }
            steps
        }))
    }

    /// All that lies below `prefix`, none if nothing does. As [`Tree::subtree`].
    ///
    /// # Errors
    /// [`NotHeld`].
    pub fn subtree(&self, prefix: &Prefix) -> Result<Option<Subtree>, NotHeld> {
        // The neighbours too: of a part that is not held, the prefix is not proven.
        let around = Self::around(&self.shared.parts, (*prefix).into());
        let subtrees = around.map(|index| self.held(index).cloned());
        let subtrees = subtrees.collect::<Result<Vec<Subtree>, NotHeld>>()?;
        // In the order of a cut that folds, so they join.
        let tree = Tree::join(&subtrees).unwrap_or_default();
        Ok(tree.subtree(prefix))
    }

    /// The steps to the part that a place's bits lead to, and that part; nothing in an empty tree.
    fn way(&self, place: &Place) -> Result<(Vec<Step>, Option<&Subtree>), NotHeld> {
        let mut steps = Vec::new();
        let Some(mut child) = self.shared.top.as_ref() else {
            return Ok((steps, None));
        };
        loop {
            match &child.to {
                To::Part(index) => return Ok((steps, Some(self.held(*index)?))),
                To::Fork { bit: at, children } => {
                    let (left, right) = &**children;
                    let (entered, other) = match bit(&place.0, *at) {
                        true => (right, left),
                        false => (left, right),
                    };
                    steps.push(Step {
                        bit: *at,
                        sibling: other.sum,
                    });
                    child = entered;
                }
            }
        }
    }

    fn held(&self, index: usize) -> Result<&Subtree, NotHeld> {
        let Parts { parts, held, .. } = &*self.shared;
        let not_held = || NotHeld(parts.get(index).map_or(Prefix::ROOT, |part| part.prefix));
        held.get(index)
            .and_then(Option::as_ref)
            .ok_or_else(not_held)
    }
}

impl From<Tree> for PartialTree {
    /// A tree that is held whole.
    fn from(tree: Tree) -> Self {
        let root = tree.root();
        let held = Vec::from_iter(tree.top().cloned());
        let parts: Vec<Part> = held.iter().map(Subtree::part).collect();
        let top = held.first().map(|top| Child {
            sum: top.sum,
            to: To::Part(0),
        });
        let held = held.into_iter().map(Some).collect();
        let shared = Arc::new(Parts { parts, held, top });
        Self { root, shared }
    }
}

fn begins_with_what_is_before(subtree: &Subtree, place: &Place) -> bool {
    let first = Tree::from(subtree.clone()).iter().next().map(|e| e.place);
    first.is_some_and(|first| first < *place)
}

/// Where some parts, of which there are two or more, part from each other: the bit, and the first that has it.
fn halves(parts: &[Part], range: &Range<usize>) -> Option<(u16, usize)> {
    let parts = parts.get(range.clone())?;
    let (first, last) = (parts.first()?, parts.last()?);
    let at = parting(&first.prefix.bits().0, &last.prefix.bits().0);
    let middle = parts.partition_point(|part| !bit(&part.prefix.bits().0, at));
    Some((at, range.start + middle))
}

/// The node above parts that fold; none above none.
fn fork(parts: &[Part], range: Range<usize>) -> Result<Option<Child>, FoldError> {
    if let ([part], index) = (parts.get(range.clone()).unwrap_or_default(), range.start) {
        let (sum, to) = (part.summary(), To::Part(index));
        return Ok(Some(Child { sum, to }));
    }
    let Some((bit, middle)) = halves(parts, &range) else {
        return Ok(None);
    };
    let left = fork(parts, range.start..middle)?;
    let right = fork(parts, middle..range.end)?;
    let (Some(left), Some(right)) = (left, right) else {
        return Ok(None);
    };
    let sum = parent(bit, &left.sum, &right.sum)?;
    let children = Box::new((left, right));
    let to = To::Fork { bit, children };
    Ok(Some(Child { sum, to }))
}
