//! What differs between two trees, in time that follows the difference.
//!
//! Two versions of one tree share most of their nodes: a shared node is skipped without being looked at, and so are two
//! nodes of one hash.

use super::node::{Node, Subtree};
use super::place::{Place, bit, parting};
use super::walk::Iter;
use super::{EntryRef, Tree};
use std::iter::Peekable;

/// One place at which two trees differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference<'a> {
    /// The place.
    pub place: Place,
    /// What is there in the old tree.
    pub old: Option<EntryRef<'a>>,
    /// What is there in the new tree.
    pub new: Option<EntryRef<'a>>,
}

impl Tree {
    /// The places at which `new` differs from this tree, in their order.
    pub fn changes<'a>(&'a self, new: &'a Self) -> Changes<'a> {
        Changes {
            pending: vec![(self.top.as_ref(), new.top.as_ref())],
            merging: None,
        }
    }
}

/// The differences between two trees, in the order of places.
pub struct Changes<'a> {
    /// Pairs still to compare, the next one last. The places of the pairs do not overlap.
    pending: Vec<(Option<&'a Subtree>, Option<&'a Subtree>)>,
    /// A pair that is compared entry by entry.
    merging: Option<(Peekable<Iter<'a>>, Peekable<Iter<'a>>)>,
}

impl<'a> Iterator for Changes<'a> {
    type Item = Difference<'a>;

    fn next(&mut self) -> Option<Difference<'a>> {
        loop {
            if let Some((old, new)) = &mut self.merging {
                if let Some(difference) = merge(old, new) {
                    return Some(difference);
                }
                self.merging = None;
            }
            let (old, new) = self.pending.pop()?;
            self.compare(old, new);
        }
    }
}

impl<'a> Changes<'a> {
    /// Takes a pair apart, or sets it up to be compared entry by entry.
    fn compare(&mut self, old: Option<&'a Subtree>, new: Option<&'a Subtree>) {
        let (Some(a), Some(b)) = (old, new) else {
            self.merge(old, new);
            return;
        };
        if a.same_node(b) || a.sum.hash == b.sum.hash {
            return;
        }
        // A page against a larger subtree is merged whole: all but a page's entries of that are differences.
        let (Node::Inner(x), Node::Inner(y)) = (&a.node, &b.node) else {
            self.merge(old, new);
            return;
        };
        let departs = parting(&x.prefix, &y.prefix);
        if departs < x.bit.min(y.bit) {
            let apart = [(None, new), (old, None)];
            let [first, second] = apart;
            // The right one is pushed first, the left one is next.
            self.pending.extend(if bit(&x.prefix, departs) {
                [second, first]
            } else {
                [first, second]
            });
        } else if x.bit == y.bit {
            let right = (Some(&x.right), Some(&y.right));
            self.pending.extend([right, (Some(&x.left), Some(&y.left))]);
        } else if x.bit < y.bit {
            let in_right = bit(&y.prefix, x.bit);
            let with = |side| if side == in_right { new } else { None };
            let right = (Some(&x.right), with(true));
            self.pending.extend([right, (Some(&x.left), with(false))]);
        } else {
            let in_right = bit(&x.prefix, y.bit);
            let with = |side| if side == in_right { old } else { None };
            let right = (with(true), Some(&y.right));
            self.pending.extend([right, (with(false), Some(&y.left))]);
        }
    }

    fn merge(&mut self, old: Option<&'a Subtree>, new: Option<&'a Subtree>) {
        self.merging = Some((Iter::over(old).peekable(), Iter::over(new).peekable()));
    }
}

/// The next difference of two runs of entries.
fn merge<'a>(old: &mut Peekable<Iter<'a>>, new: &mut Peekable<Iter<'a>>) -> Option<Difference<'a>> {
    loop {
        let place = match (old.peek(), new.peek()) {
            (Some(a), Some(b)) => a.place.min(b.place),
            (Some(one), None) | (None, Some(one)) => one.place,
            (None, None) => return None,
        };
        let old = old.next_if(|entry| entry.place == place);
        let new = new.next_if(|entry| entry.place == place);
        if old != new {
            return Some(Difference { place, old, new });
        }
    }
}
