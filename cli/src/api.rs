//! What the HTTP API answers, as far as the commands read it. Fields that are not known are passed over.

use ledger::{
    block::Header,
    certificate::Certificate,
    hash::{Address, BlockHash, ChainId, Hash, StateRoot, TxId},
    keys::PublicKey,
    units::{Amount, Height, Nonce, Power, TimestampMs, Version},
};
use serde::{Deserialize, Serialize};

/// What every failure is answered with.
#[derive(Clone, Debug, Deserialize)]
pub struct ErrorDocument {
    /// What went wrong.
    pub error: ErrorBody,
    /// With `?proof=true`, the proof that what was asked for is not there.
    #[serde(default)]
    pub absence: Option<Evidence>,
}

/// What went wrong.
#[derive(Clone, Debug, Deserialize)]
pub struct ErrorBody {
    /// A stable code.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do.
    #[serde(default)]
    pub help: String,
}

/// `/v1/status`.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// The node's name.
    pub name: String,
    /// The chain.
    pub chain_id: ChainId,
    /// Whether it votes at the next height.
    #[serde(default)]
    pub validator: bool,
    /// Whether it votes: not one that was wiped and does not know yet what it has signed.
    #[serde(default)]
    pub voting: bool,
    /// Whether it follows the chain.
    #[serde(default)]
    pub ready: bool,
    /// The last committed height.
    pub height: Height,
    /// The block of that height.
    #[serde(default)]
    pub block_hash: Option<BlockHash>,
    /// The state root after it.
    pub state_root: StateRoot,
    /// Transactions in it.
    #[serde(default)]
    pub last_block_transactions: u64,
    /// Peers it is connected to.
    #[serde(default)]
    pub peers: u64,
    /// Where it listens for peers.
    #[serde(default)]
    pub p2p: Vec<String>,
    /// Its newest snapshot.
    #[serde(default)]
    pub snapshot: Option<SnapshotHead>,
    /// How far its sync is, while one lasts.
    #[serde(default)]
    pub sync: Option<SyncProgress>,
    /// The alarm, if it disagrees with the chain.
    #[serde(default)]
    pub alarm: Option<String>,
}

/// Which snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// Its height.
    pub height: Height,
    /// The state root.
    pub root: StateRoot,
}

/// How far a sync is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncProgress {
    /// `snapshot` or `blocks`.
    pub mode: String,
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
    /// Peers it fetches from.
    pub peers: u64,
}

/// Where a transaction is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionState {
    /// In a block, and applied.
    Committed,
    /// Refused, dropped, or in a block without effect.
    #[serde(alias = "refused", alias = "dropped")]
    Failed,
    /// Waiting for a block.
    #[serde(alias = "accepted")]
    Pending,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionAnswer {
    /// Its id.
    #[serde(default)]
    pub id: Option<TxId>,
    /// Where it is.
    pub status: TransactionState,
    /// Why it failed.
    #[serde(default)]
    pub code: Option<String>,
    /// The same for a person.
    #[serde(default)]
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing)]
    pub help: Option<String>,
    /// The height of its block.
    #[serde(default)]
    pub height: Option<Height>,
    /// Its block.
    #[serde(default)]
    pub block_hash: Option<BlockHash>,
    /// The state root after its block.
    #[serde(default)]
    pub state_root: Option<StateRoot>,
    /// Which of the block's transactions it is, from 0.
    #[serde(default)]
    pub index: Option<u32>,
    /// How long it took.
    #[serde(default)]
    pub elapsed_ms: Option<u64>,
}

impl TransactionAnswer {
    /// Whether it is in no block and can be in none: refused, or dropped while it waited.
    pub fn is_out(&self) -> bool {
        self.status == TransactionState::Failed && self.height.is_none()
    }
}

/// Which state an answer is from, and the proof.
#[derive(Clone, Debug, Deserialize)]
pub struct Evidence {
    /// The height of the state.
    pub height: Height,
    /// Its root.
    pub state_root: StateRoot,
    /// The canonical encoding of a proof, in hex.
    #[serde(default)]
    pub proof: Option<String>,
    /// The header of that height.
    #[serde(default)]
    pub header: Option<Header>,
    /// What makes the header final.
    #[serde(default)]
    pub certificate: Option<Certificate>,
}

/// `/v1/accounts/{address}`.
#[derive(Clone, Debug, Deserialize)]
pub struct Account {
    /// Its name in the genesis.
    #[serde(default)]
    pub name: Option<String>,
    /// Its address.
    pub address: Address,
    /// What it holds.
    pub balance: Amount,
    /// Transactions it has made.
    pub nonce: Nonce,
    /// The nonce of its next transaction, those waiting counted.
    pub next_nonce: Nonce,
    /// Spaces and records it owns.
    #[serde(default)]
    pub entries: u64,
    /// Which state this is from.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// `/v1/spaces/{space}/records/{key}`.
#[derive(Clone, Debug, Deserialize)]
pub struct Record {
    /// Its space.
    pub space: String,
    /// Its key.
    pub key: String,
    /// Its value, if that is text.
    #[serde(default)]
    pub value: Option<String>,
    /// Its value in hex.
    #[serde(default)]
    pub value_hex: String,
    /// Its version.
    pub version: Version,
    /// Who wrote it.
    pub writer: Address,
    /// The height it was written at.
    pub written_at: Height,
    /// Which state this is from.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// `/v1/validators`.
#[derive(Clone, Debug, Deserialize)]
pub struct Validators {
    /// The height.
    pub height: Height,
    /// They.
    pub validators: Vec<Validator>,
}

/// A validator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Validator {
    /// Its name in the genesis.
    #[serde(default)]
    pub name: Option<String>,
    /// Its address.
    pub address: Address,
    /// Its key.
    pub public_key: PublicKey,
    /// The weight of its vote.
    pub power: Power,
}

/// `/v1/blocks/{height|hash|latest}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Block {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: BlockHash,
    /// The block before.
    pub parent: BlockHash,
    /// When, as its proposer says.
    pub time: TimestampMs,
    /// Who made it.
    pub proposer: Address,
    /// The state root after it.
    pub state_root: StateRoot,
    /// The ids of its transactions.
    pub transactions: Vec<TxId>,
    /// What makes it final.
    pub certificate: serde_json::Value,
}

/// A snapshot on a node's disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its height.
    pub height: Height,
    /// The state root.
    pub root: StateRoot,
    /// The manifest's id.
    #[serde(default)]
    pub manifest: Option<Hash>,
    /// Entries in it.
    pub entries: u64,
    /// Chunks it is made of.
    pub chunks: u64,
    /// Bytes of its entries.
    pub bytes: u64,
    /// Bytes written for it.
    pub new_bytes: u64,
}

/// `/v1/snapshots`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshots {
    /// They, newest first.
    pub snapshots: Vec<Snapshot>,
}

/// `/v1/roots/{height}`.
#[derive(Clone, Debug, Deserialize)]
pub struct Root {
    /// The height.
    pub height: Height,
    /// The root.
    pub root: StateRoot,
}
