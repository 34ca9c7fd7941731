//! The processes of nodes: started in a group of their own, and signalled only if they are surely the ones meant.
//!
//! A pid alone names nobody for long. `run.json` also has the start time, and both must match what the kernel says.

use super::{Member, not_running};
use crate::failure::{Failure, Result};
use node::config::RunInfo;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a node may take to stop gracefully.
pub const GRACE: Duration = Duration::from_secs(15);
/// How long a node may take until it has bound its ports: it may have a long log to replay.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Records of its first state that a node makes in a second at the least, with others beside it on a small machine.
const START_ENTRIES_PER_S: u64 = 50_000;
const POLL: Duration = Duration::from_millis(25);
/// Free bytes below which a disk is as good as full.
const LOG_ROOM_BYTES: u64 = 1 << 20;

/// What a node's process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Running,
    /// It is stopped by a signal, and can go on.
    Paused,
    /// There is none.
    Stopped,
}

/// The process of a node, if it runs.
pub fn alive(member: &Member) -> Option<RunInfo> {
    member.dir.run_info().filter(RunInfo::is_alive)
}

/// What a node's process does.
pub fn life(member: &Member) -> Life {
    match member.dir.run_info().and_then(|info| info.process()) {
        None => Life::Stopped,
        Some(stat) if matches!(stat.state, 'T' | 't') => Life::Paused,
        Some(_) => Life::Running,
    }
}

/// Whether a process was started so that it ends with its launcher.
pub fn has_lifeline(info: &RunInfo) -> bool {
    let line = fs::read(format!("/proc/{}/cmdline", info.pid)).unwrap_or_default();
    line.split(|&byte| byte == 0)
        .any(|argument| argument == b"--until-lock-freed")
}

/// Starts a node. With a `lifeline` it ends when that file's lock is freed.
///
/// # Errors
/// If it runs already, or cannot be started.
pub fn spawn(member: &Member, lifeline: Option<&Path>) -> Result<Child> {
    let name = &member.name;
    if alive(member).is_some() {
        return Err(Failure::failed(
            "already_running",
            format!("{name} runs already"),
        ));
    }
    let run_file = member.dir.run_file();
    if run_file.exists() {
        fs::remove_file(&run_file).map_err(|e| Failure::io("cannot remove", &run_file, &e))?;
    }
    let log_file = member.dir.log_file();
    let open = || {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_file)?;
        Ok((log.try_clone()?, log))
    };
    let (out, err) =
        open().map_err(|e: std::io::Error| Failure::io("cannot open", &log_file, &e))?;
    let program = std::env::current_exe()
        .map_err(|e| Failure::failed("io", format!("this program's own file is not found: {e}")))?;
    let dir = member
        .dir
        .path()
        .canonicalize()
        .map_err(|e| Failure::io("cannot use", member.dir.path(), &e))?;
    let mut command = Command::new(&program);
    command.arg("node").arg("--dir").arg(&dir);
    if let Some(lifeline) = lifeline {
        let path = lifeline
            .canonicalize()
            .map_err(|e| Failure::io("cannot use", lifeline, &e))?;
        command.arg("--until-lock-freed").arg(path);
    }
    // A group of its own: Ctrl-C in the terminal reaches the launcher alone.
    command
        .env_remove("TINTYPE_DIR")
        .stdin(Stdio::null())
        .stdout(Stdio::from(out))
        .stderr(Stdio::from(err))
        .process_group(0);
    command
        .spawn()
        .map_err(|e| Failure::io("cannot start", &program, &e))
}

/// Waits until a node that was just started has bound its ports.
///
/// # Errors
/// `node_ended` with the end of its log if it ends instead; `timeout`.
pub fn wait_started(
    member: &Member,
    child: &mut Child,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<RunInfo> {
    let name = &member.name;
    let limit = with_making(START_LIMIT, member);
    let deadline = Instant::now() + limit;
    loop {
        if let Some(info) = alive(member).filter(|info| info.pid == child.id()) {
            return Ok(info);
        }
        if let Ok(Some(status)) = child.try_wait() {
            let message = format!(
                "{name} ended while it started ({status}): {}",
                log_end(member)
            );
            let help = if has_room(member) {
                format!("`tintype testnet logs {name}` shows its log")
            } else {
                "its disk is full, and its log may be cut: make room".into()
            };
            return Err(Failure::failed("node_ended", message).help(help));
        }
        if is_interrupted() {
            return Err(interrupted());
        }
        if Instant::now() > deadline {
            let message = format!("{name} did not start within {} s", limit.as_secs());
            return Err(Failure::failed("timeout", message));
        }
        std::thread::sleep(POLL);
    }
}

/// How long something may take that a node's start is a part of: longer than with a small state where it has a large one to make.
pub fn with_making(limit: Duration, member: &Member) -> Duration {
    let generated = member.dir.genesis().ok().and_then(|g| g.generated);
    let count = generated.map_or(0, |g| g.count);
    limit + Duration::from_secs(count / START_ENTRIES_PER_S)
}

/// The failure of a command that was interrupted.
pub fn interrupted() -> Failure {
    Failure::new(
        crate::failure::Exit::Interrupted,
        "interrupted",
        "interrupted before all nodes ran: those that were started were stopped again",
    )
    .help("the same command carries on")
}

/// Whether a node's disk has room for a log at least.
fn has_room(member: &Member) -> bool {
    let disk = rustix::fs::statvfs(member.dir.path());
    disk.is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= LOG_ROOM_BYTES)
}

/// What a node's log ends with.
fn log_end(member: &Member) -> String {
    let text = tail(&member.dir.log_file(), 4096).unwrap_or_default();
    last_words(&text).unwrap_or_else(|| "its log is empty".into())
}

/// Lines of a last word, at the most.
const LAST_WORDS_MAX: usize = 6;

/// The last word in the end of a log: the last line that says something, and where that belongs to an error or a panic,
/// which have several lines, all of these.
fn last_words(log: &str) -> Option<String> {
    let says = |line: &&str| !line.is_empty() && !line.starts_with("note: run with");
    let lines: Vec<&str> = log.lines().map(str::trim).filter(says).collect();
    let from = lines.len().saturating_sub(LAST_WORDS_MAX);
    let last = lines.get(from..)?;
    let begins = |line: &&str| {
        line.starts_with("error: ")
            || line.contains("' panicked at ")
            || line.contains(") panicked at ")
    };
    let begin = last.iter().rposition(begins);
    let words = last.get(begin.unwrap_or(last.len().checked_sub(1)?)..)?;
    Some(words.join(" | "))
}

/// The last `bytes` bytes of a file, as text.
///
/// # Errors
/// Those of reading it.
pub fn tail(path: &Path, bytes: u64) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(bytes);
    file.seek(SeekFrom::Start(start))?;
    let mut content = Vec::new();
    file.take(bytes).read_to_end(&mut content)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// Sends a signal to a node.
///
/// # Errors
/// `not_running`, or what the system says.
pub fn signal(member: &Member, signal: Signal) -> Result {
    let info = alive(member).ok_or_else(|| not_running(&member.name))?;
    send(&info, signal).map_err(|e| {
        let message = format!(
            "{} (process {}) cannot be signalled: {e}",
            member.name, info.pid
        );
        Failure::failed("io", message)
    })
}

fn send(info: &RunInfo, signal: Signal) -> rustix::io::Result<()> {
    let pid = i32::try_from(info.pid).ok().and_then(Pid::from_raw);
    match pid {
        Some(pid) => kill_process(pid, signal),
        None => Err(rustix::io::Errno::SRCH),
    }
}

/// Asks nodes to stop, and waits until they have. Those that do not within [`GRACE`], or as soon as `hurry` says so,
/// are killed. Gives the names of those that ran.
pub fn stop_all(members: &[Member], hurry: &dyn Fn() -> bool) -> Vec<String> {
    let running: Vec<(&Member, RunInfo)> = members
        .iter()
        .filter_map(|m| alive(m).map(|info| (m, info)))
        .collect();
    for (_, info) in &running {
        // One that is paused takes the signal when it goes on.
        let _ = send(info, Signal::TERM).and_then(|()| send(info, Signal::CONT));
    }
    let deadline = Instant::now() + GRACE;
    while running.iter().any(|(_, info)| info.is_alive()) {
        if Instant::now() > deadline || hurry() {
            for (_, info) in running.iter().filter(|(_, info)| info.is_alive()) {
                let _ = send(info, Signal::KILL);
            }
            wait_ended(&running, Duration::from_secs(5));
            break;
        }
        std::thread::sleep(POLL);
    }
    running
        .iter()
        .map(|(member, _)| member.name.clone())
        .collect()
}

/// Kills a node as `kill -9` does, and waits until it is gone.
///
/// # Errors
/// As [`signal`].
pub fn kill(member: &Member) -> Result {
    let info = alive(member).ok_or_else(|| not_running(&member.name))?;
    signal(member, Signal::KILL)?;
    wait_ended(&[(member, info)], Duration::from_secs(5));
    Ok(())
}

fn wait_ended(processes: &[(&Member, RunInfo)], limit: Duration) {
    let deadline = Instant::now() + limit;
    while processes.iter().any(|(_, info)| info.is_alive()) && Instant::now() < deadline {
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testnet::Testnet;
    use node::config::process_stat;

    #[test]
    fn the_last_words_of_a_log_are_whole() {
        let panic = "thread 'main' panicked at sled/src/lib.rs:1:2:\nno space left\nnote: run with `RUST_BACKTRACE=1`\n";
        let error = "INFO up\nerror: the disk is full\nhelp: make room\n";
        for (log, words) in [
            (
                panic,
                "thread 'main' panicked at sled/src/lib.rs:1:2: | no space left",
            ),
            (error, "error: the disk is full | help: make room"),
            ("a\nb\n\n", "b"),
        ] {
            assert_eq!(last_words(log).as_deref(), Some(words));
        }
        assert_eq!(last_words("\n"), None);
    }

    #[test]
    fn only_the_very_process_is_signalled() {
        let folder = tempfile::tempdir().unwrap();
        let testnet = Testnet::at(folder.path());
        let dir = testnet.node_dir("node0");
        fs::create_dir(dir.path()).unwrap();
        let member = Member {
            name: "node0".into(),
            dir,
        };
        assert_eq!(life(&member), Life::Stopped);

        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let started_ticks = process_stat(child.id()).unwrap().started_ticks;
        let info = RunInfo {
            pid: child.id(),
            started_ticks: started_ticks + 1,
            http: String::new(),
            p2p: String::new(),
        };
        member.dir.write_run_info(&info).unwrap();
        assert_eq!(
            life(&member),
            Life::Stopped,
            "the pid belongs to another by now"
        );
        assert_eq!(kill(&member).unwrap_err().code, "not_running");

        let info = RunInfo {
            started_ticks,
            ..info
        };
        member.dir.write_run_info(&info).unwrap();
        assert_eq!(life(&member), Life::Running);
        signal(&member, Signal::STOP).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while life(&member) != Life::Paused && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        assert_eq!(life(&member), Life::Paused);
        assert_eq!(
            stop_all(std::slice::from_ref(&member), &|| false),
            ["node0"]
        );
        assert_eq!(life(&member), Life::Stopped);
        child.wait().unwrap();
    }
}
