//! What the index on disk costs: blocks of 2,300 transactions put in as a node under load does, and transactions looked up.
//!
//! `cargo bench -p tintype-ledger --bench index`. `ENTRIES` (10000,100000,1000000,10000000) changes the sizes; each runs in a
//! process of its own. The limit beside it: the same bytes appended to a file and synced.

#![allow(
    missing_docs,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a benchmark"
)]

#[path = "tree/out.rs"]
mod out;
#[path = "tree/report.rs"]
#[allow(dead_code, reason = "the tree's benchmark uses all of it")]
mod report;

use ledger::{
    hash::{Domain, Hash, hash},
    store::{BlockEntry, Index, StoreError, Told},
    units::Height,
};
use report::{Rounds, number, resident_bytes};
use std::{fs, io::Write, path::Path};

const BLOCK_TRANSACTIONS: u32 = 2_300;
/// Blocks that a node under load puts in at a time.
const BLOCKS_AT_ONCE: u64 = 14;
const READS: u64 = 2_000;

fn id(height: u64, position: u32) -> Hash {
    let bytes = [&height.to_be_bytes()[..], &position.to_be_bytes()].concat();
    hash(Domain::TransactionId, &bytes)
}

fn block(height: u64) -> BlockEntry {
    let told = Told { code: 0, found: 0 };
    let positions = 0..BLOCK_TRANSACTIONS;
    BlockEntry {
        height: Height(height),
        hash: id(height, u32::MAX),
        transactions: positions.map(|p| (id(height, p), p, told)).collect(),
    }
}

fn main() {
    out::each_size("10000,100000,1000000,10000000", |entries| {
        measure(entries).unwrap_or_else(|error| panic!("{error}"));
    });
}

fn measure(entries: u64) -> Result<(), StoreError> {
    let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let (index, _) = Index::open(&dir.path().join("index"))?;
    let before = resident_bytes();
    let (mut put, mut limit) = (Rounds::default(), Rounds::default());
    let mut height = 0;
    let mut file = fs::File::create(dir.path().join("limit")).unwrap_or_else(|e| panic!("{e}"));
    let each = BLOCKS_AT_ONCE * u64::from(BLOCK_TRANSACTIONS);
    for _ in 0..(entries / each).max(1) {
        let blocks: Vec<BlockEntry> = (1..=BLOCKS_AT_ONCE).map(|n| block(height + n)).collect();
        height += BLOCKS_AT_ONCE;
        put.measure(|| index.put_blocks(&blocks).and_then(|()| index.flush()))?;
        let bytes = vec![1; 56 * each as usize];
        limit
            .measure(|| file.write_all(&bytes).and_then(|()| file.sync_data()))
            .unwrap_or_else(|error| panic!("{error}"));
    }
    put.report("index", entries, "put", ("entries", each));
    limit.report("index", entries, "limit", ("entries", each));
    let (mut read, mut missed) = (Rounds::default(), Rounds::default());
    for number in 0..READS {
        let hash = hash(Domain::TransactionId, &number.to_be_bytes());
        let pick = u64::from_be_bytes(hash.0[..8].try_into().unwrap_or_default());
        let wanted = id(1 + pick % height, number as u32 % BLOCK_TRANSACTIONS);
        let found = read.measure(|| index.transaction(&wanted))?;
        assert!(found.is_some());
        let nowhere = missed.measure(|| index.transaction(&hash))?;
        assert!(nowhere.is_none());
    }
    read.report("index", entries, "get", ("reads", 1));
    missed.report("index", entries, "get none", ("reads", 1));
    let resident = resident_bytes().saturating_sub(before);
    number(
        "index",
        entries,
        "resident",
        "bytes_per_entry",
        resident as f64 / entries as f64,
    );
    let disk = bytes_in(&dir.path().join("index"));
    number(
        "index",
        entries,
        "disk",
        "bytes_per_entry",
        disk as f64 / entries as f64,
    );
    Ok(())
}

fn bytes_in(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = files.map(|file| match file.file_type() {
        Ok(kind) if kind.is_dir() => bytes_in(&file.path()),
        _ => file.metadata().map_or(0, |meta| meta.len()),
    });
    sizes.sum()
}
