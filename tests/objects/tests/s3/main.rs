//! Snapshots in an object store, as people use one: the real program, a real node, and a real S3 server, whose objects are files
//! of a folder, so that they can be counted, damaged and taken away.

mod carried;
mod program;
mod proxy;
mod refusals;
mod server;
