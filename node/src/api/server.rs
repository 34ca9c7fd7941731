//! Accepting connections, with bounds that hold before a request is even read.

use super::{Api, ApiConfig, routes};
use crate::handle::Handle;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use std::{io, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

/// Connections at once; further ones wait in the listener's queue.
const CONNECTIONS_MAX: usize = 1024;
/// Bytes of a request's head, and of the buffer it is read into.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Header lines of a request.
const HEADERS_MAX: usize = 64;
/// Time in which a connection must send a whole head, the time between two requests included.
const HEAD_TIME_MAX: Duration = Duration::from_secs(75);
/// Time that open connections have to end when the node stops.
const GRACE: Duration = Duration::from_secs(5);
/// Pause after a failed accept: it is out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests on `listener` until `shutdown` completes, then lets those under way end, for five seconds at most.
///
/// # Errors
/// When the listener's address cannot be read. A failed connection only ends itself.
pub async fn serve(
    handle: Handle,
    listener: TcpListener,
    config: ApiConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let (close, closing) = watch::channel(false);
    let api = Api::new(handle, config, address.ip().is_loopback(), closing);
    let service = TowerToHyperService::new(routes::router(api));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    tracing::info!(%address, "answering HTTP");

    let mut shutdown = pin!(shutdown);
    loop {
        let accept = async {
            let permit = connections.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers are small and wanted now.
        let _ = stream.set_nodelay(true);
        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    close.send_replace(true);
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    Ok(())
}
