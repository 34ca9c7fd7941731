//! What snapshots cost on disk: writing the first, writing what changed, reading one back, a hundred in a row.
//!
//! `cargo bench -p tintype-snapshot --bench store`. `SIZES` ("10000,100000,1000000") are the entries of the states, each a record
//! of a 32-byte key and a 48-byte value; `TINTYPE_BENCH_OUT` names a file to which each figure is appended as a line of JSON.
//! Beside each figure stands the limit of the same run: the same bytes written to one file and synced, or read and hashed.

#![allow(clippy::print_stdout, missing_docs, reason = "a benchmark")]

use ledger::{
    block::{CertifiedHeader, Header},
    certificate::{Certificate, CommitSignature, SignedContent},
    codec,
    genesis::PROTOCOL_VERSION,
    hash::{Address, ChainId},
    keys::SecretKey,
    state::{
        entries::{Key, Record},
        tree::{Change, EntryRef, Op, Place, Tree},
    },
    units::{Height, Power, Round, TimestampMs, Version},
    validators::{Validator, ValidatorSet},
};
use sha2::{Digest, Sha256};
use snapshot::{
    manifest::Picture,
    store::{SnapshotReport, Store, write_snapshot},
};
use std::{
    collections::BTreeSet,
    error::Error,
    fs::File,
    io::{Read, Write},
    path::Path,
    sync::Arc,
    time::Instant,
};

const CHAIN: ChainId = ChainId([5; 32]);
/// The usual chunk.
const CHUNK_BYTES_MAX: u64 = 256 << 10;
/// Snapshots in a row, each a hundredth of the entries changed.
const ROW: u64 = 100;
/// What a row is taken of, at the most.
const ROW_ENTRIES_MAX: u64 = 1_000_000;
/// Snapshots that are kept of a row.
const KEEP: usize = 3;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// A state of records, and the means to change it.
struct State {
    tree: Tree,
    keys: Vec<(Place, Vec<u8>)>,
    random: u64,
    height: u64,
    secret: SecretKey,
    set: ValidatorSet,
}

fn value(seed: u64) -> Vec<u8> {
    let hash = Sha256::digest(seed.to_be_bytes());
    let mut value = hash.to_vec();
    value.extend_from_slice(&hash[..16]);
    codec::encode(&Record {
        value,
        version: Version(seed),
        writer: Address([3; 32]),
        written_at: Height(1),
    })
}

impl State {
    fn of(entries: u64) -> Result<Self> {
        let key = |number: u64| {
            let hash = hex::encode(&Sha256::digest(number.to_be_bytes())[..16]);
            let key = Key::Record {
                space: "bench".into(),
                key: hash.into_bytes(),
            };
            (key.place(), key.encode())
        };
        let mut keys: Vec<(Place, Vec<u8>)> = (0..entries).map(key).collect();
        keys.sort_unstable();
        let values: Vec<Vec<u8>> = (0..entries).map(value).collect();
        let entries = keys
            .iter()
            .zip(&values)
            .map(|((place, key), value)| EntryRef {
                place: *place,
                key,
                value,
            });
        let secret = SecretKey::from_seed([1; 32]);
        let validator = Validator::new(secret.public_key(), Power(1));
        Ok(Self {
            tree: Tree::build(entries)?,
            keys,
            random: 7,
            height: 1,
            secret,
            set: ValidatorSet::new(vec![validator])?,
        })
    }

    fn next(&mut self) -> u64 {
        let step = self.random.wrapping_mul(6_364_136_223_846_793_005);
        self.random = step.wrapping_add(1_442_695_040_888_963_407);
        self.random >> 33
    }

    /// Changes a hundredth of the entries, and gives the bytes of those that changed.
    fn change(&mut self) -> Result<u64> {
        let count = self.keys.len() as u64 / 100;
        let mut values = Vec::new();
        for _ in 0..count {
            let at = usize::try_from(self.next())? % self.keys.len();
            values.push((at, value(self.random)));
        }
        let mut bytes = 0;
        let mut changed = BTreeSet::new();
        let mut changes = Vec::new();
        for (at, value) in &values {
            let (place, key) = &self.keys[*at];
            if changed.insert(*at) {
                bytes += (key.len() + value.len()) as u64;
            }
            let op = Op::Put { key, value };
            changes.push(Change { place: *place, op });
        }
        self.tree.apply(&changes)?;
        self.height += 1;
        Ok(bytes)
    }

    fn certified(&self) -> CertifiedHeader {
        let header = Header {
            protocol_version: PROTOCOL_VERSION,
            chain: CHAIN,
            height: Height(self.height),
            round: Round(0),
            parent: Default::default(),
            parent_certificate: Default::default(),
            time: TimestampMs(self.height),
            proposer: self.secret.address(),
            transaction_ids: Default::default(),
            transactions_root: Default::default(),
            state_root: self.tree.root(),
            validators: self.set.hash(),
            next_validators: self.set.hash(),
        };
        let mut certificate = Certificate {
            height: header.height,
            round: Round(0),
            block: header.hash(),
            signatures: vec![],
        };
        let validator = self.secret.address();
        let signature = certificate.vote(validator).sign(&CHAIN, &self.secret);
        certificate.signatures = vec![CommitSignature {
            validator,
            signature,
        }];
        CertifiedHeader {
            header,
            certificate,
        }
    }

    fn write(&self, store: &Store, before: Option<&Picture>) -> Result<(SnapshotReport, Picture)> {
        let (certified, set) = (self.certified(), self.set.clone());
        let report = write_snapshot(store, &self.tree, certified, set, CHUNK_BYTES_MAX, before)?;
        let manifest: Arc<_> = store.read_manifest(&report.manifest)?;
        let tree = self.tree.clone();
        Ok((report, Picture { manifest, tree }))
    }
}

/// Appends a figure, and shows it.
fn note(entries: u64, case: &str, figures: &[(&str, f64)]) -> Result {
    let mut line = format!("{{\"bench\":\"store\",\"entries\":{entries},\"case\":\"{case}\"");
    for (name, figure) in figures {
        line.push_str(&format!(",\"{name}\":{figure:.3}"));
    }
    line.push('}');
    println!("{line}");
    if let Ok(path) = std::env::var("TINTYPE_BENCH_OUT") {
        let mut file = File::options().create(true).append(true).open(path)?;
        writeln!(file, "{line}")?;
    }
    Ok(())
}

/// Seconds to write so many bytes to one file and sync it.
fn plain_write(dir: &Path, bytes: u64) -> Result<f64> {
    let block = vec![7; 1 << 20];
    let started = Instant::now();
    let mut file = File::create(dir.join("plain"))?;
    let mut left = bytes;
    while left > 0 {
        let now = left.min(block.len() as u64);
        file.write_all(&block[..usize::try_from(now)?])?;
        left -= now;
    }
    file.sync_all()?;
    Ok(started.elapsed().as_secs_f64())
}

/// Seconds to read all chunks and hash their bytes once.
fn plain_read(dir: &Path) -> Result<f64> {
    let started = Instant::now();
    for file in std::fs::read_dir(dir.join("chunks"))? {
        let mut bytes = Vec::new();
        File::open(file?.path())?.read_to_end(&mut bytes)?;
        std::hint::black_box(Sha256::digest(&bytes));
    }
    Ok(started.elapsed().as_secs_f64())
}

fn one_size(entries: u64) -> Result {
    let mut state = State::of(entries)?;
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path())?;
    let count = entries as f64;

    let started = Instant::now();
    let (first, picture) = state.write(&store, None)?;
    let seconds = started.elapsed().as_secs_f64();
    note(
        entries,
        "first snapshot",
        &[
            ("seconds", seconds),
            ("entries_per_second", count / seconds),
            ("state_bytes", first.bytes as f64),
            ("written_bytes", first.new_bytes as f64),
            ("limit_seconds", plain_write(dir.path(), first.new_bytes)?),
        ],
    )?;

    let started = Instant::now();
    let loaded = store.load(&picture.manifest)?;
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(loaded.root(), state.tree.root(), "the same state");
    drop(loaded);
    note(
        entries,
        "load",
        &[
            ("seconds", seconds),
            ("entries_per_second", count / seconds),
            ("limit_seconds", plain_read(dir.path())?),
        ],
    )?;

    let changed = state.change()?;
    let started = Instant::now();
    let (second, _) = state.write(&store, Some(&picture))?;
    let seconds = started.elapsed().as_secs_f64();
    let manifest_bytes = store.read_manifest(&second.manifest)?.encode().len() as u64;
    let all = second.new_bytes + manifest_bytes;
    note(
        entries,
        "1% changed",
        &[
            ("seconds", seconds),
            ("changed_bytes", changed as f64),
            ("written_bytes", all as f64),
            ("times_changed", all as f64 / changed as f64),
            ("chunks_touched", second.new_chunks as f64),
            ("chunks", second.chunks as f64),
            ("limit_seconds", plain_write(dir.path(), all)?),
        ],
    )?;
    if entries <= ROW_ENTRIES_MAX {
        row(&mut state)?;
    }
    Ok(())
}

/// A hundred snapshots in a row.
fn row(state: &mut State) -> Result {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path())?;
    let (first, mut last) = state.write(&store, None)?;
    let (mut written, mut changed, mut most, mut seconds) = (0, 0, 0, 0.0);
    for _ in 1..ROW {
        changed += state.change()?;
        let started = Instant::now();
        let (report, picture) = state.write(&store, Some(&last))?;
        store.retain(KEEP, &BTreeSet::new())?;
        seconds += started.elapsed().as_secs_f64();
        written += report.new_bytes;
        most = store.stored_bytes().max(most);
        last = picture;
    }
    let started = Instant::now();
    let loaded = store.load(&last.manifest)?;
    let load_seconds = started.elapsed().as_secs_f64();
    assert_eq!(loaded.root(), state.tree.root(), "the same state");
    let size = first.bytes as f64;
    note(
        state.keys.len() as u64,
        "100 snapshots, 1% changed each",
        &[
            ("seconds_each", seconds / ROW as f64),
            ("times_changed", written as f64 / changed as f64),
            ("disk_times_state", most as f64 / size),
            (
                "read_times_state",
                store.read_bytes(&last.manifest) as f64 / size,
            ),
            ("load_seconds", load_seconds),
        ],
    )
}

fn main() -> Result {
    let sizes = std::env::var("SIZES").unwrap_or_else(|_| "10000,100000,1000000".into());
    for size in sizes.split(',') {
        one_size(size.trim().parse()?)?;
    }
    Ok(())
}
