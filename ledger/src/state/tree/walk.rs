//! Reading in the order of places, narrowing to a prefix, and cutting into subtrees of bounded size.

use super::node::{Node, Subtree};
use super::page::{Page, Slot};
use super::place::{Place, Prefix, bit};
use super::{EntryRef, Part, Tree};
use std::ops::Range;

impl Tree {
    /// Every entry, in the order of places.
    pub fn iter(&self) -> Iter<'_> {
        Iter::over(self.top.as_ref())
    }

    /// All that lies below `prefix`, none if nothing does. Its own prefix may be longer than the one asked for.
    pub fn subtree(&self, prefix: &Prefix) -> Option<Subtree> {
        match self.descend(prefix)? {
            Below::Whole(subtree) => Some(subtree.clone()),
            Below::InPage(page, range) => {
                let slots: Vec<Slot<'_>> = range.map(|index| page.slot(index)).collect();
                Some(Subtree::from_page(Page::pack(&slots)))
            }
        }
    }

    /// The largest subtrees of at most `bytes_max` bytes, in the order of places: together they are the whole tree. An
    /// entry that is larger by itself is a subtree by itself.
    ///
    /// The cut follows from the content alone. Costs a few steps for each subtree returned.
    pub fn cut(&self, bytes_max: u64) -> Vec<Subtree> {
        let mut subtrees = Vec::new();
        let mut pending = Vec::from_iter(self.top.clone());
        while let Some(subtree) = pending.pop() {
            if subtree.sum.totals.bytes <= bytes_max {
                subtrees.push(subtree);
            } else if let Some((left, right)) = subtree.children() {
                pending.extend([right, left]);
            } else {
                subtrees.push(subtree);
            }
        }
        subtrees
    }

    fn descend(&self, prefix: &Prefix) -> Option<Below<'_>> {
        let mut subtree = self.top.as_ref()?;
        loop {
            match &subtree.node {
                Node::Inner(inner) if inner.bit < prefix.bit_count() => {
                    subtree = inner.child(bit(&prefix.bits().0, inner.bit));
                }
                Node::Inner(inner) => {
                    let inside = prefix.contains(&Place(inner.prefix));
                    return inside.then_some(Below::Whole(subtree));
                }
                Node::Page(page) => {
                    let places = page.places();
                    let inside = |p: &[u8; 32]| prefix.contains(&Place(*p));
                    let first = places.iter().position(inside)?;
                    let count = places[first..].iter().take_while(|p| inside(p)).count();
                    return Some(if count == places.len() {
                        Below::Whole(subtree)
                    } else {
                        Below::InPage(page, first..first + count)
                    });
                }
            }
        }
    }
}

impl Subtree {
    /// Its entries, in the order of places.
    pub fn iter(&self) -> Iter<'_> {
        Iter::over(Some(self))
    }

    /// What it parts into when the largest is halved again and again: so many parts, or one for each entry if it has fewer, in
    /// the order of places. They fold to it.
    ///
    /// From the root down this is how two who hold a state find where theirs differ, a few messages each.
    pub fn parts(&self, count: usize) -> Vec<Part> {
        let mut subtrees = vec![self.clone()];
        while subtrees.len() < count
            && let Some((at, largest)) = subtrees
                .iter()
                .enumerate()
                .max_by_key(|(_, subtree)| subtree.totals().entries)
            && let Some((left, right)) = largest.children()
        {
            subtrees.splice(at..=at, [left, right]);
        }
        subtrees.iter().map(Self::part).collect()
    }
}

/// What lies below a prefix.
enum Below<'a> {
    Whole(&'a Subtree),
    /// Some of the entries of a page, but not all.
    InPage(&'a Page, Range<usize>),
}

/// Entries in the order of places.
pub struct Iter<'a> {
    /// Nodes still to visit, the next one last.
    pending: Vec<&'a Node>,
    page: Option<(&'a Page, Range<usize>)>,
}

impl<'a> Iter<'a> {
    pub(super) fn over(subtree: Option<&'a Subtree>) -> Self {
        Self {
            pending: Vec::from_iter(subtree.map(|subtree| &subtree.node)),
            page: None,
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = EntryRef<'a>;

    fn next(&mut self) -> Option<EntryRef<'a>> {
        loop {
            if let Some((page, range)) = &mut self.page
                && let Some(index) = range.next()
            {
                return Some(page.entry(index));
            }
            match self.pending.pop()? {
                Node::Page(page) => self.page = Some((page, 0..page.len())),
                Node::Inner(inner) => {
                    self.pending.extend([&inner.right.node, &inner.left.node]);
                }
            }
        }
    }
}

impl<'a> IntoIterator for &'a Tree {
    type Item = EntryRef<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a Subtree {
    type Item = EntryRef<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}
