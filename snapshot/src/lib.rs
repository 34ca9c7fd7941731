//! Provable pictures of the ledger's state, on disk and from peer to peer.
//!
//! A snapshot is a *manifest* (certified header, validator set, and the upper part of the state tree) and *chunks*, which are
//! the subtrees below. Everything follows from the state's content, so all nodes make the same chunks under the same names.
//!
//! | module | what | I/O |
//! |---|---|---|
//! | [`manifest`] | what a snapshot consists of, and why it may be believed | none |
//! | [`chunk`] | a subtree as bytes | none |
//! | [`compare`] | what differs between two snapshots | none |
//! | [`pinpoint`] | where two states differ that others hold | what the caller asks |
//! | [`archive`] | a snapshot in one file | what the caller opens |
//! | [`scope`] | what of a state is wanted: all of it, or some of its chunks | none |
//! | [`sync`] | the joiner: replies in, requests out | none |
//! | [`store`] | the chunk store, its writer, retention | disk |
//!
//! Not here: talking to peers (`p2p`), deciding when to take a snapshot or what to do after a sync (`node`).

#![cfg_attr(
    test,
    allow(clippy::cast_possible_truncation, reason = "small numbers in tests")
)]

pub mod archive;
pub mod chunk;
pub mod compare;
pub mod manifest;
pub mod pinpoint;
pub mod scope;
pub mod store;
pub mod sync;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod scope_tests;
