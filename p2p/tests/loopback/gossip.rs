//! Gossip down a line of nodes: once, only what was accepted, and none from who is blocked.

use crate::net::{Node, config, pair};
use ledger::units::Height;
use p2p::{Channel, Event, PublishError, Published, Request, Response, Verdict};

/// Four nodes in a line. What the second accepts reaches the fourth, once; what it only ignores reaches nobody behind it.
#[tokio::test]
async fn gossip_goes_down_the_line_once_and_only_when_accepted() {
    let mut nodes: Vec<Node> = Vec::new();
    for seed in 1..=4 {
        let before: Vec<_> = nodes.last().map(Node::address).into_iter().collect();
        let mut node = Node::new(seed, &before).await;
        if let Some(last) = nodes.last_mut() {
            node.connected(last.peer()).await;
            last.connected(node.peer()).await;
        }
        nodes.push(node);
    }
    let [a, b, c, d] = nodes.as_mut_slice() else {
        panic!("four nodes")
    };

    let publish = |data: &[u8]| a.network.publish(Channel::Consensus, data.to_vec());
    assert_eq!(publish(b"ignored").expect("told").await, Published::Sent);
    assert_eq!(publish(b"first").expect("told").await, Published::Sent);
    assert_eq!(publish(b"first").expect("told").await, Published::Known);
    assert_eq!(publish(b"second").expect("told").await, Published::Sent);

    b.hear(b"ignored", Verdict::Ignore).await;
    for data in [b"first".as_slice(), b"second"] {
        for node in [&mut *b, &mut *c, &mut *d] {
            node.hear(data, Verdict::Accept).await;
        }
    }
    // The last message has gone the whole way: whatever was going to come twice, or behind the back of the second node,
    // would have come by the time another has.
    let last = d.network.publish(Channel::Transactions, b"back".to_vec());
    assert_eq!(last.expect("told").await, Published::Sent);
    for node in [c, b, a] {
        node.hear(b"back", Verdict::Accept).await;
    }
}

#[tokio::test]
async fn the_same_words_can_be_said_again() {
    let (a, mut b) = pair().await;
    let vote = b"vote".to_vec();
    let first = a.network.publish(Channel::Consensus, vote.clone());
    assert_eq!(first.expect("told").await, Published::Sent);
    b.hear(b"vote", Verdict::Accept).await;
    for _ in 0..3 {
        let again = a.network.publish_again(Channel::Consensus, vote.clone());
        assert_eq!(again.expect("told").await, Published::Sent);
        b.hear(b"vote", Verdict::Accept).await;
    }
}

#[tokio::test]
async fn every_channel_carries_its_largest_message_and_no_larger() {
    let (a, mut b) = pair().await;
    for channel in Channel::ALL {
        let max = channel.bytes_max();
        let error = a.network.publish(channel, vec![7; max + 1]).err();
        assert_eq!(
            error,
            Some(PublishError::TooLarge {
                found: max + 1,
                max
            })
        );
        let sent = a
            .network
            .publish(channel, vec![7; max])
            .expect("told")
            .await;
        assert_eq!(sent, Published::Sent);
        let gossip = b.gossip().await;
        assert_eq!((gossip.channel, gossip.data.len()), (channel, max));
        assert!(gossip.data.iter().all(|byte| *byte == 7));
        assert_eq!(gossip.from, a.peer());
    }
    let metrics = b.network.metrics();
    assert_eq!((metrics.gossip_in_messages, metrics.gossip_dropped), (3, 0));
}

#[tokio::test]
async fn nobody_to_hear_is_no_error() {
    let node = Node::new(1, &[]).await;
    let sent = node.network.publish(Channel::Consensus, b"alone".to_vec());
    assert_eq!(sent.expect("told").await, Published::NoPeers);
    assert_eq!(node.network.metrics().gossip_unheard, 1);
    node.network.stop().await;
    let stopped = node.network.publish(Channel::Consensus, b"late".to_vec());
    assert_eq!(stopped.err(), Some(PublishError::Stopped));
}

/// What is rejected counts against who sent it. At the threshold it is cut off, cannot come back, and can when its time
/// is over.
#[tokio::test]
async fn who_sends_lies_is_blocked_for_a_while() {
    let mut strict = config(1, &[]);
    strict.limits.faults_max = 2;
    strict.limits.block_for = std::time::Duration::from_secs(2);
    let mut a = Node::start(strict).await;
    let mut b = Node::new(2, &[a.address()]).await;
    a.connected(b.peer()).await;
    b.connected(a.peer()).await;

    for lie in [b"lie 1", b"lie 2"] {
        assert_eq!(a.peers(), [b.peer()], "one lie is not enough");
        let sent = b.network.publish(Channel::Attestations, lie.to_vec());
        assert_eq!(sent.expect("told").await, Published::Sent);
        a.hear(lie, Verdict::Reject).await;
    }
    a.disconnected(b.peer()).await;
    b.disconnected(a.peer()).await;
    let blocked_at = std::time::Instant::now();
    crate::net::eventually("the blocked peer is turned away", || {
        a.network.metrics().connections_in_failed > 0
    })
    .await;
    let metrics = a.network.metrics();
    assert_eq!((metrics.gossip_rejected, metrics.peers_blocked), (2, 1));

    a.connected(b.peer()).await;
    let blocked_for = blocked_at.elapsed();
    assert!(blocked_for.as_millis() > 1500, "{blocked_for:?}");
}

/// A message that is forwarded is credited to who forwarded it.
#[tokio::test]
async fn the_forwarder_is_named() {
    let (a, mut b) = pair().await;
    let mut c = Node::new(3, &[b.address()]).await;
    c.connected(b.peer()).await;
    b.connected(c.peer()).await;
    let sent = a.network.publish(Channel::Consensus, b"news".to_vec());
    assert_eq!(sent.expect("told").await, Published::Sent);
    b.hear(b"news", Verdict::Accept).await;
    let from = c
        .wait("news", |event| match event {
            Event::Gossip(gossip) => Some(gossip.from),
            _ => None,
        })
        .await;
    assert_eq!(from, b.peer());
}

/// Who hears no gossip is answered all the same, and known by what it asks; what others say passes it by.
#[tokio::test]
async fn who_hears_no_gossip_can_ask() {
    let (mut a, mut b) = pair().await;
    let mut deaf = config(3, &[a.address()]);
    deaf.hears_gossip = false;
    let mut deaf = Node::start(deaf).await;
    deaf.connected(a.peer()).await;
    let (asker, to) = (deaf.network.clone(), a.peer());
    let question = Request::Root { height: Height(1) };
    let asking = tokio::spawn(async move { asker.request(to, question).await });
    let (from, reply) = a
        .wait("a request", |event| match event {
            Event::Request { from, reply, .. } => Some((from, reply)),
            _ => None,
        })
        .await;
    assert_eq!(from, deaf.peer());
    assert!(a.peers().contains(&from));
    reply.send(Response::Root(None));
    assert!(asking.await.expect("it was asked").is_ok());
    let said = a.network.publish(Channel::Consensus, b"vote".to_vec());
    assert_eq!(said.expect("told").await, Published::Sent);
    b.hear(b"vote", Verdict::Accept).await;
    // It comes after whatever a could have told it before.
    let (asker, question) = (deaf.network.clone(), Request::Root { height: Height(2) });
    tokio::spawn(async move { asker.request(to, question).await });
    let reply = a.wait("a request", |event| match event {
        Event::Request { reply, .. } => Some(reply),
        _ => None,
    });
    reply.await.send(Response::Root(None));
    let heard = std::iter::from_fn(|| deaf.events.try_recv().ok());
    let gossip = heard.filter(|event| matches!(event, Event::Gossip(_)));
    assert_eq!(gossip.count(), 0);
}
