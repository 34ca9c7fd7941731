//! The threads that put verified chunks on disk, so that fetching does not wait for it.
//!
//! Each makes its chunk durable before it takes the next. Left to the end, a thousand files would be synced one after the other,
//! which took longer than fetching them; the disk syncs those of several threads in about the time of one.

use super::NodeError;
use ::snapshot::{
    chunk::VerifiedChunk,
    manifest::ManifestId,
    store::{Store, StoreError},
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

/// Verified chunks that wait for the disk.
const WRITES_MAX: usize = 32;
/// They wait for the disk nearly all the time.
const THREADS: usize = 8;

/// A chunk of a snapshot, to be put on disk.
pub(super) struct Put {
    pub(super) target: ManifestId,
    pub(super) chunk: VerifiedChunk,
    /// Whole, or a patch.
    pub(super) bytes: Vec<u8>,
}

/// The threads, and the way to them.
pub(super) struct Writer {
    pub(super) chunks: SyncSender<Put>,
    threads: Vec<JoinHandle<Result<u64, StoreError>>>,
}

impl Writer {
    pub(super) fn start(store: &Store) -> Result<Self, NodeError> {
        let (chunks, verified) = sync_channel::<Put>(WRITES_MAX);
        let verified = Arc::new(Mutex::new(verified));
        let start = |_| {
            let (store, verified) = (store.clone(), Arc::clone(&verified));
            std::thread::Builder::new()
                .name("chunks".into())
                .spawn(move || write(&store, &verified))
                .map_err(|source| NodeError::Machine {
                    what: "cannot start a thread that writes chunks",
                    source,
                })
        };
        Ok(Self {
            threads: (0..THREADS).map(start).collect::<Result<_, _>>()?,
            chunks,
        })
    }

    /// Whether one has ended by itself, which it does only if the disk failed: [`Self::finish`] tells.
    pub(super) fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Waits until everything is on disk, and says how many bytes that was.
    pub(super) fn finish(self) -> Result<u64, NodeError> {
        drop(self.chunks);
        let mut bytes_total = 0;
        for thread in self.threads {
            match thread.join() {
                Ok(written) => bytes_total += written?,
                Err(_) => return Err(NodeError::Died("the writer of chunks")),
            }
        }
        Ok(bytes_total)
    }
}

/// Writes chunks until no more come. Gives their bytes.
fn write(store: &Store, verified: &Mutex<Receiver<Put>>) -> Result<u64, StoreError> {
    let mut bytes_total = 0;
    loop {
        // Held while it waits: it is this thread's turn then.
        let next = verified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok(put) = next else {
            return Ok(bytes_total);
        };
        bytes_total += store.put_chunk(put.target, put.chunk.subtree(), &put.bytes)?;
        store.sync_chunk(&put.chunk.id())?;
    }
}
