//! Whole networks on this machine's loopback, with real sockets. Nothing here sleeps to let something happen: each test
//! waits for what must come, and fails with what it saw when that does not come in time.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod connections;
mod gossip;
mod net;
mod pressure;
mod requests;
