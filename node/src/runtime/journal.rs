//! The replica's journal on a real disk: the write-ahead log and the block log.

use crate::replica::{Journal, JournalError};
use ledger::{
    block::CommittedBlock,
    codec,
    store::{Log, Prepender, StoreError, Wal},
    units::Height,
};
use std::path::PathBuf;

/// The two files that a replica's promises stand in.
pub(super) struct DiskJournal {
    /// None while a wiped node does not know from when on it may vote: it promises nothing, so nothing is kept.
    wal: Option<Wal>,
    wal_dir: PathBuf,
    log: Log,
}

impl DiskJournal {
    pub(super) fn new(wal: Option<Wal>, wal_dir: PathBuf, log: Log) -> Self {
        Self { wal, wal_dir, log }
    }

    /// The highest height at which this node may have promised anything.
    pub(super) fn floor(&self) -> Option<Height> {
        self.wal.as_ref().and_then(Wal::floor)
    }

    /// The state was fetched: the block log begins anew after it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn begin_after(&mut self, height: Height) -> Result<(), StoreError> {
        self.log.reset_to(height.next()).map(|_| ())
    }

    /// What puts earlier blocks before those of the log.
    pub(super) fn prepender(&self) -> Prepender {
        self.log.prepender()
    }
}

fn failed(error: &StoreError) -> JournalError {
    JournalError(error.to_string())
}

impl Journal for DiskJournal {
    fn append(&mut self, height: Height, record: &[u8]) -> Result<(), JournalError> {
        match &mut self.wal {
            Some(wal) => wal.append(height, record).map_err(|e| failed(&e)),
            None => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        match &mut self.wal {
            Some(wal) => wal.sync().map_err(|e| failed(&e)),
            None => Ok(()),
        }
    }

    fn promise_from(&mut self, height: Height) -> Result<(), JournalError> {
        tracing::warn!(%height, "this wiped node has learnt what the others have, and votes from this height on");
        if self.wal.is_none() {
            let floor = height.previous().unwrap_or_default();
            Wal::create_promised(&self.wal_dir, floor).map_err(|e| failed(&e))?;
            self.wal = Wal::open(&self.wal_dir, floor)
                .map_err(|e| failed(&e))?
                .map(|w| w.wal);
        }
        Ok(())
    }

    fn commit(&mut self, block: &CommittedBlock) -> Result<(), JournalError> {
        let height = block.block.header.height;
        let hash = block.certificate.block.into();
        self.log
            .append(height, &hash, &codec::encode(block))
            .map_err(|e| failed(&e))?;
        self.log.sync().map_err(|e| failed(&e))?;
        match &mut self.wal {
            Some(wal) => wal.advance(height.next()).map_err(|e| failed(&e)),
            None => Ok(()),
        }
    }
}

/// What the replica was told is durable survives a power failure, which takes back all that was not synced.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tests::chain::Chain;
    use ledger::store::disk::fault;
    use std::path::Path;

    fn journal(dir: &Path) -> DiskJournal {
        let (wal_dir, log_dir) = (dir.join("wal"), dir.join("ledger"));
        let wal = match Wal::open(&wal_dir, Height(1)).unwrap() {
            Some(opened) => opened,
            None => {
                Wal::create_never_signed(&wal_dir).unwrap();
                Wal::open(&wal_dir, Height(1)).unwrap().unwrap()
            }
        };
        let (log, _) = Log::open(&log_dir).unwrap();
        DiskJournal::new(Some(wal.wal), wal_dir, log)
    }

    fn promised(dir: &Path) -> Vec<Vec<u8>> {
        let opened = Wal::open(&dir.join("wal"), Height(1)).unwrap().unwrap();
        opened.entries.into_iter().map(|e| e.payload).collect()
    }

    #[test]
    fn what_is_synced_is_promised_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = journal(dir.path());
        let power = fault::watch_power();
        journal.append(Height(1), b"proposal").unwrap();
        journal.append(Height(1), b"vote").unwrap();
        journal.sync().unwrap();
        journal.append(Height(1), b"not promised yet").unwrap();
        drop(journal);
        power.fails();
        assert_eq!(
            promised(dir.path()),
            [b"proposal".to_vec(), b"vote".to_vec()]
        );
    }

    #[test]
    fn what_is_committed_is_kept_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let chain = Chain::new(3);
        for (height, block) in (1..).zip(&chain.blocks) {
            let mut journal = journal(dir.path());
            let power = fault::watch_power();
            journal.commit(block).unwrap();
            drop(journal);
            power.fails();
            let (log, _) = Log::open(&dir.path().join("ledger")).unwrap();
            assert_eq!(log.last(), Some(Height(height)));
            let kept = log.read(Height(height)).unwrap().unwrap();
            assert_eq!(kept.payload, codec::encode(block));
        }
    }

    #[test]
    fn a_wiped_nodes_first_promise_is_there_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = Log::open(&dir.path().join("ledger")).unwrap();
        let mut journal = DiskJournal::new(None, dir.path().join("wal"), log);
        let power = fault::watch_power();
        journal.promise_from(Height(8)).unwrap();
        journal.append(Height(8), b"vote").unwrap();
        journal.sync().unwrap();
        drop(journal);
        power.fails();
        assert_eq!(promised(dir.path()), [b"vote".to_vec()]);
        let opened = Wal::open(&dir.path().join("wal"), Height(8)).unwrap();
        assert_eq!(opened.unwrap().wal.unknown(), Some(Height(7)));
    }
}
