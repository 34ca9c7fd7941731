//! Running the program, with the environment that names the server.

use crate::server::{KEY, SECRET, Server};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The program, with the folder that its commands mean. What runs there ends with this.
pub struct Program {
    dir: PathBuf,
    endpoint: String,
    pub secret: &'static str,
    pub is_http_allowed: bool,
}

impl Program {
    /// For commands on `dir`.
    pub fn new(dir: &Path, server: &Server) -> Self {
        Self {
            dir: dir.to_owned(),
            endpoint: server.url.clone(),
            secret: SECRET,
            is_http_allowed: true,
        }
    }

    /// As [`Program::new`], with a server that is not there.
    pub fn without_server(dir: &Path) -> Self {
        // Nobody listens where somebody has just ceased to.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            dir: dir.to_owned(),
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            secret: SECRET,
            is_http_allowed: true,
        }
    }

    /// Starts a command with `--json`.
    pub fn start(&self, line: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_tintype-with-s3"))
            .args(line.split(' '))
            .arg("--json")
            .env("TINTYPE_DIR", &self.dir)
            .env("AWS_ENDPOINT", &self.endpoint)
            .env("AWS_ALLOW_HTTP", self.is_http_allowed.to_string())
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", self.secret)
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs a command, checks the exit code, and gives the one document.
    pub fn json(&self, line: &str, exit: i32) -> Value {
        let output = self.start(line).wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(exit), "`{line}`: {text}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("`{line}`: {e}: {text}"))
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, line: &str) -> Value {
        self.json(line, 0)
    }

    /// Runs a command that must fail with this exit code and this code, and gives what it says.
    pub fn fails(&self, line: &str, exit: i32, code: &str) -> String {
        let document = self.json(line, exit);
        assert_eq!(document["error"]["code"], code, "`{line}`: {document}");
        document["error"]["message"].as_str().unwrap().to_owned()
    }

    /// A folder or file in the testnet's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.dir.join("testnet.toml").exists() || self.dir.join("genesis.json").exists() {
            let _ = self.start("testnet down").wait();
        }
    }
}

/// The number in a field.
pub fn number(document: &Value, field: &str) -> u64 {
    let value = &document[field];
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{field} is {value} in {document}"))
}
