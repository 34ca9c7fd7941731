//! A Tintype node: the pure [`replica`], and around it the runtime that carries its effects out.

pub mod api;
pub mod audit;
pub mod config;
pub mod event;
pub mod handle;
pub mod replica;
pub mod runtime;
