//! What goes into a replica and what comes out of it.

use super::{
    Timeouts, TimerId, Voting,
    evidence::Equivocation,
    mempool,
    message::{Message, WalRecord},
};
use crate::{event::Alarm, handle::Refusal};
use ledger::{
    block::{Block, Header},
    certificate::Certificate,
    hash::{BlockHash, ChainId, TxId},
    keys::{PublicKey, SecretKey},
    state::{Executed, State},
    transaction::VerifiedTransaction,
    units::{Height, TimestampMs},
};
use std::{sync::Arc, time::Duration};

/// The time, as the caller's clock has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock: what a proposer dates its blocks by.
    pub unix: TimestampMs,
}

/// What a replica is told at its start and keeps to.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its key.
    pub key: SecretKey,
    /// Its chain.
    pub chain: ChainId,
    /// How long it waits for others.
    pub timeouts: Timeouts,
    /// How long an idle network pauses between two blocks.
    pub idle: Duration,
    /// What its mempool takes.
    pub mempool: mempool::Limits,
}

/// Where a replica starts from: what its disk holds.
#[derive(Clone, Debug)]
pub struct Start {
    /// The state after the last committed block.
    pub state: State,
    /// That block's header and certificate; none at genesis.
    pub head: Option<(Header, Certificate)>,
    /// What the write-ahead log has of the next height, in order.
    pub wal: Vec<WalRecord>,
    /// From when on it may vote.
    pub voting: Voting,
}

/// A timer, by what it is for. One that is out of date does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// One of the consensus library's.
    Consensus(TimerId),
    /// The pause before this height is over.
    Idle(Height),
    /// Look whether others are ahead.
    CatchUp(Height),
    /// Ask again for bodies of this block.
    Refetch(BlockHash),
    /// A block dated in the future has become timely.
    Timely(BlockHash),
    /// Say again what clients gave this node and no block has: those who should have heard it may not have.
    Regossip,
}

/// What can happen to a replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// A timer ran out.
    Timer(Timer),
    /// A peer said something about a height.
    Message {
        /// Who passed it on.
        from: PublicKey,
        /// What.
        message: Message,
    },
    /// A client of this node offers transactions.
    Submitted {
        /// Names the answer.
        ticket: u64,
        /// What it offers.
        transactions: Vec<VerifiedTransaction>,
    },
    /// Transactions came by gossip.
    Gossiped(Vec<VerifiedTransaction>),
    /// Bodies that were asked for.
    Bodies {
        /// For which block.
        block: BlockHash,
        /// The bodies.
        transactions: Vec<VerifiedTransaction>,
    },
    /// A peer says how far it is.
    PeerHead {
        /// The peer, by its node key.
        peer: PublicKey,
        /// Its last block.
        height: Height,
        /// That block's hash.
        block: BlockHash,
    },
    /// A peer is gone.
    PeerGone(PublicKey),
    /// Committed blocks that were asked for: their transactions' signatures verified, and their bodies the headers' own
    /// ([`ledger::untrusted::Untrusted::verify_body`]).
    Blocks {
        /// From whom.
        peer: PublicKey,
        /// The blocks, in order.
        blocks: Vec<(Arc<Block>, Certificate)>,
    },
}

/// What a replica wants done, in order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Say this to all.
    Broadcast(Message),
    /// Give me this timer so long from now.
    SetTimer(Timer, Duration),
    /// Fetch the bodies of transactions, from this peer or, if it has gone, from any.
    FetchBodies {
        /// Who should have them.
        from: PublicKey,
        /// For which block.
        block: BlockHash,
        /// Which.
        missing: Vec<TxId>,
    },
    /// Fetch committed blocks from a peer.
    FetchBlocks {
        /// From whom.
        from: PublicKey,
        /// The first one.
        height: Height,
    },
    /// Pass these transactions of this node's clients on to all.
    Gossip(Vec<VerifiedTransaction>),
    /// The answer to a client.
    Admitted {
        /// Names the answer.
        ticket: u64,
        /// For each transaction.
        results: Vec<Result<TxId, Refusal>>,
    },
    /// A block is final and durable.
    Committed(Arc<Committed>),
    /// These transactions can be in no block any more.
    Dropped(Vec<(TxId, Refusal)>),
    /// Keep this proof against a validator. The alarm about it follows.
    Evidence(Equivocation),
    /// The state that this node comes to where the chain has another, for finding out in what they differ. The alarm about it
    /// follows.
    Astray(State),
    /// Someone disagrees.
    Alarm(Alarm),
    /// A peer did what no honest one does.
    Fault {
        /// The peer.
        peer: PublicKey,
        /// What it did.
        what: String,
    },
}

/// A block that became final, and what came of it.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The block.
    pub block: Arc<Block>,
    /// Its certificate.
    pub certificate: Certificate,
    /// The state after it, and what became of each transaction.
    pub executed: Executed,
}
