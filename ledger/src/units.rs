//! The numbers of the ledger, each with a type of its own, so that a height is never taken for a nonce.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares a `u64` with a meaning.
macro_rules! unit {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

unit!(
    /// A block's place in the chain. Genesis is height 0 and has a state but no block; the first block is height 1.
    Height
);
unit!(
    /// How many transactions an account has made: the nonce its next one must carry.
    Nonce
);
unit!(
    /// An amount of the chain's one currency.
    Amount
);
unit!(
    /// A record's version: its space's change counter when it was written. 0 means absent.
    Version
);
unit!(
    /// A validator's voting power.
    Power
);
unit!(
    /// Milliseconds since the Unix epoch, as a proposer claims them. Data: nothing in execution reads it.
    TimestampMs
);

impl Height {
    /// The height of the genesis state, which has no block.
    pub const GENESIS: Self = Self(0);

    /// The height after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The height before this one, if there is one.
    pub const fn previous(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(height) => Some(Self(height)),
            None => None,
        }
    }

    /// The height `count` blocks later.
    #[must_use]
    pub const fn after(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl Nonce {
    /// The nonce after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A consensus round at one height, from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Round(pub u32);

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
