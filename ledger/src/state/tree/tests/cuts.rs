//! Cutting into parts, checking the parts without their entries, and putting the tree together again from them.

use super::*;
use crate::state::tree::{FoldError, JoinError, Part, Prefix, Subtree, fold, fold_cut};

/// Sizes from less than any entry to more than any tree.
fn bytes_max() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..64, 64u64..2_000, 2_000u64..20_000, Just(u64::MAX)]
}

fn parts_of(subtrees: &[Subtree]) -> Vec<Part> {
    subtrees.iter().map(Subtree::part).collect()
}

proptest! {
    /// cut -> fold, build each alone, join: the root and the nodes of the first tree.
    #[test]
    fn a_cut_tree_comes_together_again(model in model(100), bytes_max in bytes_max()) {
        let tree = tree_of(&model);
        let cut = tree.cut(bytes_max);
        let parts = parts_of(&cut);
        for folded in [fold(&parts), fold_cut(&parts, bytes_max)] {
            let folded = folded.unwrap();
            prop_assert_eq!((folded.root, folded.totals), (tree.root(), tree.totals()));
        }
        for part in &parts {
            prop_assert!(part.totals.bytes <= bytes_max || part.totals.entries == 1);
        }
        let mut rebuilt = Vec::new();
        for subtree in &cut {
            let alone = Tree::build(subtree.iter()).unwrap();
            prop_assert_eq!(alone.top().map(Subtree::part), Some(subtree.part()));
            prop_assert_eq!(subtree.audit(), Ok(()));
            rebuilt.extend(alone.top().cloned());
        }
        for subtrees in [cut, rebuilt] {
            assert_holds(&Tree::join(&subtrees).unwrap(), &model);
        }
    }

    /// Another limit's cut passes only where it is the same cut.
    #[test]
    fn the_cut_of_another_limit_is_refused(model in model(60), a in bytes_max(), b in bytes_max()) {
        let tree = tree_of(&model);
        let (parts, other) = (parts_of(&tree.cut(a)), parts_of(&tree.cut(b)));
        prop_assert_eq!(fold(&parts).unwrap().root, tree.root());
        prop_assert_eq!(fold_cut(&parts, b).is_ok(), parts == other);
    }

    /// Parts dropped, repeated, swapped, or with one number changed do not fold to the root.
    #[test]
    fn other_parts_do_not_fold_to_the_root(
        model in model(60),
        at in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        kind in 0..7,
    ) {
        let tree = tree_of(&model);
        let mut parts = parts_of(&tree.cut(300));
        prop_assume!(parts.len() > 1);
        let (at, other) = (at.index(parts.len()), other.index(parts.len()));
        match kind {
            0 => { parts.remove(at); }
            1 => parts.insert(at, parts[at]),
            2 => { prop_assume!(at != other); parts.swap(at, other); }
            3 => parts[at].totals.entries += 1,
            4 => parts[at].totals.bytes = parts[at].totals.bytes.wrapping_sub(1),
            5 => parts[at].totals.bytes = u64::MAX,
            _ => parts[at].hash.0[other % 32] ^= 1,
        }
        let root = fold(&parts).map(|folded| folded.root);
        prop_assert_ne!(root, Ok(tree.root()));
    }

    /// Subtrees that overlap or are out of order are no tree.
    #[test]
    fn only_ordered_subtrees_join(model in model(40), at in any::<prop::sample::Index>()) {
        let tree = tree_of(&model);
        let mut cut = tree.cut(300);
        prop_assume!(cut.len() > 1);
        let at = at.index(cut.len() - 1);
        cut.swap(at, at + 1);
        let prefix = cut[at + 1].prefix();
        prop_assert_eq!(Tree::join(&cut).map(|t| t.root()), Err(JoinError::Order(prefix)));
        cut[at + 1] = cut[at].clone();
        cut.truncate(at + 2);
        prop_assert!(Tree::join(&cut).is_err());
        let whole = tree.top().cloned().unwrap();
        prop_assert!(Tree::join(&[whole, cut[at].clone()]).is_err());
    }
}

/// Each way in which a part alone is impossible.
#[test]
fn impossible_parts_are_refused() {
    let part = |len: u16, entries, bytes| Part {
        prefix: Prefix::of(&Place([0xaa; 32]), len),
        hash: Hash([1; 32]),
        totals: Totals { entries, bytes },
    };
    for bad in [
        part(10, 0, 0),
        part(10, 1, 100),
        part(256, 2, 100),
        part(10, 2, 15),
        part(10, u64::MAX, 100),
    ] {
        let (prefix, totals) = (bad.prefix, bad.totals);
        assert_eq!(fold(&[bad]), Err(FoldError::Totals { prefix, totals }));
    }
    let huge = part(10, 2, u64::MAX);
    let next = Part {
        prefix: Prefix::of(&Place([0xff; 32]), 10),
        ..huge
    };
    assert_eq!(fold(&[huge, next]), Err(FoldError::Overflow));
    let inside = Part {
        prefix: Prefix::of(&Place([0xaa; 32]), 12),
        ..huge
    };
    let order = |prefix| Err(FoldError::Order(prefix));
    assert_eq!(fold(&[huge, inside]), order(inside.prefix));
    assert_eq!(fold(&[inside, huge]), order(huge.prefix));
    assert_eq!(fold(&[next, huge]), order(huge.prefix));
}

/// Entries out of order, or two at one place, are refused.
#[test]
fn only_rising_places_build() {
    use crate::state::tree::BuildError;
    let entry = |n: u8| EntryRef {
        place: Place([n; 32]),
        key: &[],
        value: &[],
    };
    for entries in [[entry(1), entry(1)], [entry(2), entry(1)]] {
        let built = Tree::build(entries).map(|tree| tree.root());
        assert_eq!(built, Err(BuildError::Order(entries[1].place)));
    }
}
