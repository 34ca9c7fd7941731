//! The node's metrics, as Prometheus reads them (text format 0.0.4).

use super::shared::Shared;
use crate::handle::Backend;
use std::{fmt::Write, sync::atomic::Ordering};

/// The text of all metrics.
pub(super) fn text(shared: &Shared) -> String {
    let status = shared.status();
    let network = shared.network.metrics();
    let snapshots = &shared.snapshots;
    let snapshot_height = status.snapshot.map_or(0, |s| s.height.0);
    let total = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let rows = [
        (
            "height",
            "gauge",
            "The last committed height.",
            status.height.0,
        ),
        (
            "ready",
            "gauge",
            "Whether the node follows the chain.",
            u64::from(status.ready),
        ),
        ("peers", "gauge", "Connected peers.", status.peers as u64),
        (
            "mempool_transactions",
            "gauge",
            "Transactions waiting.",
            status.mempool as u64,
        ),
        (
            "transactions_total",
            "counter",
            "Transactions committed since the start.",
            total(&shared.transactions_total),
        ),
        (
            "earliest_block",
            "gauge",
            "The first block it has; it goes down while earlier ones are fetched.",
            status.earliest_block.map_or(0, |height| height.0),
        ),
        (
            "snapshot_height",
            "gauge",
            "The height of the newest whole snapshot.",
            snapshot_height,
        ),
        (
            "snapshots_taken_total",
            "counter",
            "Snapshots taken since the start.",
            total(&snapshots.taken_total),
        ),
        (
            "snapshots_skipped_total",
            "counter",
            "Snapshots left out because the disk was behind.",
            total(&snapshots.skipped_total),
        ),
        (
            "snapshot_pause_microseconds_max",
            "gauge",
            "The longest that taking a snapshot has held up the blocks since the start, in microseconds.",
            total(&snapshots.pause_us_max),
        ),
        (
            "attestations_agreed_total",
            "counter",
            "Roots attested by peers that are the same here.",
            shared.attestations().agreed_total,
        ),
        (
            "alarms_total",
            "counter",
            "Disagreements seen since the start.",
            total(&shared.alarms_total),
        ),
        (
            "gossip_dropped_total",
            "counter",
            "Gossip dropped.",
            network.gossip_dropped,
        ),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# HELP tintype_{name} {help}\n# TYPE tintype_{name} {kind}\ntintype_{name} {value}"
        );
    }
    text
}
