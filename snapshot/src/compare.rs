//! What differs between two snapshots, chunk by chunk.
//!
//! Chunks that both have are passed over; of the others only those that lie in the same place are held against each other.
//! So the time follows the difference, and memory is that of a few chunks, whatever the size of the states.

use crate::{
    chunk::VerifiedChunk,
    manifest::{ChunkRef, Manifest},
};
use ledger::state::tree::{Difference, JoinError, Tree};
use std::collections::BTreeSet;

/// Parts whose chunks are asked for at once.
const TOGETHER: usize = 16;

/// A part of the state where two snapshots have different chunks. Either side may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differing {
    /// The older one's chunks there.
    pub old: Vec<ChunkRef>,
    /// The newer one's.
    pub new: Vec<ChunkRef>,
}

/// The parts where two snapshots have different chunks, in the order of places. Looks at manifests alone.
pub fn differing(old: &Manifest, new: &Manifest) -> Vec<Differing> {
    let ids = |m: &Manifest| m.chunk_ids().collect::<BTreeSet<_>>();
    let (in_old, in_new) = (ids(old), ids(new));
    let of_old = old.chunks().iter().filter(|c| !in_new.contains(&c.id()));
    let of_new = new.chunks().iter().filter(|c| !in_old.contains(&c.id()));
    let mut sides: Vec<(bool, ChunkRef)> = of_old
        .map(|c| (false, *c))
        .chain(of_new.map(|c| (true, *c)))
        .collect();
    // A prefix comes before those that it covers.
    sides.sort_by_key(|(_, c)| (*c.prefix.bits(), c.prefix.bit_count()));
    let mut parts: Vec<Differing> = Vec::new();
    let mut covering = None;
    for (is_new, chunk) in sides {
        let covered = covering
            .is_some_and(|prefix: ledger::state::tree::Prefix| prefix.covers(&chunk.prefix));
        if !covered {
            covering = Some(chunk.prefix);
            parts.push(Differing::default());
        }
        if let Some(part) = parts.last_mut() {
            let side = if is_new { &mut part.new } else { &mut part.old };
            side.push(chunk);
        }
    }
    parts
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
    for parts in differing(old, new).chunks(TOGETHER) {
        let olds: Vec<ChunkRef> = parts.iter().flat_map(|part| part.old.clone()).collect();
        let news: Vec<ChunkRef> = parts.iter().flat_map(|part| part.new.clone()).collect();
        let mut olds = old_chunks
            .load(&olds)
            .map_err(CompareError::Old)?
            .into_iter();
        let mut news = new_chunks
            .load(&news)
            .map_err(CompareError::New)?
            .into_iter();
        for part in parts {
            let before = join(olds.by_ref().take(part.old.len()))?;
            let after = join(news.by_ref().take(part.new.len()))?;
            before.changes(&after).for_each(&mut see);
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
