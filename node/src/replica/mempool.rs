//! Transactions that wait for a block, in the order they came, with the nonces of each account in a row.
//!
//! Bounded in all and for each account. A transaction of a client must follow directly on what its account has
//! waiting; one that comes by gossip may arrive ahead of its turn, within a bound. The first transaction with a nonce
//! stays: none replaces another.

use crate::handle::Refusal;
use ledger::{
    hash::{Address, TxId},
    state::{Execution, Inadmissible, State},
    transaction::VerifiedTransaction,
    units::Nonce,
};
use std::collections::{BTreeMap, HashMap};

/// What a pool takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transactions in all.
    pub transactions_max: usize,
    /// Bytes of all together.
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
    senders: BTreeMap<Address, BTreeMap<Nonce, Waiting>>,
    by_id: HashMap<TxId, (Address, Nonce)>,
    by_arrival: BTreeMap<u64, (Address, Nonce)>,
    arrivals: u64,
    bytes: u64,
}

/// A moment in the order of arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(u64);

#[derive(Debug)]
struct Waiting {
    transaction: VerifiedTransaction,
    arrival: u64,
    source: Source,
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
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// A waiting transaction.
    pub fn get(&self, id: &TxId) -> Option<&VerifiedTransaction> {
        let (sender, nonce) = self.by_id.get(id)?;
        Some(&self.senders.get(sender)?.get(nonce)?.transaction)
    }

    /// The nonce an account's next transaction should have, given the one its account has now.
    pub fn next_nonce(&self, sender: &Address, account: Nonce) -> Nonce {
        let mut next = account;
        if let Some(waiting) = self.senders.get(sender) {
            while waiting.contains_key(&next) {
                next = next.next();
            }
        }
        next
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
        let waiting = self.senders.get(&sender);
        if waiting.is_some_and(|w| w.contains_key(&nonce)) {
            return Err(Refusal::NonceTaken { nonce, next });
        }
        let count = waiting.map_or(0, BTreeMap::len);
        let ahead_max = match source {
            Source::Client => 0,
            Source::Gossip => self.limits.per_sender_max as u64,
        };
        if nonce.0 - next.0.min(nonce.0) > ahead_max {
            let (found, expected) = (nonce, next);
            return Err(Inadmissible::FutureNonce { found, expected }.into());
        }
        if count >= self.limits.per_sender_max {
            return Err(Refusal::SenderFull { waiting: count });
        }
        let bytes = self.bytes + transaction.encoded_bytes();
        if self.len() >= self.limits.transactions_max || bytes > self.limits.bytes_max {
            return Err(Refusal::PoolFull {
                waiting: self.len(),
            });
        }
        self.bytes = bytes;
        let arrival = self.arrivals;
        self.arrivals += 1;
        self.by_id.insert(transaction.id(), (sender, nonce));
        self.by_arrival.insert(arrival, (sender, nonce));
        self.senders.entry(sender).or_default().insert(
            nonce,
            Waiting {
                transaction,
                arrival,
                source,
            },
        );
        Ok(true)
    }

    /// A mark between what has come so far and what comes next.
    pub fn mark(&self) -> Mark {
        Mark(self.arrivals)
    }

    /// The oldest transactions of this node's own clients that came before a mark.
    pub fn own_before(&self, mark: Mark, max: usize) -> Vec<VerifiedTransaction> {
        self.by_arrival
            .range(..mark.0)
            .filter_map(|(_, (sender, nonce))| self.senders.get(sender)?.get(nonce))
            .filter(|waiting| waiting.source == Source::Client)
            .take(max)
            .map(|waiting| waiting.transaction.clone())
            .collect()
    }

    fn remove(&mut self, sender: &Address, nonce: Nonce) -> Option<VerifiedTransaction> {
        let waiting = self.senders.get_mut(sender)?;
        let Waiting {
            transaction,
            arrival,
            ..
        } = waiting.remove(&nonce)?;
        if waiting.is_empty() {
            self.senders.remove(sender);
        }
        self.by_id.remove(&transaction.id());
        self.by_arrival.remove(&arrival);
        self.bytes = self.bytes.saturating_sub(transaction.encoded_bytes());
        Some(transaction)
    }

    /// Fills a block: the transactions that may be in it, the oldest first, each account's in the order of nonces.
    pub fn fill(&self, execution: &mut Execution<'_>) -> Vec<VerifiedTransaction> {
        let mut taken = Vec::new();
        let mut next: HashMap<Address, Nonce> = HashMap::new();
        for (sender, _) in self.by_arrival.values() {
            let Some(waiting) = self.senders.get(sender) else {
                continue;
            };
            // Arrivals may be out of order: each one makes way for all that follow on it.
            loop {
                let due = match next.get(sender) {
                    Some(due) => waiting.get_key_value(due),
                    None => waiting.first_key_value(),
                };
                let Some((nonce, Waiting { transaction, .. })) = due else {
                    break;
                };
                if transaction.encoded_bytes() > execution.bytes_left() {
                    return taken;
                }
                next.insert(*sender, nonce.next());
                if execution.apply(transaction).is_err() {
                    // A gap, or expired: nothing of this sender can follow.
                    next.insert(*sender, Nonce(u64::MAX));
                    break;
                }
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
        let mut touched = std::collections::BTreeSet::new();
        let mut ids = std::collections::HashSet::new();
        for transaction in committed {
            touched.insert(transaction.sender());
            ids.insert(transaction.id());
        }
        for sender in touched {
            let expected = head.account(&sender).map(|a| a.nonce).unwrap_or_default();
            let Some(waiting) = self.senders.get(&sender) else {
                continue;
            };
            let stale: Vec<Nonce> = waiting.range(..expected).map(|(n, _)| *n).collect();
            for found in stale {
                let Some(transaction) = self.remove(&sender, found) else {
                    continue;
                };
                if !ids.contains(&transaction.id()) {
                    let why = Inadmissible::StaleNonce { found, expected };
                    dropped.push((transaction.id(), why.into()));
                }
            }
        }
        let height = head.height().next();
        let expired: Vec<(Address, Nonce)> = self
            .by_arrival
            .values()
            .filter(|(sender, nonce)| {
                let waiting = self.senders.get(sender).and_then(|w| w.get(nonce));
                waiting.is_some_and(|w| w.transaction.last_valid < height)
            })
            .copied()
            .collect();
        for (sender, nonce) in expired {
            if let Some(transaction) = self.remove(&sender, nonce) {
                let last_valid = transaction.last_valid;
                let why = Inadmissible::Expired { last_valid, height };
                dropped.push((transaction.id(), why.into()));
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests;
