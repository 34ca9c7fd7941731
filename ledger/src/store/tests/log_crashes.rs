//! The process dies at each change that a log makes to the disk, and again while it recovers.

use super::super::Log;
use super::super::disk::fault;
use super::{Result, SMALL, append_blocks, block_hash, files, make_log, payload, restore};
use crate::units::Height;
use std::fs;
use std::path::Path;

/// Opens after a crash, and asserts that what is there is right and without gaps.
fn recover(dir: &Path, what: &str) -> Log {
    let (log, _) = Log::open_with(dir, SMALL).unwrap_or_else(|error| panic!("{what}: {error}"));
    if let (Some(first), Some(last)) = (log.first(), log.last()) {
        for height in first.0..=last.0 {
            let record = log.read(Height(height)).unwrap();
            let record = record.unwrap_or_else(|| panic!("{what}: block {height} is missing"));
            assert_eq!(record.block_hash, block_hash(height), "{what}");
            assert_eq!(record.payload, payload(height), "{what}");
        }
    }
    log
}

#[test]
fn no_acknowledged_block_is_lost_at_any_crash() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("ledger");
    for n in 0.. {
        let _ = fs::remove_dir_all(&dir);
        let armed = fault::crash_at(n);
        let mut acknowledged = 0;
        let ended = Log::open_with(&dir, SMALL)
            .and_then(|(mut log, _)| {
                (1..=25).try_for_each(|height| {
                    append_blocks(&mut log, [height])?;
                    acknowledged = height;
                    Ok(())
                })
            })
            .is_ok();
        drop(armed);
        let what = format!("crash {n}");
        let mut log = recover(&dir, &what);
        let last = log.last().map_or(0, |last| last.0);
        // The last block may have been whole without having been acknowledged.
        assert!((acknowledged..=acknowledged + 1).contains(&last), "{what}");
        append_blocks(&mut log, last + 1..=27).unwrap();
        if ended {
            assert!(n > 60, "only {n} crash points");
            break;
        }
    }
}

#[test]
fn a_second_crash_during_recovery_does_no_harm() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("ledger");
    make_log(&dir, 1..=20);
    let mut torn = files(&dir);
    let last = torn.last_mut().unwrap();
    last.1.pop();
    torn.push(("00000000000000000021.log.new".into(), vec![0; 20]));
    for n in 0.. {
        restore(&dir, &torn);
        let armed = fault::crash_at(n);
        let ended = Log::open_with(&dir, SMALL).is_ok();
        drop(armed);
        let log = recover(&dir, &format!("crash {n}"));
        assert_eq!(log.last(), Some(Height(19)), "crash {n}");
        if ended {
            assert!(n >= 5, "only {n} crash points");
            break;
        }
    }
}

/// Does something to a log of the blocks 1 to 20, dying at each of its operations in turn.
fn at_every_crash(act: impl Fn(&Path) -> Result<()>, check: impl Fn(&mut Log, bool, &str)) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("node/ledger");
    for n in 0.. {
        let _ = fs::remove_dir_all(root.path().join("node"));
        make_log(&dir, 1..=20);
        let armed = fault::crash_at(n);
        let ended = act(&dir).is_ok();
        drop(armed);
        let what = format!("crash {n}");
        let mut log = recover(&dir, &what);
        check(&mut log, ended, &what);
        if ended {
            assert!(n > 4, "only {n} crash points");
            break;
        }
    }
}

#[test]
fn dropping_old_segments_leaves_no_gap_at_any_crash() {
    at_every_crash(
        |dir| {
            let (mut log, _) = Log::open_with(dir, SMALL)?;
            log.truncate_before(Height(15)).map(|_| ())
        },
        |log, _, what| {
            assert_eq!(log.last(), Some(Height(20)), "{what}");
            assert!(log.first().unwrap() <= Height(15), "{what}");
        },
    );
}

#[test]
fn starting_over_leaves_the_old_log_or_the_new_one_at_any_crash() {
    at_every_crash(
        |dir| {
            let (mut log, _) = Log::open_with(dir, SMALL)?;
            log.reset_to(Height(501)).map(|_| ())
        },
        |log, ended, what| {
            let old = log.last() == Some(Height(20));
            let new = log.last().is_none() && log.next() == Some(Height(501));
            assert!(new || (old && !ended), "{what}: {:?}", log.last());
            let next = log.next().unwrap().0;
            append_blocks(log, next..=next + 3).unwrap();
        },
    );
}

#[test]
fn setting_damage_aside_can_be_done_again_after_any_crash() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("node/ledger");
    for n in 0.. {
        let _ = fs::remove_dir_all(root.path().join("node"));
        make_log(&dir, 1..=20);
        let mut damaged = files(&dir);
        // In the second record of the second segment.
        let len = damaged[1].1.len();
        damaged[1].1[len - 1] ^= 1;
        restore(&dir, &damaged);
        let armed = fault::crash_at(n);
        let ended = Log::set_aside_damage(&dir).is_ok();
        drop(armed);
        Log::set_aside_damage(&dir).unwrap();
        let log = recover(&dir, &format!("crash {n}"));
        let last = log.last().unwrap().0;
        let lost: u64 = damaged[2].0[..20].parse().unwrap();
        assert_eq!(last, lost - 2, "crash {n}");
        if ended {
            assert!(n > 5, "only {n} crash points");
            break;
        }
    }
}
