//! What is shown is what differs, whatever the cuts; and nothing else is read.

use super::*;
use crate::{
    chunk,
    fixtures::{CUT, manifest, tree},
};
use ledger::state::tree::{Place, Subtree};
use std::{cell::Cell, collections::BTreeMap, convert::Infallible};

/// A state's chunks, and how many were read.
struct Counted {
    manifest: Manifest,
    chunks: BTreeMap<chunk::ChunkId, Vec<u8>>,
    read: Cell<usize>,
}

impl Counted {
    fn of(tree: &Tree, height: u64) -> Self {
        let encode = |s: Subtree| (chunk::ChunkId(s.hash()), chunk::encode(&s).unwrap());
        Self {
            manifest: manifest(tree, height),
            chunks: tree.cut(CUT).into_iter().map(encode).collect(),
            read: Cell::new(0),
        }
    }
}

impl Chunks for Counted {
    type Error = Infallible;

    fn load(&self, chunks: &[ChunkRef]) -> Result<Vec<VerifiedChunk>, Infallible> {
        self.read.set(self.read.get() + chunks.len());
        let verify = |chunk: &ChunkRef| {
            let bytes = &self.chunks[&chunk.id()];
            self.manifest.verify_chunk(chunk, bytes).unwrap()
        };
        Ok(chunks.iter().map(verify).collect())
    }
}

#[test]
fn it_shows_what_differs_however_the_states_are_cut() {
    for (a, b) in [
        (0, 0),
        (0, 30),
        (30, 0),
        (300, 300),
        (300, 900),
        (900, 310),
        (1, 2),
    ] {
        let (old, new) = (tree(a, 1), tree(b, 2));
        let (olds, news) = (Counted::of(&old, 1), Counted::of(&new, 2));
        let mut seen: Vec<Place> = Vec::new();
        let see = |d: Difference<'_>| seen.push(d.place);
        compare((&olds.manifest, &olds), (&news.manifest, &news), see).unwrap();
        let expected: Vec<Place> = old.changes(&new).map(|d| d.place).collect();
        assert_eq!(seen, expected, "{a} and {b} entries");
    }
}

#[test]
fn it_reads_the_chunks_that_differ_alone() {
    let values = |last: u8| {
        let value = |i: usize| vec![if i == 5 { last } else { 1 }; 50];
        crate::fixtures::tree_of(&(0..2_000).map(value).collect::<Vec<_>>())
    };
    let (olds, news) = (Counted::of(&values(1), 1), Counted::of(&values(2), 2));
    let mut count = 0;
    let see = |_: Difference<'_>| count += 1;
    compare((&olds.manifest, &olds), (&news.manifest, &news), see).unwrap();
    assert_eq!((count, olds.read.get(), news.read.get()), (1, 1, 1));
    assert!(olds.chunks.len() > 50);
}
