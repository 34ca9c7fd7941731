//! What the state tree costs.
//!
//! `cargo bench -p tintype-ledger --bench tree`. `ENTRIES` (10000,100000,1000000,10000000), `BATCH` (10000) and `ROUNDS` (5) of 60
//! batches change the sizes; `CASE` (`held`, `roots8`) measures one case alone. Each size runs in a process of its own, so that none
//! inherits another's heap. `TINTYPE_BENCH_OUT` names a file to which each measurement is appended as a line of JSON. Beside another
//! tree: `tests/peers`.

#![allow(
    missing_docs,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a benchmark"
)]

mod measure;
mod out;
mod report;
mod rest;
mod workload;

fn main() {
    out::each_size("10000,100000,1000000,10000000", |entries| {
        measure::apply(entries);
        if std::env::var("CASE").is_err() {
            rest::measure(entries);
        }
    });
}
