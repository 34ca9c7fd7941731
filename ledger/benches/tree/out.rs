//! What the benchmarks of this crate share: the sizes they run at, and where what they measured goes.

use std::io::Write;

/// Where measurements go: one JSON object a line is appended to the file that `TINTYPE_BENCH_OUT` names.
const OUT: &str = "TINTYPE_BENCH_OUT";

/// Appends a measurement.
pub fn append(line: &str) {
    let Some(path) = std::env::var_os(OUT) else {
        return;
    };
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path);
    let written = file.and_then(|mut file| writeln!(file, "{line}"));
    written.unwrap_or_else(|error| panic!("{OUT}: {error}"));
}

/// Runs `measure` for each size in `ENTRIES`, in a process of its own when there are several: so none inherits another's heap.
pub fn each_size(default: &str, measure: impl Fn(u64)) {
    let sizes = std::env::var("ENTRIES").unwrap_or_else(|_| default.to_owned());
    let sizes: Vec<u64> = sizes
        .split(',')
        .map(|size| size.trim().parse())
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("ENTRIES={sizes}: {error}"));
    if let [entries] = sizes[..] {
        return measure(entries);
    }
    for entries in sizes {
        let program = std::env::current_exe();
        let run = program.and_then(|program| {
            let mut command = std::process::Command::new(program);
            command.env("ENTRIES", entries.to_string()).status()
        });
        match run {
            Ok(status) if status.success() => {}
            other => panic!("{entries} entries: {other:?}"),
        }
    }
}
