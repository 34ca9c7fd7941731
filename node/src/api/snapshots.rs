//! The snapshots on the node's disk.

use super::{
    Api,
    error::{Answer, ApiError},
    extract::{self, Nothing, Path, Query},
    guard, types,
};
use crate::handle::NotHere;
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Uri, header},
    response::IntoResponse,
};
use ledger::hash::Hash;

#[utoipa::path(get, path = "/v1/snapshots", tag = "snapshots", responses(
    (status = 200, description = "All snapshots here, newest first", body = types::Snapshots),
))]
pub(super) async fn list(
    State(api): State<Api>,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<types::Snapshots> {
    api.ask(|node| {
        let snapshots = node.snapshots().into_iter().map(Into::into).collect();
        Ok(Json(types::Snapshots { snapshots }))
    })
    .await
}

#[utoipa::path(get, path = "/v1/snapshots/{height}", tag = "snapshots",
    params(("height" = u64, Path, description = "The snapshot's height")),
    responses(
        (status = 200, description = "The snapshot with its manifest", body = types::SnapshotDetail),
        (status = "4XX", description = "Not here, or badly asked", body = types::ErrorDocument),
    ))]
pub(super) async fn show(
    State(api): State<Api>,
    Path(height): Path,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<types::SnapshotDetail> {
    let height = extract::height(&height)?;
    api.ask(move |node| {
        let all = node.snapshots();
        let Some(snapshot) = all.iter().find(|s| s.height == height) else {
            let help = "see /v1/snapshots for the heights that are here";
            let message = format!("there is no snapshot of height {height} here");
            return Err(ApiError::not_found(message, help));
        };
        Ok(Json(types::SnapshotDetail {
            snapshot: (*snapshot).into(),
            manifest_hex: hex::encode(node.manifest(height)?),
        }))
    })
    .await
}

#[utoipa::path(get, path = "/v1/snapshots/{height}/chunks/{id}", tag = "snapshots",
    params(
        ("height" = u64, Path, description = "The snapshot's height"),
        ("id" = String, Path, description = "The chunk's hash, as the manifest lists it"),
    ),
    responses(
        (status = 200, description = "The chunk, whole: see docs/formats-snapshot.md", body = Vec<u8>,
            content_type = "application/octet-stream"),
        (status = "4XX", description = "Not here, or badly asked", body = types::ErrorDocument),
    ))]
pub(super) async fn chunk(
    State(api): State<Api>,
    Path(height): Path,
    uri: Uri,
    Query(Nothing {}): Query<Nothing>,
) -> Result<impl IntoResponse, ApiError> {
    let height = extract::height(&height)?;
    let id = extract::segment(&uri, 4);
    let id = String::from_utf8_lossy(&id);
    let id: Hash = id.parse().map_err(|_| {
        let message = format!("{:?} is no hash", extract::shortened(&id));
        ApiError::bad_request(message, "give all 64 hex digits")
    })?;
    let bytes = api.ask(move |node| Ok(node.chunk(height, id)?)).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes))
}

#[utoipa::path(post, path = "/v1/snapshots", tag = "snapshots", responses(
    (status = 200, description = "A snapshot of the newest state was taken", body = types::Snapshot),
    (status = 401, description = "The token is missing or wrong", body = types::ErrorDocument),
    (status = 403, description = "This node has no token", body = types::ErrorDocument),
    (status = 503, description = "One is being taken", body = types::ErrorDocument),
))]
pub(super) async fn take(State(api): State<Api>, headers: HeaderMap) -> Answer<types::Snapshot> {
    guard::authorize(&api, &headers)?;
    let permit = guard::free(&api.limits.snapshots, "snapshots")?;
    api.ask(move |node| {
        // Held until it is taken, even if the client is gone by then.
        let _permit = permit;
        match node.take_snapshot() {
            Ok(info) => Ok(Json(info.into())),
            Err(NotHere::Failed(why)) => Err(ApiError::internal(format!(
                "taking the snapshot failed: {why}"
            ))),
            Err(other) => Err(other.into()),
        }
    })
    .await
}
