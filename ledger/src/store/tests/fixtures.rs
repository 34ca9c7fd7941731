//! The format on disk, byte by byte, as `docs/formats.md` draws it. A change here makes existing nodes unreadable:
//! it needs a new format version.

use super::super::format::{FileHeader, FileKind, Previous, RecordKind};
use super::super::records::RecordFile;
use super::super::{LogReader, Wal};
use crate::{hash::Hash, units::Height};
use std::fs;
use std::path::Path;

const SALT: u64 = 0x0102_0304_0506_0708;

/// A WAL with its head and one promise of height 7.
const WAL: &[&str] = &[
    "54494e5459504500", // magic "TINTYPE\0"
    "0001",             // format version
    "02",               // kind: WAL
    "00",
    "0102030405060708", // salt
    "0000000000000000", // first height
    "ffffffffffffffff", // no segment before
    "0000000000000000", // its length
    "000000000000005d", // born with 93 bytes
    "3a7ad962",         // checksum
    // Record 0, at 56.
    "a7524543",         // magic
    "00000001",         // payload length
    "0000000000000000", // height
    "0000000000000038", // durable: 56
    "02",               // kind: head of a WAL
    "000000",
    "1e590580", // payload checksum
    "37c98dd4", // header checksum
    "00",       // never signed
    // Record 1, at 93.
    "a7524543",
    "00000007",
    "0000000000000007",
    "000000000000005d", // durable: 93
    "03",               // kind: promise
    "000000",
    "5944a668",
    "cb095cdb",
    "70726f6d697365", // "promise"
];

/// A segment of a log that begins with block 1000, after a segment of 4321 bytes that began with block 900.
const SEGMENT: &[&str] = &[
    "54494e5459504500", // magic
    "0001",             // format version
    "01",               // kind: segment of the block log
    "00",
    "0102030405060708", // salt
    "00000000000003e8", // first height: 1000
    "0000000000000384", // the segment before: 900
    "00000000000010e1", // its length: 4321
    "0000000000000038", // born with its header alone
    "c21929b7",         // checksum
    // Record 0, at 56.
    "a7524543",
    "00000025",         // payload length: hash and 5 bytes
    "00000000000003e8", // height 1000
    "0000000000000038", // durable: 56
    "01",               // kind: block
    "000000",
    "ab5d9672",                                                         // payload checksum
    "1350dc97",                                                         // header checksum
    "abababababababababababababababababababababababababababababababab", // block hash
    "626c6f636b",                                                       // "block"
];

/// The header of a segment of the blocks 900 to 999, which was put before the one that begins with block 1000.
const EARLIER: &[&str] = &[
    "54494e5459504500", // magic
    "0001",             // format version
    "03",               // kind: segment that was put before the others
    "00",
    "0102030405060708", // salt
    "0000000000000384", // first height: 900
    "00000000000003e8", // the segment after: 1000
    "0000000000000000",
    "00000000000010e1", // born with 4321 bytes
    "de7d797d",         // checksum
];

fn write(path: &Path, parts: &[&str]) {
    fs::write(path, hex::decode(parts.concat()).unwrap()).unwrap();
}

fn header(kind: FileKind) -> FileHeader {
    FileHeader {
        salt: SALT,
        ..FileHeader::new(kind, 0, None)
    }
}

#[test]
fn a_wal_is_written_as_the_fixture_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("promises");
    let mut file = RecordFile::prepare(&path, header(FileKind::Wal)).unwrap();
    file.append(RecordKind::WalHead, 0, &[&[0]]).unwrap();
    let mut file = file.publish(&path).unwrap();
    file.append(RecordKind::Promise, 7, &[b"promise"]).unwrap();
    assert_eq!(hex::encode(fs::read(&path).unwrap()), WAL.concat());
}

#[test]
fn the_fixture_of_a_wal_is_read() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("promises"), WAL);
    let opened = Wal::open(dir.path(), Height(0)).unwrap().unwrap();
    assert_eq!(opened.wal.floor(), Some(Height(7)));
    assert_eq!(opened.entries.len(), 1);
    assert_eq!(opened.entries[0].payload, b"promise");
}

#[test]
fn a_segment_is_written_as_the_fixture_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("segment");
    let header = FileHeader {
        first: 1000,
        previous: Some(Previous {
            first: 900,
            bytes: 4321,
        }),
        ..header(FileKind::LogSegment)
    };
    let file = RecordFile::prepare(&path, header).unwrap();
    let mut file = file.publish(&path).unwrap();
    file.append(RecordKind::Block, 1000, &[&[0xab; 32], b"block"])
        .unwrap();
    assert_eq!(hex::encode(fs::read(&path).unwrap()), SEGMENT.concat());
}

#[test]
fn the_fixture_of_a_segment_is_read() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("00000000000000001000.log"), SEGMENT);
    let (log, report) = LogReader::open(dir.path()).unwrap();
    assert_eq!(report.cut, None);
    let record = log.read(Height(1000)).unwrap().unwrap();
    assert_eq!(record.block_hash, Hash([0xab; 32]));
    assert_eq!(record.payload, b"block");
}

#[test]
fn the_header_of_an_earlier_segment_is_written_and_read_as_the_fixture_says() {
    let header = FileHeader {
        salt: SALT,
        born_bytes: 4321,
        ..FileHeader::earlier(900, 1000)
    };
    assert_eq!(hex::encode(header.encode()), EARLIER.concat());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("segment");
    write(&path, EARLIER);
    let file = fs::File::open(&path).unwrap();
    let read = FileHeader::read(&file, &path, FileKind::LogSegment).unwrap();
    assert_eq!(read, header);
    // It is no WAL.
    FileHeader::read(&file, &path, FileKind::Wal).unwrap_err();
}
