//! What of a state is wanted: all of it, or what some ranges of places hold, with the proof that nothing of them is missing.

use crate::manifest::{ChunkRef, Manifest};
use ledger::state::tree::{Part, PartialTree, Place, PlaceRange, Totals};
use std::collections::BTreeSet;

/// What of a state is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    #[default]
    Whole,
    /// What is needed to prove all that lies in these ranges, and what is at these places.
    Around {
        /// The ranges.
        ranges: Vec<PlaceRange>,
        /// The places.
        places: Vec<Place>,
    },
}

impl Scope {
    /// The chunks of a snapshot that it takes, by their numbers in the manifest. Follows from the manifest alone, which is proven.
    pub fn chunks(&self, manifest: &Manifest) -> BTreeSet<usize> {
        match self {
            Self::Whole => (0..manifest.chunks().len()).collect(),
            Self::Around { ranges, places } => {
                let parts: Vec<Part> = manifest.chunks().iter().map(ChunkRef::part).collect();
                let around = ranges.iter().map(|r| PartialTree::around(&parts, *r));
                let towards = places
                    .iter()
                    .filter_map(|p| PartialTree::towards(&parts, p));
                around.flatten().chain(towards).collect()
            }
        }
    }
}

/// What some of a snapshot's chunks hold together.
pub(crate) fn totals(manifest: &Manifest, chunks: &BTreeSet<usize>) -> Totals {
    let chunks = chunks.iter().filter_map(|at| manifest.chunks().get(*at));
    chunks.fold(Totals::default(), |sum, chunk| Totals {
        entries: sum.entries.saturating_add(chunk.entries),
        bytes: sum.bytes.saturating_add(chunk.bytes),
    })
}
