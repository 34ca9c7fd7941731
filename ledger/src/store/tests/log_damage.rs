//! A log with any byte of it damaged, any part missing: never a wrong block, never a silent gap.

use super::super::{Log, LogOptions, LogReader, StoreError};
use super::{SMALL, append_blocks, block_hash, files, make_log, payload, restore};
use crate::units::Height;
use std::path::Path;

const LAST: u64 = 30;

/// Opens and reads everything. Returns how many blocks are there, or the error; a wrong block panics.
fn read_all(dir: &Path, what: &str) -> Result<u64, StoreError> {
    let (log, report) = Log::open_with(dir, SMALL)?;
    let last = log.last().map_or(0, |last| last.0);
    for height in 1..=last {
        let record = log.read(Height(height))?;
        let record = record.unwrap_or_else(|| panic!("{what}: block {height} is silently missing"));
        assert_eq!(record.block_hash, block_hash(height), "{what}");
        assert_eq!(record.payload, payload(height), "{what}");
    }
    assert_eq!(
        report.cut.is_some(),
        last != LAST,
        "{what}: blocks went and nothing was said, or the reverse"
    );
    Ok(last)
}

#[test]
fn no_flipped_byte_of_a_log_is_accepted_silently() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("ledger");
    make_log(&dir, 1..=LAST);
    let sound = files(&dir);
    assert!(sound.len() > 4);
    let mut cut = 0;
    for file in 0..sound.len() {
        for at in 0..sound[file].1.len() {
            let mut damaged = sound.clone();
            damaged[file].1[at] ^= 1 << (at % 8);
            restore(&dir, &damaged);
            match read_all(&dir, &format!("{} byte {at}", sound[file].0)) {
                Ok(last) => {
                    // Only the record that was written last of all can be taken for torn.
                    assert_eq!((last, file), (LAST - 1, sound.len() - 1), "byte {at}");
                    cut += 1;
                }
                Err(StoreError::Damaged { path, .. }) => {
                    // Where two segments disagree about each other, either may be named.
                    let named = path.file_name().unwrap().to_str().unwrap().to_owned();
                    assert_eq!(named, sound[file].0, "byte {at}");
                }
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
    }
    let last_record = 36 + 32 + payload(LAST).len();
    assert_eq!(
        cut, last_record,
        "not every byte of the last record was cut"
    );
}

#[test]
fn a_log_cut_at_any_length_of_its_last_segment_is_a_shorter_log() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("ledger");
    make_log(&dir, 1..=LAST);
    let sound = files(&dir);
    let len = sound.last().unwrap().1.len();
    for keep in 0..len {
        let mut cut = sound.clone();
        cut.last_mut().unwrap().1.truncate(keep);
        restore(&dir, &cut);
        match Log::open_with(&dir, SMALL) {
            Ok((mut log, _)) => {
                assert!(keep >= 56);
                let next = log.next().unwrap().0;
                append_blocks(&mut log, next..=LAST + 5).unwrap();
                drop(log);
                let (log, _) = Log::open_with(&dir, SMALL).unwrap();
                assert_eq!(log.iter_from(Height(1)).filter(|r| r.is_ok()).count(), 35);
            }
            Err(error) => assert!(keep < 56 && error.is_damage(), "{keep}: {error}"),
        }
    }
}

#[test]
fn a_missing_shortened_or_foreign_segment_is_named() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("ledger");
    make_log(&dir, 1..=LAST);
    let sound = files(&dir);
    for i in 1..sound.len() - 1 {
        let mut missing = sound.clone();
        let (name, _) = missing.remove(i);
        restore(&dir, &missing);
        let error = Log::open(&dir).unwrap_err().to_string();
        assert!(
            error.contains(&name) && error.contains("missing"),
            "{error}"
        );

        let mut short = sound.clone();
        let len = short[i].1.len();
        short[i].1.truncate(len - 1);
        restore(&dir, &short);
        let error = Log::open(&dir).unwrap_err().to_string();
        assert!(error.contains(&short[i].0), "{error}");

        let mut renamed = sound.clone();
        renamed[i].0 = "00000000000000009999.log".into();
        restore(&dir, &renamed);
        assert!(Log::open(&dir).unwrap_err().is_damage());
    }
    // The first one may be missing: it looks as one that was dropped on purpose.
    restore(&dir, &sound[1..]);
    Log::open(&dir).unwrap();
}

#[test]
fn after_damage_the_whole_part_is_kept_and_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("ledger");
    make_log(&dir, 1..=LAST);
    let sound = files(&dir);
    for file in 0..sound.len() {
        for at in (0..sound[file].1.len()).step_by(7) {
            let mut damaged = sound.clone();
            damaged[file].1[at] ^= 0x80;
            restore(&dir, &damaged);
            let Some(aside) = Log::set_aside_damage(&dir).unwrap() else {
                // The tail looks torn, which opening sees to.
                assert_eq!(file, sound.len() - 1);
                continue;
            };
            for (name, bytes) in files(&aside) {
                assert!(
                    damaged.contains(&(name, bytes)),
                    "what was set aside was changed"
                );
            }
            std::fs::remove_dir_all(&aside).unwrap();
            assert_eq!(Log::set_aside_damage(&dir).unwrap(), None);
            let (mut log, report) = Log::open_with(&dir, SMALL).unwrap();
            assert_eq!(report.cut, None);
            let next = log.next().map_or(1, |next| next.0);
            append_blocks(&mut log, next..=LAST).unwrap();
            drop(log);
            assert_eq!(read_all(&dir, "mended").unwrap(), LAST);
        }
    }
}

#[test]
fn a_sound_or_torn_log_is_not_set_aside() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("ledger");
    make_log(&dir, 1..=LAST);
    let mut torn = files(&dir);
    assert_eq!(Log::set_aside_damage(&dir).unwrap(), None);
    torn.last_mut().unwrap().1.pop();
    restore(&dir, &torn);
    assert_eq!(Log::set_aside_damage(&dir).unwrap(), None);
    assert_eq!(files(&dir), torn);
    let (reader, _) = LogReader::open(&dir).unwrap();
    assert_eq!(reader.last(), Some(Height(LAST - 1)));
}

#[test]
fn a_reader_goes_to_the_damage_in_the_last_segment_and_says_where_blocks_are() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("ledger");
    let options = LogOptions::default();
    let (mut log, _) = Log::open_with(&dir, options).unwrap();
    append_blocks(&mut log, 1..=LAST).unwrap();
    drop(log);
    let (sound, _) = LogReader::open(&dir).unwrap();
    let (path, offset) = sound.place(Height(20)).unwrap();
    assert_eq!(sound.place(Height(LAST + 1)), None);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[usize::try_from(offset).unwrap() + 50] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (reader, report, damage) = LogReader::open_to_damage(&dir).unwrap();
    assert_eq!(
        (report.last, reader.last()),
        (Some(Height(19)), Some(Height(19)))
    );
    assert_eq!(
        reader.read(Height(19)).unwrap().unwrap().payload,
        payload(19)
    );
    match damage {
        Some(StoreError::Damaged {
            offset: found,
            record,
            ..
        }) => {
            assert_eq!((found, record), (offset, 19));
        }
        other => panic!("{other:?}"),
    }
    let error = LogReader::open(&dir).unwrap_err();
    assert!(error.is_damage(), "{error}");
}
