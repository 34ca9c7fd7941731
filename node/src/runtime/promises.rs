//! What a node has promised to consensus, read back from its write-ahead log, and from when on it may promise more.

use super::NodeError;
use crate::{
    config::NodeDir,
    replica::{Voting, message::WalRecord},
};
use ledger::{
    codec,
    store::{StoreError, Wal},
    units::Height,
};
use std::path::Path;

/// What the write-ahead log says.
pub(super) struct Promises {
    /// None on a wiped node.
    pub(super) wal: Option<Wal>,
    pub(super) voting: Voting,
    /// What was written of the next height, in order.
    pub(super) records: Vec<WalRecord>,
}

/// Reads the write-ahead log of a node whose state is that after `decided`.
///
/// # Errors
/// [`NodeError`] if it is damaged.
pub(super) fn promises(dir: &Path, decided: Height) -> Result<Promises, NodeError> {
    let next = decided.next();
    let Some(opened) = Wal::open(dir, next)? else {
        tracing::warn!(
            "the write-ahead log is missing: this node was wiped, and votes only when it has learnt what the others have"
        );
        return Ok(Promises {
            wal: None,
            voting: Voting::wiped(),
            records: Vec::new(),
        });
    };
    let records = opened
        .entries
        .iter()
        .filter(|entry| entry.height == next)
        .map(|e| codec::decode_unchecked::<WalRecord>(&e.payload, codec::ENCODED_BYTES_MAX))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| NodeError::Log {
            height: next,
            why: format!("the write-ahead log: {e}"),
        })?;
    let voting = voting(next, opened.wal.floor(), !records.is_empty());
    if let Voting::From(height) = &voting {
        tracing::warn!(
            %height,
            "this node may have promised something at heights that its ledger does not reach: it votes from here on"
        );
    }
    // What is known of the next height matters only to one that goes on voting there.
    let records = match voting {
        Voting::Always => records,
        _ => Vec::new(),
    };
    Ok(Promises {
        wal: Some(opened.wal),
        voting,
        records,
    })
}

/// From when on a node may vote that has just fetched the state after `decided`.
pub(super) fn after_join(before: Voting, floor: Option<Height>, decided: Height) -> Voting {
    match before {
        // A wiped node's floor is not known: it learns it from its peers.
        Voting::Learning(_) => before,
        Voting::Always | Voting::From(_) => voting(decided.next(), floor, false),
    }
}

/// The operator's word that a wiped node has signed nothing from `height` on, where too few others can be reached to
/// learn it from. A wrong word makes it sign twice.
///
/// # Errors
/// [`StoreError::Exists`] if the node was not wiped: then it knows itself.
pub fn vote_from(dir: &NodeDir, height: Height) -> Result<(), StoreError> {
    tracing::warn!(%height, "the operator says that this node has signed nothing from this height on; if it has, it signs twice");
    Wal::create_promised(&dir.wal(), height.previous().unwrap_or_default())
}

/// `floor` is the highest height at which anything may have been promised; `known` says that what was promised at the
/// `next` height is all there.
fn voting(next: Height, floor: Option<Height>, known: bool) -> Voting {
    match floor {
        Some(floor) if floor > next || (floor == next && !known) => Voting::From(floor.next()),
        _ => Voting::Always,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From when on a node votes whose next height is 10: none for at once.
    fn from(floor: Option<u64>, known: bool) -> Option<u64> {
        match voting(Height(10), floor.map(Height), known) {
            Voting::Always => None,
            Voting::From(height) => Some(height.0),
            Voting::Learning(_) => panic!("it was not wiped"),
        }
    }

    #[test]
    fn a_node_whose_promises_are_all_known_votes_at_once() {
        assert_eq!(from(None, false), None, "it has never signed");
        assert_eq!(from(Some(9), false), None, "decided since");
        assert_eq!(from(Some(10), true), None, "under way when it stopped");
    }

    #[test]
    fn one_that_may_have_promised_more_than_it_knows_waits_until_above() {
        assert_eq!(
            from(Some(10), false),
            Some(11),
            "told so by its peers, and started again"
        );
        assert_eq!(
            from(Some(25), false),
            Some(26),
            "its ledger has lost blocks"
        );
        assert_eq!(from(Some(25), true), Some(26));
    }
}
