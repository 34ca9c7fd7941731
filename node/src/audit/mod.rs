//! An audit of a node's ledger: every block of its log checked from the genesis on, as if nothing had ever been checked.
//!
//! # What is checked
//! Of each block: that it is at the height and under the hash it was recorded with; that it follows the block before
//! (height, parent hash, time, announced validators); its proposer; the parent's certificate in it and its own
//! certificate, under the validator sets of their heights; every transaction's signature; the recorded outcomes against
//! the transactions root; and by execution, the transactions root, both validator sets and the state root. The rules are
//! the replica's own ([`ledger::block::rules`], [`ledger::state::Execution`]).
//!
//! A log that begins above height 1 is executed from the kept snapshot before its first block; if that one is gone, from
//! the first kept snapshot inside it. Up to there a block's validators are known only if a set of the hash it names is
//! known from elsewhere (genesis, a kept snapshot), and there are no states; what was not checked is reported
//! ([`Report::unchecked`]). All blocks below a snapshot are still bound by their parent hashes to its header, which a
//! quorum signed.
//!
//! # Trust
//! The genesis, and nothing else in the folder. A snapshot counts when its certificate convinces those who trust the
//! genesis's validators, or those of a snapshot that does ([`ledger::light`]); that none of these keys was stolen since
//! is presumed. What no audit can see is that blocks are missing at the very end.
//!
//! # Cost
//! Some 11 µs of one core a transaction (measured: 60,000 in 0.44 s on two cores). The node may run meanwhile: nothing is changed, and the log
//! is walked to the height it had when it was opened, after the snapshots were looked at: so it reaches up to each of them. Memory: the
//! state, and two windows of blocks.

mod snapshots;
mod walk;

#[cfg(test)]
pub(crate) mod tests;

use crate::config::{ConfigError, NodeDir};
use ledger::{
    hash::ChainId,
    state::State,
    store::{BlockRecord, LogReader, StoreError},
    units::Height,
};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use snapshots::Snapshots;
use std::{fmt, path::PathBuf};
use walk::{Prepared, Walk};

/// Bytes of blocks that are decoded at once: some 20,000 small transactions, so that both cores are busy.
const WINDOW_BYTES: usize = 4 << 20;

/// Why there was no audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The folder's configuration or genesis.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The genesis starts no chain.
    #[error("the genesis: {0}")]
    Genesis(String),
    /// The disk does not answer. What is damaged is no such error, but a [`Fault`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder of the snapshots cannot be read.
    #[error(transparent)]
    Snapshots(#[from] snapshot::store::StoreError),
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Blocks in which all that could be checked holds, from the first one on.
    pub blocks: u64,
    /// The first height of the log; 0 if it is empty.
    pub from: Height,
    /// The last height that was there at the beginning; 0 if the log is empty.
    pub to: Height,
    /// The first height that was executed.
    pub executed_from: Option<Height>,
    /// What could not be checked, and why. Empty for a log that begins at height 1.
    pub unchecked: Vec<String>,
    /// The first fault. Nothing after it was checked.
    pub fault: Option<Fault>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The block; none if the log cannot be read at all.
    pub height: Option<Height>,
    /// The file, and the byte at which the block's record begins. None if `why` names them.
    pub place: Option<(PathBuf, u64)>,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(height) = self.height {
            write!(f, "block {height}: ")?;
        }
        f.write_str(&self.why)?;
        match &self.place {
            Some((path, offset)) => write!(f, " ({} at byte {offset})", path.display()),
            None => Ok(()),
        }
    }
}

/// Audits the ledger of a node's folder. `progress` is told blocks done and blocks in all.
///
/// # Errors
/// [`AuditError`] if the folder cannot be read. What is wrong with the ledger is in the report.
pub fn verify_ledger(dir: &NodeDir, progress: &dyn Fn(u64, u64)) -> Result<Report, AuditError> {
    let genesis = dir.genesis()?;
    let state = State::genesis(&genesis).map_err(|e| AuditError::Genesis(e.to_string()))?;
    // Before the log: of a node that runs, the log then reaches up to every snapshot that was seen.
    let snapshots = Snapshots::look(
        &dir.snapshots(),
        genesis.chain_id(),
        state.next_validators(),
    )?;
    if !dir.ledger().exists() {
        return Ok(without_blocks(dir, &snapshots, None));
    }
    let (log, report, damage) = match LogReader::open_to_damage(&dir.ledger()) {
        Err(error) if error.is_damage() => {
            let fault = Fault {
                height: None,
                place: None,
                why: error.to_string(),
            };
            return Ok(Report {
                fault: Some(fault),
                ..Report::default()
            });
        }
        other => other?,
    };
    let mut audit = Audit {
        chain: genesis.chain_id(),
        walk: Walk::from_genesis(genesis.chain_id(), state),
        report: Report::default(),
        log,
        snapshots,
    };
    let (Some(from), Some(to)) = (report.first, report.last) else {
        let Some(damage) = damage else {
            return Ok(without_blocks(
                dir,
                &audit.snapshots,
                audit.log.next_height(),
            ));
        };
        audit.report.fault = Some(audit.fault(None, damage.to_string(), false));
        return Ok(audit.report);
    };
    audit.report.from = from;
    audit.report.to = to;
    audit.begin(from);
    audit.run(from, to, progress)?;
    audit.check_end(to);
    if let (None, Some(damage)) = (&audit.report.fault, damage) {
        let fault = audit.fault(Some(to.next()), damage.to_string(), false);
        audit.report.fault = Some(fault);
    }
    audit.conclude();
    if let Some(cut) = report.cut {
        let (path, offset) = (cut.path.display(), cut.offset);
        audit.report.unchecked.push(format!(
            "{path} ends within a record, which begins at byte {offset}: one that is being written, or a torn tail"
        ));
    }
    Ok(audit.report)
}

/// A snapshot is taken when its block is in the log: one above the last block shows that the end is missing.
fn end_is_missing(to: Height, newest: Height) -> Fault {
    Fault {
        height: Some(to.next()),
        place: None,
        why: format!(
            "the log ends with block {to}, and there is a snapshot of height {newest}: the blocks between are missing"
        ),
    }
}

/// Of a log without a block, which may say with which one it begins. A node has one that has just begun, or that follows
/// spaces. Where a snapshot shows that there were blocks, they are missing.
fn without_blocks(dir: &NodeDir, snapshots: &Snapshots, next: Option<Height>) -> Report {
    let mut report = Report::default();
    let config = dir.config();
    if config.is_ok_and(|config| !config.sync.spaces.is_empty()) {
        let why =
            "no block: this node follows spaces, from snapshot to snapshot, and keeps no blocks";
        report.unchecked.push(why.into());
        return report;
    }
    // A node makes its index at its first start. When it begins at a snapshot it begins a log after it, and then only does
    // it forget that it was fetching it.
    let has_run = dir.index().exists() && !snapshots.is_syncing;
    match (next, snapshots.newest()) {
        (Some(next), Some(newest)) if next <= newest => {
            report.fault = Some(end_is_missing(next.previous().unwrap_or_default(), newest));
        }
        (None, newest) if has_run => {
            let seen = newest.map(|newest| format!(", and there is a snapshot of height {newest}"));
            let seen = seen.unwrap_or_default();
            report.fault = Some(Fault {
                height: None,
                place: None,
                why: format!("the block log is gone: this node has run{seen}"),
            });
        }
        (_, Some(newest)) => report.unchecked.push(format!(
            "no block: this node begins at the snapshot of height {newest}, and has no block after it yet"
        )),
        (_, None) => report.unchecked.push("no block: this node has none yet".into()),
    }
    report
}

/// An audit under way.
struct Audit {
    chain: ChainId,
    log: LogReader,
    snapshots: Snapshots,
    walk: Walk,
    report: Report,
}

impl Audit {
    /// Finds the state before the first block, if it is to be had.
    fn begin(&mut self, first: Height) {
        let Some(before) = first.previous().filter(|before| *before > Height::GENESIS) else {
            return;
        };
        self.walk = Walk::without_state(self.chain, first, self.snapshots.known_sets());
        if let Some((header, state)) = self.snapshots.load(before) {
            self.walk.stand_on(header, state);
        }
    }

    fn run(
        &mut self,
        from: Height,
        to: Height,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(), AuditError> {
        let total = to.0.saturating_sub(from.0).saturating_add(1);
        let (log, chain) = (self.log.clone(), self.chain);
        let mut next = from;
        let mut window = prepare(read(&log, &mut next, to), &chain);
        while !window.is_empty() {
            let (ahead, followed) = rayon::join(
                || prepare(read(&log, &mut next, to), &chain),
                || self.follow(window),
            );
            if let Some(fault) = followed? {
                self.report.fault = Some(fault);
                return Ok(());
            }
            progress(self.report.blocks, total);
            window = ahead;
        }
        Ok(())
    }

    /// Walks over blocks, to the first fault.
    fn follow(&mut self, window: Vec<Read>) -> Result<Option<Fault>, AuditError> {
        for read in window {
            let (height, prepared) = match read {
                Read::Block(prepared) => (prepared.height, prepared),
                Read::Failed(height, error) if error.is_damage() => {
                    return Ok(Some(self.fault(Some(height), error.to_string(), false)));
                }
                Read::Failed(_, error) => return Err(error.into()),
                Read::Missing(height) => {
                    return Ok(Some(self.fault(
                        Some(height),
                        "it is missing".into(),
                        false,
                    )));
                }
            };
            let hash = match self.walk.follow(*prepared) {
                Ok(hash) => hash,
                Err(why) => return Ok(Some(self.fault(Some(height), why, true))),
            };
            if let Some(certified) = self.snapshots.block_at(height)
                && certified != hash
            {
                let why =
                    format!("it is {hash}, and the snapshot's certificate is for {certified}");
                return Ok(Some(self.fault(Some(height), why, true)));
            }
            if !self.walk.executes()
                && let Some((header, state)) = self.snapshots.load(height)
            {
                self.walk.stand_on(header, state);
            }
            self.report.blocks += 1;
        }
        Ok(None)
    }

    fn fault(&self, height: Option<Height>, why: String, placed: bool) -> Fault {
        let place = height
            .filter(|_| placed)
            .and_then(|height| self.log.place(height));
        Fault { height, place, why }
    }

    /// The end is not missing as far as the snapshots tell.
    fn check_end(&mut self, to: Height) {
        if let (None, Some(newest)) = (&self.report.fault, self.snapshots.newest())
            && newest > to
        {
            self.report.fault = Some(end_is_missing(to, newest));
        }
    }

    /// Says what was not checked.
    fn conclude(&mut self) {
        self.report.executed_from = self.walk.executed_from();
        self.report.unchecked = self.walk.unchecked();
        if !self.report.unchecked.is_empty() {
            self.report.unchecked.append(&mut self.snapshots.unused);
        }
    }
}

/// One height of the log, read.
enum Read {
    Block(Box<Prepared>),
    Failed(Height, StoreError),
    Missing(Height),
}

/// Reads the next blocks, and moves `next` past them; nothing at the end. The last one may be a failure.
fn read(log: &LogReader, next: &mut Height, to: Height) -> Vec<Result<BlockRecord, Read>> {
    let mut records = Vec::new();
    let mut bytes = 0;
    while *next <= to && bytes < WINDOW_BYTES {
        let height = *next;
        match log.read(height) {
            Ok(Some(record)) => {
                bytes += record.payload.len();
                *next = height.next();
                records.push(Ok(record));
                continue;
            }
            Ok(None) => records.push(Err(Read::Missing(height))),
            Err(error) => records.push(Err(Read::Failed(height, error))),
        }
        *next = to.next();
    }
    records
}

/// Does what can be done with each block by itself, on all cores.
fn prepare(records: Vec<Result<BlockRecord, Read>>, chain: &ChainId) -> Vec<Read> {
    records
        .into_par_iter()
        .map(|record| match record {
            Ok(record) => Read::Block(Box::new(Prepared::new(&record, chain))),
            Err(failed) => failed,
        })
        .collect()
}
