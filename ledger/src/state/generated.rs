//! The records that a genesis generates: made part by part on all cores, and never all laid out beside the tree.
//!
//! A record's place follows from the hash of its key, so the first bits of it part the records into groups of about equal
//! size, each of which is one subtree. First every record's group is found and the numbers are sorted by it (16 bytes a
//! record); then each group's records are made, built into their subtree and forgotten; at last the subtrees are joined.
//! The tree is the one that any other way of putting in these records gives.
//!
//! Cost: seven hashes a record, over all cores. Memory: the tree, the numbers, and a group a thread.

use super::{
    encoded,
    entries::{Key, Record},
    tree::{BuildError, EntryRef, Place, Subtree, Tree},
};
use crate::{
    genesis::{Generated, GenesisError},
    hash::Address,
    units::{Height, Version},
};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// About so many records are made at once: some megabytes.
const GROUP_RECORDS: u64 = 16 << 10;

/// The tree of all records that `generated` stands for, written by `writer` at height 0.
pub(super) fn tree(generated: Generated, writer: Address) -> Result<Tree, GenesisError> {
    let mut numbered: Vec<(u64, u64)> = (0..generated.count)
        .into_par_iter()
        .map(|number| (spread(&place(&generated, number)), number))
        .collect();
    numbered.par_sort_unstable();
    let bits = (generated.count / GROUP_RECORDS).checked_ilog2();
    let group = |spread: u64| bits.map_or(0, |bits| spread.checked_shr(64 - bits).unwrap_or(0));
    let groups: Vec<&[(u64, u64)]> = numbered
        .chunk_by(|(a, _), (b, _)| group(*a) == group(*b))
        .collect();
    let subtrees = groups
        .into_par_iter()
        .map(|group| subtree(&generated, writer, group))
        .collect::<Result<Vec<Option<Subtree>>, BuildError>>()
        .map_err(|_| GenesisError::GeneratedTwice)?;
    drop(numbered);
    let subtrees: Vec<Subtree> = subtrees.into_iter().flatten().collect();
    Tree::join(&subtrees).map_err(|_| GenesisError::GeneratedTwice)
}

/// The subtree of one group.
fn subtree(
    generated: &Generated,
    writer: Address,
    group: &[(u64, u64)],
) -> Result<Option<Subtree>, BuildError> {
    let mut records: Vec<(Place, Vec<u8>, Vec<u8>)> = group
        .iter()
        .map(|(_, number)| record(generated, writer, *number))
        .collect();
    // They are in order already unless two places have 64 bits in common.
    records.sort_unstable_by_key(|(place, ..)| *place);
    let entries = records.iter().map(|(place, key, value)| EntryRef {
        place: *place,
        key,
        value,
    });
    Ok(Tree::build(entries)?.top().cloned())
}

fn record(generated: &Generated, writer: Address, number: u64) -> (Place, Vec<u8>, Vec<u8>) {
    let name = (
        Generated::SPACE.to_owned(),
        generated.key(number).into_bytes(),
    );
    let record = Record {
        value: generated.value(number).to_vec(),
        // As if they had been written one after the other: the space's change counter stands at the last one.
        version: Version(number.saturating_add(1)),
        writer,
        written_at: Height::GENESIS,
    };
    encoded(&name, &record)
}

fn place(generated: &Generated, number: u64) -> Place {
    let (space, key) = (
        Generated::SPACE.to_owned(),
        generated.key(number).into_bytes(),
    );
    Key::Record { space, key }.place()
}

/// The bits after those that all records of the space have: their order is that of the places.
fn spread(place: &Place) -> u64 {
    let (_, hash) = place.0.split_at(8);
    hash.first_chunk()
        .map_or(0, |bits| u64::from_be_bytes(*bits))
}
