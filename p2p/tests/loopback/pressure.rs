//! Under pressure: half-open connections, a node that does not listen, strangers, large answers.

use crate::net::{Node, config, eventually, pair};
use p2p::{Channel, Event, Multiaddr, Published, Request, RequestError, Response};
use std::{net::SocketAddr, time::Duration};
use tokio::net::{TcpSocket, TcpStream};

fn socket_address(address: &Multiaddr) -> SocketAddr {
    let text = address.to_string();
    let port = text.split('/').nth(4).expect("a port");
    format!("127.0.0.1:{port}").parse().expect("an address")
}

/// Reads until the other side closes or resets.
async fn closed(stream: &TcpStream) {
    let mut buffer = [0; 1024];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

/// 400 connections from one address that say nothing: most are turned away at once, the others after the handshake's time,
/// and meanwhile the node serves its peers and lets others in.
#[tokio::test]
async fn half_open_connections_do_not_stop_the_service() {
    const FLOOD: usize = 400;
    let (mut a, b) = pair().await;
    let target = socket_address(&a.address());
    let mut flood = Vec::new();
    for _ in 0..FLOOD {
        let socket = TcpSocket::new_v4().expect("a socket");
        let from: SocketAddr = "127.0.0.2:0".parse().expect("an address");
        socket.bind(from).expect("binds");
        flood.push(socket.connect(target).await.expect("connects"));
    }
    let held = |node: &Node| FLOOD as u64 - node.network.metrics().connections_in_failed;
    eventually("all but a handful are turned away", || held(&a) <= 16).await;

    let mut c = Node::new(3, &[a.address()]).await;
    a.connected(c.peer()).await;
    c.connected(a.peer()).await;
    for node in [&b, &c] {
        let ask = node.network.request(a.peer(), Request::Status);
        let (got, ()) = tokio::join!(ask, async {
            let refuse = |event| match event {
                Event::Request { .. } => Some(()),
                _ => None,
            };
            a.wait("request", refuse).await;
        });
        assert_eq!(got, Err(RequestError::Refused), "asked and answered");
    }
    assert_eq!(a.network.metrics().connections_open, 2);

    for (i, stream) in flood.iter().enumerate() {
        let end = tokio::time::timeout(crate::net::PATIENCE, closed(stream)).await;
        assert!(end.is_ok(), "connection {i} stays open");
    }
}

/// A node that takes no events for a while: gossip beyond the bounds is dropped and counted, requests are refused, the
/// network task goes on, and news of peers is all there, first things first.
#[tokio::test]
async fn a_node_that_does_not_listen_loses_gossip_and_nothing_else() {
    const MESSAGES: u64 = 8000;
    let mut a = Node::new(1, &[]).await;
    let mut b = Node::new(2, &[a.address()]).await;
    b.connected(a.peer()).await;
    let mut sent = 0;
    for i in 0..MESSAGES {
        let message = format!("message {i}").into_bytes();
        match b
            .network
            .publish(Channel::Transactions, message)
            .expect("told")
            .await
        {
            Published::Sent => sent += 1,
            // Its own queue for a peer this slow.
            Published::Dropped => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    }
    let waiting = 4096 / 4;
    eventually("what was sent was taken or dropped", || {
        let metrics = a.network.metrics();
        metrics.gossip_in_messages > waiting
            && metrics.gossip_dropped == metrics.gossip_in_messages - waiting
    })
    .await;
    // Nobody answers here; that its requests time out or are refused is the next lines' matter: the task is alive.
    let mut c = Node::new(3, &[a.address()]).await;
    c.connected(a.peer()).await;
    c.network.stop().await;
    eventually("the task sees it go", || a.peers() == [b.peer()]).await;
    b.network.stop().await;
    eventually("the task sees it go", || a.peers().is_empty()).await;

    let mut heard = Vec::new();
    let mut gossip = 0;
    while heard.last() != Some(&("went", b.peer())) {
        match a.next().await {
            Event::Connected { peer } => heard.push(("came", peer)),
            Event::Disconnected { peer } => heard.push(("went", peer)),
            Event::Gossip(message) => {
                assert_eq!(message.from, b.peer());
                gossip += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    let expected = [
        ("came", b.peer()),
        ("came", c.peer()),
        ("went", c.peer()),
        ("went", b.peer()),
    ];
    assert_eq!(heard, expected);
    assert_eq!(gossip, waiting, "of {sent} sent");
}

/// The bound on connections: strangers fill their share, and the node's own dials still go out.
#[tokio::test]
async fn strangers_cannot_take_all_connections() {
    let mut small = config(2, &[]);
    small.limits.connections_max = 4;
    // Two are kept for those that it dials.
    small.limits.peers_target = 2;
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let later = free.local_addr().expect("bound").port();
    drop(free);
    small.peers = vec![
        format!("/ip4/127.0.0.1/tcp/{later}")
            .parse()
            .expect("valid"),
    ];
    let mut node = Node::start(small).await;
    let mut strangers = Vec::new();
    for seed in 10..16 {
        strangers.push(Node::new(seed, &[node.address()]).await);
    }
    eventually("strangers are turned away", || {
        let metrics = node.network.metrics();
        metrics.connections_open == 2 && metrics.connections_in_failed > 4
    })
    .await;
    let mut listening = config(1, &[]);
    listening.listen = vec![
        format!("/ip4/127.0.0.1/tcp/{later}")
            .parse()
            .expect("valid"),
    ];
    let friend = Node::start(listening).await;
    node.connected(friend.peer()).await;
    assert!(node.peers().contains(&friend.peer()));
    let open = node.network.metrics().connections_open;
    assert!(open <= 4, "{open} connections");
}

/// Votes are not late because large answers are on their way: 24 of 8 MiB to a reader, and gossip in between.
#[tokio::test]
async fn gossip_is_not_stuck_behind_large_answers() {
    let (a, mut b) = pair().await;
    let id = ledger::hash::Hash([1; 32]);
    let asks: Vec<_> = (0..6)
        .map(|_| {
            let (network, peer) = (b.network.clone(), a.peer());
            tokio::spawn(async move {
                network
                    .request(peer, Request::Chunk { id, base: None })
                    .await
            })
        })
        .collect();
    let mut answering = a;
    let network = answering.network.clone();
    let serve = tokio::spawn(async move {
        for _ in 0..6 {
            let reply = answering
                .wait("request", |event| match event {
                    Event::Request { reply, .. } => Some(reply),
                    _ => None,
                })
                .await;
            reply.send(Response::Chunk(Some(vec![3; 7 << 20].into())));
        }
        answering
    });
    let mut slowest = Duration::ZERO;
    for i in 0..50 {
        let vote = format!("vote {i}").into_bytes();
        let began = std::time::Instant::now();
        let sent = network.publish(Channel::Consensus, vote.clone());
        assert_eq!(sent.expect("told").await, Published::Sent);
        b.hear(&vote, p2p::Verdict::Accept).await;
        slowest = slowest.max(began.elapsed());
    }
    for ask in asks {
        let got = ask.await.expect("does not panic");
        assert!(
            matches!(got, Ok(Response::Chunk(Some(_)))),
            "{:?}",
            got.err()
        );
    }
    drop(serve.await.expect("does not panic"));
    println!("the slowest of 50 votes took {slowest:?}");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
}
