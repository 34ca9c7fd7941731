//! Starting nodes, alone or all together.

use super::{Member, Testnet, create, lock, ports, process, wiring};
use crate::{failure::Result, output::Output};
use node::config::RunInfo;
use std::{
    path::PathBuf,
    process::Child,
    time::{Duration, Instant},
};

/// Nodes that were started by this process.
#[derive(Debug, Default)]
pub struct Children {
    children: Vec<Child>,
}

impl Children {
    /// Notices those that ended, so that the kernel can forget them.
    pub fn reap(&mut self) {
        self.children
            .retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
    }
}

/// How long other launchers on this machine may take to have their ports.
const OTHER_LAUNCHERS_LIMIT: Duration = Duration::from_secs(30);
/// How long nodes that are started may wait for the ports that they had.
const OWN_PORTS_LIMIT: Duration = Duration::from_secs(2);
const OWN_PORTS_POLL: Duration = Duration::from_millis(20);
/// How often other ports are chosen because another program took them before the nodes could.
const PORT_CHOICES_MAX: u32 = 5;

/// Starts nodes that do not run, and waits until all have bound their ports. If one fails to, the others of this call
/// are stopped again; if that was for want of its ports, which two testnets that start at one moment may both have
/// chosen, all are started again with others. A node that has to move to other ports is named to the user.
///
/// # Errors
/// The first failure.
pub fn start(
    out: Output,
    testnet: &Testnet,
    members: &[Member],
    lifeline: Option<&PathBuf>,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<(Children, Vec<RunInfo>)> {
    let mut choices = 1;
    loop {
        match start_once(out, testnet, members, lifeline, is_interrupted) {
            Err(failure) if failure.code == "node_ended" && choices < PORT_CHOICES_MAX => {
                let mut taken = false;
                for member in members {
                    taken |= !wiring::has_free_ports(member)?;
                }
                if !taken {
                    return Err(failure);
                }
                choices += 1;
            }
            done => return done,
        }
    }
}

/// Starts one node of a testnet, from a terminal of its own.
///
/// # Errors
/// As [`start`].
pub fn start_one(out: Output, testnet: &Testnet, member: &Member) -> Result {
    // None unless a launcher runs in the foreground.
    let lifeline = lock::holder(testnet)?.map(|_| testnet.lock_file());
    let members = std::slice::from_ref(member);
    restore(out, testnet, members)?;
    start(out, testnet, members, lifeline.as_ref(), &|| false).map(drop)
}

/// Gives nodes that were wiped but for their key what else they need, and says so.
///
/// # Errors
/// If a file cannot be written.
pub fn restore(out: Output, testnet: &Testnet, members: &[Member]) -> Result {
    let _alone = lock::change_alone(testnet)?;
    for member in members {
        let made = create::restore(testnet, member)?;
        if !made.is_empty() {
            let (name, made) = (&member.name, made.join(" and "));
            out.note(&format!(
                "{name} was wiped and its key is left: wrote {made} anew"
            ));
        }
    }
    Ok(())
}

fn start_once(
    out: Output,
    testnet: &Testnet,
    members: &[Member],
    lifeline: Option<&PathBuf>,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<(Children, Vec<RunInfo>)> {
    let _alone = ports::choose_alone(OTHER_LAUNCHERS_LIMIT);
    wire(out, testnet, members)?;
    let mut children = Children::default();
    let started = members.iter().try_for_each(|member| {
        children
            .children
            .push(process::spawn(member, lifeline.map(PathBuf::as_path))?);
        Ok(())
    });
    let running = started.and_then(|()| {
        let pairs = members.iter().zip(&mut children.children);
        pairs
            .map(|(member, child)| process::wait_started(member, child, is_interrupted))
            .collect::<Result<Vec<RunInfo>>>()
    });
    match running {
        Ok(infos) => Ok((children, infos)),
        Err(failure) => {
            process::stop_all(members, &|| false);
            // Those that had not yet said where they are.
            for child in &mut children.children {
                let _ = child.kill();
                let _ = child.wait();
            }
            Err(failure)
        }
    }
}

/// Gives nodes that are about to start free ports, and tells all others of them.
fn wire(out: Output, testnet: &Testnet, members: &[Member]) -> Result {
    let _alone = lock::change_alone(testnet)?;
    let deadline = Instant::now() + OWN_PORTS_LIMIT;
    let mut is_patient = || {
        std::thread::sleep(OWN_PORTS_POLL);
        Instant::now() < deadline
    };
    for member in members {
        if let Some(ports) = wiring::ensure_free_ports(testnet, member, &mut is_patient)? {
            let (name, p2p, http) = (&member.name, ports.p2p, ports.http);
            out.note(&format!(
                "{name} moves to ports {p2p} (peers) and {http} (HTTP): those in its configuration are not free"
            ));
        }
    }
    wiring::rewire(testnet)
}
