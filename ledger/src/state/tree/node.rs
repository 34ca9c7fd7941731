//! Nodes in memory, and the subtree: a node with its summary.
//!
//! A node does not hold its own hash: its parent does, beside those of its sibling, which is just what the parent's hash
//! is made of. So a batch hashes a parent without looking at the children that it did not touch.

use super::digest::{Summary, Totals};
use super::near;
use super::page::{self, Page, Slot};
use super::place::{Place, Prefix, bit, masked, parting};
use super::seal::seal;
use super::{EntryRef, Part};
use crate::hash::Hash;
use triomphe::Arc;

#[derive(Clone)]
pub(super) enum Node {
    Page(Page),
    Inner(Arc<Inner>),
}

impl Node {
    /// Asks for the count of versions that have it.
    #[inline]
    pub(super) fn ask_count(&self) {
        match self {
            Self::Page(page) => page.ask_count(),
            Self::Inner(inner) => near::ask_head(&**inner),
        }
    }
}

#[derive(Clone)]
pub(super) struct Inner {
    /// The bit at which the children part.
    pub bit: u16,
    /// The bits before it, which all entries share; the others are zero.
    pub prefix: [u8; 32],
    pub left: Subtree,
    pub right: Subtree,
}

impl Inner {
    #[inline]
    pub(super) fn child(&self, right: bool) -> &Subtree {
        if right { &self.right } else { &self.left }
    }
}

/// A subtree that is not empty, held independently of the tree it came from. Cloning copies a pointer.
#[derive(Clone)]
pub struct Subtree {
    pub(super) sum: Summary,
    pub(super) node: Node,
}

impl Subtree {
    pub(super) fn from_page(page: Page) -> Self {
        let mut subtree = Self::unsealed(page);
        seal(&mut subtree);
        subtree
    }

    /// As [`Self::from_page`], to be sealed.
    pub(super) fn unsealed(page: Page) -> Self {
        Self {
            sum: page.known(),
            node: Node::Page(page),
        }
    }

    /// The parent of two subtrees whose places part at `at` and begin with the same bits as `sample` before it, to be sealed.
    pub(super) fn pair(at: u16, sample: &[u8; 32], left: Self, right: Self) -> Self {
        debug_assert!(at < left.parting() && at < right.parting());
        let sum = Summary::pending(left.sum.totals.plus(right.sum.totals));
        if let Some(page) = merged(sum.totals, &left, &right) {
            let node = Node::Page(page);
            return Self { sum, node };
        }
        let inner = Inner {
            bit: at,
            prefix: masked(sample, at),
            left,
            right,
        };
        Self {
            sum,
            node: Node::Inner(Arc::new(inner)),
        }
    }

    /// The longest prefix that all of its places share: its position in the tree.
    pub fn prefix(&self) -> Prefix {
        Prefix::of(&Place(*self.sample()), self.parting())
    }

    /// Its hash.
    pub fn hash(&self) -> Hash {
        self.sum.hash
    }

    /// What it holds.
    pub fn totals(&self) -> Totals {
        self.sum.totals
    }

    /// Its position, hash and totals.
    pub fn part(&self) -> Part {
        Part {
            prefix: self.prefix(),
            hash: self.sum.hash,
            totals: self.sum.totals,
        }
    }

    /// The two halves that it parts into, none if it is a single entry.
    pub fn children(&self) -> Option<(Self, Self)> {
        match &self.node {
            Node::Inner(inner) => Some((inner.left.clone(), inner.right.clone())),
            Node::Page(page) if page.len() > 1 => {
                let (_, middle) = page::split(page.places(), 0..page.len());
                let slots: Vec<Slot<'_>> = page.slots().collect();
                let (left, right) = slots.split_at(middle);
                Some((
                    Self::from_page(Page::pack(left)),
                    Self::from_page(Page::pack(right)),
                ))
            }
            Node::Page(_) => None,
        }
    }

    /// The entry at `place`.
    pub(super) fn get(&self, place: &Place) -> Option<EntryRef<'_>> {
        let mut node = &self.node;
        loop {
            match node {
                Node::Inner(inner) => node = &inner.child(bit(&place.0, inner.bit)).node,
                Node::Page(page) => {
                    let index = page.places().iter().position(|p| *p == place.0)?;
                    return Some(page.entry(index));
                }
            }
        }
    }

    /// The bit at which its places part; that behind the end for a single entry.
    #[inline]
    pub(super) fn parting(&self) -> u16 {
        match &self.node {
            Node::Inner(inner) => inner.bit,
            Node::Page(page) => page.parting(),
        }
    }

    /// A bit string with which all of its places agree up to [`Self::parting`].
    #[inline]
    pub(super) fn sample(&self) -> &[u8; 32] {
        match &self.node {
            Node::Inner(inner) => &inner.prefix,
            Node::Page(page) => &page.places()[0],
        }
    }

    /// The first bit at which `place` and this subtree part; at least [`Self::parting`] when it belongs here.
    #[inline]
    pub(super) fn departs(&self, place: &[u8; 32]) -> u16 {
        parting(self.sample(), place)
    }

    /// Whether both are one node in memory.
    pub(super) fn same_node(&self, other: &Self) -> bool {
        match (&self.node, &other.node) {
            (Node::Inner(a), Node::Inner(b)) => Arc::ptr_eq(a, b),
            (Node::Page(a), Node::Page(b)) => a.same(b),
            _ => false,
        }
    }
}

/// Both in one page, if a subtree of these totals is one. (Its children are pages then, being smaller.)
pub(super) fn merged(totals: Totals, left: &Subtree, right: &Subtree) -> Option<Page> {
    match (&left.node, &right.node) {
        (Node::Page(left), Node::Page(right)) if page::fits(totals) => {
            let slots: Vec<Slot<'_>> = left.slots().chain(right.slots()).collect();
            Some(Page::pack(&slots))
        }
        _ => None,
    }
}
