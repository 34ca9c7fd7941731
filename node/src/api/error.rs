//! Failures as the API answers them: an HTTP status and the error document.

use super::{
    codes::{self, Why},
    types::{ErrorBody, ErrorDocument, Evidence},
};
use crate::handle::{NotHere, Refusal};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use ledger::state::tree::NotHeld;

/// A request that fails, and how.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    document: Box<ErrorDocument>,
}

/// What a handler gives.
pub(super) type Answer<T> = Result<Json<T>, ApiError>;

impl ApiError {
    pub(super) fn new(
        status: StatusCode,
        code: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (code, message, help) = (code.to_owned(), message.into(), help.into());
        let error = ErrorBody {
            code,
            message,
            help,
        };
        Self {
            status,
            document: Box::new(ErrorDocument {
                error,
                absence: None,
            }),
        }
    }

    /// The request itself is wrong.
    pub(super) fn bad_request(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message, help)
    }

    /// What is asked for is not there.
    pub(super) fn not_found(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message, help)
    }

    /// The body, or the list in it, is larger than is taken.
    pub(super) fn too_large(message: impl Into<String>) -> Self {
        let help = "send less at once: split it into several requests";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message, help)
    }

    /// The caller may not.
    pub(super) fn forbidden(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message, help)
    }

    /// As much is under way as the node takes.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        let help = "try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message, help)
    }

    /// The node cannot do it now.
    pub(super) fn not_ready(message: impl Into<String>) -> Self {
        let help = "wait until /ready answers 200, or ask another node";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message, help)
    }

    /// A fault of the node.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        let help = "look into the node's log, and check its disk";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, "internal", message, help)
    }

    /// Adds the proof that what was asked for is not there.
    pub(super) fn with_absence(mut self, evidence: Evidence) -> Self {
        self.document.absence = Some(Box::new(evidence));
        self
    }
}

impl From<NotHere> for ApiError {
    fn from(why: NotHere) -> Self {
        let message = why.to_string();
        let (status, code, help) = match why {
            NotHere::Unknown(_) => {
                let help = "check the name, or ask a node that has caught up";
                (StatusCode::NOT_FOUND, "not_found", help)
            }
            NotHere::Pruned { .. } => {
                let help = "ask for a later height, or ask a node that keeps more; with sync.backfill in tintype.toml this one fetches its blocks";
                (StatusCode::GONE, "pruned", help)
            }
            NotHere::StateGone { .. } => {
                let help = "ask for a later height; of earlier ones blocks and roots may be kept, states are not";
                (StatusCode::GONE, "pruned", help)
            }
            NotHere::Future { .. } => {
                let help = "ask for a lower height, or wait until the chain is there";
                (StatusCode::NOT_FOUND, "future_height", help)
            }
            NotHere::Ambiguous(_) => {
                let help = "give more digits, or all 64";
                (StatusCode::BAD_REQUEST, "ambiguous", help)
            }
            NotHere::FollowsSpaces => {
                let help = "ask a node that follows the whole chain";
                (StatusCode::MISDIRECTED_REQUEST, "not_followed", help)
            }
            NotHere::NotReady(_) => return Self::not_ready(message),
            NotHere::Failed(_) => return Self::internal(message),
        };
        Self::new(status, code, message, help)
    }
}

impl From<NotHeld> for ApiError {
    fn from(NotHeld(_): NotHeld) -> Self {
        let message =
            "this node follows some spaces only, and does not hold what would prove the answer";
        let help = "/v1/status names its spaces; ask a node that follows the whole chain. Of a space without records, list them instead";
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "not_followed",
            message,
            help,
        )
    }
}

impl From<&Refusal> for ApiError {
    fn from(refusal: &Refusal) -> Self {
        let Why { status, code, help } = codes::refusal(refusal);
        Self::new(status, code, refusal.to_string(), help)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let again = matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        );
        let mut response = (self.status, Json(self.document)).into_response();
        let headers = response.headers_mut();
        if again {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
