//! Earlier blocks are put before a log's: all of a segment or none of it at any crash, never with a gap, and damage to what
//! was put there is noticed like any other.

use super::super::disk::fault;
use super::super::{BlockRecord, Log, LogReader, Result, StoreError};
use super::{SMALL, append_blocks, block_hash, files, payload, restore};
use crate::units::Height;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

fn blocks(heights: RangeInclusive<u64>) -> Vec<BlockRecord> {
    let block = |height| BlockRecord {
        height: Height(height),
        block_hash: block_hash(height),
        payload: payload(height),
    };
    heights.map(block).collect()
}

/// A log as a fast sync leaves it, with the blocks 101 to 120.
fn make(dir: &Path) -> Log {
    let (mut log, _) = Log::open_with(dir, SMALL).unwrap();
    log.reset_to(Height(101)).unwrap();
    append_blocks(&mut log, 101..=120).unwrap();
    log
}

#[track_caller]
fn assert_holds(reader: &LogReader, heights: RangeInclusive<u64>) {
    assert_eq!(reader.first(), Some(Height(*heights.start())));
    assert_eq!(reader.last(), Some(Height(*heights.end())));
    let held: Vec<BlockRecord> = reader
        .iter_from(Height(*heights.start()))
        .collect::<Result<_>>()
        .unwrap();
    assert_eq!(held, blocks(heights));
}

/// From 101 down to 1, in three segments.
fn fill(log: &Log) -> Result<()> {
    let mut prepender = log.prepender();
    for heights in [60..=100, 31..=59, 1..=30] {
        prepender.prepend(&blocks(heights))?;
    }
    Ok(())
}

#[test]
fn a_log_grows_at_both_ends() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("ledger");
    let mut log = make(&dir);
    let reader = log.reader();
    let mut prepender = log.prepender();
    prepender.prepend(&blocks(60..=100)).unwrap();
    assert_holds(&reader, 60..=120);
    append_blocks(&mut log, 121..=140).unwrap();
    prepender.prepend(&blocks(1..=59)).unwrap();
    prepender.prepend(&[]).unwrap();
    assert_holds(&reader, 1..=140);
    drop(log);
    let (mut log, report) = Log::open_with(&dir, SMALL).unwrap();
    assert_eq!(report.first, Some(Height(1)));
    assert_holds(&log.reader(), 1..=140);
    // Someone else looks at it meanwhile.
    let (reader, _) = LogReader::open(&dir).unwrap();
    assert_holds(&reader, 1..=140);
    append_blocks(&mut log, 141..=150).unwrap();
    // What was fetched can go again, and come again.
    assert!(log.truncate_before(Height(101)).unwrap() >= 2);
    assert_eq!(log.first(), Some(Height(101)));
    fill(&log).unwrap();
    assert_holds(&log.reader(), 1..=150);
}

#[test]
fn what_does_not_end_just_below_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let log = make(&root.path().join("ledger"));
    let mut prepender = log.prepender();
    let mut gap = blocks(90..=100);
    gap.remove(3);
    for bad in [
        blocks(90..=99),
        blocks(90..=101),
        blocks(200..=210),
        blocks(0..=100),
        gap,
    ] {
        let error = prepender.prepend(&bad).unwrap_err();
        assert!(
            matches!(error, StoreError::NotConsecutive { .. }),
            "{error}"
        );
    }
    assert_holds(&log.reader(), 101..=120);

    let empty = root.path().join("empty");
    let (mut log, _) = Log::open(&empty).unwrap();
    log.reset_to(Height(101)).unwrap();
    let error = log.prepender().prepend(&blocks(90..=100)).unwrap_err();
    assert!(
        matches!(error, StoreError::NotConsecutive { .. }),
        "{error}"
    );
}

#[test]
fn a_crash_leaves_whole_segments_and_no_gap() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("ledger");
    for n in 0.. {
        let _ = fs::remove_dir_all(&dir);
        let log = make(&dir);
        let armed = fault::crash_at(n);
        let ended = fill(&log).is_ok();
        drop(armed);
        drop(log);
        let (mut log, report) = Log::open_with(&dir, SMALL).unwrap();
        let first = report.first.unwrap().0;
        assert!([101, 60, 31, 1].contains(&first), "crash {n}: {first}");
        assert_holds(&log.reader(), first..=120);
        append_blocks(&mut log, 121..=125).unwrap();
        if ended {
            assert_eq!(first, 1);
            assert!(n > 100, "only {n} crash points");
            break;
        }
    }
}

/// The disk has no room: the log is what it was and goes on at its end, and the next start puts the segment again.
#[test]
fn a_failure_costs_the_log_nothing() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("ledger");
    for n in 0.. {
        let _ = fs::remove_dir_all(&dir);
        let mut log = make(&dir);
        let mut prepender = log.prepender();
        let armed = fault::full_at(n);
        let ended = prepender.prepend(&blocks(90..=100)).is_ok();
        drop(armed);
        append_blocks(&mut log, 121..=125).unwrap();
        if ended {
            assert!(n > 10, "only {n} points");
            break;
        }
        assert_holds(&log.reader(), 101..=125);
        let refused = prepender.prepend(&blocks(95..=100)).unwrap_err();
        assert!(matches!(refused, StoreError::Stopped { .. }), "{refused}");
        drop(log);
        let (log, _) = Log::open_with(&dir, SMALL).unwrap();
        if log.first() == Some(Height(101)) {
            log.prepender().prepend(&blocks(90..=100)).unwrap();
        }
        assert_holds(&log.reader(), 90..=125);
    }
}

/// A segment that is gone, shorter, or of another log is noticed when the log is opened, whichever it is.
#[test]
fn a_missing_or_shortened_segment_is_damage() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("ledger");
    let log = make(&dir);
    fill(&log).unwrap();
    drop(log);
    let whole = files(&dir);
    let earlier = whole
        .iter()
        .filter(|(name, _)| name.as_str() < "00000000000000000101")
        .count();
    assert_eq!(earlier, 3);
    for at in 0..=earlier {
        if at > 0 {
            let mut gone = whole.clone();
            gone.remove(at);
            restore(&dir, &gone);
            let error = Log::open_with(&dir, SMALL).unwrap_err();
            assert!(error.is_damage(), "without {}: {error}", whole[at].0);
        }
        let mut shorter = whole.clone();
        shorter[at].1.pop();
        restore(&dir, &shorter);
        let error = Log::open_with(&dir, SMALL).unwrap_err();
        assert!(error.is_damage(), "{} shortened: {error}", whole[at].0);
    }
    // Without the very first nothing is missing between two: history begins later.
    restore(&dir, &whole[1..]);
    let (log, _) = Log::open_with(&dir, SMALL).unwrap();
    assert_holds(&log.reader(), 31..=120);
}

/// What stands before the damage is kept, and goes on as a log of its own.
#[test]
fn damage_in_it_is_set_aside_with_what_follows() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("ledger");
    let log = make(&dir);
    fill(&log).unwrap();
    drop(log);
    let mut damaged = files(&dir);
    let middle = damaged[1].1.len() / 2;
    damaged[1].1[middle] ^= 1;
    restore(&dir, &damaged);
    Log::set_aside_damage(&dir).unwrap().unwrap();
    let (mut log, _) = Log::open_with(&dir, SMALL).unwrap();
    assert_holds(&log.reader(), 1..=30);
    append_blocks(&mut log, 31..=50).unwrap();
    drop(log);
    assert_eq!(Log::set_aside_damage(&dir).unwrap(), None);
    let (log, _) = Log::open_with(&dir, SMALL).unwrap();
    assert_holds(&log.reader(), 1..=50);
}
