//! The one error of the store. Each message says what happened, to what, and what to do about it.

use crate::{hash::Hash, units::Height};
use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with what is kept on disk.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused or failed.
    #[error("cannot {doing} {}: {source}; {}", .path.display(), io_help(source))]
    Io {
        /// What was being done, as in "cannot ... PATH".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// An earlier write or fsync failed, so what is on disk is unknown and nothing more may be promised.
    #[error(
        "{} takes no more writes since one failed ({cause}); stop the node, put the cause right and start it again", .path.display()
    )]
    Stopped {
        /// The file.
        path: PathBuf,
        /// The first failure, in full.
        cause: String,
    },

    /// Bytes that were durable once are not what was written.
    #[error(
        "{} is damaged at byte {offset} (record {record}): {what}; check the disk, and restore the file or let the node fetch what is missing from its peers", .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged record begins.
        offset: u64,
        /// Its number in the file, from 0; for a damaged file header also 0.
        record: u64,
        /// What is wrong with it.
        what: String,
    },

    /// The file is of a kind or a format version that this program does not read.
    #[error(
        "{} is not for this program: {what}; use the version of tintype that wrote it, or another folder", .path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        what: String,
    },

    /// Another process holds the folder's lock.
    #[error(
        "another node runs in this folder ({}); stop it first, or give this one a folder of its own", .path.display()
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },

    /// A record is longer than the format allows.
    #[error("a record of {bytes} bytes does not fit into {}: at most {max} are allowed; this is an error in the program, report it", .path.display())]
    TooLarge {
        /// The file it was meant for.
        path: PathBuf,
        /// Its payload.
        bytes: u64,
        /// The largest payload.
        max: u64,
    },

    /// A block was appended that does not follow the last one.
    #[error("block {found} does not follow in {}, where {expected} comes next; this is an error in the program, report it", .path.display())]
    NotConsecutive {
        /// The log's folder.
        path: PathBuf,
        /// The height that comes next.
        expected: Height,
        /// The height given.
        found: Height,
    },

    /// The log holds another block at a height than the one expected there.
    #[error(
        "the log {} holds block {found} at height {height}, not {expected}; the index belongs to another log: restart the node after deleting the index folder", .path.display()
    )]
    OtherBlock {
        /// The log's folder.
        path: PathBuf,
        /// The height.
        height: Height,
        /// The hash asked for.
        expected: Hash,
        /// The hash found.
        found: Hash,
    },

    /// Something is already where a new one should be made.
    #[error("{} is already there and is not overwritten; use another folder, or remove it if you are sure", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },

    /// The index failed. It holds nothing that cannot be rebuilt.
    #[error("the index {} failed: {what}; restart the node, or delete the folder: it is rebuilt from the block log", .path.display())]
    Index {
        /// The index's folder.
        path: PathBuf,
        /// What sled said.
        what: String,
    },
}

impl StoreError {
    /// A stable name for scripts, in `snake_case`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "disk_full",
                _ => "disk_error",
            },
            Self::Stopped { .. } => "store_stopped",
            Self::Damaged { .. } => "store_damaged",
            Self::Format { .. } => "store_format",
            Self::Locked { .. } => "folder_in_use",
            Self::TooLarge { .. } => "record_too_large",
            Self::NotConsecutive { .. } => "block_not_consecutive",
            Self::OtherBlock { .. } => "other_block",
            Self::Exists { .. } => "already_exists",
            Self::Index { .. } => "index_failed",
        }
    }

    /// Whether the content was found damaged, as opposed to a disk that cannot be written or read now.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    pub(super) fn damaged(path: &Path, offset: u64, record: u64, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            offset,
            record,
            what: what.into(),
        }
    }

    pub(super) fn format(path: &Path, what: impl Into<String>) -> Self {
        Self::Format {
            path: path.to_owned(),
            what: what.into(),
        }
    }
}

/// Puts file and action to an I/O error.
pub(super) trait IoContext<T> {
    fn at(self, doing: &'static str, path: &Path) -> super::Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> super::Result<T> {
        self.map_err(|source| StoreError::Io {
            doing,
            path: path.to_owned(),
            source,
        })
    }
}

fn io_help(error: &io::Error) -> &'static str {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull => "stop the node, free space on this disk and start it again",
        ErrorKind::QuotaExceeded => {
            "stop the node, raise the quota or free space and start it again"
        }
        ErrorKind::FileTooLarge => {
            "stop the node, raise the limit on file sizes and start it again"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only, often after a disk error: check it, mount it writable and start the node again"
        }
        ErrorKind::PermissionDenied => "give the user that runs the node access to it",
        ErrorKind::NotFound => "check that the folder is the right one and its disk is mounted",
        _ => match error.raw_os_error() {
            // EMFILE and ENFILE have no stable kind.
            Some(23 | 24) => "raise the limit on open files and start the node again",
            _ => "stop the node, check the disk (kernel log, SMART) and start it again",
        },
    }
}
