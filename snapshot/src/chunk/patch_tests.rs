//! A patch leads from one chunk to the other, alone or in a chain, or is refused.

use super::*;
use crate::{
    chunk::{self, encode as encode_whole},
    fixtures::{CUT, Random, tree, tree_of},
};
use proptest::prelude::*;

/// The chunks of a state.
fn cut(tree: &Tree) -> Vec<Subtree> {
    tree.cut(CUT)
}

/// For each chunk of `new` that lies within one of `old`: that one, what of it was below the new one's prefix, and the new.
fn pairs(old: &Tree, new: &Tree) -> Vec<(Subtree, Subtree, Subtree)> {
    let olds = cut(old);
    let base = |new: &Subtree| {
        let within = |old: &&Subtree| old.prefix().covers(&new.prefix());
        olds.iter().find(within).cloned()
    };
    let news = cut(new).into_iter();
    news.filter_map(|new| {
        let base = base(&new)?;
        let below = Tree::from(base.clone()).subtree(&new.prefix())?;
        Some((base, below, new))
    })
    .collect()
}

fn patch(base: &Subtree, below: &Subtree, new: &Subtree) -> Vec<u8> {
    let id = ChunkId(base.hash());
    encode(id, below, new, BYTES_MAX).unwrap().unwrap()
}

/// Two small versions that differ.
fn two() -> (Tree, Tree) {
    let values = |last: u8| tree_of(&[vec![1; 20], vec![2; 30], vec![], vec![last; 9]]);
    (values(3), values(4))
}

#[test]
fn a_patch_gives_the_new_chunk_from_the_old_one_however_they_are_cut() {
    for (old, new) in [(100, 100), (100, 260), (260, 240), (100, 101)] {
        let (old, new) = (tree(old, 1), tree(new, 2));
        let pairs = pairs(&old, &new);
        assert!(!pairs.is_empty());
        for (base, below, new) in pairs {
            let bytes = patch(&base, &below, &new);
            let chunk = ChunkRef::from(&new);
            assert_eq!(base_of(&bytes), Some(ChunkId(base.hash())));
            let verified = verify_on(&base, &bytes, &chunk, BYTES_MAX).unwrap();
            assert_eq!(verified.id(), chunk.id());
            let whole = encode_whole(&base).unwrap();
            let chained = verify_chain(&whole, &[bytes], &chunk, BYTES_MAX).unwrap();
            assert!(chained.subtree().iter().eq(new.iter()));
        }
    }
}

#[test]
fn a_patch_costs_what_changed() {
    let values = |changed: usize| {
        let value = |i: usize| vec![if i < changed { 9 } else { 7 }; 50];
        tree_of(&(0..2_000).map(value).collect::<Vec<_>>())
    };
    let (old, new) = (values(0), values(20));
    let (old, new) = (old.top().unwrap(), new.top().unwrap());
    let bytes = encode(ChunkId(old.hash()), old, new, BYTES_MAX).unwrap();
    let bytes = bytes.unwrap().len();
    assert!(bytes < 20 * 100, "{bytes}");
    let plain_max = 4 + 20 * 60;
    assert_eq!(
        encode(ChunkId(old.hash()), old, new, plain_max).unwrap(),
        None,
        "what would take more is left to a whole chunk"
    );
}

#[test]
fn a_patch_on_another_chunk_or_of_another_form_is_refused() {
    let (a, b) = two();
    let (a, b) = (a.top().unwrap(), b.top().unwrap());
    let (bytes, chunk) = (patch(a, a, b), ChunkRef::from(b));
    let other = verify_on(b, &bytes, &chunk, BYTES_MAX).unwrap_err();
    assert!(matches!(other, ChunkError::OtherBase { .. }), "{other}");
    let whole = encode_whole(b).unwrap();
    let form = verify_on(a, &whole, &chunk, BYTES_MAX).unwrap_err();
    assert_eq!(form, ChunkError::Form(1));
    assert_eq!(
        chunk::verify(&bytes, &chunk).unwrap_err(),
        ChunkError::Form(2)
    );
    assert_eq!(base_of(&whole), None);
    let promise = verify_on(a, &bytes, &chunk, 3).unwrap_err();
    assert!(matches!(promise, ChunkError::Promise { .. }), "{promise}");
}

/// Flips each bit of each byte, and cuts at each.
#[test]
fn a_changed_byte_is_refused_or_changes_nothing() {
    let (a, b) = two();
    let (a, b) = (a.top().unwrap(), b.top().unwrap());
    let (good, chunk) = (patch(a, a, b), ChunkRef::from(b));
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            if let Ok(read) = verify_on(a, &bad, &chunk, chunk.bytes) {
                assert_eq!(read.id(), chunk.id());
            }
        }
        assert!(
            verify_on(a, &good[..at], &chunk, chunk.bytes).is_err(),
            "{at}"
        );
    }
}

proptest! {
    /// However many patches there are between two versions, one that is composed of them does the same.
    #[test]
    fn a_chain_and_what_is_composed_of_it_give_the_newest(seeds in prop::collection::vec(0..1_000_u64, 1..6), count in 5..40_usize) {
        let mut random = Random::new(seeds[0]);
        let versions: Vec<Tree> = seeds.iter().map(|seed| tree(count + random.below(9) as usize, *seed)).collect();
        let first = versions[0].top().unwrap().clone();
        let mut newest_first: Vec<Vec<u8>> = Vec::new();
        let mut last = first.clone();
        for version in &versions[1..] {
            let next = version.top().unwrap().clone();
            let id = ChunkId(last.hash());
            newest_first.insert(0, encode(id, &last, &next, BYTES_MAX).unwrap().unwrap());
            last = next;
        }
        let chunk = ChunkRef::from(&last);
        let whole = encode_whole(&first).unwrap();
        let chained = verify_chain(&whole, &newest_first, &chunk, BYTES_MAX).unwrap();
        prop_assert!(chained.subtree().iter().eq(last.iter()));
        if let Some(one) = compose(&newest_first, BYTES_MAX).unwrap() {
            prop_assert_eq!(base_of(&one), Some(ChunkId(first.hash())));
            let verified = verify_on(&first, &one, &chunk, BYTES_MAX).unwrap();
            prop_assert!(verified.subtree().iter().eq(last.iter()));
        } else {
            prop_assert!(newest_first.is_empty());
        }
    }

    #[test]
    fn bytes_of_anybody_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), form in 0..3_u8) {
        let tree = tree(12, 1);
        let top = tree.top().unwrap();
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = form;
        }
        prop_assert!(verify_on(top, &bytes, &ChunkRef::from(top), BYTES_MAX).is_err());
        prop_assert!(compose(&[bytes.clone(), bytes], BYTES_MAX).is_err());
    }
}
