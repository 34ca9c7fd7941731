//! The joiner: how a node without a state gets one from peers it does not trust.
//!
//! A state machine without clock, network or disk: [`Joiner::handle`] takes an [`Input`] and the time, and gives [`Output`]s to
//! carry out. The same inputs give the same outputs.
//!
//! # The protocol
//! ```text
//!            offers        a manifest verified,            a chunk missing              all chunks
//!                          none newer can be had           nobody has it for long       verified
//!  ┌─────────┐             ┌──────────┐                    ┌──────────┐
//!  │ search  ├────────────►│  fetch   ├───── release ─────►│  search  │                 Done
//!  └────┬────┘             └──────────┘                    └──────────┘
//!       └─ nothing in time: GaveUp, and the caller replays blocks
//! ```
//! - **Search.** Offers are collected for [`Config::offer_window_ms`]. Manifests are asked for from the highest down, one at a time a
//!   peer, from several peers at once; the newest that verifies becomes the target. A newer offer that nobody substantiates
//!   holds this up until [`Config::choose_ms`], no longer.
//! - **Fetch.** The target is frozen. What an older snapshot at hand shares with it is taken from there; what the store has is
//!   read back and verified; the other chunks are asked for from all who offer the target, as patches on the chunks of the
//!   older snapshot where that has them. A request that takes longer than [`Config::request_timeout_ms`] is given to another peer too, and near
//!   the end already after [`Config::hedge_ms`]; its late answer is still welcome. Unanswered requests fill their peer's few
//!   slots, so that a slow peer gets little and a stuck one nothing.
//! - **Release.** With no provider left, nothing new for [`Config::stall_ms`], or too little in that time, the target is released
//!   and the search begins anew. Chunks stay in the store: what two snapshots share is not fetched twice.
//! - **Strikes.** A true manifest proves nothing about its chunks, and a liar has one of every height. So a release is held
//!   against the *peers* that offered the target, unless it was fetched at a fair rate: what they offer comes after what others
//!   do, and at [`STRIKES_MAX`] they are not asked any more. After [`RELEASES_MAX`] such releases the joiner gives up.
//!
//! # Which snapshot
//! Of the snapshots offered by who has the fewest strikes, those that another peer has too or that lie on the chain's snapshot
//! interval come first, since honest nodes have these; among them the newest.
//!
//! # What is too slow
//! In [`Config::stall_ms`] less than [`Config::bytes_per_second_min`], with more than [`Config::left_ms_max`] to go at that rate; or
//! more than [`Config::left_ms_max_if_other`], where somebody without a strike offers another. Each is tried once in this way,
//! so that a joiner whose own line is slow does not go to and fro.
//!
//! # Trust
//! No peer. A manifest is verified from the trusted validator set, a chunk against the manifest, before anything else
//! happens to it: a [`VerifiedChunk`] comes from nothing else. [`Output::Ban`] comes only with proof of a lie: bytes that an honest peer could not have sent. Slowness,
//! "not here" and failed requests prove nothing. A banned peer is not asked again, whatever it offers; nor by another joiner
//! that is told of it ([`Joiner::shunning`]).
//!
//! # Bounds
//! Peers [`PEERS_MAX`], offers a peer [`OFFERS_MAX`], requests a peer [`ASKS_PER_PEER_MAX`] and in all [`ASKS_MAX`]; answers that were
//! not asked for are dropped unread. Memory: the tree as it grows, the manifest, and 1 candidate's.
//!
//! # Cost
//! [`Joiner::handle`] verifies manifests, and does nothing else that takes long. A chunk takes some milliseconds, and is verified by
//! who carries out the request for it ([`WantedChunk::verify`]), on any thread, several at once. Until then the request
//! counts as unanswered: so what waits to be verified is bounded as what is under way.

mod fetch;
mod joiner;
mod peers;
mod search;
mod wanted;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use joiner::Joiner;
pub use wanted::WantedChunk;

use crate::{
    chunk::{ChunkError, ChunkId, VerifiedChunk},
    manifest::{ChunkRef, Manifest, ManifestError, ManifestId},
    scope::Scope,
};
use ledger::{
    hash::ChainId,
    state::tree::{Totals, Tree},
    units::Height,
    validators::ValidatorSet,
};
use std::sync::Arc;

/// Peers that are kept track of; further ones are not asked.
pub const PEERS_MAX: usize = 256;
/// Offers that are kept of one peer: the newest.
pub const OFFERS_MAX: usize = 64;
/// Chunk requests that one peer may have unanswered.
pub const ASKS_PER_PEER_MAX: usize = 4;
/// Requests that may be under way and in time, to all peers: what is under way may have to be held in memory.
pub const ASKS_MAX: usize = 64;
/// Chunks of one snapshot of which a peer may say "not here" before it counts as not having the snapshot.
pub const NOT_HERE_MAX: usize = 64;
/// Releases that are held against a peer before nothing more is asked of it.
pub const STRIKES_MAX: u32 = 3;
/// Releases that are held against somebody before the joiner gives up: names cost a liar nothing.
pub const RELEASES_MAX: u32 = 16;
/// Banned peers, peers with strikes and convicted manifests that are remembered.
pub const REMEMBERED_MAX: usize = 4096;
/// Chunks that are being read back from the store at a time.
pub const READS_MAX: usize = 8;
/// Manifests that are being fetched at a time.
pub const MANIFEST_ASKS_MAX: usize = 8;

/// What a joiner goes by.
#[derive(Clone, Debug)]
pub struct Config {
    /// The chain.
    pub chain: ChainId,
    /// The validators that are trusted: the genesis's, or those of a header that the operator named.
    pub trusted: ValidatorSet,
    /// Snapshots below this height are of no use.
    pub height_min: Height,
    /// What of the state is fetched.
    pub scope: Scope,
    /// Blocks from one snapshot of the chain to the next, as far as is known; 0 if it is not.
    pub snapshot_interval: u64,
    /// How long offers are collected after the first.
    pub offer_window_ms: u64,
    /// How long, after that, a verified snapshot waits for a newer one that is offered.
    pub choose_ms: u64,
    /// With no acceptable offer for so long the search is given up.
    pub no_snapshot_ms: u64,
    /// However many are offered, after so long without one that verifies the search is given up.
    pub search_ms_max: u64,
    /// After so long a request is given to another peer too.
    pub request_timeout_ms: u64,
    /// After so long it is, when all chunks are asked for and peers have nothing to do.
    pub hedge_ms: u64,
    /// After so long an unanswered request is forgotten, and its peer may be asked again.
    pub forget_ms: u64,
    /// With no chunk for so long the target is released; over so long its rate is measured.
    pub stall_ms: u64,
    /// Uncompressed. Who gets less can hardly follow a chain.
    pub bytes_per_second_min: u64,
    /// Below that rate, a target that would take longer is released.
    pub left_ms_max: u64,
    /// The same, where there is another to try.
    pub left_ms_max_if_other: u64,
}

impl Config {
    /// The usual times.
    pub const fn new(chain: ChainId, trusted: ValidatorSet, height_min: Height) -> Self {
        Self {
            chain,
            trusted,
            height_min,
            scope: Scope::Whole,
            snapshot_interval: 0,
            offer_window_ms: 1_500,
            choose_ms: 5_000,
            no_snapshot_ms: 5_000,
            search_ms_max: 30_000,
            request_timeout_ms: 5_000,
            hedge_ms: 1_000,
            forget_ms: 20_000,
            stall_ms: 30_000,
            bytes_per_second_min: 128 << 10,
            left_ms_max: 30 * 60_000,
            left_ms_max_if_other: 60_000,
        }
    }
}

/// A snapshot that a peer says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its height.
    pub height: Height,
    /// The manifest's id.
    pub manifest: ManifestId,
}

/// What can be asked of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// A manifest.
    Manifest(ManifestId),
    /// A chunk.
    Chunk(ChunkId),
}

/// What happens to a joiner.
#[derive(Clone, Debug)]
pub enum Input<P> {
    /// A peer says what it has: all of it, in place of what it said before.
    Offers {
        /// Who.
        peer: P,
        /// What.
        offers: Vec<Offer>,
    },
    /// A manifest that was asked for.
    Manifest {
        /// Who sent it.
        peer: P,
        /// Which was asked for.
        id: ManifestId,
        /// What came: at most `MANIFEST_BYTES_MAX` bytes, as the network bounds it.
        bytes: Vec<u8>,
    },
    /// A chunk that was asked for.
    Chunk {
        /// Who sent it.
        peer: P,
        /// Which was asked for.
        id: ChunkId,
        /// What came: at most `chunk::ENCODED_BYTES_MAX` bytes, as the network bounds it.
        bytes: Vec<u8>,
        /// What [`WantedChunk::verify`] made of that.
        verified: Result<VerifiedChunk, ChunkError>,
    },
    /// A peer says that it does not have what was asked.
    NotHere {
        /// Who.
        peer: P,
        /// What was asked.
        wanted: Wanted,
    },
    /// A request came to nothing.
    Failed {
        /// Who was asked.
        peer: P,
        /// What was asked.
        wanted: Wanted,
    },
    /// A peer is no longer connected.
    Gone {
        /// Who.
        peer: P,
    },
    /// What [`Output::Read`] asked for.
    Stored {
        /// Which chunk.
        id: ChunkId,
        /// The chunk; nothing if it is not there or damaged, and [`ChunkError::NotAsListed`] if it refutes the manifest.
        chunk: Option<Result<VerifiedChunk, ChunkError>>,
    },
    /// Time passes: to be given several times a second.
    Tick,
}

/// What a joiner wants done.
#[derive(Clone, Debug)]
pub enum Output<P> {
    /// Ask a peer for a manifest.
    AskManifest {
        /// Whom.
        peer: P,
        /// For which.
        id: ManifestId,
    },
    /// Ask a peer for a chunk, and verify what it sends.
    AskChunk {
        /// Whom.
        peer: P,
        /// For which.
        chunk: WantedChunk,
    },
    /// Read a chunk of the target from the store and verify it, and give it back as [`Input::Stored`].
    Read {
        /// Which.
        chunk: ChunkRef,
    },
    /// Put a chunk of the target into the store.
    Store {
        /// The chunk.
        chunk: VerifiedChunk,
        /// Its bytes, whole or a patch.
        bytes: Vec<u8>,
    },
    /// Chunks of this snapshot are fetched from now on: note it as the store's sync target.
    Target(Arc<Manifest>),
    /// A peer has lied; nothing is asked of it any more.
    Ban {
        /// Who.
        peer: P,
        /// The proof.
        lie: Lie,
    },
    /// How far it is.
    Progress(Progress),
    /// The state, verified. Over.
    Done {
        /// The state; of it what is in the [`Scope`], if that is less.
        tree: Tree,
        /// The snapshot, to be put into the store.
        manifest: Arc<Manifest>,
    },
    /// No snapshot can be had. Over.
    GaveUp(GaveUp),
}

/// What proves that a peer lied.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Lie {
    /// It offered a manifest that cannot be.
    #[error("its manifest {id}: {error}")]
    Manifest {
        /// Which.
        id: ManifestId,
        /// Why it cannot be.
        error: Arc<ManifestError>,
    },
    /// It offered a manifest for another height than the manifest's.
    #[error("its manifest {id} is of height {found}, it offered it for {offered}")]
    Height {
        /// Which.
        id: ManifestId,
        /// The manifest's height.
        found: Height,
        /// The height offered.
        offered: Height,
    },
    /// It sent a chunk that is not what was asked.
    #[error("its chunk {id}: {error}")]
    Chunk {
        /// Which.
        id: ChunkId,
        /// What is wrong with it.
        error: ChunkError,
    },
    /// It offered, as whole and checked, a snapshot whose manifest a chunk refutes.
    #[error("its manifest {id} is refuted by a chunk: {error}")]
    Refuted {
        /// Which.
        id: ManifestId,
        /// How.
        error: ChunkError,
    },
}

/// Why no snapshot could be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GaveUp {
    /// Nobody offers one.
    #[error(
        "no peer offered a snapshot for {waited_ms} ms; replaying blocks instead works from any peer that has them"
    )]
    NoSnapshot {
        /// How long it was waited.
        waited_ms: u64,
    },
    /// None of those offered could be verified.
    #[error(
        "none of the snapshots offered could be verified within {waited_ms} ms; the last was refused because: {last}"
    )]
    NoneVerified {
        /// How long it was tried.
        waited_ms: u64,
        /// Why the last was refused.
        last: String,
    },
    /// Those that were verified could not be fetched.
    #[error(
        "snapshots were begun {releases} times, and no peer sent their chunks in good time; what came is kept for the next start; \
         replaying blocks instead works from any peer that has them"
    )]
    Stalled {
        /// How often one was released.
        releases: u32,
    },
}

/// How far a joiner is with what it fetches. All totals are proven by the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The target's height.
    pub height: Height,
    /// Chunks verified and stored.
    pub chunks_done: u64,
    /// Chunks in all.
    pub chunks_total: u64,
    /// Entries and bytes of the chunks that are done, uncompressed.
    pub done: Totals,
    /// Entries and bytes in all.
    pub total: Totals,
    /// Peers that have the target and may be asked.
    pub peers: u64,
}
