//! What came from outside and is not verified yet has a type that cannot be used as if it were.
//!
//! What this does and does not keep: outside this crate, [`Untrusted::claim`] is the only way to the content before a
//! verification has taken the mark away. It lends the content to look at, and cannot hinder anyone from copying it.
//! Beside it there is one door of another kind: [`UnverifiedBlock::from_own_log`](crate::block::UnverifiedBlock::from_own_log)
//! takes transactions as verified because this node wrote them down when it had verified them. Logs and write-ahead logs
//! hand out bytes that they do not interpret, so no type can say where a block is from; `tests/tidy.rs` names the files that
//! may open that door.

/// A `T` that a peer, a client or a disk claims. What makes a `T` of it is a verification that consumes this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted<T>(T);

impl<T> Untrusted<T> {
    /// Marks a value as not verified.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The claim, to look at: for sizes, ids and routing, never to act on.
    pub const fn claim(&self) -> &T {
        &self.0
    }

    /// Gives up the mark. Only verification code may call this, when it has verified.
    pub(crate) fn into_verified(self) -> T {
        self.0
    }
}
