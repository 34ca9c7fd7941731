//! What changed is written, and no more; chains of patches are read, kept, served, shortened and thrown away as whole chunks are.

use super::{patches::PatchFile, *};
use crate::{
    chunk::{self, patch},
    fixtures::{Random, certified, set},
    manifest::Picture,
};
use ledger::state::tree::{Change, Op, Tree};
use std::fs;
use tempfile::TempDir;

/// Some entries a chunk, so that a changed one is little of it.
const CUT: u64 = 16 << 10;

/// A state whose records change at random.
struct Busy {
    tree: Tree,
    random: Random,
    changed_bytes: u64,
}

impl Busy {
    fn new(entries: usize) -> Self {
        Self {
            tree: crate::fixtures::tree(entries, 1),
            random: Random::new(7),
            changed_bytes: 0,
        }
    }

    /// Changes so many entries, to values of the same length.
    fn change(&mut self, count: usize) {
        let entries: Vec<_> = self.tree.iter().collect();
        let mut changed = Vec::new();
        for _ in 0..count {
            let entry = entries[self.random.below(entries.len() as u64) as usize];
            let value: Vec<u8> = entry
                .value
                .iter()
                .map(|_| self.random.next() as u8)
                .collect();
            changed.push((entry.place, entry.key.to_vec(), value));
        }
        let changes: Vec<Change<'_>> = changed
            .iter()
            .map(|(place, key, value)| Change {
                place: *place,
                op: Op::Put { key, value },
            })
            .collect();
        let bytes = changed
            .iter()
            .map(|(_, key, value)| key.len() + value.len());
        self.changed_bytes = bytes.sum::<usize>() as u64;
        self.tree.apply(&changes).unwrap();
    }
}

fn open() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

/// Writes a snapshot on the one before, and gives it.
fn write(
    store: &Store,
    tree: &Tree,
    height: u64,
    before: Option<&Picture>,
) -> (Picture, SnapshotReport) {
    let report = write_snapshot(store, tree, certified(tree, height), set(), CUT, before).unwrap();
    let manifest = store.read_manifest(&report.manifest).unwrap();
    let tree = tree.clone();
    (Picture { manifest, tree }, report)
}

fn disk_bytes(dir: &TempDir) -> u64 {
    let of = |folder: &str| {
        let files = fs::read_dir(dir.path().join(folder)).unwrap();
        files
            .map(|f| f.unwrap().metadata().unwrap().len())
            .sum::<u64>()
    };
    of("chunks") + of("patches")
}

#[test]
fn what_changed_is_written_and_the_whole_is_loaded() {
    let (dir, store) = open();
    let mut busy = Busy::new(20_000);
    let (first, report) = write(&store, &busy.tree, 1, None);
    busy.change(200);
    let (second, after) = write(&store, &busy.tree, 2, Some(&first));
    assert!(
        after.new_chunks > report.chunks / 2,
        "changes lie everywhere"
    );
    assert!(
        after.new_bytes < 4 * busy.changed_bytes,
        "{} bytes for {} changed",
        after.new_bytes,
        busy.changed_bytes
    );
    assert_eq!(store.new_bytes(&second.manifest), after.new_bytes);
    let store = Store::open(dir.path()).unwrap();
    for picture in [first, second] {
        let loaded = store.load(&picture.manifest).unwrap();
        assert!(loaded.iter().eq(picture.tree.iter()));
        let seen = Inspector::new(dir.path()).load(&picture.manifest).unwrap();
        assert_eq!(seen.root(), picture.tree.root());
    }
    assert_eq!(store.take_damage(), Vec::<String>::new());
}

/// Growing and shrinking, so that chunks part and join.
#[test]
fn a_state_that_grows_and_shrinks_is_loaded_as_it_was() {
    let (dir, store) = open();
    let mut before = None;
    for (height, count) in (1..).zip([300, 310, 900, 2_000, 2_010, 700, 1, 0, 40]) {
        let tree = crate::fixtures::tree(count, height);
        let (picture, _) = write(&store, &tree, height, before.as_ref());
        before = Some(picture);
    }
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.manifests().len(), 9);
    for manifest in store.manifests() {
        assert_eq!(store.load(&manifest).unwrap().root(), manifest.root());
    }
}

#[test]
fn a_hundred_snapshots_of_a_busy_state_take_less_than_twice_the_state() {
    let (dir, store) = open();
    let mut busy = Busy::new(5_000);
    let (mut last, first) = write(&store, &busy.tree, 1, None);
    let (mut written, mut changed) = (0, 0);
    for height in 2..=100 {
        busy.change(100);
        let (picture, report) = write(&store, &busy.tree, height, Some(&last));
        store.retain(2, &BTreeSet::new()).unwrap();
        written += report.new_bytes;
        changed += busy.changed_bytes;
        let read = store.read_bytes(&picture.manifest);
        assert!(
            read <= first.new_bytes * 3 / 2,
            "height {height}: {read} bytes to load"
        );
        let on_disk = disk_bytes(&dir);
        assert!(
            on_disk <= 2 * first.bytes,
            "height {height}: {on_disk} bytes on disk"
        );
        assert_eq!(on_disk, store.stored_bytes());
        last = picture;
    }
    assert!(
        written < 4 * changed,
        "{written} bytes written for {changed} changed"
    );
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.load(&last.manifest).unwrap().root(), busy.tree.root());
    assert_eq!(disk_bytes(&dir), store.stored_bytes());
}

#[test]
fn what_a_chain_stands_on_outlives_its_snapshot_and_goes_with_the_chain() {
    let (dir, store) = open();
    let mut busy = Busy::new(2_000);
    let (first, _) = write(&store, &busy.tree, 1, None);
    busy.change(20);
    let (second, _) = write(&store, &busy.tree, 2, Some(&first));
    store.retain(1, &BTreeSet::new()).unwrap();
    assert_eq!(store.manifests().len(), 1);
    let mut chunks = second.manifest.chunk_ids();
    assert!(chunks.any(|id| !first.manifest.chunk_ids().any(|old| old == id)));
    assert_eq!(
        store.load(&second.manifest).unwrap().root(),
        busy.tree.root()
    );
    // A state that has nothing of it: all goes.
    let other = crate::fixtures::tree_of(&[vec![5; 9]]);
    write(&store, &other, 3, None);
    store.retain(1, &BTreeSet::new()).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("patches")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(dir.path().join("chunks")).unwrap().count(), 1);
}

/// Flips each byte of a patch file in turn: the snapshot that needs it is not loaded and not offered any more, the other is,
/// and writing again mends it.
#[test]
fn a_flipped_byte_of_a_patch_is_found() {
    let (dir, store) = open();
    let mut busy = Busy::new(60);
    let (first, _) = write(&store, &busy.tree, 1, None);
    busy.change(1);
    let (second, _) = write(&store, &busy.tree, 2, Some(&first));
    drop(store);
    let path = dir
        .path()
        .join("patches")
        .join(second.manifest.id().to_string());
    let good = fs::read(&path).unwrap();
    let manifest_path = dir
        .path()
        .join("manifests")
        .join(second.manifest.id().to_string());
    let manifest_bytes = fs::read(&manifest_path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        fs::write(&path, &bad).unwrap();
        fs::write(&manifest_path, &manifest_bytes).unwrap();
        let store = Store::open(dir.path()).unwrap();
        let loaded = store.load(&second.manifest);
        assert!(loaded.is_err(), "byte {at}");
        assert!(!store.take_damage().is_empty(), "byte {at}");
        let heights: Vec<u64> = store.manifests().iter().map(|m| m.height().0).collect();
        assert_eq!(heights, [1], "byte {at}");
        if at % 32 == 0 {
            write(&store, &second.tree, 2, Some(&first));
            let store = Store::open(dir.path()).unwrap();
            for picture in [&first, &second] {
                let loaded = store.load(&picture.manifest).unwrap();
                assert_eq!(loaded.root(), picture.tree.root(), "byte {at}");
            }
        }
    }
}

#[test]
fn an_unfinished_patch_at_the_end_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let name = ManifestId::default();
    let mut busy = Busy::new(50);
    let old = busy.tree.clone();
    busy.change(3);
    let (old, new) = (old.top().unwrap().clone(), busy.tree.top().unwrap().clone());
    let base = ChunkId(old.hash());
    let bytes = patch::encode(base, &old, &new, chunk::BYTES_MAX)
        .unwrap()
        .unwrap();
    let file = PatchFile::create(&path, name).unwrap();
    let id = ChunkId(new.hash());
    let first = file.append(id, base, &bytes).unwrap();
    file.append(base, id, &bytes).unwrap();
    let full = fs::read(&path).unwrap();
    for len in 0..full.len() {
        fs::write(&path, &full[..len]).unwrap();
        let (file, records) = PatchFile::open(&path, name, true).unwrap();
        let whole = usize::from(len as u64 >= first.stored_bytes());
        assert_eq!(records.len(), whole, "{len} bytes");
        assert_eq!(fs::metadata(&path).unwrap().len(), file.len());
        let record = file.append(id, base, &bytes).unwrap();
        assert!(matches!(file.read(&record).unwrap(), Content::Whole(read) if read == bytes));
        let (_, records) = PatchFile::open(&path, name, false).unwrap();
        assert_eq!(records.len(), whole + 1, "{len} bytes");
    }
}

#[test]
fn a_peer_gets_a_patch_on_what_it_has_and_else_the_whole() {
    let (_dir, store) = open();
    let mut busy = Busy::new(2_000);
    let (first, _) = write(&store, &busy.tree, 1, None);
    let mut last = first.clone();
    for height in 2..=4 {
        busy.change(20);
        last = write(&store, &busy.tree, height, Some(&last)).0;
    }
    // Not made of what was before.
    busy.change(20);
    let (unrelated, _) = write(&store, &busy.tree, 5, None);
    let (mut patches, mut patch_bytes, mut whole_bytes) = (0, 0, 0);
    for new in [&last, &unrelated] {
        for chunk in new.manifest.chunks() {
            let whole = store.chunk_for_peer(&new.manifest, chunk, None).unwrap();
            assert!(new.manifest.verify_chunk(chunk, &whole).is_ok());
            let stranger = Some(ChunkId(ledger::hash::Hash([3; 32])));
            let same = store
                .chunk_for_peer(&new.manifest, chunk, stranger)
                .unwrap();
            assert_eq!(same, whole, "a peer with something else gets the whole");
            let (base, old) = first.base_of(&chunk.prefix).unwrap();
            let bytes = store
                .chunk_for_peer(&new.manifest, chunk, Some(base))
                .unwrap();
            if base != chunk.id() {
                assert_eq!(patch::base_of(&bytes), Some(base));
                let verified = new.manifest.verify_patch(chunk, &old, &bytes).unwrap();
                assert_eq!(verified.id(), chunk.id());
                patches += 1;
                patch_bytes += bytes.len();
                whole_bytes += whole.len();
            }
        }
    }
    assert!(patches > 10, "{patches}");
    assert!(
        patch_bytes < whole_bytes / 4,
        "{patch_bytes} of {whole_bytes}"
    );
    assert_eq!(store.take_damage(), Vec::<String>::new());
}

/// The power fails before the manifest is put: whatever is left of chunks and patches, nothing is built on it.
#[test]
fn what_was_not_synced_when_the_power_failed_is_not_relied_on() {
    let (dir, store) = open();
    let mut busy = Busy::new(2_000);
    let (first, _) = write(&store, &busy.tree, 1, None);
    busy.change(20);
    let power = ledger::store::disk::fault::watch_power();
    let new = busy.tree.cut(CUT);
    let manifest = crate::fixtures::manifest(&busy.tree, 2);
    for subtree in &new {
        let bytes = match first.base_of(&subtree.prefix()) {
            Some((base, old)) => patch::encode(base, &old, subtree, chunk::BYTES_MAX)
                .unwrap()
                .unwrap(),
            None => chunk::encode(subtree).unwrap(),
        };
        store.put_chunk(manifest.id(), subtree, &bytes).unwrap();
    }
    power.fails();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    let (second, _) = write(&store, &busy.tree, 2, Some(&first));
    for picture in [first, second] {
        assert_eq!(
            store.load(&picture.manifest).unwrap().root(),
            picture.tree.root()
        );
    }
    assert_eq!(store.take_damage(), Vec::<String>::new());
}
