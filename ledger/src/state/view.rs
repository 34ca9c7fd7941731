//! A state as it is read and proven: all of it, or what a node holds that follows only some spaces.

use super::{
    State, decoded,
    entries::Entry,
    tree::{NotHeld, PartialTree},
};
use crate::{hash::StateRoot, units::Height};

/// The state after one block, as far as it is held. Cloning costs a pointer.
#[derive(Clone, Debug)]
pub struct View {
    height: Height,
    tree: PartialTree,
}

impl View {
    /// What is held of the state after the block of `height`.
    pub const fn new(height: Height, tree: PartialTree) -> Self {
        Self { height, tree }
    }

    /// The height of the block it is the state after.
    pub const fn height(&self) -> Height {
        self.height
    }

    /// The root of the whole state.
    pub const fn root(&self) -> StateRoot {
        self.tree.root()
    }

    /// The tree, to prove what is in it.
    pub const fn tree(&self) -> &PartialTree {
        &self.tree
    }

    /// An entry, if it exists.
    ///
    /// # Errors
    /// [`NotHeld`] if that is not known here.
    pub fn entry<E: Entry>(&self, name: &E::Name) -> Result<Option<E>, NotHeld> {
        let key = E::key(name);
        let entry = self.tree.get(&key.place())?;
        Ok(entry.and_then(|entry| decoded(entry, &key)))
    }
}

impl From<State> for View {
    fn from(state: State) -> Self {
        let State { height, tree, .. } = state;
        Self::new(height, tree.into())
    }
}
