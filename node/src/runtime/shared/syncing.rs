//! A sync under way: how far it is, how fast, and how long it will take yet.

use crate::handle::SyncProgress;
use std::time::{Duration, Instant};

/// A sync under way.
pub(in crate::runtime) struct Syncing {
    began: Instant,
    /// What was there already: of a sync that a node went on with.
    bytes_before: u64,
    progress: SyncProgress,
}

impl Syncing {
    /// One that goes on, or begins.
    pub(in crate::runtime) fn new(
        before: Option<Self>,
        progress: SyncProgress,
        now: Instant,
    ) -> Self {
        match before {
            Some(same) if same.progress.height == progress.height => Self { progress, ..same },
            _ => Self {
                began: now,
                bytes_before: progress.bytes_done,
                progress,
            },
        }
    }

    /// What is told of it now: a source that has fallen silent makes it slower from second to second.
    pub(in crate::runtime) fn told(&self, now: Instant) -> SyncProgress {
        let progress = self.progress.clone();
        let bytes = progress.bytes_done.saturating_sub(self.bytes_before);
        let left = progress.bytes_total.saturating_sub(progress.bytes_done);
        let (bytes_per_second, seconds_left) = pace(bytes, left, now - self.began);
        SyncProgress {
            bytes_per_second,
            seconds_left,
            ..progress
        }
    }
}

/// Bytes a second, and seconds until so many more have come; none if none comes.
fn pace(bytes: u64, left: u64, elapsed: Duration) -> (u64, Option<u64>) {
    let millis = elapsed.as_millis().max(1);
    let rate = u128::from(bytes) * 1_000 / millis;
    let seconds = u128::from(left).checked_div(rate);
    let whole = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
    (whole(rate), seconds.map(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::units::Height;

    fn progress(height: u64, bytes_done: u64) -> SyncProgress {
        SyncProgress {
            mode: "snapshot",
            height: Height(height),
            chunks_done: 0,
            chunks_total: 0,
            bytes_done,
            bytes_total: 10_000,
            bytes_per_second: 0,
            seconds_left: None,
            peers: 1,
        }
    }

    #[test]
    fn its_pace_is_that_of_what_came_since_it_began() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let shown = |syncing: &Syncing, seconds| {
            let told = syncing.told(after(seconds));
            (told.bytes_per_second, told.seconds_left)
        };
        let syncing = Syncing::new(None, progress(7, 4_000), start);
        assert_eq!(shown(&syncing, 1), (0, None));
        let syncing = Syncing::new(Some(syncing), progress(7, 6_000), after(2));
        assert_eq!(shown(&syncing, 2), (1_000, Some(4)));
        assert_eq!(shown(&syncing, 20), (100, Some(40)), "nothing came since");
        let other = Syncing::new(Some(syncing), progress(8, 6_000), after(20));
        assert_eq!(shown(&other, 21), (0, None));
    }
}
