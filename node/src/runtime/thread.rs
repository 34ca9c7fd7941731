//! The replica's thread: one input after another, and its effects carried out in order.
//!
//! It is a thread and not a task because it waits for the disk: a vote must not leave before the log is durable.

use super::{evidence::EvidenceFolder, journal::DiskJournal, outlet::Outlet};
use crate::{
    handle::Refusal,
    replica::{ConsensusError, Effect, Input, Now, Replica, Timer},
};
use ledger::{
    hash::{Address, TxId},
    transaction::VerifiedTransaction,
    units::{Nonce, TimestampMs},
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::oneshot;

/// Inputs that may wait for the replica; what comes beyond is dropped, and gossip brings it again.
const INBOX_MAX: usize = 1 << 14;
/// The thread looks at least so often whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What reaches the replica's thread.
pub(super) enum Ask {
    /// An input, as it is.
    Input(Input),
    /// What a gossiped message said, with the place that the message takes until that is done.
    Gossip { input: Input, place: p2p::Place },
    /// A client's transactions, verified.
    Submit {
        transactions: Vec<VerifiedTransaction>,
        answer: oneshot::Sender<Vec<Result<TxId, Refusal>>>,
    },
    /// Bodies for a peer.
    Bodies {
        ids: Vec<TxId>,
        answer: oneshot::Sender<Vec<VerifiedTransaction>>,
    },
    /// The nonce an account's next transaction should have.
    NextNonce {
        address: Address,
        answer: SyncSender<Nonce>,
    },
    /// Look whether to stop.
    Wake,
}

/// The way to the replica's thread.
#[derive(Clone)]
pub(super) struct Inbox(SyncSender<Ask>);

impl Inbox {
    pub(super) fn new() -> (Self, Receiver<Ask>) {
        let (sender, receiver) = sync_channel(INBOX_MAX);
        (Self(sender), receiver)
    }

    /// Whether it was taken: not if the replica is overloaded or has stopped.
    pub(super) fn send(&self, ask: Ask) -> bool {
        self.0.try_send(ask).is_ok()
    }
}

/// The replica with its disk, its timers and its way out.
pub(super) struct Runner {
    replica: Replica,
    journal: DiskJournal,
    inbox: Receiver<Ask>,
    outlet: Outlet,
    evidence: EvidenceFolder,
    timers: BinaryHeap<Reverse<(Instant, Timer)>>,
    tickets: HashMap<u64, oneshot::Sender<Vec<Result<TxId, Refusal>>>>,
    next_ticket: u64,
    /// Turns true when it is to stop. Beside the inbox, which may be full just then.
    stop: Arc<AtomicBool>,
}

/// The time of this machine's clock.
pub(super) fn now() -> Now {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Now {
        unix: TimestampMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
    }
}

impl Runner {
    pub(super) fn new(
        replica: Replica,
        journal: DiskJournal,
        inbox: Receiver<Ask>,
        outlet: Outlet,
        evidence: EvidenceFolder,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self {
            replica,
            journal,
            inbox,
            outlet,
            evidence,
            timers: BinaryHeap::new(),
            tickets: HashMap::new(),
            next_ticket: 0,
            stop,
        }
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// [`ConsensusError`] if the replica cannot go on: the disk failed.
    pub(super) fn run(mut self, first: Vec<Effect>) -> Result<(), ConsensusError> {
        self.carry_out(first)?;
        while !self.stop.load(Ordering::Acquire) {
            while let Some(timer) = self.due() {
                self.step(Input::Timer(timer))?;
            }
            let now = Instant::now();
            self.outlet.send_due(now);
            let timer = self.timers.peek().map(|Reverse((at, _))| *at);
            let due = timer.into_iter().chain(self.outlet.next_due()).min();
            let wait = due.map_or(LOOK_EVERY, |at| {
                at.saturating_duration_since(now).min(LOOK_EVERY)
            });
            match self.inbox.recv_timeout(wait) {
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(ask) => self.take(ask)?,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        Ok(())
    }

    fn due(&mut self) -> Option<Timer> {
        let Reverse((at, _)) = self.timers.peek()?;
        if *at > Instant::now() {
            return None;
        }
        self.timers.pop().map(|Reverse((_, timer))| timer)
    }

    fn take(&mut self, ask: Ask) -> Result<(), ConsensusError> {
        match ask {
            Ask::Input(input) => self.step(input),
            Ask::Gossip { input, place } => {
                let done = self.step(input);
                drop(place);
                done
            }
            Ask::Submit {
                transactions,
                answer,
            } => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.tickets.insert(ticket, answer);
                self.step(Input::Submitted {
                    ticket,
                    transactions,
                })
            }
            Ask::Bodies { ids, answer } => {
                let found = ids
                    .iter()
                    .filter_map(|id| self.replica.transaction(id).cloned());
                // Whoever asked may be gone.
                let _ = answer.send(found.collect());
                Ok(())
            }
            Ask::NextNonce { address, answer } => {
                let _ = answer.try_send(self.replica.next_nonce(&address));
                Ok(())
            }
            Ask::Wake => Ok(()),
        }
    }

    fn step(&mut self, input: Input) -> Result<(), ConsensusError> {
        let effects = self.replica.step(input, now(), &mut self.journal)?;
        self.carry_out(effects)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), ConsensusError> {
        for effect in effects {
            match effect {
                Effect::SetTimer(timer, after) => {
                    self.timers.push(Reverse((Instant::now() + after, timer)));
                }
                Effect::Admitted { ticket, results } => {
                    if let Some(answer) = self.tickets.remove(&ticket) {
                        let _ = answer.send(results);
                    }
                }
                Effect::Evidence(found) => self.evidence.keep(&found),
                other => self.outlet.carry_out(other),
            }
        }
        let waiting = self.replica.mempool().count();
        let shared = &self.outlet.shared;
        shared.mempool.store(waiting, Ordering::Relaxed);
        shared.votes.store(self.replica.votes(), Ordering::Relaxed);
        Ok(())
    }
}
