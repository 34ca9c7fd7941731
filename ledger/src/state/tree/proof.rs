//! Proofs that an entry is in a tree, or that none is at a place.
//!
//! A proof is the way from the root to the leaf that the place's own bits lead to. At every inner node of it: the bit at
//! which the children part, and the summary of the child that is not entered. See [`super`] for why a leaf of *another*
//! place proves absence.
//!
//! A proof says nothing that is not hashed: sides follow from the place asked for, the entered child's totals from the leaf
//! and the siblings below. Whoever changes a byte changes the root that it proves.

use super::digest::{self, Summary, Totals, len_u32};
use super::fold::parent;
use super::node::{Node, Subtree};
use super::page::{self, Page};
use super::place::{PLACE_BITS, Place, bit};
use super::{EntryRef, Tree};
use crate::hash::{Hash, StateRoot};

/// A proof of what is at a place, to be checked against a root.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Proof {
    /// The inner nodes on the way, from the root down.
    steps: Vec<Step>,
    /// What the way ends at.
    end: End,
}

/// An inner node on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Step {
    pub(super) bit: u16,
    pub(super) sibling: Summary,
}

/// A leaf without its value.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Leaf {
    pub(super) place: Place,
    key: Vec<u8>,
    value_len: u32,
    value_hash: Hash,
}

impl Leaf {
    pub(super) fn of(entry: EntryRef<'_>) -> Self {
        Self {
            place: entry.place,
            key: entry.key.to_vec(),
            value_len: len_u32(entry.value.len()),
            value_hash: digest::value(entry.value),
        }
    }

    pub(super) fn summary(&self) -> Summary {
        Summary {
            hash: digest::leaf(&self.place.0, &self.key, self.value_len, &self.value_hash),
            totals: Totals::of_entry(self.key.len(), self.value_len as usize),
        }
    }
}

/// What the way ends at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum End {
    /// The tree is empty.
    Empty,
    /// The entry at the place.
    Entry { key: Vec<u8>, value: Vec<u8> },
    /// An entry at another place, without its value.
    Other(Leaf),
}

/// A proof does not prove anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It leads to another root.
    #[error("the proof leads to root {found:.16}, not {expected:.16}")]
    Root {
        /// The root to prove against.
        expected: StateRoot,
        /// The root that the proof leads to.
        found: StateRoot,
    },
    /// The way is none that a tree can have.
    #[error(
        "the proof's step {step} parts at bit {bit}: not below the step above it, or behind a place's end"
    )]
    Step {
        /// Index of the step, from the root.
        step: u64,
        /// The bit.
        bit: u16,
    },
    /// An entry at the very place is shown as one at another place, or an empty tree as having inner nodes.
    #[error("the proof contradicts itself")]
    Contradiction,
    /// Totals are larger than can be counted.
    #[error("the proof counts more than can be counted")]
    Overflow,
}

impl Tree {
    /// Proves what is at `place`: an entry, or nothing.
    pub fn prove(&self, place: &Place) -> Proof {
        Proof::along(Vec::new(), self.top.as_ref(), place)
    }
}

/// Follows the place's bits to a leaf and notes the siblings.
pub(super) fn walk<'a>(top: &'a Subtree, place: &Place, steps: &mut Vec<Step>) -> EntryRef<'a> {
    let mut subtree = top;
    loop {
        match &subtree.node {
            Node::Inner(inner) => {
                let right = bit(&place.0, inner.bit);
                steps.push(Step {
                    bit: inner.bit,
                    sibling: inner.child(!right).sum,
                });
                subtree = inner.child(right);
            }
            Node::Page(page) => return walk_page(page, place, steps),
        }
    }
}

fn walk_page<'a>(page: &'a Page, place: &Place, steps: &mut Vec<Step>) -> EntryRef<'a> {
    let mut range = 0..page.len();
    while range.len() > 1 {
        let (at, middle) = page::split(page.places(), range.clone());
        let (left, right) = (range.start..middle, middle..range.end);
        let (entered, sibling) = if bit(&place.0, at) {
            (right, left)
        } else {
            (left, right)
        };
        steps.push(Step {
            bit: at,
            sibling: page.summary_of(sibling),
        });
        range = entered;
    }
    page.entry(range.start)
}

impl End {
    fn of(entry: EntryRef<'_>, place: &Place) -> Self {
        if entry.place == *place {
            return Self::Entry {
                key: entry.key.to_vec(),
                value: entry.value.to_vec(),
            };
        }
        Self::Other(Leaf::of(entry))
    }
}

impl Proof {
    /// The proof that leads by these steps to `subtree`, and on inside it; to nothing in an empty tree.
    pub(super) fn along(mut steps: Vec<Step>, subtree: Option<&Subtree>, place: &Place) -> Self {
        let end = match subtree {
            None => End::Empty,
            Some(subtree) => End::of(walk(subtree, place, &mut steps), place),
        };
        Self { steps, end }
    }

    /// The entry at `place` in the tree of this root, or that there is none.
    ///
    /// # Errors
    /// When the proof proves neither.
    pub fn verify(
        &self,
        root: StateRoot,
        place: &Place,
    ) -> Result<Option<EntryRef<'_>>, ProofError> {
        self.check_steps()?;
        let (entry, mut sum) = match &self.end {
            End::Empty => {
                if !self.steps.is_empty() {
                    return Err(ProofError::Contradiction);
                }
                let hash = digest::empty();
                let totals = Totals::default();
                (None, Summary { hash, totals })
            }
            End::Entry { key, value } => {
                let hash = digest::entry(&place.0, key, value);
                let totals = Totals::of_entry(key.len(), value.len());
                let place = *place;
                (
                    Some(EntryRef { place, key, value }),
                    Summary { hash, totals },
                )
            }
            End::Other(other) if other.place == *place => {
                return Err(ProofError::Contradiction);
            }
            End::Other(other) => (None, other.summary()),
        };
        for step in self.steps.iter().rev() {
            let (left, right) = if bit(&place.0, step.bit) {
                (&step.sibling, &sum)
            } else {
                (&sum, &step.sibling)
            };
            sum = parent(step.bit, left, right).map_err(|_| ProofError::Overflow)?;
        }
        let found = StateRoot::from(sum.hash);
        if found != root {
            return Err(ProofError::Root {
                expected: root,
                found,
            });
        }
        Ok(entry)
    }

    /// Bits rise on the way down and stay inside a place, so there are at most [`PLACE_BITS`] steps.
    fn check_steps(&self) -> Result<(), ProofError> {
        let mut bit_min = 0;
        for (step, &Step { bit, .. }) in self.steps.iter().enumerate() {
            if bit < bit_min || bit >= PLACE_BITS {
                let step = step as u64;
                return Err(ProofError::Step { step, bit });
            }
            bit_min = bit + 1;
        }
        Ok(())
    }
}
