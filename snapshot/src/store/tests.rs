//! What is put is kept whole and found again; what is damaged is never offered; what nothing needs goes.

use super::*;
use crate::{
    chunk,
    fixtures::{CUT, certified, manifest, set, tree},
};
use ledger::{hash::Hash, state::tree::Tree};
use std::fs;
use tempfile::TempDir;

fn open() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn write(store: &Store, tree: &Tree, height: u64) -> SnapshotReport {
    write_snapshot(store, tree, certified(tree, height), set(), CUT, None).unwrap()
}

fn heights(store: &Store) -> Vec<u64> {
    store.manifests().iter().map(|m| m.height().0).collect()
}

fn files(dir: &TempDir, folder: &str) -> usize {
    fs::read_dir(dir.path().join(folder)).unwrap().count()
}

#[test]
fn a_snapshot_is_loaded_as_it_was_written_at_every_size() {
    for count in [0, 1, 10, 5_000] {
        let (dir, store) = open();
        let tree = tree(count, 1);
        let report = write(&store, &tree, 7);
        assert_eq!(
            (report.entries, report.bytes),
            (tree.totals().entries, tree.totals().bytes)
        );
        assert_eq!(report.new_chunks, report.chunks);
        let store = Store::open(dir.path()).unwrap();
        let manifest = store.read_manifest(&report.manifest).unwrap();
        let loaded = store.load(&manifest).unwrap();
        assert_eq!(loaded.root(), tree.root(), "{count} entries");
        assert!(loaded.iter().eq(tree.iter()));
        assert_eq!(store.take_damage(), Vec::<String>::new());
    }
}

#[test]
fn a_chunk_is_written_once() {
    let (dir, store) = open();
    let tree = tree(300, 1);
    let first = write(&store, &tree, 7);
    let again = write(&store, &tree, 8);
    assert_eq!((again.new_chunks, again.new_bytes), (0, 0));
    assert_eq!(files(&dir, "chunks") as u64, first.chunks);
    assert_eq!(heights(&store), [8, 7], "newest first");
}

#[test]
fn retention_follows_from_the_manifests_that_are_kept() {
    let (dir, store) = open();
    let trees: Vec<Tree> = (0..5).map(|seed| tree(300, seed)).collect();
    for (tree, height) in trees.iter().zip(1..) {
        write(&store, tree, height);
    }
    let removed = store.retain(2, &BTreeSet::new()).unwrap();
    assert_eq!(removed.manifests, 3);
    assert_eq!(heights(&store), [5, 4]);
    let needed: BTreeSet<ChunkId> = store
        .manifests()
        .iter()
        .flat_map(|m| m.chunk_ids().collect::<Vec<_>>())
        .collect();
    assert_eq!(store.chunk_ids(), needed);
    assert_eq!(files(&dir, "chunks"), needed.len());
    for (tree, manifest) in trees.iter().rev().zip(store.manifests()) {
        assert_eq!(store.load(&manifest).unwrap().root(), tree.root());
    }
    assert_eq!(
        store.retain(2, &BTreeSet::new()).unwrap(),
        Removed::default()
    );
    store.retain(0, &BTreeSet::new()).unwrap();
    assert_eq!(heights(&store), [5], "the newest always stays");
}

#[test]
fn a_snapshot_that_a_peer_is_fetching_outlives_its_turn() {
    let (_dir, store) = open();
    for height in 1..=4 {
        write(&store, &tree(300, height), height);
    }
    let fetched = store.manifests()[3].clone();
    store.retain(1, &BTreeSet::from([fetched.id()])).unwrap();
    assert_eq!(heights(&store), [4, 1]);
    assert!(fetched.chunk_ids().all(|id| store.has_chunk(&id)));
    store.retain(1, &BTreeSet::new()).unwrap();
    assert_eq!(heights(&store), [4]);
}

#[test]
fn new_bytes_are_those_of_chunks_that_no_older_snapshot_has() {
    let (_dir, store) = open();
    let tree = tree(300, 1);
    write(&store, &tree, 1);
    write(&store, &tree, 2);
    let [second, first] = [store.manifests()[0].clone(), store.manifests()[1].clone()];
    assert!(store.new_bytes(&first) > 0);
    assert_eq!(store.new_bytes(&second), 0, "the state is the same");
}

#[test]
fn what_is_pinned_or_being_synced_stays() {
    let (dir, store) = open();
    let (a, b) = (tree(300, 1), tree(300, 2));
    write(&store, &a, 1);
    write(&store, &b, 2);
    let target = manifest(&a, 1);
    let pin = store.pin(target.chunk_ids());
    assert_eq!(store.retain(1, &BTreeSet::new()).unwrap().chunks, 0);
    store.set_sync_target(&target).unwrap();
    drop(pin);
    assert_eq!(store.sweep().unwrap().chunks, 0);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(
        store.sweep().unwrap().chunks,
        0,
        "a restart knows the target"
    );
    assert_eq!(store.read_sync_target().unwrap().unwrap().id(), target.id());
    store.put_manifest(&target).unwrap();
    store.clear_sync_target().unwrap();
    assert_eq!(heights(&store), [2, 1]);
    assert!(store.retain(1, &BTreeSet::new()).unwrap().chunks > 0);
    assert!(store.read_sync_target().unwrap().is_none());
}

/// What was made durable while others were still fetched survives a power failure; what was not is found out, not believed.
#[test]
fn a_chunk_that_was_synced_outlives_a_power_failure() {
    let (dir, store) = open();
    let tree = tree(300, 1);
    let target = manifest(&tree, 1);
    store.set_sync_target(&target).unwrap();
    let power = ledger::store::disk::fault::watch_power();
    let subtrees = tree.cut(CUT);
    for subtree in &subtrees {
        let bytes = chunk::encode(subtree).unwrap();
        store.put_chunk(target.id(), subtree, &bytes).unwrap();
    }
    let synced = ChunkId(subtrees[0].hash());
    store.sync_chunk(&synced).unwrap();
    power.fails();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    for chunk in target.chunks() {
        let loaded = store.load_chunk(&target, chunk);
        assert_eq!(loaded.is_ok(), chunk.id() == synced, "{loaded:?}");
    }
}

#[test]
fn a_manifest_without_all_its_chunks_is_refused() {
    let (_dir, store) = open();
    let tree = tree(300, 1);
    let manifest = manifest(&tree, 7);
    let error = store.put_manifest(&manifest).unwrap_err();
    let missing = manifest.chunks().len() as u64;
    assert!(
        matches!(error, StoreError::NotWhole { missing: m, .. } if m == missing),
        "{error}"
    );
    assert!(store.manifests().is_empty());
}

/// Flips each byte of each file of a small store in turn. Nothing damaged is offered after a start, given to a peer, or
/// loaded, whichever is first; and after writing again all is well.
#[test]
fn a_flipped_byte_is_found() {
    let (dir, store) = open();
    let tree = tree(12, 1);
    let report = write(&store, &tree, 7);
    let manifest = store.manifests().remove(0);
    let id = manifest.chunks()[0].id();
    let paths = [store.chunk_path(&id), store.manifest_path(&report.manifest)];
    for (is_manifest, path) in [false, true].into_iter().zip(paths) {
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            fs::write(&path, &bad).unwrap();
            let store = Store::open(dir.path()).unwrap();
            if is_manifest {
                assert!(store.manifests().is_empty(), "byte {at}");
            } else {
                let chunk = &manifest.chunks()[0];
                let error = match at % 2 {
                    0 => store.load_chunk(&manifest, chunk).unwrap_err(),
                    _ => store.chunk_for_peer(&manifest, chunk, None).unwrap_err(),
                };
                assert!(
                    matches!(error, StoreError::Damaged { .. }),
                    "byte {at}: {error}"
                );
                assert!(
                    store.manifests().is_empty(),
                    "what needs it is not offered any more"
                );
                assert!(!store.has_chunk(&id));
            }
            assert!(!store.take_damage().is_empty());
            assert!(!path.exists());
            assert_eq!(heights(&store).len(), 0);
            write(&store, &tree, 7);
            assert_eq!(store.load(&manifest).unwrap().root(), tree.root());
        }
    }
}

/// A sound file in the place of another: a peer that gets it would take this node for a liar.
#[test]
fn a_chunk_under_a_wrong_name_is_given_to_nobody() {
    let (_dir, store) = open();
    let tree = tree(300, 1);
    write(&store, &tree, 7);
    let manifest = store.manifests().remove(0);
    let (a, b) = (manifest.chunks()[0], manifest.chunks()[1]);
    fs::copy(store.chunk_path(&a.id()), store.chunk_path(&b.id())).unwrap();
    let error = store.chunk_for_peer(&manifest, &b, None).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(store.manifests().is_empty(), "it is not offered any more");
    let served = store.chunk_for_peer(&manifest, &a, None).unwrap();
    assert!(manifest.verify_chunk(&a, &served).is_ok());
}

/// A file whose checksum holds and whose content is another chunk's: the hash finds it, on loading.
#[test]
fn a_file_that_holds_another_chunk_is_found_on_loading() {
    let (_dir, store) = open();
    let tree = tree(300, 1);
    let manifest = manifest(&tree, 7);
    let subtrees = tree.cut(CUT);
    let of_another = chunk::encode(&subtrees[1]).unwrap();
    for subtree in &subtrees {
        let bytes = match subtree.hash() == subtrees[0].hash() {
            true => of_another.clone(),
            false => chunk::encode(subtree).unwrap(),
        };
        store.put_chunk(manifest.id(), subtree, &bytes).unwrap();
    }
    store.put_manifest(&manifest).unwrap();
    let error = store.load(&manifest).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(store.manifests().is_empty());
}

#[test]
fn a_lost_chunk_takes_its_snapshots_off_the_offer() {
    let (dir, store) = open();
    let tree = tree(300, 1);
    write(&store, &tree, 7);
    let manifest = store.manifests().remove(0);
    let chunk = manifest.chunks()[0];
    fs::remove_file(store.chunk_path(&chunk.id())).unwrap();
    let reopened = Store::open(dir.path()).unwrap();
    assert!(reopened.manifests().is_empty());
    assert!(matches!(
        store.load_chunk(&manifest, &chunk),
        Err(StoreError::NoChunk(_))
    ));
    assert!(store.manifests().is_empty());
}

#[test]
fn strange_files_are_left_alone_and_unfinished_ones_removed() {
    let (dir, store) = open();
    let report = write(&store, &tree(12, 1), 7);
    let chunks = dir.path().join("chunks");
    fs::write(chunks.join("README"), "mine").unwrap();
    fs::write(chunks.join(format!("{}.7.new", Hash([1; 32]))), "half").unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.chunk_ids().len() as u64, report.chunks);
    assert_eq!(files(&dir, "chunks") as u64, report.chunks + 1);
    assert!(chunks.join("README").exists());
}

#[test]
fn an_inspector_sees_what_is_kept_and_changes_nothing() {
    let (dir, store) = open();
    let tree = tree(3_000, 1);
    write(&store, &tree, 9);
    write(&store, &tree, 7);
    let inspector = Inspector::new(dir.path());
    let kept = inspector.manifests().unwrap();
    let heights: Vec<_> = kept
        .manifests
        .iter()
        .map(|m| m.height_claimed().0)
        .collect();
    assert_eq!(heights, [7, 9], "lowest first");
    assert_eq!(kept.unreadable, Vec::<String>::new());
    let manifest = manifest(&tree, 7);
    assert_eq!(inspector.load(&manifest).unwrap().root(), tree.root());

    // A damaged chunk and a damaged manifest are told, and stay where they are.
    let spoil = |folder: &str| {
        let path = fs::read_dir(dir.path().join(folder))
            .unwrap()
            .next()
            .unwrap();
        let path = path.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes[9] ^= 1;
        fs::write(&path, bytes).unwrap();
        path
    };
    let (chunk, spoilt) = (spoil("chunks"), spoil("manifests"));
    let error = inspector.load(&manifest).unwrap_err();
    assert!(
        matches!(&error, Unloadable::Damaged { path, .. } if *path == chunk),
        "{error}"
    );
    let kept = inspector.manifests().unwrap();
    assert_eq!(kept.manifests.len(), 1);
    assert!(kept.unreadable[0].contains(&spoilt.display().to_string()));
    assert!(chunk.is_file() && spoilt.is_file());
    fs::remove_file(chunk).unwrap();
    let error = inspector.load(&manifest).unwrap_err();
    assert!(matches!(error, Unloadable::NoChunk(_)), "{error}");

    // Of a folder that is not there nothing is made.
    let nowhere = dir.path().join("nowhere");
    let kept = Inspector::new(&nowhere).manifests().unwrap();
    assert_eq!((kept.manifests.len(), nowhere.exists()), (0, false));
}
