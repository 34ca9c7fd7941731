//! The API over real loopback connections: what only shows there.

use super::{asked, config, fake::Fake};
use crate::api::{serve, types};
use futures_util::StreamExt;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tower::ServiceExt;

struct Served {
    node: Arc<Fake>,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn served() -> Served {
    let node = Arc::new(Fake::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let task = tokio::spawn(serve(node.clone(), listener, config(), shutdown));
    Served {
        node,
        address,
        stop,
        task,
    }
}

/// Sends bytes and reads until what is wanted has come, the connection ends, or ten seconds pass.
async fn exchange(stream: &mut TcpStream, bytes: &[u8], wanted: &str) -> String {
    // The node may close while it is still being written to.
    let _ = stream.write_all(bytes).await;
    let mut read = Vec::new();
    let end = Instant::now() + Duration::from_secs(10);
    while !String::from_utf8_lossy(&read).contains(wanted) {
        let mut buffer = [0; 4096];
        let left = end.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, stream.read(&mut buffer)).await {
            Ok(Ok(n)) if n > 0 => read.extend_from_slice(&buffer[..n]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let api = served().await;
    let mut stream = TcpStream::connect(api.address).await.unwrap();
    for _ in 0..3 {
        let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let answer = exchange(&mut stream, request, "\"ok\"}").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("content-type: application/json"),
            "{answer}"
        );
        assert!(
            answer.contains("x-content-type-options: nosniff"),
            "{answer}"
        );
    }
}

/// Whatever is sent, the answer is a 4xx or a closed connection, and the node goes on answering.
#[tokio::test]
async fn nonsense_is_refused_and_the_node_goes_on() {
    let api = served().await;
    let many_headers = format!("GET /health HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    let long_header = format!("GET /health HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(100_000));
    let long_path = format!(
        "GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "b".repeat(100_000)
    );
    let chunked = format!(
        "POST /v1/transactions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n500000\r\n{}\r\n0\r\n\r\n",
        " ".repeat(0x50_0000)
    );
    let huge = "POST /v1/transactions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 18446744073709551615\r\n\r\n";
    let twice = "POST /v1/transactions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\
                 content-length: 2\r\n\r\n";
    let cases: [&[u8]; 12] = [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        many_headers.as_bytes(),
        long_header.as_bytes(),
        long_path.as_bytes(),
        chunked.as_bytes(),
        huge.as_bytes(),
        twice.as_bytes(),
    ];
    for case in cases {
        let start = String::from_utf8_lossy(&case[..case.len().min(60)]).into_owned();
        let mut stream = TcpStream::connect(api.address).await.unwrap();
        let answer = exchange(&mut stream, case, "\r\n\r\n").await;
        let refused = answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4");
        assert!(answer.is_empty() || refused, "{start:?}: {answer}");
    }
    let mut stream = TcpStream::connect(api.address).await.unwrap();
    let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert!(
        exchange(&mut stream, request, "\"ok\"}")
            .await
            .contains("200 OK")
    );
}

#[tokio::test]
async fn events_arrive_as_they_happen_and_end_when_the_node_stops() {
    let api = served().await;
    let mut stream = TcpStream::connect(api.address).await.unwrap();
    let request = b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let head = exchange(&mut stream, request, "\r\n\r\n").await;
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let block = api.node.commit();
    let text = exchange(&mut stream, b"", "\n\n").await;
    assert!(text.contains("event: block"), "{text}");
    let data = text.lines().find_map(|line| line.strip_prefix("data: "));
    let event: types::Event = serde_json::from_str(data.unwrap()).unwrap();
    let types::Event::Block(event) = event else {
        panic!("{event:?}");
    };
    assert_eq!(event.hash, block.block.header.hash());

    let started = Instant::now();
    api.stop.send(()).unwrap();
    api.task.await.unwrap().unwrap();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(3), "stopping took {took:?}");
    assert!(TcpStream::connect(api.address).await.is_err());
}

/// The channel holds 4 events: of 10 that come while nobody reads, a slow client is told that it missed 6.
#[tokio::test]
async fn a_slow_listener_is_told_that_it_lagged() {
    let api = asked();
    let request = axum::http::Request::get("/v1/events").header("host", "localhost");
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = api.router.clone().oneshot(request).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    for _ in 0..10 {
        api.node.commit();
    }
    let mut read =
        async || String::from_utf8(body.next().await.unwrap().unwrap().to_vec()).unwrap();
    let first = read().await;
    assert!(
        first.contains("event: lagged") && first.contains("\"missed\":6"),
        "{first}"
    );
    let second = read().await;
    assert!(
        second.contains("event: block") && second.contains("\"height\":7"),
        "{second}"
    );
}
