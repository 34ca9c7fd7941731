//! Ctrl-C, or SIGTERM, in a command that does not end in its own way: it says what state things are in, and the process ends
//! with exit code 130. What a command has begun it says here while it goes on; what was printed before is the result, and
//! nothing follows it.

use crate::{
    failure::{Exit, Failure, Result},
    output::Output,
};
use serde_json::{Map, Value};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::{
    collections::BTreeMap,
    io::Read,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
    time::{Duration, Instant},
};

/// How long a result that is being printed is waited for: a terminal that takes no more must not make Ctrl-C useless.
const PRINT_LIMIT: Duration = Duration::from_millis(500);
const PRINT_POLL: Duration = Duration::from_millis(5);

/// What is known of one thing that was begun.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// In which state it is left.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Fields of the document.
    pub found: Map<String, Value>,
    /// A file that is not whole, and is removed.
    pub unfinished: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct State {
    printed: bool,
    known: BTreeMap<&'static str, Known>,
}

static STATE: Mutex<State> = Mutex::new(State {
    printed: false,
    known: BTreeMap::new(),
});

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says in which state an interruption would leave `what` from now on.
pub fn leaves(what: &'static str, known: Known) {
    state().known.insert(what, known);
}

/// Prints something that is a result, or part of one, which an interruption does not cut in two.
pub fn printing<T>(print: impl FnOnce() -> T) -> T {
    let mut state = state();
    state.printed = true;
    print()
}

/// From now on Ctrl-C and SIGTERM end this process.
///
/// # Errors
/// If signals cannot be handled.
pub fn listen(out: Output) -> Result {
    let failed =
        |e: std::io::Error| Failure::failed("io", format!("signals cannot be handled: {e}"));
    let (mut news, signalled) = UnixStream::pair().map_err(failed)?;
    for signal in [SIGINT, SIGTERM] {
        let signalled = signalled.try_clone().map_err(failed)?;
        signal_hook::low_level::pipe::register(signal, signalled).map_err(failed)?;
    }
    let wait = move || {
        if news.read_exact(&mut [0]).is_ok() {
            end(out);
        }
    };
    std::thread::Builder::new()
        .name("interrupt".into())
        .spawn(wait)
        .map(drop)
        .map_err(failed)
}

fn end(out: Output) {
    let deadline = Instant::now() + PRINT_LIMIT;
    let state = loop {
        match STATE.try_lock() {
            Ok(state) => break Some(state),
            Err(TryLockError::Poisoned(poisoned)) => break Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => break None,
            Err(TryLockError::WouldBlock) => std::thread::sleep(PRINT_POLL),
        }
    };
    for known in state.iter().flat_map(|state| state.known.values()) {
        if let Some(path) = &known.unfinished {
            let _ = std::fs::remove_file(path);
        }
    }
    // Held until the end of the process, so that nothing is printed after this.
    if let Some(state) = state.as_ref().filter(|state| !state.printed) {
        out.last_word(&failure(&state.known));
    }
    std::process::exit(i32::from(Exit::Interrupted as u8));
}

/// What is said of all that was begun.
fn failure(known: &BTreeMap<&'static str, Known>) -> Failure {
    let part = |of: fn(&Known) -> &str| {
        let parts: Vec<&str> = known.values().map(of).filter(|p| !p.is_empty()).collect();
        parts.join("; ")
    };
    let message = match part(|known| &known.message) {
        states if states.is_empty() => "interrupted".to_owned(),
        states => format!("interrupted: {states}"),
    };
    let mut failure = Failure::new(Exit::Interrupted, "interrupted", message);
    failure.help = part(|known| &known.help).into();
    for known in known.values() {
        failure.found.extend(known.found.clone());
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_begun_is_named_in_one_document() {
        let nothing = failure(&BTreeMap::new());
        assert_eq!(nothing.message, "interrupted");
        let known = |message: &str, field: &str| Known {
            message: message.into(),
            help: String::new(),
            found: Map::from_iter([(field.to_owned(), Value::from("x"))]),
            ..Known::default()
        };
        let both = failure(&BTreeMap::from([
            ("node", known("node4 stays", "name")),
            ("transaction", known("it may become final", "id")),
        ]));
        assert_eq!(both.exit, Exit::Interrupted);
        let document = both.document();
        assert_eq!(document["error"]["code"], "interrupted");
        assert_eq!(
            document["error"]["message"],
            "interrupted: node4 stays; it may become final"
        );
        assert_eq!(
            (&document["name"], &document["id"]),
            (&"x".into(), &"x".into())
        );
    }
}
