//! The measurements of the state tree, for its own benchmark and for the one beside other trees.

use crate::report::{Rounds, number, resident_bytes, size};
use crate::workload::{Random, Value, keys};
use ledger::state::tree::{Change, EntryRef, Op, Place, Tree};
use std::collections::VecDeque;
use std::hint::black_box;

/// Versions that a node keeps for queries.
const ROOTS_LIVE: usize = 8;

/// The tree of so many entries, with what it occupies of memory.
pub fn filled(entries: u64) -> (Tree, u64) {
    let keys = keys(entries);
    let before = resident_bytes();
    let tree = Tree::build(keys.iter().map(|key| EntryRef {
        place: Place(*key),
        key,
        value: &[1; 48],
    }));
    let tree = tree.unwrap_or_else(|error| panic!("{error}"));
    (tree, resident_bytes().saturating_sub(before))
}

/// Updates as the tree takes them.
pub fn changes(updates: &[([u8; 32], Value)]) -> Vec<Change<'_>> {
    updates
        .iter()
        .map(|(key, value)| Change {
            place: Place(*key),
            op: Op::Put { key, value },
        })
        .collect()
}

/// Batches on a tree that is also held as it was at first, and on one whose last versions are held too; and what it costs to
/// let go of the oldest of those. Returns updates a second with the one snapshot held.
pub fn apply(entries: u64) -> f64 {
    let (batch, rounds) = (size("BATCH", 10_000), size("ROUNDS", 5));
    let (start, bytes) = filled(entries);
    number(
        "tree",
        entries,
        "memory",
        "bytes_per_entry",
        bytes as f64 / entries as f64,
    );
    let mut random = Random(12345);
    let batches = random.batches(batch as usize, entries);
    let batches: Vec<_> = batches.iter().map(|updates| changes(updates)).collect();
    let mut held = 0.0;
    for (case, live) in [("held", 0), ("roots8", ROOTS_LIVE)] {
        if std::env::var("CASE").is_ok_and(|wanted| wanted != case) {
            continue;
        }
        let (mut applied, mut dropped) = (Rounds::default(), Rounds::default());
        for round in 0..=rounds {
            // The first one warms up.
            if round == 1 {
                (applied, dropped) = Default::default();
            }
            applied.restart();
            dropped.restart();
            let (mut tree, mut roots) = (start.clone(), VecDeque::new());
            for changes in &batches {
                let done = applied.measure(|| tree.apply(changes));
                black_box(done.is_ok());
                if live > 0 {
                    roots.push_back(tree.clone());
                }
                if roots.len() > live {
                    dropped.measure(|| drop(roots.pop_front()));
                }
            }
            black_box(tree.root());
        }
        let updates = applied.report("tree", entries, case, ("updates", batch));
        if live == 0 {
            held = updates;
        } else {
            dropped.report("tree", entries, "let_go", ("updates", batch));
        }
    }
    black_box(start.root());
    held
}
