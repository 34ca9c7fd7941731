//! Hashing what lies in memory anew.
//!
//! A batch trusts the hashes of what it does not touch, so an entry that nothing touches could rot in memory unseen. Whoever
//! scrubs calls [`Subtree::audit`] on one subtree of a cut after another, in the background.

use super::digest::{self, Summary};
use super::node::{Node, Subtree};
use super::page::{self, PAGE_ENTRIES_MAX, Page, Slot};
use super::place::{Prefix, bit, masked, parting};

/// What lies in memory is not what was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state in memory is damaged below {prefix}")]
pub struct Damage {
    /// The smallest subtree that does not give its hash.
    pub prefix: Prefix,
}

impl Subtree {
    /// Hashes every entry and every inner node anew, and checks that all are where they belong.
    ///
    /// # Errors
    /// When memory holds something else than what was hashed.
    pub fn audit(&self) -> Result<(), Damage> {
        let sound = match &self.node {
            Node::Page(page) => is_sound(page, &self.sum),
            Node::Inner(inner) => {
                inner.left.audit()?;
                inner.right.audit()?;
                let (left, right) = (&inner.left, &inner.right);
                let belongs = |child: &Self, right: bool| {
                    let at = parting(child.sample(), &inner.prefix);
                    at >= inner.bit
                        && child.parting() > inner.bit
                        && bit(child.sample(), inner.bit) == right
                };
                self.sum == digest::summary(inner.bit, &left.sum, &right.sum)
                    && !page::fits(self.sum.totals)
                    && inner.prefix == masked(&inner.prefix, inner.bit)
                    && belongs(left, false)
                    && belongs(right, true)
            }
        };
        if sound {
            return Ok(());
        }
        Err(Damage {
            prefix: self.prefix(),
        })
    }
}

/// Whether a page's entries are in order, few enough, and give the hashes beside them and the one above.
fn is_sound(page: &Page, sum: &Summary) -> bool {
    let sorted = page.places().is_sorted_by(|a, b| a < b);
    if !sorted || !(1..=PAGE_ENTRIES_MAX).contains(&page.len()) {
        return false;
    }
    let unknown = page.slots().map(|slot| Slot { hash: None, ..slot });
    let slots: Vec<Slot<'_>> = unknown.collect();
    let anew = Subtree::from_page(Page::pack(&slots));
    let same_hashes = matches!(&anew.node, Node::Page(anew) if anew.hashes() == page.hashes());
    same_hashes && anew.sum == *sum && page::fits(sum.totals)
}
