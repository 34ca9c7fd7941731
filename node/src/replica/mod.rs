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
mod candidates;
mod catch_up;
pub mod consensus;
pub mod context;
mod drive;
mod early;
pub mod evidence;
mod io;
pub mod journal;
pub mod mempool;
pub mod message;
mod receive;
pub mod signer;
#[cfg(test)]
mod tests;
pub mod verified;
mod voting;

pub use consensus::{ConsensusError, Timeouts, TimerId};
pub use io::{Committed, Config, Effect, Input, Now, Start, Timer};
pub use journal::{Journal, JournalError};
pub use voting::Voting;

use crate::event::Alarm;
use arc_malachitebft_core_consensus as library;
use candidates::Candidates;
use catch_up::CatchUp;
use consensus::Consensus;
use early::Early;
use evidence::{Conflicts, Equivocation};
use ledger::{
    block::{CommittedBlock, Header},
    certificate::Certificate,
    hash::{Address, BlockHash, TxId},
    state::State,
    transaction::VerifiedTransaction,
    units::{Height, Nonce, Round},
};
use mempool::{Mark, Mempool, Source};
use message::{Message, SignedProposal};
use std::sync::Arc;

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
    /// Messages of the next height.
    early: Early,
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
            early: Early::default(),
            effects: Vec::new(),
            config,
            state,
        };
        replica.voting.begin(replica.state.height());
        replica.recover_candidates(&wal);
        replica.emit(Effect::SetTimer(Timer::Regossip, drive::REGOSSIP_EVERY));
        replica.start_height(&wal, journal)?;
        replica.judge_what_waited(now, journal)?;
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
            // It neither follows nor signs any more; others take its clients' transactions all the same.
            _ if self.diverged && !matches!(input, Input::Submitted { .. }) => {}
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
        self.candidates.verdict_given(&verdict.block);
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
