//! The pure heart of a node: consensus, mempool and execution as one state machine.

pub mod context;
pub mod message;
