//! The whole system, as a person runs it: `tintype testnet` at several sizes, joins, restarts, load.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::Write,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The longest that anything may take.
const LIMIT: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A testnet in a folder of its own, stopped when it is dropped.
pub struct Net {
    program: PathBuf,
    dir: TempDir,
}

impl Net {
    /// None yet. The program is built if need be.
    pub fn new(root: &Path) -> Result<Self> {
        let built = Command::new("cargo")
            .current_dir(root)
            .args(["build", "--release", "--locked"])
            .status()?;
        ensure!(built.success(), "the program does not build");
        Ok(Self {
            program: root.join("target/release/tintype"),
            dir: tempfile::tempdir()?,
        })
    }

    /// A path that goes with it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a command.
    pub fn run(&self, words: &str) -> Result<Value> {
        let output = Command::new(&self.program)
            .args(words.split_whitespace())
            .arg("--json")
            .arg("--dir")
            .arg(self.testnet())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("tintype {words}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "tintype {words}: {text}");
        Ok(serde_json::from_str(text.lines().last().unwrap_or("null"))?)
    }

    fn testnet(&self) -> PathBuf {
        self.dir.path().join("testnet")
    }

    /// Waits until `look` sees something.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            if let Some(found) = look() {
                return Ok(found);
            }
            sleep(LOOK_EVERY);
        }
        bail!("{what} took more than {LIMIT:?}")
    }

    /// Waits until a node has a snapshot of this height or a later one.
    fn until_snapshot(&self, node: &str, height: u64) -> Result<u64> {
        self.until(&format!("a snapshot of {node}"), || {
            let list = self.run(&format!("snapshot list --node {node}")).ok()?;
            let newest = list["snapshots"][0]["height"].as_u64()?;
            (newest >= height).then_some(newest)
        })
    }

    /// What `testnet status` says of a node.
    pub fn status(&self, node: &str) -> Option<Value> {
        let status = self.run("testnet status").ok()?;
        let nodes = status["nodes"].as_array()?;
        nodes.iter().find(|n| n["name"] == node).cloned()
    }

    /// Kibibytes that a node occupies, now and at the most.
    fn memory(&self, node: &str) -> Option<(u64, u64)> {
        let pid = self.status(node)?["pid"].as_u64()?;
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.trim().parse().ok()
        };
        Some((of("VmRSS:")?, of("VmHWM:")?))
    }

    /// One of a node's metrics.
    fn metric(&self, node: &str, name: &str) -> Result<u64> {
        let status = self.status(node).context("the node does not answer")?;
        let url = status["http"].as_str().context("no address")?;
        let address = url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address)?;
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let text = std::io::read_to_string(stream)?;
        let line = format!("tintype_{name} ");
        let value = text.lines().find_map(|l| l.strip_prefix(&line));
        Ok(value.context("no such metric")?.trim().parse()?)
    }

    /// The value of a field in the last line of a node's log that has these words.
    fn logged(&self, node: &str, words: &str, field: &str) -> Option<f64> {
        let log = self.testnet().join(node).join("node.log");
        let text = fs::read_to_string(log).ok()?;
        let line = text.lines().rfind(|line| line.contains(words))?;
        let (_, rest) = line.split_once(&format!("{field}="))?;
        rest.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.run("testnet down");
    }
}

/// Where figures go.
pub struct Out(File);

impl Out {
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self(File::create(path)?))
    }

    pub fn note(&mut self, figure: Value) -> Result<()> {
        eprintln!("{figure}");
        Ok(writeln!(self.0, "{figure}")?)
    }
}

const CASES: &str = "restart,join,load,pause,replay";

/// Measures all of it, or the cases that `CASES` names; of the others it keeps what was measured `before`. What needs a state takes the
/// largest of `sizes` up to its own limit.
pub fn measure(root: &Path, sizes: &str, out: &Path, before: &[Value]) -> Result<()> {
    let net = || Net::new(root);
    let cases = std::env::var("CASES").unwrap_or_else(|_| CASES.into());
    let wanted = |case: &str| cases.split(',').any(|wanted| wanted == case);
    let sizes: Vec<u64> = sizes
        .split(',')
        .map(|size| size.trim().parse())
        .collect::<Result<_, _>>()?;
    let mut out = Out::create(out)?;
    let is_kept = |figure: &&Value| {
        figure["bench"] == "system" && !figure["case"].as_str().is_some_and(wanted)
    };
    for figure in before.iter().filter(is_kept) {
        out.note(figure.clone())?;
    }
    for entries in sizes.iter().filter(|_| wanted("restart")) {
        restart(&net()?, *entries, &mut out)?;
    }
    let largest = |max: u64| sizes.iter().copied().filter(|size| *size <= max).max();
    for entries in sizes.iter().filter(|_| wanted("join")) {
        join(&net()?, *entries, &mut out)?;
    }
    if let Some(entries) = largest(1_000_000).filter(|_| wanted("load")) {
        load(&net()?, entries, &mut out)?;
    }
    if let Some(entries) = largest(u64::MAX).filter(|_| wanted("pause")) {
        for interval in [1_000_000, 100] {
            pause(&net()?, entries, interval, &mut out)?;
        }
    }
    if wanted("replay") {
        replay(&net()?, &mut out)?;
    }
    Ok(())
}

/// One node: from the command to its first block, and from `kill -9` to being ready again.
fn restart(net: &Net, entries: u64, out: &mut Out) -> Result<()> {
    let begun = Instant::now();
    net.run(&format!(
        "testnet --detach --validators 1 --entries {entries}"
    ))?;
    let first_block = begun.elapsed();
    net.run("snapshot take")?;
    net.run("testnet kill node0")?;
    let begun = Instant::now();
    net.run("testnet start node0")?;
    net.until("being ready", || net.run("query block latest").ok())?;
    let ready = begun.elapsed();
    let (memory, most) = net.memory("node0").unwrap_or_default();
    out.note(json!({
        "bench": "system", "case": "restart", "entries": entries,
        "first_block_seconds": first_block.as_secs_f64(), "seconds": ready.as_secs_f64(),
        "memory_bytes_per_entry": memory as f64 * 1024.0 / entries as f64,
        "memory_most_bytes": most * 1024,
    }))
}

/// A new node, from the one snapshot that three others have. Two of them have fetched it themselves: so nobody has another, and a large
/// state is made by one node alone.
fn join(net: &Net, entries: u64, out: &mut Out) -> Result<()> {
    net.run(&format!(
        "testnet --detach --validators 1 --entries {entries} --snapshot-interval 1000000"
    ))?;
    net.run("snapshot take")?;
    for _ in 0..2 {
        net.run("testnet add --sync snapshot")?;
    }
    let begun = Instant::now();
    net.run("testnet add --sync snapshot")?;
    let follows = begun.elapsed();
    let here = "the snapshot is here";
    let fetch_ms = net.logged("node3", here, "fetch_ms").context("the log")?;
    let (_, most) = net.memory("node3").unwrap_or_default();
    out.note(json!({
        "bench": "system", "case": "join", "entries": entries,
        "seconds": follows.as_secs_f64(), "fetch_seconds": fetch_ms / 1e3,
        "entries_per_second": entries as f64 / (fetch_ms / 1e3),
        "memory_most_bytes": most * 1024,
    }))
}

/// Four validators under load, without snapshots and with one every 20 blocks by turns: the machine is not the same from one minute to
/// the next.
fn load(net: &Net, entries: u64, out: &mut Out) -> Result<()> {
    const NEVER: u64 = 1_000_000;
    const TURNS: usize = 4;
    net.run(&format!(
        "testnet --detach --entries {entries} --snapshot-interval {}",
        NEVER - 1
    ))?;
    for node in ["node0", "node1", "node2", "node3"] {
        net.until_snapshot(node, 1)?;
    }
    let mut runs = [(NEVER, Vec::new()), (20, Vec::new())];
    let mut current = NEVER - 1;
    for _ in 0..TURNS {
        for (interval, reports) in &mut runs {
            if *interval != current {
                net.run(&format!("tx parameter snapshot_interval {interval}"))?;
                current = *interval;
            }
            reports.push(net.run("bench --seconds 20")?);
        }
        // The chain grows and the machine changes meanwhile: neither is to be always the later one.
        runs.reverse();
    }
    runs.sort_unstable_by_key(|(interval, _)| std::cmp::Reverse(*interval));
    let taken = net.run("snapshot list")?;
    for (interval, reports) in &runs {
        let of = |name: &str| -> Vec<f64> {
            let numbers = reports.iter().filter_map(|report| report[name].as_f64());
            numbers.collect()
        };
        out.note(json!({
            "bench": "system", "case": "load", "entries": entries, "snapshot_interval": interval,
            "runs": of("committed_per_second"), "fractions": of("fraction_of_ceiling"),
            "committed_per_second": median(of("committed_per_second")),
            "fraction_of_ceiling": median(of("fraction_of_ceiling")),
            "ceiling_per_second": median(of("ceiling_per_second")),
            "lost": of("lost").iter().sum::<f64>(),
            "newest_snapshot": taken["snapshots"][0]["height"],
        }))?;
    }
    Ok(())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

/// One validator with the largest state under a moderate load, with and without snapshots: what these cost a transfer that waits.
fn pause(net: &Net, entries: u64, interval: u64, out: &mut Out) -> Result<()> {
    net.run(&format!(
        "testnet --detach --validators 1 --entries {entries} --snapshot-interval {interval}"
    ))?;
    net.until_snapshot("node0", 1)?;
    let report = net.run("bench --seconds 20 --rate 300")?;
    let pause_us = net.metric("node0", "snapshot_pause_microseconds_max")?;
    let taken = net.metric("node0", "snapshots_taken_total")?;
    out.note(json!({
        "bench": "system", "case": "pause", "entries": entries, "snapshot_interval": interval,
        "snapshots": taken, "pause_us_max": pause_us, "committed_per_second": report["committed_per_second"],
        "p50_ms": report["latency_ms"]["p50"], "p99_ms": report["latency_ms"]["p99"],
    }))
}

/// A chain of many transfers: a node that joins by snapshot, and one that executes every block.
fn replay(net: &Net, out: &mut Out) -> Result<()> {
    net.run("testnet --detach --snapshot-interval 50")?;
    let mut transfers = 0;
    while transfers < 200_000 {
        transfers += net.run("bench --seconds 10")?["committed"]
            .as_u64()
            .unwrap_or(0);
    }
    let mut seconds = Vec::new();
    for mode in ["snapshot", "blocks"] {
        let begun = Instant::now();
        net.run(&format!("testnet add --sync {mode} --timeout 600"))?;
        seconds.push(begun.elapsed().as_secs_f64());
    }
    out.note(json!({
        "bench": "system", "case": "replay", "entries": transfers, "snapshot_seconds": seconds[0],
        "blocks_seconds": seconds[1], "ratio": seconds[1] / seconds[0],
    }))
}
