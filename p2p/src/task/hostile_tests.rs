//! Peers that speak the protocol and mean harm: this crate's own swarm, driven by hand.

use crate::{
    Channel, Config, Event, Multiaddr, Network, Peer, Request, RequestError, Response,
    behaviour::{self, Behaviour, BehaviourEvent},
    frames::Asked,
    messages::{Answer, PEERS_TOLD_MAX, Payload, Question},
    peer::split_identity,
};
use ledger::{codec, hash::ChainId, keys::SecretKey};
use libp2p::{
    PeerId, Swarm, SwarmBuilder,
    futures::StreamExt,
    multiaddr::Protocol,
    noise, ping,
    request_response::{Event as Requests, Message},
    swarm::SwarmEvent,
    tcp, yamux,
};
use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};

const PATIENCE: Duration = Duration::from_secs(30);

fn config(seed: u8) -> Config {
    let mut config = Config::new(SecretKey::from_seed([seed; 32]), ChainId([1; 32]));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    config
}

/// An honest node, and a swarm that is connected to it.
async fn honest_and_hostile() -> (Network, mpsc::Receiver<Event>, Swarm<Behaviour>) {
    honest_as(config(1)).await
}

async fn honest_as(config: Config) -> (Network, mpsc::Receiver<Event>, Swarm<Behaviour>) {
    let (network, mut events) = Network::start(config).await.expect("starts");
    let mut hostile = behaviour::swarm(&self::config(2)).expect("sets up");
    let address = network.listening().first().cloned().expect("listens");
    hostile.dial(address).expect("dials");
    let connected = async {
        loop {
            tokio::select! {
                _ = hostile.select_next_some() => {}
                event = events.recv() => match event {
                    Some(Event::Connected { .. }) => return,
                    other => panic!("{other:?}"),
                },
            }
        }
    };
    timeout(PATIENCE, connected).await.expect("connects");
    (network, events, hostile)
}

/// Drives the swarm; questions are answered by what `answer` makes of them.
async fn drive(mut swarm: Swarm<Behaviour>, answer: impl Fn(&Question) -> Vec<u8>) {
    loop {
        if let SwarmEvent::Behaviour(BehaviourEvent::Requests(Requests::Message {
            message: Message::Request {
                request, channel, ..
            },
            ..
        })) = swarm.select_next_some().await
        {
            let bytes = &request.bytes;
            let question = codec::decode(bytes, bytes.len()).expect("an honest question");
            let requests = &mut swarm.behaviour_mut().requests;
            let _ = requests.send_response(channel, answer(&question));
        }
    }
}

#[tokio::test]
async fn requests_that_are_no_requests_lead_to_a_block() {
    let (network, mut events, mut hostile) = honest_and_hostile().await;
    let honest = network.local().id();
    let status = codec::encode(&Question::Node(Request::Status));
    let unbounded = codec::encode(&Question::Node(Request::Blocks {
        from: ledger::units::Height(1),
        max: u32::MAX,
    }));
    let lies = [
        vec![0xff; 100],
        unbounded,
        // An honest question, and a byte too many.
        [status.as_slice(), &[0]].concat(),
    ];
    for bytes in lies {
        let asked = Asked {
            bytes,
            answer_bytes_max: 100,
        };
        hostile
            .behaviour_mut()
            .requests
            .send_request(&honest, asked);
    }
    let cut_off = async {
        loop {
            tokio::select! {
                _ = hostile.select_next_some() => {}
                event = events.recv() => match event {
                    Some(Event::Disconnected { peer }) => return peer,
                    other => panic!("{other:?}"),
                },
            }
        }
    };
    let who = timeout(PATIENCE, cut_off).await.expect("is cut off");
    assert_eq!(who.id(), *hostile.local_peer_id());
    let metrics = network.metrics();
    assert_eq!((metrics.requests_in_refused, metrics.peers_blocked), (3, 1));
}

#[tokio::test]
async fn answers_that_are_no_answers_are_malformed() {
    let (network, _events, hostile) = honest_and_hostile().await;
    let peer = Peer::from_id(*hostile.local_peer_id()).expect("a key");
    let lies: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0xff; 1000],
        codec::encode(&Answer::Peers(Vec::new())),
        codec::encode(&Answer::Node(Response::Chunk(None))),
        codec::encode(&Answer::Node(Response::Blocks(vec![Payload(vec![1]); 3]))),
    ];
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let count = lies.len();
    let hostile = tokio::spawn(drive(hostile, move |question| match question {
        Question::Peers => codec::encode(&Answer::Peers(Vec::new())),
        Question::Node(_) => {
            let turn = turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            lies[turn % count].clone()
        }
    }));
    for _ in 0..count {
        let request = Request::Blocks {
            from: ledger::units::Height(1),
            max: 2,
        };
        let got = network.request(peer, request).await;
        assert_eq!(got, Err(RequestError::Malformed));
    }
    // More than a status may have.
    assert_eq!(
        network.request(peer, Request::Status).await,
        Err(RequestError::Malformed)
    );
    hostile.abort();
}

/// A peer that tells of peers: names to look up, this node itself, addresses of nobody. Nothing of it is dialled but what
/// may be, and telling too much is a fault.
#[tokio::test]
async fn rumours_of_peers_are_taken_with_care() {
    let (network, mut events) = Network::start(config(1)).await.expect("starts");
    let local = network.local().id();
    let tell = |text: &str, peer: PeerId| -> Payload {
        let address: Multiaddr = text.parse().expect("an address");
        address.with(Protocol::P2p(peer)).to_vec().into()
    };
    let own = network.listening().first().cloned().expect("listens");
    let own_text = split_identity(own.clone()).0.to_string();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = nobody.local_addr().expect("bound").port();
    drop(nobody);
    let rumours = vec![
        tell("/dns4/example.invalid/tcp/1", PeerId::random()),
        tell("/ip4/0.0.0.0/tcp/1", PeerId::random()),
        tell(&own_text, local),
        Payload(vec![1, 2, 3]),
        // Somebody else is said to be here.
        tell(&own_text, PeerId::random()),
        tell(&format!("/ip4/127.0.0.1/tcp/{port}"), PeerId::random()),
    ];
    let mut hostile = behaviour::swarm(&config(2)).expect("sets up");
    hostile.dial(own).expect("dials");
    let hostile = tokio::spawn(drive(hostile, move |_| {
        codec::encode(&Answer::Peers(rumours.clone()))
    }));
    let first = timeout(PATIENCE, events.recv()).await.expect("in time");
    assert!(matches!(first, Some(Event::Connected { .. })), "{first:?}");
    // The two that may be dialled fail, the one for good and the other again and again until it is given up.
    let failed = async {
        while network.metrics().dials_failed < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, failed).await.expect("dials fail");
    let metrics = network.metrics();
    assert_eq!((metrics.dials_failed, metrics.peers_connected), (4, 1));
    hostile.abort();
}

#[tokio::test]
async fn telling_of_too_many_peers_is_a_fault() {
    let mut strict = config(1);
    strict.limits.faults_max = 1;
    let (network, mut events) = Network::start(strict).await.expect("starts");
    let mut hostile = behaviour::swarm(&config(2)).expect("sets up");
    let own = network.listening().first().cloned().expect("listens");
    hostile.dial(own).expect("dials");
    let crowd = vec![Payload(vec![1]); PEERS_TOLD_MAX + 1];
    let hostile = tokio::spawn(drive(hostile, move |_| {
        codec::encode(&Answer::Peers(crowd.clone()))
    }));
    for came in [true, false] {
        let event = timeout(PATIENCE, events.recv()).await.expect("in time");
        match event {
            Some(Event::Connected { .. }) => assert!(came),
            Some(Event::Disconnected { .. }) => assert!(!came),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(network.metrics().peers_blocked, 1);
    hostile.abort();
}

/// Messages too short to be any are not even delivered; the next good one is.
#[tokio::test]
async fn gossip_that_is_too_short_does_not_come_in() {
    let (network, mut events, mut hostile) = honest_and_hostile().await;
    let topic = Channel::Consensus.topic(&ChainId([1; 32]));
    let heard = async {
        let mut sent = 0;
        let messages: [&[u8]; 3] = [b"", b"abc", b"good\0\0\0\0"];
        loop {
            // Until the honest node's subscription has come, there is nobody to send to.
            while let Some(message) = messages.get(sent) {
                let gossip = &mut hostile.behaviour_mut().gossip;
                match gossip.publish(topic.hash(), message.to_vec()) {
                    Ok(_) => sent += 1,
                    Err(_) => break,
                }
            }
            tokio::select! {
                _ = hostile.select_next_some() => {}
                event = events.recv() => match event {
                    Some(Event::Gossip(gossip)) => return gossip.data,
                    other => panic!("{other:?}"),
                },
            }
        }
    };
    let data = timeout(PATIENCE, heard).await.expect("hears");
    assert_eq!(data, b"good");
    assert_eq!(network.metrics().gossip_in_messages, 1);
}

/// More new messages than any honest peer has: some are taken, as many ignored, then the peer is cut off.
#[tokio::test]
async fn a_flood_of_gossip_is_cut_off() {
    let mut slow = config(1);
    slow.limits.gossip_per_second_max = 100;
    let (network, mut events, mut hostile) = honest_as(slow).await;
    let topic = Channel::Transactions.topic(&ChainId([1; 32]));
    let flooded = async {
        let mut next: u64 = 0;
        loop {
            for _ in 0..64 {
                let data = [next.to_be_bytes(), [0; 8]].concat();
                next += 1;
                let _ = hostile.behaviour_mut().gossip.publish(topic.hash(), data);
            }
            tokio::select! {
                _ = hostile.select_next_some() => {}
                event = events.recv() => match event {
                    Some(Event::Gossip(_)) => {}
                    Some(Event::Disconnected { .. }) => return,
                    other => panic!("{other:?}"),
                },
            }
        }
    };
    timeout(PATIENCE, flooded).await.expect("is cut off");
    let metrics = network.metrics();
    assert_eq!(metrics.peers_blocked, 1);
    assert!(metrics.gossip_in_messages > 400, "{metrics:?}");
    assert!(metrics.gossip_dropped > 200, "{metrics:?}");
}

/// A peer that opens a connection, proves a key, and says nothing of who it is.
#[tokio::test]
async fn a_peer_that_does_not_say_who_it_is_is_turned_away() {
    let (network, mut events) = Network::start(config(1)).await.expect("starts");
    let mut silent = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )
        .expect("sets up")
        .with_behaviour(|_| ping::Behaviour::default())
        .expect("sets up")
        .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE * 2))
        .build();
    let own = network.listening().first().cloned().expect("listens");
    silent.dial(own).expect("dials");
    let turned_away = async {
        loop {
            if let SwarmEvent::ConnectionClosed { .. } = silent.select_next_some().await {
                return;
            }
        }
    };
    timeout(PATIENCE, turned_away).await.expect("turned away");
    assert!(events.try_recv().is_err(), "never announced");
}
