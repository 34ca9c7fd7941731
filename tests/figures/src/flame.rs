//! Where the time of a loaded network goes: `perf` watches four validators and their client, and the stacks become a flame graph and
//! a table of shares.

use crate::system::{Net, Out};
use anyhow::{Context, Result, bail, ensure};
use inferno::{
    collapse::{Collapse, perf::Folder},
    flamegraph,
};
use serde_json::json;
use std::{
    fs,
    io::BufReader,
    path::Path,
    process::{Command, Stdio},
};

/// Samples a second, of each core.
const FREQUENCY: &str = "199";
/// Seconds that are watched, in the middle of a longer load.
const SECONDS: u32 = 12;

/// What a stack is counted as: the first line of which a frame has one of the words.
const SHARES: [(&str, &[&str]); 10] = [
    ("the client: signing and asking", &["cli::", "ureq"]),
    (
        "checking signatures",
        &["ed25519", "curve25519", "verify_batch"],
    ),
    ("the state: executing, tree, hashing it", &["ledger::state"]),
    ("snapshots", &["snapshot::", "zstd", "ZSTD"]),
    ("index", &["sled"]),
    (
        "encryption between peers",
        &["chacha20", "poly1305", "snow::", "libp2p_noise"],
    ),
    (
        "gossip and other networking",
        &["libp2p", "gossipsub", "yamux", "p2p::"],
    ),
    (
        "consensus, mempool, blocks",
        &["node::replica", "malachite", "node::runtime"],
    ),
    ("HTTP", &["hyper", "axum", "node::api", "serde_json"]),
    ("kernel", &["[k]", "entry_SYSCALL", "do_syscall", "asm_"]),
];

/// Watches a network under load. Draws `svg`.
pub fn measure(root: &Path, svg: &Path, out: &Path) -> Result<()> {
    let mut out = Out::create(out)?;
    if Command::new("perf")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        bail!("there is no `perf` here: leave this part out with ONLY=");
    }
    let net = Net::new(root)?;
    net.run("testnet --detach --snapshot-interval 20")?;
    let folded = std::thread::scope(|scope| {
        let load = scope.spawn(|| net.run(&format!("bench --seconds {}", SECONDS + 8)));
        // Before that the client signs, and measures what checking signatures allows.
        let loaded = || {
            net.status("node0")?["transactions"]
                .as_u64()
                .filter(|&n| n > 50)
        };
        let folded = net.until("the load", loaded).and_then(|_| record(&net));
        load.join().map_err(|_| anyhow::anyhow!("the load"))??;
        folded
    })?;
    fs::create_dir_all(svg.parent().context("a folder")?)?;
    let mut options = flamegraph::Options::default();
    options.title = "Four validators and their client under full load".into();
    options.min_width = 0.2;
    options.notes = "by process and thread".into();
    let mut drawn = Vec::new();
    flamegraph::from_lines(&mut options, folded.lines(), &mut drawn)?;
    // Without the library's own remarks on its script.
    let drawn = String::from_utf8(drawn)?;
    let lines = drawn.lines().filter(|l| !l.trim_start().starts_with("//"));
    fs::write(svg, lines.map(|l| format!("{l}\n")).collect::<String>())?;
    for (what, share) in shares(&folded) {
        out.note(json!({"bench": "flame", "case": what, "share": share}))?;
    }
    Ok(())
}

/// The stacks of all `tintype` processes, one a line, with how often each was seen.
fn record(net: &Net) -> Result<String> {
    let data = net.beside("perf.data");
    let recorded = Command::new("perf")
        .args([
            "record",
            "-q",
            "-a",
            "-F",
            FREQUENCY,
            "--call-graph",
            "dwarf,16384",
            "-o",
        ])
        .arg(&data)
        .args(["--", "sleep", &SECONDS.to_string()])
        .status()?;
    ensure!(recorded.success(), "perf record failed");
    let mut script = Command::new("perf")
        .args([
            "script",
            "--no-inline",
            "-F",
            "comm,pid,tid,time,event,ip,sym,dso",
            "-i",
        ])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stacks = script.stdout.take().context("what perf says")?;
    let mut folded = Vec::new();
    Folder::default().collapse(BufReader::new(stacks), &mut folded)?;
    script.wait()?;
    Ok(String::from_utf8(folded)?)
}

/// How much of all samples that are not idle each line of [`SHARES`] has; what none has is the rest.
fn shares(folded: &str) -> Vec<(&'static str, f64)> {
    let mut counts = vec![0u64; SHARES.len() + 1];
    for line in folded.lines() {
        let Some((stack, count)) = line.rsplit_once(' ') else {
            continue;
        };
        if stack.starts_with("swapper") {
            continue;
        }
        let is_of = |(_, words): &(&str, &[&str])| words.iter().any(|word| stack.contains(word));
        let at = SHARES.iter().position(is_of).unwrap_or(SHARES.len());
        if let Some(sum) = counts.get_mut(at) {
            *sum += count.parse::<u64>().unwrap_or(0);
        }
    }
    let all = counts.iter().sum::<u64>().max(1) as f64;
    let names = SHARES.iter().map(|(name, _)| *name).chain(["the rest"]);
    names
        .zip(counts)
        .map(|(name, count)| (name, count as f64 / all))
        .collect()
}
