//! The words every part of Tintype speaks: keys, transactions, blocks, certificates, validator sets and the genesis;
//! the state tree and the state machine; the block log.
//!
//! Everything here is pure except [`store`], which owns the disk.

pub mod hash;
pub mod state;
