//! libp2p's parts, put together and set up.

use crate::{
    PROTOCOL_VERSION,
    config::{Config, Limits},
    doors::Doors,
    frames::Frames,
    gossip::{Channel, EDITION_BYTES, GossipId},
    handle::Error,
};
use ledger::hash::ChainId;
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder,
    allow_block_list::{self, BlockedPeers},
    connection_limits::{self, ConnectionLimits},
    gossipsub::{
        self, MessageAuthenticity, TopicHash, ValidationMode, WhitelistSubscriptionFilter,
    },
    identify,
    identity::Keypair,
    noise, ping, request_response,
    swarm::NetworkBehaviour,
    tcp, yamux,
};
use std::{collections::HashMap, io, time::Duration};

/// Gossip's heartbeat. It mends the mesh and tells peers what they may have missed; messages themselves do not wait for it.
const HEARTBEAT: Duration = Duration::from_millis(400);
/// Heartbeats for which messages are kept, so that a verdict has time and a peer can ask for what it missed.
const HEARTBEATS_KEPT: usize = 15;
/// Heartbeats for which peers are told of a message.
const HEARTBEATS_TOLD: usize = 8;
/// How long a verdict may take. Later ones forward nothing.
pub const VERDICT_WITHIN: Duration = Duration::from_millis(400 * HEARTBEATS_KEPT as u64);
/// How long the same content is recognised. Longer than messages are told of; shorter than libp2p's minute, because the
/// names of all messages of that time are in memory.
pub const DUPLICATES_REMEMBERED: Duration = Duration::from_secs(15);
/// Room for gossip's own envelope around a payload, and for the start of the next message: the reader's buffer, which may
/// hold both, is what gossipsub measures.
const GOSSIP_SLACK_BYTES: usize = 64 << 10;
/// Messages that wait for one slow peer. When it is full, that peer misses messages, and nobody waits.
const GOSSIP_QUEUE_MAX: usize = 512;
/// How long messages of this node wait for a slow peer, and forwarded ones: later, they are of no use.
const PUBLISH_WAITS: Duration = Duration::from_secs(3);
const FORWARD_WAITS: Duration = Duration::from_secs(2);
/// Names of messages told or asked for at once, and the bytes they may take (36 each). libp2p's defaults for the two
/// contradict each other: 5,000 names do not fit its 16 KiB, and the receiver drops the stream.
const NAMES_MAX: usize = 1024;
const NAMES_BYTES_MAX: usize = 64 << 10;
/// Payload messages in one frame of gossip. libp2p itself sends one.
const MESSAGES_PER_FRAME_MAX: usize = 512;

/// Connections from one peer. Two, since both may dial at the same moment, and one more while an old one is found dead.
const CONNECTIONS_PER_PEER_MAX: u32 = 3;
/// Handshakes of incoming connections at once.
const HANDSHAKES_IN_MAX: u32 = 64;
/// Dials at once.
const DIALS_MAX: u32 = 32;
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams on one connection: the requests both ways, gossip, ping, identify, and room for those being closed.
const STREAMS_MAX: usize = 256;
/// Streams on one connection that are being negotiated.
const STREAMS_NEGOTIATED_MAX: usize = 64;
/// Requests on one connection, both ways together; see `task::requests` for the shares.
const REQUEST_STREAMS_MAX: usize = 96;

/// How often a peer is pinged, and how long it may take. Three failures in a row close the connection.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections stay: in a small network every peer is wanted, and ping finds the dead. (libp2p's default is 10 s.)
const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Gossipsub with our gate in front.
pub(crate) type Gossipsub = gossipsub::Behaviour<Gate, WhitelistSubscriptionFilter>;

/// Turns messages away before gossipsub remembers anything of them. By itself it would keep those of unknown topics too,
/// and tell nobody.
pub(crate) struct Gate {
    data_bytes_max: HashMap<TopicHash, usize>,
}

impl gossipsub::DataTransform for Gate {
    fn inbound_transform(&self, raw: gossipsub::RawMessage) -> io::Result<gossipsub::Message> {
        let max = self.data_bytes_max.get(&raw.topic);
        if !max.is_some_and(|max| (EDITION_BYTES..=*max).contains(&raw.data.len())) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(gossipsub::Message {
            source: raw.source,
            data: raw.data,
            sequence_number: raw.sequence_number,
            topic: raw.topic,
        })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok(data)
    }
}

/// All protocols of a connection. Those that may refuse one come first: libp2p asks them in order, and a refusal leaves
/// what the earlier ones have noted down.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    doors: Doors,
    limits: connection_limits::Behaviour,
    pub(crate) blocked: allow_block_list::Behaviour<BlockedPeers>,
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    pub(crate) gossip: Gossipsub,
    pub(crate) requests: request_response::Behaviour<Frames>,
}

/// What a peer of this chain says that it speaks.
pub(crate) fn spoken(chain: &ChainId) -> String {
    format!("tintype/{PROTOCOL_VERSION}/{chain}")
}

/// The swarm, listening nowhere yet.
pub(crate) fn swarm(config: &Config) -> Result<Swarm<Behaviour>, Error> {
    let setup = |error: &dyn std::fmt::Display| Error::Setup(error.to_string());
    let keypair = Keypair::ed25519_from_bytes(config.key.seed()).map_err(|e| setup(&e))?;
    let behaviour = behaviour(config, &keypair).map_err(Error::Setup)?;
    let builder = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, || {
            let mut config = yamux::Config::default();
            config.set_max_num_streams(STREAMS_MAX);
            config
        })
        .map_err(|e| setup(&e))?;
    #[cfg(feature = "quic")]
    let builder = builder.with_quic();
    let swarm = builder
        .with_behaviour(move |_| behaviour)
        .map_err(|e| setup(&e))?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(IDLE_TIMEOUT)
                .with_max_negotiating_inbound_streams(STREAMS_NEGOTIATED_MAX)
        })
        .with_connection_timeout(HANDSHAKE_TIMEOUT)
        .build();
    Ok(swarm)
}

fn behaviour(config: &Config, keypair: &Keypair) -> Result<Behaviour, String> {
    let (chain, limits) = (&config.chain, &config.limits);
    let ping = ping::Config::new()
        .with_interval(PING_EVERY)
        .with_timeout(PING_TIMEOUT);
    // The address book is ours: what identify would remember by itself is not bounded as we want it.
    let identify = identify::Config::new(spoken(chain), keypair.public())
        .with_agent_version(concat!("tintype/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true)
        .with_cache_size(0);
    let protocol = StreamProtocol::try_from_owned(format!("/{}/request", spoken(chain)))
        .map_err(|e| e.to_string())?;
    let requests = request_response::Behaviour::with_codec(
        Frames {
            response_bytes_max: limits.response_bytes_max,
        },
        [(protocol, request_response::ProtocolSupport::Full)],
        request_response::Config::default()
            .with_request_timeout(limits.request_timeout)
            .with_max_concurrent_streams(REQUEST_STREAMS_MAX),
    );
    Ok(Behaviour {
        doors: Doors::default(),
        limits: connection_limits::Behaviour::new(connection_limits(limits)),
        blocked: allow_block_list::Behaviour::default(),
        ping: ping::Behaviour::new(ping),
        identify: identify::Behaviour::new(identify),
        gossip: gossip(chain, config.hears_gossip)?,
        requests,
    })
}

fn connection_limits(limits: &Limits) -> ConnectionLimits {
    let kept = u32::try_from(limits.peers_target).unwrap_or(u32::MAX);
    let incoming = limits.connections_max.saturating_sub(kept).max(1);
    ConnectionLimits::default()
        .with_max_established(Some(limits.connections_max))
        .with_max_established_incoming(Some(incoming))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX))
        .with_max_pending_incoming(Some(HANDSHAKES_IN_MAX))
        .with_max_pending_outgoing(Some(DIALS_MAX))
}

fn gossip(chain: &ChainId, hears: bool) -> Result<Gossipsub, String> {
    let topics = Channel::ALL.map(|channel| (channel, channel.topic(chain)));
    let data_bytes_max: HashMap<_, _> = topics
        .iter()
        .map(|(channel, topic)| (topic.hash(), channel.bytes_max() + EDITION_BYTES))
        .collect();
    let bytes_max = data_bytes_max.values().max().copied().unwrap_or(0);
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| {
            GossipId::of(message.topic.as_str(), &message.data).to_message_id()
        })
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(HEARTBEAT)
        .history_length(HEARTBEATS_KEPT)
        .history_gossip(HEARTBEATS_TOLD)
        .duplicate_cache_time(DUPLICATES_REMEMBERED)
        .flood_publish(true)
        // A peer that was pruned comes back soon: small networks have no others.
        .prune_backoff(Duration::from_secs(10))
        .max_transmit_size(bytes_max + GOSSIP_SLACK_BYTES)
        .max_publish_messages(MESSAGES_PER_FRAME_MAX)
        .max_control_messages_sent(NAMES_MAX)
        .max_control_message_size(NAMES_BYTES_MAX)
        .connection_handler_queue_len(GOSSIP_QUEUE_MAX)
        .publish_queue_duration(PUBLISH_WAITS)
        .forward_queue_duration(FORWARD_WAITS)
        .build()
        .map_err(|e| e.to_string())?;
    // Payloads are signed by their makers. Gossipsub's own score is not kept: it also punishes what is only slow.
    let mut gossip = Gossipsub::new_with_subscription_filter_and_transform(
        MessageAuthenticity::Anonymous,
        config,
        WhitelistSubscriptionFilter(data_bytes_max.keys().cloned().collect()),
        Gate { data_bytes_max },
    )?;
    for (_, topic) in topics.iter().filter(|_| hears) {
        gossip.subscribe(topic).map_err(|e| e.to_string())?;
    }
    Ok(gossip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gossipsub::DataTransform;

    #[test]
    fn the_gate_lets_in_what_may_come_in() {
        let gate = Gate {
            data_bytes_max: HashMap::from([(TopicHash::from_raw("known"), 10)]),
        };
        for (topic, bytes, passes) in [
            ("known", 3, false),
            ("known", 4, true),
            ("known", 10, true),
            ("known", 11, false),
            ("unknown", 5, false),
        ] {
            let raw = gossipsub::RawMessage {
                source: None,
                data: vec![0; bytes],
                sequence_number: None,
                topic: TopicHash::from_raw(topic),
                signature: None,
                key: None,
                validated: false,
            };
            let passed = gate.inbound_transform(raw).is_ok();
            assert_eq!(passed, passes, "{bytes} bytes on the {topic} topic");
        }
    }
}
