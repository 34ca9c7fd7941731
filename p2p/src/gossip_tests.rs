//! The ids of gossip, and the waiting rooms that one peer cannot fill.

use super::*;
use ledger::keys::SecretKey;

fn peer(seed: u8) -> Peer {
    Peer::from_public_key(&SecretKey::from_seed([seed; 32]).public_key()).expect("a key")
}

#[test]
fn an_id_names_topic_and_content() {
    assert_eq!(GossipId::of("a", b"bc"), GossipId::of("a", b"bc"));
    assert_ne!(GossipId::of("a", b"bc"), GossipId::of("ab", b"c"));
    let id = GossipId::of("a", b"bc");
    assert_eq!(GossipId::from_message_id(&id.to_message_id()), Some(id));
}

/// One peer fills its quarter; the others still get in, until the room is full; what leaves makes room.
#[test]
fn one_peer_cannot_fill_the_room() {
    let (waiting, channel) = (Waiting::default(), Channel::Attestations);
    let max = channel.waiting_max();
    let mut places = Vec::new();
    for seed in 1..=4 {
        for i in 0..max.messages / PEERS_TO_FILL {
            let place = waiting.enter(channel, peer(seed), 1);
            places.push(place.unwrap_or_else(|| panic!("message {i} of peer {seed}")));
        }
        assert!(waiting.enter(channel, peer(seed), 1).is_none());
    }
    assert!(waiting.enter(channel, peer(5), 1).is_none(), "full");
    let consensus = waiting.enter(Channel::Consensus, peer(1), 1);
    assert!(consensus.is_some(), "another channel has a room of its own");
    drop(places.pop());
    assert!(waiting.enter(channel, peer(5), 1).is_some());
    drop((places, consensus));
    let loads = waiting.0.lock().expect("not poisoned");
    assert!(loads.peers.is_empty(), "{:?}", loads.peers);
    assert_eq!(loads.channels[&channel], Load::default());
}

#[test]
fn bytes_count_too_and_the_largest_message_fits() {
    for channel in Channel::ALL {
        let waiting = Waiting::default();
        let first = waiting.enter(channel, peer(1), channel.bytes_max());
        assert!(first.is_some(), "{channel}");
        let mut places = Vec::new();
        while let Some(place) = waiting.enter(channel, peer(2), channel.bytes_max()) {
            places.push(place);
        }
        let bytes = places.len() * channel.bytes_max();
        assert!(bytes <= channel.waiting_max().bytes / 4, "{bytes} bytes");
    }
}
