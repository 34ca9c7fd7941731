//! Measures every figure of `docs/benchmarks.md`, writes that file and draws its plots.
//!
//! ```text
//! just figures                       all of it: about 35 minutes on two cores, 14 GB of memory, 5 GB of disk
//! SIZES=10000,100000 just figures    smaller states only
//! ONLY=tree,jmt,proofs,store,index,system,flame   some of the parts; the others keep what was measured last (flame needs `perf`)
//! ONLY=system CASES=restart,join,load,pause,replay   some of the cases of that part
//! ```
//! What was measured is kept, a line of JSON each, in `target/figures/`, one file a part.

mod flame;
mod page;
mod plot;
mod system;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// The parts, and the commands that measure those that are benchmarks of a crate.
const PARTS: [&str; 7] = ["tree", "jmt", "proofs", "store", "index", "system", "flame"];
const SIZES: &str = "10000,100000,1000000,10000000";

/// Everything measured, of one part after another.
pub struct Figures(Vec<Value>);

impl Figures {
    /// Those of a bench and a case, in the order of their sizes.
    pub fn of(&self, bench: &str, case: &str) -> Vec<&Value> {
        let mut found: Vec<&Value> = self
            .0
            .iter()
            .filter(|f| f["bench"] == bench && f["case"] == case)
            .collect();
        found.sort_by_key(|f| f["entries"].as_u64());
        found
    }

    /// All of a bench, in the order in which they were measured.
    pub fn all(&self, bench: &str) -> Vec<&Value> {
        self.0.iter().filter(|f| f["bench"] == bench).collect()
    }
}

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().context("the checkout")?;
    let kept = root.join("target/figures");
    fs::create_dir_all(&kept)?;
    let sizes = env::var("SIZES").unwrap_or_else(|_| SIZES.into());
    let only = env::var("ONLY").unwrap_or_else(|_| PARTS.join(","));
    for part in only.split(',').filter(|part| !part.is_empty()) {
        ensure!(
            PARTS.contains(&part),
            "ONLY={part}: the parts are {}",
            PARTS.join(", ")
        );
        eprintln!("== {part}");
        let out = kept.join(format!("{part}.jsonl"));
        if part != "system" {
            let _ = fs::remove_file(&out);
        }
        match part {
            "tree" => bench(&root, "tintype-ledger", "tree", &sizes, &out)?,
            "proofs" => {
                let sizes = sizes_up_to(&sizes, 1_000_000);
                bench(&root, "tintype-ledger", "proofs", &sizes, &out)?;
            }
            "store" => bench(&root, "tintype-snapshot", "store", &sizes, &out)?,
            "index" => bench(&root, "tintype-ledger", "index", &sizes, &out)?,
            "jmt" => {
                let manifest = root.join("tests/peers/Cargo.toml");
                let mut command = Command::new("cargo");
                command
                    .args(["run", "--release", "--manifest-path"])
                    .arg(manifest);
                measured(command, &sizes_up_to(&sizes, 1_000_000), &out)?;
            }
            "flame" => flame::measure(&root, &root.join("docs/plots/flame.svg"), &out)?,
            _ => system::measure(&root, &sizes, &out, &lines(&out)?)?,
        }
        note_commit(&root, part, &out)?;
    }
    let mut figures = Vec::new();
    for part in PARTS {
        figures.extend(lines(&kept.join(format!("{part}.jsonl")))?);
    }
    page::write(&root, &Figures(figures))
}

/// Notes what code a part was measured on.
fn note_commit(root: &Path, part: &str, out: &Path) -> Result<()> {
    let git = |words: &[&str]| -> Result<String> {
        let output = Command::new("git").current_dir(root).args(words).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let mut commit = git(&["log", "-1", "--format=%h of %cs"])?;
    if !git(&["status", "--porcelain", "--", "*.rs", "*.toml"])?.is_empty() {
        commit.push_str(", changed");
    }
    let line = json!({"bench": "commit", "case": part, "commit": commit});
    let mut file = fs::File::options().append(true).open(out)?;
    Ok(writeln!(file, "{line}")?)
}

fn bench(root: &Path, package: &str, name: &str, sizes: &str, out: &Path) -> Result<()> {
    let mut command = Command::new("cargo");
    command.current_dir(root);
    command.args(["bench", "--locked", "-p", package, "--bench", name]);
    measured(command, sizes, out)
}

fn measured(mut command: Command, sizes: &str, out: &Path) -> Result<()> {
    command.env("ENTRIES", sizes).env("SIZES", sizes);
    command.env("TINTYPE_BENCH_OUT", out);
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

/// Those of the sizes that are not larger.
fn sizes_up_to(sizes: &str, max: u64) -> String {
    let small = |size: &&str| size.trim().parse::<u64>().is_ok_and(|size| size <= max);
    sizes.split(',').filter(small).collect::<Vec<_>>().join(",")
}

fn lines(path: &PathBuf) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}
