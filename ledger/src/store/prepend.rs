//! Putting earlier blocks before those that a log holds: the history that a node which came by a snapshot fetches later.
//!
//! The newest comes first, so that a log is without gaps at any moment. A segment of them is written whole, under a temporary
//! name, synced, and only then given its name: a crash at any point leaves a log with the segment or without it. Its header
//! names the first height of the segment after it and its own length, since the one after cannot name it any more.
//!
//! Nothing here knows whether the blocks are true: whoever calls has held each against the hash in the one after it.

use super::error::StoreError;
use super::format::{FileHeader, Previous, RecordKind};
use super::log::SEGMENT_BYTES_LIMIT;
use super::records::{Latch, RecordFile};
use super::segments::{self, BlockRecord, LogReader};
use super::{Result, disk};
use crate::units::Height;

/// Puts blocks before those of a log. Readers of the log see them when they are durable.
#[derive(Debug)]
pub struct Prepender {
    reader: LogReader,
    latch: Latch,
}

impl Prepender {
    pub(super) fn new(reader: LogReader) -> Self {
        let latch = Latch::default();
        Self { reader, latch }
    }

    /// Puts these blocks, which are in the order of their heights and end just below the lowest one held, before it: all of
    /// them or none. They are durable when this returns. Nothing happens with no blocks.
    ///
    /// # Errors
    /// [`StoreError::NotConsecutive`] if they do not belong there; those of the disk: then the log is what it was, and this
    /// refuses everything from then on, since a segment that may have its name already must not be put again.
    pub fn prepend(&mut self, blocks: &[BlockRecord]) -> Result<()> {
        let Some(first) = blocks.first().map(|block| block.height) else {
            return Ok(());
        };
        self.latch.check(self.reader.dir())?;
        let after = self.check(first, blocks)?;
        let path = segments::segment_path(self.reader.dir(), first.0);
        let written = write(&path, first, after, blocks);
        if written.is_err() {
            // Left behind, it would only cost room until the next start.
            let _ = disk::remove_file(&disk::temporary_name(&path));
        }
        let bytes = self.latch.note(written)?;
        let first = first.0;
        let mut segments = self.reader.segments_mut();
        segments.old.insert(0, Previous { first, bytes });
        Ok(())
    }

    /// The lowest height held, if these blocks end just below it.
    fn check(&self, first: Height, blocks: &[BlockRecord]) -> Result<Height> {
        let not_consecutive = |expected, found| StoreError::NotConsecutive {
            path: self.reader.dir().to_owned(),
            expected,
            found,
        };
        let mut next = first;
        for block in blocks {
            if block.height != next {
                return Err(not_consecutive(next, block.height));
            }
            next = next.next();
        }
        // Of height 0 there is no block, and a log without blocks begins where it begins.
        match self.reader.first() {
            Some(held) if held == next && first > Height::GENESIS => {}
            held => return Err(not_consecutive(held.unwrap_or_default(), next)),
        }
        let bytes: u64 = blocks
            .iter()
            .map(|block| segments::block_bytes(block.payload.len()))
            .sum();
        if bytes > SEGMENT_BYTES_LIMIT {
            return Err(StoreError::TooLarge {
                path: self.reader.dir().to_owned(),
                bytes,
                max: SEGMENT_BYTES_LIMIT,
            });
        }
        Ok(next)
    }
}

/// Writes a whole segment, and gives its length.
fn write(
    path: &std::path::Path,
    first: Height,
    after: Height,
    blocks: &[BlockRecord],
) -> Result<u64> {
    let mut file = RecordFile::prepare(path, FileHeader::earlier(first.0, after.0))?;
    for block in blocks {
        let parts: [&[u8]; 2] = [block.block_hash.as_bytes(), &block.payload];
        file.append(RecordKind::Block, block.height.0, &parts)?;
    }
    Ok(file.publish(path)?.len())
}
