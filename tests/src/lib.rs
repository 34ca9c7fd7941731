//! Whole-system tests: simulations of networks of pure replicas, and tests that drive real processes.

pub mod simulation;
