//! What a benchmark found, and whether that is good.

use super::{Plan, follow::Seen, load::Tracker};
use crate::{
    context::Context,
    failure::{Exit, Failure, Result},
    table::{fields, grouped},
};
use serde::Serialize;
use std::{collections::HashMap, time::Duration};

/// What a benchmark found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Transactions offered a second of load.
    pub offered_per_second: f64,
    /// Transactions that a node took.
    pub submitted: u64,
    /// Of these, in a block.
    pub committed: u64,
    /// Of these, in none.
    pub lost: u64,
    /// From the beginning to the last block.
    pub seconds: f64,
    /// Transactions committed a second of that.
    pub committed_per_second: f64,
    /// How long a transaction took to be seen final.
    pub latency_ms: Latency,
    /// Signatures that this machine verifies a second, divided by the validators on it.
    pub ceiling_per_second: f64,
    /// How much of that was committed.
    pub fraction_of_ceiling: f64,
    /// Validators.
    pub validators: usize,
    /// Whether all nodes have one state root.
    pub roots_equal: bool,
    /// Whether every account has the nonce and the balance it must have.
    pub balances_right: bool,
    /// Blocks of the run.
    pub blocks: u64,
    /// Transactions refused for good, by code.
    pub refused: HashMap<String, u64>,
    /// Why the load ended before its time, if it did.
    pub ended_early: Option<String>,
}

/// Quantiles, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half were quicker.
    pub p50: f64,
    /// 90 of 100 were quicker.
    pub p90: f64,
    /// 99 of 100 were quicker.
    pub p99: f64,
}

impl Latency {
    /// Of sorted microseconds.
    fn of(sorted_us: &[u64]) -> Self {
        let at = |percent: usize| {
            let rank = (sorted_us.len() * percent).div_ceil(100).saturating_sub(1);
            sorted_us
                .get(rank)
                .map_or(0.0, |&us| rounded(us as f64 / 1000.0))
        };
        Self {
            p50: at(50),
            p90: at(90),
            p99: at(99),
        }
    }
}

/// What was measured.
pub(super) struct Measured<'a> {
    pub plan: Plan,
    pub loaded: Duration,
    pub ended_early: Option<String>,
    pub tracker: &'a Tracker,
    pub seen: Seen,
    pub ceiling: f64,
    pub validators: usize,
    pub roots_equal: bool,
    pub balances_right: bool,
}

impl Report {
    pub(super) fn new(measured: &Measured<'_>) -> Self {
        let tracker = measured.tracker;
        let (submitted, committed) = (tracker.accepted(), tracker.committed_total());
        let seconds = tracker
            .last_commit()
            .max(measured.loaded)
            .as_secs_f64()
            .max(1e-6);
        let committed_per_second = committed as f64 / seconds;
        let offered = match measured.plan.rate {
            Some(rate) => rate as f64,
            None => submitted as f64 / measured.loaded.as_secs_f64().max(1e-6),
        };
        Self {
            offered_per_second: rounded(offered),
            submitted,
            committed,
            lost: submitted.saturating_sub(committed),
            seconds: rounded(seconds),
            committed_per_second: rounded(committed_per_second),
            latency_ms: Latency::of(&tracker.latencies()),
            ceiling_per_second: rounded(measured.ceiling),
            fraction_of_ceiling: rounded(committed_per_second / measured.ceiling.max(1e-6)),
            validators: measured.validators,
            roots_equal: measured.roots_equal,
            balances_right: measured.balances_right,
            blocks: measured.seen.blocks,
            refused: tracker.rejected(),
            ended_early: measured.ended_early.clone(),
        }
    }

    /// Prints it.
    ///
    /// # Errors
    /// Exit code 4 if anything was lost, or the roots or balances are not what they must be.
    pub fn judge(&self, context: &Context) -> Result {
        match self.fault() {
            None => {
                context.out.result(self, || self.text());
                Ok(())
            }
            Some(fault) => {
                if !context.out.is_json() {
                    context.out.text(&self.text());
                }
                Err(fault.with_found(self))
            }
        }
    }

    /// What is not as it must be.
    fn fault(&self) -> Option<Failure> {
        let (what, help) = if self.lost > 0 {
            let lost = format!("{} of {} transactions were lost", self.lost, self.submitted);
            (lost, "did a node die? `tintype testnet status` shows them")
        } else if !self.roots_equal {
            let differ = "the nodes' state roots differ".into();
            (differ, "`tintype verify roots` shows whose")
        } else if !self.balances_right {
            let wrong = "an account has not the nonce or balance that it must have".into();
            (wrong, "does somebody else use the bench's accounts?")
        } else {
            return None;
        };
        Some(Failure::new(Exit::Disagreement, "bench_fault", what).help(help))
    }

    fn text(&self) -> String {
        let latency = self.latency_ms;
        let mut pairs = vec![
            ("offered", format!("{} tx/s", self.offered_per_second)),
            ("submitted", grouped(self.submitted)),
            (
                "committed",
                format!("{} in {} blocks", grouped(self.committed), self.blocks),
            ),
            ("lost", grouped(self.lost)),
            (
                "committed",
                format!("{} tx/s over {} s", self.committed_per_second, self.seconds),
            ),
            (
                "latency",
                format!(
                    "p50 {} ms, p90 {} ms, p99 {} ms",
                    latency.p50, latency.p90, latency.p99
                ),
            ),
            (
                "ceiling",
                format!(
                    "{} tx/s: signatures of all cores / {} validators",
                    self.ceiling_per_second, self.validators
                ),
            ),
            ("fraction", self.fraction_of_ceiling.to_string()),
            ("roots equal", self.roots_equal.to_string()),
            ("balances right", self.balances_right.to_string()),
        ];
        pairs.extend(self.ended_early.clone().map(|why| ("ended early", why)));
        for (code, count) in &self.refused {
            pairs.push(("refused", format!("{count} accounts stopped: {code}")));
        }
        fields(&pairs)
    }
}

/// Three digits behind the point say enough.
fn rounded(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            offered_per_second: 50.0,
            submitted: 500,
            committed: 500,
            lost: 0,
            seconds: 10.0,
            committed_per_second: 50.0,
            latency_ms: Latency::of(&[]),
            ceiling_per_second: 20_000.0,
            fraction_of_ceiling: 0.0025,
            validators: 4,
            roots_equal: true,
            balances_right: true,
            blocks: 10,
            refused: HashMap::new(),
            ended_early: None,
        }
    }

    #[test]
    fn what_was_lost_or_differs_is_exit_code_4_with_all_that_was_found() {
        assert_eq!(good().fault(), None);
        let lost = Report { lost: 1, ..good() };
        let differ = Report {
            roots_equal: false,
            ..good()
        };
        let wrong = Report {
            balances_right: false,
            ..good()
        };
        for report in [lost, differ, wrong] {
            let failure = report.fault().unwrap();
            assert_eq!(failure.exit, Exit::Disagreement, "{report:?}");
            let document = failure.with_found(&report).document();
            assert_eq!(document["error"]["code"], "bench_fault");
            assert_eq!(document["lost"], report.lost, "{document}");
            assert_eq!(document["roots_equal"], report.roots_equal, "{document}");
        }
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let us: Vec<u64> = (1..=100).map(|i| i * 1000).collect();
        assert_eq!(
            Latency::of(&us),
            Latency {
                p50: 50.0,
                p90: 90.0,
                p99: 99.0
            }
        );
        assert_eq!(
            Latency::of(&[2000]),
            Latency {
                p50: 2.0,
                p90: 2.0,
                p99: 2.0
            }
        );
        assert_eq!(Latency::of(&[]).p50, 0.0);
    }
}
