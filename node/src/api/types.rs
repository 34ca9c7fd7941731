//! The documents of the API: what it answers, as Rust types, so that a client reads what the node wrote.
//!
//! Hashes, keys and signatures are lower-case hex; heights, amounts and the like are numbers. Fields may be added: whoever
//! reads these must pass over what it does not know.

mod live;
mod snapshots;
mod states;
mod sync;

pub use live::{Alarm, BlockEvent, Event, Lagged};
pub use snapshots::{Snapshot, SnapshotDetail, Snapshots};
pub use states::{StateParts, StateRange};
pub use sync::{Backfill, Origin, SyncProgress};

use ledger::{
    block::Header,
    certificate::Certificate,
    genesis::Parameters,
    hash::{Address, BlockHash, ChainId, Hash, StateRoot, TxId},
    keys::PublicKey,
    state::{Code, entries, tree::Place},
    units::{Amount, Height, Nonce, Power, Round, TimestampMs, Version},
    validators::ValidatorSet,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What every failure is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDocument {
    /// What went wrong.
    pub error: ErrorBody,
    /// With `?proof=true`: the proof that what was asked for is not in the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absence: Option<Box<Evidence>>,
}

/// What went wrong, for a program and for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// A stable `snake_case` code.
    #[schema(example = "not_found")]
    pub code: String,
    /// What happened, to what.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// The node is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    pub status: String,
}

/// The node follows the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// `true`; a node that is not ready answers with an error.
    pub ready: bool,
    /// Its last committed height.
    #[schema(value_type = u64)]
    pub height: Height,
}

/// What the node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Its name in its configuration.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// Its key.
    #[schema(value_type = String)]
    pub public_key: PublicKey,
    /// The chain.
    #[schema(value_type = String)]
    pub chain_id: ChainId,
    /// The chain's name.
    pub chain_name: String,
    /// Whether it is a validator of the next height.
    pub validator: bool,
    /// Whether it votes: false on a validator that was wiped and does not know yet what it has signed.
    pub voting: bool,
    /// Whether it follows the chain.
    pub ready: bool,
    /// The last committed height.
    #[schema(value_type = u64)]
    pub height: Height,
    /// The block of that height; null at genesis.
    #[schema(value_type = Option<String>)]
    pub block_hash: Option<BlockHash>,
    /// That block's time; null at genesis.
    #[schema(value_type = Option<u64>)]
    pub block_time: Option<TimestampMs>,
    /// The state root after it; null on a node that has no state yet.
    #[schema(value_type = Option<String>)]
    pub state_root: Option<StateRoot>,
    /// Transactions in it.
    pub last_block_transactions: u64,
    /// The first block it has.
    #[schema(value_type = Option<u64>)]
    pub earliest_block: Option<Height>,
    /// How far the fetching of the blocks before that is; null on a node that does not fetch them.
    #[serde(default)]
    pub backfill: Option<Backfill>,
    /// Peers it is connected to.
    pub peers: u64,
    /// Where it listens for peers.
    pub p2p: Vec<String>,
    /// Transactions waiting.
    pub mempool: u64,
    /// Its newest whole snapshot.
    pub snapshot: Option<Snapshot>,
    /// What it started from; null as long as that is not settled.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// How far its sync is, while one lasts.
    pub sync: Option<SyncProgress>,
    /// The alarm, if it disagrees with the chain.
    pub alarm: Option<String>,
    /// The first height at which somebody has another state than this node: `tintype diff` finds out in what they differ.
    #[serde(default)]
    #[schema(value_type = Option<u64>)]
    pub disputed: Option<Height>,
    /// For how long no block has become final here, if that is longer than any pause of an idle chain: too few validators
    /// are there.
    pub stands_still_seconds: Option<u64>,
    /// The spaces that it follows, from snapshot to snapshot; empty if it follows the whole chain.
    #[serde(default)]
    pub spaces: Vec<String>,
}

/// Where a transaction is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransactionState {
    /// In a block, and applied.
    Committed,
    /// Refused, dropped, or in a block without effect: `code` says why.
    Failed,
    /// Waiting for a block.
    Pending,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionAnswer {
    /// Its id; null if the bytes were no transaction.
    #[schema(value_type = Option<String>)]
    pub id: Option<TxId>,
    /// Where it is.
    pub status: TransactionState,
    /// Why it failed; null if it did not.
    pub code: Option<String>,
    /// The same for a person.
    pub message: String,
    /// What to do about it, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The height of its block.
    #[schema(value_type = Option<u64>)]
    pub height: Option<Height>,
    /// Its block.
    #[schema(value_type = Option<String>)]
    pub block_hash: Option<BlockHash>,
    /// The state root after its block.
    #[schema(value_type = Option<String>)]
    pub state_root: Option<StateRoot>,
    /// Which of the block's transactions it is, from 0.
    pub index: Option<u32>,
    /// Milliseconds that the node waited for it, where it was asked to.
    pub elapsed_ms: Option<u64>,
}

/// A transaction to submit, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The canonical bytes of the signed transaction, in hex or base64.
    pub transaction: String,
}

/// Which state an answer is from, and the proof, if it was asked for.
///
/// The proof is the canonical encoding of a `Proof` in hex (of a list, of a `RangeProof`). It leads to `state_root`, which stands in `header`, whose hash
/// `certificate` covers: with the validators of that height nothing of the answer needs to be believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    /// The height of the state.
    #[schema(value_type = u64)]
    pub height: Height,
    /// Its root.
    #[schema(value_type = String)]
    pub state_root: StateRoot,
    /// Whether the answering node holds a certificate of this very root. A client that checks the proof puts its own
    /// finding here.
    pub verified: bool,
    /// With `?proof=true`: the proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// With `?proof=true`: the header of that height, unless it is genesis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub header: Option<Header>,
    /// With `?proof=true`: what makes the header final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub certificate: Option<Certificate>,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// Its name in the genesis, if it has one.
    pub name: Option<String>,
    /// Its address.
    #[schema(value_type = String)]
    pub address: Address,
    /// What it holds.
    #[schema(value_type = u64)]
    pub balance: Amount,
    /// Transactions it has made.
    #[schema(value_type = u64)]
    pub nonce: Nonce,
    /// The nonce of its next transaction, those waiting on this node counted.
    #[schema(value_type = u64)]
    pub next_nonce: Nonce,
    /// Spaces and records it owns.
    pub entries: u64,
    /// Which state this is from.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// Its space.
    pub space: String,
    /// Its key; what is not UTF-8 is replaced.
    pub key: String,
    /// Its key's bytes in hex.
    pub key_hex: String,
    /// Its value if that is UTF-8, else null.
    pub value: Option<String>,
    /// Its value's bytes in hex.
    pub value_hex: String,
    /// Its version.
    #[schema(value_type = u64)]
    pub version: Version,
    /// Who wrote it.
    #[schema(value_type = String)]
    pub writer: Address,
    /// The height it was written at.
    #[schema(value_type = u64)]
    pub written_at: Height,
    /// Which state this is from.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// A space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Space {
    /// Its name.
    pub space: String,
    /// Who made it.
    #[schema(value_type = String)]
    pub owner: Address,
    /// Who else may write.
    #[schema(value_type = Vec<String>)]
    pub writers: Vec<Address>,
    /// Changes made in it so far.
    pub changes: u64,
    /// Records in it.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// The root of the subtree that holds them; null if there are none.
    #[schema(value_type = Option<String>)]
    pub records_root: Option<Hash>,
    /// Which state this is from.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// Records of a space, in the order of their places in the state tree, which is that of hashes.
///
/// With `?proof=true` the proof is the canonical encoding of a `RangeProof` in hex: that these are the records after
/// `?after=`, and that none is left out up to the last of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Records {
    /// The space.
    pub space: String,
    /// The records.
    pub records: Vec<SpaceRecord>,
    /// What to ask for as `?after=`, with the same `?height=`, if there are more; else null.
    #[schema(value_type = Option<String>)]
    pub next_after: Option<Place>,
    /// Which state this is from.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// A record of a space that is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpaceRecord {
    /// Its key; what is not UTF-8 is replaced.
    pub key: String,
    /// Its key's bytes in hex.
    pub key_hex: String,
    /// Its value if that is UTF-8, else null.
    pub value: Option<String>,
    /// Its value's bytes in hex.
    pub value_hex: String,
    /// Its version.
    #[schema(value_type = u64)]
    pub version: Version,
    /// Who wrote it.
    #[schema(value_type = String)]
    pub writer: Address,
    /// The height it was written at.
    #[schema(value_type = u64)]
    pub written_at: Height,
}

impl SpaceRecord {
    /// Of a record and its key, as the state has them.
    pub fn new(key: &[u8], record: entries::Record) -> Self {
        Self {
            key: String::from_utf8_lossy(key).into_owned(),
            key_hex: hex::encode(key),
            value_hex: hex::encode(&record.value),
            value: String::from_utf8(record.value).ok(),
            version: record.version,
            writer: record.writer,
            written_at: record.written_at,
        }
    }
}

/// What a light client needs to believe a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LightBlock {
    /// The height.
    #[schema(value_type = u64)]
    pub height: Height,
    /// The block's hash.
    #[schema(value_type = String)]
    pub hash: BlockHash,
    /// The header.
    #[schema(value_type = Object)]
    pub header: Header,
    /// What makes it final.
    #[schema(value_type = Object)]
    pub certificate: Certificate,
    /// The validators whose hash the header names: of each its address, key and power.
    #[schema(value_type = Vec<Object>)]
    pub validators: ValidatorSet,
}

/// The validators who vote on the block of a height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Validators {
    /// They, in the order of their addresses.
    pub validators: Vec<Validator>,
    /// Their power together.
    #[schema(value_type = u64)]
    pub total_power: Power,
    /// Which state this is from.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// The chain's parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainParameters {
    /// They, by their names.
    #[schema(value_type = Object)]
    pub parameters: Parameters,
    /// Which state this is from.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// A validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Validator {
    /// Its name in the genesis, if it has one.
    pub name: Option<String>,
    /// Its address.
    #[schema(value_type = String)]
    pub address: Address,
    /// Its key.
    #[schema(value_type = String)]
    pub public_key: PublicKey,
    /// The weight of its vote.
    #[schema(value_type = u64)]
    pub power: Power,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Block {
    /// Its height.
    #[schema(value_type = u64)]
    pub height: Height,
    /// Its hash.
    #[schema(value_type = String)]
    pub hash: BlockHash,
    /// The block before.
    #[schema(value_type = String)]
    pub parent: BlockHash,
    /// When, as its proposer says: milliseconds since the Unix epoch.
    #[schema(value_type = u64)]
    pub time: TimestampMs,
    /// The round it was first proposed in.
    #[schema(value_type = u32)]
    pub round: Round,
    /// Who made it.
    #[schema(value_type = String)]
    pub proposer: Address,
    /// The state root after it.
    #[schema(value_type = String)]
    pub state_root: StateRoot,
    /// The ids of its transactions, in order.
    #[schema(value_type = Vec<String>)]
    pub transactions: Vec<TxId>,
    /// What became of each, in the same order: with the ids, all that the header's `transactions_root` covers.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub outcomes: Option<Vec<Code>>,
    /// Its whole header, which is what its hash covers.
    #[schema(value_type = Object)]
    pub header: Header,
    /// What makes it final.
    #[schema(value_type = Object)]
    pub certificate: Certificate,
}

/// The state root after a height, as this node has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Root {
    /// The node's name.
    pub name: String,
    /// The height.
    #[schema(value_type = u64)]
    pub height: Height,
    /// The root.
    #[schema(value_type = String)]
    pub root: StateRoot,
}
