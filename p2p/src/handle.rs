//! The handle by which the node uses the network, and what can go wrong.

use crate::{
    Event, Fault, Metrics, Multiaddr, Peer, PeerInfo, Published, Request, Response, Verdict,
    config::Config,
    frames::Asked,
    gossip::{Channel, EDITION_BYTES, GossipId},
    messages::{Answer, Question},
    metrics::{Counters, add},
    task,
};
use ledger::codec;
use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Publications and verdicts on their way to the network task. It takes tens of thousands a second.
const COMMANDS_MAX: usize = 8192;
/// Publications of the other channels on their way. A lane of their own, so that consensus never queues behind them.
const BULK_MAX: usize = 256;
/// Requests of this node without an answer, all peers together. More wait their turn.
const REQUESTS_OUT_MAX: usize = 128;
/// Those to one peer, the ones that wait for their turn counted; more are refused at once. A few that are silent must not
/// take the turns of all others; a node has a head, blocks, and some bodies and chunks to ask one peer for.
const REQUESTS_OUT_PER_PEER_MAX: usize = 16;
/// What a request may take beyond its timeout before this side gives up on its own network task.
const GRACE: Duration = Duration::from_secs(5);

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot set up the network: {0}")]
    Setup(String),
}

/// Why a message was not even tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The channel carries no message of that size.
    #[error("{found} bytes, the channel carries at most {max}")]
    TooLarge {
        /// Bytes of the message.
        found: usize,
        /// Bytes allowed: [`Channel::bytes_max`].
        max: usize,
    },
    /// The network task has more to do than it can.
    #[error("the network is busy")]
    Busy,
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RequestError {
    /// It did not come in time.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The peer is not connected, or was lost.
    #[error("the peer is not connected")]
    Disconnected,
    /// The peer does not answer this, or not now.
    #[error("the peer refused to answer")]
    Refused,
    /// The answer, or the request itself, is larger than allowed.
    #[error("the message is too large")]
    TooLarge,
    /// The answer is no answer to this question.
    #[error("the answer is malformed")]
    Malformed,
    /// Too many requests to this peer wait for their answers.
    #[error("too many requests to this peer are under way")]
    Busy,
}

/// What the task is told.
pub(crate) enum Command {
    Publish {
        channel: Channel,
        data: Vec<u8>,
        done: oneshot::Sender<Published>,
    },
    Verdict {
        id: GossipId,
        from: Peer,
        verdict: Verdict,
    },
    Penalize {
        peer: Peer,
        fault: Fault,
    },
    Request {
        peer: Peer,
        asked: Asked,
        done: oneshot::Sender<Result<Vec<u8>, RequestError>>,
    },
    Stop {
        done: oneshot::Sender<()>,
    },
}

/// What the task shows of itself.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) counters: Counters,
    peers: Mutex<Vec<PeerInfo>>,
    listening: Mutex<Vec<Multiaddr>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn set_peers(&self, peers: Vec<PeerInfo>) {
        *lock(&self.peers) = peers;
    }

    pub(crate) fn set_listening(&self, addresses: Vec<Multiaddr>) {
        *lock(&self.listening) = addresses;
    }
}

/// A running network. Clones are the same network; it ends with [`Network::stop`] or with the last clone.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    commands: mpsc::Sender<Command>,
    bulk: mpsc::Sender<Command>,
    requests: Semaphore,
    requests_to: Mutex<HashMap<Peer, usize>>,
    request_timeout: Duration,
    shared: Arc<Shared>,
    local: Peer,
}

/// The two lanes to the task.
pub(crate) struct Lanes {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) bulk: mpsc::Receiver<Command>,
}

impl Network {
    /// Starts. When it returns, every address is bound and [`Network::listening`] knows them.
    ///
    /// # Errors
    /// [`Error::Listen`] names an address that cannot be listened on, such as one whose port is taken.
    pub async fn start(config: Config) -> Result<(Self, mpsc::Receiver<Event>), Error> {
        let local = Peer::from_public_key(&config.key.public_key())
            .ok_or_else(|| Error::Setup("the node's key has no public half".to_owned()))?;
        let shared = Arc::new(Shared::default());
        let (commands, commands_taken) = mpsc::channel(COMMANDS_MAX);
        let (bulk, bulk_taken) = mpsc::channel(BULK_MAX);
        let request_timeout = config.limits.request_timeout;
        let lanes = Lanes {
            commands: commands_taken,
            bulk: bulk_taken,
        };
        let events = task::start(config, Arc::clone(&shared), lanes).await?;
        let network = Self(Arc::new(Inner {
            commands,
            bulk,
            requests: Semaphore::new(REQUESTS_OUT_MAX),
            requests_to: Mutex::default(),
            request_timeout,
            shared,
            local,
        }));
        Ok((network, events))
    }

    /// This node, as its peers know it.
    pub fn local(&self) -> Peer {
        self.0.local
    }

    /// The addresses it listens on, each with `/p2p/ID`.
    pub fn listening(&self) -> Vec<Multiaddr> {
        lock(&self.0.shared.listening).clone()
    }

    /// The connected peers.
    pub fn peers(&self) -> Vec<PeerInfo> {
        lock(&self.0.shared.peers).clone()
    }

    /// The counters.
    pub fn metrics(&self) -> Metrics {
        self.0.shared.counters.read()
    }

    /// Publishes a message to all peers. It is on its way when this returns: the [`Publication`] need not be awaited.
    ///
    /// The same content is published once; whoever publishes it again within [`crate::DUPLICATES_REMEMBERED`] changes
    /// nothing.
    ///
    /// # Errors
    /// [`PublishError`] names the reason.
    pub fn publish(&self, channel: Channel, data: Vec<u8>) -> Result<Publication, PublishError> {
        self.publish_edition(channel, data, 0)
    }

    /// Publishes a message although it may have been published before, for those that have come since or have lost it:
    /// a vote that is said again because nothing goes on.
    ///
    /// # Errors
    /// [`PublishError`] names the reason.
    pub fn publish_again(
        &self,
        channel: Channel,
        data: Vec<u8>,
    ) -> Result<Publication, PublishError> {
        // The standard library's hasher is seeded anew each time: all that is wanted is another number than before.
        let seed = RandomState::new().build_hasher().finish();
        let edition = u32::try_from(seed & 0xffff_ffff).unwrap_or(1).max(1);
        self.publish_edition(channel, data, edition)
    }

    fn publish_edition(
        &self,
        channel: Channel,
        mut data: Vec<u8>,
        edition: u32,
    ) -> Result<Publication, PublishError> {
        let (found, max) = (data.len(), channel.bytes_max());
        if found > max {
            return Err(PublishError::TooLarge { found, max });
        }
        const { assert!(size_of::<u32>() == EDITION_BYTES) };
        data.extend_from_slice(&edition.to_be_bytes());
        let lane = match channel {
            Channel::Consensus => &self.0.commands,
            Channel::Transactions | Channel::Attestations => &self.0.bulk,
        };
        let (done, outcome) = oneshot::channel();
        let command = Command::Publish {
            channel,
            data,
            done,
        };
        lane.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PublishError::Busy,
            mpsc::error::TrySendError::Closed(_) => PublishError::Stopped,
        })?;
        Ok(Publication(outcome))
    }

    /// Says what the node thinks of a message, once for each [`crate::Gossip`].
    pub fn verdict(&self, id: GossipId, from: Peer, verdict: Verdict) {
        let told = self
            .0
            .commands
            .try_send(Command::Verdict { id, from, verdict });
        if told.is_err() {
            // As if ignored: the message is not forwarded, and forgotten in a few seconds.
            add(&self.0.shared.counters.gossip_dropped, 1);
        }
    }

    /// Counts a proven lie against a peer. Too many, and it is disconnected and blocked for a while.
    pub fn penalize(&self, peer: Peer, fault: Fault) {
        if self
            .0
            .commands
            .try_send(Command::Penalize { peer, fault })
            .is_err()
        {
            tracing::warn!(%peer, ?fault, "a fault was not counted: the network is busy");
        }
    }

    /// Asks a connected peer.
    ///
    /// # Errors
    /// [`RequestError`] says why there is no answer. `Malformed` is a lie; the others are not.
    pub async fn request(&self, peer: Peer, request: Request) -> Result<Response, RequestError> {
        if !request.is_bounded() {
            return Err(RequestError::TooLarge);
        }
        let asked = Asked {
            answer_bytes_max: request.answer_bytes_max(),
            bytes: codec::encode(&Question::Node(request.clone())),
        };
        if asked.bytes.len() > crate::REQUEST_BYTES_MAX as usize {
            return Err(RequestError::TooLarge);
        }
        let stopped = RequestError::Disconnected;
        let _one_of_this_peer = RequestTo::begin(&self.0.requests_to, peer)?;
        let _one_of_all = self.0.requests.acquire().await.map_err(|_| stopped)?;
        let (done, answer) = oneshot::channel();
        let command = Command::Request { peer, asked, done };
        self.0.commands.send(command).await.map_err(|_| stopped)?;
        let bytes = tokio::time::timeout(self.0.request_timeout + GRACE, answer)
            .await
            .map_err(|_| RequestError::Timeout)?
            .map_err(|_| stopped)??;
        match codec::decode(&bytes, bytes.len()) {
            Ok(Answer::Node(response)) if request.is_answered_by(&response) => Ok(response),
            Ok(_) | Err(_) => Err(RequestError::Malformed),
        }
    }

    /// Closes all connections and ports, and returns when that is done.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.0.commands.send(Command::Stop { done }).await.is_ok() {
            // An error means that the task ended by itself.
            let _ = stopped.await;
        }
    }
}

/// A request to a peer, counted from before it waits for its turn until its end.
struct RequestTo<'a> {
    counts: &'a Mutex<HashMap<Peer, usize>>,
    peer: Peer,
}

impl<'a> RequestTo<'a> {
    fn begin(counts: &'a Mutex<HashMap<Peer, usize>>, peer: Peer) -> Result<Self, RequestError> {
        let mut locked = lock(counts);
        let count = locked.entry(peer).or_default();
        if *count >= REQUESTS_OUT_PER_PEER_MAX {
            return Err(RequestError::Busy);
        }
        *count += 1;
        Ok(Self { counts, peer })
    }
}

impl Drop for RequestTo<'_> {
    fn drop(&mut self) {
        let mut counts = lock(self.counts);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

/// What becomes of a published message, for those who want to know.
#[derive(Debug)]
pub struct Publication(oneshot::Receiver<Published>);

impl Future for Publication {
    type Output = Published;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Published> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|outcome| outcome.unwrap_or(Published::NoPeers))
    }
}
