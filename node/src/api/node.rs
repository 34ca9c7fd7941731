//! The node itself: whether it lives, whether it follows the chain, how it is.

use super::{
    Api,
    error::{Answer, ApiError},
    extract::{Nothing, Query},
    types,
};
use crate::handle;
use axum::{Json, extract::State, http::header, response::IntoResponse};

#[utoipa::path(get, path = "/health", tag = "node", responses(
    (status = 200, description = "The process is alive", body = types::Health),
))]
pub(super) async fn health() -> Json<types::Health> {
    Json(types::Health {
        status: "ok".into(),
    })
}

#[utoipa::path(get, path = "/ready", tag = "node", responses(
    (status = 200, description = "The node follows the chain", body = types::Ready),
    (status = 503, description = "It does not, and why", body = types::ErrorDocument),
))]
pub(super) async fn ready(State(api): State<Api>) -> Answer<types::Ready> {
    let status = api.ask(|node| Ok(node.status())).await?;
    if status.ready {
        let height = status.height;
        return Ok(Json(types::Ready {
            ready: true,
            height,
        }));
    }
    Err(ApiError::not_ready(reason(&status)))
}

/// Why a node does not follow the chain.
fn reason(status: &handle::Status) -> String {
    let height = status.height;
    if let (None, None, Some(since)) = (&status.alarm, &status.sync, status.stands_still) {
        return format!(
            "no block has become final here for {} s: the node is at height {height} with {} peers, and too few validators \
             can be reached, or it cannot reach them",
            since.as_secs(),
            status.peers
        );
    }
    match (&status.alarm, &status.sync) {
        (Some(alarm), _) => format!("the node disagrees with the chain: {alarm}"),
        (None, Some(sync)) => {
            let (done, total) = (sync.chunks_done, sync.chunks_total);
            format!(
                "the node syncs by {} to height {}, {done} of {total} chunks are here",
                sync.mode, sync.height
            )
        }
        (None, None) => format!(
            "the node does not follow the chain yet: it is at height {height} with {} peers",
            status.peers
        ),
    }
}

#[utoipa::path(get, path = "/metrics", tag = "node", responses(
    (status = 200, description = "All metrics, as Prometheus reads them", body = String, content_type = "text/plain"),
))]
pub(super) async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let text = api.ask(|node| Ok(node.metrics())).await?;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text))
}

#[utoipa::path(get, path = "/v1/status", tag = "node", responses(
    (status = 200, description = "How the node is", body = types::Status),
))]
pub(super) async fn status(
    State(api): State<Api>,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<types::Status> {
    api.ask(|node| {
        let status = node.status();
        let head = status.head.as_ref().map(|head| &head.header);
        Ok(Json(types::Status {
            version: env!("CARGO_PKG_VERSION").into(),
            public_key: status.public_key,
            chain_id: status.chain,
            chain_name: node.genesis().chain_name.clone(),
            validator: status.validator,
            voting: status.voting,
            ready: status.ready,
            height: status.height,
            block_hash: head.map(|header| header.hash()),
            block_time: head.map(|header| header.time),
            state_root: status.state_root,
            last_block_transactions: status.last_block_transactions,
            earliest_block: status.earliest_block,
            backfill: status.backfill.map(|backfill| types::Backfill {
                earliest: backfill.earliest,
                target: backfill.target,
            }),
            peers: status.peers as u64,
            p2p: status.p2p,
            mempool: status.mempool as u64,
            snapshot: status.snapshot.map(Into::into),
            origin: status.origin.as_ref().map(Into::into),
            sync: status.sync.as_ref().map(Into::into),
            alarm: status.alarm,
            disputed: status.disputed,
            stands_still_seconds: status.stands_still.map(|since| since.as_secs()),
            spaces: status.spaces,
            name: status.name,
        }))
    })
    .await
}

#[utoipa::path(get, path = "/v1/genesis", tag = "node", responses(
    (status = 200, description = "The genesis, as it stands in its file", body = Object),
))]
pub(super) async fn genesis(State(api): State<Api>) -> impl IntoResponse {
    let text = api.node.genesis().to_json();
    ([(header::CONTENT_TYPE, "application/json")], text)
}
