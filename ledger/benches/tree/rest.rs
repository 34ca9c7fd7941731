//! What else the tree does: being built, compared, read, cut and put together again, and proofs.

use crate::measure::{changes, filled};
use crate::report::{Rounds, size};
use crate::workload::{Random, key};
use ledger::state::tree::{Place, Subtree, Tree, fold_cut};
use std::hint::black_box;

/// The design's chunk.
const CHUNK_BYTES_MAX: u64 = 256 * 1024;
/// Reads and proofs that one round makes.
const READS: u64 = 10_000;

/// Measures all of it on a tree of so many entries.
pub fn measure(entries: u64) {
    let (old, _) = filled(entries);
    let mut new = old.clone();
    let batch = size("BATCH", 10_000);
    let updates = Random(54321).updates(batch as usize, entries);
    black_box(new.apply(&changes(&updates)).is_ok());
    let rounds = if entries > 1_000_000 { 1 } else { 5 };
    let run = |case: &str, things: (&str, u64), round: &dyn Fn() -> usize| {
        let mut measured = Rounds::default();
        for _ in 0..rounds {
            measured.restart();
            black_box(measured.measure(round));
        }
        measured.report("tree", entries, case, things);
    };
    let all = ("entries", entries);
    run("build", all, &|| Tree::build(old.iter()).iter().count());
    run("changes", ("updates", batch), &|| old.changes(&new).count());
    run("iterate", all, &|| old.iter().count());
    let cut = old.cut(CHUNK_BYTES_MAX);
    run("cut", all, &|| old.cut(CHUNK_BYTES_MAX).len());
    let parts: Vec<_> = cut.iter().map(Subtree::part).collect();
    run("fold", all, &|| {
        usize::from(fold_cut(&parts, CHUNK_BYTES_MAX).is_ok())
    });
    run("join", all, &|| usize::from(Tree::join(&cut).is_ok()));
    let places: Vec<Place> = {
        let mut random = Random(1);
        (0..READS)
            .map(|_| Place(key(random.number() % entries)))
            .collect()
    };
    run("get", ("reads", READS), &|| {
        places
            .iter()
            .filter(|place| old.get(place).is_some())
            .count()
    });
    run("prove", ("proofs", READS), &|| {
        let verified = places.iter().map(|place| {
            let proof = old.prove(place);
            proof.verify(old.root(), place).is_ok()
        });
        verified.filter(|ok| *ok).count()
    });
}
