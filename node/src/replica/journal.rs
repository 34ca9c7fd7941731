//! What a replica must have on disk before it goes on. The runtime gives it a real disk, a simulation a pretended one.

use ledger::{block::CommittedBlock, units::Height};

/// The disk failed. The replica that was told so must not be used any more: stop, mend the disk, start again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk failed: {0}")]
pub struct JournalError(pub String);

/// The write-ahead log and the block log.
///
/// What was appended may be lost in a crash until [`sync`](Self::sync) or [`commit`](Self::commit) has returned; then
/// never. The order of what survives is the order of the appends.
pub trait Journal {
    /// Appends one [`WalRecord`](super::message::WalRecord), encoded, of a height under way.
    ///
    /// # Errors
    /// [`JournalError`].
    fn append(&mut self, height: Height, record: &[u8]) -> Result<(), JournalError>;

    /// Returns when everything appended is durable.
    ///
    /// # Errors
    /// [`JournalError`].
    fn sync(&mut self) -> Result<(), JournalError>;

    /// A wiped node has learnt that it may sign from `height` on. When this has returned, a restart knows it too, and
    /// what is appended from now on is kept.
    ///
    /// # Errors
    /// [`JournalError`].
    fn promise_from(&mut self, height: Height) -> Result<(), JournalError>;

    /// Makes a decided block durable in the block log. What the write-ahead log has of its height is then not needed.
    ///
    /// # Errors
    /// [`JournalError`].
    fn commit(&mut self, block: &CommittedBlock) -> Result<(), JournalError>;
}
