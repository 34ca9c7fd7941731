//! The tree against a model: a sorted map, and the hash rules of the module head written down as plainly as they can be.

mod cuts;
mod fixtures;
mod histories;
mod partial;
mod proofs;
mod ranges;
mod reads;

use super::{Change, ENTRY_OVERHEAD_BYTES, EntryRef, Op, PLACE_BITS, Place, Totals, Tree};
use crate::hash::{Domain, Hash, StateRoot, hash};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What a tree should hold: key and value by place.
type Model = BTreeMap<Place, (Vec<u8>, Vec<u8>)>;

/// An entry put, or one removed.
type Edit = (Place, Option<(Vec<u8>, Vec<u8>)>);

fn entry_ref<'a>((place, (key, value)): (&Place, &'a (Vec<u8>, Vec<u8>))) -> EntryRef<'a> {
    EntryRef {
        place: *place,
        key,
        value,
    }
}

fn tree_of(model: &Model) -> Tree {
    Tree::build(model.iter().map(entry_ref)).expect("a map is in order")
}

fn change_of(edit: &Edit) -> Change<'_> {
    Change {
        place: edit.0,
        op: match &edit.1 {
            Some((key, value)) => Op::Put { key, value },
            None => Op::Remove,
        },
    }
}

fn apply(tree: &mut Tree, edits: &[Edit]) {
    let batch: Vec<Change<'_>> = edits.iter().map(change_of).collect();
    tree.apply(&batch).expect("small entries");
}

fn apply_to_model(model: &mut Model, edits: &[Edit]) {
    for (place, entry) in edits {
        match entry {
            Some(entry) => model.insert(*place, entry.clone()),
            None => model.remove(place),
        };
    }
}

/// Root and totals by the rules, with nothing clever.
fn reference(model: &Model) -> (StateRoot, Totals) {
    let entries: Vec<EntryRef<'_>> = model.iter().map(entry_ref).collect();
    let (hash, totals) = reference_of(&entries, 0);
    (hash.into(), totals)
}

fn reference_of(entries: &[EntryRef<'_>], from_bit: u16) -> (Hash, Totals) {
    let Some(first) = entries.first() else {
        return (hash(Domain::TreeEmpty, b""), Totals::default());
    };
    if entries.len() == 1 {
        let mut bytes = first.place.0.to_vec();
        for part in [first.key, first.value] {
            bytes.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        }
        bytes.extend(first.key);
        bytes.extend(hash(Domain::TreeValue, first.value).0);
        let totals = Totals {
            entries: 1,
            bytes: (first.key.len() + first.value.len()) as u64 + ENTRY_OVERHEAD_BYTES,
        };
        return (hash(Domain::TreeLeaf, &bytes), totals);
    }
    for bit in from_bit..PLACE_BITS {
        let is_set = |e: &&EntryRef<'_>| e.place.0[usize::from(bit / 8)] & (0x80 >> (bit % 8)) != 0;
        let (right, left): (Vec<_>, Vec<_>) = entries.iter().partition(is_set);
        if left.is_empty() || right.is_empty() {
            continue;
        }
        let mut bytes = bit.to_be_bytes().to_vec();
        let mut sum = Totals::default();
        for half in [left, right] {
            let (hash, totals) = reference_of(&half, bit + 1);
            bytes.extend(hash.0);
            bytes.extend(totals.entries.to_be_bytes());
            bytes.extend(totals.bytes.to_be_bytes());
            sum.entries += totals.entries;
            sum.bytes += totals.bytes;
        }
        return (hash(Domain::TreeInner, &bytes), sum);
    }
    unreachable!("places are different")
}

fn assert_holds(tree: &Tree, model: &Model) {
    assert_eq!((tree.root(), tree.totals()), reference(model));
    assert!(tree.iter().eq(model.iter().map(entry_ref)), "other entries");
    if let Some(top) = tree.top() {
        assert_eq!(top.audit(), Ok(()));
    }
}

/// Places that collide in their first bits, in their last, and in long stretches between: few values in few bytes.
fn place() -> impl Strategy<Value = Place> {
    let few = prop_oneof![Just(0u8), Just(1), Just(0x80), Just(0xff), 0u8..8];
    (few.clone(), few.clone(), few.clone(), few).prop_map(|(a, b, c, d)| {
        let mut place = [0; 32];
        (place[0], place[1], place[15], place[31]) = (a, b, c, d);
        Place(place)
    })
}

/// Bytes mostly small and sometimes more than a page takes.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let of =
        |len: std::ops::Range<usize>| (len, any::<u8>()).prop_map(|(len, fill)| vec![fill; len]);
    prop_oneof![6 => of(0..4), 6 => of(0..150), 1 => of(1500..5000)]
}

fn entry() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (bytes(), bytes())
}

fn model(entries_max: usize) -> impl Strategy<Value = Model> {
    prop::collection::btree_map(place(), entry(), 0..entries_max)
}

/// Puts and removals, the latter about as often as not of something that is there.
fn edits(len_max: usize) -> impl Strategy<Value = Vec<Edit>> {
    let edit = (place(), prop::option::weighted(0.6, entry()));
    prop::collection::vec(edit, 0..len_max)
}

/// A repeatable stream of numbers, for tests too large for proptest.
fn mix(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// An entry whose place is a hash, as in the state.
fn hashed_entry(number: u64, value: u64) -> Edit {
    let key = number.to_be_bytes().to_vec();
    let place = Place(hash(Domain::Place, &key).0);
    (place, Some((key, value.to_be_bytes().repeat(6))))
}
