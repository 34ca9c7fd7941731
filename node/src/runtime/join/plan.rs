//! Whether a node fetches a snapshot or executes every block, from what its peers say. Pure.

use crate::config::SyncMode;
use ledger::units::Height;
use std::time::Duration;

/// How long a new node listens for snapshots before it takes to blocks.
const LISTEN: Duration = Duration::from_millis(2_000);
/// The same, when a snapshot was asked for.
const LISTEN_FOR_SNAPSHOT: Duration = Duration::from_millis(5_000);

/// What a node without a state does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Hear more.
    Wait,
    /// Fetch a snapshot.
    Snapshot,
    /// Execute every block, for this reason.
    Blocks(&'static str),
}

/// What is known when a plan is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// Peers that have said how far they are.
    pub(super) peers: usize,
    /// Of these, how many offer a snapshot.
    pub(super) offering: usize,
    /// Peers that the configuration names.
    pub(super) configured: usize,
    /// Whether this node is the only validator: nobody can be ahead of it.
    pub(super) alone: bool,
    pub(super) waited: Duration,
}

/// What to do, as far as is known.
pub(super) fn plan(mode: SyncMode, heard: Heard) -> Plan {
    let Heard {
        peers,
        offering,
        configured,
        alone,
        waited,
    } = heard;
    match mode {
        SyncMode::Blocks => Plan::Blocks("this node is configured to execute every block"),
        _ if offering > 0 => Plan::Snapshot,
        SyncMode::Auto if alone => Plan::Blocks("this node is the only validator"),
        SyncMode::Auto if configured > 0 && peers >= configured => {
            Plan::Blocks("no peer has a snapshot")
        }
        SyncMode::Auto if waited >= LISTEN => Plan::Blocks("no peer has offered a snapshot"),
        SyncMode::Snapshot if waited >= LISTEN_FOR_SNAPSHOT => {
            Plan::Blocks("a snapshot was asked for, and no peer offers one")
        }
        SyncMode::Auto | SyncMode::Snapshot => Plan::Wait,
    }
}

/// Blocks that are executed sooner than a snapshot is fetched and loaded.
pub(super) const LAG_MIN: u64 = 1_000;

/// What a peer has.
#[derive(Clone, Copy, Debug)]
pub(in crate::runtime) struct Having {
    /// Its first block, if it has any.
    pub(in crate::runtime) earliest_block: Option<Height>,
    /// Its newest snapshot.
    pub(in crate::runtime) snapshot: Option<Height>,
}

/// Whether a node whose state is of height `own` should fetch a snapshot instead of executing the blocks, and from which height
/// on one is worth it: if a peer has one that is `lag_min` blocks ahead, or any that is ahead while nobody has the block that
/// comes next.
pub(super) fn jumps(lag_min: Option<u64>, own: Height, peers: &[Having]) -> Option<Height> {
    let newest = peers.iter().filter_map(|peer| peer.snapshot).max()?;
    let next = own.next();
    let has_next = |peer: &Having| peer.earliest_block.is_some_and(|first| first <= next);
    let blocks_are_gone = !peers.iter().any(has_next);
    let lag_min = if blocks_are_gone { 1 } else { lag_min? };
    let height_min = Height(own.0.saturating_add(lag_min));
    (newest >= height_min).then_some(height_min)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn having(earliest_block: u64, snapshot: u64) -> Having {
        Having {
            earliest_block: Some(Height(earliest_block)).filter(|height| height.0 > 0),
            snapshot: Some(Height(snapshot)).filter(|height| height.0 > 0),
        }
    }

    #[test]
    fn a_node_that_lags_little_executes_blocks() {
        let own = Height(500);
        for (lag_min, newest, from) in [
            (Some(LAG_MIN), 501, None),
            (Some(LAG_MIN), 1_499, None),
            (Some(LAG_MIN), 1_500, Some(1_500)),
            (Some(1), 501, Some(501)),
            (Some(1), 500, None),
            (None, 90_000, None),
        ] {
            let peers = [having(1, newest), having(1, 0)];
            let found = jumps(lag_min, own, &peers);
            assert_eq!(found, from.map(Height), "{lag_min:?}, {newest}");
        }
        assert_eq!(jumps(Some(1), own, &[]), None);
    }

    #[test]
    fn what_nobody_has_cannot_be_executed() {
        let own = Height(500);
        let all_gone = [having(502, 510), having(700, 710)];
        let one_has_it = [having(501, 510), having(700, 710)];
        // One that has no blocks at all, such as who follows spaces, is no help.
        let no_blocks = [having(502, 510), having(0, 0)];
        for lag_min in [Some(LAG_MIN), None] {
            assert_eq!(jumps(lag_min, own, &all_gone), Some(Height(501)));
            assert_eq!(jumps(lag_min, own, &no_blocks), Some(Height(501)));
            assert_eq!(jumps(lag_min, own, &one_has_it), None);
        }
    }

    fn heard(peers: usize, offering: usize, waited_ms: u64) -> Heard {
        Heard {
            peers,
            offering,
            configured: 3,
            alone: false,
            waited: Duration::from_millis(waited_ms),
        }
    }

    #[test]
    fn a_snapshot_is_taken_where_one_is_offered() {
        for mode in [SyncMode::Auto, SyncMode::Snapshot] {
            assert_eq!(plan(mode, heard(1, 1, 0)), Plan::Snapshot);
        }
        assert!(matches!(
            plan(SyncMode::Blocks, heard(3, 3, 0)),
            Plan::Blocks(_)
        ));
    }

    #[test]
    fn a_new_network_does_not_wait_for_what_nobody_has() {
        assert_eq!(plan(SyncMode::Auto, heard(2, 0, 100)), Plan::Wait);
        assert!(matches!(
            plan(SyncMode::Auto, heard(3, 0, 100)),
            Plan::Blocks(_)
        ));
        assert!(matches!(
            plan(SyncMode::Auto, heard(0, 0, 2_000)),
            Plan::Blocks(_)
        ));
    }

    #[test]
    fn a_node_that_others_dial_listens_first_and_one_that_is_alone_does_not() {
        let dialled = Heard {
            configured: 0,
            ..heard(0, 0, 100)
        };
        assert_eq!(plan(SyncMode::Auto, dialled), Plan::Wait);
        let alone = Heard {
            alone: true,
            ..dialled
        };
        assert!(matches!(plan(SyncMode::Auto, alone), Plan::Blocks(_)));
    }

    #[test]
    fn who_asks_for_a_snapshot_gets_some_time_and_then_the_blocks() {
        assert_eq!(plan(SyncMode::Snapshot, heard(3, 0, 4_000)), Plan::Wait);
        assert!(matches!(
            plan(SyncMode::Snapshot, heard(3, 0, 5_000)),
            Plan::Blocks(_)
        ));
    }
}
