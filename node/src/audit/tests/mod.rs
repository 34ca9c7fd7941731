//! A sound ledger passes, and each kind of fault, injected alone, is named at its height; an audit changes nothing.

pub(crate) mod chain;

use super::{Fault, Report, verify_ledger};
use crate::config::{Config, NodeDir};
use chain::{Chain, certificate};
use ledger::{
    block::{transaction_ids_hash, transactions_root},
    hash::StateRoot,
    state::Outcome,
    store::Log,
    transaction::SignedTransaction,
    units::{Height, Round},
};
use std::{cell::RefCell, fs, path::Path};
use tempfile::TempDir;

const BLOCKS: u64 = 40;

fn folder() -> (TempDir, NodeDir) {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeDir::new(dir.path());
    (dir, node)
}

fn audit(dir: &NodeDir) -> Report {
    verify_ledger(dir, &|_, _| ()).unwrap()
}

/// The fault that an audit finds in a chain that was spoilt.
fn fault_of(spoil: impl FnOnce(&mut Chain)) -> Fault {
    let (_keep, dir) = folder();
    let mut chain = Chain::new(BLOCKS);
    spoil(&mut chain);
    chain.write(&dir, 1);
    let report = audit(&dir);
    let fault = report.fault.expect("a fault is found");
    let height = fault.height.expect("it has a height");
    assert_eq!(report.blocks, height.0 - 1, "{fault}");
    let (path, offset) = fault.place.as_ref().expect("it has a place");
    let bytes = fs::metadata(path).unwrap().len();
    assert!(*offset < bytes, "{fault}: the file has {bytes} bytes");
    fault
}

/// Asserts that a fault is at a height, in a file, and about the right thing.
fn assert_fault(fault: &Fault, height: u64, about: &str) {
    assert_eq!(fault.height, Some(Height(height)), "{fault}");
    assert!(fault.place.is_some(), "{fault}");
    assert!(
        fault.why.contains(about),
        "{about:?} is not in {:?}",
        fault.why
    );
}

/// Every file under a folder with its content.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_sound_ledger_passes_and_nothing_is_changed() {
    let (keep, dir) = folder();
    let chain = Chain::new(BLOCKS);
    chain.write(&dir, 1);
    chain.snapshot(&dir, 10);
    let before = contents(keep.path());
    let told = RefCell::new(vec![]);
    let report = verify_ledger(&dir, &|done, total| told.borrow_mut().push((done, total))).unwrap();
    let expected = Report {
        blocks: BLOCKS,
        from: Height(1),
        to: Height(BLOCKS),
        executed_from: Some(Height(1)),
        ..Report::default()
    };
    assert_eq!(report, expected);
    assert_eq!(told.into_inner().last(), Some(&(BLOCKS, BLOCKS)));
    assert!(contents(keep.path()) == before, "the folder was changed");
}

#[test]
fn an_empty_ledger_has_no_fault() {
    let (_keep, dir) = folder();
    Chain::new(0).write(&dir, 1);
    let report = audit(&dir);
    assert_eq!((report.fault, report.blocks), (None, 0));
    assert!(report.unchecked.join("; ").contains("has none yet"));
}

#[test]
fn a_torn_tail_is_no_fault_and_is_mentioned() {
    let (_keep, dir) = folder();
    Chain::new(2).write(&dir, 1);
    let path = dir.ledger().join("00000000000000000001.log");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
    let report = audit(&dir);
    assert_eq!((report.fault, report.to), (None, Height(1)));
    let said = report.unchecked.join("; ");
    assert!(said.contains("ends within a record"), "{said}");
}

#[test]
fn an_end_that_is_missing_is_a_fault_when_a_snapshot_shows_that_there_was_more() {
    let (_keep, dir) = folder();
    let mut chain = Chain::new(BLOCKS);
    chain.snapshot(&dir, 30);
    chain.blocks.truncate(25);
    chain.write(&dir, 1);
    let report = audit(&dir);
    let fault = report.fault.expect("a fault is found");
    assert_eq!((report.blocks, fault.height), (25, Some(Height(26))));
    assert!(fault.why.contains("height 30"), "{fault}");
}

/// A node goes on while it is audited: a manifest that cannot be read before block 40 and its snapshot are there holds the
/// audit where it looks at the snapshots.
#[test]
fn a_node_that_takes_a_snapshot_meanwhile_is_at_no_fault() {
    let (_keep, dir) = folder();
    let chain = Chain::new(BLOCKS);
    let mut before = Chain::new(BLOCKS);
    before.blocks.truncate(39);
    before.write(&dir, 1);
    chain.snapshot(&dir, BLOCKS);
    let slow = dir.snapshots().join("manifests").join("slow");
    let made = std::process::Command::new("mkfifo").arg(&slow).status();
    assert!(made.unwrap().success());
    let audit = std::thread::spawn({
        let dir = dir.clone();
        move || audit(&dir)
    });
    // Opening it waits for the reader.
    let held = fs::OpenOptions::new().write(true).open(&slow).unwrap();
    chain.write(&dir, BLOCKS);
    drop(held);
    let report = audit.join().unwrap();
    assert_eq!((report.fault, report.to), (None, Height(BLOCKS)));
}

#[test]
fn a_log_that_is_gone_is_a_fault_when_a_snapshot_shows_that_there_was_one() {
    let (_keep, dir) = folder();
    let mut chain = Chain::new(BLOCKS);
    chain.write(&dir, 1);
    chain.snapshot(&dir, 30);
    fs::create_dir(dir.index()).unwrap();
    fs::remove_dir_all(dir.ledger()).unwrap();
    let fault = audit(&dir).fault.expect("a fault is found");
    assert!(fault.why.contains("height 30"), "{fault}");
    // Emptied, rather than removed: it says itself which block comes first.
    chain.blocks.clear();
    Log::open(&dir.ledger())
        .unwrap()
        .0
        .reset_to(Height(1))
        .unwrap();
    let fault = audit(&dir).fault.expect("a fault is found");
    assert_eq!(fault.height, Some(Height(1)));
    assert!(fault.why.contains("height 30"), "{fault}");
}

/// Also where no snapshot shows it: a node that has run has an index.
#[test]
fn a_log_that_is_gone_is_a_fault_of_a_node_that_has_run() {
    let (_keep, dir) = folder();
    Chain::new(BLOCKS).write(&dir, 1);
    fs::remove_dir_all(dir.ledger()).unwrap();
    let report = audit(&dir);
    assert_eq!(report.fault, None);
    let said = report.unchecked.join("; ");
    assert!(said.contains("has none yet"), "{said}");
    fs::create_dir(dir.index()).unwrap();
    let fault = audit(&dir).fault.expect("a fault is found");
    assert!(fault.why.contains("has run"), "{fault}");
}

/// Of an import, of a node that was just started from it, and of one that is still fetching its first snapshot.
#[test]
fn a_node_that_begins_at_a_snapshot_has_no_fault_and_no_block_that_was_checked() {
    let begins = |dir: &NodeDir| {
        let report = audit(dir);
        assert_eq!((report.fault, report.blocks), (None, 0));
        let said = report.unchecked.join("; ");
        assert!(
            said.contains("begins at the snapshot of height 30"),
            "{said}"
        );
    };
    let (_keep, dir) = folder();
    let chain = Chain::new(BLOCKS);
    fs::write(dir.genesis_file(), chain.genesis.to_json()).unwrap();
    chain.snapshot(&dir, 30);
    begins(&dir);
    fs::create_dir(dir.index()).unwrap();
    let target = dir.snapshots().join("sync/target");
    fs::write(&target, "").unwrap();
    begins(&dir);
    fs::remove_file(&target).unwrap();
    Log::open(&dir.ledger())
        .unwrap()
        .0
        .reset_to(Height(31))
        .unwrap();
    begins(&dir);
}

#[test]
fn a_follower_of_spaces_is_said_to_keep_no_blocks() {
    let (_keep, dir) = folder();
    fs::write(dir.genesis_file(), Chain::new(0).genesis.to_json()).unwrap();
    let mut config = Config::named("follower");
    config.sync.spaces = vec!["notes".into()];
    dir.write_config(&config).unwrap();
    let report = audit(&dir);
    assert_eq!(report.fault, None);
    let said = report.unchecked.join("; ");
    assert!(said.contains("keeps no blocks"), "{said}");
}

#[test]
fn a_forged_signature_is_named() {
    let fault = fault_of(|chain| chain.block(7).block.transactions[2].signature.0[5] ^= 1);
    assert_fault(&fault, 7, "transaction 2 of the block: the signature");
    // Even if the whole network has signed it.
    let fault = fault_of(|chain| {
        chain.resign(7, |block| {
            block.block.transactions[2].signature.0[5] ^= 1;
            let ids = block.block.transactions.iter().map(SignedTransaction::id);
            let header = &mut block.block.header;
            header.transaction_ids = transaction_ids_hash(ids.clone());
            header.transactions_root = transactions_root(ids.zip(&block.outcomes));
        });
    });
    assert_fault(&fault, 7, "transaction 2 of the block: the signature");
}

#[test]
fn a_state_root_that_execution_does_not_find_is_named_though_all_signed_it() {
    let fault = fault_of(|chain| {
        chain.resign(9, |block| {
            block.block.header.state_root = StateRoot([3; 32])
        });
    });
    assert_fault(&fault, 9, "state root");
}

#[test]
fn outcomes_that_are_not_the_headers_are_named() {
    let fault = fault_of(|chain| {
        let outcomes = &mut chain.block(4).outcomes;
        let failed = outcomes.iter_mut().find(|o| **o != Outcome::APPLIED);
        *failed.unwrap() = Outcome::APPLIED;
    });
    assert_fault(&fault, 4, "transactions root");
}

#[test]
fn a_missing_block_is_named() {
    // The blocks after it are recorded in its stead.
    let fault = fault_of(|chain| drop(chain.blocks.remove(10)));
    assert_fault(&fault, 11, "its header says height 12");
    // A whole file is gone.
    let (_keep, dir) = folder();
    Chain::new(BLOCKS).write(&dir, 1);
    let mut files: Vec<_> = fs::read_dir(dir.ledger())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 3, "too few segments: {files:?}");
    fs::remove_file(&files[1]).unwrap();
    let fault = audit(&dir).fault.unwrap();
    assert!(fault.why.contains("segment is missing"), "{fault}");
    assert!(
        fault.why.contains(&files[1].display().to_string()),
        "{fault}"
    );
}

#[test]
fn certificates_that_prove_nothing_are_named() {
    let fault = fault_of(|chain| {
        let other = chain.block(5).certificate.clone();
        chain.block(6).certificate = other;
    });
    assert_fault(&fault, 6, "its certificate: the certificate is for block");
    let fault = fault_of(|chain| {
        let id = chain.genesis.chain_id();
        let header = chain.block(6).block.header.clone();
        chain.block(6).certificate = certificate(&id, &header, 2);
    });
    assert_fault(&fault, 6, "its certificate: the signers hold 2 of 4");
    let fault = fault_of(|chain| {
        let signatures = &mut chain.block(6).certificate.signatures;
        signatures[0].signature = signatures[1].signature;
    });
    assert_fault(&fault, 6, "does not verify");
    let fault = fault_of(|chain| {
        let other = chain.block(4).certificate.clone();
        chain.block(6).block.parent_certificate = Some(other);
    });
    assert_fault(&fault, 6, "parent's certificate is not the one");
}

#[test]
fn a_block_that_does_not_follow_is_named() {
    let fault = fault_of(|chain| {
        chain.resign(8, |block| block.block.header.time.0 += 1_000);
    });
    // Its parent's child is another now.
    assert_fault(&fault, 9, "its parent is");
    let fault = fault_of(|chain| chain.resign(8, |b| b.block.header.round = Round(1)));
    assert_fault(&fault, 8, "proposer");
    let fault = fault_of(|chain| chain.resign(8, |b| b.block.header.time.0 = 1));
    assert_fault(&fault, 8, "not later than its parent's");
}

#[test]
fn a_flipped_byte_is_named_with_file_and_byte_in_old_segments_and_in_the_last() {
    let (_keep, dir) = folder();
    Chain::new(BLOCKS).write(&dir, 1);
    let mut files: Vec<_> = fs::read_dir(dir.ledger())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    for path in &files {
        let sound = fs::read(path).unwrap();
        let mut bytes = sound.clone();
        // In its first record, which in the last segment is followed by others.
        bytes[300] ^= 0x10;
        fs::write(path, bytes).unwrap();
        let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let report = audit(&dir);
        let fault = report
            .fault
            .unwrap_or_else(|| panic!("{}: no fault", path.display()));
        assert_eq!(fault.height, Some(Height(first)), "{fault}");
        assert_eq!(report.blocks, first - 1, "{fault}");
        assert!(fault.why.contains(&path.display().to_string()), "{fault}");
        assert!(fault.why.contains("at byte 56 (record 0)"), "{fault}");
        fs::write(path, sound).unwrap();
    }
    assert_eq!(audit(&dir).fault, None);
}

#[test]
fn a_log_without_its_beginning_is_executed_from_the_snapshot_before_it() {
    let (_keep, dir) = folder();
    let chain = Chain::new(BLOCKS);
    chain.write(&dir, 21);
    chain.snapshot(&dir, 10);
    chain.snapshot(&dir, 20);
    let expected = Report {
        blocks: BLOCKS - 20,
        from: Height(21),
        to: Height(BLOCKS),
        executed_from: Some(Height(21)),
        ..Report::default()
    };
    assert_eq!(audit(&dir), expected);
}

#[test]
fn without_that_snapshot_it_is_executed_from_the_next_one_and_the_report_says_so() {
    let (_keep, dir) = folder();
    let mut chain = Chain::new(BLOCKS);
    chain.snapshot(&dir, 30);
    chain.write(&dir, 21);
    let report = audit(&dir);
    assert_eq!(report.fault, None);
    assert_eq!(
        (report.blocks, report.executed_from),
        (20, Some(Height(31)))
    );
    let said = report.unchecked.join("; ");
    assert!(said.contains("10 blocks were not executed"), "{said}");
    // From there on states count.
    chain.resign(35, |b| b.block.header.state_root = StateRoot([3; 32]));
    let (_keep, dir) = folder();
    chain.snapshot(&dir, 30);
    chain.write(&dir, 21);
    let fault = audit(&dir).fault.unwrap();
    assert_fault(&fault, 35, "state root");
}

#[test]
fn without_any_snapshot_all_but_execution_is_checked() {
    let (_keep, dir) = folder();
    let chain = Chain::new(BLOCKS);
    chain.write(&dir, 21);
    let report = audit(&dir);
    assert_eq!((report.fault, report.executed_from), (None, None));
    assert_eq!(report.unchecked.len(), 2, "{:?}", report.unchecked);
    type Spoil = fn(&mut Chain);
    let cases: [(&str, Spoil); 4] = [
        ("signature", |c| {
            c.block(25).block.transactions[0].signature.0[0] ^= 1
        }),
        ("2 of 4", |c| c.block(25).certificate.signatures.truncate(2)),
        ("outcomes for", |c| c.block(25).outcomes.truncate(1)),
        ("proposer", |c| {
            c.resign(25, |b| b.block.header.round = Round(1))
        }),
    ];
    for (about, spoil) in cases {
        let (_keep, dir) = folder();
        let mut chain = Chain::new(BLOCKS);
        spoil(&mut chain);
        chain.write(&dir, 21);
        assert_fault(&audit(&dir).fault.unwrap(), 25, about);
    }
}

#[test]
fn a_snapshot_that_is_spoilt_or_of_another_chain_is_not_stood_on() {
    let (_keep, dir) = folder();
    let chain = Chain::new(BLOCKS);
    chain.write(&dir, 21);
    chain.snapshot(&dir, 20);
    for entry in fs::read_dir(dir.snapshots().join("chunks")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let report = audit(&dir);
    assert_eq!((report.fault, report.executed_from), (None, None));
    let said = report.unchecked.join("; ");
    assert!(
        said.contains("the snapshot at height 20 was not used"),
        "{said}"
    );
    assert!(said.contains("checksum"), "{said}");

    let (_keep, other_dir) = folder();
    let mut other = Chain::new(BLOCKS);
    other.genesis.chain_name = "another".into();
    other.write(&other_dir, 21);
    other.snapshot(&other_dir, 20);
    let report = audit(&other_dir);
    let fault = report.fault.unwrap();
    assert_fault(&fault, 21, "it is of chain");
}
