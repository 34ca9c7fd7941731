//! The program as people meet it: whole networks of real processes, driven by the commands they type.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and then shows the nodes' logs"
)]

mod archives;
mod crashes;
mod index;
mod launcher;
mod launching;
mod load;
mod net;
mod program;
mod refusals;
mod snapshots;
mod spaces;
mod wait;
mod walk;
