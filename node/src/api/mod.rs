//! The HTTP API: what a running node answers to those who ask it, over HTTP/1.1.
//!
//! For: the command line, dashboards, scripts, clients that submit and read. Not for: peers, which speak libp2p; and it
//! knows the node only as a [`Handle`], so that it can neither delay consensus nor reach what a handle does not offer.
//!
//! # Paths
//! `/health` · `/ready` · `/metrics` · `/openapi.json` · `/v1/status` · `/v1/genesis` · `/v1/transactions[/{id}]` ·
//! `/v1/accounts/{address}` · `/v1/spaces/{space}[/records[/{key}]]` · `/v1/validators` · `/v1/parameters` ·
//! `/v1/blocks/{height|hash|latest}` · `/v1/light/{height|hash|latest}` · `/v1/roots/{height}` ·
//! `/v1/snapshots[/{height}[/chunks/{id}]]` · `/v1/events`. The documents are in [`types`], their description in
//! `/openapi.json`.
//!
//! # Trust
//! Every request is adversarial. A page in a browser on this machine can send requests to a loopback address, and a name
//! that its owner rebinds to 127.0.0.1 makes it look like the node's own page: `guard` checks `Host` and `Origin` before
//! anything else. Reading and submitting need no secret (a transaction carries its own signature); what changes the node
//! needs the token. A client need not trust the node either: with `?proof=true` an answer carries its proof and the
//! certified header that it leads to.
//!
//! # Bounds
//! Connections, requests under way, bytes of bodies in memory, time, header bytes, waiting clients and event streams each
//! have a named bound in `guard` or [`serve`]. What is beyond is refused with an error document or waits its turn; none
//! grows with what is sent.

mod blocks;
mod body;
mod codes;
mod error;
mod events;
mod extract;
mod guard;
mod node;
mod query;
mod records;
mod routes;
mod server;
mod snapshots;
mod states;
#[cfg(test)]
mod tests;
mod transactions;
pub mod types;

pub use server::serve;

use crate::handle::{Backend, Handle};
use error::ApiError;
use std::{fmt, sync::Arc};
use tokio::sync::watch;

/// How the API is offered.
#[derive(Clone, Default)]
pub struct ApiConfig {
    /// The secret that a request must carry (`Authorization: Bearer ...`) to change the node. Without one nobody may.
    pub token: Option<String>,
    /// Names besides `localhost` and IP addresses under which the node may be asked, without port.
    pub allowed_hosts: Vec<String>,
}

impl fmt::Debug for ApiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiConfig")
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("allowed_hosts", &self.allowed_hosts)
            .finish()
    }
}

/// What every handler has.
#[derive(Clone)]
struct Api {
    node: Handle,
    config: Arc<ApiConfig>,
    /// Whether the API listens on a loopback address.
    loopback: bool,
    limits: Arc<guard::Limits>,
    /// Turns true when the node stops: streams and waiting clients end then.
    closing: watch::Receiver<bool>,
}

impl Api {
    fn new(
        node: Handle,
        config: ApiConfig,
        loopback: bool,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self {
            node,
            config: Arc::new(config),
            loopback,
            limits: Arc::default(),
            closing,
        }
    }

    /// Asks the node off the network's threads: an answer may need the disk.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Backend) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let node = self.node.clone();
        tokio::task::spawn_blocking(move || question(node.as_ref()))
            .await
            .unwrap_or_else(|e| {
                Err(ApiError::internal(format!(
                    "answering this request failed: {e}"
                )))
            })
    }
}
