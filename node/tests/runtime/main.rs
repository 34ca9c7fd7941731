//! Whole nodes, with disk and network, in one process: where a test must reach into what a process hides.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod asked;
mod astray;
mod backfill;
mod busy;
mod fetching;
mod folder;
mod joining;
mod net;
mod serving;
mod snapshots;
mod sources;
mod stranger;
mod strangers;
