//! What differs between two trees, in time that follows the difference.
//!
//! Two versions of one tree share most of their nodes: a shared node is skipped without being looked at, and so are two
//! nodes of one hash.

use super::node::{Node, Subtree};
use super::page::Page;
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
    merging: Option<Merging<'a>>,
}

/// Two runs of entries on their way past each other.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
enum Merging<'a> {
    /// Two pages, which is nearly every pair there is: compared by their hashes, without looking at keys and values.
    Pages(Rest<'a>, Rest<'a>),
    /// Anything else.
    Runs(Peekable<Iter<'a>>, Peekable<Iter<'a>>),
}

/// What is left of a page.
struct Rest<'a> {
    page: &'a Page,
    next: usize,
}

impl<'a> Iterator for Changes<'a> {
    type Item = Difference<'a>;

    fn next(&mut self) -> Option<Difference<'a>> {
        loop {
            if let Some(merging) = &mut self.merging {
                let difference = match merging {
                    Merging::Pages(old, new) => merge_pages(old, new),
                    Merging::Runs(old, new) => merge_runs(old, new),
                };
                if difference.is_some() {
                    return difference;
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
        let (x, y) = match (&a.node, &b.node) {
            (Node::Inner(x), Node::Inner(y)) => (x, y),
            (Node::Page(x), Node::Page(y)) => {
                self.merging = Some(Merging::Pages(Rest::of(x), Rest::of(y)));
                return;
            }
            // All of the larger one but a page's entries are differences, so it may be read whole.
            _ => {
                self.merge(old, new);
                return;
            }
        };
        let departs = parting(&x.prefix, &y.prefix);
        if departs < x.bit.min(y.bit) {
            // The one on the left is next, so it is pushed last.
            let (old, new) = ((old, None), (None, new));
            let old_is_right = bit(&x.prefix, departs);
            self.pending
                .extend(if old_is_right { [old, new] } else { [new, old] });
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
        let (old, new) = (Iter::over(old), Iter::over(new));
        self.merging = Some(Merging::Runs(old.peekable(), new.peekable()));
    }
}

impl<'a> Rest<'a> {
    fn of(page: &'a Page) -> Self {
        Self { page, next: 0 }
    }

    fn place(&self) -> Option<&'a [u8; 32]> {
        self.page.places().get(self.next)
    }

    fn hash(&self) -> Option<&'a [u8; 32]> {
        self.page.hashes().get(self.next)
    }

    fn take(&mut self) -> EntryRef<'a> {
        self.next += 1;
        self.page.entry(self.next - 1)
    }
}

/// The next difference of two pages.
fn merge_pages<'a>(old: &mut Rest<'a>, new: &mut Rest<'a>) -> Option<Difference<'a>> {
    loop {
        let (in_old, in_new) = match (old.place(), new.place()) {
            (Some(a), Some(b)) => (a <= b, b <= a),
            (None, None) => return None,
            (a, b) => (a.is_some(), b.is_some()),
        };
        if in_old && in_new && old.hash() == new.hash() {
            old.next += 1;
            new.next += 1;
            continue;
        }
        let old = in_old.then(|| old.take());
        let new = in_new.then(|| new.take());
        let place = old.or(new)?.place;
        return Some(Difference { place, old, new });
    }
}

/// The next difference of two runs of entries.
fn merge_runs<'a>(
    old: &mut Peekable<Iter<'a>>,
    new: &mut Peekable<Iter<'a>>,
) -> Option<Difference<'a>> {
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
