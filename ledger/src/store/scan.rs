//! Reading record files: the scan that decides between a torn tail and damage, and the read of one record.

use super::Result;
use super::error::{IoContext, StoreError};
use super::format::{
    Checksum, FILE_HEADER_BYTES, FileHeader, FileKind, RECORD_HEADER_BYTES, RECORD_HEADER_LEN,
    RECORD_MAGIC, RecordHeader, RecordKind,
};
use super::records::Cut;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;

/// A whole record that a scan met.
pub(super) struct Record<'a> {
    pub number: u64,
    pub offset: u64,
    pub kind: RecordKind,
    pub height: u64,
    pub payload: &'a [u8],
}

/// What a scan found.
#[derive(Debug)]
pub(super) struct Scanned {
    pub header: FileHeader,
    /// The file's length up to the last whole record.
    pub len: u64,
    /// How much of it some record knows to be durable.
    pub durable_len: u64,
    /// The tail that is to be cut off.
    pub cut: Option<Cut>,
}

/// Reads a whole file and changes nothing. See [`super::records`] for what it decides.
pub(super) fn scan(
    file: &File,
    path: &Path,
    kind: FileKind,
    mut visit: impl FnMut(&Record<'_>) -> Result<()>,
) -> Result<Scanned> {
    let header = FileHeader::read(file, path, kind)?;
    let end = file.metadata().at("read the length of", path)?.len();
    let mut found = Scanned {
        header,
        len: FILE_HEADER_BYTES,
        durable_len: header.born_bytes,
        cut: None,
    };
    let mut reader = reader_at(file, path, FILE_HEADER_BYTES)?;
    let mut payload = Vec::new();
    let mut records = 0;
    while found.len < end {
        match next(&mut reader, path, header.salt, found.len, end, &mut payload)? {
            Ok(record) => {
                // The offset is under the checksum, so this can only be an error of ours.
                if record.durable_len > found.len {
                    let what = "the record tells nonsense about what was durable";
                    return Err(StoreError::damaged(path, found.len, records, what));
                }
                visit(&Record {
                    number: records,
                    offset: found.len,
                    kind: record.kind,
                    height: record.height,
                    payload: &payload,
                })?;
                records += 1;
                found.durable_len = found.durable_len.max(record.durable_len);
                found.len += record.record_bytes();
            }
            Err(what) => {
                if let Some(witness) = later_witness(file, path, header.salt, found.len, end)? {
                    let what = format!(
                        "{what}, and the record at byte {witness} was written after it was durable"
                    );
                    return Err(StoreError::damaged(path, found.len, records, what));
                }
                found.cut = Some(Cut {
                    path: path.to_owned(),
                    offset: found.len,
                    records,
                    bytes: end - found.len,
                    what: what.to_owned(),
                });
                break;
            }
        }
    }
    // A file shortened at a record's end leaves no bad record behind, so that this is asked last and of all.
    if found.len < found.durable_len {
        let what = match found.cut {
            Some(cut) => cut.what,
            None => "the file ends here, and was longer once".to_owned(),
        };
        return Err(StoreError::damaged(path, found.len, records, what));
    }
    Ok(found)
}

/// The record at `offset` in full, or what is wrong with it.
fn next(
    reader: &mut impl Read,
    path: &Path,
    salt: u64,
    offset: u64,
    end: u64,
    payload: &mut Vec<u8>,
) -> Result<Result<RecordHeader, &'static str>> {
    if end - offset < RECORD_HEADER_BYTES {
        return Ok(Err("the file ends within a record header"));
    }
    let mut bytes = [0; RECORD_HEADER_LEN];
    reader.read_exact(&mut bytes).at("read", path)?;
    let header = match RecordHeader::decode(&bytes, salt, offset) {
        Ok(header) => header,
        Err(what) => return Ok(Err(what)),
    };
    if header.record_bytes() > end - offset {
        return Ok(Err("the file ends within a record"));
    }
    // Bounded twice: by PAYLOAD_BYTES_MAX in `decode`, and by what the file holds.
    payload.resize(header.payload_len as usize, 0);
    reader.read_exact(payload).at("read", path)?;
    if Checksum::new(salt, offset).add(payload).finish() != header.payload_checksum {
        return Ok(Err("the record's checksum is wrong"));
    }
    Ok(Ok(header))
}

/// A record header after `bad` that says `bad` was durable when it was written, searched byte by byte because the
/// length of the record at `bad` cannot be trusted.
fn later_witness(file: &File, path: &Path, salt: u64, bad: u64, end: u64) -> Result<Option<u64>> {
    let mut window = Vec::new();
    let mut at = bad + 1;
    while at + RECORD_HEADER_BYTES <= end {
        // Neighbouring windows overlap by a header less one byte, so that none is missed.
        let count = usize::try_from(end - at).map_or(READ_BYTES, |left| left.min(READ_BYTES));
        window.resize(count, 0);
        file.read_exact_at(&mut window, at).at("read", path)?;
        for (i, bytes) in window.windows(RECORD_HEADER_LEN).enumerate() {
            if bytes[0] != RECORD_MAGIC[0] || bytes[..4] != RECORD_MAGIC {
                continue;
            }
            let mut header = [0; RECORD_HEADER_LEN];
            header.copy_from_slice(bytes);
            let offset = at + i as u64;
            if RecordHeader::decode(&header, salt, offset).is_ok_and(|h| h.durable_len > bad) {
                return Ok(Some(offset));
            }
        }
        at += (count - (RECORD_HEADER_LEN - 1)) as u64;
    }
    Ok(None)
}

/// The offsets of all records of a segment that was finished, by hopping from header to header.
///
/// A finished segment was durable in full before the next one was begun: whatever is wrong in it is damage.
pub(super) fn offsets(file: &File, path: &Path, header: &FileHeader, end: u64) -> Result<Vec<u32>> {
    let mut reader = reader_at(file, path, FILE_HEADER_BYTES)?;
    let mut offsets = Vec::new();
    let mut at = FILE_HEADER_BYTES;
    while at < end {
        let number = offsets.len() as u64;
        let damaged = |what: &str| StoreError::damaged(path, at, number, what);
        if end - at < RECORD_HEADER_BYTES {
            return Err(damaged("the file ends within a record header"));
        }
        let mut bytes = [0; RECORD_HEADER_LEN];
        reader.read_exact(&mut bytes).at("read", path)?;
        let record = RecordHeader::decode(&bytes, header.salt, at).map_err(damaged)?;
        if record.record_bytes() > end - at {
            return Err(damaged("the file ends within a record"));
        }
        if record.kind != RecordKind::Block
            || header.first.checked_add(number) != Some(record.height)
        {
            return Err(damaged("the record is not the block that belongs here"));
        }
        offsets.push(u32::try_from(at).map_err(|_| damaged("the segment is too long"))?);
        skip(&mut reader, u64::from(record.payload_len)).at("read", path)?;
        at += record.record_bytes();
    }
    Ok(offsets)
}

/// Where a record is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordAt {
    pub salt: u64,
    pub offset: u64,
    /// Where the file's records end.
    pub end: u64,
}

/// One record: `prefix` is filled from the front of the payload, the rest is returned.
pub(super) fn read_record(
    file: &File,
    path: &Path,
    at: RecordAt,
    prefix: &mut [u8],
) -> Result<Result<(RecordHeader, Vec<u8>), &'static str>> {
    let RecordAt { salt, offset, end } = at;
    if end.saturating_sub(offset) < RECORD_HEADER_BYTES {
        return Ok(Err("the file ends within a record header"));
    }
    let mut bytes = [0; RECORD_HEADER_LEN];
    file.read_exact_at(&mut bytes, offset).at("read", path)?;
    let header = match RecordHeader::decode(&bytes, salt, offset) {
        Ok(header) => header,
        Err(what) => return Ok(Err(what)),
    };
    if header.record_bytes() > end - offset {
        return Ok(Err("the file ends within a record"));
    }
    let Some(rest_len) = (header.payload_len as usize).checked_sub(prefix.len()) else {
        return Ok(Err("the record is too short for what it should hold"));
    };
    let start = offset + RECORD_HEADER_BYTES;
    file.read_exact_at(prefix, start).at("read", path)?;
    let mut rest = vec![0; rest_len];
    file.read_exact_at(&mut rest, start + prefix.len() as u64)
        .at("read", path)?;
    let checksum = Checksum::new(salt, offset).add(prefix).add(&rest).finish();
    if checksum != header.payload_checksum {
        return Ok(Err("the record's checksum is wrong"));
    }
    Ok(Ok((header, rest)))
}

fn reader_at<'f>(file: &'f File, path: &Path, offset: u64) -> Result<BufReader<&'f File>> {
    let mut reader = BufReader::with_capacity(READ_BYTES, file);
    reader.seek(SeekFrom::Start(offset)).at("read", path)?;
    Ok(reader)
}

/// Goes forward without copying, and without a system call for what is buffered.
fn skip(reader: &mut BufReader<&File>, count: u64) -> std::io::Result<()> {
    if count <= reader.buffer().len() as u64 {
        if let Ok(count) = usize::try_from(count) {
            reader.consume(count);
        }
        return Ok(());
    }
    match i64::try_from(count) {
        Ok(count) => reader.seek_relative(count),
        Err(error) => Err(std::io::Error::other(error)),
    }
}
