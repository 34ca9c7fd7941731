//! The launcher in the foreground, as in a terminal of its own.

use crate::{
    net::send,
    program::{Program, with_json, words},
    wait::eventually,
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
};

/// A launcher that was started and shows its table, a document a line.
pub struct Launcher {
    child: Child,
    shown: Arc<Mutex<Vec<Value>>>,
}

impl Launcher {
    /// Starts it.
    pub fn start(program: &Program, line: &str) -> Self {
        let mut child = program
            .command(&with_json(&words(line)))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&shown);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let document = serde_json::from_str(&line).unwrap_or(Value::String(line));
                seen.lock().unwrap().push(document);
            }
        });
        Self { child, shown }
    }

    /// Waits until it shows that every node has a block, and gives that status.
    pub fn wait_for_first_block(&self) -> Value {
        eventually("the launcher shows a block on every node", || {
            let shown = self.shown.lock().unwrap();
            let last = shown.last().ok_or("it shows nothing")?;
            let nodes = last["nodes"].as_array().ok_or_else(|| last.to_string())?;
            let all = nodes.iter().all(|n| n["height"].as_u64() >= Some(1));
            all.then(|| last.clone()).ok_or_else(|| last.to_string())
        })
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// Waits for its end, and gives the exit code; none if a signal ended it.
    pub fn exit_code(&mut self) -> Option<i32> {
        eventually("the launcher ends", || {
            let ended = self.child.try_wait().unwrap();
            ended
                .map(|status| status.code())
                .ok_or_else(|| "it still runs".into())
        })
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
