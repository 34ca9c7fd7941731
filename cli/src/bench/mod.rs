//! The benchmark.

use crate::{
    context::Context,
    failure::{Failure, Result},
};
use std::time::Duration;

/// What to offer.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// For how long.
    pub load: Duration,
    /// Transactions a second, if they are counted.
    pub rate: Option<u64>,
    /// Accounts that send.
    pub accounts: usize,
    /// Transactions a second that are signed in advance.
    pub rate_max: u64,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Report;

impl Report {
    /// Prints it.
    ///
    /// # Errors
    /// If anything was lost.
    pub fn judge(&self, _: &Context) -> Result {
        Ok(())
    }
}

/// Measures.
///
/// # Errors
/// If no node answers.
pub fn run(_: &Context, plan: Plan) -> Result<Report> {
    Err(Failure::failed("not_in_this_version", format!("{plan:?}")))
}
