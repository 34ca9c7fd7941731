//! The one place that prints. Results go to standard output, as tables or as one JSON document; all else that is for
//! people goes to standard error. A reader that went away (`| head`) is no failure.

use crate::{failure::Failure, interrupt, table::visible};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Where and how results go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// For people, or with `json` for programs.
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether results are JSON.
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Whether a person watches standard output, so that it may be drawn over.
    pub fn is_live(self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Columns of the terminal that a line may fill, if a person watches one.
    pub fn columns(self) -> Option<usize> {
        let columns = || usize::from(console::Term::stdout().size().1);
        self.is_live().then(|| columns().max(20) - 1)
    }

    /// Whether a progress bar may be drawn.
    pub fn has_progress(self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// Prints a result: the document with `--json`, else the text.
    pub fn result<T: Serialize + ?Sized>(self, document: &T, text: impl FnOnce() -> String) {
        if self.json {
            self.document(document);
        } else {
            self.text(&text());
        }
    }

    /// Prints one JSON document on a line of its own.
    pub fn document<T: Serialize + ?Sized>(self, document: &T) {
        match serde_json::to_string(document) {
            Ok(text) => to_stdout(&text),
            Err(e) => self.note(&format!("the result cannot be written as JSON: {e}")),
        }
    }

    /// Prints text on standard output.
    pub fn text(self, text: &str) {
        to_stdout(text.trim_end_matches('\n'));
    }

    /// Draws `text` over the `lines_before` lines drawn last. Only for a terminal.
    pub fn redraw(self, lines_before: usize, text: &str) {
        let mut screen = String::new();
        if lines_before > 0 {
            screen.push_str(&format!("\x1b[{lines_before}A"));
        }
        for line in text.lines() {
            screen.push_str("\x1b[2K");
            screen.push_str(line);
            screen.push('\n');
        }
        screen.push_str("\x1b[0J");
        interrupt::printing(|| {
            let mut out = io::stdout().lock();
            let _ = out.write_all(screen.as_bytes()).and_then(|()| out.flush());
        });
    }

    /// Whether nobody reads standard output any more: what goes on and on may end then.
    pub fn reader_is_gone(self) -> bool {
        let stdout = io::stdout();
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        let at_once = Timespec::default();
        let polled = poll(&mut watched, Some(&at_once)).is_ok();
        polled
            && watched
                .iter()
                .any(|fd| fd.revents().contains(PollFlags::ERR))
    }

    /// Tells a person something that is no result.
    pub fn note(self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Says how things stand while the process is made to end: the document with `--json`, else one line.
    pub fn last_word(self, failure: &Failure) {
        if self.json {
            writeln_to_stdout(&failure.document().to_string());
            return;
        }
        // Over a progress bar.
        let begin = if self.has_progress() { "\r\x1b[2K" } else { "" };
        let help = match &*failure.help {
            "" => String::new(),
            help => format!(": {}", visible(help)),
        };
        self.note(&format!("{begin}{}{help}", visible(&failure.message)));
    }

    /// Prints a failure: its document with `--json`, else what happened and what to do.
    pub fn failure(self, failure: &Failure) {
        if failure.code.is_empty() {
            return;
        }
        if self.json {
            self.document(&failure.document());
            return;
        }
        // Much of it is what a node said.
        self.note(&format!("error: {}", visible(&failure.message)));
        if !failure.help.is_empty() {
            self.note(&format!("help: {}", visible(&failure.help)));
        }
    }
}

fn to_stdout(text: &str) {
    interrupt::printing(|| writeln_to_stdout(text));
}

fn writeln_to_stdout(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}
