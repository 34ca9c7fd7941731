//! What becomes of a transaction that stands in a block: its code, which is agreed on, and the figure that explains it.

use serde::{Deserialize, Serialize};

/// What became of a transaction in a block. The number is part of the transactions root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u16)]
pub enum Code {
    /// All its operations were applied.
    Applied = 0,
    /// The sender has less than the amount.
    InsufficientBalance = 1,
    /// The receiver would hold more than an amount can say.
    BalanceOverflow = 2,
    /// There is a space of that name, or one that wants its place.
    SpaceExists = 3,
    /// There is no such space.
    SpaceNotFound = 4,
    /// The sender may not write there.
    NotAWriter = 5,
    /// Only the owner may name a space's writers.
    NotTheOwner = 6,
    /// The record's version is not the expected one.
    VersionMismatch = 7,
    /// There is no such record.
    RecordNotFound = 8,
    /// The space's owner has as many entries as an account may.
    TooManyEntries = 9,
    /// Only a validator may approve.
    NotAValidator = 10,
    /// The sender has approved this already.
    AlreadyApproved = 11,
    /// The change would leave no sound validator set, or parameters out of range.
    UnsoundChange = 12,
}

impl Code {
    const ALL: [Self; 13] = [
        Self::Applied,
        Self::InsufficientBalance,
        Self::BalanceOverflow,
        Self::SpaceExists,
        Self::SpaceNotFound,
        Self::NotAWriter,
        Self::NotTheOwner,
        Self::VersionMismatch,
        Self::RecordNotFound,
        Self::TooManyEntries,
        Self::NotAValidator,
        Self::AlreadyApproved,
        Self::UnsoundChange,
    ];

    /// The code of a number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// What became of a transaction, and the figure that explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What became of it. This alone is agreed on.
    pub code: Code,
    /// The balance or the version found, where that is why. Derived, like an index.
    pub found: u64,
}

impl Outcome {
    /// All operations applied.
    pub const APPLIED: Self = Self {
        code: Code::Applied,
        found: 0,
    };

    /// Says it to a person.
    pub fn message(&self) -> String {
        let found = self.found;
        match self.code {
            Code::Applied => "applied".into(),
            Code::InsufficientBalance => format!("the sender's balance was only {found}"),
            Code::BalanceOverflow => {
                "the receiver's balance would be larger than any amount".into()
            }
            Code::SpaceExists => "the space exists already".into(),
            Code::SpaceNotFound => "there is no such space".into(),
            Code::NotAWriter => "the sender may not write in this space".into(),
            Code::NotTheOwner => "only the owner of a space may name its writers".into(),
            Code::VersionMismatch if found == 0 => "the record does not exist (version 0)".into(),
            Code::VersionMismatch => format!("the record's version was {found}"),
            Code::RecordNotFound => "there is no such record".into(),
            Code::TooManyEntries => {
                format!("the owner of the space has {found} entries already, the most there may be")
            }
            Code::NotAValidator => "only a validator may approve a change".into(),
            Code::AlreadyApproved => "the sender has approved this change already".into(),
            Code::UnsoundChange => "the change would leave unsound validators or parameters".into(),
        }
    }
}

impl From<Code> for Outcome {
    fn from(code: Code) -> Self {
        Self { code, found: 0 }
    }
}
