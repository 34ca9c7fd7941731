//! Letting old states go where nobody waits for it: freeing what only an old tree has takes milliseconds.

use crate::replica::Committed;
use ledger::state::State;
use std::sync::{
    Arc,
    mpsc::{SyncSender, sync_channel},
};

/// Old states that may wait to be freed; what comes beyond is freed by whoever brings it.
const WAITING_MAX: usize = 16;

type Old = (Option<State>, Option<Arc<Committed>>);

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
            .spawn(move || old.into_iter().for_each(drop))?;
        Ok(Self(sender))
    }

    /// Frees what is old.
    pub(super) fn let_go(&self, old: Old) {
        // What does not fit comes back and is dropped here.
        let _ = self.0.try_send(old);
    }
}
