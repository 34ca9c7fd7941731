//! The pure heart of a node: consensus, mempool and execution as one state machine.
//!
//! [`Replica::step`] takes one [`Input`] and the time, and returns [`Effect`]s for the runtime to carry out, in order.
//! The disk is an argument ([`Journal`]), because a signature must not exist before what led to it is durable. No
//! clock, no network, no randomness: the same inputs give the same effects, so that a whole network runs in one thread
//! from one seed, and every failure replays from it.
//!
//! # The way of a block
//!
//! A proposer fills a block from the mempool on the head's state, executes it, and says its header and the *ids* of its
//! transactions to all. The others put it together from their own mempools, fetch the bodies they lack, execute it
//! and judge it: valid exactly if the header tells the truth about the parent, the proposer, the transactions and the
//! state after them. A whole block is in the write-ahead log before any vote on it. When a quorum has precommitted,
//! the block and its certificate go to the block log, and the next height begins: at once if there is work, else after
//! a pause that the first transaction or message ends.
//!
//! # Trust
//!
//! Every message is an adversary's until its signer is known and its signature holds. A block is believed when it is
//! executed; one that is certified and yet invalid here means that *this* node has gone astray: it raises the alarm
//! and votes no more.

mod block;
mod catch_up;
pub mod consensus;
pub mod context;
pub mod evidence;
pub mod journal;
pub mod mempool;
pub mod message;
mod receive;
mod voting;

pub use consensus::{ConsensusError, Timeouts, TimerId};
pub use journal::{Journal, JournalError};
pub use voting::Voting;

use crate::{event::Alarm, handle::Refusal};
use arc_malachitebft_core_consensus as library;
use block::Candidates;
use catch_up::CatchUp;
use consensus::{Consensus, Request};
use evidence::{Conflicts, Equivocation};
use ledger::{
    block::{Block, CommittedBlock, Header},
    certificate::Certificate,
    hash::{Address, BlockHash, ChainId, TxId},
    keys::{PublicKey, SecretKey},
    state::{Executed, State},
    transaction::VerifiedTransaction,
    units::{Height, Nonce, Round, TimestampMs},
};
use mempool::{Mark, Mempool, Source};
use message::{Message, SignedProposal, WalRecord};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How often what waits is said again.
const REGOSSIP_EVERY: Duration = Duration::from_secs(2);
/// Transactions that are said again at once.
const REGOSSIP_TRANSACTIONS_MAX: usize = 1024;

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
    /// ([`ledger::block::CommittedBlock::verify_body`]).
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

/// One node's consensus, mempool and execution.
pub struct Replica {
    config: Config,
    address: Address,
    consensus: Consensus,
    state: State,
    head: Option<(Header, Certificate)>,
    candidates: Candidates,
    mempool: Mempool,
    /// What came before this had been waiting when it was last said again.
    gossiped_before: Mark,
    catch_up: CatchUp,
    voting: Voting,
    /// The last height is over, and the next has not begun.
    pausing: bool,
    /// The library has said that its height is over.
    finished: bool,
    /// This node disagrees with the chain: it does not go on.
    diverged: bool,
    /// The own proposal of this height's newest round, to be said again.
    proposed: Option<SignedProposal>,
    /// Messages of the next height, by sender.
    early: BTreeMap<Address, Vec<(PublicKey, Message)>>,
    effects: Vec<Effect>,
}

impl Replica {
    /// Starts a replica from what its disk holds, replaying the write-ahead log.
    ///
    /// # Errors
    /// [`ConsensusError`]; then the node must stop.
    pub fn start(
        config: Config,
        start: Start,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(Self, Vec<Effect>), ConsensusError> {
        let Start {
            state,
            head,
            wal,
            voting,
        } = start;
        let consensus = Consensus::new(
            config.key.clone(),
            config.chain,
            state.height(),
            state.next_validators(),
            config.timeouts,
        );
        let mut replica = Self {
            address: config.key.address(),
            consensus,
            head,
            candidates: Candidates::default(),
            mempool: Mempool::new(config.mempool),
            gossiped_before: Mark::default(),
            catch_up: CatchUp::default(),
            voting,
            pausing: false,
            finished: false,
            diverged: false,
            proposed: None,
            early: BTreeMap::new(),
            effects: Vec::new(),
            config,
            state,
        };
        replica.voting.begin(replica.state.height());
        replica.recover_candidates(&wal);
        replica.emit(Effect::SetTimer(Timer::Regossip, REGOSSIP_EVERY));
        replica.start_height(&wal, journal)?;
        replica.settle(now, journal)?;
        let effects = std::mem::take(&mut replica.effects);
        Ok((replica, effects))
    }

    /// The state after the last committed block.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The last committed block's header and certificate; none at genesis.
    pub const fn head(&self) -> Option<&(Header, Certificate)> {
        self.head.as_ref()
    }

    /// Transactions waiting.
    pub const fn mempool(&self) -> &Mempool {
        &self.mempool
    }

    /// The body of a transaction that waits, or is in a block under way: for a peer that lacks it.
    pub fn transaction(&self, id: &TxId) -> Option<&VerifiedTransaction> {
        self.mempool
            .get(id)
            .or_else(|| self.candidates.transaction(id))
    }

    /// The nonce an account's next transaction should have, those that wait counted.
    pub fn next_nonce(&self, address: &Address) -> Nonce {
        let account = self
            .state
            .account(address)
            .map(|a| a.nonce)
            .unwrap_or_default();
        self.mempool.next_nonce(address, account)
    }

    /// Whether it votes at the height under way: a validator that knows what it has signed, and agrees with the chain.
    pub fn votes(&self) -> bool {
        let set = self.state.next_validators();
        !self.diverged && set.get(&self.address).is_some() && self.voting.may_vote(self.height())
    }

    /// Takes one input.
    ///
    /// # Errors
    /// [`ConsensusError`]: the node must stop, and start again from its disk.
    pub fn step(
        &mut self,
        input: Input,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<Vec<Effect>, ConsensusError> {
        match input {
            Input::Timer(timer) => self.timer(timer, now, journal)?,
            Input::Message { from, message } => self.receive(from, message, now, journal)?,
            Input::Submitted {
                ticket,
                transactions,
            } => self.submitted(ticket, transactions),
            Input::Gossiped(transactions) => {
                for transaction in transactions {
                    // What an origin sends ahead of its turn, or again, is nobody's fault.
                    let _ = self.mempool.add(transaction, Source::Gossip, &self.state);
                }
            }
            Input::Bodies {
                block,
                transactions,
            } => {
                self.bodies(block, transactions, now, journal)?;
            }
            Input::PeerHead {
                peer,
                height,
                block,
            } => self.peer_head(peer, height, block),
            Input::PeerGone(peer) => self.catch_up.forget(&peer),
            Input::Blocks { peer, blocks } => self.blocks(peer, blocks, journal)?,
        }
        self.settle(now, journal)?;
        Ok(std::mem::take(&mut self.effects))
    }

    fn height(&self) -> Height {
        self.state.height().next()
    }

    fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn submitted(&mut self, ticket: u64, transactions: Vec<VerifiedTransaction>) {
        let mut new = Vec::new();
        let results = transactions
            .into_iter()
            .map(|transaction| {
                let id = transaction.id();
                if self
                    .mempool
                    .add(transaction.clone(), Source::Client, &self.state)?
                {
                    new.push(transaction);
                }
                Ok(id)
            })
            .collect();
        if !new.is_empty() {
            self.emit(Effect::Gossip(new));
        }
        self.emit(Effect::Admitted { ticket, results });
    }

    fn timer(
        &mut self,
        timer: Timer,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        match timer {
            // A timer of an older height is not known any more, and the library never hears of it.
            Timer::Consensus(id) if !self.pausing => {
                self.consensus.timer(id, journal)?;
            }
            Timer::Idle(height) if self.pausing && height == self.height() => {
                self.begin_height(now, journal)?;
            }
            Timer::CatchUp(height) if height == self.height() => self.look_ahead(true),
            Timer::Refetch(block) => self.refetch(block),
            Timer::Regossip => self.regossip(),
            Timer::Timely(block) => self.judge_when_timely(block, now, journal)?,
            Timer::Consensus(_) | Timer::Idle(_) | Timer::CatchUp(_) => {}
        }
        Ok(())
    }

    /// Says again what has waited for a whole period.
    fn regossip(&mut self) {
        let stale = self
            .mempool
            .own_before(self.gossiped_before, REGOSSIP_TRANSACTIONS_MAX);
        self.gossiped_before = self.mempool.mark();
        if !stale.is_empty() {
            self.emit(Effect::Gossip(stale));
        }
        self.emit(Effect::SetTimer(Timer::Regossip, REGOSSIP_EVERY));
    }

    /// Does what consensus asks until it asks for nothing more, and goes on to the next height when one is over.
    fn settle(&mut self, now: Now, journal: &mut dyn Journal) -> Result<(), ConsensusError> {
        loop {
            let requests = self.consensus.take_requests();
            if requests.is_empty() && !self.go_on(now, journal)? {
                return Ok(());
            }
            for request in requests {
                self.answer(request, now, journal)?;
            }
        }
    }

    /// Whether something new has begun that consensus may ask about.
    fn go_on(&mut self, now: Now, journal: &mut dyn Journal) -> Result<bool, ConsensusError> {
        if self.diverged {
            return Ok(false);
        }
        if std::mem::take(&mut self.finished) {
            self.pausing = true;
            self.emit(Effect::SetTimer(
                Timer::Idle(self.height()),
                self.config.idle,
            ));
        }
        if self.pausing {
            let work = !self.mempool.is_empty()
                || !self.early.is_empty()
                || self.catch_up.has(self.height());
            if work {
                self.begin_height(now, journal)?;
            }
            return Ok(work);
        }
        self.feed_synced(journal)
    }

    fn begin_height(&mut self, now: Now, journal: &mut dyn Journal) -> Result<(), ConsensusError> {
        self.pausing = false;
        self.start_height(&[], journal)?;
        for (_, messages) in std::mem::take(&mut self.early) {
            for (from, message) in messages {
                self.receive_current(from, message, now, journal)?;
            }
        }
        Ok(())
    }

    fn start_height(
        &mut self,
        wal: &[WalRecord],
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        let height = self.height();
        let learnt = self.voting.learn(
            self.state.height(),
            self.state.next_validators(),
            &self.address,
        );
        if let Some(from) = learnt {
            // Durable before the first signature: a crash after it must not find a node that knows nothing again.
            journal.promise_from(from)?;
        }
        let votes = !self.diverged && self.voting.may_vote(height);
        let set = self.state.next_validators().clone();
        self.emit(Effect::SetTimer(Timer::CatchUp(height), catch_up::PATIENCE));
        self.consensus.start(height, &set, votes, wal, journal)
    }

    fn answer(
        &mut self,
        request: Request,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        match request {
            Request::PublishVote(vote) => self.emit(Effect::Broadcast(Message::Vote(vote))),
            Request::PublishPolka(votes) => self.emit(Effect::Broadcast(Message::Polka(votes))),
            Request::PublishRound { skip: true, votes } => {
                self.emit(Effect::Broadcast(Message::RoundSkipped(votes)));
            }
            Request::PublishRound { skip: false, votes } => {
                self.emit(Effect::Broadcast(Message::RoundEnded(votes)));
            }
            Request::PublishProposal(proposal) => {
                self.proposed = Some(proposal);
                self.say_proposal();
            }
            Request::Repeat => self.say_proposal(),
            Request::Timer(id, after) => {
                self.emit(Effect::SetTimer(Timer::Consensus(id), after));
            }
            Request::Propose(height, round) if height == self.height() && !self.finished => {
                self.propose(round, now, journal)?;
            }
            Request::Propose(..) => {}
            Request::JudgeSynced(height, round, block, proposer) if height == self.height() => {
                self.judge_synced(round, block, proposer, journal)?;
            }
            Request::JudgeSynced(..) => {}
            Request::RejectSynced(why) => self.reject_synced(&why),
            Request::Decided(certificate) => self.decided(certificate, journal)?,
            Request::Accuse(height, conflicts) => self.accuse(height, conflicts),
            Request::Finalized => self.finished = true,
        }
        Ok(())
    }

    /// Hands the proofs on, and raises the alarm.
    fn accuse(&mut self, height: Height, conflicts: Conflicts) {
        for (validator, conflicts) in conflicts {
            // Decided or not yet: the set of that height is this one or the next.
            let sets = self.state.validators();
            let set = if height <= self.state.height() {
                &sets.current
            } else {
                &sets.next
            };
            let Some(known) = set.get(&validator) else {
                continue;
            };
            let public_key = known.public_key;
            self.emit(Effect::Evidence(Equivocation {
                chain: self.config.chain,
                validator,
                public_key,
                height,
                conflicts,
            }));
            self.emit(Effect::Alarm(Alarm::Equivocation { validator, height }));
        }
    }

    fn say_proposal(&mut self) {
        let said = self.proposed.and_then(|p| {
            let block = self.candidates.block(&p.proposal.block)?;
            Some(Message::Proposal(p, Box::new(block.as_ref().into())))
        });
        self.effects.extend(said.map(Effect::Broadcast));
    }

    /// Makes a decision durable, and moves the head.
    fn decided(
        &mut self,
        certificate: Certificate,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        let Some((block, executed)) = self.candidates.take_executed(&certificate.block) else {
            let what = "a block was decided that this node has not executed";
            return Err(ConsensusError::Library(what.into()));
        };
        let committed = CommittedBlock {
            block: block.to_unverified(),
            certificate: certificate.clone(),
            outcomes: executed.outcomes.iter().map(|(_, o)| *o).collect(),
        };
        journal.commit(&committed)?;
        self.state = executed.state.clone();
        self.head = Some((block.header.clone(), certificate.clone()));
        self.candidates = Candidates::default();
        self.proposed = None;
        self.catch_up.committed(self.state.height());
        self.voting
            .committed(self.state.height(), certificate.block);
        let dropped = self.mempool.settle(&block.transactions, &self.state);
        self.emit(Effect::Committed(Arc::new(Committed {
            block,
            certificate,
            executed,
        })));
        if !dropped.is_empty() {
            self.emit(Effect::Dropped(dropped));
        }
        Ok(())
    }

    /// Gives the library the verdict on a block.
    fn feed_verdict(
        &mut self,
        verdict: &Verdict,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        use arc_malachitebft_core_types as core;
        let round = |r: Round| core::Round::new(r.0);
        let value = library::ProposedValue {
            height: context::Height(self.height()),
            round: round(verdict.round),
            valid_round: verdict.valid_round.map_or(core::Round::Nil, round),
            proposer: context::Address(verdict.proposer),
            value: context::Value(verdict.block),
            validity: core::Validity::from_bool(verdict.valid),
        };
        let origin = if verdict.synced {
            core::ValueOrigin::Sync
        } else {
            core::ValueOrigin::Consensus
        };
        self.consensus
            .feed(library::Input::ProposedValue(value, origin), journal)
    }
}

/// Whether a block is valid after its parent.
struct Verdict {
    round: Round,
    valid_round: Option<Round>,
    proposer: Address,
    block: BlockHash,
    valid: bool,
    synced: bool,
}
