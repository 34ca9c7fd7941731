//! Runs one simulated network of replicas and says what came of it: `simulate [--seed N] [--heights N] [--rough]`.
//!
//! The same seed gives the same trace, so that a failure in continuous integration replays here.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a program for a terminal"
)]

use std::process::ExitCode;
use tests::simulation::{Simulation, World};

const USAGE: &str = "usage: simulate [--seed N] [--heights N] [--calm]";

struct Arguments {
    seed: u64,
    heights: u64,
    calm: bool,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut parsed = Arguments {
        seed: 1,
        heights: 50,
        calm: false,
    };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments
                .next()
                .ok_or(format!("{argument} wants a number"))?;
            value
                .parse()
                .map_err(|_| format!("{argument} wants a number, not {value:?}"))
        };
        match argument.as_str() {
            "--seed" => parsed.seed = number()?,
            "--heights" => parsed.heights = number()?,
            "--calm" => parsed.calm = true,
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let Arguments {
        seed,
        heights,
        calm,
    } = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(what) => {
            eprintln!("{what}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let world = if calm {
        World::calm(seed)
    } else {
        World::rough(seed)
    };
    let events_max = 200_000 * heights.max(1);
    match Simulation::new(world).and_then(|simulation| simulation.run(heights, events_max)) {
        Ok(report) => {
            println!("seed          {seed}");
            println!("nodes         {}", world.nodes);
            println!("height        {}", report.height);
            println!("state root    {}", report.root);
            println!("transactions  {}", report.transactions);
            println!("messages      {}", report.messages);
            println!("crashes       {}", report.crashes);
            println!("elapsed       {} ms of simulated time", report.elapsed_ms);
            println!("trace         {}", report.trace);
            println!("one history, nothing signed twice, nothing committed lost");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            eprintln!("{violation}");
            ExitCode::FAILURE
        }
    }
}
