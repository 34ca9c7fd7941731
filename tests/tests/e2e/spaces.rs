//! A node that follows some spaces only: it has little of the state, and proves that nothing of its spaces is missing.

use crate::{
    net::Net,
    program::{number, text},
    wait::eventually,
};
use cli::client::Client;
use serde_json::Value;

/// The records of `notes`, as a node lists them: key and value.
fn notes(net: &Net, node: &str) -> Vec<(String, String)> {
    let list = net.ok(&format!("query space notes --all --node {node}"));
    let proven = (&list["verified"], &list["complete"]);
    assert_eq!(proven, (&Value::Bool(true), &Value::Bool(true)), "{list}");
    let records = list["records"].as_array().unwrap().iter();
    let one = |r: &Value| (text(r, "key").to_owned(), text(r, "value").to_owned());
    records.map(one).collect()
}

fn put(net: &Net, key: &str, value: &str) -> u64 {
    let document = net.ok(&format!("tx put notes {key} {value} --from alice"));
    number(&document, "height")
}

#[test]
fn a_node_follows_a_space_alone_and_proves_that_it_lacks_nothing_of_it() {
    let net = Net::empty();
    net.ok("testnet --detach --snapshot-interval 10 --entries 20000");
    net.ok("tx space create notes --from alice");
    for (key, value) in [("k1", "one"), ("k2", "two"), ("k3", "three")] {
        put(&net, key, value);
    }
    let added = net.ok("testnet add --space notes");
    assert_eq!(added["spaces"], serde_json::json!(["notes"]), "{added}");
    // What it has is of a snapshot: later ones bring the rest.
    let moves_on = |what: &str, key: &str, value: &str| {
        let height = put(&net, key, value);
        while net.transfer("alice", "bob", 1).height < height + 10 {}
        let expected = notes(&net, "node0");
        assert!(expected.contains(&(key.to_owned(), value.to_owned())));
        eventually(what, || {
            let found = notes(&net, "node4");
            (found == expected)
                .then_some(())
                .ok_or_else(|| format!("{found:?}"))
        });
    };
    moves_on("node4 has what was written before", "k4", "four");
    moves_on("node4 has what was written since", "k1", "uno");
    let record = net.ok("query record notes k1 --node node4");
    assert_eq!(
        (&record["value"], &record["verified"]),
        (&"uno".into(), &Value::Bool(true))
    );
    let absent = net.fails("query record notes nothing --node node4", 3, "not_found");
    assert_eq!(absent["verified"], true, "{absent}");

    // Older snapshots that it holds are as good, and so are the headers for light clients.
    let newest = number(&record, "height");
    let before = net.ok(&format!(
        "query record notes k1 --node node4 --height {}",
        newest - 10
    ));
    assert_eq!(
        (&before["value"], &before["verified"]),
        (&"one".into(), &Value::Bool(true))
    );
    let url = format!("/v1/light/{}", newest - 10);
    let light: Value = Client::new("node4", text(&net.node("node4"), "http"))
        .get(&url)
        .unwrap();
    assert_eq!(number(&light, "height"), newest - 10, "{light}");
    net.fails("query block latest --node node4", 3, "not_followed");

    // Nothing that it does not have is taken for absent.
    let mut codes: Vec<String> = (0..20)
        .map(|n| {
            let line = format!("query record generated none{n} --node node4");
            let ran = net.run(&format!("{line} --json"));
            let document: Value = serde_json::from_str(&ran.out).unwrap();
            text(&document["error"], "code").to_owned()
        })
        .collect();
    codes.sort();
    codes.dedup();
    assert!(codes.contains(&"not_followed".to_owned()), "{codes:?}");
    assert!(
        codes.len() <= 2
            && codes
                .iter()
                .all(|c| c == "not_followed" || c == "not_found"),
        "{codes:?}"
    );
    net.fails("tx transfer alice bob 1 --node node4", 3, "not_followed");

    // Killed, and alone: it has what it had.
    let before = notes(&net, "node4");
    net.kill("node4");
    for node in ["node0", "node1", "node2", "node3"] {
        net.ok(&format!("testnet stop {node}"));
    }
    net.start("node4");
    eventually("node4 answers from what it kept", || {
        let ran = net.run("query space notes --node node4 --json");
        (ran.code == Some(0)).then_some(()).ok_or(ran.out)
    });
    assert_eq!(notes(&net, "node4"), before);
}

#[test]
fn who_needs_the_whole_state_cannot_follow_spaces() {
    let net = Net::up();
    net.ok("testnet stop node3");
    let ran = net.program().run(&[
        "node",
        "--dir",
        net.dir().join("node3").to_str().unwrap(),
        "--space",
        "notes",
        "--json",
    ]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.out.contains("needs the whole state") || ran.out.contains("whole chain"),
        "{ran:?}"
    );
    let both = net.run("testnet add --space notes --validator");
    assert_eq!(both.code, Some(2), "{both:?}");
}
