//! What proofs cost, of a tree of records of one space: their bytes, and the time to make and to check them.
//!
//! `cargo bench -p tintype-ledger --bench proofs`. `ENTRIES` (1,000,000) changes the size.

use criterion::{Criterion, criterion_group, criterion_main};
use ledger::{
    codec,
    state::tree::{EntryRef, PageLimits, Place, PlaceRange, Proof, RangeProof, Tree},
};
use sha2::{Digest, Sha256};
use std::hint::black_box;

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

fn one(c: &mut Criterion, tree: &Tree) {
    let (there, absent) = (place(7), place(u64::MAX));
    for (name, place) in [("inclusion", there), ("absence", absent)] {
        let bytes = codec::encode(&tree.prove(&place));
        let mut group = c.benchmark_group(format!("{name} ({} bytes)", bytes.len()));
        group.bench_function("prove", |b| b.iter(|| tree.prove(black_box(&place))));
        group.bench_function("decode and verify", |b| {
            b.iter(|| {
                let proof: Result<Proof, _> = codec::decode(black_box(&bytes), 1 << 20);
                let proven = proof.map(|p| p.verify(tree.root(), &place).is_ok());
                assert!(proven.is_ok_and(|proven| proven));
            });
        });
        group.finish();
    }
}

fn ranges(c: &mut Criterion, tree: &Tree) {
    for entries in [1, 100, 1_000] {
        let range = PlaceRange {
            from: place(7),
            ..PlaceRange::ALL
        };
        let limits = PageLimits {
            entries,
            bytes: u64::MAX,
        };
        let bytes = codec::encode(&tree.prove_range(range, limits));
        let name = format!("range of {entries} ({} bytes)", bytes.len());
        let mut group = c.benchmark_group(name);
        group.bench_function("prove", |b| {
            b.iter(|| tree.prove_range(black_box(range), limits));
        });
        group.bench_function("decode and verify", |b| {
            b.iter(|| {
                let proof: Result<RangeProof, _> = codec::decode(black_box(&bytes), 4 << 20);
                let proven = proof.map(|p| p.verify(tree.root(), range).is_ok());
                assert!(proven.is_ok_and(|proven| proven));
            });
        });
        group.finish();
    }
}

fn proofs(c: &mut Criterion) {
    let given = std::env::var("ENTRIES").ok();
    let entries = given.and_then(|text| text.parse().ok());
    let tree = filled(entries.unwrap_or(1_000_000));
    one(c, &tree);
    ranges(c, &tree);
}

criterion_group!(benches, proofs);
criterion_main!(benches);
