//! What stands before every handler: who may ask, how much at once, for how long.
//!
//! DNS rebinding: a page of `evil.example`, whose name then points to 127.0.0.1, may read what the API answers, since to the
//! browser both are one origin. Its requests carry `Host: evil.example`, by which they are known. A page of another
//! origin that posts blindly carries an `Origin` that is not the host asked. IP addresses cannot be rebound.

use super::{Api, error::ApiError};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests answered at once, waiting clients and event streams aside; further ones wait their turn.
pub(super) const REQUESTS_MAX: usize = 256;
/// Clients that wait for a transaction at once.
pub(super) const WAITS_MAX: usize = 512;
/// Event streams at once.
pub(super) const STREAMS_MAX: usize = 64;
/// Snapshots taken at once on request.
const SNAPSHOTS_MAX: usize = 1;
/// Kibibytes that bodies may take up in memory together.
pub(super) const BODIES_KIB_MAX: u32 = 64 << 10;
/// Time for a request from its head to its answer, waiting clients and event streams aside.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// What is still free of each bound.
pub(super) struct Limits {
    requests: Arc<Semaphore>,
    pub waits: Arc<Semaphore>,
    pub streams: Arc<Semaphore>,
    pub snapshots: Arc<Semaphore>,
    bodies_kib: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Self {
        let of = |permits| Arc::new(Semaphore::new(permits));
        Self {
            requests: of(REQUESTS_MAX),
            waits: of(WAITS_MAX),
            streams: of(STREAMS_MAX),
            snapshots: of(SNAPSHOTS_MAX),
            bodies_kib: of(BODIES_KIB_MAX as usize),
        }
    }
}

impl Limits {
    /// Waits until memory for a body is free. `bytes` is its declared size, or the largest it may have.
    pub(super) async fn body(&self, bytes: u64) -> Result<OwnedSemaphorePermit, ApiError> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(BODIES_KIB_MAX);
        let kib = kib.clamp(1, BODIES_KIB_MAX);
        let free = self.bodies_kib.clone().acquire_many_owned(kib).await;
        free.map_err(|_| ApiError::not_ready("this node is stopping"))
    }
}

/// A permit, if one is free right now.
pub(super) fn free(
    semaphore: &Arc<Semaphore>,
    what: &str,
) -> Result<OwnedSemaphorePermit, ApiError> {
    let busy = |_| ApiError::busy(format!("as many {what} as this node takes are under way"));
    semaphore.clone().try_acquire_owned().map_err(busy)
}

/// Lets a request through if it was sent to this node by one who may.
pub(super) async fn only_own_names(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match check_names(&api, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn check_names(api: &Api, request: &Request) -> Result<(), ApiError> {
    let host = single(request.headers(), &header::HOST)?
        .ok_or_else(|| ApiError::bad_request("the request has no Host header", "send one"))?;
    let host: Authority = host
        .parse()
        .map_err(|_| ApiError::bad_request("the Host header is no host", "correct it"))?;
    let foreign = |name: &str| {
        ApiError::forbidden(
            format!("this node is not asked under the name {name}"),
            "ask it by its address, or add the name to allowed_hosts under [http] in its tintype.toml",
        )
    };
    for name in [Some(host.host()), request.uri().host()]
        .into_iter()
        .flatten()
    {
        if !own_name(api, name) {
            return Err(foreign(name));
        }
    }
    let Some(origin) = single(request.headers(), &header::ORIGIN)? else {
        return Ok(());
    };
    let of_host = ["http://", "https://"]
        .into_iter()
        .find_map(|scheme| origin.strip_prefix(scheme))
        .and_then(|authority| authority.parse::<Authority>().ok())
        .is_some_and(|authority| authority == host || listed(api, authority.host()));
    if of_host {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "pages of other origins may not use this node",
        "add the page's host to allowed_hosts under [http] in the node's tintype.toml",
    ))
}

/// A header's only value as text.
fn single<'a>(
    headers: &'a HeaderMap,
    name: &header::HeaderName,
) -> Result<Option<&'a str>, ApiError> {
    let wrong = || {
        let message = format!("the header {name} is not one line of text");
        ApiError::bad_request(message, "send it once, in ASCII")
    };
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(wrong());
    }
    first
        .map(|value| value.to_str().map_err(|_| wrong()))
        .transpose()
}

fn own_name(api: &Api, name: &str) -> bool {
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = literal.parse::<IpAddr>() {
        return !api.loopback || ip.is_loopback() || listed(api, name);
    }
    if name.eq_ignore_ascii_case("localhost") || listed(api, name) {
        return true;
    }
    // An operator who opens the node to a network without saying its names takes it to be asked by any.
    !api.loopback && api.config.allowed_hosts.is_empty()
}

fn listed(api: &Api, name: &str) -> bool {
    let hosts = &api.config.allowed_hosts;
    hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

/// Bounds how many requests are answered at once, and for how long each.
pub(super) async fn bounded(State(api): State<Api>, request: Request, next: Next) -> Response {
    let answer = async {
        let permit = api.limits.requests.clone().acquire_owned().await;
        let response = next.run(request).await;
        drop(permit);
        response
    };
    tokio::time::timeout(REQUEST_TIME_MAX, answer)
        .await
        .unwrap_or_else(|_| {
            let seconds = REQUEST_TIME_MAX.as_secs();
            ApiError::new(
                StatusCode::GATEWAY_TIMEOUT,
                "timeout",
                format!("the request took longer than {seconds} s"),
                "send less at once, or try again when the node has less to do",
            )
            .into_response()
        })
}

/// Whether a request carries the token that lets it change the node.
pub(super) fn authorize(api: &Api, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(token) = api.config.token.as_deref().filter(|t| !t.is_empty()) else {
        return Err(ApiError::forbidden(
            "this node has no API token, so that nobody may change it by HTTP",
            "start the node anew: it then writes a token into its folder, which is sent as a bearer token",
        ));
    };
    let given = single(headers, &header::AUTHORIZATION)?.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    });
    if given.is_some_and(|given| same(given.trim().as_bytes(), token.as_bytes())) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "changing the node needs its API token",
        "send the header `Authorization: Bearer TOKEN` with the token in the file api-token of the node's folder",
    ))
}

/// Compares secrets in a time that does not tell where they differ.
fn same(left: &[u8], right: &[u8]) -> bool {
    let differences = left.iter().zip(right).fold(0, |d, (l, r)| d | (l ^ r));
    std::hint::black_box(differences) == 0 && left.len() == right.len()
}
