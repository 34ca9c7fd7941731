//! The archive: one snapshot in one file, to carry, publish or keep.
//!
//! # The format
//! ```text
//! "tintype archive\n" 16 ‖ format u8 = 1 ‖ length u32 ‖ manifest ‖ per chunk, in the manifest's order: length u32 ‖ whole chunk
//! ```
//! Numbers are big-endian; nothing follows the last chunk. No checksum is needed: everything is under the manifest's hashes,
//! and the manifest under its certificate.
//!
//! # Trust
//! None in the file. [`UnverifiedArchive`] has only read the manifest, and gives nothing else before that is believed
//! ([`UnverifiedArchive::verify_by`]). Each chunk is verified as it is read. Nothing is allocated for what a length only promises.
//!
//! # Cost
//! Reading streams: memory is that of a few chunks, which are verified on all cores. A file that can be sought in gives any
//! chunk by itself ([`ArchiveFile`]), after one small read a chunk.

mod file;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use file::ArchiveFile;
pub use read::{Archive, UnverifiedArchive, VerifiedBytes};
pub use write::ArchiveWriter;

use crate::{chunk::ChunkError, manifest::ManifestError};
use ledger::state::tree::Prefix;
use std::io;

/// How a file begins that is an archive.
const MAGIC: [u8; 16] = *b"tintype archive\n";
/// The format that is written, and read.
const FORMAT: u8 = 1;
/// Bytes before the manifest.
const HEAD_BYTES: usize = 16 + 1 + 4;

/// Why an archive is refused, or could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It does not begin as archives do.
    #[error("this is no snapshot archive: such a file begins with \"tintype archive\"")]
    Magic,
    /// A format that this program does not know.
    #[error("the archive is of format {0}, this program reads {FORMAT}; use a newer program")]
    Format(u8),
    /// It ends before its manifest does.
    #[error("the archive ends within its manifest, at byte {offset}: it was cut short")]
    CutManifest {
        /// Bytes that are there.
        offset: u64,
    },
    /// A manifest longer than there are.
    #[error("the archive promises a manifest of {0} bytes, none has so many")]
    ManifestLength(u64),
    /// The manifest is not to be believed.
    #[error("the archive's manifest: {0}")]
    Manifest(#[from] ManifestError),
    /// It ends before its last chunk does.
    #[error("the archive ends within chunk {} of {count}, at byte {offset}: it was cut short", .index + 1)]
    Cut {
        /// The chunk, counted from 0; the message counts from 1.
        index: u64,
        /// Chunks in all.
        count: u64,
        /// Bytes that are there.
        offset: u64,
    },
    /// A chunk is not what the manifest lists.
    #[error("chunk {} of {count}, at byte {offset} of the archive, below {prefix}: {error}", .index + 1)]
    Chunk {
        /// The chunk, counted from 0; the message counts from 1.
        index: u64,
        /// Chunks in all.
        count: u64,
        /// Where it begins in the file.
        offset: u64,
        /// Where it is in the state.
        prefix: Prefix,
        /// What is wrong.
        error: Box<ChunkError>,
    },
    /// Something follows the last chunk.
    #[error("the archive goes on after its last chunk, at byte {0}: nothing belongs there")]
    Trailing(u64),
}
