//! Which ports the nodes get: pairs from 26000 on, the even one for peers and the odd one for HTTP.

use super::lock::lock_within;
use crate::failure::{Failure, Result};
use std::{
    collections::BTreeSet,
    fs::File,
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

/// Where the search begins.
pub const FIRST_PORT: u16 = 26_000;

/// The two ports of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// For peers.
    pub p2p: u16,
    /// For the API.
    pub http: u16,
}

impl Ports {
    /// The pair that begins with `p2p`.
    const fn from(p2p: u16) -> Option<Self> {
        match p2p.checked_add(1) {
            Some(http) => Some(Self { p2p, http }),
            None => None,
        }
    }

    /// Whether nobody listens on either. That of HTTP first: a running node always holds it, and is then not disturbed where it
    /// is just about to listen for peers.
    pub fn are_free(self) -> bool {
        is_free(self.http) && is_free(self.p2p)
    }
}

/// Whether nobody listens on this port of the loopback interface.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Waits until no other launcher of this user is between choosing ports and having them bound, and holds that off while
/// the guard lives. Without it, two testnets that start at one moment choose the same ones and both give up. After
/// `limit` it goes on without: whoever is there may be stuck, and ports that are taken are noticed anyway.
pub fn choose_alone(limit: Duration) -> Option<File> {
    let uid = rustix::process::getuid().as_raw();
    let path = std::env::temp_dir().join(format!("tintype-ports-{uid}.lock"));
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .ok()?;
    lock_within(&file, limit).ok().map(|()| file)
}

/// The first `count` free pairs that are not `reserved`.
///
/// # Errors
/// `no_free_ports` if there are too few.
pub fn choose(count: usize, reserved: &BTreeSet<u16>) -> Result<Vec<Ports>> {
    choose_by(count, reserved, Ports::are_free)
}

fn choose_by(
    count: usize,
    reserved: &BTreeSet<u16>,
    is_free: impl Fn(Ports) -> bool,
) -> Result<Vec<Ports>> {
    let pairs = (FIRST_PORT..u16::MAX).step_by(2).filter_map(Ports::from);
    let unreserved = |p: &Ports| !reserved.contains(&p.p2p) && !reserved.contains(&p.http);
    let chosen: Vec<Ports> = pairs
        .filter(unreserved)
        .filter(|&p| is_free(p))
        .take(count)
        .collect();
    if chosen.len() < count {
        let message = format!(
            "{count} pairs of ports are needed, only {} are free",
            chosen.len()
        );
        return Err(Failure::failed("no_free_ports", message));
    }
    Ok(chosen)
}

/// The pairs from `base` on, all of which must be free.
///
/// # Errors
/// `port_taken` names the first that is not.
pub fn require(count: usize, base: u16) -> Result<Vec<Ports>> {
    let outside = || Failure::usage(format!("{count} nodes do not fit behind port {base}"));
    let mut chosen = Vec::with_capacity(count);
    for index in 0..count {
        let offset = u16::try_from(index * 2).map_err(|_| outside())?;
        let pair = base
            .checked_add(offset)
            .and_then(Ports::from)
            .ok_or_else(outside)?;
        for port in [pair.p2p, pair.http] {
            if !is_free(port) {
                let message = format!("port {port} is taken by another program");
                return Err(Failure::failed("port_taken", message)
                    .help("choose another --base-port, or leave it out to take free ports"));
            }
        }
        chosen.push(pair);
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_even_and_odd_and_pass_over_what_is_taken_or_reserved() {
        let reserved = BTreeSet::from([26_003]);
        let pairs = choose_by(3, &reserved, |p| p.p2p != 26_004).unwrap();
        let first: Vec<u16> = pairs.iter().map(|p| p.p2p).collect();
        assert_eq!(first, [26_000, 26_006, 26_008]);
        assert!(pairs.iter().all(|p| p.http == p.p2p + 1));
        let none = choose_by(1, &reserved, |_| false).unwrap_err();
        assert_eq!(none.code, "no_free_ports");
    }

    #[test]
    fn a_port_that_was_asked_for_and_is_taken_is_named() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        let failure = require(1, port).unwrap_err();
        assert_eq!(failure.code, "port_taken");
        assert!(failure.message.contains(&port.to_string()), "{failure}");
    }
}
