//! What happens, as it happens: server-sent events.

use super::{Api, error::ApiError, guard, types};
use axum::{
    extract::State,
    response::{
        IntoResponse, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::stream;
use std::{convert::Infallible, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

/// A comment line goes out this often when nothing else does, so that a dead connection is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A client that listens. Its permit is free again when the stream is dropped.
struct Listener {
    events: broadcast::Receiver<crate::event::Event>,
    closing: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

#[utoipa::path(get, path = "/v1/events", tag = "node", responses(
    (status = 200, description = "Server-sent events: block, snapshot, sync, alarm; lagged for one who is too slow",
        body = types::Event, content_type = "text/event-stream"),
    (status = 503, description = "Too many listen", body = types::ErrorDocument),
))]
pub(super) async fn events(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let listener = Listener {
        _permit: guard::free(&api.limits.streams, "event streams")?,
        events: api.node.subscribe(),
        closing: api.closing.clone(),
    };
    let stream = stream::unfold(listener, |mut listener| async {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(event), listener))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

impl Listener {
    /// The next event; none when the node stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let received = tokio::select! {
                _ = self.closing.wait_for(|closing| *closing) => return None,
                received = self.events.recv() => received,
            };
            let event: types::Event = match received {
                Ok(event) => event.into(),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    types::Event::Lagged(types::Lagged { missed })
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            let name = event.name();
            match Event::default().event(name).json_data(&event) {
                Ok(event) => return Some(event),
                Err(error) => tracing::warn!(%error, name, "an event could not be written"),
            }
        }
    }
}
