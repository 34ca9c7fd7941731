//! Transactions that wait for a block: of each account those whose turn comes next, in a row, and those ahead of their turn.
//!
//! A transaction of a client must follow directly on what its account has waiting; one that comes by gossip may arrive
//! before the one it follows on. Those *ahead* wait apart, in a room of their own from which the oldest go first: they
//! can be in no block yet, and nobody can fill the pool with what never can. The first transaction with a nonce stays:
//! none replaces another.
//!
//! What a call costs follows what it adds, drops or gives, not what waits.

use crate::handle::Refusal;
use ledger::{
    hash::{Address, TxId},
    state::{Execution, Inadmissible, State},
    transaction::VerifiedTransaction,
    units::{Height, Nonce},
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What a pool takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transactions whose turn comes. A quarter as many may wait ahead of their turn.
    pub transactions_max: usize,
    /// Bytes of all together, ahead or not.
    pub bytes_max: u64,
    /// Transactions of one account: also how far ahead of its turn one may come by gossip.
    pub per_sender_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transactions_max: 100_000,
            bytes_max: 64 << 20,
            per_sender_max: 4096,
        }
    }
}

/// Where a transaction comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client of this node, who can be told.
    Client,
    /// Another node.
    Gossip,
}

/// The transactions waiting.
#[derive(Debug, Default)]
pub struct Mempool {
    limits: Limits,
    senders: BTreeMap<Address, Queue>,
    by_id: HashMap<TxId, (Address, Nonce)>,
    by_arrival: BTreeMap<u64, (Address, Nonce)>,
    /// By when they can be in no block any more.
    by_expiry: BTreeSet<(Height, u64)>,
    /// Those ahead of their turn.
    ahead: BTreeSet<u64>,
    /// Those of this node's own clients.
    own: BTreeSet<u64>,
    arrivals: u64,
    bytes: u64,
}

/// What waits of one account. Never empty.
#[derive(Debug)]
struct Queue {
    /// The first nonce that is missing: all from the account's own up to it are here.
    next: Nonce,
    waiting: BTreeMap<Nonce, Waiting>,
}

/// A moment in the order of arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(u64);

#[derive(Debug)]
struct Waiting {
    transaction: VerifiedTransaction,
    arrival: u64,
}

impl Mempool {
    /// An empty pool.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Whether nothing waits that a block could have.
    pub fn has_no_work(&self) -> bool {
        self.by_arrival.len() == self.ahead.len()
    }

    /// A waiting transaction.
    pub fn get(&self, id: &TxId) -> Option<&VerifiedTransaction> {
        let (sender, nonce) = self.by_id.get(id)?;
        Some(&self.senders.get(sender)?.waiting.get(nonce)?.transaction)
    }

    /// The nonce an account's next transaction should have, given the one its account has now.
    pub fn next_nonce(&self, sender: &Address, account: Nonce) -> Nonce {
        self.senders
            .get(sender)
            .map_or(account, |queue| queue.next.max(account))
    }

    /// Takes a transaction in, if it could be in a block soon. Whether it is new is the answer.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub fn add(
        &mut self,
        transaction: VerifiedTransaction,
        source: Source,
        head: &State,
    ) -> Result<bool, Refusal> {
        if self.by_id.contains_key(&transaction.id()) {
            return Ok(false);
        }
        transaction.check_limits(head.parameters())?;
        let (sender, nonce) = (transaction.sender(), transaction.nonce);
        let account = head
            .account(&sender)
            .ok_or(Inadmissible::UnknownSender(sender))?;
        let height = head.height().next();
        let last_valid = transaction.last_valid;
        if last_valid < height {
            return Err(Inadmissible::Expired { last_valid, height }.into());
        }
        if nonce < account.nonce {
            let (found, expected) = (nonce, account.nonce);
            return Err(Inadmissible::StaleNonce { found, expected }.into());
        }
        let next = self.next_nonce(&sender, account.nonce);
        let queue = self.senders.get(&sender);
        if queue.is_some_and(|q| q.waiting.contains_key(&nonce)) {
            return Err(Refusal::NonceTaken { nonce, next });
        }
        let ahead_max = match source {
            Source::Client => 0,
            Source::Gossip => self.limits.per_sender_max as u64,
        };
        if nonce.0.saturating_sub(next.0) > ahead_max {
            let (found, expected) = (nonce, next);
            return Err(Inadmissible::FutureNonce { found, expected }.into());
        }
        let waiting = queue.map_or(0, |q| q.waiting.len());
        if waiting >= self.limits.per_sender_max {
            return Err(Refusal::SenderFull { waiting });
        }
        let ready = self.count() - self.ahead.len();
        if nonce == next && ready >= self.limits.transactions_max {
            return Err(Refusal::PoolFull { waiting: ready });
        }
        let bytes = transaction.encoded_bytes();
        if !self.make_room(bytes) {
            let waiting = self.count();
            return Err(Refusal::PoolFull { waiting });
        }
        self.insert(transaction, source, next);
        Ok(true)
    }

    /// Lets go of the oldest ahead of their turn until `bytes` more have room. Whether they have is the answer.
    fn make_room(&mut self, bytes: u64) -> bool {
        while self.bytes.saturating_add(bytes) > self.limits.bytes_max {
            let Some(oldest) = self.ahead.first().copied() else {
                return false;
            };
            self.remove(oldest);
        }
        true
    }

    /// Puts a transaction into its queue, whose first missing nonce is `next`.
    fn insert(&mut self, transaction: VerifiedTransaction, source: Source, next: Nonce) {
        let (sender, nonce) = (transaction.sender(), transaction.nonce);
        let arrival = self.arrivals;
        self.arrivals += 1;
        self.bytes = self.bytes.saturating_add(transaction.encoded_bytes());
        self.by_id.insert(transaction.id(), (sender, nonce));
        self.by_arrival.insert(arrival, (sender, nonce));
        self.by_expiry.insert((transaction.last_valid, arrival));
        if source == Source::Client {
            self.own.insert(arrival);
        }
        let queue = self.senders.entry(sender).or_insert_with(|| Queue {
            next,
            waiting: BTreeMap::new(),
        });
        let waiting = Waiting {
            transaction,
            arrival,
        };
        queue.waiting.insert(nonce, waiting);
        self.ahead.insert(arrival);
        queue.close_up(next, &mut self.ahead);
        while self.ahead.len() > self.limits.transactions_max / 4 {
            let Some(oldest) = self.ahead.first().copied() else {
                break;
            };
            self.remove(oldest);
        }
    }

    /// A mark between what has come so far and what comes next.
    pub fn mark(&self) -> Mark {
        Mark(self.arrivals)
    }

    /// The oldest transactions of this node's own clients that came before a mark.
    pub fn own_before(&self, mark: Mark, max: usize) -> Vec<VerifiedTransaction> {
        let waiting = |arrival: &u64| {
            let (sender, nonce) = self.by_arrival.get(arrival)?;
            self.senders.get(sender)?.waiting.get(nonce)
        };
        self.own
            .range(..mark.0)
            .filter_map(waiting)
            .take(max)
            .map(|waiting| waiting.transaction.clone())
            .collect()
    }

    /// Lets go of one, wherever it stands: what follows on it is ahead of its turn then.
    fn remove(&mut self, arrival: u64) -> Option<VerifiedTransaction> {
        let transaction = self.take(arrival)?;
        if let Some(queue) = self.senders.get_mut(&transaction.sender()) {
            queue.part_at(transaction.nonce, &mut self.ahead);
        }
        Some(transaction)
    }

    /// Lets go of one as the first of its queue, or on behalf of whoever mends the queue.
    fn take(&mut self, arrival: u64) -> Option<VerifiedTransaction> {
        let (sender, nonce) = self.by_arrival.remove(&arrival)?;
        let queue = self.senders.get_mut(&sender)?;
        let Waiting { transaction, .. } = queue.waiting.remove(&nonce)?;
        if queue.waiting.is_empty() {
            self.senders.remove(&sender);
        }
        self.by_id.remove(&transaction.id());
        self.by_expiry.remove(&(transaction.last_valid, arrival));
        self.ahead.remove(&arrival);
        self.own.remove(&arrival);
        self.bytes = self.bytes.saturating_sub(transaction.encoded_bytes());
        Some(transaction)
    }

    /// Fills a block with at most `max` transactions that may be in it, the oldest first, each account's in the order of
    /// nonces.
    pub fn fill(&self, execution: &mut Execution<'_>, max: usize) -> Vec<VerifiedTransaction> {
        let mut taken = Vec::new();
        let mut taken_to: HashMap<Address, Nonce> = HashMap::new();
        for (arrival, (sender, nonce)) in &self.by_arrival {
            let Some(queue) = self.senders.get(sender) else {
                continue;
            };
            let behind = taken_to.get(sender).is_some_and(|to| nonce < to);
            if behind || self.ahead.contains(arrival) {
                continue;
            }
            // Arrivals may be out of order: each one makes way for all that it follows on.
            let from = taken_to.get(sender).copied().unwrap_or_default();
            for (nonce, Waiting { transaction, .. }) in queue.waiting.range(from..=*nonce) {
                if taken.len() >= max || transaction.encoded_bytes() > execution.bytes_left() {
                    return taken;
                }
                if execution.apply(transaction).is_err() {
                    // Expired, or no longer within the limits: nothing of this sender can follow.
                    taken_to.insert(*sender, Nonce(u64::MAX));
                    break;
                }
                taken_to.insert(*sender, nonce.next());
                taken.push(transaction.clone());
            }
        }
        taken
    }

    /// Drops what is in the block that made `head`, and what can be in no block any more. The latter are returned.
    pub fn settle<'a>(
        &mut self,
        committed: impl IntoIterator<Item = &'a VerifiedTransaction>,
        head: &State,
    ) -> Vec<(TxId, Refusal)> {
        let mut dropped = Vec::new();
        let mut touched = BTreeSet::new();
        let mut ids = HashSet::new();
        for transaction in committed {
            touched.insert(transaction.sender());
            ids.insert(transaction.id());
        }
        for sender in touched {
            let expected = head.account(&sender).map(|a| a.nonce).unwrap_or_default();
            for (found, arrival) in self.stale(&sender, expected) {
                let Some(transaction) = self.take(arrival) else {
                    continue;
                };
                if !ids.contains(&transaction.id()) {
                    let why = Inadmissible::StaleNonce { found, expected };
                    dropped.push((transaction.id(), why.into()));
                }
            }
            if let Some(queue) = self.senders.get_mut(&sender) {
                queue.close_up(expected, &mut self.ahead);
            }
        }
        let height = head.height().next();
        while let Some((last_valid, arrival)) = self.by_expiry.first().copied()
            && last_valid < height
        {
            // Gone from here even if the rest should not know it.
            self.by_expiry.remove(&(last_valid, arrival));
            if let Some(transaction) = self.remove(arrival) {
                let why = Inadmissible::Expired { last_valid, height };
                dropped.push((transaction.id(), why.into()));
            }
        }
        dropped
    }

    /// An account's transactions whose nonces are used.
    fn stale(&self, sender: &Address, expected: Nonce) -> Vec<(Nonce, u64)> {
        let queue = self.senders.get(sender);
        let stale = queue.into_iter().flat_map(|q| q.waiting.range(..expected));
        stale.map(|(n, w)| (*n, w.arrival)).collect()
    }
}

impl Queue {
    /// Goes on over all that stand in a row, from `from` on if that is further: their turn comes.
    fn close_up(&mut self, from: Nonce, ahead: &mut BTreeSet<u64>) {
        self.next = self.next.max(from);
        while let Some(waiting) = self.waiting.get(&self.next) {
            ahead.remove(&waiting.arrival);
            self.next = self.next.next();
        }
    }

    /// A nonce is missing: what stood in a row behind it is ahead of its turn.
    fn part_at(&mut self, missing: Nonce, ahead: &mut BTreeSet<u64>) {
        if missing < self.next {
            let behind = self.waiting.range(missing..self.next);
            ahead.extend(behind.map(|(_, waiting)| waiting.arrival));
            self.next = missing;
        }
    }
}

#[cfg(test)]
mod tests;
