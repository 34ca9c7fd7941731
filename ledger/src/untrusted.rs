//! What came from outside and is not verified yet has a type that cannot be used as if it were.

/// A `T` that a peer, a client or a disk claims. The only way to the `T` is a verification that consumes this.
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
