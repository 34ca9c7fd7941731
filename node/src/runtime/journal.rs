//! The replica's journal on a real disk: the write-ahead log and the block log.

use crate::replica::{Journal, JournalError};
use ledger::{
    block::CommittedBlock,
    codec,
    store::{Log, StoreError, Wal},
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
}

impl DiskJournal {
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
