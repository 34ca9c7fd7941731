//! What restoring a state takes, and what it says of itself. A node fetches a snapshot from sixteen peers and then loads it from its
//! own disk, as it does when it starts again; at two sizes, with every byte counted that is allocated.
//!
//! Shown: at no time does it take more than twice the state that is in memory at the end; and what it takes beside that state is
//! bounded, so that it costs nothing more where the state is larger. The progress counts up to the manifest's own totals.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

use ledger::{
    genesis::{Generated, Genesis},
    state::{Execution, State, tree::Tree},
    units::Height,
    validators::ValidatorSet,
};
use snapshot::{
    chunk,
    manifest::Manifest,
    store::Store,
    sync::{ASKS_MAX, ASKS_PER_PEER_MAX, Config, Input, Joiner, Offer, Output, Progress},
};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};
use tempfile::TempDir;
use tests::{
    chain::{CHAIN, certified, genesis},
    meter::{Meter, allocated, peak_of},
};

#[global_allocator]
static METER: Meter = Meter;

const ENTRIES: u64 = 50_000;
/// Small, so that what is under way is a small part of the state, as it is of a large state with larger chunks.
const CHUNK_BYTES_MAX: u64 = 32 << 10;
/// So many that as much is under way as ever may be.
const PEERS: usize = ASKS_MAX / ASKS_PER_PEER_MAX;

/// A snapshot in a folder of its own, as every peer has it.
struct Source {
    _folder: TempDir,
    store: Store,
    manifest: Arc<Manifest>,
    validators: ValidatorSet,
}

impl Source {
    fn of(entries: u64) -> Self {
        let genesis = Genesis {
            generated: Some(Generated::of(entries)),
            ..genesis()
        };
        let executed = Execution::new(&State::genesis(&genesis).unwrap()).finish();
        let (state, certified) = (&executed.state, certified(&executed));
        let validators = state.validators().current.clone();
        let cut = Manifest::of_tree(state.tree(), certified, validators.clone(), CHUNK_BYTES_MAX);
        let (manifest, subtrees) = cut.unwrap();
        let folder = tempfile::tempdir().unwrap();
        // Without the manifest: with it every file would be synced, which takes long and is not what is measured.
        let store = Store::open(folder.path()).unwrap();
        for subtree in &subtrees {
            let bytes = chunk::encode(subtree).unwrap();
            store.put_chunk(manifest.id(), subtree, &bytes).unwrap();
        }
        Self {
            _folder: folder,
            store,
            manifest: Arc::new(manifest),
            validators,
        }
    }

    /// Fetches it into another store. All answers are there as soon as something is asked.
    fn fetch(&self, into: &Store, mut told: impl FnMut(Progress)) -> Tree {
        let config = Config::new(CHAIN, self.validators.clone(), Height(1));
        let mut joiner = Joiner::new(config, 0, BTreeSet::new(), None, None);
        let offer = Offer {
            height: self.manifest.height(),
            manifest: self.manifest.id(),
        };
        let offers = |peer| Input::Offers {
            peer,
            offers: vec![offer],
        };
        let mut inputs: VecDeque<Input<usize>> = (0..PEERS).map(offers).collect();
        let mut now_ms = 0;
        loop {
            let input = inputs.pop_front().unwrap_or(Input::Tick);
            // Time stands still as long as there is something to hear.
            now_ms += if matches!(input, Input::Tick) { 100 } else { 0 };
            for output in joiner.handle(now_ms, input) {
                match output {
                    Output::AskManifest { peer, id } => {
                        let bytes = self.manifest.encode();
                        inputs.push_back(Input::Manifest { peer, id, bytes });
                    }
                    Output::AskChunk { peer, chunk } => {
                        let id = chunk.id();
                        let listed = self.manifest.chunk(&id).unwrap();
                        let bytes = self.store.chunk_for_peer(&self.manifest, listed, None);
                        let bytes = bytes.unwrap();
                        inputs.push_back(Input::Chunk {
                            peer,
                            id,
                            verified: chunk.verify(&bytes),
                            bytes,
                        });
                    }
                    Output::Store { chunk, bytes } => {
                        let written = into.put_chunk(self.manifest.id(), chunk.subtree(), &bytes);
                        written.unwrap();
                    }
                    Output::Target(_) => {}
                    Output::Progress(progress) => told(progress),
                    Output::Done { tree, .. } => return tree,
                    other => panic!("{other:?}, after {now_ms} ms"),
                }
            }
            assert!(now_ms < 60_000, "it does not end");
        }
    }
}

/// What two ways to restore a state took, in bytes.
#[derive(Debug)]
struct Taken {
    /// The state, when it is there.
    state: usize,
    /// The most that there was while it was fetched, and while it was loaded from disk.
    peaks: [usize; 2],
}

fn restore(entries: u64) -> Taken {
    let source = Source::of(entries);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut last = None;
    let mut told = |progress: Progress| {
        let manifest = &source.manifest;
        assert_eq!(progress.total, manifest.totals());
        assert_eq!(progress.chunks_total, manifest.chunks().len() as u64);
        assert!(Some(progress.chunks_done) >= last.map(|last: Progress| last.chunks_done));
        last = Some(progress);
    };
    let (fetched, while_fetched) = peak_of(|| source.fetch(&store, &mut told));
    assert!(fetched.totals().entries > entries, "{fetched:?}");
    assert_eq!(fetched.root(), source.manifest.root());
    let end = last.expect("it says how far it is");
    assert_eq!((end.done, end.chunks_done), (end.total, end.chunks_total));
    drop(fetched);

    let (loaded, while_loaded) = peak_of(|| store.load(&source.manifest).unwrap());
    assert_eq!(loaded.root(), source.manifest.root());
    let with_it = allocated();
    drop(loaded);
    Taken {
        state: with_it - allocated(),
        peaks: [while_fetched, while_loaded],
    }
}

#[test]
fn a_state_is_restored_in_twice_its_memory_at_the_most() {
    let [one, two] = [ENTRIES, 2 * ENTRIES].map(restore);
    println!("{one:?} {two:?}");
    let doubled = two.state as f64 / one.state as f64;
    assert!((1.9..2.1).contains(&doubled), "{one:?} {two:?}");
    for (way, what) in ["fetched", "loaded"].iter().enumerate() {
        for taken in [&one, &two] {
            assert!(taken.peaks[way] <= 2 * taken.state, "{what}: {taken:?}");
        }
        // Beside the state there is the manifest and what is under way: a tenth of what the state grew by is far more than that grew.
        let beside = |taken: &Taken| taken.peaks[way].saturating_sub(taken.state);
        let grew = beside(&two).saturating_sub(beside(&one));
        let grew_max = (two.state - one.state) / 10;
        assert!(grew <= grew_max, "{what}: {one:?} {two:?}");
    }
}
