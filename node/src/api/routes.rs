//! The paths, and the OpenAPI document that describes them.

use super::{
    Api, blocks, error::ApiError, events, guard, node, query, records, snapshots, states,
    transactions, types,
};
use axum::{
    Router,
    http::{StatusCode, header},
    middleware::{from_fn, from_fn_with_state},
    response::IntoResponse,
    routing::get,
};
use utoipa::OpenApi;

/// The description of all paths.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tintype node",
        description = "A P2P BFT ledger node: submit transactions, read the state with proofs, follow blocks and snapshots.",
    ),
    paths(
        node::health,
        node::ready,
        node::metrics,
        openapi,
        node::status,
        node::genesis,
        transactions::submit,
        transactions::lookup,
        query::account,
        query::record,
        query::space,
        records::list,
        query::validators,
        query::parameters,
        blocks::block,
        blocks::light,
        blocks::root,
        snapshots::list,
        snapshots::show,
        snapshots::chunk,
        snapshots::take,
        states::parts,
        states::entries,
        events::events,
    ),
    components(schemas(types::ErrorDocument, types::Event)),
    tags(
        (name = "node", description = "The node itself"),
        (name = "transactions", description = "Submitting, and what became of it"),
        (name = "state", description = "Accounts, spaces, records, validators, parameters; with proofs"),
        (name = "chain", description = "Blocks and roots"),
        (name = "snapshots", description = "Snapshots on the node's disk"),
    )
)]
pub(super) struct Description;

/// The whole API.
pub(super) fn router(api: Api) -> Router {
    let bounded = Router::new()
        .route("/health", get(node::health))
        .route("/ready", get(node::ready))
        .route("/metrics", get(node::metrics))
        .route("/openapi.json", get(openapi))
        .route("/v1/status", get(node::status))
        .route("/v1/genesis", get(node::genesis))
        .route(
            "/v1/transactions",
            axum::routing::post(transactions::submit),
        )
        .route("/v1/accounts/{address}", get(query::account))
        .route("/v1/spaces/{space}", get(query::space))
        .route("/v1/spaces/{space}/records", get(records::list))
        .route("/v1/spaces/{space}/records/{key}", get(query::record))
        .route("/v1/validators", get(query::validators))
        .route("/v1/parameters", get(query::parameters))
        .route("/v1/blocks/{name}", get(blocks::block))
        .route("/v1/light/{name}", get(blocks::light))
        .route("/v1/roots/{height}", get(blocks::root))
        .route("/v1/snapshots/{height}", get(snapshots::show))
        .route("/v1/snapshots/{height}/chunks/{id}", get(snapshots::chunk))
        .route("/v1/states/{height}/parts", get(states::parts))
        .route("/v1/states/{height}/entries", get(states::entries))
        .route_layer(from_fn_with_state(api.clone(), guard::bounded));
    // These have bounds of their own: they last as long as they need.
    let long = Router::new()
        .route("/v1/transactions/{id}", get(transactions::lookup))
        .route("/v1/snapshots", get(snapshots::list).post(snapshots::take))
        .route("/v1/events", get(events::events));
    bounded
        .merge(long)
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn(error_documents))
        .layer(from_fn_with_state(api.clone(), guard::only_own_names))
        .with_state(api)
}

async fn no_path(uri: axum::http::Uri) -> ApiError {
    let path = super::extract::shortened(uri.path());
    ApiError::not_found(
        format!("there is no path {path}"),
        "see /openapi.json for the paths",
    )
}

async fn no_method(method: axum::http::Method, uri: axum::http::Uri) -> ApiError {
    let path = super::extract::shortened(uri.path());
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{path} does not take {method}"),
        "see /openapi.json for what it takes",
    )
}

/// Turns an error that axum answers by itself, as plain text, into a document.
async fn error_documents(
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_text = |value: &axum::http::HeaderValue| !value.as_bytes().starts_with(b"application/");
    let foreign = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(is_text);
    if !(status.is_client_error() || status.is_server_error()) || !foreign {
        return response;
    }
    let reason = status.canonical_reason().unwrap_or("the request failed");
    let help = "see /openapi.json for what this path takes";
    ApiError::new(status, "bad_request", reason, help).into_response()
}

#[utoipa::path(get, path = "/openapi.json", tag = "node", responses(
    (status = 200, description = "This document"),
))]
pub(super) async fn openapi() -> Result<impl IntoResponse, ApiError> {
    let text = Description::openapi()
        .to_json()
        .map_err(|e| ApiError::internal(format!("describing the API failed: {e}")))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text))
}
