//! What the ledger keeps on disk: the block log, the WAL of consensus, and an index that can be rebuilt.
//!
//! | piece | folder | durable | if it is damaged |
//! |---|---|---|---|
//! | [`log`] | `ledger/` | yes: it is the truth | reported with its place; [`Log::set_aside_damage`] keeps what is whole, the rest comes from peers |
//! | [`wal`] | `wal/` | yes: what was promised may not be forgotten | reported with its place; the validator counts as wiped |
//! | [`index`] | `index/` | no: derived from the log | set aside and rebuilt |
//!
//! Log and WAL are files of [`records`], which holds the only code that writes, scans, checks and cuts them.
//!
//! # What is assumed, and what is not
//!
//! - A file whose `fsync` returned without an error holds its bytes after a crash; so does a name whose folder was
//!   synced. `rename` within one folder is atomic.
//! - Nothing is assumed of bytes not yet synced: after a crash each page of them may be there, missing, or zeros.
//! - A failed write or `fsync` leaves the content unknown, and a second `fsync` proves nothing. The handle refuses
//!   everything from then on; the node stops.
//! - One process writes: the node holds a [`disk::DirLock`]. Others may read ([`LogReader::open`]).
//!
//! Not its business: what the payloads mean, whether a block is valid, and who may sign what.

pub mod disk;
pub mod error;
mod format;
pub mod index;
pub mod log;
pub mod prepend;
pub mod records;
mod salvage;
mod scan;
mod segments;
pub mod wal;

pub use disk::DirLock;
pub use error::StoreError;
pub use index::{BlockEntry, HashPrefix, Index, IndexState, PrefixMatch, Told, TxPlace};
pub use log::{Log, LogOptions, OpenReport};
pub use prepend::Prepender;
pub use records::{Cut, PAYLOAD_BYTES_MAX};
pub use segments::{BlockRecord, Blocks, Location, LogReader};
pub use wal::{Wal, WalEntry, WalOpened, WalOptions};

/// The store's result.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

#[cfg(test)]
mod tests;
