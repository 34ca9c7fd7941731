//! Hashing what lies in memory anew.
//!
//! A batch trusts the hashes of what it does not touch, so an entry that nothing touches could rot in memory unseen. Whoever
//! scrubs calls [`Subtree::audit`] on one subtree of a cut after another, in the background.

use super::digest::{self, Summary};
use super::node::{Node, Subtree};
use super::page::{self, PAGE_ENTRIES_MAX, Page};
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
            Node::Page(page) => self.sum == page.summary() && is_sound(page),
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

/// Whether a page's entries are in order, few enough, and give the hashes beside them.
fn is_sound(page: &Page) -> bool {
    let Summary { totals, .. } = page.summary();
    let right = |slot: page::Slot<'_>| {
        let hash = digest::entry(slot.place, slot.key, slot.value);
        slot.hash == Some(hash)
    };
    (1..=PAGE_ENTRIES_MAX).contains(&page.len())
        && page::fits(totals)
        && page.places().is_sorted_by(|a, b| a < b)
        && page.slots().all(right)
}
