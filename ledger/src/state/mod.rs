//! The state: what it is made of, how it is hashed and, later on, how a block changes it.
//!
//! Pure: no disk, no clock, no randomness. A block goes in, a root comes out.

pub mod tree;
