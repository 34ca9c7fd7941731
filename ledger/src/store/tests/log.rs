//! What a log promises while nothing breaks: order, segments, reading, dropping old blocks, starting over.

use super::super::disk::{Op, fault};
use super::super::{Log, LogReader, StoreError};
use super::{EIO, SMALL, append_blocks, block_hash, files, make_log, payload};
use crate::{hash::Hash, units::Height};
use proptest::prelude::*;
use std::path::Path;

fn open(dir: &Path) -> Log {
    Log::open_with(dir, SMALL).unwrap().0
}

/// Asserts that a log holds exactly these blocks.
fn assert_holds(log: &LogReader, first: u64, last: u64) {
    assert_eq!(
        (log.first(), log.last()),
        (Some(Height(first)), Some(Height(last)))
    );
    let mut expected = first;
    for record in log.iter_from(Height(first)) {
        let record = record.unwrap();
        assert_eq!(record.height, Height(expected));
        assert_eq!(record.block_hash, block_hash(expected));
        assert_eq!(record.payload, payload(expected));
        expected += 1;
    }
    assert_eq!(expected, last + 1, "the stream ended early");
    for outside in [first - 1, last + 1, u64::MAX] {
        assert_eq!(log.read(Height(outside)).unwrap(), None);
    }
}

#[test]
fn blocks_are_found_again_over_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("ledger");
    let (mut log, report) = Log::open_with(&dir, SMALL).unwrap();
    assert_eq!(
        (report.first, report.last, report.segments),
        (None, None, 0)
    );
    append_blocks(&mut log, 1..=100).unwrap();
    assert_holds(&log.reader(), 1, 100);
    drop(log);
    let (log, report) = Log::open_with(&dir, SMALL).unwrap();
    assert!(report.segments > 10, "only {} segments", report.segments);
    assert_eq!(report.cut, None);
    assert_holds(&log.reader(), 1, 100);
    assert_eq!(log.durable(), Some(Height(100)));
    // Backwards, so that tables of segments come and go.
    for height in (1..=100).rev() {
        let record = log.read_expecting(Height(height), &block_hash(height));
        assert_eq!(record.unwrap().unwrap().payload, payload(height));
    }
}

#[test]
fn a_log_begins_anywhere_and_has_no_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append_blocks(&mut log, 5001..=5003).unwrap();
    for wrong in [0, 5003, 5005] {
        let error = log
            .append(Height(wrong), &block_hash(wrong), b"")
            .unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::NotConsecutive {
                    expected: Height(5004),
                    ..
                }
            ),
            "{error}"
        );
    }
    append_blocks(&mut log, 5004..=5005).unwrap();
    assert_holds(&log.reader(), 5001, 5005);
}

#[test]
fn a_block_of_another_hash_is_not_given_out() {
    let dir = tempfile::tempdir().unwrap();
    make_log(dir.path(), 1..=3);
    let error = open(dir.path())
        .read_expecting(Height(2), &Hash([9; 32]))
        .unwrap_err();
    assert_eq!(error.code(), "other_block");
}

#[test]
fn only_synced_blocks_are_called_durable() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    log.append(Height(1), &block_hash(1), b"x").unwrap();
    assert_eq!((log.last(), log.durable()), (Some(Height(1)), None));
    log.sync().unwrap();
    assert_eq!(log.durable(), Some(Height(1)));
}

#[test]
fn a_failed_fsync_ends_all_writing_and_no_reading() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append_blocks(&mut log, 1..=3).unwrap();
    log.append(Height(4), &block_hash(4), b"x").unwrap();
    let armed = fault::fail(Op::Sync, 0, EIO);
    log.sync().unwrap_err();
    let asked = armed.operations();
    let stopped = |result: super::Result<()>| matches!(result, Err(StoreError::Stopped { .. }));
    assert!(stopped(log.sync()));
    assert!(stopped(
        log.append(Height(5), &block_hash(5), b"x").map(|_| ())
    ));
    assert!(stopped(log.truncate_before(Height(2)).map(|_| ())));
    assert!(stopped(log.reset_to(Height(9)).map(|_| ())));
    assert_eq!(armed.operations(), asked);
    assert_eq!(log.durable(), Some(Height(3)));
    assert!(log.read(Height(3)).unwrap().is_some());
}

#[test]
fn a_segment_that_cannot_be_begun_ends_all_writing() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    let armed = fault::fail(Op::SyncDir, 1, EIO);
    let failed_at = (1..)
        .find(|h| append_blocks(&mut log, [*h]).is_err())
        .unwrap();
    assert!(matches!(log.sync(), Err(StoreError::Stopped { .. })));
    drop(armed);
    assert_holds(&open(dir.path()).reader(), 1, failed_at - 1);
}

#[test]
fn old_segments_go_whole_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    make_log(dir.path(), 1..=60);
    let mut log = open(dir.path());
    assert_eq!(log.truncate_before(Height(1)).unwrap(), 0);
    let removed = log.truncate_before(Height(30)).unwrap();
    assert!(removed > 2);
    let first = log.first().unwrap().0;
    assert!((20..=30).contains(&first), "begins at {first}");
    assert_holds(&log.reader(), first, 60);
    drop(log);
    let mut log = open(dir.path());
    assert_holds(&log.reader(), first, 60);
    // The last segment stays whatever is asked.
    log.truncate_before(Height(1000)).unwrap();
    assert_eq!(log.last(), Some(Height(60)));
    append_blocks(&mut log, 61..=70).unwrap();
    assert_holds(&log.reader(), log.first().unwrap().0, 70);
}

#[test]
fn a_log_starts_over_after_a_fast_sync() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("ledger");
    make_log(&dir, 1..=20);
    let before = files(&dir);
    let mut log = open(&dir);
    let reader = log.reader();
    let aside = log.reset_to(Height(501)).unwrap().unwrap();
    assert_eq!(aside, root.path().join("ledger.set-aside-1"));
    assert_eq!(files(&aside), before);
    assert_eq!(
        (log.first(), log.last(), log.next()),
        (None, None, Some(Height(501)))
    );
    log.append(Height(21), &block_hash(21), b"").unwrap_err();
    append_blocks(&mut log, 501..=520).unwrap();
    assert_holds(&reader, 501, 520);
    drop(log);
    assert_holds(&open(&dir).reader(), 501, 520);
    // An empty log leaves nothing behind, and an empty one that was reset knows where it begins.
    let other = root.path().join("other");
    assert_eq!(open(&other).reset_to(Height(7)).unwrap(), None);
    assert_eq!(open(&other).next(), Some(Height(7)));
    assert_eq!(super::super::disk::names(root.path()).unwrap().len(), 3);
}

#[test]
fn a_reader_follows_while_blocks_are_appended() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append_blocks(&mut log, 1..=1).unwrap();
    let reader = log.reader();
    let follower = std::thread::spawn(move || {
        let mut height = 1;
        while height <= 300 {
            if let Some(record) = reader.read(Height(height)).unwrap() {
                assert_eq!(record.payload, payload(height));
                assert!(reader.read(Height(height.div_ceil(2))).unwrap().is_some());
                height += 1;
            }
        }
    });
    append_blocks(&mut log, 2..=300).unwrap();
    follower.join().unwrap();
}

#[test]
fn looking_at_a_log_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    make_log(dir.path(), 1..=30);
    let mut torn = files(dir.path());
    torn.last_mut().unwrap().1.extend([0; 100]);
    torn.push(("junk.new".into(), vec![1]));
    super::restore(dir.path(), &torn);
    torn.sort();
    let (reader, report) = LogReader::open(dir.path()).unwrap();
    assert_holds(&reader, 1, 30);
    assert_eq!(report.cut.unwrap().bytes, 100);
    assert_eq!(files(dir.path()), torn);
    // A writer cleans up.
    open(dir.path());
    assert_eq!(files(dir.path()).len(), torn.len() - 1);
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Reopen,
    Truncate(u8),
    Reset(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1u8..20).prop_map(Step::Append),
        2 => Just(Step::Reopen),
        1 => (0u8..60).prop_map(Step::Truncate),
        1 => (1u8..30).prop_map(Step::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_log_behaves_as_a_list_does(first in 0u64..1000, steps in prop::collection::vec(step(), 1..25)) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("ledger");
        let mut log = open(&dir);
        let (mut low, mut next) = (first, first);
        for step in steps {
            match step {
                Step::Append(count) => {
                    append_blocks(&mut log, next..next + u64::from(count)).unwrap();
                    next += u64::from(count);
                }
                Step::Reopen => {
                    drop(log);
                    log = open(&dir);
                }
                Step::Truncate(up) => {
                    let before = Height(low + u64::from(up));
                    log.truncate_before(before).unwrap();
                    if let Some(first) = log.first() {
                        prop_assert!(first.0 == low || first <= before);
                        low = first.0;
                    }
                }
                Step::Reset(up) => {
                    next += u64::from(up);
                    low = next;
                    log.reset_to(Height(next)).unwrap();
                }
            }
            let held = (low < next).then_some((Height(low), Height(next.saturating_sub(1))));
            prop_assert_eq!(log.first().zip(log.last()), held);
            for height in low..next {
                let record = log.read(Height(height)).unwrap().unwrap();
                prop_assert_eq!(record.payload, payload(height));
            }
            prop_assert_eq!(log.read(Height(next)).unwrap(), None);
            prop_assert_eq!(low.checked_sub(1).and_then(|h| log.read(Height(h)).unwrap()), None);
        }
    }
}
