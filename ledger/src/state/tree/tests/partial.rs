//! A tree that is held in part proves what the whole one proves, or says that it cannot.

use super::*;
use crate::state::tree::{NotHeld, PageLimits, Part, PartialTree, PlaceRange, Prefix, Subtree};

const NO_LIMITS: PageLimits = PageLimits {
    entries: u64::MAX,
    bytes: u64::MAX,
};

fn cut(tree: &Tree, bytes_max: u64) -> (Vec<Part>, Vec<Subtree>) {
    let subtrees = tree.cut(bytes_max);
    (subtrees.iter().map(Subtree::part).collect(), subtrees)
}

fn holding(subtrees: &[Subtree], held: impl Fn(usize) -> bool) -> PartialTree {
    let parts = subtrees.iter().map(Subtree::part).collect();
    let kept = subtrees
        .iter()
        .enumerate()
        .filter(|(index, _)| held(*index));
    let kept: Vec<Subtree> = kept.map(|(_, subtree)| subtree.clone()).collect();
    PartialTree::new(parts, &Tree::join(&kept).unwrap()).unwrap()
}

fn range_of((a, b): (Place, Place)) -> PlaceRange {
    PlaceRange {
        from: a.min(b),
        to: a.max(b),
    }
}

proptest! {
    /// Whatever is held: what is read and proven is what the whole tree has, and anything else is refused.
    #[test]
    fn what_is_not_held_is_never_taken_for_absent(
        model in model(60),
        bytes_max in 10u64..400,
        mask: u64,
        places in prop::collection::vec(place(), 8),
        ends in (place(), place()),
    ) {
        let tree = tree_of(&model);
        let (parts, subtrees) = cut(&tree, bytes_max);
        let partial = holding(&subtrees, |index| mask >> (index % 64) & 1 == 1);
        prop_assert_eq!(partial.root(), tree.root());
        for place in places.iter().chain(model.keys()) {
            let needed = PartialTree::towards(&parts, place);
            let held = needed.is_none_or(|index| mask >> (index % 64) & 1 == 1);
            prop_assert_eq!(partial.prove(place).ok(), held.then(|| tree.prove(place)));
            prop_assert_eq!(partial.get(place).ok(), held.then(|| tree.get(place)));
        }
        let range = range_of(ends);
        if let Ok(proof) = partial.prove_range(range, NO_LIMITS) {
            prop_assert_eq!(proof, tree.prove_range(range, NO_LIMITS));
        }
        for part in &parts {
            let prefix = Prefix::of(part.prefix.bits(), part.prefix.bit_count().saturating_sub(2));
            if let Ok(found) = partial.subtree(&prefix) {
                let whole = tree.subtree(&prefix);
                prop_assert_eq!(found.map(|s| s.part()), whole.map(|s| s.part()));
            }
        }
    }

    /// The parts around a range are enough to prove all of it, page by page, and one fewer on either side is not.
    #[test]
    fn the_parts_around_a_range_prove_it(model in model(60), bytes_max in 10u64..400, ends in (place(), place()), entries in 1u64..9) {
        let tree = tree_of(&model);
        let (parts, subtrees) = cut(&tree, bytes_max);
        let range = range_of(ends);
        let needed = PartialTree::around(&parts, range);
        let partial = holding(&subtrees, |index| needed.contains(&index));
        let limits = PageLimits { entries, bytes: u64::MAX };
        for limits in [NO_LIMITS, limits] {
            let proof = partial.prove_range(range, limits);
            prop_assert_eq!(proof, Ok(tree.prove_range(range, limits)));
        }
        let shown = tree.prove_range(range, NO_LIMITS);
        prop_assert!(shown.verify(tree.root(), range).is_ok());
    }

    #[test]
    fn a_whole_tree_is_held_whole(model in model(40), places in prop::collection::vec(place(), 8), ends in (place(), place())) {
        let tree = tree_of(&model);
        let whole = PartialTree::from(tree.clone());
        prop_assert_eq!(whole.root(), tree.root());
        prop_assert_eq!(whole.held_totals(), tree.totals());
        for place in places.iter().chain(model.keys()) {
            prop_assert_eq!(whole.get(place), Ok(tree.get(place)));
            prop_assert_eq!(whole.prove(place), Ok(tree.prove(place)));
        }
        let range = range_of(ends);
        prop_assert_eq!(whole.prove_range(range, NO_LIMITS), Ok(tree.prove_range(range, NO_LIMITS)));
    }
}

/// The neighbours of a range are needed: without one of them nothing is shown, rather than less.
#[test]
fn a_range_without_a_neighbour_is_not_proven() {
    let model: Model = (0..64u8)
        .map(|n| (Place([n; 32]), (vec![n], vec![n; 40])))
        .collect();
    let tree = tree_of(&model);
    let (parts, subtrees) = cut(&tree, 100);
    let range = PlaceRange {
        from: Place([20; 32]),
        to: Place([29; 32]),
    };
    let needed = PartialTree::around(&parts, range);
    let all = holding(&subtrees, |index| needed.contains(&index));
    assert!(all.prove_range(range, NO_LIMITS).is_ok());
    for missing in [needed.start, needed.end - 1] {
        let less = holding(&subtrees, |index| {
            needed.contains(&index) && index != missing
        });
        let prefix = parts[missing].prefix;
        assert_eq!(less.prove_range(range, NO_LIMITS), Err(NotHeld(prefix)));
    }
}

/// Another state's entries under a part's prefix are not taken for the part's.
#[test]
fn only_the_very_part_is_held() {
    let mut model: Model = (0..64u8)
        .map(|n| (Place([n; 32]), (vec![n], vec![n; 40])))
        .collect();
    let (parts, _) = cut(&tree_of(&model), 100);
    model.insert(Place([20; 32]), (vec![20], vec![1; 40]));
    let partial = PartialTree::new(parts.clone(), &tree_of(&model)).unwrap();
    assert!(partial.get(&Place([20; 32])).is_err());
    assert!(partial.get(&Place([60; 32])).unwrap().is_some());
    let mut swapped = parts;
    swapped.swap(0, 1);
    assert!(PartialTree::new(swapped, &tree_of(&model)).is_err());
}
