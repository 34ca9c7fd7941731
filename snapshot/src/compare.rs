//! What differs between two snapshots, chunk by chunk.
//!
//! Chunks that both have are passed over; of the others only those that lie in the same place are held against each other.
//! So the time follows the difference, and memory is that of a few chunks, whatever the size of the states.

use crate::{
    chunk::VerifiedChunk,
    manifest::{ChunkRef, Manifest},
};
use ledger::{
    hash::Hash,
    state::tree::{Difference, JoinError, Part, Prefix, Tree},
};
use std::collections::BTreeSet;

/// Places whose chunks are asked for at once.
const TOGETHER: usize = 16;

/// A place in the tree where two states have different parts. Either side may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differing<P> {
    /// The older one's parts there.
    pub old: Vec<P>,
    /// The newer one's.
    pub new: Vec<P>,
}

/// The places where two snapshots have different chunks, in their order. Looks at manifests alone.
pub fn differing(old: &Manifest, new: &Manifest) -> Vec<Differing<ChunkRef>> {
    differing_parts(old.chunks(), new.chunks(), ChunkRef::part)
}

/// The places where two states have different parts, in their order.
pub(crate) fn differing_parts<P: Copy>(
    old: &[P],
    new: &[P],
    part: impl Fn(&P) -> Part,
) -> Vec<Differing<P>> {
    let hashes = |of: &[P]| of.iter().map(|p| part(p).hash).collect::<BTreeSet<Hash>>();
    let (in_old, in_new) = (hashes(old), hashes(new));
    let of_old = old.iter().filter(|p| !in_new.contains(&part(p).hash));
    let of_new = new.iter().filter(|p| !in_old.contains(&part(p).hash));
    let sides = of_old
        .map(|p| (false, *p))
        .chain(of_new.map(|p| (true, *p)));
    let mut sides: Vec<(Prefix, bool, P)> = sides
        .map(|(is_new, p)| (part(&p).prefix, is_new, p))
        .collect();
    // A prefix comes before those that it covers.
    sides.sort_by_key(|(prefix, ..)| (*prefix.bits(), prefix.bit_count()));
    let mut places: Vec<Differing<P>> = Vec::new();
    let mut covering: Option<Prefix> = None;
    for (prefix, is_new, part) in sides {
        if !covering.is_some_and(|covering| covering.covers(&prefix)) {
            covering = Some(prefix);
            let (old, new) = (vec![], vec![]);
            places.push(Differing { old, new });
        }
        if let Some(place) = places.last_mut() {
            let side = if is_new {
                &mut place.new
            } else {
                &mut place.old
            };
            side.push(part);
        }
    }
    places
}

/// Where verified chunks come from: an archive, a store.
pub trait Chunks {
    /// Why one cannot be had.
    type Error;

    /// Reads some chunks and verifies them, in the order given. Several at once, for whom asking takes long and reading does not.
    ///
    /// # Errors
    /// If one cannot be had, or is not what it should be.
    fn load(&self, chunks: &[ChunkRef]) -> Result<Vec<VerifiedChunk>, Self::Error>;
}

/// Why two snapshots cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError<A, B> {
    /// A chunk of the older one.
    #[error(transparent)]
    Old(A),
    /// A chunk of the newer one.
    #[error(transparent)]
    New(B),
    /// Verified chunks that make no tree: an error of this program.
    #[error("verified chunks do not join ({0}); this is a bug, please report it")]
    Join(#[from] JoinError),
}

fn join(chunks: impl Iterator<Item = VerifiedChunk>) -> Result<Tree, JoinError> {
    Tree::join(&chunks.map(VerifiedChunk::into_subtree).collect::<Vec<_>>())
}

/// Shows every entry that was added, removed or changed to `see`, in the order of places.
///
/// # Errors
/// [`CompareError`].
pub fn compare<A: Chunks, B: Chunks>(
    (old, old_chunks): (&Manifest, &A),
    (new, new_chunks): (&Manifest, &B),
    mut see: impl FnMut(Difference<'_>),
) -> Result<(), CompareError<A::Error, B::Error>> {
    for places in differing(old, new).chunks(TOGETHER) {
        let olds: Vec<ChunkRef> = places.iter().flat_map(|at| at.old.clone()).collect();
        let news: Vec<ChunkRef> = places.iter().flat_map(|at| at.new.clone()).collect();
        let mut olds = old_chunks
            .load(&olds)
            .map_err(CompareError::Old)?
            .into_iter();
        let mut news = new_chunks
            .load(&news)
            .map_err(CompareError::New)?
            .into_iter();
        for at in places {
            let before = join(olds.by_ref().take(at.old.len()))?;
            let after = join(news.by_ref().take(at.new.len()))?;
            before.changes(&after).for_each(&mut see);
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
