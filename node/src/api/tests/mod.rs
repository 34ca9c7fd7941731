//! Tests of the API against a node that is made up: a real state and real blocks, in memory, that grow when told to.

mod bad;
mod bounds;
mod fake;
mod reading;
mod socket;
mod submitting;

use super::{Api, ApiConfig, guard::Limits, routes};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use fake::Fake;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::sync::watch;
use tower::ServiceExt;

const TOKEN: &str = "a-secret";

/// The API over a made-up node, asked without a network.
struct Asked {
    node: Arc<Fake>,
    router: Router,
    limits: Arc<Limits>,
    _close: watch::Sender<bool>,
}

fn config() -> ApiConfig {
    ApiConfig {
        token: Some(TOKEN.into()),
        allowed_hosts: vec!["node.example".into()],
    }
}

fn asked() -> Asked {
    asked_as(config(), true)
}

fn asked_as(config: ApiConfig, loopback: bool) -> Asked {
    let node = Arc::new(Fake::new());
    let (close, closing) = watch::channel(false);
    let api = Api::new(node.clone(), config, loopback, closing);
    let limits = api.limits.clone();
    let router = routes::router(api);
    Asked {
        node,
        router,
        limits,
        _close: close,
    }
}

impl Asked {
    /// Sends a request as it is, and reads the whole answer.
    async fn send(&self, request: Request<Body>) -> (StatusCode, Vec<u8>) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 64 << 20).await.unwrap();
        (status, body.to_vec())
    }

    async fn get(&self, path: &str) -> (StatusCode, Vec<u8>) {
        let request = Request::get(path).header("host", "127.0.0.1:26001");
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Gets a document that must be there.
    async fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.get(path).await;
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status, StatusCode::OK, "GET {path}: {text}");
        serde_json::from_slice(&body).unwrap_or_else(|e| panic!("GET {path}: {e} in {text}"))
    }

    /// Gets a document that must not be there, and says the status and the code.
    async fn refused(&self, path: &str) -> (u16, String) {
        let (status, body) = self.get(path).await;
        (status.as_u16(), error_code(path, &body))
    }

    async fn post(&self, kind: &str, body: impl Into<Body>) -> (StatusCode, Vec<u8>) {
        let request = Request::post("/v1/transactions")
            .header("host", "localhost:26001")
            .header("content-type", kind);
        self.send(request.body(body.into()).unwrap()).await
    }
}

/// The code of an error document, which must be whole.
fn error_code(what: &str, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let document: super::types::ErrorDocument =
        serde_json::from_slice(body).unwrap_or_else(|e| panic!("{what}: {e} in {text:?}"));
    let error = document.error;
    assert!(
        !error.message.is_empty() && !error.help.is_empty(),
        "{what}: {text}"
    );
    error.code
}
