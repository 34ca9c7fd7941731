//! A transaction is found, with the same answer, the moment it is added, when it is on disk, after a restart, and when
//! the index was lost, damaged or another's: each time from the log, without executing anything.

use super::{
    Indexed, TransactionIndex,
    backlog::{Backlog, TRANSACTIONS_MAX},
};
use crate::{
    audit::tests::chain::Chain,
    config::NodeDir,
    handle::{Inclusion, NotHere},
};
use ledger::{
    block::CommittedBlock,
    codec,
    hash::{BlockHash, Hash, StateRoot, TxId},
    state::Outcome,
    store::{BlockRecord, Log, LogReader},
    units::Height,
};
use std::{
    fs,
    sync::{Arc, mpsc},
};
use tempfile::TempDir;

struct Folder {
    _keep: TempDir,
    dir: NodeDir,
    chain: Chain,
}

impl Folder {
    /// A node's folder with a log of so many blocks.
    fn new(blocks: u64) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let dir = NodeDir::new(keep.path());
        let chain = Chain::new(blocks);
        chain.write(&dir, 1);
        Self {
            _keep: keep,
            dir,
            chain,
        }
    }

    fn open(&self) -> TransactionIndex {
        let (log, _) = LogReader::open(&self.dir.ledger()).unwrap();
        TransactionIndex::open(&self.dir.index(), log).unwrap()
    }

    /// What is known of every transaction of the blocks up to a height, and what should be.
    fn expected(&self, to: usize) -> Vec<(TxId, Inclusion)> {
        let blocks = self.chain.blocks.iter().take(to);
        let each = blocks.flat_map(|block| {
            let header = &block.block.header;
            let outcomes = block.verified_outcomes().unwrap();
            (0u32..).zip(outcomes).map(|(index, (id, outcome))| {
                let committed = Inclusion {
                    height: header.height,
                    block: header.hash(),
                    state_root: header.state_root,
                    index,
                    outcome,
                };
                (id, committed)
            })
        });
        each.collect()
    }

    #[track_caller]
    fn assert_all_known(&self, index: &TransactionIndex, to: usize) {
        for (id, committed) in self.expected(to) {
            assert_eq!(index.committed(&id), Some(committed), "{id:.8}");
            assert_eq!(index.transaction_id(&id.to_string()[..12]), Ok(id));
            assert_eq!(index.root(committed.height), Some(committed.state_root));
            let prefix = committed.block.to_string()[..10].to_uppercase();
            assert_eq!(index.block_height(&prefix), Ok(committed.height));
        }
    }
}

fn indexed(folder: &Folder, height: u64) -> Indexed {
    let block = &folder.chain.blocks[usize::try_from(height - 1).unwrap()];
    let header = &block.block.header;
    let outcomes = block.verified_outcomes().unwrap();
    Indexed::new(header.height, header.hash(), header.state_root, &outcomes)
}

#[test]
fn a_block_is_found_at_once_and_on_disk_and_after_a_restart() {
    let folder = Folder::new(12);
    let told = folder
        .expected(12)
        .into_iter()
        .map(|(_, c)| c.outcome.found);
    assert!(told.max() > Some(0), "some outcomes have a figure");
    // The log of a node that has committed 12 blocks; the index that it had made of none.
    let empty = Folder::new(0);
    let index = empty.open();
    for height in 1..=12 {
        index.add(indexed(&folder, height));
        let (id, committed) = folder
            .expected(usize::try_from(height).unwrap())
            .pop()
            .unwrap();
        assert_eq!(index.committed(&id), Some(committed), "height {height}");
    }
    drop(index);
    let index = folder.open();
    folder.assert_all_known(&index, 12);
    drop(index);
    folder.assert_all_known(&folder.open(), 12);
}

#[test]
fn what_the_worker_took_to_disk_is_answered_from_there() {
    let folder = Folder::new(12);
    let (log, _) = LogReader::open(&folder.dir.ledger()).unwrap();
    // An index of the first 6, then the other 6 as they are committed.
    let first = Folder::new(6);
    drop(first.open());
    fs::rename(first.dir.index(), folder.dir.index()).unwrap();
    let index = {
        let short = LogReader::open(&first.dir.ledger()).unwrap().0;
        let mut index = TransactionIndex::open(&folder.dir.index(), short).unwrap();
        index.log = log;
        index
    };
    for height in 7..=12 {
        index.add(indexed(&folder, height));
    }
    folder.assert_all_known(&index, 12);
    index.backlog.wait_until_empty();
    folder.assert_all_known(&index, 12);
    assert_eq!(index.disk.up_to(), Some(Height(12)));
    index.disk.check().unwrap();
}

#[test]
fn one_that_is_lost_or_ahead_or_of_another_chain_is_made_anew_from_the_log() {
    let folder = Folder::new(8);
    drop(folder.open());
    fs::remove_dir_all(folder.dir.index()).unwrap();
    folder.assert_all_known(&folder.open(), 8);
    // Of a longer log.
    let longer = Folder::new(12);
    drop(longer.open());
    fs::remove_dir_all(folder.dir.index()).unwrap();
    fs::rename(longer.dir.index(), folder.dir.index()).unwrap();
    let index = folder.open();
    folder.assert_all_known(&index, 8);
    let (beyond, _) = longer.expected(12).pop().unwrap();
    assert_eq!(index.committed(&beyond), None);
    drop(index);
    // Of a log of the same length that parted from this one.
    let mut other = Folder::new(8);
    other
        .chain
        .resign(8, |block| block.block.header.time.0 += 1);
    fs::remove_dir_all(other.dir.ledger()).unwrap();
    other.chain.write(&other.dir, 1);
    drop(other.open());
    let foreign = other.chain.block(8).block.header.hash();
    fs::remove_dir_all(folder.dir.index()).unwrap();
    fs::rename(other.dir.index(), folder.dir.index()).unwrap();
    let index = folder.open();
    folder.assert_all_known(&index, 8);
    let unknown = NotHere::Unknown(foreign.to_string());
    assert_eq!(index.block_height(&foreign.to_string()), Err(unknown));
}

/// A log of the blocks from 8 to 12, and the blocks below.
fn later_part() -> (Folder, Vec<BlockRecord>) {
    let folder = Folder::new(12);
    fs::remove_dir_all(folder.dir.ledger()).unwrap();
    folder.chain.write(&folder.dir, 8);
    let record = |block: &CommittedBlock| BlockRecord {
        height: block.block.header.height,
        block_hash: block.block.header.hash().into(),
        payload: codec::encode(block),
    };
    let earlier = folder.chain.blocks[..7].iter().map(record).collect();
    (folder, earlier)
}

#[test]
fn blocks_that_are_fetched_later_are_found_at_once() {
    let (folder, earlier) = later_part();
    let (log, _) = Log::open(&folder.dir.ledger()).unwrap();
    let index = TransactionIndex::open(&folder.dir.index(), log.reader()).unwrap();
    assert_eq!(index.begins_at(), Some(Height(8)));
    let mut prepender = log.prepender();
    for part in [&earlier[3..], &earlier[..3]] {
        prepender.prepend(part).unwrap();
        index.add_earlier(part).unwrap();
    }
    assert_eq!(index.begins_at(), Some(Height(1)));
    folder.assert_all_known(&index, 12);
    index.disk.check().unwrap();
}

/// A crash came after they were put before the log's, and before the index learnt of them.
#[test]
fn blocks_that_were_fetched_before_a_crash_are_indexed_at_the_next_start() {
    let (folder, earlier) = later_part();
    drop(folder.open());
    let (log, _) = Log::open(&folder.dir.ledger()).unwrap();
    log.prepender().prepend(&earlier).unwrap();
    drop(log);
    let index = folder.open();
    assert_eq!(index.begins_at(), Some(Height(1)));
    folder.assert_all_known(&index, 12);
    index.disk.check().unwrap();
}

#[test]
fn a_prefix_that_names_two_is_ambiguous_in_memory_and_across() {
    let empty = Folder::new(0);
    let index = empty.open();
    let mut near = [0xAB; 32];
    let one = BlockHash(near);
    near[9] = 1;
    let two = BlockHash(near);
    let block = |height, hash, id| {
        let outcomes = [(TxId(id), Outcome::APPLIED)];
        Indexed::new(Height(height), hash, StateRoot::default(), &outcomes)
    };
    index.add(block(1, one, one.0));
    let check = |index: &TransactionIndex| {
        let ambiguous = |text: &str| NotHere::Ambiguous(text.into());
        assert_eq!(index.block_height("abababab"), Err(ambiguous("abababab")));
        assert_eq!(index.transaction_id("abababab"), Err(ambiguous("abababab")));
        assert_eq!(index.block_height(&two.to_string()[..20]), Ok(Height(2)));
        assert_eq!(
            index.transaction_id(&one.to_string()[..20]),
            Ok(TxId(one.0))
        );
    };
    index.backlog.wait_until_empty();
    index.add(block(2, two, two.0));
    check(&index);
    index.backlog.wait_until_empty();
    check(&index);
    for bad in ["abababa", "xyzxyzxyz", ""] {
        assert_eq!(index.block_height(bad), Err(NotHere::Unknown(bad.into())));
    }
}

#[test]
fn a_full_backlog_makes_the_replica_wait() {
    let backlog = Arc::new(Backlog::default());
    let outcomes: Vec<_> = (0..TRANSACTIONS_MAX as u64)
        .map(|n| {
            let mut id = Hash::default();
            id.0[..8].copy_from_slice(&n.to_be_bytes());
            (TxId(id.0), Outcome::APPLIED)
        })
        .collect();
    let block = |outcomes: &[_]| {
        Indexed::new(
            Height(1),
            BlockHash::default(),
            StateRoot::default(),
            outcomes,
        )
    };
    backlog.push(block(&outcomes[1..]));
    backlog.wait_for_room();
    backlog.push(block(&outcomes[..1]));
    let (told, waited) = mpsc::channel();
    let its = Arc::clone(&backlog);
    let waiter = std::thread::spawn(move || {
        its.wait_for_room();
        told.send(()).unwrap();
    });
    assert!(waited.try_recv().is_err(), "it is full, and nobody waited");
    backlog.gone(1);
    waited.recv().unwrap();
    waiter.join().unwrap();
}
