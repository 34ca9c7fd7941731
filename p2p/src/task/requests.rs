//! Questions out and in, with bounds on how many, and on the bytes of answers that wait for slow readers.

use super::Task;
use crate::{
    config::Limits,
    event::{Event, Reply},
    faults::Fault,
    frames::{Asked, FrameError},
    handle::RequestError,
    messages::{Answer, PEERS_BYTES_MAX, PEERS_TOLD_MAX, Payload, Question},
    metrics::{add, add_bytes},
    peer::{ip, is_dialable, split_identity},
};
use ledger::codec;
use libp2p::{
    Multiaddr, PeerId,
    futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered},
    multiaddr::Protocol,
    request_response::{
        self, InboundRequestId, Message, OutboundFailure, OutboundRequestId, ResponseChannel,
    },
};
use std::{
    collections::HashMap,
    io,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Requests of the node to one peer without an answer, those counted that it has given up on.
const OUT_PER_PEER_MAX: usize = 32;
/// Requests from one peer that are being answered. More than a peer has under way by its own count, since here an answer
/// counts until it is written and there until it is read. Both ways together they fit the streams of one connection.
const IN_PER_PEER_MAX: usize = 48;
/// Requests from all peers that are being answered.
const IN_MAX: usize = 256;
/// Bytes of answers under way to one peer, and to all together. The largest answer fits.
const ANSWER_BYTES_PER_PEER_MAX: usize = 48 << 20;
const ANSWER_BYTES_MAX: usize = 256 << 20;

type Done = oneshot::Sender<Result<Vec<u8>, RequestError>>;

/// Whose question it is.
enum Asker {
    Node(Done),
    /// This task, looking for peers.
    Discovery,
}

struct Outgoing {
    peer: PeerId,
    asker: Asker,
}

/// A question from a peer, from when it is read until its answer is written.
struct Incoming {
    peer: PeerId,
    /// Gone once the answer is given.
    channel: Option<ResponseChannel<Vec<u8>>>,
    bytes: usize,
}

/// The node's answer to a question; none is a refusal.
pub(super) struct Answered {
    id: InboundRequestId,
    bytes: Option<Vec<u8>>,
}

/// All that is under way.
pub(super) struct Requests {
    timeout: Duration,
    outgoing: HashMap<OutboundRequestId, Outgoing>,
    incoming: HashMap<InboundRequestId, Incoming>,
    answers: FuturesUnordered<BoxFuture<'static, Answered>>,
}

impl Requests {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            timeout: limits.request_timeout,
            outgoing: HashMap::new(),
            incoming: HashMap::new(),
            answers: FuturesUnordered::new(),
        }
    }

    /// The next answer of the node; none if it owes none.
    pub(super) async fn answered(&mut self) -> Option<Answered> {
        self.answers.next().await
    }

    /// The node's requests under way to one peer.
    fn outgoing_to(&self, peer: &PeerId) -> usize {
        let node = |o: &&Outgoing| o.peer == *peer && matches!(o.asker, Asker::Node(_));
        self.outgoing.values().filter(node).count()
    }

    fn is_discovering(&self, peer: &PeerId) -> bool {
        let discovery = |o: &Outgoing| o.peer == *peer && matches!(o.asker, Asker::Discovery);
        self.outgoing.values().any(discovery)
    }

    /// Requests and bytes under way to one peer.
    fn incoming_from(&self, peer: &PeerId) -> (usize, usize) {
        let theirs = self.incoming.values().filter(|i| i.peer == *peer);
        theirs.fold((0, 0), |(n, bytes), i| (n + 1, bytes + i.bytes))
    }

    fn has_room_for(&self, peer: &PeerId) -> bool {
        // Those that timed out may still wait for the node's answer.
        let owed = self.incoming.len().max(self.answers.len());
        owed < IN_MAX && self.incoming_from(peer).0 < IN_PER_PEER_MAX
    }

    fn has_room_for_answer(&self, peer: &PeerId, bytes: usize) -> bool {
        let all: usize = self.incoming.values().map(|i| i.bytes).sum();
        let theirs = self.incoming_from(peer).1;
        all + bytes <= ANSWER_BYTES_MAX && theirs + bytes <= ANSWER_BYTES_PER_PEER_MAX
    }
}

fn why(failure: &OutboundFailure) -> RequestError {
    match failure {
        OutboundFailure::Timeout => RequestError::Timeout,
        OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => {
            RequestError::Disconnected
        }
        OutboundFailure::UnsupportedProtocols => RequestError::Refused,
        OutboundFailure::Io(error) => match (FrameError::of(error), error.kind()) {
            (Some(FrameError::TooLarge { .. }), _) => RequestError::TooLarge,
            // Half an answer.
            (None, io::ErrorKind::UnexpectedEof) => RequestError::Disconnected,
            // No answer, or a stream that was closed in the face of who asked.
            _ => RequestError::Refused,
        },
    }
}

impl Task {
    pub(super) fn ask(&mut self, peer: PeerId, asked: Asked, done: Done) {
        add(&self.shared.counters.requests_out, 1);
        let error = if !self.connections.contains(&peer) {
            RequestError::Disconnected
        } else if self.requests.outgoing_to(&peer) >= OUT_PER_PEER_MAX {
            RequestError::Busy
        } else {
            let asker = Asker::Node(done);
            self.send_question(peer, asked, asker);
            return;
        };
        self.end(Asker::Node(done), peer, Err(error));
    }

    pub(super) fn ask_for_peers(&mut self, peer: PeerId) {
        if !self.requests.is_discovering(&peer) {
            let asked = Asked {
                bytes: codec::encode(&Question::Peers),
                answer_bytes_max: PEERS_BYTES_MAX,
            };
            self.send_question(peer, asked, Asker::Discovery);
        }
    }

    fn send_question(&mut self, peer: PeerId, asked: Asked, asker: Asker) {
        let behaviour = &mut self.swarm.behaviour_mut().requests;
        let id = behaviour.send_request(&peer, asked);
        self.requests.outgoing.insert(id, Outgoing { peer, asker });
    }

    fn end(&mut self, asker: Asker, peer: PeerId, result: Result<Vec<u8>, RequestError>) {
        let counters = &self.shared.counters;
        match (&asker, &result) {
            (Asker::Node(_), Err(_)) => add(&counters.requests_out_failed, 1),
            (_, Ok(bytes)) => add_bytes(&counters.responses_in_bytes, bytes.len()),
            _ => {}
        }
        match asker {
            // Whoever asked may have given up.
            Asker::Node(done) => drop(done.send(result)),
            Asker::Discovery => match result {
                Ok(bytes) => self.on_peers_told(peer, &bytes),
                Err(error) => tracing::debug!(%peer, %error, "a peer tells of no others"),
            },
        }
    }

    pub(super) fn on_requests(&mut self, event: request_response::Event<Asked, Vec<u8>>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request {
                    request_id,
                    request,
                    channel,
                } => self.on_question(peer, request_id, &request.bytes, channel),
                Message::Response {
                    request_id,
                    response,
                } => {
                    if let Some(outgoing) = self.requests.outgoing.remove(&request_id) {
                        self.end(outgoing.asker, peer, Ok(response));
                    }
                }
            },
            request_response::Event::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                tracing::debug!(%peer, %error, "a request failed");
                if let Some(outgoing) = self.requests.outgoing.remove(&request_id) {
                    self.end(outgoing.asker, peer, Err(why(&error)));
                }
            }
            request_response::Event::InboundFailure { request_id, .. } => {
                self.requests.incoming.remove(&request_id);
            }
            request_response::Event::ResponseSent { request_id, .. } => {
                if let Some(incoming) = self.requests.incoming.remove(&request_id) {
                    add_bytes(&self.shared.counters.responses_out_bytes, incoming.bytes);
                }
            }
        }
    }

    /// A question from a peer. Wherever this returns early, the channel is dropped, and that refuses.
    fn on_question(
        &mut self,
        id: PeerId,
        request_id: InboundRequestId,
        bytes: &[u8],
        channel: ResponseChannel<Vec<u8>>,
    ) {
        add(&self.shared.counters.requests_in, 1);
        let refused = |task: &Self| add(&task.shared.counters.requests_in_refused, 1);
        let Some(from) = self.announce(id) else {
            return refused(self);
        };
        if !self.requests.has_room_for(&id) {
            return refused(self);
        }
        let request = match codec::decode(bytes, bytes.len()) {
            Ok(Question::Node(request)) if request.is_bounded() => request,
            Ok(Question::Peers) => {
                let answer = codec::encode(&Answer::Peers(self.peers_for(&id)));
                self.hold(id, request_id, channel);
                self.answer(request_id, answer);
                return;
            }
            Ok(_) | Err(_) => {
                self.penalize(id, Fault::Malformed);
                return refused(self);
            }
        };
        let (answer, answered) = oneshot::channel();
        let event = Event::Request {
            from,
            reply: Reply {
                request: request.clone(),
                answer,
            },
            request,
        };
        if !self.pass_on(event) {
            return refused(self);
        }
        self.hold(id, request_id, channel);
        let limited = tokio::time::timeout(self.requests.timeout, answered);
        self.requests.answers.push(Box::pin(async move {
            Answered {
                id: request_id,
                bytes: limited.await.ok().and_then(Result::ok),
            }
        }));
    }

    fn hold(&mut self, peer: PeerId, id: InboundRequestId, channel: ResponseChannel<Vec<u8>>) {
        let incoming = Incoming {
            peer,
            channel: Some(channel),
            bytes: 0,
        };
        self.requests.incoming.insert(id, incoming);
    }

    pub(super) fn on_answered(&mut self, answered: Answered) {
        match answered.bytes {
            Some(bytes) => self.answer(answered.id, bytes),
            None => self.refuse(answered.id),
        }
    }

    fn answer(&mut self, id: InboundRequestId, bytes: Vec<u8>) {
        let Some(peer) = self.requests.incoming.get(&id).map(|i| i.peer) else {
            return;
        };
        if !self.requests.has_room_for_answer(&peer, bytes.len()) {
            return self.refuse(id);
        }
        let Some(incoming) = self.requests.incoming.get_mut(&id) else {
            return;
        };
        incoming.bytes = bytes.len();
        if let Some(channel) = incoming.channel.take() {
            // An error says that the asker is gone; libp2p reports that by an event of its own.
            let _ = self
                .swarm
                .behaviour_mut()
                .requests
                .send_response(channel, bytes);
        }
    }

    /// Drops the channel. The entry stays until libp2p reports the end of the stream.
    fn refuse(&mut self, id: InboundRequestId) {
        if let Some(incoming) = self.requests.incoming.get_mut(&id) {
            incoming.channel = None;
            add(&self.shared.counters.requests_in_refused, 1);
        }
    }

    /// The addresses of the peers here, for one of them. Those on this machine are of use only to who is on it too.
    fn peers_for(&self, asker: &PeerId) -> Vec<Payload> {
        let is_loopback = |address: &Multiaddr| ip(address).is_some_and(|ip| ip.is_loopback());
        let near = self.connections.address(asker).is_some_and(is_loopback);
        let told = self
            .connections
            .listening()
            .filter(|(peer, _)| peer != asker)
            .flat_map(|(peer, addresses)| addresses.iter().map(move |a| (peer, a)))
            .filter(|(_, address)| near || !is_loopback(address))
            .map(|(peer, address)| address.clone().with(Protocol::P2p(peer)).to_vec().into());
        told.take(PEERS_TOLD_MAX).collect()
    }

    fn on_peers_told(&mut self, source: PeerId, bytes: &[u8]) {
        let told = match codec::decode(bytes, bytes.len()) {
            Ok(Answer::Peers(told)) if told.len() <= PEERS_TOLD_MAX => told,
            Ok(_) | Err(_) => return self.penalize(source, Fault::Malformed),
        };
        let now = Instant::now();
        for Payload(bytes) in told {
            let address = Multiaddr::try_from(bytes).ok().map(split_identity);
            if let Some((address, Some(peer))) = address
                && peer != self.local
                && is_dialable(&address)
            {
                self.dialing.heard(source, peer, address, now);
            }
        }
        self.dial_due(now);
    }
}
