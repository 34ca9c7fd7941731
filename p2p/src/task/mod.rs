//! The task that owns the swarm. Whatever happens comes through [`Task::run`], one at a time; nothing in here waits.

mod announcements;
mod connections;
mod dialing;
mod gossip;
mod requests;

use crate::{
    behaviour::{self, Behaviour, BehaviourEvent},
    config::{Config, Limits},
    event::Event,
    faults::Faults,
    gossip::{Channel, Waiting},
    handle::{Command, Error, Lanes, Shared},
    metrics::{add, set},
    peer::split_identity,
};
use announcements::Announcements;
use connections::Connections;
use dialing::Dialing;
use gossip::Rates;
use libp2p::{
    Multiaddr, PeerId, Swarm, core::transport::ListenerId, futures::StreamExt,
    gossipsub::TopicHash, multiaddr::Protocol, swarm::SwarmEvent,
};
use requests::Requests;
use std::{
    collections::{HashMap, HashSet},
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Events that wait for the node. More than gossip and requests together may have waiting, so that there is always room
/// for news of the peers.
const EVENTS_MAX: usize = 8192;
/// How often time is looked at: for dials, blocks that end, peers that do not identify themselves.
const TICK: Duration = Duration::from_millis(200);
/// How long the operating system may take to name the addresses listened on.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

struct Task {
    swarm: Swarm<Behaviour>,
    local: PeerId,
    limits: Limits,
    /// What peers of this chain say that they speak.
    spoken: String,
    topics: HashMap<TopicHash, Channel>,
    shared: Arc<Shared>,
    events: mpsc::Sender<Event>,
    announcements: Announcements,
    connections: Connections,
    dialing: Dialing,
    faults: Faults,
    waiting: Waiting,
    rates: Rates,
    requests: Requests,
}

/// What the loop does next.
enum Step {
    Swarm(Box<SwarmEvent<BehaviourEvent>>),
    Command(Option<Command>),
    Bulk(Option<Command>),
    Answered(requests::Answered),
    Resolved(dialing::Resolved),
    Tick,
    /// There is room for an event, or nobody takes events any more.
    Room(bool),
}

/// Binds every address, then spawns the task.
pub(crate) async fn start(
    config: Config,
    shared: Arc<Shared>,
    lanes: Lanes,
) -> Result<mpsc::Receiver<Event>, Error> {
    let mut swarm = behaviour::swarm(&config)?;
    let mut unheard = HashMap::new();
    for address in &config.listen {
        let failed = |source| Error::Listen {
            address: address.clone(),
            source,
        };
        check_free(address).map_err(failed)?;
        let listener = swarm
            .listen_on(address.clone())
            .map_err(|e| failed(io::Error::other(e)))?;
        unheard.insert(listener, address.clone());
    }
    for address in &config.advertise {
        swarm.add_external_address(split_identity(address.clone()).0);
    }
    let (events, taken) = mpsc::channel(EVENTS_MAX);
    let topic = |channel: Channel| (channel.topic(&config.chain).hash(), channel);
    let local = *swarm.local_peer_id();
    let mut task = Task {
        local,
        swarm,
        spoken: behaviour::spoken(&config.chain),
        topics: Channel::ALL.into_iter().map(topic).collect(),
        shared,
        events,
        announcements: Announcements::default(),
        connections: Connections::default(),
        dialing: Dialing::new(&config, local),
        faults: Faults::new(config.limits.faults_max, config.limits.block_for),
        waiting: Waiting::default(),
        rates: Rates::new(&config.limits),
        requests: Requests::new(&config.limits),
        limits: config.limits,
    };
    task.await_listeners(unheard).await?;
    tokio::spawn(task.run(lanes));
    Ok(taken)
}

/// Fails if something listens there already. libp2p lets several sockets of one user share a port, so that a second node
/// on it would start, and each would get some of the connections.
fn check_free(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => {
            TcpListener::bind(SocketAddr::new(ip, port)).map(drop)
        }
        _ => Ok(()),
    }
}

impl Task {
    /// Waits until each listener has an address.
    async fn await_listeners(
        &mut self,
        mut unheard: HashMap<ListenerId, Multiaddr>,
    ) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + LISTEN_TIMEOUT;
        while let Some((listener, address)) = unheard.iter().next() {
            let failed = |source| Error::Listen {
                address: address.clone(),
                source,
            };
            let next = tokio::time::timeout_at(deadline, self.swarm.select_next_some());
            let event = next.await.map_err(|e| failed(io::Error::other(e)))?;
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    let heard = *listener_id;
                    self.on_swarm_event(event);
                    unheard.remove(&heard);
                }
                SwarmEvent::ListenerClosed {
                    listener_id,
                    reason,
                    ..
                } if listener_id == listener => {
                    let why = reason.as_ref().err().map(ToString::to_string);
                    return Err(failed(io::Error::other(why.unwrap_or_default())));
                }
                _ => self.on_swarm_event(event),
            }
        }
        Ok(())
    }

    async fn run(mut self, mut lanes: Lanes) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut bulk_open = true;
        loop {
            let step = tokio::select! {
                event = self.swarm.select_next_some() => Step::Swarm(Box::new(event)),
                command = lanes.commands.recv() => Step::Command(command),
                command = lanes.bulk.recv(), if bulk_open => Step::Bulk(command),
                Some(answered) = self.requests.answered() => Step::Answered(answered),
                Some(resolved) = self.dialing.resolved() => Step::Resolved(resolved),
                _ = tick.tick() => Step::Tick,
                room = self.events.reserve(), if !self.announcements.is_empty() => {
                    Step::Room(room.is_ok())
                }
            };
            match step {
                Step::Swarm(event) => self.on_swarm_event(*event),
                // The last handle is gone.
                Step::Command(None) => return,
                Step::Command(Some(Command::Stop { done })) => {
                    drop(self);
                    // Whoever asked may be gone.
                    let _ = done.send(());
                    return;
                }
                Step::Command(Some(command)) | Step::Bulk(Some(command)) => {
                    self.on_command(command);
                }
                Step::Bulk(None) => bulk_open = false,
                Step::Answered(answered) => self.on_answered(answered),
                Step::Resolved(resolved) => self.on_resolved(resolved),
                Step::Tick => self.on_tick(Instant::now()),
                Step::Room(true) => {}
                Step::Room(false) => self.announcements.clear(),
            }
            self.announcements.flush(&self.events);
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish {
                channel,
                data,
                done,
            } => self.publish(channel, data, done),
            Command::Verdict { id, from, verdict } => self.on_verdict(id, from, verdict),
            Command::Penalize { peer, fault } => self.penalize(peer.id(), fault),
            Command::Request { peer, asked, done } => self.ask(peer.id(), asked, done),
            Command::Stop { .. } => {}
        }
    }

    fn on_tick(&mut self, now: Instant) {
        for peer in self.faults.expire(now) {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
        self.look_after_the_new(now);
        self.dial_due(now);
        self.rates.forget_the_idle(now);
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let counters = &self.shared.counters;
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Requests(event)) => self.on_requests(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.on_ping(&event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => self.on_established(peer_id, connection_id, &endpoint),
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                cause,
                ..
            } => self.on_closed(peer_id, connection_id, cause.as_ref()),
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => {
                add(&counters.dials_failed, 1);
                self.on_dial_failed(connection_id, &error);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                add(&counters.connections_in_failed, 1);
                tracing::debug!(%error, "an incoming connection failed");
            }
            SwarmEvent::NewListenAddr { .. }
            | SwarmEvent::ExpiredListenAddr { .. }
            | SwarmEvent::ListenerClosed { .. } => self.show_listening(),
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener reports an error");
            }
            _ => {}
        }
    }

    /// Passes an event of a peer on, behind the news that the peer is connected, if there is room for both.
    fn pass_on(&mut self, event: Event) -> bool {
        self.announcements.flush(&self.events);
        self.announcements.is_empty() && self.events.try_send(event).is_ok()
    }

    fn show_listening(&self) {
        let identity = Protocol::P2p(self.local);
        let addresses: HashSet<_> = self.swarm.listeners().cloned().collect();
        let with_identity = addresses.into_iter().map(|a| a.with(identity.clone()));
        let mut sorted: Vec<_> = with_identity.collect();
        sorted.sort();
        self.shared.set_listening(sorted);
    }

    fn show_peers(&self) {
        let peers = self.connections.shown();
        set(&self.shared.counters.peers_connected, peers.len());
        self.shared.set_peers(peers);
    }
}

#[cfg(test)]
mod hostile_tests;
