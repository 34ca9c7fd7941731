//! The index: it answers, it says how far it is, and whatever is wrong with it, a fresh one takes its place.

use super::super::index::{
    BlockEntry, HashPrefix, Index, IndexState, PrefixMatch, Told, TxPlace, open_sled,
};
use super::super::{Log, StoreError};
use super::{SMALL, append_blocks, block_hash};
use crate::hash::{Domain, Hash, hash};
use crate::units::Height;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn tx(height: u64, position: u32) -> Hash {
    let bytes = [&height.to_be_bytes()[..], &position.to_be_bytes()].concat();
    hash(Domain::TransactionId, &bytes)
}

fn told(position: u32) -> Told {
    let code = position % 3;
    let found = u64::from(code) << 40;
    Told { code, found }
}

/// A block of `count` transactions.
fn block(height: u64, count: u32) -> BlockEntry {
    BlockEntry {
        height: Height(height),
        hash: block_hash(height),
        transactions: (0..count).map(|p| (tx(height, p), p, told(p))).collect(),
    }
}

fn put(index: &Index, height: u64, count: u32) {
    index.put_blocks(&[block(height, count)]).unwrap();
}

fn fresh(state: &IndexState) -> bool {
    state.up_to.is_none() && state.set_aside.is_none()
}

fn make(dir: &Path) {
    let (index, state) = Index::open(dir).unwrap();
    assert!(fresh(&state));
    for height in 1..=20 {
        put(&index, height, 30);
    }
    index.flush().unwrap();
}

#[test]
fn blocks_and_transactions_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = Index::open(dir.path()).unwrap();
    put(&index, 1, 0);
    put(&index, 2, 1000);
    assert_eq!(index.block_height(&block_hash(1)).unwrap(), Some(Height(1)));
    assert_eq!(index.block_height(&block_hash(3)).unwrap(), None);
    for position in [0, 1, 255, 256, 999] {
        let expected = TxPlace {
            height: Height(2),
            position,
            told: told(position),
        };
        assert_eq!(index.transaction(&tx(2, position)).unwrap(), Some(expected));
    }
    assert_eq!(index.transaction(&tx(2, 1000)).unwrap(), None);
    assert_eq!(index.up_to(), Some(Height(2)));
    // Adding a block again does not turn the clock back.
    put(&index, 1, 0);
    assert_eq!(index.up_to(), Some(Height(2)));
    // Several at once, the first of which is there.
    let blocks: Vec<_> = (2..=5).map(|height| block(height, 10)).collect();
    index.put_blocks(&blocks).unwrap();
    assert_eq!(index.up_to(), Some(Height(5)));
    let place = index.transaction(&tx(4, 7)).unwrap().unwrap();
    assert_eq!((place.height, place.position), (Height(4), 7));
    index.check().unwrap();
}

#[test]
fn it_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let (index, state) = Index::open(dir.path()).unwrap();
    assert_eq!((state.up_to, state.set_aside), (Some(Height(20)), None));
    assert_eq!(index.block_height(&block_hash(7)).unwrap(), Some(Height(7)));
}

#[test]
fn a_unique_prefix_names_one_thing() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = Index::open(dir.path()).unwrap();
    let mut near = [0xAB; 32];
    let one = Hash(near);
    near[4] = 0xAC;
    let two = Hash(near);
    let told = Told { code: 5, found: 6 };
    let entry = |height, hash, transactions| BlockEntry {
        height: Height(height),
        hash,
        transactions,
    };
    index
        .put_blocks(&[entry(1, one, vec![(two, 0, told)]), entry(2, two, vec![])])
        .unwrap();
    let find = |digits: &str| index.find_block(&digits.parse::<HashPrefix>().unwrap());
    assert_eq!(find("abababab").unwrap(), PrefixMatch::Many);
    assert_eq!(find("ababababa").unwrap(), PrefixMatch::Many);
    assert_eq!(
        find("ABABABABAB").unwrap(),
        PrefixMatch::One(one, Height(1))
    );
    assert_eq!(
        find("ababababac").unwrap(),
        PrefixMatch::One(two, Height(2))
    );
    assert_eq!(
        find("ababababaca").unwrap(),
        PrefixMatch::One(two, Height(2))
    );
    assert_eq!(find("ababababacb").unwrap(), PrefixMatch::None);
    assert_eq!(find("ababababb").unwrap(), PrefixMatch::None);
    assert_eq!(find("ffffffff").unwrap(), PrefixMatch::None);
    assert_eq!(
        find(&one.to_string()).unwrap(),
        PrefixMatch::One(one, Height(1))
    );
    let place = index
        .find_transaction(&"abababab".parse().unwrap())
        .unwrap();
    assert!(matches!(place, PrefixMatch::One(id, place) if id == two && place.told == told));
    for bad in ["", "abababa", "abababax", "ababababä", &"a".repeat(65)] {
        assert!(bad.parse::<HashPrefix>().is_err(), "{bad}");
    }
}

#[test]
fn one_filled_with_garbage_is_set_aside() {
    let root = tempfile::tempdir().unwrap();
    for (case, damage) in ["garbage", "zeros", "flips", "conf", "half"]
        .iter()
        .enumerate()
    {
        let dir = root.path().join(format!("index{case}"));
        make(&dir);
        let db = dir.join("db");
        let mut bytes = fs::read(&db).unwrap();
        match *damage {
            "garbage" => {
                let mut x = 1u32;
                bytes.fill_with(|| {
                    x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    x.to_be_bytes()[0]
                });
            }
            "zeros" => bytes.fill(0),
            "flips" => bytes.iter_mut().step_by(100).for_each(|b| *b ^= 0x41),
            "half" => bytes.truncate(bytes.len() / 2),
            _ => fs::write(dir.join("conf"), b"nonsense").unwrap(),
        }
        fs::write(&db, bytes).unwrap();
        let (index, state) = Index::open(&dir).unwrap_or_else(|e| panic!("{damage}: {e}"));
        // sled may come back with a part of it, as after a crash; then it says so, and the rest is added again.
        if let Some(aside) = state.set_aside {
            assert_eq!(aside, root.path().join(format!("index{case}.damaged-1")));
            assert!(aside.join("db").exists(), "{damage}");
            assert_eq!(state.up_to, None, "{damage}");
        }
        for height in state.up_to.map_or(0, |h| h.0) + 1..=20 {
            put(&index, height, 30);
        }
        assert_eq!(index.up_to(), Some(Height(20)));
    }
}

#[test]
fn one_of_another_format_is_set_aside() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("index");
    make(&dir);
    let db = open_sled(&dir).unwrap();
    let meta = db.open_tree("meta").unwrap();
    meta.insert("version", &[0, 0, 0, 9]).unwrap();
    db.flush().unwrap();
    drop((meta, db));
    let (_, state) = Index::open(&dir).unwrap();
    assert!(state.set_aside.unwrap().exists());
    assert_eq!(state.up_to, None);
}

#[test]
fn one_that_was_condemned_is_set_aside() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("index");
    make(&dir);
    let (index, _) = Index::open(&dir).unwrap();
    index.condemn().unwrap();
    drop(index);
    let (_, state) = Index::open(&dir).unwrap();
    assert!(state.set_aside.unwrap().exists());
    assert_eq!(state.up_to, None);
}

#[test]
fn one_that_is_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("index");
    let (index, _) = Index::open(&dir).unwrap();
    let error = Index::open(&dir).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    put(&index, 1, 1);
}

#[test]
fn it_starts_over_and_is_rebuilt_from_the_log() {
    let root = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open_with(&root.path().join("ledger"), SMALL).unwrap();
    append_blocks(&mut log, 1..=10).unwrap();
    let dir = root.path().join("index");
    make(&dir);
    let (index, state) = Index::open(&dir).unwrap();
    assert!(state.up_to > log.last(), "the index is ahead of the log");
    let (index, state) = index.start_over().unwrap();
    assert!(state.set_aside.unwrap().exists());
    for record in log.iter_from(log.first().unwrap()) {
        let record = record.unwrap();
        let entry = BlockEntry {
            height: record.height,
            hash: record.block_hash,
            transactions: vec![],
        };
        index.put_blocks(&[entry]).unwrap();
    }
    assert_eq!(index.up_to(), log.last());
    let height = index.block_height(&block_hash(4)).unwrap().unwrap();
    assert!(
        log.read_expecting(height, &block_hash(4))
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_damaged_one_has_all_that_it_says_it_has() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("index");
    make(&dir);
    let conf = fs::read(dir.join("conf")).unwrap();
    let sound = fs::read(dir.join("db")).unwrap();
    for trial in 0..45 {
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("conf"), &conf).unwrap();
        let mut bytes = sound.clone();
        let at = bytes.len() * trial / 45;
        let end = (at + 4096).min(bytes.len());
        match trial % 3 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 0x10,
            _ => bytes[at..end].fill(0),
        }
        fs::write(dir.join("db"), bytes).unwrap();
        let (index, state) = Index::open(&dir).unwrap();
        assert!(state.counted);
        for height in 1..=state.up_to.map_or(0, |up_to| up_to.0) {
            for position in 0..30 {
                let found = index.transaction(&tx(height, position)).unwrap();
                assert_eq!(found.unwrap().position, position, "trial {trial}");
            }
        }
    }
}

/// What the database of an index has in the place of transactions.
fn with_transactions(dir: &Path, change: impl FnOnce(&sled::Tree)) {
    let db = open_sled(dir).unwrap();
    let transactions = db.open_tree("transactions").unwrap();
    change(&transactions);
    db.flush().unwrap();
}

#[test]
fn one_that_lost_an_entry_is_set_aside() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("index");
    make(&dir);
    with_transactions(&dir, |transactions| {
        transactions.pop_max().unwrap().unwrap();
    });
    let (index, state) = Index::open(&dir).unwrap();
    assert!(state.set_aside.unwrap().exists());
    assert_eq!(state.up_to, None);
    index.check().unwrap();
}

#[test]
fn a_block_that_got_in_by_half_is_not_counted_and_comes_again() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("index");
    make(&dir);
    let half = [
        tx(21, 0).as_bytes().as_slice(),
        &21_u64.to_be_bytes(),
        &[0; 16],
    ]
    .concat();
    with_transactions(&dir, |transactions| {
        let run = [&99_u32.to_be_bytes()[..], tx(21, 0).as_bytes()].concat();
        transactions.insert(run, half).unwrap();
    });
    let (index, state) = Index::open(&dir).unwrap();
    assert_eq!((state.up_to, state.set_aside), (Some(Height(20)), None));
    assert_eq!(index.transaction(&tx(21, 0)).unwrap(), None);
    put(&index, 21, 30);
    index.check().unwrap();
    assert_eq!(index.up_to(), Some(Height(21)));
}

/// However many blocks come, and of whatever size, they end up in few runs, and all that was put in is found, also by prefix, and
/// also by somebody who asks all the while.
#[test]
fn runs_are_merged_and_nothing_is_lost() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("index");
    let (index, _) = Index::open(&dir).unwrap();
    put(&index, 1, 100);
    let done = AtomicBool::new(false);
    let sizes = |height: u64| [1, 70, 0, 9, 200][usize::try_from(height % 5).unwrap()];
    let last = 700;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for position in 0..100 {
                    assert!(index.transaction(&tx(1, position)).unwrap().is_some());
                }
                index.check().unwrap();
            }
        });
        for height in 2..=last {
            put(&index, height, sizes(height));
        }
        done.store(true, Ordering::Relaxed);
    });
    drop(index);
    let mut runs = BTreeSet::new();
    with_transactions(&dir, |transactions| {
        runs.extend(
            transactions
                .iter()
                .keys()
                .map(|key| key.unwrap()[..4].to_vec()),
        );
    });
    assert!((2..40).contains(&runs.len()), "{} runs", runs.len());
    let (index, state) = Index::open(&dir).unwrap();
    assert_eq!((state.up_to, state.set_aside), (Some(Height(last)), None));
    for height in 2..=last {
        for position in 0..sizes(height) {
            let id = tx(height, position);
            let place = index.transaction(&id).unwrap().unwrap();
            assert_eq!((place.height, place.position), (Height(height), position));
            let prefix = id.to_string()[..17].parse().unwrap();
            assert_eq!(
                index.find_transaction(&prefix).unwrap(),
                PrefixMatch::One(id, place)
            );
        }
        assert_eq!(index.transaction(&tx(height, 999)).unwrap(), None);
    }
}

/// What came before is put in from the top down, and a crash in between leaves what does not count.
#[test]
fn earlier_blocks_are_put_below_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = Index::open(dir.path()).unwrap();
    index.put_earlier(&[block(5, 3)]).unwrap();
    assert_eq!(index.up_to(), None, "below nothing nothing is put");
    put(&index, 20, 3);
    put(&index, 21, 3);
    assert_eq!(index.from(), Some(Height(20)));
    let earlier = |heights: std::ops::RangeInclusive<u64>| {
        let blocks: Vec<BlockEntry> = heights.map(|height| block(height, 3)).collect();
        index.put_earlier(&blocks).unwrap();
        index.from().map(|from| from.0)
    };
    assert_eq!(earlier(10..=18), Some(20), "with a gap they are not taken");
    assert_eq!(
        earlier(15..=21),
        Some(15),
        "those that are there already are passed over"
    );
    assert_eq!(earlier(15..=19), Some(15));
    put(&index, 22, 3);
    assert_eq!(earlier(1..=14), Some(1));
    index.check().unwrap();
    for height in 1..=22 {
        let found = index.transaction(&tx(height, 2)).unwrap().unwrap();
        assert_eq!((found.height, found.position), (Height(height), 2));
        assert_eq!(
            index.block_height(&block_hash(height)).unwrap(),
            Some(Height(height))
        );
    }
    let above_a_gap = index.put_blocks(&[block(24, 1)]).unwrap_err();
    assert!(
        matches!(above_a_gap, StoreError::Index { .. }),
        "{above_a_gap}"
    );
}
