//! Every path's good answer, read back through the types that clients use.

use super::{TOKEN, asked, fake::Fake};
use crate::api::{error::ApiError, routes::Description, types};
use ::snapshot::pinpoint::decode_parts;
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use ledger::{
    block::CertifiedHeader,
    codec,
    genesis::Genesis,
    light::{LightBlock, Trusted},
    state::{
        Code,
        entries::Key,
        tree::{Place, PlaceRange, Proof, RANGE_PROOF_BYTES_MAX, RangeProof, fold},
    },
    transaction::Operation,
    units::{Amount, Height, Nonce, Version},
};
use std::collections::BTreeSet;
use utoipa::OpenApi;

/// A space with one record of odd bytes and one of text.
fn keep_records(node: &Fake) {
    let space = || "notes".to_owned();
    let put = |key: &[u8], value: &[u8]| Operation::Put {
        space: space(),
        key: key.to_vec(),
        value: value.to_vec(),
        expected: None,
    };
    let create = Operation::CreateSpace {
        space: space(),
        writers: vec![],
    };
    let operations = vec![
        create,
        put(b"a/b c", "h\u{e4}llo".as_bytes()),
        put(&[0xff, 0], &[0xfe]),
    ];
    node.put_in_block(vec![node.sign(0, operations)]);
}

/// Checks what an answer says of itself, as a client would that trusts nothing but the genesis.
fn check(node: &Fake, evidence: &types::Evidence, place: &Place, present: bool) {
    let proof = hex::decode(evidence.proof.as_ref().unwrap()).unwrap();
    let proof: Proof = codec::decode(&proof, 1 << 20).unwrap();
    let found = proof.verify(evidence.state_root, place).unwrap();
    assert_eq!(found.is_some(), present);
    let header = evidence.header.as_ref().unwrap();
    assert_eq!(
        (header.height, header.state_root),
        (evidence.height, evidence.state_root)
    );
    let set = node.genesis.validator_set().unwrap();
    let chain = node.genesis.chain_id();
    let certificate = evidence.certificate.as_ref().unwrap();
    certificate
        .verify_for(header.height, header.hash(), &chain, &set)
        .unwrap();
}

#[tokio::test]
async fn the_node_says_how_it_is() {
    let api = asked();
    let health: types::Health = api.read("/health").await;
    assert_eq!(health.status, "ok");
    let status: types::Status = api.read("/v1/status").await;
    assert_eq!((status.height, status.block_hash), (Height(0), None));
    let block = api.node.put_in_block(vec![api.node.transfer(0, 1)]);
    let ready: types::Ready = api.read("/ready").await;
    assert_eq!((ready.ready, ready.height), (true, Height(1)));
    let status: types::Status = api.read("/v1/status").await;
    assert_eq!(status.block_hash, Some(block.block.header.hash()));
    assert_eq!(status.chain_id, api.node.genesis.chain_id());
    let genesis: Genesis = api.read("/v1/genesis").await;
    assert_eq!(genesis.chain_id(), status.chain_id);
    let (code, text) = api.get("/metrics").await;
    assert_eq!(
        (code, text.as_slice()),
        (StatusCode::OK, &b"tintype_height 0\n"[..])
    );
}

#[tokio::test]
async fn a_node_that_syncs_says_so() {
    let api = asked();
    api.node.inner().sync = Some(crate::handle::SyncProgress {
        mode: "snapshot",
        height: Height(120),
        chunks_done: 17,
        chunks_total: 40,
        bytes_done: 1,
        bytes_total: 2,
        bytes_per_second: 5,
        seconds_left: Some(1),
        peers: 3,
    });
    let (status, body) = api.get("/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(super::error_code("/ready", &body), "not_ready");
    let text = String::from_utf8_lossy(&body);
    assert!(text.contains("17 of 40"), "{text}");
    let status: types::Status = api.read("/v1/status").await;
    assert_eq!(status.sync.map(|s| s.chunks_total), Some(40));
}

#[tokio::test]
async fn an_account_is_read_at_any_kept_height_and_proven() {
    let api = asked();
    let alice = api.node.alice.address();
    for nonce in 0..3 {
        api.node.put_in_block(vec![api.node.transfer(nonce, 10)]);
    }
    let now: types::Account = api.read(&format!("/v1/accounts/{alice}")).await;
    assert_eq!((now.balance, now.nonce), (Amount(999_970), Nonce(3)));
    assert_eq!(
        (now.next_nonce, now.name.as_deref()),
        (Nonce(3), Some("alice"))
    );
    assert!(now.evidence.verified && now.evidence.proof.is_none());
    for height in [1, 3] {
        let path = format!("/v1/accounts/{alice:.8}?height={height}&proof=true");
        let then: types::Account = api.read(&path).await;
        assert_eq!(then.balance, Amount(1_000_000 - 10 * height));
        check(
            &api.node,
            &then.evidence,
            &Key::Account(alice).place(),
            true,
        );
    }
    let path = format!("/v1/accounts/{alice}?height=0&proof=true");
    let first: types::Account = api.read(&path).await;
    assert!(first.evidence.verified && first.evidence.header.is_none());
}

/// After a snapshot a node has no block of the snapshot's height, and the header that came with the snapshot.
#[tokio::test]
async fn the_height_that_a_nodes_history_begins_after_is_proven() {
    let api = asked();
    let alice = api.node.alice.address();
    for nonce in 0..3 {
        api.node.put_in_block(vec![api.node.transfer(nonce, 10)]);
    }
    let second: types::LightBlock = api.read("/v1/light/2").await;
    {
        let mut inner = api.node.inner();
        inner.earliest = Height(3);
        inner.began_after = Some(CertifiedHeader {
            header: second.header.clone(),
            certificate: second.certificate.clone(),
        });
    }
    let path = format!("/v1/accounts/{alice}?height=2&proof=true");
    let then: types::Account = api.read(&path).await;
    assert!(then.evidence.verified);
    let place = Key::Account(alice).place();
    check(&api.node, &then.evidence, &place, true);
    let now: types::LightBlock = api.read("/v1/light/2").await;
    assert_eq!(now, second);
    for path in ["/v1/light/1", "/v1/blocks/2"] {
        let (status, body) = api.get(path).await;
        assert_eq!(status, StatusCode::GONE, "{path}");
        assert_eq!(super::error_code(path, &body), "pruned");
    }
}

#[tokio::test]
async fn what_is_not_there_is_proven_absent() {
    let api = asked();
    api.node.commit();
    let path = format!("/v1/accounts/{}?proof=true", "ab".repeat(32));
    let (status, body) = api.get(&path).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(super::error_code(&path, &body), "not_found");
    let document: types::ErrorDocument = serde_json::from_slice(&body).unwrap();
    let place = Key::Account("ab".repeat(32).parse().unwrap()).place();
    check(&api.node, &document.absence.unwrap(), &place, false);
}

#[tokio::test]
async fn records_of_any_bytes_are_found_by_their_percent_encoded_key() {
    let api = asked();
    keep_records(&api.node);
    let text: types::Record = api
        .read("/v1/spaces/notes/records/a%2Fb%20c?proof=true")
        .await;
    assert_eq!(
        (text.key.as_str(), text.value.as_deref()),
        ("a/b c", Some("h\u{e4}llo"))
    );
    assert_eq!((text.version, text.written_at), (Version(1), Height(1)));
    let place = Key::Record {
        space: "notes".into(),
        key: b"a/b c".to_vec(),
    };
    check(&api.node, &text.evidence, &place.place(), true);
    let bytes: types::Record = api.read("/v1/spaces/notes/records/%FF%00").await;
    assert_eq!((bytes.value, bytes.value_hex.as_str()), (None, "fe"));
    assert_eq!(bytes.key_hex, "ff00");
    let space: types::Space = api.read("/v1/spaces/notes").await;
    assert_eq!((space.records, space.changes), (2, 2));
    assert_eq!(space.owner, api.node.alice.address());
    assert!(space.records_root.is_some());
}

/// Two pages are the whole space, each with a proof that holds from the genesis on; and none passes for the other.
#[tokio::test]
async fn a_space_is_listed_page_by_page_with_proofs() {
    let api = asked();
    keep_records(&api.node);
    let light: types::LightBlock = api.read("/v1/light/latest").await;
    let block = LightBlock {
        header: light.header,
        certificate: light.certificate,
        validators: light.validators,
    };
    let trusted = Trusted::genesis(&api.node.genesis).unwrap();
    let state = trusted.verify(block).unwrap().state().unwrap();
    // Pages are of one height, whatever comes after.
    api.node.put_in_block(vec![api.node.transfer(1, 5)]);
    let path = "/v1/spaces/notes/records?height=1&proof=true&limit=1";
    let first: types::Records = api.read(path).await;
    let after = first.next_after.unwrap();
    let second: types::Records = api.read(&format!("{path}&after={after}")).await;
    assert_eq!(second.next_after, None);
    let proof = |page: &types::Records| hex::decode(page.evidence.proof.as_ref().unwrap()).unwrap();
    let mut keys = BTreeSet::new();
    for (page, from) in [(&first, None), (&second, Some(&after))] {
        assert_eq!(page.evidence.state_root, state.root());
        let proven = state.records("notes", from, &proof(page)).unwrap();
        let proven = proven.into_value();
        assert_eq!(proven.more_after, page.next_after);
        let rows = proven.records.into_iter();
        let rows = rows.map(|(key, record)| types::SpaceRecord::new(&key, record));
        assert_eq!(rows.collect::<Vec<_>>(), page.records);
        keys.extend(page.records.iter().map(|r| r.key_hex.clone()));
    }
    let all = BTreeSet::from([hex::encode("a/b c"), "ff00".into()]);
    assert_eq!(keys, all);
    assert!(state.records("notes", None, &proof(&second)).is_err());
    let whole: types::Records = api.read("/v1/spaces/notes/records").await;
    assert_eq!((whole.records.len(), whole.evidence.proof), (2, None));
    assert_eq!(whole.evidence.height, Height(2));
}

/// Parts fold to the root and lead to all entries, each range with its proof: what two nodes are compared by.
#[tokio::test]
async fn a_state_is_shown_by_its_parts_and_ranges() {
    let api = asked();
    keep_records(&api.node);
    let page = async |path: String| api.read::<types::StateParts>(&path).await;
    let parts =
        |page: &types::StateParts| decode_parts(&hex::decode(&page.parts_hex).unwrap()).unwrap();
    let all = page("/v1/states/1/parts".into()).await;
    let tops = parts(&all);
    let folded = fold(&tops).unwrap();
    assert_eq!((all.height, folded.root), (Height(1), all.state_root));
    let mut entries = 0;
    for top in &tops {
        let (prefix, bits) = (top.prefix.bits(), top.prefix.bit_count());
        let below = page(format!("/v1/states/1/parts?prefix={prefix}&bits={bits}")).await;
        assert_eq!(fold(&parts(&below)).unwrap().root, top.hash.into());
        let range = PlaceRange::from(top.prefix);
        let PlaceRange { from, to } = range;
        let path = format!("/v1/states/1/entries?from={from}&to={to}");
        let shown: types::StateRange = api.read(&path).await;
        let proof = hex::decode(shown.proof).unwrap();
        let proof: RangeProof = codec::decode(&proof, RANGE_PROOF_BYTES_MAX).unwrap();
        let proven = proof.verify(all.state_root, range).unwrap();
        assert_eq!(proven.next, None);
        entries += proven.entries.len() as u64;
    }
    assert_eq!(entries, folded.totals.entries);
    let zeros = "00".repeat(32);
    let nothing = page(format!("/v1/states/1/parts?prefix={zeros}&bits=256")).await;
    assert_eq!(parts(&nothing), []);
}

#[tokio::test]
async fn blocks_have_three_names() {
    let api = asked();
    let transaction = api.node.transfer(0, 5);
    let made = api.node.put_in_block(vec![transaction.clone()]);
    let hash = made.block.header.hash();
    let mut found = Vec::<types::Block>::new();
    let names = [
        "1".to_owned(),
        "latest".to_owned(),
        hash.to_string(),
        format!("{hash:.8}").to_uppercase(),
    ];
    for name in names {
        found.push(api.read(&format!("/v1/blocks/{name}")).await);
    }
    for block in &found {
        assert_eq!((block.hash, block.header.hash()), (hash, hash));
        assert_eq!(block.transactions, [transaction.id()]);
        assert_eq!(block.outcomes, Some(vec![Code::Applied]));
        assert_eq!(block.certificate, made.certificate);
    }
    let root: types::Root = api.read("/v1/roots/1").await;
    assert_eq!(
        (root.root, root.name.as_str()),
        (found[0].state_root, "node0")
    );
}

#[tokio::test]
async fn validators_are_named_and_proven() {
    let api = asked();
    api.node.commit();
    let found: types::Validators = api.read("/v1/validators?proof=true").await;
    assert_eq!(found.validators.len(), 1);
    assert_eq!(found.validators[0].name.as_deref(), Some("node0"));
    check(&api.node, &found.evidence, &Key::Validators.place(), true);
}

#[tokio::test]
async fn parameters_are_told_and_proven() {
    let api = asked();
    api.node.commit();
    let found: types::ChainParameters = api.read("/v1/parameters?proof=true").await;
    let expected = crate::handle::Backend::genesis(&*api.node).parameters;
    assert_eq!(found.parameters, expected);
    check(&api.node, &found.evidence, &Key::Parameters.place(), true);
}

#[tokio::test]
async fn snapshots_are_taken_listed_and_shown() {
    let api = asked();
    api.node.commit();
    let request = Request::post("/v1/snapshots")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {TOKEN}"));
    let (status, body) = api.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    let taken: types::Snapshot = serde_json::from_slice(&body).unwrap();
    let list: types::Snapshots = api.read("/v1/snapshots").await;
    assert_eq!(list.snapshots, std::slice::from_ref(&taken));
    let shown: types::SnapshotDetail = api.read("/v1/snapshots/1").await;
    assert_eq!(
        (shown.snapshot, shown.manifest_hex.as_str()),
        (taken, "cafe")
    );
    let chunk = |first: &str| format!("/v1/snapshots/1/chunks/{first}{}", "0".repeat(62));
    let (status, body) = api.get(&chunk("07")).await;
    assert_eq!((status, body), (StatusCode::OK, vec![1, 2, 3]));
    assert_eq!(api.refused(&chunk("08")).await, (404, "not_found".into()));
    let short = "/v1/snapshots/1/chunks/0707".to_owned();
    assert_eq!(api.refused(&short).await, (400, "bad_request".into()));
}

/// The paths of the contract, and nothing else: a path that is added must be written into both.
#[tokio::test]
async fn the_description_lists_every_path() {
    let expected = BTreeSet::from(
        [
            "/health",
            "/ready",
            "/metrics",
            "/openapi.json",
            "/v1/status",
            "/v1/genesis",
            "/v1/transactions",
            "/v1/transactions/{id}",
            "/v1/accounts/{address}",
            "/v1/spaces/{space}",
            "/v1/spaces/{space}/records",
            "/v1/spaces/{space}/records/{key}",
            "/v1/states/{height}/entries",
            "/v1/states/{height}/parts",
            "/v1/blocks/{name}",
            "/v1/light/{name}",
            "/v1/validators",
            "/v1/parameters",
            "/v1/snapshots",
            "/v1/snapshots/{height}",
            "/v1/snapshots/{height}/chunks/{id}",
            "/v1/roots/{height}",
            "/v1/events",
        ]
        .map(str::to_owned),
    );
    let api = asked();
    let document: serde_json::Value = api.read("/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for (path, item) in &Description::openapi().paths.paths {
        let real = path.replace(['{', '}'], "");
        if item.get.is_some() && path != "/v1/events" {
            let (_, body) = api.get(&real).await;
            let text = String::from_utf8_lossy(&body);
            assert!(!text.contains("there is no path"), "{path}: {text}");
        }
    }
    assert!(document["paths"]["/v1/transactions"]["post"].is_object());
    assert!(document["paths"]["/v1/snapshots"]["post"].is_object());
}

#[test]
fn every_reason_for_not_being_here_has_a_code() {
    use crate::handle::NotHere;
    use axum::response::IntoResponse;
    let (earliest, asked, latest) = (Height(5), Height(9), Height(7));
    let reasons = [
        (NotHere::Unknown("it".into()), 404),
        (NotHere::Pruned { earliest }, 410),
        (NotHere::StateGone { earliest }, 410),
        (NotHere::Future { asked, latest }, 404),
        (NotHere::Ambiguous("abcdef01".into()), 400),
        (NotHere::Failed("disk".into()), 500),
    ];
    for (reason, status) in reasons {
        let answer = ApiError::from(reason.clone()).into_response();
        assert_eq!(answer.status().as_u16(), status, "{reason}");
    }
}

/// Blocks can be fetched later, states cannot: nobody is told to fetch what is there.
#[test]
fn of_a_state_that_is_gone_no_backfill_is_promised() {
    use crate::handle::NotHere;
    let earliest = Height(90);
    let said = |why: NotHere| format!("{:?}", ApiError::from(why));
    assert!(said(NotHere::Pruned { earliest }).contains("sync.backfill"));
    let of_state = said(NotHere::StateGone { earliest });
    assert!(
        !of_state.contains("backfill") && of_state.contains("state"),
        "{of_state}"
    );
}
