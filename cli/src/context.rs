//! What every command is given: where results go, which testnet is meant, and which node to ask.

use crate::{
    client::{Client, Standing},
    failure::{Exit, Failure, Result},
    output::Output,
    testnet::{Member, Testnet, not_running, process},
};
use node::config::NodeDir;
use std::{path::PathBuf, time::Duration};

/// How long a node may take to answer whether it is there.
const PROBE_LIMIT: Duration = Duration::from_millis(1500);

/// What every command is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where results go.
    pub out: Output,
    /// The testnet's folder.
    pub dir: PathBuf,
    /// Whether the folder was named, or is the default.
    pub dir_given: bool,
    /// The node to ask: a name or a URL.
    pub node: Option<String>,
}

impl Context {
    /// Whether `--dir` can name what is meant: a file holds neither a testnet nor keys, which would then be missed one by one.
    ///
    /// # Errors
    /// `not_a_testnet` if it is a file.
    pub fn check_dir(&self) -> Result {
        if self.dir.is_dir() || !self.dir.exists() {
            return Ok(());
        }
        let message = format!("{} is a file, not a folder", self.dir.display());
        Err(Failure::failed("not_a_testnet", message)
            .help("--dir and TINTYPE_DIR name a testnet's folder, or a node's"))
    }

    /// The testnet meant.
    ///
    /// # Errors
    /// If there is none.
    pub fn testnet(&self) -> Result<Testnet> {
        Testnet::open(&self.dir)
    }

    /// The node to ask: the one that was named, or the first of those that follow the whole chain, if one does.
    ///
    /// # Errors
    /// Exit code 5 if none answers.
    pub fn client(&self) -> Result<Client> {
        match &self.node {
            Some(node) => self.named(node),
            None => best(self.clients()?).ok_or_else(|| self.nobody()),
        }
    }

    /// The node that is called so: a URL, or a name in the testnet.
    ///
    /// # Errors
    /// If there is none, or it does not run.
    pub fn named(&self, node: &str) -> Result<Client> {
        if is_url(node) {
            return Ok(Client::new(node, node));
        }
        let member = self.testnet()?.member(node)?;
        client_of(&member).ok_or_else(|| {
            let stopped = not_running(node);
            Failure {
                exit: Exit::Unreachable,
                ..stopped
            }
        })
    }

    /// All nodes of the testnet that run; the one that was named, if one was.
    ///
    /// # Errors
    /// Exit code 5 if none runs.
    pub fn clients(&self) -> Result<Vec<Client>> {
        if let Some(node) = &self.node {
            return Ok(vec![self.named(node)?]);
        }
        let clients: Vec<Client> = self.members()?.iter().filter_map(client_of).collect();
        if clients.is_empty() {
            return Err(self.nobody());
        }
        Ok(clients)
    }

    /// The nodes of the testnet, or the one whose folder was named.
    ///
    /// # Errors
    /// If there is neither.
    pub fn members(&self) -> Result<Vec<Member>> {
        // A node that is run by hand is asked through its own folder.
        let alone = NodeDir::new(&self.dir);
        if alone.config_file().is_file() {
            let name = alone.config()?.name;
            return Ok(vec![Member { name, dir: alone }]);
        }
        self.testnet()?.members()
    }

    fn nobody(&self) -> Failure {
        let message = format!("no node of {} answers", self.dir.display());
        Failure::new(Exit::Unreachable, "unreachable", message)
            .help("`tintype testnet` starts it, `tintype testnet status` shows its nodes")
    }
}

/// The first of those that can be asked about most; none if none answers.
pub fn best(clients: Vec<Client>) -> Option<Client> {
    let mut best: Option<(Standing, Client)> = None;
    for client in clients {
        let Some(standing) = client.standing(PROBE_LIMIT) else {
            continue;
        };
        if standing == Standing::Follows {
            return Some(client);
        }
        if best.as_ref().is_none_or(|(other, _)| standing < *other) {
            best = Some((standing, client));
        }
    }
    best.map(|(_, client)| client)
}

/// The API of a node that runs.
pub fn client_of(member: &Member) -> Option<Client> {
    process::alive(member)
        .map(|info| Client::new(&member.name, &info.http).with_token(member.dir.token()))
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{node, status};

    fn of(name: &'static str, ready: bool, spaces: &'static [&'static str]) -> Client {
        node(name, move |_| Some(status(name, 9, ready, spaces)))
    }

    /// Whatever their order.
    #[test]
    fn who_follows_the_whole_chain_is_asked_before_others() {
        let follower = of("flw", true, &["notes"]);
        let behind = of("behind", false, &[]);
        let full = of("node0", true, &[]);
        let gone = Client::new("gone", "http://127.0.0.1:1");
        let chosen = |clients: &[&Client]| {
            let clients = clients.iter().map(|client| (*client).clone()).collect();
            best(clients).map(|client| client.name().to_owned())
        };
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(chosen(&[&gone, &follower, &behind, &full]), named("node0"));
        assert_eq!(chosen(&[&full, &behind, &follower]), named("node0"));
        assert_eq!(chosen(&[&follower, &behind]), named("behind"));
        assert_eq!(chosen(&[&follower, &gone]), named("flw"));
        assert_eq!(chosen(&[&gone]), None);
    }
}
