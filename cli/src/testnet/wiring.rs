//! Who listens where, and who dials whom: the network part of the nodes' configurations.

use super::{
    Member, Testnet, lock,
    ports::{self, Ports},
};
use crate::failure::{Failure, Result};
use ledger::keys::PublicKey;
use node::config::Config;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
};

/// The peer id of a node's key, as libp2p writes it: the base58 of the key's protobuf in an identity multihash.
pub fn peer_id(key: &PublicKey) -> String {
    // Identity multihash of 36 bytes; field 1 (the type) is Ed25519; field 2 has the 32 bytes of the key.
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend_from_slice(key.as_bytes());
    bs58::encode(bytes).into_string()
}

/// The multiaddress at which a node is dialled.
fn address(port: u16, key: &PublicKey) -> String {
    format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", peer_id(key))
}

/// The port of a TCP multiaddress.
pub fn tcp_port(multiaddr: &str) -> Option<u16> {
    let (_, rest) = multiaddr.split_once("/tcp/")?;
    rest.split('/').next()?.parse().ok()
}

/// The ports that a configuration names.
pub fn configured_ports(config: &Config) -> Option<Ports> {
    let p2p = config.p2p.listen.iter().find_map(|a| tcp_port(a))?;
    let http = config.http.address.port();
    (p2p != 0 && http != 0).then_some(Ports { p2p, http })
}

/// The nodes that have a configuration: one that was wiped gets it when it is started.
fn configured(testnet: &Testnet) -> Result<Vec<Member>> {
    let mut members = testnet.members()?;
    members.retain(|member| member.dir.config_file().exists());
    Ok(members)
}

/// Every port that some node of the testnet has in its configuration.
///
/// # Errors
/// If a configuration cannot be read.
pub fn reserved(testnet: &Testnet) -> Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for member in configured(testnet)? {
        if let Some(pair) = configured_ports(&member.dir.config()?) {
            ports.extend([pair.p2p, pair.http]);
        }
    }
    Ok(ports)
}

/// Gives a node its ports.
///
/// # Errors
/// If its configuration cannot be read or written.
pub fn set_ports(member: &Member, ports: Ports) -> Result {
    let mut config = member.dir.config()?;
    config.p2p.listen = vec![format!("/ip4/127.0.0.1/tcp/{}", ports.p2p)];
    config.http.address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.http));
    Ok(member.dir.write_config(&config)?)
}

/// Writes into every node's configuration where all the others listen. Peers outside the testnet stay listed.
///
/// # Errors
/// If a configuration or key cannot be read, or a configuration not written.
pub fn rewire(testnet: &Testnet) -> Result {
    let mut known = BTreeMap::new();
    let mut configs = Vec::new();
    for member in configured(testnet)? {
        let config = member.dir.config()?;
        let key = member.dir.key()?.public_key();
        if let Some(ports) = configured_ports(&config) {
            known.insert(
                member.name.clone(),
                (peer_id(&key), address(ports.p2p, &key)),
            );
        }
        configs.push((member, config));
    }
    for (member, mut config) in configs {
        let is_inside = |peer: &String| known.values().any(|(id, _)| peer.ends_with(id.as_str()));
        let mut peers: Vec<String> = config
            .p2p
            .peers
            .iter()
            .filter(|p| !is_inside(p))
            .cloned()
            .collect();
        let others = known.iter().filter(|(name, _)| **name != member.name);
        peers.extend(others.map(|(_, (_, address))| address.clone()));
        if peers != config.p2p.peers {
            config.p2p.peers = peers;
            member.dir.write_config(&config)?;
        }
    }
    Ok(())
}

/// Whether a node has ports, and nobody listens on them.
///
/// # Errors
/// If its configuration cannot be read.
pub fn has_free_ports(member: &Member) -> Result<bool> {
    Ok(configured_ports(&member.dir.config()?).is_some_and(Ports::are_free))
}

/// Makes sure that the ports of a node that is about to start are free. They may be its own of a moment ago, which the
/// kernel has yet to take from a process that was killed: so they are waited for while `is_patient`, which is asked after
/// each look, and then others are chosen. Says which, if others were.
///
/// # Errors
/// If no ports are free or a configuration cannot be written.
pub fn ensure_free_ports(
    testnet: &Testnet,
    member: &Member,
    is_patient: &mut dyn FnMut() -> bool,
) -> Result<Option<Ports>> {
    while configured_ports(&member.dir.config()?).is_some() {
        if has_free_ports(member)? {
            return Ok(None);
        }
        if !is_patient() {
            break;
        }
    }
    let pair = ports::choose(1, &reserved(testnet)?)?;
    let pair = pair.first().copied();
    let pair = pair.ok_or_else(|| Failure::failed("no_free_ports", "no pair of ports is free"))?;
    set_ports(member, pair)?;
    Ok(Some(pair))
}

/// Gives all nodes of a testnet the pairs from `base` on, if they have not got them.
///
/// # Errors
/// `port_taken` names the first that is not free, before anything is changed.
pub fn move_to(testnet: &Testnet, members: &[Member], base: u16) -> Result<bool> {
    let _alone = lock::change_alone(testnet)?;
    let pairs = ports::require(members.len(), base)?;
    let mut moved = false;
    for (member, pair) in members.iter().zip(pairs) {
        if configured_ports(&member.dir.config()?) != Some(pair) {
            set_ports(member, pair)?;
            moved = true;
        }
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_is_the_one_that_libp2p_makes() {
        // From the peer id specification's Ed25519 test vector.
        let key = "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";
        let id = peer_id(&key.parse().unwrap());
        assert!(id.starts_with("12D3KooW") && id.len() == 52, "{id}");
    }

    #[test]
    fn a_move_says_whether_there_was_one() {
        let folder = tempfile::tempdir().unwrap();
        let testnet = Testnet::at(folder.path());
        let dir = testnet.node_dir("node0");
        std::fs::create_dir(dir.path()).unwrap();
        dir.write_config(&Config::named("node0")).unwrap();
        let members = testnet.members().unwrap();
        let base = ports::choose(1, &BTreeSet::new()).unwrap()[0].p2p;
        assert!(move_to(&testnet, &members, base).unwrap());
        assert!(!move_to(&testnet, &members, base).unwrap(), "it is there");
        let moved = configured_ports(&dir.config().unwrap()).unwrap();
        assert_eq!((moved.p2p, moved.http), (base, base + 1));
    }

    /// What was just freed is a node's own again; what somebody else keeps is not waited for for ever.
    #[test]
    fn a_node_waits_a_moment_for_its_own_ports() {
        let folder = tempfile::tempdir().unwrap();
        let testnet = Testnet::at(folder.path());
        let dir = testnet.node_dir("node0");
        std::fs::create_dir(dir.path()).unwrap();
        dir.write_config(&Config::named("node0")).unwrap();
        let member = testnet.members().unwrap().remove(0);
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let http = holder.local_addr().unwrap().port();
        let own = Ports {
            p2p: ports::choose(1, &BTreeSet::new()).unwrap()[0].p2p,
            http,
        };
        set_ports(&member, own).unwrap();
        let mut holder = Some(holder);
        let moved = ensure_free_ports(&testnet, &member, &mut || holder.take().is_some());
        assert_eq!(moved.unwrap(), None);
        let _other = std::net::TcpListener::bind(("127.0.0.1", http)).unwrap();
        let moved = ensure_free_ports(&testnet, &member, &mut || false).unwrap();
        assert!(moved.is_some_and(|pair| pair.http != http), "{moved:?}");
    }

    #[test]
    fn the_port_of_a_multiaddress_is_found() {
        assert_eq!(tcp_port("/ip4/127.0.0.1/tcp/26000/p2p/x"), Some(26_000));
        assert_eq!(tcp_port("/ip4/127.0.0.1/udp/1"), None);
    }
}
