//! A node under test.

use ledger::{hash::ChainId, keys::SecretKey};
use p2p::{Config, Event, Gossip, Multiaddr, Network, Peer, PeerInfo, Verdict};
use std::time::Duration;
use tokio::{sync::mpsc, time::Instant};

/// How long anything may take before a test fails. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The chain of all nodes that are not of another.
pub const CHAIN: ChainId = ChainId([0xc4; 32]);

pub struct Node {
    pub network: Network,
    pub events: mpsc::Receiver<Event>,
}

/// A configuration for a node that dials whom it is told to and looks for nobody else.
pub fn config(seed: u8, peers: &[Multiaddr]) -> Config {
    let mut config = Config::new(SecretKey::from_seed([seed; 32]), CHAIN);
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    config.peers = peers.to_vec();
    config.limits.peers_target = 0;
    config.limits.redial_first = Duration::from_millis(50);
    config.limits.redial_max = Duration::from_millis(500);
    config
}

impl Node {
    pub async fn start(config: Config) -> Self {
        let (network, events) = Network::start(config).await.expect("starts");
        Self { network, events }
    }

    pub async fn new(seed: u8, peers: &[Multiaddr]) -> Self {
        Self::start(config(seed, peers)).await
    }

    /// Its address, with its identity.
    pub fn address(&self) -> Multiaddr {
        self.network
            .listening()
            .first()
            .cloned()
            .expect("listens somewhere")
    }

    pub fn peer(&self) -> Peer {
        self.network.local()
    }

    /// The next event.
    pub async fn next(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .unwrap_or_else(|_| panic!("nothing happened at {}", self.peer()))
            .expect("the network runs")
    }

    /// Takes events until one is what is waited for.
    pub async fn wait<T>(&mut self, what: &str, mut found: impl FnMut(Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            match tokio::time::timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) => {
                    let text = format!("{event:?}");
                    if let Some(value) = found(event) {
                        return value;
                    }
                    others.push(text);
                }
                other => panic!("no {what}, but {others:#?}, then {other:?}"),
            }
        }
    }

    pub async fn connected(&mut self, to: Peer) {
        self.wait(&format!("connection to {to}"), |event| match event {
            Event::Connected { peer } if peer == to => Some(()),
            _ => None,
        })
        .await;
    }

    pub async fn disconnected(&mut self, from: Peer) {
        self.wait(&format!("loss of {from}"), |event| match event {
            Event::Disconnected { peer } if peer == from => Some(()),
            _ => None,
        })
        .await;
    }

    pub async fn gossip(&mut self) -> Gossip {
        self.wait("gossip", |event| match event {
            Event::Gossip(gossip) => Some(gossip),
            _ => None,
        })
        .await
    }

    /// Takes the next message, checks it, and gives a verdict.
    pub async fn hear(&mut self, expected: &[u8], verdict: Verdict) {
        let gossip = self.gossip().await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(text(&gossip.data), text(expected), "at {}", self.peer());
        self.network.verdict(gossip.id, gossip.from, verdict);
    }

    pub fn peers(&self) -> Vec<Peer> {
        let peer = |info: PeerInfo| info.peer;
        self.network.peers().into_iter().map(peer).collect()
    }
}

/// Waits until something holds that no event tells of.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Two nodes, connected: the second dialled the first.
pub async fn pair() -> (Node, Node) {
    let mut first = Node::new(1, &[]).await;
    let mut second = Node::new(2, &[first.address()]).await;
    first.connected(second.peer()).await;
    second.connected(first.peer()).await;
    (first, second)
}
