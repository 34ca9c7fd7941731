//! A testnet of real processes, driven by the program's own commands.
//!
//! Each has a folder of its own. Its processes end and its folder goes when the test ends, also when that panics. Two
//! run at a time: a test mostly waits, but more would take each other's cores.

use crate::{
    launcher::Launcher,
    program::{Program, Ran, number, text, words},
    wait::eventually,
};
use node::config::{ProcessStat, RunInfo, process_stat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, PoisonError},
};
use tempfile::TempDir;

/// Testnets that run now.
static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();
const RUNNING_MAX: usize = 2;

/// The right to run a testnet.
struct Turn;

impl Turn {
    fn wait() -> Self {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = ENDED
            .wait_while(running, |running| *running >= RUNNING_MAX)
            .unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}

/// A testnet's folder, and whatever runs there.
pub struct Net {
    program: Program,
    dir: PathBuf,
    folder: TempDir,
    _turn: Turn,
}

/// What the program said of a transaction that is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    pub id: String,
    pub height: u64,
    pub block_hash: String,
}

impl Acknowledged {
    /// From the answer of `tx` or `query tx`.
    pub fn of(document: &Value) -> Self {
        assert_eq!(document["status"], "committed", "{document}");
        Self {
            id: text(document, "id").into(),
            height: number(document, "height"),
            block_hash: text(document, "block_hash").into(),
        }
    }
}

impl Net {
    /// An empty folder, in which nothing runs.
    pub fn empty() -> Self {
        let turn = Turn::wait();
        let folder = tempfile::tempdir().unwrap();
        // With a space, as people have them.
        let dir = folder.path().join("test net");
        Self {
            program: Program::on(&dir),
            dir,
            folder,
            _turn: turn,
        }
    }

    /// Four validators, left running.
    pub fn up() -> Self {
        let net = Self::empty();
        net.ok("testnet --detach");
        net
    }

    /// The testnet's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path beside the testnet's folder, gone with it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program, for commands on this testnet.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Runs a command as a person does.
    pub fn run(&self, line: &str) -> Ran {
        self.program.run(&words(line))
    }

    /// Runs a command that must succeed, and gives its document.
    pub fn ok(&self, line: &str) -> Value {
        self.program.json(&words(line), 0)
    }

    /// Runs a command that must fail with this exit code and this code, and gives its document.
    pub fn fails(&self, line: &str, exit: i32, code: &str) -> Value {
        let document = self.program.json(&words(line), exit);
        assert_eq!(document["error"]["code"], code, "`{line}`: {document}");
        document
    }

    /// Transfers, and waits until it is final.
    pub fn transfer(&self, from: &str, to: &str, amount: u64) -> Acknowledged {
        Acknowledged::of(&self.ok(&format!("tx transfer {from} {to} {amount}")))
    }

    /// The launcher in the foreground, as in a terminal of its own.
    pub fn launch(&self, line: &str) -> Launcher {
        Launcher::start(&self.program, line)
    }

    /// As `kill -9`.
    pub fn kill(&self, node: &str) {
        let document = self.ok(&format!("testnet kill {node}"));
        assert_eq!(document["state"], "stopped", "{document}");
    }

    /// As `kill -9` of all nodes in one moment.
    pub fn kill_all(&self) {
        let processes = self.processes();
        for process in &processes {
            process.signal(Signal::KILL);
        }
        self.wait_ended(&processes);
    }

    /// Starts a node again.
    pub fn start(&self, node: &str) {
        let document = self.ok(&format!("testnet start {node}"));
        assert_eq!(document["state"], "running", "{document}");
    }

    /// `testnet status`.
    pub fn status(&self) -> Value {
        self.ok("testnet status")
    }

    /// What `testnet status` says of one node.
    pub fn node(&self, name: &str) -> Value {
        let status = self.status();
        let nodes = status["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|node| node["name"] == name);
        node.unwrap_or_else(|| panic!("{name} is not in {status}"))
            .clone()
    }

    /// The heights of the nodes that answer.
    pub fn heights(&self) -> Vec<u64> {
        let status = self.status();
        let nodes = status["nodes"].as_array().unwrap();
        nodes.iter().filter_map(|n| n["height"].as_u64()).collect()
    }

    /// Waits until every one of `count` nodes has this height.
    pub fn wait_for_height(&self, height: u64, count: usize) {
        eventually(&format!("{count} nodes have height {height}"), || {
            let heights = self.heights();
            let there = heights.iter().filter(|&&h| h >= height).count();
            (there == count)
                .then_some(())
                .ok_or_else(|| format!("{heights:?}"))
        });
    }

    /// Waits until all of `count` nodes have one root at one height, none of which is behind `height`.
    pub fn assert_agreement(&self, height: u64, count: usize) {
        self.wait_for_height(height, count);
        let roots = self.ok(&format!("verify roots --height {height}"));
        let nodes = roots["nodes"].as_array().unwrap();
        let alike = nodes.iter().filter(|n| n["root"] == roots["root"]).count();
        assert_eq!(
            (&roots["agree"], alike),
            (&Value::Bool(true), count),
            "{roots}"
        );
    }

    /// Makes blocks until one is certified by this node's vote too.
    pub fn wait_for_vote_of(&self, node: &str) {
        let validators = self.ok("query validators");
        let list = validators["validators"].as_array().unwrap();
        let voter = list.iter().find(|v| v["name"] == node);
        let voter = voter.unwrap_or_else(|| panic!("{node} is not in {validators}"));
        eventually(&format!("{node} has signed a block"), || {
            let height = self.transfer("alice", "bob", 1).height;
            let certificate = &self.ok(&format!("query block {height}"))["certificate"];
            let signatures = certificate["signatures"].as_array().unwrap();
            let signed = signatures
                .iter()
                .any(|s| s["validator"] == voter["address"]);
            signed.then_some(()).ok_or_else(|| certificate.to_string())
        });
    }

    /// Fails unless what was acknowledged is there, in the same block at the same height.
    pub fn assert_kept(&self, acknowledged: &[Acknowledged]) {
        for expected in acknowledged {
            let found = Acknowledged::of(&self.ok(&format!("query tx {}", expected.id)));
            assert_eq!(&found, expected);
            let block = self.ok(&format!("query block {}", expected.height));
            assert_eq!(block["hash"], expected.block_hash, "{block}");
        }
    }

    /// The processes of all nodes that run.
    pub fn processes(&self) -> Vec<Process> {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return Vec::new();
        };
        let infos = entries.flatten().filter_map(|entry| {
            let text = fs::read_to_string(entry.path().join("run.json")).ok()?;
            serde_json::from_str::<RunInfo>(&text).ok()
        });
        infos.map(Process).filter(Process::is_alive).collect()
    }

    /// Waits until none of these is left.
    pub fn wait_ended(&self, processes: &[Process]) {
        eventually("all nodes end", || {
            let left: Vec<u32> = processes
                .iter()
                .filter(|p| p.is_alive())
                .map(|p| p.0.pid)
                .collect();
            left.is_empty()
                .then_some(())
                .ok_or_else(|| format!("{left:?} still run"))
        });
    }

    /// Waits until a node's log has a line with these words, and gives the last one that has.
    pub fn wait_for_line(&self, node: &str, words: &str) -> String {
        let log = self.dir.join(node).join("node.log");
        eventually(&format!("{node} logs {words:?}"), || {
            let text = fs::read_to_string(&log).map_err(|e| e.to_string())?;
            let line = text.lines().rfind(|line| line.contains(words));
            line.map(str::to_owned).ok_or(text)
        })
    }

    /// The end of every node's log, for a test that failed.
    fn print_logs(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let log = fs::read_to_string(entry.path().join("node.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(15);
            if !lines.is_empty() {
                let name = entry.file_name();
                eprintln!("--- {}\n{}", name.display(), lines[last..].join("\n"));
            }
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_logs();
        }
        // Not by the program: what is tested must not be what cleans up after it.
        for process in self.processes() {
            process.signal(Signal::KILL);
        }
    }
}

/// A node's process, and no other that may get its number later.
#[derive(Debug)]
pub struct Process(RunInfo);

impl Process {
    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        let is_same = |stat: &ProcessStat| {
            stat.started_ticks == self.0.started_ticks && !matches!(stat.state, 'Z' | 'X')
        };
        process_stat(self.0.pid).as_ref().is_some_and(is_same)
    }

    fn signal(&self, signal: Signal) {
        send(self.0.pid, signal);
    }
}

/// Sends a signal to a process; it may have ended.
pub fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let _ = pid.map(|pid| kill_process(pid, signal));
}
