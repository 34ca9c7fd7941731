//! The load: one thread a node, each with the accounts that send through that node.
//!
//! With a rate the loop is open: a transaction is sent when it is due, whatever has become of those before, and its
//! latency counts from when it was due. Without, the loop is closed: no account has more than a bounded number of
//! transactions under way, and the next ones follow as blocks come.

use super::{Plan, accounts::Account};
use crate::{
    api::{TransactionAnswer, TransactionState},
    client::Client,
};
use ledger::hash::TxId;
use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Transactions in one request.
const REQUEST_TRANSACTIONS_MAX: usize = 256;
/// Without a rate: transactions that an account has under way.
const WINDOW: u64 = 32;
/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);
/// How long to wait when there is nothing to send, or a node takes no more.
const PAUSE: Duration = Duration::from_millis(2);

/// What has become of every transaction.
#[derive(Debug)]
pub struct Tracker {
    begun: Instant,
    index: HashMap<TxId, (u32, u32)>,
    accounts: Vec<Progress>,
    latencies_us: Mutex<Vec<u64>>,
    last_commit_us: AtomicU64,
    rejected: Mutex<HashMap<String, u64>>,
}

#[derive(Debug)]
struct Progress {
    accepted: AtomicU64,
    committed: AtomicU64,
    /// When each was due or sent, in microseconds since the beginning, plus 1; 0 before.
    sent_us: Vec<AtomicU64>,
}

impl Tracker {
    /// For signed accounts.
    pub fn new(accounts: &[Account]) -> Self {
        let mut index = HashMap::with_capacity(accounts.iter().map(|a| a.transactions.len()).sum());
        let mut progress = Vec::with_capacity(accounts.len());
        for (a, account) in (0u32..).zip(accounts) {
            for (t, (id, _)) in (0u32..).zip(&account.transactions) {
                index.insert(*id, (a, t));
            }
            progress.push(Progress {
                accepted: AtomicU64::new(0),
                committed: AtomicU64::new(0),
                sent_us: account
                    .transactions
                    .iter()
                    .map(|_| AtomicU64::new(0))
                    .collect(),
            });
        }
        Self {
            begun: Instant::now(),
            index,
            accounts: progress,
            latencies_us: Mutex::new(Vec::new()),
            last_commit_us: AtomicU64::new(0),
            rejected: Mutex::new(HashMap::new()),
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Transactions of a block, which was seen now.
    pub fn committed(&self, ids: &[TxId]) {
        let now = self.now_us();
        let mut latencies = self
            .latencies_us
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            let Some((account, transaction)) = self.index.get(id) else {
                continue;
            };
            let Some(progress) = self.accounts.get(*account as usize) else {
                continue;
            };
            progress.committed.fetch_add(1, Ordering::Relaxed);
            let sent = progress.sent_us.get(*transaction as usize);
            let sent = sent.map_or(0, |at| at.load(Ordering::Relaxed));
            latencies.push(now.saturating_sub(sent.saturating_sub(1)));
            self.last_commit_us.store(now, Ordering::Relaxed);
        }
    }

    /// Transactions that a node took and that no block has yet.
    pub fn outstanding(&self) -> u64 {
        self.accepted().saturating_sub(self.committed_total())
    }

    /// Transactions that a node took.
    pub fn accepted(&self) -> u64 {
        self.accounts
            .iter()
            .map(|p| p.accepted.load(Ordering::Relaxed))
            .sum()
    }

    /// Transactions that a block has.
    pub fn committed_total(&self) -> u64 {
        self.accounts
            .iter()
            .map(|p| p.committed.load(Ordering::Relaxed))
            .sum()
    }

    /// Transactions of one account that a node took.
    pub fn accepted_of(&self, account: usize) -> u64 {
        self.accounts
            .get(account)
            .map_or(0, |p| p.accepted.load(Ordering::Relaxed))
    }

    /// From the beginning to the last block that had any.
    pub fn last_commit(&self) -> Duration {
        Duration::from_micros(self.last_commit_us.load(Ordering::Relaxed))
    }

    /// How long each took, sorted.
    pub fn latencies(&self) -> Vec<u64> {
        let mut all = self
            .latencies_us
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        all.sort_unstable();
        all
    }

    /// Why transactions were refused for good, and how many.
    pub fn rejected(&self) -> HashMap<String, u64> {
        self.rejected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn reject(&self, why: &str) {
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        *rejected.entry(why.to_owned()).or_default() += 1;
    }
}

/// One account, to the thread that sends for it.
struct Lane<'a> {
    account: &'a Account,
    progress: &'a Progress,
    /// The next to send.
    next: usize,
    /// Nothing more can be sent: one was refused for good, and those after it need its nonce.
    broken: bool,
}

impl Lane<'_> {
    fn has_more(&self) -> bool {
        !self.broken && self.next < self.account.transactions.len()
    }

    fn has_room(&self) -> bool {
        let under_way =
            (self.next as u64).saturating_sub(self.progress.committed.load(Ordering::Relaxed));
        self.has_more() && under_way < WINDOW
    }
}

/// Loads all nodes at once until the time is over or everything is sent.
pub fn run(clients: &[Client], accounts: &[Account], tracker: &Tracker, plan: Plan) {
    // A node without an account to send for would leave its share of a rate out.
    let count = clients.len().min(accounts.len()).max(1);
    let begun_us = tracker.now_us();
    std::thread::scope(|scope| {
        for (index, client) in clients.iter().take(count).enumerate() {
            let lanes: Vec<Lane<'_>> = accounts
                .iter()
                .zip(&tracker.accounts)
                .skip(index)
                .step_by(count)
                .map(|(account, progress)| Lane {
                    account,
                    progress,
                    next: 0,
                    broken: false,
                })
                .collect();
            let worker = Worker {
                client,
                lanes,
                tracker,
                begun_us,
                cursor: 0,
            };
            let pace = plan.rate.map(|rate| Pace {
                rate,
                count: count as u64,
                index: index as u64,
            });
            scope.spawn(move || worker.run(plan.load, pace));
        }
    });
}

/// When the transactions of one thread are due: every `count`th of the whole, from `index` on.
#[derive(Clone, Copy)]
struct Pace {
    rate: u64,
    count: u64,
    index: u64,
}

impl Pace {
    /// Microseconds from the beginning to this thread's `number`th transaction.
    fn due_us(self, number: u64) -> u64 {
        let overall = u128::from(number) * u128::from(self.count) + u128::from(self.index);
        u64::try_from(overall * 1_000_000 / u128::from(self.rate.max(1))).unwrap_or(u64::MAX)
    }
}

struct Worker<'a> {
    client: &'a Client,
    lanes: Vec<Lane<'a>>,
    tracker: &'a Tracker,
    begun_us: u64,
    cursor: usize,
}

impl Worker<'_> {
    fn run(mut self, load: Duration, pace: Option<Pace>) {
        let end_us = self.begun_us + u64::try_from(load.as_micros()).unwrap_or(u64::MAX);
        let mut offered = 0;
        while self.tracker.now_us() < end_us && self.lanes.iter().any(Lane::has_more) {
            let batch = match pace {
                None => self.closed(),
                Some(pace) => self.open(pace, &mut offered, end_us),
            };
            if batch.is_empty() || !self.send(&batch) {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// As many as there is room for, some of every account in turn.
    fn closed(&mut self) -> Vec<(usize, usize)> {
        let mut batch = Vec::with_capacity(REQUEST_TRANSACTIONS_MAX);
        let now = self.tracker.now_us();
        for _ in 0..self.lanes.len() {
            self.cursor = (self.cursor + 1) % self.lanes.len().max(1);
            let Some(lane) = self.lanes.get_mut(self.cursor) else {
                break;
            };
            while lane.has_room() && batch.len() < REQUEST_TRANSACTIONS_MAX {
                stamp(lane.progress, lane.next, now);
                batch.push((self.cursor, lane.next));
                lane.next += 1;
            }
        }
        batch
    }

    /// Those that are due; waits for the next one if none is.
    fn open(&mut self, pace: Pace, offered: &mut u64, end_us: u64) -> Vec<(usize, usize)> {
        let due = self.begun_us + pace.due_us(*offered);
        let now = self.tracker.now_us();
        if due > now {
            std::thread::sleep(Duration::from_micros(due.min(end_us).saturating_sub(now)));
        }
        let now = self.tracker.now_us();
        let mut batch = Vec::new();
        while batch.len() < REQUEST_TRANSACTIONS_MAX {
            let due = self.begun_us + pace.due_us(*offered);
            if due > now || due >= end_us {
                break;
            }
            let Some(at) = self.next_lane() else { break };
            let Some(lane) = self.lanes.get_mut(at) else {
                break;
            };
            stamp(lane.progress, lane.next, due);
            batch.push((at, lane.next));
            lane.next += 1;
            *offered += 1;
        }
        batch
    }

    fn next_lane(&mut self) -> Option<usize> {
        for _ in 0..self.lanes.len() {
            self.cursor = (self.cursor + 1) % self.lanes.len();
            if self.lanes.get(self.cursor).is_some_and(Lane::has_more) {
                return Some(self.cursor);
            }
        }
        None
    }

    /// Sends, and takes back what was not taken. Whether all of it was.
    fn send(&mut self, batch: &[(usize, usize)]) -> bool {
        let bytes = |&(lane, index): &(usize, usize)| {
            let transaction = self.lanes.get(lane)?.account.transactions.get(index)?;
            Some(hex::encode(&transaction.1))
        };
        let body: Vec<String> = batch.iter().filter_map(bytes).collect();
        let answers: Option<Vec<TransactionAnswer>> = self
            .client
            .post("/v1/transactions", &body, REQUEST_LIMIT)
            .ok();
        let Some(answers) = answers else {
            // Nobody knows what was taken. What was, answers a second time with its nonce in use or in a block.
            for &(lane, index) in batch {
                self.rewind(lane, index);
            }
            return false;
        };
        let mut all = true;
        for (&(lane, index), answer) in batch.iter().zip(&answers) {
            all &= self.judge(lane, index, answer);
        }
        all
    }

    fn judge(&mut self, lane: usize, index: usize, answer: &TransactionAnswer) -> bool {
        let code = answer.code.as_deref().unwrap_or_default();
        let out = answer.status == TransactionState::Failed && answer.height.is_none();
        if !out || matches!(code, "stale_nonce" | "nonce_taken" | "already_known") {
            if let Some(lane) = self.lanes.get(lane) {
                lane.progress
                    .accepted
                    .fetch_max(index as u64 + 1, Ordering::Relaxed);
            }
            return true;
        }
        if matches!(
            code,
            "pool_full" | "sender_full" | "not_ready" | "future_nonce" | "busy"
        ) {
            self.rewind(lane, index);
            return false;
        }
        self.tracker.reject(code);
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.broken = true;
        }
        true
    }

    fn rewind(&mut self, lane: usize, index: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.next = lane.next.min(index);
        }
    }
}

/// Notes when a transaction was first due or sent: a second attempt does not make it younger.
fn stamp(progress: &Progress, index: usize, at_us: u64) {
    if let Some(sent) = progress.sent_us.get(index) {
        let _ = sent.compare_exchange(0, at_us + 1, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_together_keep_the_rate() {
        let due = |index, number| {
            Pace {
                rate: 50,
                count: 4,
                index,
            }
            .due_us(number)
        };
        let all: Vec<u64> = (0..8).map(|n| due(n % 4, n / 4)).collect();
        assert_eq!(
            all,
            [0, 20_000, 40_000, 60_000, 80_000, 100_000, 120_000, 140_000]
        );
    }
}
