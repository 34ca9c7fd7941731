//! The states that are kept, by the positions of what is in them.

use ledger::{hash::StateRoot, units::Height};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What lies below a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateParts {
    /// The height.
    #[schema(value_type = u64)]
    pub height: Height,
    /// The root of the whole state, as this node has it.
    #[schema(value_type = String)]
    pub state_root: StateRoot,
    /// The canonical encoding of a list of `Part`s in hex, in the order of places: they fold to what they are parts of.
    pub parts_hex: String,
}

/// The entries of a range of places, or the first of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateRange {
    /// The height.
    #[schema(value_type = u64)]
    pub height: Height,
    /// The root of the whole state, as this node has it.
    #[schema(value_type = String)]
    pub state_root: StateRoot,
    /// The canonical encoding of a `RangeProof` in hex: it has the entries.
    pub proof: String,
}
