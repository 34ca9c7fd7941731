//! What the state tree costs: entries of a 32-byte key and a 48-byte value, as an account or a small record is.
//!
//! `cargo bench -p tintype-ledger --bench tree`. `ENTRIES` (1,000,000) and `BATCH` (10,000) change the sizes.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ledger::state::tree::{Change, EntryRef, Op, Place, Subtree, Tree, fold_cut};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The design's chunk.
const CHUNK_BYTES_MAX: u64 = 256 * 1024;
/// Versions that a node keeps for queries.
const ROOTS_LIVE: usize = 8;
/// Batches from one snapshot to the next: with more, ever less would be shared with the one held, and batches cheaper.
const SNAPSHOT_BATCHES: u64 = 60;

fn size(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Records of one space: the first 64 bits are the same.
fn place(number: u64) -> Place {
    let mut place: [u8; 32] = Sha256::digest(number.to_be_bytes()).into();
    place[..8].copy_from_slice(&[2, 7, 7, 7, 7, 7, 7, 7]);
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

/// A random generator that is the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        let step = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = step.wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Places of entries that are there, and values new to them.
    fn updates(&mut self, batch: u64, entries: u64) -> Vec<(Place, [u8; 48])> {
        let update = |_| {
            let (number, value) = (self.next(), self.next());
            (place(number % entries), [value.to_le_bytes()[0]; 48])
        };
        (0..batch).map(update).collect()
    }
}

fn changes(updates: &[(Place, [u8; 48])]) -> Vec<Change<'_>> {
    updates
        .iter()
        .map(|(place, value)| Change {
            place: *place,
            op: Op::Put {
                key: &place.0,
                value,
            },
        })
        .collect()
}

/// Batches on a tree that is also held as it was at first, and on one whose last versions are held too; and what it costs to
/// let go of the oldest of those.
fn apply(c: &mut Criterion, entries: u64, batch: u64) {
    let start = filled(entries);
    let mut group = c.benchmark_group(format!("apply/{entries}"));
    group
        .throughput(Throughput::Elements(batch))
        .sample_size(50);
    for (name, live, drops) in [
        ("one snapshot held", 0, false),
        ("last 8 roots live", ROOTS_LIVE, false),
        ("letting go of the oldest root", ROOTS_LIVE, true),
    ] {
        let (mut tree, mut random) = (start.clone(), Random(12345));
        let (mut roots, mut batches) = (VecDeque::new(), 0);
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    if batches % SNAPSHOT_BATCHES == 0 {
                        tree = start.clone();
                    }
                    batches += 1;
                    let updates = random.updates(batch, entries);
                    let changes = changes(&updates);
                    let started = Instant::now();
                    black_box(tree.apply(&changes).is_ok());
                    let applied = started.elapsed();
                    if live > 0 {
                        roots.push_back(tree.clone());
                    }
                    let oldest = (roots.len() > live).then(|| roots.pop_front());
                    let started = Instant::now();
                    drop(oldest);
                    spent += if drops { started.elapsed() } else { applied };
                }
                spent
            });
        });
    }
    group.finish();
    black_box(start.root());
}

fn rest(c: &mut Criterion, entries: u64, batch: u64) {
    let old = filled(entries);
    let mut new = old.clone();
    let updates = Random(54321).updates(batch, entries);
    black_box(new.apply(&changes(&updates)).is_ok());

    let mut group = c.benchmark_group(format!("rest/{entries}"));
    group.sample_size(10);
    group.bench_function("build", |b| b.iter(|| Tree::build(old.iter())));
    group.bench_function("changes after a batch", |b| {
        b.iter(|| old.changes(&new).count())
    });
    group.bench_function("iterate", |b| b.iter(|| old.iter().count()));
    group.bench_function("cut", |b| b.iter(|| old.cut(CHUNK_BYTES_MAX).len()));
    let cut = old.cut(CHUNK_BYTES_MAX);
    let parts: Vec<_> = cut.iter().map(Subtree::part).collect();
    group.bench_function("fold", |b| b.iter(|| fold_cut(&parts, CHUNK_BYTES_MAX)));
    group.bench_function("join", |b| b.iter(|| Tree::join(&cut)));
    group.bench_function("get", |b| {
        let mut random = Random(1);
        b.iter(|| old.get(&place(random.next() % entries)).is_some())
    });
    group.bench_function("prove and verify", |b| {
        let mut random = Random(2);
        b.iter(|| {
            let place = place(random.next() % entries);
            let proof = old.prove(&place);
            proof
                .verify(old.root(), &place)
                .map(|entry| entry.is_some())
        });
    });
    group.finish();
}

fn all(c: &mut Criterion) {
    let (entries, batch) = (size("ENTRIES", 1_000_000), size("BATCH", 10_000));
    apply(c, entries, batch);
    rest(c, entries, batch);
}

criterion_group!(benches, all);
criterion_main!(benches);
