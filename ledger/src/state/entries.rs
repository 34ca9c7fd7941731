//! What the state holds, and where: accounts, spaces, records, validators, parameters and approvals under way.
//!
//! An entry's place in the tree is 32 bytes. The first is its kind; for a record the next seven are the first 56 bits
//! of its space's hash, so that each space is one subtree with a root of its own; the rest is a hash. The key that a
//! leaf keeps is the canonical encoding of [`Key`], from which the place follows.

use super::tree::{Place, Prefix};
use crate::{
    codec,
    genesis::Parameters,
    hash::{Address, Domain, Hash, Hasher},
    transaction::Proposal,
    units::{Amount, Height, Nonce, Version},
    validators::ValidatorSet,
};
use serde::{Deserialize, Serialize};

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Key {
    /// The chain's parameters.
    Parameters,
    /// The validator sets of this height and the next two.
    Validators,
    /// The approvals of one change.
    Approvals(Proposal),
    /// An account.
    Account(Address),
    /// A space.
    Space(String),
    /// A record in a space.
    Record {
        /// The space.
        space: String,
        /// The record's key.
        #[serde(with = "codec::bytes")]
        key: Vec<u8>,
    },
}

/// Bytes of a key's encoding, at the most.
pub const KEY_BYTES_MAX: usize = 1 << 10;

/// Bits of a place that all records of a space share: the kind, and 56 of the space's hash.
const SPACE_BITS: u16 = 64;

impl Key {
    pub(super) const RECORD: u8 = 5;

    fn kind(&self) -> u8 {
        match self {
            Self::Parameters => 0,
            Self::Validators => 1,
            Self::Approvals(_) => 2,
            Self::Account(_) => 3,
            Self::Space(_) => 4,
            Self::Record { .. } => Self::RECORD,
        }
    }

    /// The encoding that the leaf keeps.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The place of the entry.
    pub fn place(&self) -> Place {
        let mut place = [0u8; 32];
        match self {
            // Only the 56 bits: a second space with the same ones has nowhere to go, and is refused.
            Self::Space(space) => place[1..8].copy_from_slice(&space_prefix(space)),
            Self::Record { space, .. } => {
                return record_place(record_subtree(space), &self.encode());
            }
            _ => {
                let hash = Hasher::new(Domain::Place).chain(self.encode()).finish();
                place[1..].copy_from_slice(&hash.0[..31]);
            }
        }
        place[0] = self.kind();
        Place(place)
    }

    /// What the places of all records of a space begin with: where its subtree hangs.
    pub fn space_subtree(space: &str) -> Prefix {
        let mut place = Place::default();
        place.0[..8].copy_from_slice(&record_subtree(space));
        Prefix::of(&place, SPACE_BITS)
    }
}

/// The place of a record, from the first bytes of all places in its space and the encoding of its key.
pub(super) fn record_place(subtree: [u8; 8], encoded: &[u8]) -> Place {
    let hash = Hasher::new(Domain::Place).chain(encoded).finish();
    let mut place = [0; 32];
    let (first, rest) = place.split_at_mut(8);
    first.copy_from_slice(&subtree);
    rest.copy_from_slice(&hash.0[..24]);
    Place(place)
}

/// The first bytes of the places of all records in a space.
pub(super) fn record_subtree(space: &str) -> [u8; 8] {
    let mut subtree = [Key::RECORD; 8];
    subtree[1..].copy_from_slice(&space_prefix(space));
    subtree
}

fn space_prefix(space: &str) -> [u8; 7] {
    let Hash(hash) = Hasher::new(Domain::Place)
        .chain([4u8])
        .chain(space)
        .finish();
    let mut prefix = [0; 7];
    prefix.copy_from_slice(&hash[..7]);
    prefix
}

/// An account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What it holds.
    pub balance: Amount,
    /// How many transactions it has made.
    pub nonce: Nonce,
    /// Spaces it owns, and records in them.
    pub entries: u64,
}

/// A space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Who made it: may write, and name the writers.
    pub owner: Address,
    /// Who else may write.
    pub writers: Vec<Address>,
    /// Changes made in it so far. The next one's number is the version of what it writes.
    pub changes: u64,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its value.
    #[serde(with = "codec::bytes")]
    pub value: Vec<u8>,
    /// The number of the change that wrote it.
    pub version: Version,
    /// Who wrote it.
    pub writer: Address,
    /// The height it was written at.
    pub written_at: Height,
}

/// The validator sets that matter after a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorSets {
    /// Those who voted on this block.
    pub current: ValidatorSet,
    /// Those who vote on the next.
    pub next: ValidatorSet,
    /// Those who vote on the one after: what changes now, changes here.
    pub after_next: ValidatorSet,
}

/// Who has approved a change so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvals(pub Vec<Address>);

/// Ties each kind of entry to its key and its encoding.
pub trait Entry: Serialize + for<'de> Deserialize<'de> {
    /// What names an entry of this kind.
    type Name: ?Sized;

    /// Its key in the tree.
    fn key(name: &Self::Name) -> Key;
}

impl Entry for Parameters {
    type Name = ();

    fn key((): &()) -> Key {
        Key::Parameters
    }
}

impl Entry for ValidatorSets {
    type Name = ();

    fn key((): &()) -> Key {
        Key::Validators
    }
}

impl Entry for Approvals {
    type Name = Proposal;

    fn key(proposal: &Proposal) -> Key {
        Key::Approvals(proposal.clone())
    }
}

impl Entry for Account {
    type Name = Address;

    fn key(address: &Address) -> Key {
        Key::Account(*address)
    }
}

impl Entry for Space {
    type Name = str;

    fn key(space: &str) -> Key {
        Key::Space(space.to_owned())
    }
}

impl Entry for Record {
    type Name = (String, Vec<u8>);

    fn key((space, key): &(String, Vec<u8>)) -> Key {
        Key::Record {
            space: space.clone(),
            key: key.clone(),
        }
    }
}
