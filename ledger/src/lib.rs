//! The words every part of Tintype speaks: keys, transactions, blocks, certificates, validator sets and the genesis;
//! the state tree and the state machine; the block log.
//!
//! Everything here is pure except `store`, which owns the disk, and comes with the feature of that name. Without it this is what
//! a wallet needs: see [`light`].

pub mod block;
pub mod certificate;
pub mod codec;
pub mod envelope;
pub mod genesis;
pub mod hash;
pub mod keys;
pub mod light;
pub mod state;
#[cfg(feature = "store")]
pub mod store;
pub mod transaction;
pub mod units;
pub mod untrusted;
pub mod validators;
