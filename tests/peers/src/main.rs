//! The state tree and the Jellyfish Merkle tree of the crate `jmt`, with the same entries and the same batches in one run.
//!
//! `just peers`. `ENTRIES` (1000000; several with commas), `BATCH` (10000), `ROUNDS` (5) and `TINTYPE_BENCH_OUT` as for the state
//! tree's own benchmark; `PEER_BATCHES` (6) are measured of the peer.

#[path = "../../../ledger/benches/tree/measure.rs"]
mod measure;
#[path = "../../../ledger/benches/tree/out.rs"]
mod out;
mod peer;
#[path = "../../../ledger/benches/tree/report.rs"]
mod report;
#[path = "../../../ledger/benches/tree/workload.rs"]
mod workload;

fn main() {
    out::each_size("1000000", |entries| {
        let ours = measure::apply(entries);
        let theirs = peer::apply(entries);
        report::number("tree", entries, "ratio", "times_jmt", ours / theirs);
    });
}
