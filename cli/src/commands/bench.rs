//! `tintype bench`: how much the network commits, measured from outside.

use crate::{
    bench::{self, Plan},
    context::Context,
    failure::Result,
};
use clap::Args;
use std::time::Duration;

/// `tintype bench`
#[derive(Clone, Copy, Debug, Args)]
pub struct BenchArgs {
    /// Seconds of load
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Offer so many transactions a second [default: as many as are committed]
    #[arg(long, value_name = "TX_PER_S", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rate: Option<u64>,
    /// Accounts that send
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u64).range(2..=4096))]
    pub accounts: u64,
    /// Without --rate: sign so many transactions a second of load in advance [default: half as much again as
    /// the measured ceiling, as far as a quarter of the free memory holds them]
    #[arg(long, value_name = "TX_PER_S", conflicts_with = "rate", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rate_max: Option<u64>,
}

/// Measures.
///
/// # Errors
/// Exit code 4 if anything was lost or the roots differ.
pub fn run(context: &Context, args: &BenchArgs) -> Result {
    let plan = Plan {
        load: Duration::from_secs(args.seconds),
        rate: args.rate,
        accounts: usize::try_from(args.accounts).unwrap_or(usize::MAX),
        rate_max: args.rate_max,
    };
    let report = bench::run(context, plan)?;
    report.judge(context)
}
