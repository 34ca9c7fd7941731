//! The `tintype` program as it is built with S3, for the tests beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
