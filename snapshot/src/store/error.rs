//! The one error of the chunk store. Each message says what happened, to which file, and what to do about it.

use crate::{
    chunk::{ChunkError, ChunkId},
    manifest::{ManifestError, ManifestId},
};
use ledger::state::tree::JoinError;
use std::{io, path::PathBuf};

/// What can go wrong with what is kept on disk.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused or failed.
    #[error("cannot {doing} {}: {source}; {}", path.display(), help(source))]
    Io {
        /// What was being done, as in "cannot ... PATH".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something else that the disk's operations refuse.
    #[error(transparent)]
    Disk(ledger::store::StoreError),
    /// A file is not what was written.
    #[error(
        "{} was damaged ({what}) and is set aside as {}; check the disk; the snapshots that need it are no longer offered",
        path.display(), aside.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it is now.
        aside: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A patch is not what was written.
    #[error(
        "{} was damaged ({what}); check the disk; the snapshots that need it are no longer offered", path.display()
    )]
    DamagedPatch {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A chunk that is not here.
    #[error("chunk {0} is not in the store; fetch it from a peer")]
    NoChunk(ChunkId),
    /// A manifest that is not here.
    #[error(
        "no snapshot with manifest {0} is in the store; `tintype snapshot list` shows those that are"
    )]
    NoManifest(ManifestId),
    /// A manifest whose chunks are not all here.
    #[error(
        "snapshot {id} is not whole: {missing} of its chunks are not in the store; fetch them first"
    )]
    NotWhole {
        /// The manifest.
        id: ManifestId,
        /// Chunks missing.
        missing: u64,
    },
    /// A state and a header that do not belong together.
    #[error("no snapshot can be made: {0}")]
    Manifest(#[from] ManifestError),
    /// A chunk that cannot be made.
    #[error("no chunk can be made: {0}")]
    Chunk(#[from] ChunkError),
    /// Verified chunks that make no tree: an error of this program.
    #[error("the chunks of snapshot {id} do not join ({source}); this is a bug, please report it")]
    Join {
        /// The manifest.
        id: ManifestId,
        /// What does not fit.
        source: JoinError,
    },
}

impl From<ledger::store::StoreError> for StoreError {
    fn from(error: ledger::store::StoreError) -> Self {
        use ledger::store::StoreError::Io;
        match error {
            // The advice differs: without a snapshot a node goes on, without a block it does not.
            Io {
                doing,
                path,
                source,
            } => Self::Io {
                doing,
                path,
                source,
            },
            other => Self::Disk(other),
        }
    }
}

/// What a caller of the store gets.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// What to do about an error of the operating system.
fn help(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or keep fewer snapshots; nothing that was whole is lost"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "let the user that runs the node write there"
        }
        io::ErrorKind::NotFound => "check that nothing else changes this folder",
        _ => "check the disk; the node may be started again when it is sound",
    }
}

/// Puts the file and what was done to it into an error.
pub(super) trait IoContext<T> {
    fn at(self, doing: &'static str, path: &std::path::Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &std::path::Path) -> Result<T> {
        self.map_err(|source| StoreError::Io {
            doing,
            path: path.to_owned(),
            source,
        })
    }
}
