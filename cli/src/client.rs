//! A node's HTTP API, as its client. Answers are bounded, every request has a time limit, and a failure says which node
//! was asked for what.

use crate::{
    api::{self, ErrorDocument},
    failure::{Exit, Failure, Result},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use std::{io::BufRead, time::Duration};

/// How long a request may take where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer: the largest is a block of many transactions.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// How much of the chain a node can be asked about, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// All of it.
    Follows,
    /// All of it, when it has caught up.
    Behind,
    /// Some spaces, from snapshot to snapshot.
    SpacesOnly,
}

impl Standing {
    /// Of a node that says this of itself.
    pub fn of(status: &api::Status) -> Self {
        match (status.spaces.is_empty(), status.ready) {
            (true, true) => Self::Follows,
            (true, false) => Self::Behind,
            (false, _) => Self::SpacesOnly,
        }
    }
}

/// An answer about something that may not be there.
#[derive(Debug)]
pub enum Found<T> {
    /// It is there.
    There(T),
    /// The node says that it is not, and proves it if it can.
    Absent(Box<Failure>, Option<Box<api::Evidence>>),
}

/// One node's API.
#[derive(Clone, Debug)]
pub struct Client {
    name: String,
    url: String,
    /// What lets it change the node.
    token: Option<String>,
    agent: ureq::Agent,
}

impl Client {
    /// The node `name` at `url`.
    pub fn new(name: impl Into<String>, url: &str) -> Self {
        // No proxy: a testnet's nodes are on this machine, whatever the environment says about the world outside.
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(TIMEOUT))
            .build()
            .into();
        let (name, url) = (name.into(), url.trim_end_matches('/').to_owned());
        Self {
            name,
            url,
            token: None,
            agent,
        }
    }

    /// With the token that lets it change the node.
    pub fn with_token(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }

    /// The node's name, or its URL if no name is known.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks for a document.
    ///
    /// # Errors
    /// Exit code 5 if the node does not answer, else what its error document says.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.get_within(path, TIMEOUT)
    }

    /// As [`Client::get`], of something that may not be there.
    ///
    /// # Errors
    /// As [`Client::get`], but not when it is not there.
    pub fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Found<T>> {
        let (status, body) = self.fetch(path, TIMEOUT)?;
        match self.read(path, status, &body) {
            Ok(answer) => Ok(Found::There(answer)),
            Err(failure) if failure.code == "not_found" => {
                let document = serde_json::from_slice(&body).ok();
                let absence = document.and_then(|d: ErrorDocument| d.absence);
                Ok(Found::Absent(Box::new(failure), absence))
            }
            Err(failure) => Err(failure),
        }
    }

    /// As [`Client::get`], with a time limit of its own.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn get_within<T: DeserializeOwned>(&self, path: &str, limit: Duration) -> Result<T> {
        let (status, body) = self.fetch(path, limit)?;
        self.read(path, status, &body)
    }

    /// Asks, and gives the HTTP status and the bytes of the answer, whatever they are.
    ///
    /// # Errors
    /// Exit code 5 if the node does not answer.
    pub fn fetch(&self, path: &str, limit: Duration) -> Result<(u16, Vec<u8>)> {
        let answer = self
            .agent
            .get(format!("{}{path}", self.url))
            .config()
            .timeout_global(Some(limit))
            .build()
            .call();
        self.take(path, answer)
    }

    /// Sends a document.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
        limit: Duration,
    ) -> Result<T> {
        let mut request = self.agent.post(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let answer = request
            .config()
            .timeout_global(Some(limit))
            .build()
            .send_json(body);
        let (status, body) = self.take(path, answer)?;
        self.read(path, status, &body)
    }

    /// What the node says of itself.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn status(&self, limit: Duration) -> Result<api::Status> {
        self.get_within("/v1/status", limit)
    }

    /// Whether the node follows the whole chain, rather than some spaces, and whether it has caught up; nothing if it does
    /// not answer.
    pub fn standing(&self, limit: Duration) -> Option<Standing> {
        Some(Standing::of(&self.status(limit).ok()?))
    }

    /// Reads the `data:` lines of the event stream until `take` says stop (false) or the stream ends.
    ///
    /// # Errors
    /// Exit code 5 if the node does not answer.
    pub fn events(&self, mut take: impl FnMut(&str) -> bool) -> Result {
        let answer = self
            .agent
            .get(format!("{}/v1/events", self.url))
            .config()
            .timeout_global(None)
            .build()
            .call()
            .map_err(|e| self.unreachable(&e))?;
        let reader = std::io::BufReader::new(answer.into_body().into_reader());
        for line in reader.lines() {
            let Ok(line) = line else { break };
            let goes_on = line
                .strip_prefix("data:")
                .is_none_or(|data| take(data.trim_start()));
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    fn take(
        &self,
        path: &str,
        answer: std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<(u16, Vec<u8>)> {
        let mut answer = answer.map_err(|e| self.unreachable(&e))?;
        let body = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_vec()
            .map_err(|e| {
                let message = format!("{} broke off its answer to {path}: {e}", self.label());
                Failure::new(Exit::Unreachable, "unreachable", message)
            })?;
        Ok((answer.status().as_u16(), body))
    }

    fn read<T: DeserializeOwned>(&self, path: &str, status: u16, body: &[u8]) -> Result<T> {
        if !(200..300).contains(&status) {
            return Err(self.refusal(path, status, body));
        }
        serde_json::from_slice(body).map_err(|e| {
            let message = format!(
                "{} answered {path} with what is not understood: {e}",
                self.label()
            );
            Failure::failed("bad_answer", message)
                .help("the node and this program may be of different versions")
        })
    }

    /// What an answer that is no success says.
    pub fn refusal(&self, path: &str, status: u16, body: &[u8]) -> Failure {
        let Ok(ErrorDocument { error, .. }) = serde_json::from_slice(body) else {
            let message = format!("{} answered {path} with HTTP status {status}", self.label());
            return Failure::failed("bad_answer", message);
        };
        let exit = match status {
            503 => Exit::Unreachable,
            500..=599 => Exit::Failed,
            _ => Exit::Refused,
        };
        Failure::new(exit, error.code, error.message).help(error.help)
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let message = format!("{} does not answer: {error}", self.label());
        Failure::new(Exit::Unreachable, "unreachable", message)
            .help("`tintype testnet status` shows which nodes run")
    }

    fn label(&self) -> String {
        if self.name == self.url {
            self.url.clone()
        } else {
            format!("{} ({})", self.name, self.url)
        }
    }
}

/// A part of a path, with what would mean something else percent-encoded.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// `?height=H`, if there is one, and other parts of the query.
pub fn query(height: Option<u64>, others: &[&str]) -> String {
    let height = height.map(|h| format!("height={h}"));
    let parts: Vec<&str> = height
        .as_deref()
        .into_iter()
        .chain(others.iter().copied())
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!("?{}", parts.join("&"))
    }
}

#[cfg(test)]
pub mod fake;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_written_so_that_they_read_back() {
        assert_eq!(segment("a/b c?"), "a%2Fb%20c%3F");
        assert_eq!(query(None, &[]), "");
        assert_eq!(query(Some(7), &["proof=true"]), "?height=7&proof=true");
    }

    #[test]
    fn a_node_that_is_not_there_is_unreachable() {
        let failure = Client::new("node0", "http://127.0.0.1:1")
            .get::<api::Root>("/x")
            .unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.message.contains("node0"), "{failure}");
    }

    #[test]
    fn an_error_document_keeps_its_code() {
        let client = Client::new("n", "http://127.0.0.1:1");
        let body = br#"{"error": {"code": "pruned", "message": "gone", "help": "later", "x": 1}}"#;
        let failure = client.refusal("/v1/blocks/1", 404, body);
        assert_eq!((failure.exit, &*failure.code), (Exit::Refused, "pruned"));
        assert_eq!(client.refusal("/x", 500, b"oops").exit, Exit::Failed);
    }
}
