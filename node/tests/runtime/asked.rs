//! A running node lets itself be asked under the names that its configuration lists, and under no others; and one whose
//! address is taken says so at once. What is read page by page it keeps meanwhile.

use super::net::{Net, folders};
use ledger::genesis::{Generated, Genesis};
use node::runtime::{self, NodeError};
use serde_json::Value;
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

/// The last 64 states are kept, and those of which somebody has read a page and not the last.
#[test]
fn a_list_goes_on_at_its_height_however_far_the_chain_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (dirs, _) = folders(folder.path(), 1);
    let genesis = Genesis {
        generated: Some(Generated {
            seed: 1,
            count: 250,
        }),
        ..dirs[0].genesis().unwrap()
    };
    std::fs::write(
        dirs[0].genesis_file(),
        serde_json::to_vec(&genesis).unwrap(),
    )
    .unwrap();
    let net = Net::start(&dirs, |_, _| {});
    net.reach(0, 1);
    let page = |at: &str| -> Value {
        let path = format!("/v1/spaces/generated/records?limit=100{at}");
        serde_json::from_str(&net.any_text(0, &path)).unwrap()
    };
    let first = page("");
    let height = first["height"].as_u64().unwrap();
    net.reach(0, height + 1);
    // All of this one is on one page.
    let whole = format!(
        "/v1/spaces/generated/records?limit=1000&height={}",
        height + 1
    );
    assert!(net.text(0, &whole).is_some());

    net.reach(0, height + 70);
    assert_eq!(net.text(0, &whole), None);
    let mut pages = vec![first];
    while let Some(after) = pages.last().unwrap()["next_after"].as_str() {
        pages.push(page(&format!("&height={height}&after={after}")));
    }
    let records = pages
        .iter()
        .map(|page| page["records"].as_array().unwrap().len());
    assert_eq!(records.sum::<usize>(), 250);
    net.stop();
}
