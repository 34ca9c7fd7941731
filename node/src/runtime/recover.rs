//! What a node's folder holds, put together again: the state by executing the block log, and the promises of the
//! write-ahead log. A folder that contradicts itself is refused with the reason.

use super::{NodeError, blocks::TransactionIndex, journal::DiskJournal};
use crate::{
    config::{Config, NodeDir},
    replica::{Start, Voting, message::WalRecord},
};
use ledger::{
    block::{Block, CommittedBlock, UnverifiedBlock},
    codec,
    genesis::Genesis,
    keys::SecretKey,
    state::{Execution, State},
    store::{DirLock, Log, LogReader, Wal},
    units::Height,
};

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
    /// Where the replica starts from.
    pub start: Start,
    pub(super) index: TransactionIndex,
    pub(super) journal: DiskJournal,
    pub(super) blocks: LogReader,
    pub(super) lock: DirLock,
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
    let (log, report) = Log::open(&dir.ledger())?;
    if let Some(cut) = &report.cut {
        tracing::warn!(
            ?cut,
            "a torn tail of the block log was cut off; nothing in it was acknowledged"
        );
    }
    let mut state = State::genesis(&genesis).map_err(|e| NodeError::Genesis(e.to_string()))?;
    let mut head = None;
    for record in log.iter_from(Height::GENESIS.next()) {
        let record = record?;
        let (block, certificate, next) =
            replay(&state, &record.payload).map_err(|why| NodeError::Log {
                height: record.height,
                why,
            })?;
        state = next.state;
        head = Some((block.header, certificate));
    }
    let decided = state.height();
    let opened = Wal::open(&dir.wal(), decided.next())?;
    let (wal, voting, records) = match opened {
        None => {
            tracing::warn!(
                "the write-ahead log is missing: this node was wiped, and votes only when it has learnt what the others have"
            );
            (None, Voting::wiped(), vec![])
        }
        Some(opened) => {
            // A promise above the next height means that the log has lost a block it had.
            if let Some(ahead) = opened
                .entries
                .iter()
                .map(|e| e.height)
                .max()
                .filter(|h| *h > decided.next())
            {
                let why = format!(
                    "the write-ahead log has promises of height {ahead}: blocks are missing"
                );
                return Err(NodeError::Log {
                    height: decided.next(),
                    why,
                });
            }
            let from = opened.wal.floor().map(|floor| floor.max(decided.next()));
            let next = decided.next();
            let records = opened
                .entries
                .iter()
                .filter(|entry| entry.height == next)
                .map(|entry| {
                    codec::decode_unchecked::<WalRecord>(&entry.payload, codec::ENCODED_BYTES_MAX)
                })
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| NodeError::Log {
                    height: next,
                    why: format!("the write-ahead log: {e}"),
                })?;
            let voting = match from {
                // Created by a wiped node that has learnt: nothing was promised below.
                Some(from) if opened.entries.is_empty() && from > next => Voting::From(from.next()),
                _ => Voting::Always,
            };
            (Some(opened.wal), voting, records)
        }
    };
    let blocks = log.reader();
    let index = TransactionIndex::open(&dir.index(), blocks.clone())?;
    let journal = DiskJournal::new(wal, dir.wal(), log);
    let start = Start {
        state,
        head,
        wal: records,
        voting,
    };
    Ok(Recovered {
        dir,
        config,
        genesis,
        key,
        start,
        index,
        journal,
        blocks,
        lock,
    })
}

type Replayed = (
    Block,
    ledger::certificate::Certificate,
    ledger::state::Executed,
);

fn replay(state: &State, payload: &[u8]) -> Result<Replayed, String> {
    let CommittedBlock {
        block, certificate, ..
    } = codec::decode_unchecked(payload, ledger::block::BLOCK_BYTES_MAX)
        .map_err(|e| e.to_string())?;
    let block: Block = UnverifiedBlock::from_own_log(block);
    let executed = Execution::run(state, &block).map_err(|e| e.to_string())?;
    Ok((block, certificate, executed))
}
