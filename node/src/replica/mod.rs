//! The pure heart of a node: consensus, mempool and execution as one state machine.

pub mod consensus;
pub mod context;
pub mod journal;
pub mod message;
