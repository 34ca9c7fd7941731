//! Connecting: known peers, taken ports, other chains, coming back, finding all from one address.

use crate::net::{CHAIN, Node, config, eventually, pair};
use ledger::hash::ChainId;
use p2p::{Error, Event, Multiaddr, Network};
use std::{collections::HashSet, net::TcpListener};

#[tokio::test]
async fn connected_peers_know_each_other() {
    let (a, b) = pair().await;
    let [info] = a.network.peers().try_into().expect("one peer");
    assert_eq!((info.peer, info.outbound), (b.peer(), false));
    let [info] = b.network.peers().try_into().expect("one peer");
    assert_eq!((info.peer, info.outbound), (a.peer(), true));
    let dialled = format!("{}/p2p/{}", info.address, info.peer);
    assert_eq!(dialled, a.address().to_string());
    let key = ledger::keys::SecretKey::from_seed([1; 32]).public_key();
    assert_eq!(info.peer.public_key(), key, "proven by the transport");
    let metrics = a.network.metrics();
    let counts = (metrics.peers_connected, metrics.connections_open);
    assert_eq!(counts, (1, 1));
    eventually("a ping", || {
        b.network.peers().iter().all(|info| info.rtt.is_some())
    })
    .await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_said() {
    let (node, foreign) = (
        Node::new(1, &[]).await,
        TcpListener::bind("127.0.0.1:0").expect("binds"),
    );
    let port = foreign.local_addr().expect("bound").port();
    let own: Multiaddr = node
        .address()
        .to_string()
        .split("/p2p/")
        .next()
        .expect("an address")
        .parse()
        .expect("an address");
    let other: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}")
        .parse()
        .expect("an address");
    for taken in [own, other] {
        let mut config = config(2, &[]);
        config.listen = vec![taken.clone()];
        match Network::start(config).await {
            Err(Error::Listen { address, source }) => {
                assert_eq!(address, taken);
                assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
            }
            other => panic!("{taken}: {:?}", other.err()),
        }
    }
}

#[tokio::test]
async fn a_peer_of_another_chain_is_turned_away() {
    let mut a = Node::new(1, &[]).await;
    let mut foreign = config(2, &[a.address()]);
    foreign.chain = ChainId([0xee; 32]);
    let mut b = Node::start(foreign).await;
    let saw = |event| match event {
        Event::WrongChain { peer, theirs } => Some((peer, theirs)),
        Event::Connected { peer } => panic!("connected to {peer}"),
        _ => None,
    };
    let (peer, theirs) = a.wait("wrong chain", saw).await;
    assert_eq!(peer, b.peer());
    assert_eq!(theirs, format!("tintype/2/{}", ChainId([0xee; 32])));
    let (peer, theirs) = b.wait("wrong chain", saw).await;
    assert_eq!((peer, theirs), (a.peer(), format!("tintype/2/{CHAIN}")));
    assert!(a.peers().is_empty() && b.peers().is_empty());
}

/// Both know each other's address. One is stopped and started again, twice; they find each other each time.
#[tokio::test]
async fn a_peer_that_comes_back_is_found_again() {
    let mut a = Node::new(1, &[]).await;
    let address = a.address();
    let mut b = Node::new(2, std::slice::from_ref(&address)).await;
    for _ in 0..2 {
        b.connected(a.peer()).await;
        a.network.stop().await;
        b.disconnected(a.peer()).await;
        assert!(b.peers().is_empty());
        eventually("a dial fails", || b.network.metrics().dials_failed > 0).await;
        let mut again = config(1, &[]);
        let listen = address.to_string();
        let listen = listen.split("/p2p/").next().expect("an address");
        again.listen = vec![listen.parse().expect("an address")];
        a = Node::start(again).await;
    }
    b.connected(a.peer()).await;
    a.connected(b.peer()).await;
}

/// When the last handle goes, so does the network.
#[tokio::test]
async fn the_last_handle_ends_the_network() {
    let (a, mut b) = pair().await;
    let (peer, Node { network, events }) = (a.peer(), a);
    drop((network, events));
    b.disconnected(peer).await;
}

/// Eight nodes. Each knows only the first, and each finds all.
#[tokio::test]
async fn one_known_peer_is_enough_to_find_all() {
    const NODES: u8 = 8;
    let seeking = |seed, peers: &[Multiaddr]| {
        let mut config = config(seed, peers);
        config.limits.peers_target = 16;
        config
    };
    let mut nodes = vec![Node::start(seeking(1, &[])).await];
    let first = [nodes.iter().map(Node::address).next().expect("a node")];
    for seed in 2..=NODES {
        nodes.push(Node::start(seeking(seed, &first)).await);
    }
    let all: HashSet<_> = nodes.iter().map(Node::peer).collect();
    for node in &mut nodes {
        let mut missing = all.clone();
        missing.remove(&node.peer());
        while !missing.is_empty() {
            match node.next().await {
                Event::Connected { peer } => assert!(missing.remove(&peer), "twice: {peer}"),
                Event::Disconnected { peer } => panic!("lost {peer}"),
                _ => {}
            }
        }
    }
}

/// The node's own address among the configured ones, addresses without identity, a name, and one where nobody is.
#[tokio::test]
async fn configured_addresses_may_be_of_any_kind() {
    let mut a = Node::new(1, &[]).await;
    let plain = a.address().to_string();
    let plain = plain.split("/p2p/").next().expect("an address");
    let named = plain.replace("/ip4/127.0.0.1/", "/dns4/localhost/");
    for (seed, address) in [(2, plain), (3, &named)] {
        let nobody = "/dns4/nobody.invalid/tcp/1".parse().expect("an address");
        let mut config = config(seed, &[nobody, address.parse().expect("an address")]);
        let free = TcpListener::bind("127.0.0.1:0").expect("binds");
        let own = format!(
            "/ip4/127.0.0.1/tcp/{}",
            free.local_addr().expect("bound").port()
        );
        drop(free);
        config.listen = vec![own.parse().expect("an address")];
        config.peers.insert(0, own.parse().expect("an address"));
        let mut node = Node::start(config).await;
        node.connected(a.peer()).await;
        a.connected(node.peer()).await;
        assert_eq!(node.peers(), [a.peer()], "{address}");
    }
}

/// Both dial each other at one moment: whatever connections that makes, each says `Connected` once.
#[tokio::test]
async fn dialling_each_other_at_once_is_one_peer() {
    let free = || TcpListener::bind("127.0.0.1:0").expect("binds");
    let (one, two) = (free(), free());
    let address = |listener: &TcpListener| -> Multiaddr {
        let port = listener.local_addr().expect("bound").port();
        format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("valid")
    };
    let (first, second) = (address(&one), address(&two));
    drop((one, two));
    let mut left = config(1, std::slice::from_ref(&second));
    left.listen = vec![first.clone()];
    let mut right = config(2, std::slice::from_ref(&first));
    right.listen = vec![second];
    let (mut a, mut b) = tokio::join!(Node::start(left), Node::start(right));
    a.connected(b.peer()).await;
    b.connected(a.peer()).await;
    let sent = a.network.publish(p2p::Channel::Consensus, b"x".to_vec());
    assert_eq!(sent.expect("told").await, p2p::Published::Sent);
    match b.next().await {
        Event::Gossip(gossip) => assert_eq!(gossip.data, b"x"),
        other => panic!("{other:?}"),
    }
    assert_eq!(a.peers(), [b.peer()]);
}
