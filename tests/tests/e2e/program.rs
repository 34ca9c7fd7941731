//! Running the program to its end, with a deadline, and reading what it says.

use crate::wait::eventually;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::JoinHandle,
};

/// The program, with the folder that its commands mean.
#[derive(Clone, Debug)]
pub struct Program {
    dir: PathBuf,
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A run that is under way.
pub struct Running {
    line: String,
    child: Child,
    out: JoinHandle<String>,
    err: JoinHandle<String>,
}

impl Program {
    /// For commands on `dir`.
    pub fn on(dir: &Path) -> Self {
        let dir = dir.to_owned();
        Self { dir }
    }

    /// A command of these words, in a session without a terminal.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tintype-under-test"));
        command
            .args(words)
            .env("TINTYPE_DIR", &self.dir)
            .stdin(Stdio::null());
        command
    }

    /// Starts a command.
    pub fn start(&self, words: &[&str]) -> Running {
        let mut child = self
            .command(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = read_all(child.stdout.take().unwrap());
        let err = read_all(child.stderr.take().unwrap());
        let line = words.join(" ");
        Running {
            line,
            child,
            out,
            err,
        }
    }

    /// Runs a command to its end.
    pub fn run(&self, words: &[&str]) -> Ran {
        self.start(words).finish()
    }

    /// Runs a command, reads a line and no more, as `| head -1` does, and waits for its end. Gives the exit code.
    pub fn head(&self, words: &[&str]) -> Option<i32> {
        let mut child = self.command(words).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        reader.read_line(&mut line).unwrap();
        drop(reader);
        let status = eventually(&format!("{words:?} ends after {line:?}"), || {
            let ended = child.try_wait().unwrap();
            ended.ok_or_else(|| "it still runs".into())
        });
        status.code()
    }

    /// Runs a command with `--json`, checks the exit code, and gives the one document.
    pub fn json(&self, words: &[&str], exit: i32) -> Value {
        self.start(&with_json(words)).document(exit)
    }
}

impl Running {
    /// Waits for the end.
    pub fn finish(mut self) -> Ran {
        let line = self.line;
        let status = eventually(&format!("`{line}` ends"), || {
            let ended = self.child.try_wait().unwrap();
            ended.ok_or_else(|| "it still runs".into())
        });
        Ran {
            code: status.code(),
            out: self.out.join().unwrap(),
            err: self.err.join().unwrap(),
        }
    }

    /// Waits for the end, checks the exit code, and gives the one document that was printed.
    pub fn document(self, exit: i32) -> Value {
        let line = self.line.clone();
        let ran = self.finish();
        assert_eq!(ran.code, Some(exit), "`{line}`: {ran:?}");
        serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("`{line}`: {e}: {ran:?}"))
    }
}

/// The words, and `--json`.
pub fn with_json<'a>(words: &[&'a str]) -> Vec<&'a str> {
    words.iter().copied().chain(["--json"]).collect()
}

/// The words of a line without quotes.
pub fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// The text of a field.
pub fn text<'a>(document: &'a Value, field: &str) -> &'a str {
    let value = &document[field];
    value
        .as_str()
        .unwrap_or_else(|| panic!("{field} is {value} in {document}"))
}

/// The number in a field.
pub fn number(document: &Value, field: &str) -> u64 {
    let value = &document[field];
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{field} is {value} in {document}"))
}

/// Fails unless the document has all of these fields, whatever their values.
pub fn assert_fields(document: &Value, fields: &str) {
    let object = document.as_object();
    for field in fields.split(' ') {
        let has = object.is_some_and(|object| object.contains_key(field));
        assert!(has, "{field} is not in {document}");
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    })
}
