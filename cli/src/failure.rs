//! How a command fails: an exit code, a stable code, what happened, and what to do.

use ledger::store::StoreError;
use serde_json::{Map, Value, json};
use std::{borrow::Cow, fmt, io, path::Path};

/// What the process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It failed.
    Failed = 1,
    /// It was called wrongly.
    Usage = 2,
    /// The ledger refused, or has no such thing.
    Refused = 3,
    /// Nodes disagree, or something does not verify.
    Disagreement = 4,
    /// A node could not be reached.
    Unreachable = 5,
    /// The user interrupted it.
    Interrupted = 130,
}

/// A command that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What the process ends with.
    pub exit: Exit,
    /// A stable `snake_case` code.
    pub code: Cow<'static, str>,
    /// What happened, to what.
    pub message: String,
    /// What to do; may be empty.
    pub help: Cow<'static, str>,
    /// What was found all the same, beside the `error` of the JSON document.
    pub found: Map<String, Value>,
}

/// What a command gives.
pub type Result<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure without help.
    pub fn new(exit: Exit, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.into(),
            message: message.into(),
            help: Cow::Borrowed(""),
            found: Map::new(),
        }
    }

    /// It ends so, and there is nothing to say about it.
    pub fn silent(exit: Exit) -> Self {
        Self::new(exit, "", "")
    }

    /// It failed.
    pub fn failed(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, code, message)
    }

    /// It was called wrongly.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// What was asked for is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, "not_found", message)
    }

    /// A file or folder did not do what was wanted.
    pub fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "not_writable",
            io::ErrorKind::StorageFull => "disk_full",
            _ => "io",
        };
        let help = match code {
            "not_writable" => "choose a folder that can be written, by --dir or TINTYPE_DIR",
            "disk_full" => "make room on that disk",
            _ => "",
        };
        Self::failed(code, format!("{what} {}: {error}", path.display())).help(help)
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<Cow<'static, str>>) -> Self {
        self.help = help.into();
        self
    }

    /// Adds what was found all the same.
    #[must_use]
    pub fn with_found<T: serde::Serialize>(mut self, found: &T) -> Self {
        if let Ok(Value::Object(map)) = serde_json::to_value(found) {
            self.found = map;
        }
        self
    }

    /// The JSON document.
    pub fn document(&self) -> Value {
        let mut document = self.found.clone();
        let error = json!({"code": self.code, "message": self.message, "help": self.help});
        document.insert("error".into(), error);
        Value::Object(document)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Io {
                doing,
                path,
                source,
            } => Self::io(&format!("cannot {doing}"), path, source),
            _ => Self::failed("io", error.to_string()),
        }
    }
}

impl From<node::config::ConfigError> for Failure {
    fn from(error: node::config::ConfigError) -> Self {
        use node::config::ConfigError as E;
        let message = error.to_string();
        match error {
            E::Store(error) => error.into(),
            E::Io { path, source } => Self::io("cannot use", &path, &source),
            E::KeyExposed { path, .. } => Self::failed("key_exposed", message)
                .help(format!("run `chmod 600 {}`", path.display())),
            E::KeyMalformed { .. } => Self::failed("key_malformed", message),
            E::Genesis { .. } => Self::failed("genesis_malformed", message),
            E::Malformed { .. } | E::Value { .. } => Self::failed("config_malformed", message)
                .help("correct the file; `tintype init` writes one that works"),
        }
    }
}
