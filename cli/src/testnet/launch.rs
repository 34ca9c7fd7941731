//! Starting nodes, alone or all together.

use super::{Member, Testnet, lock, ports, process, wiring};
use crate::failure::Result;
use node::config::RunInfo;
use std::{path::PathBuf, process::Child, time::Duration};

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
/// How often other ports are chosen because another program took them before the nodes could.
const PORT_CHOICES_MAX: u32 = 5;

/// Starts nodes that do not run, and waits until all have bound their ports. If one fails to, the others of this call
/// are stopped again; if that was for want of its ports, which two testnets that start at one moment may both have
/// chosen, all are started again with others.
///
/// # Errors
/// The first failure.
pub fn start(
    testnet: &Testnet,
    members: &[Member],
    lifeline: Option<&PathBuf>,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<(Children, Vec<RunInfo>)> {
    let mut choices = 1;
    loop {
        match start_once(testnet, members, lifeline, is_interrupted) {
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

fn start_once(
    testnet: &Testnet,
    members: &[Member],
    lifeline: Option<&PathBuf>,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<(Children, Vec<RunInfo>)> {
    let _alone = ports::choose_alone(OTHER_LAUNCHERS_LIMIT);
    for member in members {
        wiring::ensure_free_ports(testnet, member)?;
    }
    wiring::rewire(testnet)?;
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

/// The lifeline that a node needs which is started from another terminal: none unless a launcher runs in the foreground.
///
/// # Errors
/// If the lock cannot be looked at.
pub fn lifeline(testnet: &Testnet) -> Result<Option<PathBuf>> {
    Ok(lock::holder(testnet)?.map(|_| testnet.lock_file()))
}
