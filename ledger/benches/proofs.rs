//! What proofs cost, of a tree of records of one space: their bytes, and the time to make and to check them.
//!
//! `cargo bench -p tintype-ledger --bench proofs`. `ENTRIES` (10000,100000,1000000) changes the sizes; `TINTYPE_BENCH_OUT` as for
//! the tree's own benchmark.

#![allow(
    missing_docs,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

use ledger::{
    codec,
    state::tree::{EntryRef, PageLimits, Place, PlaceRange, Proof, RangeProof, Tree},
};
use sha2::{Digest, Sha256};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

#[path = "tree/out.rs"]
mod out;

/// Times that each is made and checked.
const RUNS: usize = 200;

fn place(number: u64) -> Place {
    let mut place: [u8; 32] = Sha256::digest(number.to_be_bytes()).into();
    place[..8].copy_from_slice(&[5, 7, 7, 7, 7, 7, 7, 7]);
    Place(place)
}

fn filled(entries: u64) -> Tree {
    let mut places: Vec<Place> = (0..entries).map(place).collect();
    places.sort_unstable();
    let entries = places.iter().map(|place| EntryRef {
        place: *place,
        key: &place.0,
        value: &[1; 48],
    });
    Tree::build(entries).unwrap_or_default()
}

/// The median of many runs, in microseconds.
fn microseconds(mut run: impl FnMut() -> bool) -> f64 {
    let mut took: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            assert!(run(), "it proves what it should");
            started.elapsed()
        })
        .collect();
    took.sort_unstable();
    took.get(RUNS / 2)
        .copied()
        .unwrap_or_default()
        .as_secs_f64()
        * 1e6
}

/// Tells what a proof costs: its bytes, and microseconds to make and to check it.
fn report(entries: u64, case: &str, bytes: usize, prove: f64, verify: f64) {
    println!(
        "{entries:>10} entries  {case:<14} {bytes:>8} bytes, made in {prove:>8.1} us, checked in {verify:>8.1} us"
    );
    out::append(&format!(
        r#"{{"bench":"proof","entries":{entries},"case":"{case}","bytes":{bytes},"prove_us":{prove:.2},"verify_us":{verify:.2}}}"#
    ));
}

fn one(tree: &Tree, entries: u64) {
    for (name, place) in [("inclusion", place(7)), ("absence", place(u64::MAX))] {
        let proof = tree.prove(&place);
        let bytes = codec::encode(&proof);
        let prove = microseconds(|| black_box(tree.prove(black_box(&place))) == proof);
        let verify = microseconds(|| {
            let proof: Result<Proof, _> = codec::decode(black_box(&bytes), 1 << 20);
            proof.is_ok_and(|p| p.verify(tree.root(), &place).is_ok())
        });
        report(entries, name, bytes.len(), prove, verify);
    }
}

fn ranges(tree: &Tree, entries: u64) {
    for (name, length) in [
        ("range of 1", 1),
        ("range of 100", 100),
        ("range of 1000", 1_000),
    ] {
        let range = PlaceRange {
            from: place(7),
            ..PlaceRange::ALL
        };
        let limits = PageLimits {
            entries: length,
            bytes: u64::MAX,
        };
        let bytes = codec::encode(&tree.prove_range(range, limits));
        let prove = microseconds(|| {
            black_box(tree.prove_range(black_box(range), limits));
            true
        });
        let verify = microseconds(|| {
            let proof: Result<RangeProof, _> = codec::decode(black_box(&bytes), 4 << 20);
            proof.is_ok_and(|p| p.verify(tree.root(), range).is_ok())
        });
        report(entries, name, bytes.len(), prove, verify);
    }
}

fn main() {
    out::each_size("10000,100000,1000000", |entries| {
        let tree = filled(entries);
        one(&tree, entries);
        ranges(&tree, entries);
    });
}
