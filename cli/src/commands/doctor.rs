//! `tintype doctor`: what keeps a testnet or a node from working, found before it does.

use crate::{
    context::{Context, client_of},
    failure::{Failure, Result},
    table::table,
    testnet::{Member, Testnet, ports::is_free, process, wiring},
};
use node::config::NodeDir;
use rustix::fs::Access;
use serde::Serialize;
use serde_json::json;
use std::{
    net::{TcpStream, ToSocketAddrs},
    path::Path,
    time::{Duration, SystemTime},
};

/// Free bytes below which a disk is called nearly full.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// A clock before this, in seconds since 1970, is surely wrong: 2025 began then.
const CLOCK_S_MIN: u64 = 1_735_689_600;
const DIAL_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Serialize)]
struct Check {
    what: String,
    ok: bool,
    found: String,
    help: String,
}

impl Check {
    fn new(
        what: impl Into<String>,
        outcome: std::result::Result<String, (String, String)>,
    ) -> Self {
        let what = what.into();
        match outcome {
            Ok(found) => Self {
                what,
                ok: true,
                found,
                help: String::new(),
            },
            Err((found, help)) => Self {
                what,
                ok: false,
                found,
                help,
            },
        }
    }
}

/// Looks at the folder, and at every node in it.
///
/// # Errors
/// `unhealthy`, with all checks, if one of them fails.
pub fn run(context: &Context) -> Result {
    let members = members(context)?;
    let mut checks = vec![disk(&context.dir), clock()];
    for member in &members {
        checks.extend(node_checks(member));
    }
    let faults = checks.iter().filter(|check| !check.ok).count();
    let document = json!({"ok": faults == 0, "checks": checks});
    let text = || {
        let row = |c: &Check| {
            let mark = if c.ok { "ok" } else { "FAULT" };
            let help = if c.help.is_empty() {
                String::new()
            } else {
                format!(": {}", c.help)
            };
            vec![
                mark.to_owned(),
                c.what.clone(),
                format!("{}{help}", c.found),
            ]
        };
        table(
            &["", "CHECK", "FOUND"],
            &checks.iter().map(row).collect::<Vec<_>>(),
        )
    };
    if faults == 0 {
        context.out.result(&document, text);
        return Ok(());
    }
    if !context.out.is_json() {
        context.out.text(&text());
    }
    let message = format!("{faults} of {} checks failed", checks.len());
    let help = checks
        .iter()
        .find(|c| !c.ok)
        .map(|c| c.help.clone())
        .unwrap_or_default();
    Err(Failure::failed("unhealthy", message)
        .help(help)
        .with_found(&document))
}

fn members(context: &Context) -> Result<Vec<Member>> {
    let dir = NodeDir::new(&context.dir);
    if dir.config_file().is_file() {
        let name = context
            .dir
            .file_name()
            .map(|n| n.to_string_lossy().into_owned());
        return Ok(vec![Member {
            name: name.unwrap_or_else(|| "node".into()),
            dir,
        }]);
    }
    Testnet::open(&context.dir)?.members()
}

fn disk(dir: &Path) -> Check {
    let outcome = match rustix::fs::statvfs(dir) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let found = format!("{} MiB free", free >> 20);
            if let Err(e) = rustix::fs::access(dir, Access::WRITE_OK) {
                let found = format!("{} cannot be written: {e}", dir.display());
                let help = "mount it for writing, or run this as the user whose folder it is";
                Err((found, help.into()))
            } else if free >= FREE_BYTES_MIN {
                Ok(found)
            } else {
                let found = format!("{found}, less than {} MiB", FREE_BYTES_MIN >> 20);
                let help = "make room: a node stops when its disk is full";
                Err((found, help.into()))
            }
        }
        Err(e) => Err((e.to_string(), "check that the folder can be read".into())),
    };
    Check::new("disk", outcome)
}

fn clock() -> Check {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_or(0, |d| d.as_secs());
    let found = format!("{seconds} s since 1970");
    let outcome = if seconds >= CLOCK_S_MIN {
        Ok(found)
    } else {
        Err((
            found,
            "set the clock: blocks of a wrong time are not voted for".into(),
        ))
    };
    Check::new("clock", outcome)
}

fn node_checks(member: &Member) -> Vec<Check> {
    let name = &member.name;
    let plain = |e: node::config::ConfigError| {
        let failure = Failure::from(e);
        (failure.message, failure.help.into_owned())
    };
    let mut checks = Vec::new();
    let key = member
        .dir
        .key()
        .map(|key| format!("{:.12}", key.public_key()))
        .map_err(plain);
    checks.push(Check::new(format!("{name}: key"), key));
    let genesis = member
        .dir
        .genesis()
        .map(|g| format!("chain {:.12}", g.chain_id()))
        .map_err(plain);
    checks.push(Check::new(format!("{name}: genesis"), genesis));
    let config = match member.dir.config() {
        Ok(config) => config,
        Err(e) => {
            checks.push(Check::new(format!("{name}: configuration"), Err(plain(e))));
            return checks;
        }
    };
    if process::alive(member).is_some() {
        checks.push(Check::new(format!("{name}: API"), answers(member)));
    } else {
        let ports = wiring::configured_ports(&config);
        for port in ports.into_iter().flat_map(|p| [p.p2p, p.http]) {
            let outcome = if is_free(port) {
                Ok("free".to_owned())
            } else {
                let help = "end the program that listens there, or change the port in tintype.toml";
                Err(("taken".to_owned(), help.to_owned()))
            };
            checks.push(Check::new(format!("{name}: port {port}"), outcome));
        }
    }
    if process::alive(member).is_some() {
        checks.extend(config.p2p.peers.iter().map(|peer| reaches(name, peer)));
    }
    checks
}

fn answers(member: &Member) -> std::result::Result<String, (String, String)> {
    let status = client_of(member).map(|client| client.status(DIAL_LIMIT));
    match status {
        Some(Ok(status)) => Ok(format!("height {}, {} peers", status.height, status.peers)),
        Some(Err(failure)) => Err((failure.message, failure.help.into_owned())),
        None => Err((
            "it just stopped".into(),
            format!("`tintype testnet start {}`", member.name),
        )),
    }
}

fn reaches(name: &str, peer: &str) -> Check {
    let mut parts = peer.split('/').skip(1);
    let host = (parts.next(), parts.next());
    let what = format!(
        "{name}: peer {}",
        peer.split("/p2p/").next().unwrap_or(peer)
    );
    let (Some(_), Some(host)) = host else {
        return Check::new(
            what,
            Err(("no address".into(), "correct it in tintype.toml".into())),
        );
    };
    let address = wiring::tcp_port(peer).map(|port| (host, port));
    let resolved = address.and_then(|a| a.to_socket_addrs().ok()?.next());
    let outcome = match resolved.map(|a| TcpStream::connect_timeout(&a, DIAL_LIMIT)) {
        Some(Ok(_)) => Ok("reachable".into()),
        Some(Err(e)) => Err((
            e.to_string(),
            "does it run, and is the address right?".into(),
        )),
        None => Err((
            "not resolved".into(),
            "correct the address in tintype.toml".into(),
        )),
    };
    Check::new(what, outcome)
}
