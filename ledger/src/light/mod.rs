//! Believing what a node says without believing the node: a library without I/O, for wallets, joiners and the command line.
//!
//! ```text
//! genesis, or HEIGHT:HASH ──► Trusted ──── verify(LightBlock), or follow() from far ────► Trusted
//!                                                                                            │ state()
//!                          Verified<Option<Account>> ◄── account(address, Proof) ◄── VerifiedState
//! ```
//! - [`Trusted`]: a header that is believed, with the validators who voted on it. It begins with the genesis, or with a hash that
//!   somebody trusted has told.
//! - [`LightBlock`]: what anybody may claim of a height: header, certificate, validators. [`Trusted::verify`] believes it, or not.
//! - [`follow`]: believes a header far ahead by as few as possible between, fetched by a closure.
//! - [`VerifiedState`]: the root of a state that is believed; with proofs it gives [`Verified`] answers.
//!
//! Everything here is a function of its arguments: nothing is fetched, no clock is read. It needs nothing of the node, and of
//! this crate not the store: `tintype-ledger` with `default-features = false` has all of it. `examples/verify_query.rs` checks an
//! answer of the HTTP API offline.
//!
//! # Trust
//! - The genesis, or the hash of one header, from a source that is trusted.
//! - That of the validators whose signatures a step counts, less than a third of the power is faulty, *for as long as they
//!   can be asked to account for it*: see [`follow`] for the trusting period.
//! - SHA-256 and Ed25519.
//!
//! An answer is true of the height that it names. Whether that is the newest, no proof can tell: ask for a height, or look
//! at [`VerifiedState::time`].

mod answer;
mod follow;
mod header;
mod trusted;

#[cfg(test)]
mod tests;

pub use answer::{
    AnswerError, PROOF_BYTES_MAX, RecordsPage, Verified, VerifiedState, read_records, records_range,
};
pub use follow::{CLOCK_DRIFT_MS_MAX, Clock, FollowError, Followed, TRUSTING_PERIOD_MS, follow};
pub use header::{LightError, verify_alone, verify_skipping};
pub use trusted::{Checkpoint, LIGHT_BLOCK_BYTES_MAX, LightBlock, ParseCheckpointError, Trusted};
