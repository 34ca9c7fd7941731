//! What the replica starts from. The genesis's state is made only when no other is to be had: with millions of records it costs
//! seconds, and as much memory again as the one that is fetched.

use super::{
    Ended, NodeError,
    join::{self, Joined},
    journal::DiskJournal,
    promises,
    recover::genesis_state,
    shared::Shared,
};
use crate::{
    config::{Config, SyncMode},
    handle::Origin,
    replica::{Start, Voting, message::WalRecord},
};
use ledger::{block::CertifiedHeader, state::State, units::Height};
use std::sync::Arc;
use tokio::sync::watch;

/// What a node held when it was started.
pub(super) struct Held {
    pub(super) state: Option<State>,
    pub(super) head: Option<CertifiedHeader>,
    pub(super) voting: Voting,
    pub(super) wal: Vec<WalRecord>,
    /// Whether the state is one that was just fetched.
    pub(super) fetched: bool,
}

/// Where the replica starts from: the state that was here, one that peers have, or else the genesis's. Says how the node ends, if
/// it is not to run now.
///
/// # Errors
/// [`NodeError`].
pub(super) async fn start(
    shared: &Arc<Shared>,
    config: &Config,
    held: Held,
    journal: &mut DiskJournal,
    stopping: &watch::Receiver<bool>,
) -> Result<Result<Start, Ended>, NodeError> {
    let Held {
        state,
        head,
        voting,
        wal,
        fetched,
    } = held;
    let peers = config.p2p.peers.len();
    let came = |from, height, why: &str| {
        let why = why.into();
        *shared.origin() = Some(Origin { from, height, why });
    };
    let from = |state, head: Option<CertifiedHeader>, voting, wal| Start {
        state,
        head: head.map(|h| (h.header, h.certificate)),
        wal,
        voting,
    };
    if let Some(state) = state {
        let height = state.height();
        match fetched {
            true => came("snapshot", height, "it was ahead of this node's blocks"),
            false => came("folder", height, "it had a state already"),
        }
        let is_ahead = config.sync.mode == SyncMode::Snapshot
            && join::look_ahead(shared, peers, stopping.clone()).await?;
        return Ok(match is_ahead {
            true => Err(Ended::StartOver),
            false => Ok(from(state, head, voting, wal)),
        });
    }
    let joined = join::join(shared, &config.sync, peers, stopping.clone()).await?;
    if let Err(why) = joined {
        came("genesis", Height::GENESIS, why);
    }
    if let Ok(Joined { state, certified }) = joined {
        came("snapshot", state.height(), "peers offered it");
        journal.begin_after(state.height())?;
        shared.snapshots.store().clear_sync_target()?;
        // What was promised was seen before; the ledger only begins further up now.
        let voting = promises::after_join(voting, journal.floor(), state.height());
        return Ok(Ok(from(state, Some(certified), voting, Vec::new())));
    }
    if *stopping.borrow() {
        return Ok(Err(Ended::Stopped));
    }
    let genesis = shared.genesis.clone();
    let made = tokio::task::spawn_blocking(move || genesis_state(&genesis)).await;
    let state = made.map_err(|_| NodeError::Died("the making of the genesis's state"))??;
    Ok(Ok(from(state, None, voting, wal)))
}
