//! Record files: what was synced is never silently believed wrong, what was not may go, and nothing else happens.

use super::super::disk::set_len;
use super::super::error::StoreError;
use super::super::format::{
    Checksum, FILE_HEADER_BYTES, FileHeader, FileKind, RECORD_HEADER_BYTES, RecordHeader,
    RecordKind,
};
use super::super::records::PAYLOAD_BYTES_MAX;
use super::{Entry, entries, new_file, payload, put};
use proptest::prelude::*;
use std::fs::{self, OpenOptions};
use std::path::Path;

/// A file of five records, each synced, and what it holds.
fn sample(path: &Path) -> Vec<Entry> {
    let mut file = new_file(path).unwrap();
    (1..=5)
        .map(|height| {
            put(&mut file, height, &payload(height)).unwrap();
            file.sync().unwrap();
            (height, payload(height))
        })
        .collect()
}

/// Where each record begins, and the end.
fn starts(entries: &[Entry]) -> Vec<usize> {
    let mut starts = vec![usize::try_from(FILE_HEADER_BYTES).unwrap()];
    for (_, payload) in entries {
        let header = usize::try_from(RECORD_HEADER_BYTES).unwrap();
        starts.push(starts.last().unwrap() + header + payload.len());
    }
    starts
}

#[test]
fn what_was_appended_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let expected = sample(&path);
    let (mut file, found, cut) = entries(&path).unwrap();
    assert_eq!((found, cut), (expected.clone(), None));
    put(&mut file, 6, b"more").unwrap();
    drop(file);
    let (_, found, _) = entries(&path).unwrap();
    assert_eq!(found.len(), expected.len() + 1);
}

#[test]
fn no_flipped_bit_is_accepted_silently() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let expected = sample(&path);
    let bytes = fs::read(&path).unwrap();
    let last = starts(&expected)[4];
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            fs::write(&path, &damaged).unwrap();
            match entries(&path) {
                // With nothing written after it, the last record looks as if it were torn. It goes, and that is said.
                Ok((_, found, cut)) => {
                    assert!(at >= last, "a flip at byte {at} was accepted");
                    assert_eq!(found, expected[..4], "byte {at}");
                    let cut = cut.unwrap();
                    assert_eq!((cut.offset, cut.records), (last as u64, 4));
                }
                Err(StoreError::Damaged { offset, record, .. }) => {
                    assert!(at < last, "a torn tail was taken for damage, byte {at}");
                    let place = starts(&expected).partition_point(|start| *start <= at);
                    let record_expected = place.saturating_sub(1);
                    assert_eq!(record, record_expected as u64, "byte {at}");
                    if place > 0 {
                        assert_eq!(offset, starts(&expected)[record_expected] as u64);
                    }
                    let after = fs::read(&path).unwrap();
                    assert_eq!(after, damaged, "opening changed a damaged file");
                }
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
    }
}

#[test]
fn a_file_cut_at_any_length_yields_its_whole_records() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let expected = sample(&path);
    let bytes = fs::read(&path).unwrap();
    let starts = starts(&expected);
    for len in 0..=bytes.len() {
        fs::write(&path, &bytes[..len]).unwrap();
        let whole = starts.iter().filter(|start| **start <= len).count();
        match entries(&path) {
            Ok((_, found, cut)) => {
                assert_eq!(found, expected[..whole - 1], "length {len}");
                assert_eq!(cut.is_some(), !starts.contains(&len), "length {len}");
                // What is reported gone is gone: the next opening has nothing to say.
                let (_, again, cut) = entries(&path).unwrap();
                assert_eq!((again, cut), (found, None));
            }
            // The header was there before the file had its name.
            Err(error) => assert!(whole == 0 && error.is_damage(), "length {len}: {error}"),
        }
    }
}

#[test]
fn a_tail_of_zeros_or_garbage_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let expected = sample(&path);
    let bytes = fs::read(&path).unwrap();
    for len in [1, 3, 35, 36, 37, 100, 4096, 300_000] {
        for fill in [0, 0xA7, 0xFF] {
            let mut long = bytes.clone();
            long.resize(bytes.len() + len, fill);
            fs::write(&path, &long).unwrap();
            let (_, found, cut) = entries(&path).unwrap();
            assert_eq!(found, expected);
            assert_eq!(cut.unwrap().bytes, len as u64);
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }
}

#[test]
fn damage_far_before_its_witness_is_found() {
    // The search for a later record reads in windows; the witness lies around each edge of the first ones.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for distance in [256 << 10, 512 << 10] {
        for shift in 0..80 {
            let mut file = new_file(&path).unwrap();
            let bad = put(&mut file, 1, &vec![7; distance - shift]).unwrap();
            file.sync().unwrap();
            put(&mut file, 2, b"witness").unwrap();
            drop(file);
            let mut bytes = fs::read(&path).unwrap();
            bytes[usize::try_from(bad).unwrap()] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(entries(&path).unwrap_err().is_damage(), "shift {shift}");
        }
    }
}

#[test]
fn the_image_of_a_record_in_a_payload_is_no_witness() {
    // A stranger's transaction holds a copy of a record, of this file even; then the tail tears.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let expected = sample(&path);
    let bytes = fs::read(&path).unwrap();
    let (mut file, ..) = entries(&path).unwrap();
    let images = bytes[usize::try_from(FILE_HEADER_BYTES).unwrap()..].repeat(3);
    put(&mut file, 6, &images).unwrap();
    drop(file);
    let len = fs::metadata(&path).unwrap().len();
    let writable = OpenOptions::new().write(true).open(&path).unwrap();
    set_len(&writable, &path, len - 1).unwrap();
    let (_, found, cut) = entries(&path).unwrap();
    assert_eq!(found, expected);
    assert!(cut.is_some());
}

#[test]
fn a_record_is_valid_at_its_own_place_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let expected = sample(&path);
    let bytes = fs::read(&path).unwrap();
    let starts = starts(&expected);
    // The second record once more at the end.
    let copy = &bytes[starts[1]..starts[2]];
    fs::write(&path, [&bytes, copy].concat()).unwrap();
    assert_eq!(entries(&path).unwrap().1, expected);
    // The second record left out.
    fs::write(&path, [&bytes[..starts[1]], &bytes[starts[2]..]].concat()).unwrap();
    assert_eq!(entries(&path).unwrap().1, expected[..1]);
}

#[test]
fn the_largest_payload_fits_and_no_larger_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let mut file = new_file(&path).unwrap();
    let largest = vec![1; PAYLOAD_BYTES_MAX as usize];
    let error = file
        .append(RecordKind::Promise, 1, &[&largest, b"x"])
        .unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    // Refusing it has done no harm.
    put(&mut file, 1, &largest).unwrap();
    file.sync().unwrap();
    assert_eq!(entries(&path).unwrap().1, [(1, largest)]);
}

#[test]
fn a_length_beyond_the_bound_is_refused_before_it_is_allocated() {
    let header = RecordHeader {
        kind: RecordKind::Promise,
        height: 1,
        durable_len: FILE_HEADER_BYTES,
        payload_len: PAYLOAD_BYTES_MAX + 1,
        payload_checksum: Checksum::new(1, 56).finish(),
    };
    let found = RecordHeader::decode(&header.encode(1, 56), 1, 56);
    assert_eq!(found, Err("the record is longer than allowed"));
}

#[test]
fn files_of_other_kinds_and_versions_are_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let header = FileHeader::new(FileKind::LogSegment, 1, None);
    fs::write(&path, header.encode()).unwrap();
    let error = entries(&path).unwrap_err();
    assert!(matches!(error, StoreError::Format { .. }), "{error}");

    let mut newer = FileHeader::new(FileKind::Wal, 0, None).encode();
    newer[9] = 2;
    let checksum = crc32fast::hash(&newer[..52]);
    newer[52..].copy_from_slice(&checksum.to_be_bytes());
    fs::write(&path, newer).unwrap();
    let error = entries(&path).unwrap_err();
    assert!(error.to_string().contains("format version 2"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// After a power failure the bytes that were not synced may be anything, page by page, whatever lies behind them.
    #[test]
    fn whatever_happened_to_unsynced_bytes_the_synced_ones_open(
        lens in prop::collection::vec(0usize..300, 1..12),
        synced in 0usize..12,
        length in 0.0f64..1.2,
        holes in prop::collection::vec((0.0f64..1.0, 1usize..200, any::<Option<u8>>()), 0..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = new_file(&path).unwrap();
        let mut written = Vec::new();
        let mut durable = file.len();
        for (i, len) in lens.iter().enumerate() {
            let entry = (i as u64, vec![u8::try_from(i).unwrap(); *len]);
            put(&mut file, entry.0, &entry.1).unwrap();
            written.push(entry);
            if i < synced {
                file.sync().unwrap();
                durable = file.len();
            }
        }
        drop(file);
        let mut bytes = fs::read(&path).unwrap();
        let durable = usize::try_from(durable).unwrap();
        let loose = bytes.len() - durable;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let part = |of: f64| (loose as f64 * of) as usize;
        for (at, len, fill) in holes {
            for byte in bytes[durable..].iter_mut().skip(part(at)).take(len) {
                *byte = fill.unwrap_or(*byte ^ 0x10);
            }
        }
        bytes.resize(durable + part(length), 0);
        fs::write(&path, &bytes).unwrap();

        let (file, found, _) = entries(&path).unwrap();
        prop_assert!(found.len() >= synced.min(written.len()));
        prop_assert_eq!(&found[..], &written[..found.len()]);
        drop(file);
        let (_, again, cut) = entries(&path).unwrap();
        prop_assert_eq!((again, cut), (found, None));
    }
}
