//! Letting old states go where nobody waits for it: freeing what only an old tree has takes milliseconds.

use crate::replica::Committed;
use ledger::state::State;
use std::sync::{
    Arc,
    mpsc::{SyncSender, sync_channel},
};

/// Old states that may wait to be freed; what comes beyond is freed by whoever brings it.
const WAITING_MAX: usize = 16;

type Old = (Vec<State>, Option<Arc<Committed>>);

/// From now on this thread does alone what others do in parallel: what is urgent, as executing a block, would wait behind it.
pub(super) fn alone() {
    let own = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread();
    if let Err(error) = own.build() {
        tracing::debug!(%error, "old states are freed in parallel");
    }
}

/// The way to the thread that frees.
pub(super) struct Reaper(SyncSender<Old>);

impl Reaper {
    /// Starts the thread. It ends with this handle.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start() -> std::io::Result<Self> {
        let (sender, old) = sync_channel::<Old>(WAITING_MAX);
        std::thread::Builder::new()
            .name("reaper".into())
            .spawn(move || {
                alone();
                old.into_iter().for_each(drop);
            })?;
        Ok(Self(sender))
    }

    /// Frees what is old.
    pub(super) fn let_go(&self, old: Old) {
        // What does not fit comes back and is dropped here.
        let _ = self.0.try_send(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_frees_takes_nobodys_place_in_the_pool() {
        let own = std::thread::spawn(|| {
            alone();
            rayon::join(rayon::current_num_threads, || std::thread::current().id())
        });
        let freeing = own.thread().id();
        assert_eq!(own.join().unwrap(), (1, freeing));
    }
}
