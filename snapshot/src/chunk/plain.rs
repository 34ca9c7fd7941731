//! Entries as bytes, and bytes in a zstd frame of a promised length.
//!
//! ```text
//! bytes u64 ‖ zstd frame of `bytes` bytes
//! entry = key length u32 ‖ value length u32 ‖ key ‖ value
//! ```

use super::ChunkError;
use ledger::state::{places::Places, tree::EntryRef};

const ZSTD_LEVEL: i32 = 3;

/// Appends an entry.
pub(super) fn push_entry(plain: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    for part in [key, value] {
        // Bounded by BYTES_MAX, far below 2^32.
        let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
        plain.extend_from_slice(&len.to_be_bytes());
    }
    plain.extend_from_slice(key);
    plain.extend_from_slice(value);
}

/// The entries of `plain`, with the places that follow from their keys.
pub(super) fn entries(mut plain: &[u8]) -> Result<Vec<EntryRef<'_>>, ChunkError> {
    let (mut entries, mut places) = (Vec::new(), Places::default());
    while !plain.is_empty() {
        let bad = ChunkError::Entry(entries.len() as u64);
        let Some((entry, rest)) = entry(plain, &mut places) else {
            return Err(bad);
        };
        entries.push(entry);
        plain = rest;
    }
    Ok(entries)
}

fn entry<'a>(plain: &'a [u8], places: &mut Places) -> Option<(EntryRef<'a>, &'a [u8])> {
    let (key_len, plain) = plain.split_first_chunk::<4>()?;
    let (value_len, plain) = plain.split_first_chunk::<4>()?;
    let key_len = usize::try_from(u32::from_be_bytes(*key_len)).ok()?;
    let value_len = usize::try_from(u32::from_be_bytes(*value_len)).ok()?;
    let (key, plain) = plain.split_at_checked(key_len)?;
    let (value, plain) = plain.split_at_checked(value_len)?;
    let place = places.of(key)?;
    Some((EntryRef { place, key, value }, plain))
}

/// Appends the packed form of `plain` to a head.
pub(super) fn pack(mut head: Vec<u8>, plain: &[u8]) -> Result<Vec<u8>, ChunkError> {
    let frame = zstd::bulk::compress(plain, ZSTD_LEVEL).map_err(|e| compression(&e))?;
    head.extend_from_slice(&(plain.len() as u64).to_be_bytes());
    head.extend_from_slice(&frame);
    Ok(head)
}

/// What was packed, of at most `bytes_max` bytes: allocated only once that is known.
pub(super) fn unpack(packed: &[u8], bytes_max: u64) -> Result<Vec<u8>, ChunkError> {
    let (promise, frame) = packed
        .split_first_chunk::<8>()
        .ok_or(ChunkError::NoHead(packed.len()))?;
    let promise = u64::from_be_bytes(*promise);
    let too_much = ChunkError::Promise {
        found: promise,
        max: bytes_max,
    };
    if promise > bytes_max {
        return Err(too_much);
    }
    let capacity = usize::try_from(promise).map_err(|_| too_much)?;
    let plain = zstd::bulk::decompress(frame, capacity).map_err(|e| compression(&e))?;
    if plain.len() != capacity {
        return Err(ChunkError::Compression(format!(
            "{} bytes, {promise} were promised",
            plain.len()
        )));
    }
    Ok(plain)
}

fn compression(error: &std::io::Error) -> ChunkError {
    ChunkError::Compression(error.to_string())
}
