//! What a node tells those who listen: one stream for the event endpoint, the log and the metrics.

use crate::handle::{SnapshotInfo, SyncProgress};
use ledger::{
    hash::{Address, BlockHash, StateRoot},
    units::{Height, Round, TimestampMs},
};
use serde::Serialize;
use std::fmt;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A block became final.
    Block {
        /// Its height.
        height: Height,
        /// The round it was decided in.
        round: Round,
        /// The block.
        hash: BlockHash,
        /// The root after it.
        state_root: StateRoot,
        /// Who proposed it.
        proposer: Address,
        /// When, as the proposer says.
        time: TimestampMs,
        /// How many transactions it has.
        transactions: u64,
    },
    /// A snapshot is whole on disk.
    Snapshot(SnapshotInfo),
    /// A sync went on.
    Sync(SyncProgress),
    /// Someone disagrees about the state: this node with the chain, or a peer with this node.
    Alarm(Alarm),
}

/// Who disagrees, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "alarm", rename_all = "snake_case")]
pub enum Alarm {
    /// This node's execution disagrees with a certified block: its state has gone astray, or its program has.
    Diverged {
        /// The height.
        height: Height,
        /// The block that is certified.
        block: BlockHash,
        /// The root that is certified.
        certified: StateRoot,
        /// The root that this node's execution came to, if it came to one.
        here: Option<StateRoot>,
        /// What is wrong with the block, to this node.
        reason: String,
    },
    /// A peer attests another root at a snapshot height.
    PeerDiffers {
        /// The peer, by its node key.
        peer: ledger::keys::PublicKey,
        /// The height.
        height: Height,
        /// The root here.
        here: StateRoot,
        /// The root it attests.
        theirs: StateRoot,
    },
    /// A validator signed two things where it may sign one.
    Equivocation {
        /// The validator.
        validator: Address,
        /// The height.
        height: Height,
    },
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Diverged {
                height,
                block,
                certified,
                reason,
                ..
            } => write!(
                f,
                "block {block:.8} of height {height} is final with state root {certified:.8}, and this node's execution \
                 disagrees: {reason}; it votes no more. `tintype diff` says in what it differs from another node. Start it again, \
                 and it builds its state anew from its snapshot and blocks; if it goes astray again, its program or its machine is not what the others' are"
            ),
            Self::PeerDiffers {
                peer,
                height,
                here,
                theirs,
            } => write!(
                f,
                "node {peer:.8} attests state root {theirs:.8} at height {height}, here it is {here:.8}"
            ),
            Self::Equivocation { validator, height } => write!(
                f,
                "validator {validator:.8} signed two things where it may sign one, at height {height}"
            ),
        }
    }
}
