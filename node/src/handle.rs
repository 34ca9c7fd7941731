//! What the running node offers to those who ask it: the HTTP API today.
//!
//! A [`Handle`] is cheap to clone and safe to use from any task. Reading never waits for consensus: it looks at
//! pictures of the state that the replica has published.

use crate::event::Event;
use ::snapshot::manifest::Manifest;
use ledger::{
    block::{CertifiedHeader, CommittedBlock},
    genesis::Genesis,
    hash::{BlockHash, ChainId, Hash, StateRoot, TxId, ValidatorSetHash},
    keys::PublicKey,
    light::LightBlock,
    state::{Outcome, View},
    transaction::{SignedTransaction, TransactionError},
    units::{Height, Nonce},
    untrusted::Untrusted,
    validators::ValidatorSet,
};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::sync::broadcast;

/// Why a node does not take a transaction in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is bad whatever the state is.
    #[error(transparent)]
    Invalid(#[from] TransactionError),
    /// It could not be in the next block.
    #[error(transparent)]
    Inadmissible(#[from] ledger::state::Inadmissible),
    /// Another transaction with its nonce is waiting.
    #[error(
        "another transaction of this account with nonce {nonce} is waiting already, the next free nonce is {next}"
    )]
    NonceTaken {
        /// The nonce.
        nonce: Nonce,
        /// The next free one.
        next: Nonce,
    },
    /// The pool is full.
    #[error("this node has {waiting} transactions waiting, as many as it takes")]
    PoolFull {
        /// How many are waiting.
        waiting: usize,
    },
    /// The sender has too many waiting.
    #[error("this account has {waiting} transactions waiting, as many as one may")]
    SenderFull {
        /// How many are waiting.
        waiting: usize,
    },
    /// The node has not caught up, or is stopping.
    #[error("this node does not follow the chain at the moment: {0}")]
    NotReady(String),
    /// The node follows some spaces, and no blocks.
    #[error("this node follows some spaces only, and takes no transactions")]
    FollowsSpaces,
}

/// What is known of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum TransactionStatus {
    /// Nothing.
    Unknown,
    /// It waits for a block.
    Pending,
    /// It is in a block.
    Committed(Inclusion),
    /// It waited, and can be in no block any more.
    Dropped(Refusal),
}

/// Where a transaction is, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The block's height.
    pub height: Height,
    /// The block.
    pub block: BlockHash,
    /// The state root after the block.
    pub state_root: StateRoot,
    /// Which of the block's transactions, from 0.
    pub index: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// Why something that was asked for is not to be had here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHere {
    /// It is not known.
    #[error("{0} is not known here")]
    Unknown(String),
    /// It is older than what this node keeps.
    #[error("not kept here: this node has nothing before height {earliest}")]
    Pruned {
        /// The first height it has.
        earliest: Height,
    },
    /// The state after it is older than those that this node keeps. Its block may be here all the same.
    #[error(
        "the state of that height is not kept here: the oldest one that is, is that of height {earliest}"
    )]
    StateGone {
        /// The first height whose state it has.
        earliest: Height,
    },
    /// It has not happened yet.
    #[error("height {asked} is not reached, the chain is at {latest}")]
    Future {
        /// The height asked for.
        asked: Height,
        /// The last one there is.
        latest: Height,
    },
    /// Several things begin with the prefix.
    #[error("several things begin with {0}: give more digits")]
    Ambiguous(String),
    /// The node has no state of its own to answer from yet.
    #[error("this node cannot answer yet: {0}")]
    NotReady(String),
    /// The node follows some spaces, and has no blocks.
    #[error(
        "this node follows some spaces only, from snapshot to snapshot, and has nothing of this"
    )]
    FollowsSpaces,
    /// The disk did not give it.
    #[error("reading it failed: {0}")]
    Failed(String),
}

/// A block is named by its height, by its hash, or as the latest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockName {
    /// By height.
    Height(Height),
    /// By a unique prefix of its hash, at least 8 hex digits.
    Hash(String),
    /// The last one.
    Latest,
}

/// What a node says of itself.
#[derive(Clone, Debug)]
pub struct Status {
    /// The node's name in its configuration.
    pub name: String,
    /// The node's key.
    pub public_key: PublicKey,
    /// The chain.
    pub chain: ChainId,
    /// Whether it is a validator of the next height.
    pub validator: bool,
    /// Whether it votes: not one that was wiped and does not know yet what it has signed.
    pub voting: bool,
    /// The last committed height.
    pub height: Height,
    /// The first block it has, if any.
    pub earliest_block: Option<Height>,
    /// How far the fetching of what is before that is, if this node does it.
    pub backfill: Option<Backfill>,
    /// The last committed block; none at genesis.
    pub head: Option<CertifiedHeader>,
    /// The root after it; none on a node that has no state yet.
    pub state_root: Option<StateRoot>,
    /// Transactions in the last block.
    pub last_block_transactions: u64,
    /// Peers it is connected to.
    pub peers: usize,
    /// Where it listens for peers, with its peer id.
    pub p2p: Vec<String>,
    /// Transactions waiting.
    pub mempool: usize,
    /// Its newest whole snapshot.
    pub snapshot: Option<SnapshotInfo>,
    /// What it started from, once that is settled.
    pub origin: Option<Origin>,
    /// How far it is with its sync, while that lasts.
    pub sync: Option<SyncProgress>,
    /// The alarm, if it disagrees with the chain.
    pub alarm: Option<String>,
    /// The height at which somebody has another state: what this node has there is kept, to be compared.
    pub disputed: Option<Height>,
    /// For how long no block has become final here, if that is longer than any pause of an idle chain.
    pub stands_still: Option<Duration>,
    /// Whether it follows the chain.
    pub ready: bool,
    /// The spaces that it follows; none if it follows the whole chain.
    pub spaces: Vec<String>,
}

/// What a node started from, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `folder`, `snapshot` (fetched from peers) or `genesis` (every block is executed).
    pub from: &'static str,
    /// The height of the state it started with.
    pub height: Height,
    /// Why.
    pub why: String,
}

/// How far down a node's history reaches, and how far it is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backfill {
    /// The first block it has, if any.
    pub earliest: Option<Height>,
    /// The first that it is to have.
    pub target: Height,
}

/// A whole snapshot on this node's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SnapshotInfo {
    /// Its height.
    pub height: Height,
    /// The state root.
    pub root: StateRoot,
    /// The manifest's id.
    pub manifest: Hash,
    /// Entries in it.
    pub entries: u64,
    /// Chunks it is made of.
    pub chunks: u64,
    /// Bytes of its entries.
    pub bytes: u64,
    /// Bytes that were written for it: of chunks that no earlier snapshot had.
    pub new_bytes: u64,
}

impl SnapshotInfo {
    /// Of a snapshot for which so many bytes were written.
    pub fn of(manifest: &Manifest, new_bytes: u64) -> Self {
        let totals = manifest.totals();
        Self {
            height: manifest.height(),
            root: manifest.root(),
            manifest: manifest.id().0,
            entries: totals.entries,
            chunks: manifest.chunks().len() as u64,
            bytes: totals.bytes,
            new_bytes,
        }
    }
}

/// How far a sync is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SyncProgress {
    /// `snapshot` or `blocks`.
    pub mode: &'static str,
    /// The height it goes for.
    pub height: Height,
    /// Chunks verified and stored.
    pub chunks_done: u64,
    /// Chunks in all.
    pub chunks_total: u64,
    /// Bytes of these.
    pub bytes_done: u64,
    /// Bytes in all.
    pub bytes_total: u64,
    /// Bytes that came a second, since it began.
    pub bytes_per_second: u64,
    /// Seconds until all have come, at that pace; none if none comes.
    pub seconds_left: Option<u64>,
    /// Peers it fetches from.
    pub peers: usize,
}

/// An answer on its way.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the parts of a running node do for a [`Handle`].
pub trait Backend: Send + Sync + 'static {
    /// The genesis.
    fn genesis(&self) -> &Genesis;
    /// What it says of itself.
    fn status(&self) -> Status;
    /// The state after a height, if it is kept in memory (the last ones are); of a node that follows some spaces, what it holds.
    ///
    /// # Errors
    /// [`NotHere`].
    fn state(&self, height: Option<Height>) -> Result<View, NotHere>;
    /// A page of the state of this height was read, and more of them will be: it stays for a while, although it grows old.
    fn reads_on(&self, _height: Height) {}
    /// The state of a height at which somebody has another one, if it is kept to be compared. It need not be the chain's.
    fn disputed(&self, _height: Height) -> Option<View> {
        None
    }
    /// The nonce an account's next transaction should carry, those that wait counted.
    fn next_nonce(&self, address: &ledger::hash::Address) -> Nonce;
    /// A block.
    ///
    /// # Errors
    /// [`NotHere`].
    fn block(&self, name: &BlockName) -> Result<CommittedBlock, NotHere>;
    /// The validators of that hash, if this chain had them since this node's history begins.
    fn validator_set(&self, hash: &ValidatorSetHash) -> Option<ValidatorSet>;
    /// The certified header that came with the state this node's history begins after: of that block it has nothing else.
    fn began_after(&self) -> Option<CertifiedHeader> {
        None
    }
    /// A block's header with all that a light client needs to believe it.
    ///
    /// # Errors
    /// [`NotHere`].
    fn light_block(&self, name: &BlockName) -> Result<LightBlock, NotHere> {
        light_block_of(self, name)
    }
    /// The full id of the transaction whose id begins so.
    ///
    /// # Errors
    /// [`NotHere`].
    fn transaction_id(&self, prefix: &str) -> Result<TxId, NotHere>;
    /// What is known of a transaction.
    fn transaction(&self, id: &TxId) -> TransactionStatus;
    /// The snapshots on this node's disk, newest first.
    fn snapshots(&self) -> Vec<SnapshotInfo>;
    /// The manifest of a snapshot, encoded.
    ///
    /// # Errors
    /// [`NotHere`].
    fn manifest(&self, height: Height) -> Result<Vec<u8>, NotHere>;
    /// A chunk of a snapshot, whole.
    ///
    /// # Errors
    /// [`NotHere`].
    fn chunk(&self, height: Height, id: Hash) -> Result<Vec<u8>, NotHere>;
    /// Takes a snapshot of the newest state now.
    ///
    /// # Errors
    /// [`NotHere::Failed`].
    fn take_snapshot(&self) -> Result<SnapshotInfo, NotHere>;
    /// The state root after a height, as this node has it, if it still knows.
    ///
    /// # Errors
    /// [`NotHere`].
    fn root(&self, height: Height) -> Result<StateRoot, NotHere>;
    /// What happens from now on.
    fn subscribe(&self) -> broadcast::Receiver<Event>;
    /// The Prometheus text of all metrics.
    fn metrics(&self) -> String;
    /// Offers transactions to the replica; the answers come in the same order.
    fn submit(
        &self,
        transactions: Vec<Untrusted<SignedTransaction>>,
    ) -> Answering<'_, Vec<Result<TxId, Refusal>>>;
    /// Waits until a transaction is committed or dropped, at most so long, and says what is known then.
    fn wait_for(&self, id: TxId, timeout: Duration) -> Answering<'_, TransactionStatus>;
}

/// What a light client needs of a block that the node has whole, or that its history begins after.
///
/// # Errors
/// [`NotHere`].
pub fn light_block_of<B: Backend + ?Sized>(
    backend: &B,
    name: &BlockName,
) -> Result<LightBlock, NotHere> {
    let is_meant = |began: &CertifiedHeader| match name {
        BlockName::Height(height) => *height == began.header.height,
        // That it has no latest block says that it has none.
        BlockName::Latest => true,
        BlockName::Hash(_) => false,
    };
    let certified = match backend.block(name) {
        Ok(committed) => CertifiedHeader {
            header: committed.block.header,
            certificate: committed.certificate,
        },
        Err(pruned @ NotHere::Pruned { .. }) => {
            backend.began_after().filter(is_meant).ok_or(pruned)?
        }
        Err(why) => return Err(why),
    };
    let header = &certified.header;
    let validators = backend.validator_set(&header.validators);
    let unknown = || NotHere::Unknown(format!("the validator set of height {}", header.height));
    let validators = validators.ok_or_else(unknown)?;
    Ok(LightBlock::new(certified, validators))
}

/// A running node, to those who ask it.
pub type Handle = Arc<dyn Backend>;
