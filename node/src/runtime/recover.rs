//! What a node's folder holds, put together again: the state from the newest whole snapshot and the blocks after it, and
//! the promises of the write-ahead log.
//!
//! What is damaged is set aside with a word in the log, and what it held comes from elsewhere: an older snapshot, the
//! genesis, the peers. A folder that holds nothing yet gives no state, and the genesis's is not made before it is needed. The blocks that are executed at a start are those after the newest snapshot that is whole, and no
//! others ([`Recovered::replayed`]); how many that can be is worked out in `docs/operation.md`. Nothing here is believed unchecked: chunks hash to the root that a certificate is over, and each
//! block must execute to the roots in its header.

use super::{
    NodeError,
    blocks::TransactionIndex,
    join::Liars,
    journal::DiskJournal,
    promises::{Promises, promises},
};
use crate::{
    config::{Config, NodeDir},
    replica::{Voting, message::WalRecord},
};
use ::snapshot::{
    manifest::{Manifest, Picture},
    store::Store,
};
use ledger::{
    block::{Block, CertifiedHeader, CommittedBlock, UnverifiedBlock},
    certificate::Certificate,
    codec,
    genesis::Genesis,
    hash::{BlockHash, ChainId},
    keys::SecretKey,
    state::{Executed, Execution, State},
    store::{DirLock, Log, LogReader, StoreError},
    units::Height,
};
use std::{path::Path, time::Instant};

/// A node's folder, opened and replayed.
pub struct Recovered {
    /// The folder.
    pub dir: NodeDir,
    /// Its configuration.
    pub config: Config,
    /// The genesis.
    pub genesis: Genesis,
    /// The node's key.
    pub key: SecretKey,
    /// The state after the last block. None if the folder holds neither a block nor a snapshot: the genesis's state, which may take
    /// seconds and much memory, is made only when it is certain that none is fetched.
    pub state: Option<State>,
    /// From when on it may vote.
    pub voting: Voting,
    /// Blocks that were executed to get there.
    pub replayed: u64,
    /// The header of that block.
    pub(super) head: Option<CertifiedHeader>,
    /// What it has promised at the next height.
    pub(super) wal: Vec<WalRecord>,
    pub(super) snapshots: Store,
    /// The snapshot that it was put together from.
    pub(super) picture: Option<Picture>,
    pub(super) index: TransactionIndex,
    pub(super) journal: DiskJournal,
    pub(super) blocks: LogReader,
    pub(super) lock: DirLock,
    /// Who lied about snapshots while this process served the folder before.
    pub(super) liars: Liars,
    /// Whether it has just fetched the snapshot that is in it.
    pub(super) fetched: bool,
}

/// Opens and replays a folder.
///
/// # Errors
/// [`NodeError`] names what is wrong, and with which file.
pub fn recover(dir: NodeDir) -> Result<Recovered, NodeError> {
    let config = dir.config()?;
    let genesis = dir.genesis()?;
    let key = dir.key()?;
    let lock = DirLock::acquire(dir.path())?;
    let snapshots = Store::open(&dir.snapshots())?;
    let mut log = open_log(&dir.ledger())?;
    let put_together = |log: &mut Log| -> Result<(Rebuilt, TransactionIndex), NodeError> {
        let rebuilt = rebuild(log, &snapshots, &genesis)?;
        // Reads all that it lacks, also what lies below the snapshot.
        let index = TransactionIndex::open(&dir.index(), log.reader())?;
        Ok((rebuilt, index))
    };
    let (rebuilt, index) = match put_together(&mut log) {
        Err(NodeError::Store(error @ StoreError::Damaged { .. })) => {
            drop(log);
            set_damage_aside(&dir.ledger(), &error)?;
            log = open_log(&dir.ledger())?;
            put_together(&mut log)?
        }
        done => done?,
    };
    let target = snapshots.read_sync_target()?;
    let height = rebuilt.height();
    if target.is_some_and(|target| target.height_claimed() <= height) {
        // A sync that ended just before it could say so, or that blocks have overtaken.
        snapshots.clear_sync_target()?;
    }
    for what in snapshots.take_damage() {
        tracing::error!(what, "a snapshot on disk is damaged and not used");
    }
    let Rebuilt {
        state,
        head,
        picture,
        replayed,
    } = rebuilt;
    let Promises {
        wal,
        voting,
        records,
    } = promises(&dir.wal(), height)?;
    let blocks = log.reader();
    let journal = DiskJournal::new(wal, dir.wal(), log);
    Ok(Recovered {
        dir,
        config,
        genesis,
        key,
        state,
        voting,
        replayed,
        head,
        wal: records,
        snapshots,
        picture,
        index,
        journal,
        blocks,
        lock,
        liars: Liars::default(),
        fetched: false,
    })
}

fn open_log(dir: &Path) -> Result<Log, StoreError> {
    let (log, report) = match Log::open(dir) {
        Err(error @ StoreError::Damaged { .. }) => {
            set_damage_aside(dir, &error)?;
            Log::open(dir)?
        }
        opened => opened?,
    };
    if let Some(cut) = &report.cut {
        tracing::warn!(
            ?cut,
            "a torn tail of the block log was cut off: a crash leaves one, and nothing in it was acknowledged then"
        );
    }
    Ok(log)
}

fn set_damage_aside(dir: &Path, error: &StoreError) -> Result<(), StoreError> {
    let aside = Log::set_aside_damage(dir)?;
    tracing::error!(
        %error, ?aside,
        "the block log is damaged; what follows the damage is set aside and comes from the peers"
    );
    Ok(())
}

struct Rebuilt {
    picture: Option<Picture>,
    /// None, if there is neither a snapshot nor a block.
    state: Option<State>,
    head: Option<CertifiedHeader>,
    /// Blocks that were executed.
    replayed: u64,
}

impl Rebuilt {
    fn height(&self) -> Height {
        self.state.as_ref().map(State::height).unwrap_or_default()
    }
}

/// The state before the first block.
pub(super) fn genesis_state(genesis: &Genesis) -> Result<State, NodeError> {
    let begun = Instant::now();
    let state = State::genesis(genesis).map_err(|e| NodeError::Genesis(e.to_string()))?;
    tracing::info!(
        entries = state.tree().totals().entries,
        state_ms = begun.elapsed().as_millis(),
        "made the state of the genesis"
    );
    Ok(state)
}

/// A log of another chain is not damaged, and nothing of it is set aside: it stands in the wrong folder.
fn check_chain(log: &Log, expected: ChainId) -> Result<(), NodeError> {
    let first = log.first().and_then(|first| log.iter_from(first).next());
    let Some(record) = first.transpose()? else {
        return Ok(());
    };
    match CommittedBlock::logged_header(&record.payload) {
        Ok(header) if header.chain != expected => Err(NodeError::OtherChain {
            found: header.chain,
            expected,
        }),
        // One that cannot be read is found when it is executed.
        _ => Ok(()),
    }
}

/// The state after the last block of the log.
fn rebuild(log: &mut Log, snapshots: &Store, genesis: &Genesis) -> Result<Rebuilt, NodeError> {
    check_chain(log, genesis.chain_id())?;
    let begun = Instant::now();
    let (state, picture) = newest_snapshot(log, snapshots, genesis)?.unzip();
    let mut head = picture.as_ref().map(|p| p.manifest.certified());
    let from = state.as_ref().map(State::height).unwrap_or_default();
    let next = from.next();
    let first = log.first().or(log.next());
    let ends_before = log.next().is_some_and(|n| n < next);
    let begins_after = first.is_some_and(|first| first > next);
    let never_begun = log.next().is_none() && from > Height::GENESIS;
    if (ends_before || begins_after || never_begun)
        && let Some(aside) = log.reset_to(next)?
    {
        tracing::warn!(
            folder = %aside.display(), height = %from,
            "the block log does not go on where the state ends: it is set aside, and history begins after the state"
        );
    }
    let has_blocks = log.next().is_some_and(|end| end > next);
    let mut state = match state {
        Some(state) => state,
        None if has_blocks => genesis_state(genesis)?,
        None => {
            tracing::info!("there is neither a block nor a snapshot here yet");
            return Ok(Rebuilt {
                picture: None,
                state: None,
                head: None,
                replayed: 0,
            });
        }
    };
    let loaded = begun.elapsed();
    let mut replayed = 0u64;
    for record in log.iter_from(next) {
        replayed += 1;
        let record = record?;
        let (block, certificate, executed) =
            replay(&state, &record.payload).map_err(|why| NodeError::Log {
                height: record.height,
                why,
            })?;
        state = executed.state;
        head = Some(CertifiedHeader {
            header: block.header,
            certificate,
        });
    }
    tracing::info!(
        height = %state.height(), %from, replayed,
        entries = state.tree().totals().entries, state_ms = loaded.as_millis(),
        blocks_ms = begun.elapsed().saturating_sub(loaded).as_millis(),
        "the state is here: loaded from a snapshot (or made, from the genesis), and brought up to the block log"
    );
    Ok(Rebuilt {
        state: Some(state),
        head,
        picture,
        replayed,
    })
}

/// The newest snapshot that is whole, of this chain, and does not contradict the log.
fn newest_snapshot(
    log: &Log,
    snapshots: &Store,
    genesis: &Genesis,
) -> Result<Option<(State, Picture)>, NodeError> {
    let chain = genesis.chain_id();
    for manifest in snapshots.manifests() {
        let height = manifest.height();
        if manifest.header().chain != chain || !fits(log, &manifest)? {
            tracing::warn!(%height, "a snapshot does not belong to the block log and is not used");
            continue;
        }
        let state = snapshots
            .load(&manifest)
            .map_err(|e| e.to_string())
            .and_then(|tree| State::from_tree(height, tree).map_err(|e| e.to_string()));
        match state {
            Ok(state) => {
                let tree = state.tree().clone();
                return Ok(Some((state, Picture { manifest, tree })));
            }
            Err(error) => tracing::error!(%height, error, "a snapshot cannot be loaded"),
        }
    }
    Ok(None)
}

/// Whether the log goes on from a snapshot, or ends before it. Where it has the snapshot's block, that is the same.
fn fits(log: &Log, manifest: &Manifest) -> Result<bool, NodeError> {
    let height = manifest.height();
    let Some(first) = log.first().or(log.next()) else {
        return Ok(true);
    };
    if first > height.next() {
        return Ok(false);
    }
    match log.read(height)? {
        Some(record) => Ok(BlockHash::from(record.block_hash) == manifest.block()),
        None => Ok(true),
    }
}

fn replay(state: &State, payload: &[u8]) -> Result<(Block, Certificate, Executed), String> {
    let CommittedBlock {
        block, certificate, ..
    } = codec::decode_unchecked(payload, ledger::block::BLOCK_BYTES_MAX)
        .map_err(|e| e.to_string())?;
    let block: Block = UnverifiedBlock::from_own_log(block);
    let executed = Execution::run(state, &block).map_err(|e| e.to_string())?;
    Ok((block, certificate, executed))
}
