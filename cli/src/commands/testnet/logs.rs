//! `tintype testnet logs NAME`: a node's log.

use crate::{
    context::Context,
    failure::{Failure, Result},
    table::visible,
    testnet::process::tail,
};
use clap::Args;
use serde_json::json;
use std::{
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    time::Duration,
};

/// `tintype testnet logs`
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// The node's name
    pub name: String,
    /// Keep showing what is added
    #[arg(long, short)]
    pub follow: bool,
    /// Show so many lines of its end
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub lines: usize,
}

/// Bytes of the end of a log that are looked at.
const TAIL_BYTES: u64 = 4 << 20;

/// Shows it.
///
/// # Errors
/// If there is no such node, or it has no log.
pub fn run(context: &Context, args: &LogsArgs) -> Result {
    let member = context.testnet()?.member(&args.name)?;
    let path = member.dir.log_file();
    let failed = |e: std::io::Error| Failure::io("cannot read", &path, &e);
    let mut file = File::open(&path).map_err(failed)?;
    let end = file.metadata().map_err(failed)?.len();
    let text = tail(&path, TAIL_BYTES).map_err(failed)?;
    let lines: Vec<&str> = text.lines().collect();
    let last = lines
        .get(lines.len().saturating_sub(args.lines)..)
        .unwrap_or_default();
    if !args.follow {
        let document =
            json!({"name": member.name, "file": path.display().to_string(), "lines": last});
        context.out.result(&document, || {
            let lines: Vec<_> = last.iter().map(|line| visible(line)).collect();
            lines.join("\n")
        });
        return Ok(());
    }
    for line in last {
        show(context, line);
    }
    file.seek(SeekFrom::Start(end)).map_err(failed)?;
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    while !context.out.reader_is_gone() {
        if reader.read_line(&mut line).map_err(failed)? == 0 {
            std::thread::sleep(Duration::from_millis(100));
        } else if line.ends_with('\n') {
            show(context, line.trim_end());
            line.clear();
        }
    }
    Ok(())
}

fn show(context: &Context, line: &str) {
    context
        .out
        .result(&json!({"line": line}), || visible(line).into_owned());
}
