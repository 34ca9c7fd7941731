//! Blocks that are final and not yet in the index on disk, and the thread that takes them there.

use super::{super::background, Indexed};
use ledger::store::{Index, StoreError};
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

/// Transactions that wait at the most: 30 MB, and half a minute of what four nodes on this machine commit.
pub(super) const TRANSACTIONS_MAX: usize = 1 << 19;
/// Enough to make one go of.
const GO_TRANSACTIONS: usize = 1 << 15;
/// Fewer than that are taken after this.
const LINGER: Duration = Duration::from_secs(1);
/// The lowest priority: whoever votes, executes or answers goes first.
const NICENESS: i32 = 19;

/// The blocks that wait.
#[derive(Default)]
pub(super) struct Backlog {
    waiting: Mutex<Waiting>,
    /// Something came, or it is time to stop: for the worker.
    came: Condvar,
    /// Something went: for those who wait for room.
    went: Condvar,
}

#[derive(Default)]
struct Waiting {
    blocks: VecDeque<Arc<Indexed>>,
    transactions: usize,
    stop: bool,
    /// The index has failed. Nothing goes any more but by age.
    failed: bool,
}

impl Backlog {
    pub(super) fn push(&self, block: Indexed) {
        let mut waiting = self.waiting();
        waiting.transactions += block.entry.transactions.len();
        waiting.blocks.push_back(Arc::new(block));
        if waiting.failed {
            while waiting.transactions > TRANSACTIONS_MAX {
                waiting.pop();
            }
        }
        // The worker lingers for more unless this is enough.
        if waiting.transactions >= GO_TRANSACTIONS || waiting.blocks.len() == 1 {
            self.came.notify_one();
        }
    }

    pub(super) fn wait_for_room(&self) {
        let full = |w: &mut Waiting| w.transactions >= TRANSACTIONS_MAX && !w.failed && !w.stop;
        drop(
            self.went
                .wait_while(self.waiting(), full)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Waits until all is on disk.
    #[cfg(test)]
    pub(super) fn wait_until_empty(&self) {
        let some = |w: &mut Waiting| !w.blocks.is_empty();
        drop(self.went.wait_while(self.waiting(), some).unwrap());
    }

    /// The first answer that a waiting block gives, the newest asked first.
    pub(super) fn find<T>(&self, ask: impl Fn(&Indexed) -> Option<T>) -> Option<T> {
        self.waiting().blocks.iter().rev().find_map(|b| ask(b))
    }

    /// All answers that the waiting blocks give.
    pub(super) fn collect<T>(&self, ask: impl Fn(&Indexed) -> Vec<T>) -> Vec<T> {
        self.waiting().blocks.iter().flat_map(|b| ask(b)).collect()
    }

    /// Waits for enough blocks to make a go of; none when it is time to stop.
    fn next_go(&self) -> Option<Vec<Arc<Indexed>>> {
        let nothing = |w: &mut Waiting| w.blocks.is_empty() && !w.stop;
        let waiting = self
            .came
            .wait_while(self.waiting(), nothing)
            .unwrap_or_else(PoisonError::into_inner);
        let few = |w: &mut Waiting| w.transactions < GO_TRANSACTIONS && !w.stop;
        let (waiting, _) = self
            .came
            .wait_timeout_while(waiting, LINGER, few)
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.stop {
            return None;
        }
        let mut transactions = 0;
        let go = waiting.blocks.iter().take_while(|block| {
            let more = transactions < GO_TRANSACTIONS;
            transactions += block.entry.transactions.len();
            more
        });
        Some(go.cloned().collect())
    }

    pub(super) fn gone(&self, count: usize) {
        // What goes is let go without the lock: this thread is the last to get a core back.
        let gone: Vec<_> = {
            let mut waiting = self.waiting();
            (0..count).map_while(|_| waiting.pop()).collect()
        };
        self.went.notify_all();
        drop(gone);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Arc<Indexed>> {
        let block = self.blocks.pop_front()?;
        self.transactions -= block.entry.transactions.len();
        Some(block)
    }
}

/// The thread that takes blocks to the disk. Dropping this ends it.
pub(super) struct Worker {
    backlog: Arc<Backlog>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// `counted`: whether it is known that the index lacks nothing.
    pub(super) fn start(
        backlog: Arc<Backlog>,
        disk: Index,
        counted: bool,
    ) -> std::io::Result<Self> {
        let its = Arc::clone(&backlog);
        let thread = std::thread::Builder::new()
            .name("index".into())
            .spawn(move || work(&its, &disk, counted))?;
        Ok(Self {
            backlog,
            thread: Some(thread),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.backlog.waiting().stop = true;
        self.backlog.came.notify_all();
        self.backlog.went.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(backlog: &Backlog, disk: &Index, counted: bool) {
    background::step_back(NICENESS);
    let sound = if counted { Ok(()) } else { disk.check() };
    if let Err(error) = sound.and_then(|()| take_to_disk(backlog, disk)) {
        tracing::error!(%error, "the index is used no more, and is made anew at the next start");
        if let Err(error) = disk.condemn() {
            tracing::error!(%error, "delete the index folder before the next start");
        }
        backlog.waiting().failed = true;
        backlog.went.notify_all();
    }
}

/// Until it is time to stop.
fn take_to_disk(backlog: &Backlog, disk: &Index) -> Result<(), StoreError> {
    while let Some(go) = backlog.next_go() {
        disk.put_blocks(go.iter().map(|block| &block.entry))?;
        backlog.gone(go.len());
    }
    Ok(())
}
