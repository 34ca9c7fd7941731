//! `docs/benchmarks.md` and its plots, from what was measured.

use crate::{
    Figures, PARTS,
    plot::{Line, draw, short},
};
use anyhow::Result;
use serde_json::Value;
use std::{fmt::Write as _, fs, path::Path};

/// Writes the page and draws the plots.
pub fn write(root: &Path, figures: &Figures) -> Result<()> {
    let plots = root.join("docs/plots");
    fs::create_dir_all(&plots)?;
    let mut page = String::from(HEAD);
    writeln!(
        page,
        "Measured on: {}; {}.
",
        machine(),
        commits(figures)
    )?;
    tree(&mut page, figures, &plots)?;
    proofs(&mut page, figures)?;
    store(&mut page, figures, &plots)?;
    index(&mut page, figures)?;
    system(&mut page, figures, &plots)?;
    flame(&mut page, figures)?;
    fs::write(root.join("docs/benchmarks.md"), page)?;
    Ok(())
}

const HEAD: &str = "\
# Benchmarks

Written by `just figures` (`cargo run --release --manifest-path tests/figures/Cargo.toml`), which measures all of it again and draws
the plots; nothing here is typed by hand. Entries are records of a 32-byte key and a 48-byte value. Beside each figure stands a peer or
a limit of the same run, since machines are shared and differ.

";

fn number(figure: &Value, name: &str) -> f64 {
    figure[name].as_f64().unwrap_or(0.0)
}

fn points(figures: &[&Value], name: &str) -> Vec<(f64, f64)> {
    let point = |f: &&Value| (number(f, "entries"), number(f, name));
    figures.iter().map(point).collect()
}

fn tree(page: &mut String, figures: &Figures, plots: &Path) -> Result<()> {
    // Those of the part "tree": beside the peer the same are measured once more.
    let once = |case| {
        let mut found = figures.of("tree", case);
        found.dedup_by_key(|f| f["entries"].as_u64());
        found
    };
    let (held, live) = (once("held"), once("roots8"));
    let (memory, ratio) = (figures.of("tree", "memory"), figures.of("tree", "ratio"));
    page.push_str("\
## State tree

Batches of 10,000 random updates to a new root, on two cores: with a snapshot held, and with the last 8 roots live. *quiet* takes each
batch at the fastest of its rounds, which says less of what else the machine did. `jmt` is the Jellyfish Merkle tree of that crate, over
a hash map in memory, with the same batches (`just peers`).

| entries | a snapshot held, updates/s | quiet | 8 roots live | quiet | bytes of memory an entry | times `jmt` |
|---|---|---|---|---|---|---|
");
    let with = |list: &[&Value], size: &Value, name: &str| {
        let found = list.iter().find(|f| f["entries"] == *size);
        found.map_or("-".into(), |f| short(number(f, name)))
    };
    for f in &held {
        let size = &f["entries"];
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} |",
            short(number(f, "entries")),
            short(number(f, "updates_per_second")),
            short(number(f, "quiet_updates_per_second")),
            with(&live, size, "updates_per_second"),
            with(&live, size, "quiet_updates_per_second"),
            with(&memory, size, "bytes_per_entry"),
            with(&ratio, size, "times_jmt"),
        )?;
    }
    let nanoseconds = |list: &[&Value]| -> Vec<(f64, f64)> {
        let points = points(list, "quiet_updates_per_second");
        points.into_iter().map(|(x, y)| (x, 1e9 / y)).collect()
    };
    let cost = nanoseconds(&held);
    // What log2(entries / batch) would allow, from the first size that is larger than a batch.
    let levels = |x: f64| (x / 10_000.0).log2().max(1.0);
    let from = cost.iter().find(|(x, _)| *x > 10_000.0).copied();
    let bound = from.map(|(x0, y0)| {
        let sizes = cost.iter().filter(|(x, _)| *x >= x0);
        sizes
            .map(|(x, _)| (*x, y0 * levels(*x) / levels(x0)))
            .collect::<Vec<_>>()
    });
    draw(
        &plots.join("tree-cost.svg"),
        "Time of one update in a batch of 10,000 (quiet)",
        "nanoseconds",
        &[
            Line {
                name: "a snapshot held",
                points: cost,
            },
            Line {
                name: "8 roots live",
                points: nanoseconds(&live),
            },
            Line {
                name: "growing as log(entries / batch)",
                points: bound.unwrap_or_default(),
            },
        ],
    )?;
    page.push_str("\n![time of an update](plots/tree-cost.svg)\n\n");
    Ok(())
}

fn proofs(page: &mut String, figures: &Figures) -> Result<()> {
    page.push_str(
        "\
## Proofs

`cargo bench -p tintype-ledger --bench proofs`, of the largest tree. A range of 1,000 is that many records of a space with proof that none is
left out.

| proof | entries of the tree | bytes | made in, microseconds | checked in |
|---|---|---|---|---|
",
    );
    for case in [
        "inclusion",
        "absence",
        "range of 1",
        "range of 100",
        "range of 1000",
    ] {
        if let Some(f) = figures.of("proof", case).last() {
            writeln!(
                page,
                "| {case} | {} | {} | {:.1} | {:.1} |",
                short(number(f, "entries")),
                number(f, "bytes"),
                number(f, "prove_us"),
                number(f, "verify_us"),
            )?;
        }
    }
    page.push('\n');
    Ok(())
}

fn store(page: &mut String, figures: &Figures, plots: &Path) -> Result<()> {
    let (first, load) = (
        figures.of("store", "first snapshot"),
        figures.of("store", "load"),
    );
    let changed = figures.of("store", "1% changed");
    page.push_str("\
## Snapshots on disk

`cargo bench -p tintype-snapshot --bench store`. *Limit*: the same bytes written to one file and synced, or the chunks read and
hashed once.

| entries | first: seconds (limit) | loaded: seconds (limit) | 1 % changed: seconds (limit) | bytes written, times those of the changed entries | chunks touched |
|---|---|---|---|---|---|
");
    for ((f, l), c) in first.iter().zip(&load).zip(&changed) {
        let limited = |f: &Value| {
            format!(
                "{:.3} ({:.3})",
                number(f, "seconds"),
                number(f, "limit_seconds")
            )
        };
        writeln!(
            page,
            "| {} | {} | {} | {} | {:.2} | {} of {} |",
            short(number(f, "entries")),
            limited(f),
            limited(l),
            limited(c),
            number(c, "times_changed"),
            number(c, "chunks_touched"),
            number(c, "chunks"),
        )?;
    }
    let per_second = |list: &[&Value]| points(list, "entries_per_second");
    draw(
        &plots.join("snapshots.svg"),
        "Whole snapshots",
        "entries a second",
        &[
            Line {
                name: "written",
                points: per_second(&first),
            },
            Line {
                name: "loaded and verified",
                points: per_second(&load),
            },
        ],
    )?;
    page.push_str("\n![whole snapshots](plots/snapshots.svg)\n\nA hundred in a row, 1 % of the entries changed before each, three kept:\n\n");
    page.push_str("| entries | seconds each | bytes written, times those changed | disk, times the state, at the most | read by a load, times the state |\n|---|---|---|---|---|\n");
    for f in figures.of("store", "100 snapshots, 1% changed each") {
        writeln!(
            page,
            "| {} | {:.3} | {:.2} | {:.2} | {:.2} |",
            short(number(f, "entries")),
            number(f, "seconds_each"),
            number(f, "times_changed"),
            number(f, "disk_times_state"),
            number(f, "read_times_state"),
        )?;
    }
    page.push('\n');
    Ok(())
}

fn index(page: &mut String, figures: &Figures) -> Result<()> {
    let of = |case: &str| figures.of("index", case);
    page.push_str("\
## The index

`cargo bench -p tintype-ledger --bench index`: transactions put in as a node under load does, 32,200 at a time, and looked up by their ids.
*Limit*: the same bytes appended to a file and synced.

| entries | put in, microseconds of a core each (limit) | found in | known to be missing in | bytes on disk an entry |
|---|---|---|---|---|
");
    let micros = |f: &Value| number(f, "cpu_ns_each") / 1e3;
    let rows = of("put").into_iter().zip(of("limit"));
    let reads = of("get").into_iter().zip(of("get none")).zip(of("disk"));
    for ((put, limit), ((get, none), disk)) in rows.zip(reads) {
        writeln!(
            page,
            "| {} | {:.1} ({:.1}) | {:.0} | {:.0} | {:.0} |",
            short(number(put, "entries")),
            micros(put),
            micros(limit),
            1e6 / number(get, "reads_per_second"),
            1e6 / number(none, "reads_per_second"),
            number(disk, "bytes_per_entry"),
        )?;
    }
    page.push('\n');
    Ok(())
}

fn system(page: &mut String, figures: &Figures, plots: &Path) -> Result<()> {
    let megabytes = |f: &Value| format!("{:.0}", number(f, "memory_most_bytes") / 1e6);
    let (restart, join) = (
        figures.of("system", "restart"),
        figures.of("system", "join"),
    );
    page.push_str("\
## The whole system

Real nodes, as `tintype testnet --entries N` starts them. *Restart*: one node, from `kill -9` and `testnet start` to its first answer.
*Join*: a new node, from a snapshot that three others on the same two cores have; to the verified root, and until it follows the chain.
*At the most*: the most memory that the process took until then, the program's own and the index's included.

| entries | first block, s | restart, s | memory, bytes an entry | at the most, MB | joined: to the root, s | entries/s | following, s | at the most, MB |
|---|---|---|---|---|---|---|---|---|
");
    for f in &restart {
        let joined = join.iter().find(|j| j["entries"] == f["entries"]);
        let of_join = |name: &str| joined.map_or("-".into(), |j| short(number(j, name)));
        writeln!(
            page,
            "| {} | {:.2} | {:.2} | {:.0} | {} | {} | {} | {} | {} |",
            short(number(f, "entries")),
            number(f, "first_block_seconds"),
            number(f, "seconds"),
            number(f, "memory_bytes_per_entry"),
            megabytes(f),
            of_join("fetch_seconds"),
            of_join("entries_per_second"),
            of_join("seconds"),
            joined.map_or("-".into(), |j| megabytes(j)),
        )?;
    }
    draw(
        &plots.join("starts.svg"),
        "Until a node serves",
        "seconds",
        &[
            Line {
                name: "restart from its snapshot",
                points: points(&restart, "seconds"),
            },
            Line {
                name: "join from three peers",
                points: points(&join, "seconds"),
            },
        ],
    )?;
    page.push_str("\n![until a node serves](plots/starts.svg)\n\n");
    for f in figures.of("system", "replay") {
        writeln!(
            page,
            "A chain of {} transfers: a new node follows it after {:.1} s by snapshot and after {:.1} s by executing every block, {:.1} times as long.\n",
            short(number(f, "entries")),
            number(f, "snapshot_seconds"),
            number(f, "blocks_seconds"),
            number(f, "ratio"),
        )?;
    }
    page.push_str("Four validators and the client under load (`tintype bench --seconds 20`, four times each by turns on one chain; the median), on the same two cores:\n\n");
    page.push_str("| entries | a snapshot every | transfers/s | lost | of what signature checks allow |\n|---|---|---|---|---|\n");
    for f in figures.of("system", "load") {
        let interval = interval(f);
        writeln!(
            page,
            "| {} | {interval} | {} | {} | {:.2} of {} |",
            short(number(f, "entries")),
            short(number(f, "committed_per_second")),
            number(f, "lost"),
            number(f, "fraction_of_ceiling"),
            short(number(f, "ceiling_per_second")),
        )?;
    }
    page.push_str("\nWhat a snapshot holds up: one validator, 300 transfers/s for 20 s. *Held up*: the longest that the thread which commits blocks spent on one.\n\n");
    page.push_str("| entries | a snapshot every | taken | held up, ms | latency p50, ms | p99, ms |\n|---|---|---|---|---|---|\n");
    for f in figures.of("system", "pause") {
        let interval = interval(f);
        writeln!(
            page,
            "| {} | {interval} | {} | {:.2} | {:.1} | {:.1} |",
            short(number(f, "entries")),
            number(f, "snapshots"),
            number(f, "pause_us_max") / 1e3,
            number(f, "p50_ms"),
            number(f, "p99_ms"),
        )?;
    }
    Ok(())
}

fn flame(page: &mut String, figures: &Figures) -> Result<()> {
    let shares: Vec<&Value> = figures.all("flame");
    if shares.is_empty() {
        return Ok(());
    }
    page.push_str("\
\nWhere the time goes of four validators and their client under full load, snapshots every 20 blocks among it: of all samples that `perf` took
while a core was not idle. A stack counts where the first line fits.

| what | share |
|---|---|
");
    for f in shares {
        let (what, share) = (f["case"].as_str().unwrap_or_default(), number(f, "share"));
        writeln!(page, "| {what} | {:.0} % |", share * 100.0)?;
    }
    page.push_str("\n![flame graph](plots/flame.svg)\n");
    Ok(())
}

/// How often snapshots were taken.
fn interval(figure: &Value) -> String {
    match number(figure, "snapshot_interval") {
        blocks if blocks >= 1e6 => "-".to_owned(),
        blocks => format!("{blocks} blocks"),
    }
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{} x {}",
        cores,
        model.unwrap_or("a processor of unknown model")
    )
}

/// What code each part was measured on.
fn commits(figures: &Figures) -> String {
    let of = |part: &&str| {
        let figure = figures.of("commit", part).into_iter().next()?;
        Some(format!("{part} at {}", figure["commit"].as_str()?))
    };
    PARTS.iter().filter_map(of).collect::<Vec<_>>().join(", ")
}
