//! The process dies, or the disk fills up, before each change of the disk in turn. What was whole stays whole.

use super::*;
use crate::{
    fixtures::{certified, set, tree},
    manifest::Picture,
};
use ledger::{
    state::tree::Tree,
    store::disk::fault::{Armed, crash_at, full_at},
};

/// Runs `work` with a fault after so many changes. Says whether they were enough.
fn cut_after<T>(fault: fn(u64) -> Armed, changes: u64, work: impl FnOnce() -> T) -> (T, bool) {
    let armed = fault(changes);
    let result = work();
    (result, !armed.struck())
}

/// Chunks of some dozen entries, a tenth of which change: some are written as patches, some whole.
const CUT: u64 = 4 * crate::fixtures::CUT;

fn write(store: &Store, tree: &Tree, height: u64) -> Result<SnapshotReport> {
    let before = store.manifests().first().map(|manifest| Picture {
        manifest: Arc::clone(manifest),
        tree: store.load(manifest).unwrap(),
    });
    write_snapshot(
        store,
        tree,
        certified(tree, height),
        set(),
        CUT,
        before.as_ref(),
    )
}

/// Every snapshot on offer loads with its root.
fn assert_sound(store: &Store, step: u64) -> Vec<u64> {
    for manifest in store.manifests() {
        let loaded = store.load(&manifest).unwrap();
        assert_eq!(loaded.root(), manifest.root(), "after step {step}");
    }
    assert_eq!(
        store.take_damage(),
        Vec::<String>::new(),
        "after step {step}"
    );
    store.manifests().iter().map(|m| m.height().0).collect()
}

/// What the kept snapshots need.
fn needed(store: &Store) -> BTreeSet<ChunkId> {
    let manifests = store.manifests();
    let index = store.index();
    let ids = manifests.iter().flat_map(|m| m.chunk_ids());
    index.homes.with_bases(ids)
}

fn on_disk(dir: &Path) -> u64 {
    let folders = ["chunks", "patches"].map(|folder| std::fs::read_dir(dir.join(folder)).unwrap());
    let files = folders.into_iter().flatten();
    files.map(|f| f.unwrap().metadata().unwrap().len()).sum()
}

/// Writing one snapshot and dropping the one before.
fn replace(store: &Store, new: &Tree) -> Result<()> {
    write(store, new, 2)?;
    store.retain(1, &BTreeSet::new())?;
    Ok(())
}

fn at_every_step(fault: fn(u64) -> Armed, check: impl Fn(u64, &Path, &Store, &Tree)) {
    let (old, new) = (tree(300, 1), tree(400, 2));
    for step in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        write(&store, &old, 1).unwrap();
        let (result, enough) = cut_after(fault, step, || replace(&store, &new));
        if enough {
            result.unwrap();
            assert!(step > 20, "only {step} changes");
            return;
        }
        check(step, dir.path(), &store, &new);
    }
}

#[test]
fn death_at_any_change_leaves_a_whole_snapshot_and_nothing_for_ever() {
    at_every_step(crash_at, |step, dir, _, new| {
        // It dies a second time, in the middle of starting again.
        let _ = cut_after(crash_at, step % 7, || Store::open(dir));
        let store = Store::open(dir).unwrap();
        let heights = assert_sound(&store, step);
        assert!(!heights.is_empty(), "after step {step} no snapshot is left");
        replace(&store, new).unwrap();
        assert_eq!(assert_sound(&store, step), [2]);
        assert_eq!(store.chunk_ids(), needed(&store), "after step {step}");
        assert_eq!(on_disk(dir), store.stored_bytes(), "after step {step}");
    });
}

#[test]
fn a_full_disk_leaves_what_was_whole_and_no_partial_snapshot() {
    at_every_step(full_at, |step, dir, store, new| {
        let heights = assert_sound(store, step);
        assert!(!heights.is_empty(), "after step {step}");
        if heights == [1] {
            assert_eq!(
                store.chunk_ids(),
                needed(store),
                "the space is given back after step {step}"
            );
            assert_eq!(on_disk(dir), store.stored_bytes(), "after step {step}");
        }
        replace(store, new).unwrap();
        assert_eq!(assert_sound(&Store::open(dir).unwrap(), step), [2]);
    });
}

#[test]
fn a_full_disk_is_said_with_file_and_advice() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (result, _) = cut_after(full_at, 1, || write(&store, &tree(150, 1), 1));
    let message = result.unwrap_err().to_string();
    assert!(message.contains("free some space"), "{message}");
    assert!(message.contains("chunks"), "{message}");
}
