//! A running node lets itself be asked under the names that its configuration lists, and under no others; and one whose
//! address is taken says so at once.

use super::net::{Net, folders};
use node::runtime::{self, NodeError};
use std::net::TcpListener;

#[test]
fn a_node_is_asked_under_the_names_of_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (dirs, _) = folders(folder.path(), 1);
    let mut config = dirs[0].config().unwrap();
    config.http.allowed_hosts = vec!["node.example".into()];
    dirs[0].write_config(&config).unwrap();

    let net = Net::start(&dirs, |_, _| {});
    let url = format!("{}/health", dirs[0].run_info().unwrap().http);
    let asked_as = |host: &str| {
        let request = ureq::get(&url).header("host", host).config();
        let answer = request.http_status_as_error(false).build().call();
        answer.unwrap().status().as_u16()
    };
    let statuses = ["node.example", "other.example"].map(asked_as);
    assert_eq!(statuses, [200, 403]);
    net.stop();
}

#[test]
fn an_address_that_is_taken_is_told_before_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (dirs, _) = folders(folder.path(), 1);
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = dirs[0].config().unwrap();
    config.http.address = holder.local_addr().unwrap();
    dirs[0].write_config(&config).unwrap();
    let error = runtime::run(&dirs[0], |_| {}).unwrap_err();
    assert!(matches!(error, NodeError::Http { .. }), "{error}");
    assert!(!dirs[0].ledger().exists() && !dirs[0].snapshots().exists());
}
