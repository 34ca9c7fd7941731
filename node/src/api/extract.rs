//! Reading requests: every part of one that is wrong gives an error document that says what would be right.

use super::error::ApiError;
use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{Uri, request::Parts},
};
use ledger::{state::tree::Place, units::Height};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

/// Hex digits of a prefix that names something, at the least.
const PREFIX_DIGITS_MIN: usize = 8;
/// Hex digits of a whole hash.
pub(super) const HASH_DIGITS: usize = 64;

/// A request's query.
pub(super) struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let help = "see /openapi.json for what this path takes";
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|e| ApiError::bad_request(e.body_text(), help))
    }
}

/// The single variable part of a path.
pub(super) struct Path(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Path {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let help = "percent-encode it as UTF-8";
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|e| ApiError::bad_request(e.body_text(), help))?;
        let first = params.iter().next().map(|(_, value)| value.to_owned());
        first
            .map(Self)
            .ok_or_else(|| ApiError::bad_request("the path is incomplete", help))
    }
}

/// Which state a query is about.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct At {
    /// The height of the state; the newest without it.
    #[param(value_type = Option<u64>)]
    pub height: Option<Height>,
    /// Whether to prove the answer.
    #[serde(default)]
    #[param(required = false)]
    pub proof: bool,
}

/// Which page of a list.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// The height of the state; the newest without it. Pages of one list are asked for at the height of the first.
    #[param(value_type = Option<u64>)]
    pub height: Option<Height>,
    /// Whether to prove the answer.
    #[serde(default)]
    #[param(required = false)]
    pub proof: bool,
    /// Only records after this place: the `next_after` of the page before.
    #[param(value_type = Option<String>)]
    pub after: Option<Place>,
    /// Records on the page: 100 without it, at most 1000. A page may have fewer, and more may come after it.
    pub limit: Option<u64>,
}

/// What begins with some bits.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Below {
    /// The bits, as 64 hex digits; those behind `bits` are zero. All places without it.
    #[param(value_type = Option<String>)]
    pub prefix: Option<Place>,
    /// How many of them count: 0 to 256.
    #[serde(default)]
    #[param(required = false)]
    pub bits: u16,
}

/// Places from one to another, both included.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Range {
    /// The first, as 64 hex digits.
    #[param(value_type = String)]
    pub from: Place,
    /// The last.
    #[param(value_type = String)]
    pub to: Place,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wait {
    /// Seconds to wait for the transaction's block, at most 60.
    pub wait: Option<u64>,
}

/// No query.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// A height from a path.
pub(super) fn height(text: &str) -> Result<Height, ApiError> {
    let wrong = |_| {
        let message = format!("{:?} is no height", shortened(text));
        ApiError::bad_request(message, "give a height as a decimal number")
    };
    text.parse().map_err(wrong)
}

/// A hash or a prefix of one, in lower case.
pub(super) fn hex_prefix(text: &str) -> Result<String, ApiError> {
    let fits = (PREFIX_DIGITS_MIN..=HASH_DIGITS).contains(&text.len());
    if fits && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(ApiError::bad_request(
        format!("{:?} is no hash, nor a prefix of one", shortened(text)),
        "give 8 to 64 hex digits",
    ))
}

/// Segment `index` of the path, from 0, as bytes: a record's key need not be UTF-8.
pub(super) fn segment(uri: &Uri, index: usize) -> Vec<u8> {
    let segment = uri.path().trim_start_matches('/').split('/').nth(index);
    percent_decode_str(segment.unwrap_or_default()).collect()
}

/// What a caller sent, cut to what an error message can hold.
pub(super) fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 80;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
