//! Peers are their keys; and which addresses are dialled at the word of others.

use super::*;
use ledger::keys::SecretKey;

#[test]
fn a_peer_is_its_key_and_back() {
    let key = SecretKey::from_seed([7; 32]);
    let identity = identity::Keypair::ed25519_from_bytes(key.seed()).expect("a seed");
    let peer = Peer::from_id(identity.public().to_peer_id()).expect("an Ed25519 key");
    assert_eq!(peer.public_key(), key.public_key());
    assert_eq!(Peer::from_public_key(&key.public_key()), Some(peer));
    assert_eq!(peer.to_string().parse(), Ok(peer));
    assert!(
        peer.to_string().starts_with("12D3Koo"),
        "the usual form: {peer}"
    );
}

#[test]
fn what_is_no_key_is_no_peer() {
    // The y coordinate 2 is on no point of the curve.
    let mut bytes = [0; 32];
    bytes[0] = 2;
    assert_eq!(Peer::from_public_key(&PublicKey(bytes)), None);
    // The identity of an RSA key, by its hash.
    assert!(
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
            .parse::<Peer>()
            .is_err()
    );
    assert!("hello".parse::<Peer>().is_err());
}

#[test]
fn only_plain_addresses_are_dialled_for_others() {
    for (address, dialable) in [
        ("/ip4/10.0.0.1/tcp/26000", true),
        ("/ip6/2001:db8::1/tcp/26000", true),
        ("/ip4/0.0.0.0/tcp/26000", false),
        ("/ip4/224.0.0.1/tcp/26000", false),
        ("/ip4/10.0.0.1/tcp/0", false),
        ("/ip4/10.0.0.1/udp/26000", false),
        ("/dns4/example.org/tcp/26000", false),
        ("/ip4/10.0.0.1/tcp/26000/ws", false),
        ("/ip4/10.0.0.1", false),
    ] {
        let parsed: Multiaddr = address.parse().expect("an address");
        assert_eq!(is_dialable(&parsed), dialable, "{address}");
    }
}
