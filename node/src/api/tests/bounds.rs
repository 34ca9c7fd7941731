//! What is bounded, at the bound: one more is refused or waits, and there is room again when one has gone.

use super::{asked, error_code};
use crate::api::guard::{self, BODIES_KIB_MAX, Limits, REQUESTS_MAX, STREAMS_MAX, WAITS_MAX};
use axum::{
    body::{Body, Bytes},
    http::Request,
};
use futures_util::{StreamExt, stream};
use std::{convert::Infallible, time::Duration};
use tokio::time::timeout;
use tower::ServiceExt;

const SOON: Duration = Duration::from_millis(50);

#[tokio::test]
async fn event_streams() {
    let api = asked();
    let listen = || {
        let request = Request::get("/v1/events").header("host", "localhost");
        let request = request.body(Body::empty()).unwrap();
        api.router.clone().oneshot(request)
    };
    let mut listening = Vec::new();
    for _ in 0..STREAMS_MAX {
        let response = listen().await.unwrap();
        assert_eq!(response.status(), 200);
        listening.push(response);
    }
    assert_eq!(api.refused("/v1/events").await, (503, "busy".into()));
    assert_eq!(api.get("/health").await.0, 200, "others are still answered");
    listening.pop();
    assert_eq!(listen().await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn waiting_clients() {
    let api = asked();
    let path = format!("/v1/transactions/{}?wait=2", "ab".repeat(32));
    let all = stream::iter(0..=WAITS_MAX).map(|_| api.refused(&path));
    let answers: Vec<_> = all.buffer_unordered(WAITS_MAX + 1).collect().await;
    let busy = answers.iter().filter(|a| **a == (503, "busy".into()));
    let waited = answers.iter().filter(|a| **a == (404, "not_found".into()));
    assert_eq!((busy.count(), waited.count()), (1, WAITS_MAX));
}

#[tokio::test(start_paused = true)]
async fn bytes_of_bodies() {
    let limits = Limits::default();
    let all = limits.body(u64::from(BODIES_KIB_MAX) << 10).await.unwrap();
    assert!(timeout(SOON, limits.body(1)).await.is_err());
    drop(all);
    let most = limits.body((u64::from(BODIES_KIB_MAX) - 1) << 10).await;
    assert!(timeout(SOON, limits.body(1024)).await.is_ok());
    assert!(most.is_ok());
    // What is declared beyond the whole budget waits for all of it, and never for more than there is.
    drop(most);
    assert!(timeout(SOON, limits.body(u64::MAX)).await.is_ok());
}

/// Bodies that never end hold their requests until the time is up, and no longer; what else comes waits its turn.
#[tokio::test(start_paused = true)]
async fn requests_and_their_time() {
    let api = asked();
    let endless = || {
        let never = stream::pending::<Result<Bytes, Infallible>>();
        Request::post("/v1/transactions")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("content-length", "100")
            .body(Body::from_stream(never))
            .unwrap()
    };
    let stuck = stream::iter(0..REQUESTS_MAX).map(|_| api.send(endless()));
    let stuck = stuck.buffer_unordered(REQUESTS_MAX).collect::<Vec<_>>();
    let other = async {
        tokio::time::sleep(SOON).await;
        let early = timeout(SOON, api.get("/health")).await;
        assert!(early.is_err(), "one more than the bound was answered");
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(api.get("/health").await.0, 200);
    };
    let (stuck, ()) = tokio::join!(stuck, other);
    for (status, body) in stuck {
        assert_eq!(status, 504);
        assert_eq!(error_code("endless", &body), "timeout");
    }
}

#[tokio::test]
async fn snapshots_taken_at_once() {
    let api = asked();
    let take = || {
        let request = Request::post("/v1/snapshots").header("host", "localhost");
        let request = request.header("authorization", format!("Bearer {}", super::TOKEN));
        api.send(request.body(Body::empty()).unwrap())
    };
    let under_way = guard::free(&api.limits.snapshots, "snapshots");
    let (status, body) = take().await;
    assert_eq!(
        (status.as_u16(), error_code("second", &body).as_str()),
        (503, "busy")
    );
    drop(under_way);
    assert_eq!(take().await.0, 200);
}
