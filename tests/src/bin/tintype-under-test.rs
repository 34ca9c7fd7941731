//! The `tintype` program under another name. Cargo tells a test where the programs of its own package are, and builds
//! them before it: so the end-to-end tests need neither a path nor a build by hand, and never meet an old binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
