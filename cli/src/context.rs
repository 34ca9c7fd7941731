//! What every command is given: where results go, which testnet is meant, and which node to ask.

use crate::{
    client::Client,
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
    /// The testnet meant.
    ///
    /// # Errors
    /// If there is none.
    pub fn testnet(&self) -> Result<Testnet> {
        Testnet::open(&self.dir)
    }

    /// The node to ask: the one that was named, or the first that answers, one that follows the chain before others.
    ///
    /// # Errors
    /// Exit code 5 if none answers.
    pub fn client(&self) -> Result<Client> {
        match &self.node {
            Some(node) => self.named(node),
            None => self.first_that_answers(),
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

    fn first_that_answers(&self) -> Result<Client> {
        let mut second_best = None;
        for client in self.clients()? {
            match client.status(PROBE_LIMIT) {
                Ok(status) if status.ready => return Ok(client),
                Ok(_) if second_best.is_none() => second_best = Some(client),
                _ => {}
            }
        }
        second_best.ok_or_else(|| self.nobody())
    }

    fn nobody(&self) -> Failure {
        let message = format!("no node of {} answers", self.dir.display());
        Failure::new(Exit::Unreachable, "unreachable", message)
            .help("`tintype testnet` starts it, `tintype testnet status` shows its nodes")
    }
}

/// The API of a node that runs.
pub fn client_of(member: &Member) -> Option<Client> {
    process::alive(member)
        .map(|info| Client::new(&member.name, &info.http).with_token(member.dir.token()))
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}
