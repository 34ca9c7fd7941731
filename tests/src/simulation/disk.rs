//! A pretended disk: what was made durable survives a crash; of what was not, any prefix may.

use super::random::Random;
use ledger::{
    block::{Block, CommittedBlock},
    codec,
    genesis::Genesis,
    hash::ChainId,
    state::{Execution, State},
    units::Height,
};
use node::replica::{Journal, JournalError, Start, Voting, message::WalRecord};

/// What the write-ahead log says of itself, as [`ledger::store::Wal`] does.
#[derive(Clone, Copy, Debug, Default)]
struct Promises {
    promised: Option<Height>,
    unknown: Option<Height>,
}

/// A node's disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    wal: Vec<(Height, Vec<u8>)>,
    unsynced: Vec<(Height, Vec<u8>)>,
    log: Vec<CommittedBlock>,
    /// None on a wiped disk: nothing is kept of what it is told before it is promised from when on it matters.
    promises: Option<Promises>,
    /// Disk operations until the next crash.
    pub crash_in: Option<u64>,
}

impl Disk {
    /// The block log.
    pub fn log(&self) -> &[CommittedBlock] {
        &self.log
    }

    /// What a crash leaves of it.
    pub fn crash(&mut self, random: &mut Random) {
        let kept = random.below(self.unsynced.len() as u64 + 1);
        let unsynced = std::mem::take(&mut self.unsynced);
        self.wal.extend(
            unsynced
                .into_iter()
                .take(usize::try_from(kept).unwrap_or(0)),
        );
        self.crash_in = None;
    }

    /// The disk of a new node, which has never signed anything.
    pub fn new() -> Self {
        Self {
            promises: Some(Promises::default()),
            ..Self::default()
        }
    }

    /// Loses everything, also that this node has never signed.
    pub fn wipe(&mut self) {
        *self = Self::default();
    }

    /// From when on its node would vote if it started now; none if it was wiped.
    pub fn voting(&self) -> Option<Voting> {
        let decided = self
            .log
            .last()
            .map_or(Height::GENESIS, |c| c.block.header.height);
        let Promises { promised, unknown } = self.promises?;
        Some(Voting::resume(decided.next(), promised, unknown))
    }

    /// Where a replica starts from, every block executed again and held against its header.
    ///
    /// # Panics
    /// If a block of the log does not execute to its own roots.
    #[allow(
        clippy::expect_used,
        reason = "a simulation ends when its own log is wrong"
    )]
    pub fn start(&self, genesis: &Genesis) -> Start {
        let mut state = State::genesis(genesis).expect("a sound genesis");
        let mut head = None;
        for committed in &self.log {
            let block: Block = committed.block.clone().from_own_log();
            let executed = Execution::run(&state, &block).expect("a block of the own log executes");
            let told = committed.verified_outcomes();
            assert_eq!(told.as_deref(), Ok(executed.outcomes.as_slice()));
            state = executed.state;
            head = Some((block.header, committed.certificate.clone()));
        }
        let next = state.height().next();
        let voting = self.voting().unwrap_or_else(Voting::wiped);
        let may_know = matches!(voting, Voting::Always);
        let wal = self
            .wal
            .iter()
            .filter(|(height, _)| may_know && *height == next)
            .map(|(_, bytes)| {
                codec::decode::<WalRecord>(bytes, codec::ENCODED_BYTES_MAX).expect("own record")
            })
            .collect();
        Start {
            state,
            head,
            wal,
            voting,
        }
    }

    /// The chain of a genesis.
    pub fn chain(genesis: &Genesis) -> ChainId {
        genesis.chain_id()
    }

    fn operation(&mut self) -> Result<(), JournalError> {
        match &mut self.crash_in {
            Some(0) => Err(JournalError("simulated crash".into())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Journal for Disk {
    fn append(&mut self, height: Height, record: &[u8]) -> Result<(), JournalError> {
        self.operation()?;
        if let Some(promises) = &mut self.promises {
            promises.promised = promises.promised.max(Some(height));
            self.unsynced.push((height, record.to_vec()));
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.operation()?;
        let unsynced = std::mem::take(&mut self.unsynced);
        self.wal.extend(unsynced);
        Ok(())
    }

    fn promise_from(&mut self, height: Height) -> Result<(), JournalError> {
        self.operation()?;
        self.promises.get_or_insert(Promises {
            promised: height.previous(),
            unknown: height.previous(),
        });
        self.operation()
    }

    fn commit(&mut self, block: &CommittedBlock) -> Result<(), JournalError> {
        self.operation()?;
        let height = block.block.header.height;
        self.log.push(block.clone());
        self.wal.retain(|(h, _)| *h > height);
        self.unsynced.retain(|(h, _)| *h > height);
        // The crash may come after the write and before anyone hears of it.
        self.operation()
    }
}
