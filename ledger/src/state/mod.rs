//! The state and the state machine: a block in, a root out. Pure: no clock, no disk, no randomness.
//!
//! [`State`] is a picture: cloning one costs a pointer, and a block's execution makes a new one that shares what did
//! not change.

pub mod entries;
mod execute;
mod generated;
pub mod places;
pub mod tree;
mod view;

pub use execute::{Code, Executed, Execution, Inadmissible, InvalidBlock, Outcome};
pub use view::View;

use crate::{
    codec,
    genesis::{Generated, Genesis, GenesisError, Parameters},
    hash::{Address, StateRoot},
    units::Height,
    validators::ValidatorSet,
};
use entries::{Account, Entry, Key, Record, Space, ValidatorSets};
use std::sync::Arc;
use tree::{Change, EntryRef, Op, Place, Tree};

/// Bytes of an entry's encoded value, at the most: the largest record, or the largest validator sets.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// The whole state after one block. Cloning costs a pointer.
#[derive(Clone, Debug)]
pub struct State {
    height: Height,
    tree: Tree,
    parameters: Parameters,
    validators: Arc<ValidatorSets>,
}

/// A tree that is no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tree is no state: its {0} are missing or unreadable")]
pub struct NotAState(&'static str);

impl State {
    /// The state a chain starts from, at height 0.
    ///
    /// # Errors
    /// [`GenesisError`] if the genesis is not sound.
    pub fn genesis(genesis: &Genesis) -> Result<Self, GenesisError> {
        genesis.check()?;
        let set = genesis.validator_set()?;
        let sets = ValidatorSets {
            current: set.clone(),
            next: set.clone(),
            after_next: set,
        };
        let mut accounts: std::collections::BTreeMap<Address, Account> = genesis
            .accounts
            .iter()
            .map(|a| {
                (
                    a.address,
                    Account {
                        balance: a.balance,
                        ..Account::default()
                    },
                )
            })
            .collect();
        for validator in sets.current.iter() {
            accounts.entry(validator.address).or_default();
        }
        let (mut tree, mut space) = (Tree::default(), None);
        if let Some(generated) = genesis.generated {
            let owner = genesis.owner_of_generated();
            tree = generated::tree(generated, owner)?;
            // The records, and their space.
            accounts.entry(owner).or_default().entries = generated.count.saturating_add(1);
            space = Some(Space {
                owner,
                writers: vec![],
                changes: generated.count,
            });
        }
        let mut entries = vec![encoded(&(), &genesis.parameters), encoded(&(), &sets)];
        entries.extend(
            accounts
                .iter()
                .map(|(address, account)| encoded(address, account)),
        );
        entries.extend(space.iter().map(|space| encoded(Generated::SPACE, space)));
        let changes: Vec<Change<'_>> = entries
            .iter()
            .map(|(place, key, value)| Change {
                place: *place,
                op: Op::Put { key, value },
            })
            .collect();
        let tree = apply(tree, &changes);
        let (parameters, validators) = (genesis.parameters, Arc::new(sets));
        Ok(Self {
            height: Height::GENESIS,
            tree,
            parameters,
            validators,
        })
    }

    /// The state that a verified tree holds after the block of `height`.
    ///
    /// # Errors
    /// [`NotAState`] if what every state has is missing.
    pub fn from_tree(height: Height, tree: Tree) -> Result<Self, NotAState> {
        let parameters = read::<Parameters>(&tree, &()).ok_or(NotAState("parameters"))?;
        let validators = read::<ValidatorSets>(&tree, &()).ok_or(NotAState("validators"))?;
        Ok(Self {
            height,
            tree,
            parameters,
            validators: Arc::new(validators),
        })
    }

    /// The height of the block it is the state after.
    pub const fn height(&self) -> Height {
        self.height
    }

    /// Its root.
    pub fn root(&self) -> StateRoot {
        self.tree.root()
    }

    /// The tree.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The chain's parameters.
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The validator sets of this height and the next two.
    pub fn validators(&self) -> &ValidatorSets {
        &self.validators
    }

    /// The validators who vote on the next block.
    pub fn next_validators(&self) -> &ValidatorSet {
        &self.validators.next
    }

    /// An account, if it exists.
    pub fn account(&self, address: &Address) -> Option<Account> {
        read(&self.tree, address)
    }

    /// A space, if it exists.
    pub fn space(&self, name: &str) -> Option<Space> {
        read(&self.tree, name)
    }

    /// A record, if it exists.
    pub fn record(&self, space: &str, key: &[u8]) -> Option<Record> {
        read(&self.tree, &(space.to_owned(), key.to_vec()))
    }
}

fn encoded<E: Entry>(name: &E::Name, entry: &E) -> (Place, Vec<u8>, Vec<u8>) {
    let key = E::key(name);
    (key.place(), key.encode(), codec::encode(entry))
}

/// The tree with the changes made.
fn apply(mut tree: Tree, changes: &[Change<'_>]) -> Tree {
    #[allow(
        clippy::expect_used,
        reason = "keys and values of the state are far below the tree's limits"
    )]
    tree.apply(changes)
        .expect("entries within the tree's limits");
    tree
}

fn read<E: Entry>(tree: &Tree, name: &E::Name) -> Option<E> {
    read_at(tree, &E::key(name), &E::key(name).place())
}

fn read_at<E: Entry>(tree: &Tree, key: &Key, place: &Place) -> Option<E> {
    decoded(tree.get(place)?, key)
}

/// Two spaces may want one place; only the key says whose entry it is.
fn decoded<E: Entry>(entry: EntryRef<'_>, key: &Key) -> Option<E> {
    if entry.key != key.encode() {
        return None;
    }
    codec::decode_unchecked(entry.value, VALUE_BYTES_MAX).ok()
}
