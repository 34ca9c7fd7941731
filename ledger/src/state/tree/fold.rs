//! The upper tree from its lower ends alone: what a manifest is checked with.
//!
//! # What folding proves
//! Given a root that is trusted, the hash and the totals of every part are the true ones if there are at least two parts
//! (of a single part, which is the whole tree, only the hash is), and so are the bits at which neighbours part. A part's
//! *other* prefix bits are under the part's own hash, and are proven when its entries are there: a part whose entries give
//! the promised hash under another prefix convicts the manifest, not whoever sent the entries.

use super::digest::{self, ENTRY_OVERHEAD_BYTES, Summary, Totals};
use super::place::{PLACE_BITS, Prefix, bit, parting};
use crate::hash::{Hash, StateRoot};

/// What is known of a subtree without its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// The longest prefix that all of its places share.
    pub prefix: Prefix,
    /// Its hash.
    pub hash: Hash,
    /// What it holds.
    pub totals: Totals,
}

/// What parts fold to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    /// The root of the tree that they make.
    pub root: StateRoot,
    /// What that tree holds.
    pub totals: Totals,
}

/// These parts make no tree, or are not the cut that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// A part overlaps the one before it, or lies before it.
    #[error("the part at {0} overlaps the one before it, or is out of order")]
    Order(Prefix),
    /// No subtree at this prefix can have these totals.
    #[error("the part at {prefix} cannot hold {} entries of {} bytes", totals.entries, totals.bytes)]
    Totals {
        /// Where.
        prefix: Prefix,
        /// What it was said to hold.
        totals: Totals,
    },
    /// The parts hold more than can be counted.
    #[error("the parts hold more than can be counted")]
    Overflow,
    /// A part is larger than the cut allows and could be cut further.
    #[error(
        "the part at {prefix} has {bytes} bytes and more than one entry, the cut allows {bytes_max}"
    )]
    TooLarge {
        /// Where.
        prefix: Prefix,
        /// What it holds.
        bytes: u64,
        /// What the cut allows.
        bytes_max: u64,
    },
    /// Two neighbours should have been one part.
    #[error(
        "the parts below {prefix} have {bytes} bytes together and should be one, the cut allows {bytes_max}"
    )]
    TooSmall {
        /// Where they would be one.
        prefix: Prefix,
        /// What they hold together.
        bytes: u64,
        /// What the cut allows.
        bytes_max: u64,
    },
}

/// The root of the tree that parts into `parts`, which come in the order of their prefixes. No parts make the empty tree.
///
/// Costs one hash a part.
///
/// # Errors
/// When parts overlap or are out of order, or one has totals that no subtree can have.
pub fn fold(parts: &[Part]) -> Result<Folded, FoldError> {
    fold_with(parts, |_| Ok(()), |_, _| Ok(()))
}

/// Like [`fold`], and checks that the parts are what [`super::Tree::cut`] gives for `bytes_max`.
///
/// # Errors
/// As for [`fold`], and when a part should have been cut further or two should have been left together.
pub fn fold_cut(parts: &[Part], bytes_max: u64) -> Result<Folded, FoldError> {
    let whole = |part: &Part| {
        let bytes = part.totals.bytes;
        if bytes > bytes_max && part.totals.entries > 1 {
            return Err(FoldError::TooLarge {
                prefix: part.prefix,
                bytes,
                bytes_max,
            });
        }
        Ok(())
    };
    let apart = |prefix: Prefix, totals: Totals| {
        if totals.bytes <= bytes_max {
            return Err(FoldError::TooSmall {
                prefix,
                bytes: totals.bytes,
                bytes_max,
            });
        }
        Ok(())
    };
    fold_with(parts, whole, apart)
}

/// Folds, showing every part to `check_part` and every inner node above them to `check_inner`.
///
/// The stack holds the left siblings of the path to the last part, with the bit at which each parts from what comes after;
/// those bits rise, so there are never more than [`PLACE_BITS`].
fn fold_with(
    parts: &[Part],
    check_part: impl Fn(&Part) -> Result<(), FoldError>,
    check_inner: impl Fn(Prefix, Totals) -> Result<(), FoldError>,
) -> Result<Folded, FoldError> {
    let mut lefts: Vec<(u16, Summary)> = Vec::new();
    let mut last: Option<(&Part, Summary)> = None;
    // The summary of the largest subtree that ends with `part` and parts from what follows at `above`, or of all.
    let close = |lefts: &mut Vec<(u16, Summary)>, part: &Part, mut sum, above: Option<u16>| {
        while let Some((at, left)) = lefts.pop_if(|(at, _)| above.is_none_or(|above| *at > above)) {
            sum = parent(at, &left, &sum)?;
            check_inner(Prefix::of(part.prefix.bits(), at), sum.totals)?;
        }
        Ok::<Summary, FoldError>(sum)
    };
    for part in parts {
        part.check()?;
        check_part(part)?;
        if let Some((before, sum)) = last {
            let at = apart(&before.prefix, &part.prefix).ok_or(FoldError::Order(part.prefix))?;
            let left = close(&mut lefts, before, sum, Some(at))?;
            lefts.push((at, left));
        }
        last = Some((part, part.summary()));
    }
    let sum = match last {
        Some((last, sum)) => close(&mut lefts, last, sum, None)?,
        None => Summary {
            hash: digest::empty(),
            totals: Totals::default(),
        },
    };
    Ok(Folded {
        root: sum.hash.into(),
        totals: sum.totals,
    })
}

impl Part {
    pub(super) fn summary(&self) -> Summary {
        Summary {
            hash: self.hash,
            totals: self.totals,
        }
    }

    /// Whether a subtree at this prefix can have these totals.
    fn check(&self) -> Result<(), FoldError> {
        let Totals { entries, bytes } = self.totals;
        let single = self.prefix.bit_count() == PLACE_BITS;
        let bytes_min = entries.saturating_mul(ENTRY_OVERHEAD_BYTES);
        if entries == 0 || (entries == 1) != single || bytes < bytes_min {
            return Err(FoldError::Totals {
                prefix: self.prefix,
                totals: self.totals,
            });
        }
        Ok(())
    }
}

/// The bit at which two prefixes part, if neither contains the other and they are in order.
fn apart(before: &Prefix, next: &Prefix) -> Option<u16> {
    let at = parting(&before.bits().0, &next.bits().0);
    let shorter = before.bit_count().min(next.bit_count());
    (at < shorter && !bit(&before.bits().0, at)).then_some(at)
}

/// The parent of two subtrees that somebody else counted.
pub(super) fn parent(at: u16, left: &Summary, right: &Summary) -> Result<Summary, FoldError> {
    Ok(Summary {
        hash: digest::inner(at, left, right),
        totals: left
            .totals
            .checked_add(right.totals)
            .ok_or(FoldError::Overflow)?,
    })
}
