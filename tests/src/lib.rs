//! Whole-system tests: simulations of networks of pure replicas, every decoder under bytes of nobody, and tests that drive
//! real processes.

pub mod chain;
pub mod decoders;
pub mod meter;
pub mod simulation;
