//! How rough a simulated world is, what a simulation came to, and what must never happen in one.

use ledger::{
    hash::{Address, BlockHash, Hash, StateRoot},
    units::{Height, Round},
};

/// How rough the world is.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Everything follows from it.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// Of these, so many begin as followers. The validators vote them in and out again, one after another.
    pub joining: usize,
    /// Messages lost, in a hundred.
    pub loss_percent: u64,
    /// Messages that arrive twice, in a hundred.
    pub duplicate_percent: u64,
    /// The longest delay of a message.
    pub delay_us_max: u64,
    /// A node crashes after at most so many disk operations; never, if none.
    pub crash_every: Option<u64>,
    /// Restarts after which the folder is wiped and the key kept, in a hundred.
    pub wipe_percent: u64,
    /// Transactions that a client offers each simulated second.
    pub transactions_per_second: u64,
    /// Proposals of which a stranger passes on a copy with other transactions, before the true one, in a hundred.
    pub forged_percent: u64,
    /// Whether one more node runs with the first one's key: a validator that says two things without meaning to.
    pub twin: bool,
}

impl World {
    /// A world without faults.
    pub const fn calm(seed: u64) -> Self {
        Self {
            seed,
            nodes: 4,
            joining: 0,
            loss_percent: 0,
            duplicate_percent: 0,
            delay_us_max: 20_000,
            crash_every: None,
            wipe_percent: 0,
            transactions_per_second: 20,
            forged_percent: 0,
            twin: false,
        }
    }

    /// A world in which one of four keys runs twice.
    pub const fn with_twin(seed: u64) -> Self {
        Self {
            twin: true,
            ..Self::calm(seed)
        }
    }

    /// A world of losses, duplicates and crashes.
    pub const fn rough(seed: u64) -> Self {
        Self {
            loss_percent: 5,
            duplicate_percent: 5,
            crash_every: Some(200),
            ..Self::calm(seed)
        }
    }
}

/// What a simulation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The lowest height that all have committed.
    pub height: u64,
    /// The state root after that height, which all share.
    pub root: StateRoot,
    /// Crashes, those during recovery counted.
    pub crashes: u64,
    /// Folders wiped.
    pub wipes: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Times that the validators of a block were others than those of the block before.
    pub set_changes: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Proofs that honest nodes found against the key that runs twice.
    pub equivocations: u64,
    /// Simulated milliseconds.
    pub elapsed_ms: u64,
    /// The digest of all that happened.
    pub trace: Hash,
}

/// Something that must never happen has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two histories.
    #[error("seed {seed}: two blocks are committed at height {height}: {a:.8} and {b:.8}")]
    TwoHistories {
        /// The seed to replay.
        seed: u64,
        /// Where.
        height: Height,
        /// One.
        a: BlockHash,
        /// The other.
        b: BlockHash,
    },
    /// A key signed two things for one position.
    #[error("seed {seed}: {who:.8} signed two of {what} at height {height} round {round}")]
    SignedTwice {
        /// The seed to replay.
        seed: u64,
        /// Whose key.
        who: Address,
        /// What.
        what: &'static str,
        /// Where.
        height: Height,
        /// In which round.
        round: Round,
    },
    /// What was said to be committed is not on disk.
    #[error("seed {seed}: node {node} said height {height} was committed and has lost it")]
    Lost {
        /// The seed to replay.
        seed: u64,
        /// Which node.
        node: usize,
        /// What it lost.
        height: Height,
    },
    /// No progress.
    #[error("seed {seed}: no end in sight after {events} events; heights {heights:?}")]
    Stalled {
        /// The seed to replay.
        seed: u64,
        /// Events handled.
        events: u64,
        /// How far each node is.
        heights: Vec<u64>,
    },
    /// A proof that proves nothing, or one against an honest key.
    #[error("seed {seed}: node {node} accuses {accused:.8}: {why}")]
    FalseAccusation {
        /// The seed to replay.
        seed: u64,
        /// Who accuses.
        node: usize,
        /// Whom.
        accused: Address,
        /// What is wrong with it.
        why: String,
    },
    /// A replica gave up for another reason than a crash, or raised an alarm.
    #[error("seed {seed}: node {node}: {what}")]
    Unexpected {
        /// The seed to replay.
        seed: u64,
        /// Which node.
        node: usize,
        /// What it said.
        what: String,
    },
}
