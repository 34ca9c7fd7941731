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
    let opened = Wal::open(dir, next).map_err(|error| match error {
        StoreError::Damaged {
            path, offset, what, ..
        } => NodeError::Promises { path, offset, what },
        other => other.into(),
    })?;
    let Some(opened) = opened else {
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
    let voting = Voting::resume(next, opened.wal.floor(), opened.wal.unknown());
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
        // What it knows of its promises is not gone through: it counts as unknown.
        Voting::Always | Voting::From(_) => Voting::resume(decided.next(), floor, floor),
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
