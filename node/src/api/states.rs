//! The states that are kept, by the positions of what is in them: by this two nodes are compared (`snapshot::pinpoint`).

use super::{
    Api,
    error::{Answer, ApiError},
    extract::{self, Below, Path, Query, Range},
    types,
};
use crate::handle::{Backend, NotHere};
use ::snapshot::pinpoint::PARTS;
use axum::{Json, extract::State};
use ledger::{
    codec,
    state::{
        View,
        tree::{PageLimits, PlaceRange, Prefix, Subtree},
    },
    units::Height,
};

/// What one answer shows of a range.
const PAGE: PageLimits = PageLimits {
    entries: 1_000,
    bytes: 1 << 20,
};

/// One of the last states, or one that somebody has another of. It stays while it is asked for.
fn kept(node: &dyn Backend, height: Height) -> Result<View, NotHere> {
    let disputed = node.disputed(height);
    node.reads_on(height);
    disputed.map_or_else(|| node.state(Some(height)), Ok)
}

#[utoipa::path(get, path = "/v1/states/{height}/parts", tag = "state",
    params(("height" = u64, Path, description = "The height of the state"), Below),
    responses(
        (status = 200, description = "What lies below the prefix, in a few parts with their hashes", body = types::StateParts),
        (status = "4XX", description = "Not kept, or badly asked", body = types::ErrorDocument),
    ))]
pub(super) async fn parts(
    State(api): State<Api>,
    Path(height): Path,
    Query(Below { prefix, bits }): Query<Below>,
) -> Answer<types::StateParts> {
    let height = extract::height(&height)?;
    let below = Prefix::new(prefix.unwrap_or_default(), bits).map_err(|e| {
        let help = "give the bits as 64 hex digits, zero behind those that count";
        ApiError::bad_request(e.to_string(), help)
    })?;
    api.ask(move |node| {
        let state = kept(node, height)?;
        let below = state.tree().subtree(&below)?;
        let parts = below.as_ref().map(|subtree: &Subtree| subtree.parts(PARTS));
        Ok(Json(types::StateParts {
            height,
            state_root: state.root(),
            parts_hex: hex::encode(codec::encode(&parts.unwrap_or_default())),
        }))
    })
    .await
}

#[utoipa::path(get, path = "/v1/states/{height}/entries", tag = "state",
    params(("height" = u64, Path, description = "The height of the state"), Range),
    responses(
        (status = 200, description = "The entries of the range, or the first of them, with their proof", body = types::StateRange),
        (status = "4XX", description = "Not kept, or badly asked", body = types::ErrorDocument),
    ))]
pub(super) async fn entries(
    State(api): State<Api>,
    Path(height): Path,
    Query(Range { from, to }): Query<Range>,
) -> Answer<types::StateRange> {
    let height = extract::height(&height)?;
    if from > to {
        let message = "the range ends before it begins";
        return Err(ApiError::bad_request(
            message,
            "give from and to in their order",
        ));
    }
    api.ask(move |node| {
        let state = kept(node, height)?;
        let proof = state.tree().prove_range(PlaceRange { from, to }, PAGE)?;
        Ok(Json(types::StateRange {
            height,
            state_root: state.root(),
            proof: hex::encode(codec::encode(&proof)),
        }))
    })
    .await
}
