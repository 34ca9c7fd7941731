//! Requests: each has exactly one end, an answer or an error that says why.

use crate::net::{Node, config, pair};
use ledger::{
    hash::{ChainId, Hash, StateRoot, TxId},
    units::Height,
};
use p2p::{Event, Peer, Reply, Request, RequestError, Response, Status};
use std::time::Duration;

async fn asked(node: &mut Node) -> (Peer, Request, Reply) {
    node.wait("request", |event| match event {
        Event::Request {
            from,
            request,
            reply,
        } => Some((from, request, reply)),
        _ => None,
    })
    .await
}

/// Asks and answers at once.
async fn exchange(
    asker: &Node,
    answerer: &mut Node,
    request: Request,
    answer: impl FnOnce(Reply),
) -> Result<Response, RequestError> {
    let peer = answerer.peer();
    let ask = asker.network.request(peer, request.clone());
    let respond = async {
        let (from, seen, reply) = asked(answerer).await;
        assert_eq!((from, seen), (asker.peer(), request.clone()));
        answer(reply);
    };
    tokio::join!(ask, respond).0
}

#[tokio::test]
async fn questions_are_answered() {
    let (a, mut b) = pair().await;
    let status = Response::Status(Box::new(Status {
        chain: ChainId([1; 32]),
        version: 1,
        height: Height(9),
        earliest_block: Height(1),
        head: Some(b"header and certificate".to_vec().into()),
        snapshots: Vec::new(),
    }));
    let blocks = Response::Blocks(vec![vec![1; 1000].into(), vec![2; 20 << 20].into()]);
    let cases = [
        (Request::Status, status),
        (
            Request::Blocks {
                from: Height(1),
                max: 2,
            },
            blocks,
        ),
        (
            Request::Bodies {
                ids: (0..=255).map(|i| TxId([i; 32])).collect(),
            },
            Response::Bodies(Vec::new()),
        ),
        (
            Request::Chunk {
                id: Hash([4; 32]),
                base: None,
            },
            Response::Chunk(None),
        ),
        (
            Request::Root { height: Height(5) },
            Response::Root(Some(StateRoot([5; 32]))),
        ),
        (
            Request::Blocks {
                from: Height(1),
                max: 2,
            },
            Response::NotHere {
                earliest: Height(7),
            },
        ),
    ];
    let count = cases.len() as u64;
    for (request, response) in cases {
        let answer = response.clone();
        let got = exchange(&a, &mut b, request.clone(), |reply| reply.send(answer)).await;
        assert!(got == Ok(response), "{request:?}: {:?}", got.err());
    }
    let (asked, answered) = (a.network.metrics(), b.network.metrics());
    assert_eq!((asked.requests_out, asked.requests_out_failed), (count, 0));
    assert_eq!(answered.requests_in_refused, 0);
}

#[tokio::test]
async fn a_dropped_reply_is_a_refusal() {
    let (a, mut b) = pair().await;
    let got = exchange(&a, &mut b, Request::Status, drop).await;
    assert_eq!(got, Err(RequestError::Refused));
    let unfit = |reply: Reply| reply.send(Response::Chunk(None));
    let got = exchange(&a, &mut b, Request::Status, unfit).await;
    assert_eq!(
        got,
        Err(RequestError::Refused),
        "an answer that does not fit"
    );
    let huge = |reply: Reply| reply.send(Response::Chunk(Some(vec![0; 9 << 20].into())));
    let request = Request::Chunk {
        id: Hash([1; 32]),
        base: None,
    };
    let got = exchange(&a, &mut b, request, huge).await;
    assert_eq!(got, Err(RequestError::Refused), "an answer too large");
}

#[tokio::test]
async fn an_answer_larger_than_the_asker_takes_is_too_large() {
    let mut first = Node::new(1, &[]).await;
    let mut modest = config(2, &[first.address()]);
    modest.limits.response_bytes_max = 1000;
    let mut second = Node::start(modest).await;
    first.connected(second.peer()).await;
    second.connected(first.peer()).await;
    let request = Request::Chunk {
        id: Hash([1; 32]),
        base: None,
    };
    for (bytes, fits) in [(900, true), (1001, false), (8000 << 10, false), (1, true)] {
        let answer = Response::Chunk(Some(vec![0; bytes].into()));
        let expected = if fits {
            Ok(answer.clone())
        } else {
            Err(RequestError::TooLarge)
        };
        let send = |reply: Reply| reply.send(answer);
        let got = exchange(&second, &mut first, request.clone(), send).await;
        assert!(got == expected, "{bytes} bytes: {:?}", got.err());
    }
}

#[tokio::test]
async fn no_answer_is_a_timeout_and_no_peer_is_disconnected() {
    let mut first = Node::new(1, &[]).await;
    let mut hasty = config(2, &[first.address()]);
    hasty.limits.request_timeout = Duration::from_millis(300);
    let mut second = Node::start(hasty).await;
    first.connected(second.peer()).await;
    second.connected(first.peer()).await;
    let got = {
        let ask = second.network.request(first.peer(), Request::Status);
        let (got, (_, _, reply)) = tokio::join!(ask, asked(&mut first));
        drop(reply);
        got
    };
    assert_eq!(got, Err(RequestError::Timeout));
    assert_eq!(second.peers(), [first.peer()], "slowness is no fault");

    let stranger = Node::new(3, &[]).await;
    let got = second
        .network
        .request(stranger.peer(), Request::Status)
        .await;
    assert_eq!(got, Err(RequestError::Disconnected));

    let ask = second.network.request(first.peer(), Request::Status);
    let (got, ()) = tokio::join!(ask, async {
        let _reply = asked(&mut first).await;
        first.network.stop().await;
    });
    assert_eq!(got, Err(RequestError::Disconnected));
}

#[tokio::test]
async fn requests_past_the_bounds_are_not_sent() {
    let (a, b) = pair().await;
    let requests = [
        Request::Bodies {
            ids: vec![TxId([0; 32]); 2],
        },
        Request::Blocks {
            from: Height(1),
            max: p2p::BLOCKS_ASKED_MAX + 1,
        },
    ];
    for request in requests {
        let got = a.network.request(b.peer(), request).await;
        assert_eq!(got, Err(RequestError::TooLarge));
    }
}

/// Forty requests at once, none answered: 16 are under way, the others are told at once that it is too many. What ends
/// makes room.
#[tokio::test]
async fn requests_to_one_peer_are_bounded() {
    let (a, mut b) = pair().await;
    let asks: Vec<_> = (0..40)
        .map(|_| {
            let (network, peer) = (a.network.clone(), b.peer());
            tokio::spawn(async move { network.request(peer, Request::Status).await })
        })
        .collect();
    let mut replies = Vec::new();
    for _ in 0..16 {
        replies.push(asked(&mut b).await.2);
    }
    crate::net::eventually("the others are told", || {
        asks.iter().filter(|ask| ask.is_finished()).count() == 24
    })
    .await;
    drop(replies);
    let mut counts = (0, 0);
    for ask in asks {
        match ask.await.expect("does not panic") {
            Err(RequestError::Refused) => counts.0 += 1,
            Err(RequestError::Busy) => counts.1 += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counts, (16, 24), "refused, busy");
    let again = exchange(&a, &mut b, Request::Status, drop).await;
    assert_eq!(again, Err(RequestError::Refused), "there is room again");
}

/// Four silent peers are asked more than they may be: a fifth is still asked, and answers while they are silent.
#[tokio::test]
async fn silent_peers_leave_turns_for_others() {
    let mut a = Node::new(1, &[]).await;
    let mut silent = Vec::new();
    let mut asks = Vec::new();
    for seed in 2..6 {
        let mut peer = Node::new(seed, &[a.address()]).await;
        a.connected(peer.peer()).await;
        peer.connected(a.peer()).await;
        for _ in 0..40 {
            let (network, to) = (a.network.clone(), peer.peer());
            asks.push(tokio::spawn(async move {
                network.request(to, Request::Status).await
            }));
        }
        silent.push(peer);
    }
    let mut last = Node::new(9, &[a.address()]).await;
    a.connected(last.peer()).await;
    last.connected(a.peer()).await;
    crate::net::eventually("each is asked as much as it may be", || {
        asks.iter().filter(|ask| ask.is_finished()).count() == 4 * 24
    })
    .await;
    let got = exchange(&a, &mut last, Request::Status, drop).await;
    assert_eq!(got, Err(RequestError::Refused), "asked and answered");
    asks.iter().for_each(tokio::task::JoinHandle::abort);
}
