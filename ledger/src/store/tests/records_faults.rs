//! Record files on a disk that fails, and in a process that dies at any of its writes.

use super::super::disk::{Op, fault};
use super::super::error::StoreError;
use super::{EIO, ENOSPC, Entry, entries, new_file, payload, put};
use std::fs;
use std::path::Path;

#[test]
fn a_failed_fsync_is_never_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let mut file = new_file(&path).unwrap();
    put(&mut file, 1, b"one").unwrap();
    let armed = fault::fail(Op::Sync, 0, EIO);
    let first = file.sync().unwrap_err();
    assert!(first.to_string().contains("file: "), "{first}");
    assert!(first.to_string().contains("stop the node"), "{first}");
    let asked = armed.operations();
    for _ in 0..3 {
        let again = file.sync().unwrap_err();
        assert!(matches!(again, StoreError::Stopped { .. }), "{again}");
        let error = put(&mut file, 2, b"two").unwrap_err();
        assert!(matches!(error, StoreError::Stopped { .. }), "{error}");
    }
    assert_eq!(armed.operations(), asked, "the disk was asked again");
}

#[test]
fn a_full_disk_says_what_to_do_and_loses_nothing_synced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let mut file = new_file(&path).unwrap();
    put(&mut file, 1, b"one").unwrap();
    file.sync().unwrap();
    let armed = fault::fail(Op::Write, 0, ENOSPC);
    let error = put(&mut file, 2, b"two").unwrap_err();
    assert_eq!(error.code(), "disk_full");
    let text = error.to_string();
    assert!(text.contains(&*path.display().to_string()), "{text}");
    assert!(text.contains("free space"), "{text}");
    assert!(matches!(file.sync(), Err(StoreError::Stopped { .. })));
    drop(armed);
    assert_eq!(entries(&path).unwrap().1, [(1, b"one".to_vec())]);
}

/// Writes ten records, syncs every second one, and returns how many were acknowledged before it failed.
fn script(path: &Path) -> (u64, bool) {
    let mut acknowledged = 0;
    let mut run = || -> super::Result<()> {
        let mut file = new_file(path)?;
        for height in 1..=10 {
            put(&mut file, height, &payload(height))?;
            if height % 2 == 0 {
                file.sync()?;
                acknowledged = height;
            }
        }
        Ok(())
    };
    let ended = run().is_ok();
    (acknowledged, ended)
}

fn expected(count: usize) -> Vec<Entry> {
    (1..=count as u64).map(|h| (h, payload(h))).collect()
}

#[test]
fn at_every_crash_what_was_acknowledged_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for n in 0.. {
        let _ = fs::remove_file(&path);
        let armed = fault::crash_at(n);
        let (acknowledged, ended) = script(&path);
        drop(armed);
        if ended {
            assert!(n > 15, "only {n} crash points");
            break;
        }
        if !path.exists() {
            assert_eq!(acknowledged, 0, "crash {n}");
            continue;
        }
        let (_, found, _) = entries(&path).unwrap();
        assert!(found.len() as u64 >= acknowledged, "crash {n}");
        assert_eq!(found, expected(found.len()), "crash {n}");
    }
}

#[test]
fn a_crash_during_recovery_changes_nothing_of_its_result() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    assert!(script(&path).1);
    let mut torn = fs::read(&path).unwrap();
    torn.truncate(torn.len() - 3);
    for n in 0.. {
        fs::write(&path, &torn).unwrap();
        let armed = fault::crash_at(n);
        let ended = entries(&path).is_ok();
        drop(armed);
        let (_, found, _) = entries(&path).unwrap();
        assert_eq!(found, expected(9), "crash {n}");
        if ended {
            assert!(n >= 3, "only {n} crash points");
            break;
        }
    }
}

#[test]
fn what_was_not_known_durable_is_written_again_before_it_is_believed() {
    // After a failed fsync the page cache may show what the disk does not have. Opening dirties those pages again.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let mut file = new_file(&path).unwrap();
    put(&mut file, 1, b"one").unwrap();
    drop(file);
    let armed = fault::fail(Op::Write, 0, EIO);
    assert!(entries(&path).is_err(), "the tail was not written again");
    assert!(armed.struck());
    drop(armed);
    let armed = fault::fail(Op::Sync, 0, EIO);
    assert!(entries(&path).is_err(), "the tail was not synced");
    drop(armed);
    assert_eq!(entries(&path).unwrap().1.len(), 1);
}
