//! Bad requests: all are answered with an error document, none with a panic or a hang.

use super::{Asked, TOKEN, asked, asked_as, config, error_code};
use crate::api::{
    ApiConfig,
    body::{BULK_BYTES_MAX, JSON_BYTES_MAX, TRANSACTIONS_MAX},
};
use axum::{body::Body, http::Request};
use ledger::codec;

#[tokio::test]
async fn bad_paths_and_queries() {
    let api = asked();
    for _ in 0..20 {
        api.node.commit();
    }
    let hash = "ab".repeat(32);
    let long = "a".repeat(5_000);
    let matrix = [
        ("/", 404, "not_found"),
        ("/nothing", 404, "not_found"),
        ("/v1/accounts/", 404, "not_found"),
        ("/v1/accounts/alice", 400, "bad_request"),
        ("/v1/accounts/abcdef0", 400, "bad_request"),
        ("/v1/accounts/abcdef01", 404, "not_found"),
        ("/v1/accounts/%FF%FE", 400, "bad_request"),
        (&format!("/v1/accounts/{hash}"), 404, "not_found"),
        (&format!("/v1/accounts/{hash}0"), 400, "bad_request"),
        (&format!("/v1/accounts/{hash}?height=x"), 400, "bad_request"),
        (
            &format!("/v1/accounts/{hash}?height=-1"),
            400,
            "bad_request",
        ),
        (
            &format!("/v1/accounts/{hash}?proof=maybe"),
            400,
            "bad_request",
        ),
        (&format!("/v1/accounts/{hash}?hieght=3"), 400, "bad_request"),
        (&format!("/v1/accounts/{hash}?height=1"), 410, "pruned"),
        (
            &format!("/v1/accounts/{hash}?height=99"),
            404,
            "future_height",
        ),
        (
            "/v1/validators?height=18446744073709551616",
            400,
            "bad_request",
        ),
        (
            "/v1/validators?height=18446744073709551615",
            404,
            "future_height",
        ),
        ("/v1/states/x/parts", 400, "bad_request"),
        ("/v1/states/1/parts", 410, "pruned"),
        ("/v1/states/99/parts", 404, "future_height"),
        ("/v1/states/20/parts?prefix=00", 400, "bad_request"),
        ("/v1/states/20/parts?bits=257", 400, "bad_request"),
        (
            &format!("/v1/states/20/parts?prefix={hash}&bits=3"),
            400,
            "bad_request",
        ),
        ("/v1/states/20/entries", 400, "bad_request"),
        (
            &format!("/v1/states/20/entries?from={hash}&to={}", "00".repeat(32)),
            400,
            "bad_request",
        ),
        ("/v1/spaces/none", 404, "not_found"),
        ("/v1/spaces/%FF", 400, "bad_request"),
        (&format!("/v1/spaces/{long}"), 400, "bad_request"),
        ("/v1/spaces/none/records/k", 404, "not_found"),
        ("/v1/spaces/none/records", 404, "not_found"),
        ("/v1/spaces/none/records?limit=0", 400, "bad_request"),
        ("/v1/spaces/none/records?limit=1001", 400, "bad_request"),
        ("/v1/spaces/none/records?after=xyz", 400, "bad_request"),
        ("/v1/spaces/none/records?before=1", 400, "bad_request"),
        ("/v1/spaces/%FF/records", 400, "bad_request"),
        ("/v1/light/0", 404, "not_found"),
        ("/v1/light/99", 404, "future_height"),
        ("/v1/light/first", 400, "bad_request"),
        ("/v1/spaces/none/records/", 404, "not_found"),
        ("/v1/spaces/%FF/records/k", 400, "bad_request"),
        (&format!("/v1/spaces/s/records/{long}"), 400, "bad_request"),
        ("/v1/blocks/first", 400, "bad_request"),
        ("/v1/blocks/+1", 400, "bad_request"),
        ("/v1/blocks/0", 404, "not_found"),
        ("/v1/blocks/99", 404, "future_height"),
        ("/v1/blocks/12345678", 404, "future_height"),
        (&format!("/v1/blocks/{hash}"), 404, "not_found"),
        ("/v1/roots/x", 400, "bad_request"),
        ("/v1/roots/99", 404, "future_height"),
        ("/v1/roots/1", 410, "pruned"),
        ("/v1/snapshots/x", 400, "bad_request"),
        ("/v1/snapshots/7", 404, "not_found"),
        ("/v1/transactions/xyz", 400, "bad_request"),
        ("/v1/transactions/aaaaaaaa", 400, "ambiguous"),
        ("/v1/transactions/bbbbbbbb", 404, "not_found"),
        ("/v1/transactions/bbbbbbbb?wait=61", 400, "bad_request"),
        ("/v1/transactions/bbbbbbbb?wait=-1", 400, "bad_request"),
        ("/v1/transactions/bbbbbbbb?wait=1.5", 400, "bad_request"),
        ("/v1/transactions", 405, "method_not_allowed"),
        ("/v1/status?x=1", 400, "bad_request"),
    ];
    for (path, status, code) in matrix {
        assert_eq!(
            api.refused(path).await,
            (status, code.into()),
            "GET {path:.200}"
        );
    }
}

#[tokio::test]
async fn bad_methods() {
    let api = asked();
    let paths = [
        "/health",
        "/v1/status",
        "/v1/transactions",
        "/v1/snapshots/1",
    ];
    for method in ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "FROBNICATE"] {
        for path in paths {
            let request = Request::builder().method(method).uri(path);
            let request = request.header("host", "localhost").body(Body::empty());
            let (status, body) = api.send(request.unwrap()).await;
            assert_eq!(status.as_u16(), 405, "{method} {path}");
            assert_eq!(error_code(path, &body), "method_not_allowed");
        }
    }
}

#[tokio::test]
async fn bad_bodies() {
    let api = asked();
    let json = "application/json";
    let bulk = "application/octet-stream";
    let deep = "[".repeat(1 << 20);
    let promises = codec::encode(&u64::MAX);
    let many = format!("[{}\"\"]", "\"\",".repeat(TRANSACTIONS_MAX));
    let long_hex = format!("\"{}\"", "0".repeat(3 << 20));
    let many_empty = codec::encode(&vec![Vec::<u8>::new(); TRANSACTIONS_MAX + 1]);
    let mut trailing = codec::encode(&vec![vec![1u8]]);
    trailing.push(0);
    let matrix: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        (json, b"".to_vec(), 400, "bad_request"),
        (json, b"{".to_vec(), 400, "bad_request"),
        (json, b"1".to_vec(), 400, "bad_request"),
        (json, b"null".to_vec(), 400, "bad_request"),
        (json, b"{}".to_vec(), 400, "bad_request"),
        (json, b"{\"transaction\":1}".to_vec(), 400, "bad_request"),
        (
            json,
            b"{\"transaction\":\"\",\"x\":1}".to_vec(),
            400,
            "bad_request",
        ),
        (json, b"[1]".to_vec(), 400, "bad_request"),
        (json, b"[[\"00\"]]".to_vec(), 400, "bad_request"),
        (json, b"\"00\" \"00\"".to_vec(), 400, "bad_request"),
        (json, b"\xff\xfe".to_vec(), 400, "bad_request"),
        (json, deep.clone().into_bytes(), 400, "bad_request"),
        (
            json,
            format!("{{\"transaction\":{deep}").into_bytes(),
            400,
            "bad_request",
        ),
        (json, b"\"\"".to_vec(), 400, "malformed"),
        (json, b"\"0\"".to_vec(), 400, "malformed"),
        (json, b"\"00\"".to_vec(), 400, "malformed"),
        (json, b"\"!\"".to_vec(), 400, "malformed"),
        (json, long_hex.into_bytes(), 400, "malformed"),
        (json, many.into_bytes(), 413, "too_large"),
        (json, vec![b' '; JSON_BYTES_MAX + 1], 413, "too_large"),
        (bulk, b"".to_vec(), 400, "bad_request"),
        (bulk, promises, 400, "bad_request"),
        (bulk, trailing, 400, "bad_request"),
        (bulk, many_empty, 413, "too_large"),
        (bulk, vec![0; BULK_BYTES_MAX + 1], 413, "too_large"),
        (
            "text/plain",
            b"\"00\"".to_vec(),
            415,
            "unsupported_media_type",
        ),
        (
            "application/x-www-form-urlencoded",
            b"a=b".to_vec(),
            415,
            "unsupported_media_type",
        ),
        ("", b"\"00\"".to_vec(), 415, "unsupported_media_type"),
    ];
    for (kind, body, status, code) in matrix {
        let start = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let (found, answer) = api.post(kind, body).await;
        assert_eq!(found.as_u16(), status, "{kind} {start:?}");
        assert_eq!(error_code(&start, &answer), code, "{kind} {start:?}");
    }
    // An empty list is a list.
    assert_eq!(api.post(json, "[]").await.1, b"[]");
}

/// The status of a request for `/health`, or for taking a snapshot, with these headers.
async fn with(api: &Asked, post: bool, headers: &[(&str, &str)]) -> (u16, Vec<u8>) {
    let request = match post {
        true => Request::post("/v1/snapshots"),
        false => Request::get("/health"),
    };
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let (status, body) = api.send(request.body(Body::empty()).unwrap()).await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn only_own_hosts_and_origins_are_answered() {
    let api = asked();
    let matrix: [(&[(&str, &str)], u16); 19] = [
        (&[], 400),
        (&[("host", "")], 400),
        (&[("host", "a b")], 400),
        (&[("host", "localhost"), ("host", "localhost")], 400),
        (&[("host", "localhost:26001")], 200),
        (&[("host", "LOCALHOST")], 200),
        (&[("host", "127.0.0.1:26001")], 200),
        (&[("host", "[::1]:26001")], 200),
        (&[("host", "node.example:443")], 200),
        (&[("host", "evil.example")], 403),
        (&[("host", "localhost.evil.example")], 403),
        (&[("host", "192.168.1.7")], 403),
        (
            &[("host", "localhost:1"), ("origin", "http://localhost:1")],
            200,
        ),
        (
            &[("host", "localhost:1"), ("origin", "http://node.example")],
            200,
        ),
        (
            &[("host", "localhost:1"), ("origin", "http://localhost:2")],
            403,
        ),
        (
            &[("host", "localhost:1"), ("origin", "https://evil.example")],
            403,
        ),
        (&[("host", "localhost:1"), ("origin", "null")], 403),
        (&[("host", "localhost:1"), ("origin", "")], 403),
        (
            &[("host", "localhost:1"), ("origin", "file://localhost:1")],
            403,
        ),
    ];
    for (headers, status) in matrix {
        let (found, body) = with(&api, false, headers).await;
        assert_eq!(found, status, "{headers:?}");
        if status != 200 {
            error_code("headers", &body);
        }
    }
    let request = Request::get("http://evil.example/health").header("host", "localhost");
    let (status, _) = api.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(status.as_u16(), 403, "the target of the request counts too");
}

#[tokio::test]
async fn a_node_open_to_a_network_is_asked_by_address_or_by_its_names() {
    let named = asked_as(config(), false);
    let any = asked_as(ApiConfig::default(), false);
    for (host, by_names, by_any) in [
        ("192.168.1.7:26001", 200, 200),
        ("node.example", 200, 200),
        ("evil.example", 403, 200),
    ] {
        assert_eq!(with(&named, false, &[("host", host)]).await.0, by_names);
        assert_eq!(with(&any, false, &[("host", host)]).await.0, by_any);
    }
}

#[tokio::test]
async fn changing_the_node_needs_the_token() {
    let api = asked();
    let long = format!("Bearer {TOKEN}x");
    let good = format!("bearer {TOKEN}");
    let host = ("host", "localhost");
    let matrix: [(Option<&str>, u16); 7] = [
        (None, 401),
        (Some(""), 401),
        (Some("Bearer"), 401),
        (Some("Bearer "), 401),
        (Some(TOKEN), 401),
        (Some(&long), 401),
        (Some(&good), 200),
    ];
    for (value, status) in matrix {
        let authorization = value.map(|value| ("authorization", value));
        let headers: Vec<_> = std::iter::once(host).chain(authorization).collect();
        assert_eq!(with(&api, true, &headers).await.0, status, "{value:?}");
    }
    let without = asked_as(ApiConfig::default(), true);
    let headers = [host, ("authorization", "Bearer ")];
    let (status, body) = with(&without, true, &headers).await;
    assert_eq!(
        (status, error_code("no token", &body).as_str()),
        (403, "forbidden")
    );
    assert!(!format!("{:?}", config()).contains(TOKEN));
}
