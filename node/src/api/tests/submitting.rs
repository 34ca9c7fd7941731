//! Submitting in every form, and following a transaction to its end.

use super::{Asked, asked, error_code, fake};
use crate::{
    api::{
        codes,
        types::{Submission, TransactionAnswer, TransactionState},
    },
    handle::Refusal,
};
use axum::http::StatusCode;
use base64::Engine;
use ledger::{
    codec,
    hash::{Address, ChainId},
    state::{Code, Inadmissible},
    transaction::{SignedTransaction, TransactionError},
    units::{Height, Nonce},
};
use std::collections::BTreeSet;

const JSON: &str = "application/json";

fn hex_of(transaction: &SignedTransaction) -> String {
    hex::encode(codec::encode(transaction))
}

async fn submit_one(api: &Asked, transaction: &SignedTransaction) -> (StatusCode, Vec<u8>) {
    let body = serde_json::to_vec(&hex_of(transaction)).unwrap();
    api.post(JSON, body).await
}

#[tokio::test]
async fn one_transaction_in_each_form_of_text() {
    let api = asked();
    let bytes = |nonce| codec::encode(&api.node.transfer(nonce, 1));
    let standard = base64::engine::general_purpose::STANDARD.encode(bytes(1));
    let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes(2));
    let transaction = hex::encode(bytes(3)).to_uppercase();
    let bodies = [
        serde_json::to_vec(&hex::encode(bytes(0))).unwrap(),
        serde_json::to_vec(&standard).unwrap(),
        serde_json::to_vec(&url).unwrap(),
        serde_json::to_vec(&Submission { transaction }).unwrap(),
    ];
    for (nonce, body) in (0..).zip(bodies) {
        let (status, body) = api.post(JSON, body).await;
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status, StatusCode::OK, "{text}");
        let answer: TransactionAnswer = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer.id, Some(api.node.transfer(nonce, 1).id()));
        assert_eq!(answer.status, TransactionState::Pending);
    }
}

#[tokio::test]
async fn each_of_many_gets_its_own_answer_in_order() {
    let api = asked();
    let good: Vec<_> = (0..2).map(|n| api.node.transfer(n, 1)).collect();
    let mut forged = api.node.transfer(2, 1);
    forged.signature.0[0] ^= 1;
    let texts = serde_json::json!([
        hex_of(&good[0]),
        "zz",
        { "transaction": hex_of(&good[1]) },
        hex_of(&forged),
    ]);
    let (status, body) = api.post(JSON, texts.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    let answers: Vec<TransactionAnswer> = serde_json::from_slice(&body).unwrap();
    let codes: Vec<_> = answers.iter().map(|a| a.code.as_deref()).collect();
    assert_eq!(
        codes,
        [None, Some("malformed"), None, Some("invalid_signature")]
    );
    assert_eq!(answers[1].id, None);
    assert_eq!(answers[3].id, Some(forged.id()));
    assert!(answers[3].help.is_some());
}

#[tokio::test]
async fn the_bulk_form_takes_a_canonical_list() {
    let api = asked();
    let list: Vec<Vec<u8>> = (0..500)
        .map(|n| codec::encode(&api.node.transfer(n, 1)))
        .collect();
    let (status, body) = api
        .post("application/octet-stream", codec::encode(&list))
        .await;
    assert_eq!(status, StatusCode::OK);
    let answers: Vec<TransactionAnswer> = serde_json::from_slice(&body).unwrap();
    assert_eq!(answers.len(), 500);
    assert!(
        answers
            .iter()
            .all(|a| a.status == TransactionState::Pending)
    );
}

#[tokio::test]
async fn a_transaction_is_followed_to_its_block() {
    let api = asked();
    let good = api.node.transfer(0, 1);
    let too_much = api.node.transfer(1, 2_000_000);
    for transaction in [&good, &too_much] {
        assert_eq!(submit_one(&api, transaction).await.0, StatusCode::OK);
    }
    let path = format!("/v1/transactions/{:.12}", good.id());
    let waiting: TransactionAnswer = api.read(&path).await;
    assert_eq!(waiting.status, TransactionState::Pending);
    assert_eq!(waiting.elapsed_ms, None);

    let node = api.node.clone();
    let commit = tokio::spawn(async move {
        node.until_waited_for().await;
        node.commit()
    });
    let path = format!("/v1/transactions/{}?wait=10", good.id());
    let answer: TransactionAnswer = api.read(&path).await;
    let header = commit.await.unwrap().block.header;
    assert_eq!(answer.status, TransactionState::Committed);
    assert_eq!((answer.code, answer.index), (None, Some(0)));
    assert_eq!(answer.block_hash, Some(header.hash()));
    assert_eq!(answer.state_root, Some(header.state_root));
    assert!(answer.elapsed_ms.is_some_and(|ms| ms < 5_000));

    let path = format!("/v1/transactions/{}", too_much.id());
    let answer: TransactionAnswer = api.read(&path).await;
    assert_eq!(answer.status, TransactionState::Failed);
    assert_eq!(answer.code.as_deref(), Some("insufficient_balance"));
    assert!(answer.message.contains("999999"), "{}", answer.message);
}

/// A client whose connection broke sends again, and learns what became of the first.
#[tokio::test]
async fn a_transaction_sent_twice_is_answered_with_what_became_of_it() {
    let api = asked();
    let transaction = api.node.transfer(0, 1);
    for expected in [
        TransactionState::Pending,
        TransactionState::Pending,
        TransactionState::Committed,
    ] {
        if expected == TransactionState::Committed {
            api.node.commit();
        }
        let (status, body) = submit_one(&api, &transaction).await;
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status, StatusCode::OK, "{text}");
        let answer: TransactionAnswer = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer.status, expected);
    }
    let (status, body) = submit_one(&api, &api.node.transfer(0, 2)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(error_code("used nonce", &body), "stale_nonce");
}

#[tokio::test]
async fn a_dropped_transaction_says_why_and_an_unknown_one_is_not_found() {
    let api = asked();
    let transaction = api.node.transfer(0, 1);
    let waiting = 5;
    let inner = || api.node.inner();
    inner()
        .dropped
        .insert(transaction.id(), Refusal::PoolFull { waiting });
    let path = format!("/v1/transactions/{}", transaction.id());
    let answer: TransactionAnswer = api.read(&path).await;
    assert_eq!(answer.code.as_deref(), Some("pool_full"));
    let path = format!("/v1/transactions/{}?wait=0", "cd".repeat(32));
    assert_eq!(api.refused(&path).await, (404, "not_found".into()));
}

fn all_refusals() -> Vec<(Refusal, u16, &'static str)> {
    let (nonce, next) = (Nonce(3), Nonce(4));
    let (found, expected) = (Nonce(3), Nonce(4));
    let (waiting, last_valid, height) = (9, Height(3), Height(4));
    let chain = ChainId::default();
    let invalid = |error: TransactionError| Refusal::Invalid(error);
    let inadmissible = |reason: Inadmissible| Refusal::Inadmissible(reason);
    vec![
        (Refusal::NonceTaken { nonce, next }, 409, "nonce_taken"),
        (Refusal::PoolFull { waiting }, 429, "pool_full"),
        (Refusal::SenderFull { waiting }, 429, "sender_full"),
        (Refusal::NotReady("x".into()), 503, "not_ready"),
        (
            inadmissible(Inadmissible::UnknownSender(Address([1; 32]))),
            409,
            "unknown_account",
        ),
        (
            inadmissible(Inadmissible::StaleNonce { found, expected }),
            409,
            "stale_nonce",
        ),
        (
            inadmissible(Inadmissible::FutureNonce { found, expected }),
            409,
            "future_nonce",
        ),
        (
            inadmissible(Inadmissible::Expired { last_valid, height }),
            409,
            "expired",
        ),
        (
            inadmissible(Inadmissible::Limits(TransactionError::InvalidSignature)),
            400,
            "invalid_signature",
        ),
        (
            invalid(TransactionError::TooLarge { found: 2, max: 1 }),
            413,
            "too_large",
        ),
        (
            invalid(TransactionError::WrongChain {
                found: chain,
                expected: chain,
            }),
            409,
            "wrong_chain",
        ),
        (
            invalid(TransactionError::OperationCount { found: 0, max: 1 }),
            400,
            "operation_count",
        ),
        (
            invalid(TransactionError::OutOfBounds {
                index: 0,
                what: "the key",
                found: 0,
                min: 1,
                max: 2,
            }),
            400,
            "out_of_bounds",
        ),
        (
            invalid(TransactionError::InvalidSignature),
            400,
            "invalid_signature",
        ),
        (
            invalid(TransactionError::Malformed("x".into())),
            400,
            "malformed",
        ),
    ]
}

#[tokio::test]
async fn every_refusal_has_its_status_and_code() {
    let api = asked();
    for (refusal, status, code) in all_refusals() {
        api.node.inner().refuse = Some(refusal.clone());
        let (found, body) = submit_one(&api, &api.node.transfer(0, 1)).await;
        assert_eq!(found.as_u16(), status, "{refusal}");
        assert_eq!(error_code(code, &body), code, "{refusal}");
    }
}

#[test]
fn every_outcome_but_applied_has_a_code_of_its_own() {
    let all = (0..).map_while(Code::from_number);
    let (mut seen, mut count) = (BTreeSet::new(), 0);
    for code in all.skip(1) {
        let (name, help) = codes::outcome(code).unwrap();
        assert!(seen.insert(name) && !help.is_empty());
        let wire = serde_json::to_value(code).unwrap();
        assert_eq!(wire, name, "the code as the ledger writes it");
        assert!(!fake::outcome(code).message().is_empty());
        count += 1;
    }
    assert_eq!((count, codes::outcome(Code::Applied)), (12, None));
}

#[tokio::test]
async fn a_node_that_joined_by_a_snapshot_says_where_its_blocks_begin() {
    let api = asked();
    for (earliest, says_so) in [(1, false), (230, true)] {
        api.node.inner().earliest = Height(earliest);
        for name in ["0123456789".to_owned(), "ab".repeat(32)] {
            let (status, body) = api.get(&format!("/v1/transactions/{name}")).await;
            assert_eq!(status, StatusCode::NOT_FOUND);
            assert_eq!(error_code(&name, &body), "not_found");
            let text = String::from_utf8_lossy(&body);
            let said = text.contains("begin at height 230") && text.contains("another node");
            assert_eq!(said, says_so, "{text}");
        }
    }
}
