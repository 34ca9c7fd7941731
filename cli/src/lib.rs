//! The `tintype` command.
