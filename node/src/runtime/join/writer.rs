//! The thread that puts verified chunks on disk, so that fetching does not wait for it.

use super::NodeError;
use ::snapshot::{
    chunk::VerifiedChunk,
    manifest::ManifestId,
    store::{Store, StoreError},
};
use std::{
    sync::mpsc::{SyncSender, sync_channel},
    thread::JoinHandle,
};

/// Verified chunks that wait for the disk.
const WRITES_MAX: usize = 32;

/// A chunk of a snapshot, to be put on disk.
pub(super) struct Put {
    pub(super) target: ManifestId,
    pub(super) chunk: VerifiedChunk,
    /// Whole, or a patch.
    pub(super) bytes: Vec<u8>,
}

/// The thread, and the way to it.
pub(super) struct Writer {
    pub(super) chunks: SyncSender<Put>,
    thread: JoinHandle<Result<u64, StoreError>>,
}

impl Writer {
    pub(super) fn start(store: Store) -> Result<Self, NodeError> {
        let (chunks, verified) = sync_channel::<Put>(WRITES_MAX);
        let thread = std::thread::Builder::new()
            .name("chunks".into())
            .spawn(move || {
                let mut bytes_total = 0;
                for Put {
                    target,
                    chunk,
                    bytes,
                } in verified
                {
                    bytes_total += store.put_chunk(target, chunk.subtree(), &bytes)?;
                }
                Ok(bytes_total)
            })
            .map_err(|source| NodeError::Machine {
                what: "cannot start the chunk writer's thread",
                source,
            })?;
        Ok(Self { chunks, thread })
    }

    /// Whether it has ended by itself, which it does only if the disk failed: [`Self::finish`] tells.
    pub(super) fn has_failed(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until everything is on disk, and says how many bytes that was.
    pub(super) fn finish(self) -> Result<u64, NodeError> {
        drop(self.chunks);
        match self.thread.join() {
            Ok(written) => Ok(written?),
            Err(_) => Err(NodeError::Died("the writer of chunks")),
        }
    }
}
