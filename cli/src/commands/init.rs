//! `tintype init`: a node's folder with its key and its configuration, for a node that is run by hand.

use crate::{
    context::Context,
    failure::{Failure, Result},
    table::fields,
    testnet::wiring::peer_id,
};
use clap::Args;
use ledger::{hash::Address, keys::PublicKey};
use node::config::{Config, ConfigError, NodeDir};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// `tintype init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The node's name [default: the folder's]
    #[arg(long)]
    pub name: Option<String>,
    /// The multiaddress to listen on for peers; as often as there are some
    #[arg(
        long,
        value_name = "MULTIADDR",
        default_value = "/ip4/0.0.0.0/tcp/26000"
    )]
    pub listen: Vec<String>,
    /// Where the HTTP interface listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:26001")]
    pub http: SocketAddr,
    /// The multiaddress of a peer to connect to, such as /ip4/192.0.2.7/tcp/26000; as often as there are peers
    #[arg(long = "peer", value_name = "MULTIADDR")]
    pub peers: Vec<String>,
}

/// What others need to know of a node: what `genesis` reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Initialised {
    /// Its name.
    pub name: String,
    /// The account of its key.
    pub address: Address,
    /// Its key.
    pub public_key: PublicKey,
    /// Its peer id.
    #[serde(default)]
    pub peer_id: String,
    /// Its folder.
    #[serde(default)]
    pub dir: String,
}

/// Makes the folder.
///
/// # Errors
/// If there is a node in it already, or it cannot be written.
pub fn run(context: &Context, args: &InitArgs) -> Result {
    if !context.dir_given {
        return Err(Failure::usage(
            "--dir is missing: the folder of the new node",
        ));
    }
    let dir = NodeDir::new(&context.dir);
    let shown = context.dir.display();
    if dir.config_file().exists() || dir.key_file().exists() {
        let message = format!("{shown} holds a node already");
        return Err(Failure::failed("exists", message).help("choose another --dir"));
    }
    let folder = context
        .dir
        .file_name()
        .map(|n| n.to_string_lossy().into_owned());
    let name = args
        .name
        .clone()
        .or(folder)
        .unwrap_or_else(|| "node".into());
    let mut config = Config::named(&name);
    config.p2p.listen.clone_from(&args.listen);
    config.p2p.peers.clone_from(&args.peers);
    config.http.address = args.http;
    config.check(&dir.config_file()).map_err(mistyped)?;
    std::fs::create_dir_all(dir.path())
        .map_err(|e| Failure::io("cannot make the folder", dir.path(), &e))?;
    dir.write_config(&config)?;
    let key = dir.create_identity()?;
    let public_key = key.public_key();
    let made = Initialised {
        name,
        address: key.address(),
        public_key,
        peer_id: peer_id(&public_key),
        dir: shown.to_string(),
    };
    context.out.result(&made, || {
        let next = format!("`tintype genesis` makes {}", dir.genesis_file().display());
        fields(&[
            ("name", made.name.clone()),
            ("address", made.address.to_string()),
            ("public key", made.public_key.to_string()),
            ("peer id", made.peer_id.clone()),
            ("next", next),
        ])
    });
    Ok(())
}

/// What is wrong was typed: there is no file yet to correct.
fn mistyped(error: ConfigError) -> Failure {
    let ConfigError::Value {
        field,
        value,
        wanted,
        ..
    } = error
    else {
        return error.into();
    };
    let option = match field {
        "name" => "--name (or the folder's name)",
        "p2p.listen" => "--listen",
        "p2p.peers" => "--peer",
        other => other,
    };
    Failure::usage(format!("{option} is {value}, it must be {wanted}"))
        .help("`tintype init --help` shows an example")
}
