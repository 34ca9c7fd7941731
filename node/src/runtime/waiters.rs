//! Clients that wait for their transactions. Each is woken when its own has come to an end, and by nothing else: a block
//! must not make every client look into the index.

use ledger::hash::TxId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Who waits for what. The API bounds how many there are.
#[derive(Default)]
pub(super) struct Waiters(Mutex<Waiting>);

/// For each transaction, how many wait and what wakes them.
type Waiting = HashMap<TxId, (usize, Arc<Notify>)>;

/// One that waits.
pub(super) struct Waiter<'a> {
    waiters: &'a Waiters,
    id: TxId,
    end: Arc<Notify>,
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a transaction from now on.
    pub(super) fn wait_for(&self, id: TxId) -> Waiter<'_> {
        let mut waiting = self.lock();
        let (count, end) = waiting.entry(id).or_default();
        *count += 1;
        let end = Arc::clone(end);
        Waiter {
            waiters: self,
            id,
            end,
        }
    }

    /// These transactions have come to an end.
    pub(super) fn wake<'a>(&self, ids: impl IntoIterator<Item = &'a TxId>) {
        let waiting = self.lock();
        if waiting.is_empty() {
            return;
        }
        for id in ids {
            if let Some((_, end)) = waiting.get(id) {
                end.notify_waiters();
            }
        }
    }
}

impl Waiter<'_> {
    /// Over at the next end of the transaction after this call, whether or not it is awaited at once.
    pub(super) fn end(&self) -> impl Future<Output = ()> + '_ {
        self.end.notified()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiters.lock();
        if let Some((count, _)) = waiting.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    fn is_over(end: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        end.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    /// Two wait for one transaction, one for another: each end wakes its own, and who has gone leaves nothing behind.
    #[test]
    fn an_end_wakes_those_who_wait_for_it() {
        let (waiters, a, b) = (Waiters::default(), TxId([1; 32]), TxId([2; 32]));
        let (first, second, other) = (
            waiters.wait_for(a),
            waiters.wait_for(a),
            waiters.wait_for(b),
        );
        {
            let (mut ends, mut not_yet) =
                ((pin!(first.end()), pin!(second.end())), pin!(other.end()));
            waiters.wake([&a, &TxId([3; 32])]);
            let woken = (is_over(ends.0.as_mut()), is_over(ends.1.as_mut()));
            assert_eq!((woken, is_over(not_yet.as_mut())), ((true, true), false));
            waiters.wake([&b]);
            assert!(is_over(not_yet.as_mut()), "its own end");
        }
        drop((first, other));
        assert_eq!(waiters.lock().len(), 1, "one still waits");
        drop(second);
        assert_eq!(waiters.lock().len(), 0, "none waits");
    }
}
