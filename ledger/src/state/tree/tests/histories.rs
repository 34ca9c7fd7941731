//! Whatever the order, the batches, the threads, the versions held and the detours: one content, one root.

use super::*;

proptest! {
    /// Batches over a shared and an unshared tree, held against the model after each; versions held do not change.
    #[test]
    fn a_history_of_batches_gives_the_root_of_its_content(
        start in model(60),
        batches in prop::collection::vec((edits(40), any::<bool>()), 0..8),
    ) {
        let (mut model, mut tree) = (start.clone(), tree_of(&start));
        assert_holds(&tree, &model);
        let mut held: Vec<(Tree, Model)> = Vec::new();
        for (edits, hold) in &batches {
            if *hold {
                held.push((tree.clone(), model.clone()));
            }
            apply(&mut tree, edits);
            apply_to_model(&mut model, edits);
            assert_holds(&tree, &model);
        }
        for (tree, model) in &held {
            assert_holds(tree, model);
        }
    }

    /// The same entries put one by one, in any order.
    #[test]
    fn the_order_of_insertion_does_not_matter(
        edits in prop::collection::btree_map(place(), entry(), 0..80)
            .prop_map(|m| m.into_iter().map(|(p, e)| (p, Some(e))).collect::<Vec<Edit>>())
            .prop_shuffle(),
    ) {
        let mut tree = Tree::default();
        for edit in &edits {
            apply(&mut tree, std::slice::from_ref(edit));
        }
        assert_holds(&tree, &edits.iter().map(|(p, e)| (*p, e.clone().unwrap())).collect());
    }

    /// A detour and back: what was removed again leaves no trace.
    #[test]
    fn what_is_undone_leaves_no_trace(start in model(60), detour in edits(60)) {
        let mut tree = tree_of(&start);
        apply(&mut tree, &detour);
        let back: Vec<Edit> = detour.iter().map(|(p, _)| (*p, start.get(p).cloned())).collect();
        apply(&mut tree, &back);
        assert_holds(&tree, &start);
    }

    /// Putting what is there and removing what is not copies nothing.
    #[test]
    fn a_batch_that_changes_nothing_shares_everything(start in model(60), places in prop::collection::vec(place(), 0..60)) {
        let before = tree_of(&start);
        let mut tree = before.clone();
        let edits: Vec<Edit> = places.iter().map(|p| (*p, start.get(p).cloned())).collect();
        apply(&mut tree, &edits);
        match (before.top(), tree.top()) {
            (Some(a), Some(b)) => prop_assert!(a.same_node(b)),
            (a, b) => prop_assert!(a.is_none() && b.is_none()),
        }
    }
}

/// Enough entries and changes that every parallel path is taken, on one thread and on many.
#[test]
fn threads_do_not_matter() {
    let entries: Vec<Edit> = (0..20_000).map(|i| hashed_entry(i, i)).collect();
    let changes: Vec<Edit> = (0..12_000)
        .map(|i| (mix(i), mix(i) % 25_000))
        .map(|(random, number)| match random >> 60 {
            0..4 => (hashed_entry(number, 0).0, None),
            _ => hashed_entry(number, random),
        })
        .collect();
    let mut model = Model::new();
    apply_to_model(&mut model, &entries);
    apply_to_model(&mut model, &changes);
    for threads in [1, 4] {
        for batch in [997, 20_000] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let tree = pool.build().unwrap().install(|| {
                let mut tree = Tree::default();
                for batch in entries.chunks(batch).chain(changes.chunks(batch)) {
                    apply(&mut tree, batch);
                }
                tree
            });
            assert_holds(&tree, &model);
        }
    }
}

/// A key and a value at their limits are taken, one byte more is refused, and then nothing of the batch is applied.
#[test]
fn entries_too_large_are_refused_whole() {
    use crate::state::tree::{BuildError, KEY_BYTES_MAX, TooLarge, VALUE_BYTES_MAX};
    let place = |n| Place([n; 32]);
    let largest = (vec![1; KEY_BYTES_MAX], vec![2; VALUE_BYTES_MAX]);
    let mut tree = Tree::default();
    apply(&mut tree, &[(place(1), Some(largest.clone()))]);
    assert_holds(&tree, &Model::from([(place(1), largest)]));

    let root = tree.root();
    for (key, value) in [(KEY_BYTES_MAX + 1, 0), (0, VALUE_BYTES_MAX + 1)] {
        let edits = [
            (place(2), Some((vec![], vec![]))),
            (place(3), Some((vec![0; key], vec![0; value]))),
        ];
        let error = TooLarge {
            place: place(3),
            key_bytes: key as u64,
            value_bytes: value as u64,
        };
        let batch: Vec<Change<'_>> = edits.iter().map(change_of).collect();
        assert_eq!(tree.apply(&batch), Err(error));
        assert_eq!(tree.root(), root);
        let entries = batch.iter().filter_map(|change| match change.op {
            Op::Put { key, value } => Some(EntryRef {
                place: change.place,
                key,
                value,
            }),
            Op::Remove => None,
        });
        let built = Tree::build(entries).map(|tree| tree.root());
        assert_eq!(built, Err(BuildError::TooLarge(error)));
    }
}

/// Several changes to one place in one batch: the last counts.
#[test]
fn the_last_change_of_a_place_counts() {
    let place = Place([7; 32]);
    let put = |n: u8| (place, Some((vec![n], vec![n])));
    let mut tree = Tree::default();
    apply(&mut tree, &[put(1), (place, None), put(2), put(3)]);
    assert_holds(&tree, &Model::from([(place, (vec![3], vec![3]))]));
    apply(&mut tree, &[put(4), (place, None)]);
    assert_holds(&tree, &Model::new());
}
