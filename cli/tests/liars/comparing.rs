//! `tintype diff`: the entries that differ are named, the chain's state is told from the other, and a liar gets nobody to
//! believe that it has none.

use super::{Chain, World};
use ledger::{hash::Hash, state::tree::Part};
use serde_json::{Value, json};
use std::sync::Arc;

/// A chain whose last state is not that of its last header.
fn spoilt() -> Arc<Chain> {
    let mut chain = Chain::new();
    chain.spoil();
    Arc::new(chain)
}

#[test]
fn two_states_are_compared_down_to_their_entries() {
    let world = World::new();
    let (honest, astray) = (world.honest(), spoilt().serve(|_, _| {}));
    let (exit, report) = world.run(&format!("diff {honest} {}", world.honest()));
    assert_eq!((exit, &report["equal"]), (0, &json!(true)), "{report}");
    assert_eq!(
        (&report["height"], &report["entries"]),
        (&json!(2), &json!([]))
    );

    let (exit, report) = world.run(&format!("diff {honest} {astray}"));
    assert_eq!(
        (exit, &report["error"]["code"]),
        (4, &json!("states_differ"))
    );
    let counts = ["added", "removed", "changed"].map(|name| report[name].as_u64());
    assert_eq!(counts, [Some(1), Some(0), Some(1)], "{report}");
    assert_eq!(report["certified"], report["left"]["root"], "{report}");
    let mut found: Vec<(&Value, &Value, &Value)> = report["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (&e["key"], &e["left"]["value"], &e["right"]["value"]))
        .collect();
    found.sort_by_key(|(key, ..)| key.to_string());
    let null = Value::Null;
    let expected = [
        (&json!("notes/ghost"), &null, &json!("boo")),
        (&json!("notes/hello"), &json!("world"), &json!("WORLD")),
    ];
    assert_eq!(found, expected);

    // Before, they agree.
    let (exit, report) = world.run(&format!("diff {astray} {honest} --height 1"));
    assert_eq!((exit, &report["equal"]), (0, &json!(true)), "{report}");
}

#[test]
fn that_they_differ_is_said_also_where_the_states_are_gone() {
    let world = World::new();
    let gone = spoilt().serve(|target, said| {
        if target.starts_with("/v1/states/") {
            let error = json!({"code": "pruned", "message": "it is gone", "help": ""});
            *said = (410, json!({"error": error}));
        }
    });
    let (exit, report) = world.run(&format!("diff {} {gone}", world.honest()));
    assert_eq!(
        (exit, &report["error"]["code"]),
        (4, &json!("states_differ"))
    );
    let message = report["error"]["message"].as_str().unwrap();
    assert!(message.contains("it is gone"), "{message}");
}

#[test]
fn a_node_that_contradicts_itself_is_found_out() {
    let world = World::new();
    let honest = world.honest();
    let bent = |what: &'static str, bend: fn(&mut Value)| {
        spoilt().serve(move |target, (_, answer)| {
            if target.contains(what) {
                bend(answer);
            }
        })
    };
    let liars = [
        bent("/parts", |answer| {
            let bytes = hex::decode(answer["parts_hex"].as_str().unwrap()).unwrap();
            let mut parts: Vec<Part> = ledger::codec::decode(&bytes, 1 << 20).unwrap();
            parts[0].hash = Hash([0; 32]);
            answer["parts_hex"] = hex::encode(ledger::codec::encode(&parts)).into();
        }),
        bent("/parts", |answer| answer["parts_hex"] = "".into()),
        bent("/parts", |answer| answer["parts_hex"] = "zz".into()),
        bent("/entries", |answer| answer["proof"] = "0000000000".into()),
        bent("/roots", |answer| answer["root"] = "ab".repeat(32).into()),
    ];
    for liar in liars {
        let (exit, report) = world.run(&format!("diff {honest} {liar}"));
        let code = &report["error"]["code"];
        assert_eq!((exit, code), (4, &json!("verification_failed")), "{report}");
        let message = report["error"]["message"].as_str().unwrap();
        assert!(message.contains(&liar), "{message}");
    }
    let other = world.says(&[("/chain_id", "cd".repeat(32).into())]);
    for height in ["", " --height 2"] {
        let (exit, report) = world.run(&format!("diff {honest} {other}{height}"));
        assert_eq!((exit, &report["error"]["code"]), (1, &json!("other_chain")));
    }
}

/// A dispute that is over, or that only one of the two still knows of, hides no other difference.
#[test]
fn they_are_compared_where_somebody_differs_and_else_at_the_top() {
    let world = World::new();
    let disputing = |chain: Arc<Chain>, height: Value| {
        chain.serve(move |target, (_, answer)| {
            if target == "/v1/status" {
                answer["disputed"] = height.clone();
            }
        })
    };
    let null = Value::Null;
    for (left, right, height) in [
        (json!(1), &null, 2),
        (json!(1), &json!(2), 2),
        (json!(77), &null, 2),
    ] {
        let left = disputing(Arc::clone(&world.chain), left);
        let right = disputing(spoilt(), right.clone());
        let (exit, report) = world.run(&format!("diff {left} {right}"));
        assert_eq!((exit, &report["height"]), (4, &json!(height)), "{report}");
    }
}

#[test]
fn a_node_without_a_state_is_told_from_one_that_has_forgotten_it() {
    let world = World::new();
    let starting = Arc::clone(&world.chain).serve(|target, (_, answer)| {
        if target == "/v1/status" {
            answer["height"] = json!(0);
            answer["state_root"] = Value::Null;
        }
    });
    for nodes in [[&world.honest(), &starting], [&starting, &world.honest()]] {
        let [left, right] = nodes;
        let (exit, report) = world.run(&format!("diff {left} {right}"));
        let code = &report["error"]["code"];
        assert_eq!((exit, code), (1, &json!("not_ready")), "{report}");
    }
}
