//! The `tintype` command: thin commands over a node's HTTP API, and a launcher for testnets on one machine.
//!
//! A command parses, calls and prints. It knows of a node what the API says, and of a testnet what lies in its folder;
//! there is no back door. See `commands` for one file a command, [`testnet`] for the launcher, [`output`] for all that
//! is printed.

pub mod answer;
pub mod api;
pub mod args;
pub mod bench;
pub mod client;
pub mod commands;
pub mod context;
pub mod differences;
pub mod evidence;
pub mod failure;
pub mod interrupt;
pub mod names;
pub mod output;
pub mod sender;
pub mod table;
pub mod testnet;

use args::Cli;
use clap::{Parser, error::ErrorKind};
use failure::{Exit, Failure};
use output::Output;
use std::process::ExitCode;

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, arguments.iter().any(|a| a == "--json")),
    };
    let context = cli.context();
    let listening = if cli.command.handles_signals() {
        Ok(())
    } else {
        interrupt::listen(context.out)
    };
    let done = listening
        .and_then(|()| context.check_dir())
        .and_then(|()| commands::run(&context, cli.command));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            context.out.failure(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn usage(error: &clap::Error, json: bool) -> ExitCode {
    let out = Output::new(json);
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayVersion => {
            let version = env!("CARGO_PKG_VERSION");
            out.result(&serde_json::json!({"version": version}), || text.clone());
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelp => {
            out.result(&serde_json::json!({"help": text}), || text.clone());
            ExitCode::SUCCESS
        }
        _ if json => {
            out.failure(&match error.kind() {
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    Failure::usage("a command is missing").help(text)
                }
                _ => wrong_usage(&text),
            });
            ExitCode::from(Exit::Usage as u8)
        }
        _ => {
            out.note(text.trim_end());
            ExitCode::from(Exit::Usage as u8)
        }
    }
}

/// What was typed wrongly, from what the parser tells a person: what is wrong, a blank line, hints and the usage.
fn wrong_usage(text: &str) -> Failure {
    let one_line = |paragraph: &str| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ")
    };
    let mut paragraphs = text.trim().split("\n\n").map(one_line);
    let message = paragraphs.next().unwrap_or_default();
    let message = message.trim_start_matches("error: ").to_owned();
    let hints: Vec<String> = paragraphs.collect();
    let help = match hints.as_slice() {
        [] => "`tintype help` and `--help` say what there is".into(),
        hints => hints.join("; "),
    };
    Failure::usage(message).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_usage_names_what_is_missing_and_how_it_is_typed() {
        let error = Cli::try_parse_from(["tintype", "tx", "transfer", "alice", "bob"]);
        let failure = wrong_usage(&error.unwrap_err().render().to_string());
        assert!(failure.message.contains("<AMOUNT>"), "{failure}");
        assert!(
            failure.help.contains("tx transfer <FROM> <TO> <AMOUNT>"),
            "{}",
            failure.help
        );
    }
}
