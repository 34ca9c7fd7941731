//! A peer that is a network without a node: it says and answers what a test wants.

use ledger::{codec, hash::ChainId, keys::SecretKey};
use node::replica::message::{Message, SignedVote};
use p2p::{Channel, Event, Reply, Request, Verdict};
use std::time::Duration;
use tokio::sync::mpsc;

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Stranger {
    pub network: p2p::Network,
    pub events: mpsc::Receiver<Event>,
}

impl Stranger {
    pub async fn connect(seed: u8, chain: ChainId, to: &str) -> Self {
        let mut config = p2p::Config::new(SecretKey::from_seed([seed; 32]), chain);
        config.peers = vec![to.parse().unwrap()];
        config.limits.peers_target = 0;
        let (network, events) = p2p::Network::start(config).await.unwrap();
        let mut stranger = Self { network, events };
        stranger
            .until(|event| matches!(event, Event::Connected { .. }))
            .await;
        stranger
    }

    /// Takes events until one is what is waited for; that one.
    pub async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        self.first(|_, event| wanted(&event).then_some(event)).await
    }

    pub fn say(&self, vote: SignedVote) {
        self.say_message(&Message::Vote(vote));
    }

    pub fn say_message(&self, message: &Message) {
        let bytes = codec::encode(message);
        self.network.publish(Channel::Consensus, bytes).unwrap();
    }

    /// The next question that is none about how far it is, and the way to answer.
    pub async fn asked(&mut self) -> (Request, Reply) {
        self.first(|_, event| match event {
            Event::Request { request, reply, .. } if request != Request::Status => {
                Some((request, reply))
            }
            _ => None,
        })
        .await
    }

    /// The next vote that is not of the node itself.
    pub async fn hear(&mut self, node: &SecretKey) -> SignedVote {
        self.first(|network, event| {
            let Event::Gossip(gossip) = event else {
                return None;
            };
            network.verdict(gossip.id, gossip.from, Verdict::Ignore);
            match Message::decode(&gossip.data) {
                Ok(Message::Vote(vote)) if vote.vote.validator != node.address() => Some(vote),
                _ => None,
            }
        })
        .await
    }

    /// Takes events until one gives what is looked for: however many come that do not, it ends.
    async fn first<T>(&mut self, look: impl Fn(&p2p::Network, Event) -> Option<T>) -> T {
        let next = async {
            loop {
                let event = self.events.recv().await.unwrap();
                if let Some(found) = look(&self.network, event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.unwrap()
    }
}
