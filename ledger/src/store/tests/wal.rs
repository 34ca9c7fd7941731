//! The WAL: nothing promised is forgotten, at whatever moment the process dies, and a wiped node knows that it is one.

use super::super::disk::{Op, fault};
use super::super::{StoreError, Wal, WalEntry, WalOpened, WalOptions};
use super::{ENOSPC, Result, files, payload, restore};
use crate::units::Height;
use proptest::prelude::*;
use std::fs;
use std::path::Path;

const SMALL: WalOptions = WalOptions { bytes_max: 600 };

fn open(dir: &Path, from: u64) -> WalOpened {
    Wal::open_with(dir, Height(from), SMALL).unwrap().unwrap()
}

fn heights(entries: &[WalEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.height.0).collect()
}

#[test]
fn a_missing_wal_is_reported_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let wal = dir.path().join("wal");
    assert!(Wal::open(&wal, Height(0)).unwrap().is_none());
    assert!(!wal.exists());
    // Nor is it made of what a crash in its creation left.
    fs::create_dir(&wal).unwrap();
    fs::write(wal.join("promises.new"), b"half").unwrap();
    assert!(Wal::open(&wal, Height(0)).unwrap().is_none());
    Wal::create_never_signed(&wal).unwrap();
    assert!(Wal::open(&wal, Height(0)).unwrap().is_some());
}

#[test]
fn a_new_one_has_never_signed_and_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    Wal::create_never_signed(dir.path()).unwrap();
    let mut opened = open(dir.path(), 0);
    assert_eq!((opened.wal.floor(), opened.entries.len()), (None, 0));
    opened.wal.append(Height(1), b"vote").unwrap();
    opened.wal.sync().unwrap();
    for result in [
        Wal::create_never_signed(dir.path()),
        Wal::create_promised(dir.path(), Height(9)),
    ] {
        assert!(matches!(result, Err(StoreError::Exists { .. })));
    }
    assert_eq!(open(dir.path(), 0).wal.floor(), Some(Height(1)));
}

#[test]
fn a_wiped_node_can_be_told_what_it_may_have_promised() {
    let dir = tempfile::tempdir().unwrap();
    Wal::create_promised(dir.path(), Height(42)).unwrap();
    assert_eq!(open(dir.path(), 0).wal.floor(), Some(Height(42)));
}

#[test]
fn entries_come_back_in_order_from_the_height_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    Wal::create_never_signed(dir.path()).unwrap();
    let mut wal = open(dir.path(), 0).wal;
    for height in [1, 2, 2, 3, 2, 3, 4] {
        wal.append(Height(height), &payload(height)).unwrap();
    }
    wal.sync().unwrap();
    assert_eq!(heights(&open(dir.path(), 0).entries), [1, 2, 2, 3, 2, 3, 4]);
    let opened = open(dir.path(), 3);
    assert_eq!(heights(&opened.entries), [3, 3, 4]);
    assert_eq!(opened.entries[0].payload, payload(3));
    let opened = open(dir.path(), 99);
    assert_eq!(opened.entries, []);
    assert_eq!(opened.wal.floor(), Some(Height(4)));
}

#[test]
fn it_stays_small_and_remembers_the_highest_promise() {
    let dir = tempfile::tempdir().unwrap();
    Wal::create_never_signed(dir.path()).unwrap();
    let mut wal = open(dir.path(), 0).wal;
    for height in 1..=200 {
        for _ in 0..3 {
            wal.append(Height(height), &payload(height)).unwrap();
            wal.sync().unwrap();
        }
        wal.advance(Height(height + 1)).unwrap();
        assert!(wal.bytes() < SMALL.bytes_max + 300, "{} bytes", wal.bytes());
    }
    drop(wal);
    assert_eq!(
        files(dir.path()).len(),
        2,
        "the promises, and how much of them is durable"
    );
    // Everything it holds may be below the height, and still the floor is known.
    let opened = open(dir.path(), 201);
    assert_eq!(opened.wal.floor(), Some(Height(200)));
    assert_eq!(opened.entries, []);
}

#[test]
fn what_is_needed_is_kept_however_large_it_is() {
    let dir = tempfile::tempdir().unwrap();
    Wal::create_never_signed(dir.path()).unwrap();
    let mut wal = open(dir.path(), 0).wal;
    let armed = fault::count();
    for i in 0..200u64 {
        wal.append(Height(7), &i.to_be_bytes()).unwrap();
        wal.advance(Height(7)).unwrap();
    }
    // An append is one write; the rewrites in between grow rarer as the file grows.
    let rewritten = armed.operations() - 200;
    assert!(rewritten < 600, "{rewritten} operations for rewriting");
    drop(wal);
    let opened = open(dir.path(), 7);
    let expected = (0..200u64).map(|i| i.to_be_bytes().to_vec());
    assert!(opened.entries.into_iter().map(|e| e.payload).eq(expected));
}

#[test]
fn no_flipped_byte_is_accepted_silently() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("wal");
    Wal::create_never_signed(&dir).unwrap();
    let mut wal = open(&dir, 0).wal;
    for height in 1..=4 {
        wal.append(Height(height), &payload(height)).unwrap();
        wal.sync().unwrap();
    }
    drop(wal);
    let sound = files(&dir);
    for at in 0..sound[0].1.len() {
        let mut damaged = sound.clone();
        damaged[0].1[at] ^= 1 << (at % 8);
        restore(&dir, &damaged);
        let error = Wal::open(&dir, Height(0)).unwrap_err();
        assert!(error.is_damage(), "byte {at}: {error}");
    }
    // A damaged note of what is durable only tells less.
    for at in 0..sound[1].1.len() {
        let mut damaged = sound.clone();
        damaged[1].1[at] ^= 1 << (at % 8);
        restore(&dir, &damaged);
        assert_eq!(heights(&open(&dir, 0).entries), [1, 2, 3, 4]);
    }
}

#[test]
fn a_wal_cut_short_is_damaged_and_one_with_a_torn_tail_is_not() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("wal");
    Wal::create_never_signed(&dir).unwrap();
    let mut wal = open(&dir, 0).wal;
    for height in 1..=3 {
        wal.append(Height(height), &payload(height)).unwrap();
        wal.sync().unwrap();
    }
    let durable = usize::try_from(wal.bytes()).unwrap();
    wal.append(Height(4), &payload(4)).unwrap();
    drop(wal);
    let sound = files(&dir);
    for len in 0..sound[0].1.len() {
        let mut short = sound.clone();
        short[0].1.truncate(len);
        restore(&dir, &short);
        // It stays damaged however often it is opened.
        for _ in 0..2 {
            match Wal::open(&dir, Height(0)) {
                Ok(opened) => {
                    assert!(len >= durable, "length {len} was accepted");
                    assert_eq!(heights(&opened.unwrap().entries), [1, 2, 3]);
                }
                Err(error) => {
                    assert!(len < durable && error.is_damage(), "length {len}: {error}");
                }
            }
        }
    }
}

#[test]
fn a_wal_without_its_head_is_damaged_at_every_length() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("wal");
    Wal::create_never_signed(&dir).unwrap();
    let sound = files(&dir);
    for len in 0..sound[0].1.len() {
        let mut short = sound.clone();
        short[0].1.truncate(len);
        restore(&dir, &short);
        let error = Wal::open(&dir, Height(0)).unwrap_err();
        assert!(error.is_damage(), "length {len}: {error}");
    }
}

/// Three promises a height, each synced, rewriting on the way. Notes how many of which height were acknowledged.
fn script(dir: &Path, acknowledged: &mut (u64, u8), advanced: &mut u64) -> Result<()> {
    let mut wal = Wal::open_with(dir, Height(0), SMALL)?.unwrap().wal;
    for height in 1..=8 {
        for number in 0..3 {
            wal.append(Height(height), &[number; 20])?;
            wal.sync()?;
            *acknowledged = (height, number + 1);
        }
        *advanced = height + 1;
        wal.advance(Height(height + 1))?;
    }
    Ok(())
}

#[test]
fn nothing_promised_is_forgotten_at_any_crash() {
    let dir = tempfile::tempdir().unwrap();
    let wal = dir.path().join("wal");
    for n in 0.. {
        let _ = fs::remove_dir_all(&wal);
        Wal::create_never_signed(&wal).unwrap();
        let armed = fault::crash_at(n);
        let (mut acknowledged, mut advanced) = ((0, 0), 0);
        let ended = script(&wal, &mut acknowledged, &mut advanced).is_ok();
        drop(armed);
        let (height, number) = acknowledged;
        // A second crash, at each point of opening it again.
        for m in 0.. {
            let armed = fault::crash_at(m);
            let opened = Wal::open_with(&wal, Height(0), SMALL);
            drop(armed);
            if opened.is_ok() {
                break;
            }
        }
        let opened = open(&wal, advanced);
        assert!(
            opened.wal.floor().map_or(0, |floor| floor.0) >= height,
            "crash {n}: forgot {height}"
        );
        if advanced <= height {
            let kept: Vec<u8> = opened
                .entries
                .iter()
                .filter(|entry| entry.height == Height(height))
                .map(|entry| entry.payload[0])
                .collect();
            let expected: Vec<u8> = (0..number).collect();
            assert!(kept.starts_with(&expected), "crash {n}: kept {kept:?}");
        }
        if ended {
            assert!(n > 60, "only {n} crash points");
            break;
        }
    }
}

#[test]
fn its_creation_leaves_none_or_a_whole_one_at_any_crash() {
    let dir = tempfile::tempdir().unwrap();
    let wal = dir.path().join("node/wal");
    for n in 0.. {
        let _ = fs::remove_dir_all(dir.path().join("node"));
        let armed = fault::crash_at(n);
        let ended = Wal::create_never_signed(&wal).is_ok();
        drop(armed);
        if let Some(opened) = Wal::open(&wal, Height(0)).unwrap() {
            assert_eq!(opened.wal.floor(), None, "crash {n}");
        } else {
            assert!(!ended);
            Wal::create_never_signed(&wal).unwrap();
        }
        if ended {
            assert!(n > 6, "only {n} crash points");
            break;
        }
    }
}

#[test]
fn a_full_disk_while_rewriting_stops_it_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    Wal::create_never_signed(dir.path()).unwrap();
    let mut wal = open(dir.path(), 0).wal;
    for _ in 0..20 {
        wal.append(Height(5), &[1; 20]).unwrap();
    }
    wal.sync().unwrap();
    let armed = fault::fail(Op::Write, 3, ENOSPC);
    let error = wal.advance(Height(5)).unwrap_err();
    assert_eq!(error.code(), "disk_full");
    assert!(matches!(
        wal.append(Height(5), b"x"),
        Err(StoreError::Stopped { .. })
    ));
    drop(armed);
    assert_eq!(open(dir.path(), 0).entries.len(), 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Against a list: what is at or above the height advanced to is there, in order, whatever was rewritten.
    #[test]
    fn a_wal_behaves_as_a_list_does(
        steps in prop::collection::vec((0u64..4, 0u8..6, prop::collection::vec(any::<u8>(), 0..120)), 1..80),
    ) {
        let dir = tempfile::tempdir().unwrap();
        Wal::create_never_signed(dir.path()).unwrap();
        let mut wal = open(dir.path(), 0).wal;
        let mut model = Vec::new();
        let (mut now, mut floor) = (1, None);
        for (up, what, payload) in steps {
            match what {
                0 => {
                    now += up;
                    wal.advance(Height(now)).unwrap();
                }
                1 => {
                    drop(wal);
                    let opened = open(dir.path(), now);
                    model.retain(|entry: &WalEntry| entry.height.0 >= now);
                    prop_assert_eq!(&opened.entries, &model);
                    prop_assert_eq!(opened.wal.floor(), floor);
                    wal = opened.wal;
                }
                _ => {
                    // Late promises of a height below happen too.
                    let height = Height((now + up).saturating_sub(1));
                    wal.append(height, &payload).unwrap();
                    floor = floor.max(Some(height));
                    model.push(WalEntry { height, payload });
                }
            }
        }
    }
}
