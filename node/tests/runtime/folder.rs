//! What a node makes of its folder: the same state from a snapshot as from the genesis, from an older snapshot when the
//! newest is damaged, and no vote below what it may have promised when its ledger has lost blocks.

use super::net::{Net, folders};
use ledger::{hash::StateRoot, units::Height};
use node::{
    config::NodeDir,
    replica::Voting,
    runtime::{self, NodeError},
};
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// A chain of one validator, stopped after some 25 blocks: with snapshots at 10 and 20.
fn stopped_chain() -> (TempDir, NodeDir) {
    let folder = tempfile::tempdir().unwrap();
    let (mut dirs, _) = folders(folder.path(), 1);
    let net = Net::start(&dirs, |_, _| {});
    net.reach(0, 25);
    net.stop();
    (folder, dirs.remove(0))
}

fn recover(dir: &NodeDir) -> Result<(Height, StateRoot, Voting), NodeError> {
    let recovered = runtime::recover(dir.clone())?;
    let state = recovered.state.unwrap();
    Ok((state.height(), state.root(), recovered.voting))
}

fn found(dir: &NodeDir) -> (Height, StateRoot) {
    let (height, root, _) = recover(dir).unwrap();
    (height, root)
}

fn holds_nothing(dir: &NodeDir) -> bool {
    runtime::recover(dir.clone()).unwrap().state.is_none()
}

fn files(folder: PathBuf) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// Changes one byte in the middle of a file.
fn damage(file: &PathBuf, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x40;
    fs::write(file, bytes).unwrap();
}

#[test]
fn the_state_is_the_same_from_snapshots_and_from_the_genesis() {
    let (_folder, dir) = stopped_chain();
    let whole = found(&dir);
    let manifests = files(dir.snapshots().join("manifests"));
    assert!(manifests.len() >= 2, "{manifests:?}");

    for chunk in files(dir.snapshots().join("chunks")).iter().take(1) {
        damage(chunk, fs::read(chunk).unwrap().len() / 2);
    }
    assert_eq!(found(&dir), whole, "with a damaged snapshot");
    let aside = files(dir.snapshots().join("damaged"));
    assert!(!aside.is_empty(), "the damaged snapshot is set aside");

    fs::remove_dir_all(dir.snapshots()).unwrap();
    assert_eq!(found(&dir), whole, "from the genesis");
}

#[test]
fn a_ledger_without_its_beginning_needs_a_snapshot_and_starts_anew_without_one() {
    let (_folder, dir) = stopped_chain();
    let whole = found(&dir);
    // As after a sync that ended just before the log was begun anew: the snapshot alone is there.
    let ledger = dir.path().join("set-aside");
    fs::rename(dir.ledger(), &ledger).unwrap();
    let (height, _, voting) = recover(&dir).unwrap();
    assert!(height.0 >= 20 && height.0.is_multiple_of(10), "{height}");
    assert!(
        matches!(voting, Voting::From(from) if from > whole.0),
        "it has promised more than its ledger shows: {voting:?}"
    );

    fs::remove_dir_all(dir.snapshots()).unwrap();
    assert!(holds_nothing(&dir), "and the blocks come from peers");
}

#[test]
fn a_ledger_damaged_in_the_middle_loses_what_follows_and_votes_no_second_time() {
    let (_folder, dir) = stopped_chain();
    let (last, _) = found(&dir);
    fs::remove_dir_all(dir.snapshots()).unwrap();
    let segment = files(dir.ledger()).remove(0);
    damage(&segment, fs::read(&segment).unwrap().len() / 2);

    let (height, _, voting) = recover(&dir).unwrap();
    assert!(
        height < last && height > Height::GENESIS,
        "{height} of {last}"
    );
    assert!(
        matches!(voting, Voting::From(from) if from > last),
        "{voting:?}"
    );
    let set_aside = files(dir.path().to_owned());
    assert!(
        set_aside
            .iter()
            .any(|path| path.to_string_lossy().contains("ledger.damaged")),
        "{set_aside:?}"
    );
}

#[test]
fn a_ledger_of_another_chain_is_named_and_left_as_it_is() {
    let (_folder, dir) = stopped_chain();
    let text = fs::read_to_string(dir.path().join("genesis.json")).unwrap();
    let mut genesis: serde_json::Value = serde_json::from_str(&text).unwrap();
    genesis["chain_name"] = "another".into();
    fs::write(dir.path().join("genesis.json"), genesis.to_string()).unwrap();
    let before = files(dir.ledger());
    let error = recover(&dir).unwrap_err();
    assert!(matches!(error, NodeError::OtherChain { .. }), "{error}");
    assert_eq!(files(dir.ledger()), before);
}

#[test]
fn a_write_ahead_log_that_was_cut_short_stops_the_node() {
    let (_folder, dir) = stopped_chain();
    let promises = dir.path().join("wal/promises");
    let bytes = fs::read(&promises).unwrap();
    fs::write(&promises, &bytes[..bytes.len() / 3]).unwrap();
    for _ in 0..2 {
        let error = recover(&dir).unwrap_err();
        assert!(error.to_string().contains("promises is damaged"), "{error}");
    }
}
