//! Why a node does not start, or has stopped.

use crate::{config::ConfigError, replica};
use ledger::{hash::ChainId, light::Checkpoint, store::StoreError, units::Height};
use std::path::PathBuf;

/// Why a node does not start, or has stopped.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its folder is not in order.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its disk is not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The genesis starts no chain.
    #[error("the genesis: {0}")]
    Genesis(String),
    /// Its log contradicts itself.
    #[error("the ledger at height {height}: {why}")]
    Log {
        /// Where.
        height: Height,
        /// What is wrong.
        why: String,
    },
    /// The write-ahead log is damaged. Nobody else knows what it held.
    #[error(
        "{} is damaged at byte {offset}: {what}. Nobody else knows what this node has promised: restore the file, or move its \
         folder away; the node then counts as wiped, and votes again when it has learnt from the others from where on it may",
        .path.display()
    )]
    Promises {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The block log is another chain's.
    #[error(
        "the ledger is of chain {found}, and genesis.json makes chain {expected}: put back the genesis.json that this folder was made with, or use another folder"
    )]
    OtherChain {
        /// The ledger's.
        found: ChainId,
        /// The genesis's.
        expected: ChainId,
    },
    /// The network does not start.
    #[error(transparent)]
    Network(#[from] p2p::Error),
    /// An address of the configuration is none.
    #[error("{text:?} in tintype.toml is no multiaddress: {why}")]
    Address {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The HTTP address is taken or not this machine's.
    #[error(
        "cannot listen for HTTP on {address}: {source}; choose another `http.address` in tintype.toml"
    )]
    Http {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The replica cannot go on.
    #[error(transparent)]
    Replica(#[from] replica::ConsensusError),
    /// The snapshots on its disk are not in order.
    #[error(transparent)]
    Snapshots(#[from] ::snapshot::store::StoreError),
    /// A state could not be fetched.
    #[error("fetching a snapshot: {0}; start the node again, it goes on where it was")]
    Sync(String),
    /// A node that cannot follow spaces alone.
    #[error("this node cannot follow spaces only: {0}")]
    Spaces(String),
    /// The block that the operator trusts could not be had.
    #[error(
        "no peer gave the trusted block {checkpoint}: {why}; see that height and hash are right, and that a peer has that block"
    )]
    Trust {
        /// The block.
        checkpoint: Checkpoint,
        /// What the last one who answered gave.
        why: String,
    },
    /// A part of it panicked: a bug.
    #[error("{0} has died, its last words are above; this is a bug, please report it")]
    Died(&'static str),
    /// The machine lacks something a process needs.
    #[error("{what}: {source}")]
    Machine {
        /// What could not be had.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}
