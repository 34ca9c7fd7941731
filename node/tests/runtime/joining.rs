//! A node that holds nothing looks for a snapshot before it makes the genesis's state, which may be large; and says until then
//! that it has none.

use super::net::{Net, folders, wait_for};
use node::{config::SyncMode, runtime};

#[test]
fn the_state_of_the_genesis_is_not_made_while_a_snapshot_is_hoped_for() {
    let folder = tempfile::tempdir().unwrap();
    let (dirs, _) = folders(folder.path(), 1);
    // It listens for some seconds, although there is nobody.
    let mut config = dirs[0].config().unwrap();
    config.sync.mode = SyncMode::Snapshot;
    dirs[0].write_config(&config).unwrap();
    assert!(runtime::recover(dirs[0].clone()).unwrap().state.is_none());

    let net = Net::start(&dirs, |_, _| {});
    let status = wait_for("an answer", || net.status(0));
    assert_eq!(status["height"], 0, "{status}");
    assert!(status["state_root"].is_null(), "{status}");
    assert_eq!(status["ready"], false, "{status}");
    assert_eq!(status["validator"], true, "{status}");
    for path in [
        "/v1/roots/0",
        "/v1/roots/1",
        "/v1/blocks/1",
        "/v1/validators",
    ] {
        let answer = net.any_text(0, path);
        assert!(answer.contains("not_ready"), "{path}: {answer}");
    }

    // Nobody has one: it begins at the genesis.
    net.reach(0, 2);
    let status = net.status(0).unwrap();
    assert!(status["state_root"].is_string(), "{status}");
    net.stop();
    let found = runtime::recover(dirs[0].clone()).unwrap().state.unwrap();
    assert!(found.height().0 >= 2, "{}", found.height());
}
