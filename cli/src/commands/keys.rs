//! `tintype keys`: the client keys of a testnet's folder.

use crate::{
    context::Context,
    failure::{Failure, Result},
    names::{Names, by_prefix, is_like_an_address},
    table::{fields, table},
};
use clap::Subcommand;
use ledger::{
    hash::Address,
    keys::{PublicKey, SecretKey},
};
use node::config::{parse_key, random_key, read_key, write_key};
use serde::Serialize;
use serde_json::json;
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// `tintype keys ...`
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key; its account comes to be with the first transfer to it
    Add {
        /// Its name
        name: String,
    },
    /// List the names and addresses of all keys
    List,
    /// Show a key's address and public key
    Show {
        /// A key's or a node's name, or an address
        name: String,
    },
    /// Take a key over from a file
    Import {
        /// Its name here
        name: String,
        /// A file with the seed as 64 hex digits; `-` is standard input
        file: PathBuf,
    },
    /// Print a key's secret seed, or write it to a file that only you can read
    Export {
        /// Its name
        name: String,
        /// Where to write it [default: standard output]
        file: Option<PathBuf>,
    },
}

/// A key's public half.
#[derive(Clone, Debug, Serialize)]
struct Shown {
    name: String,
    address: Address,
    public_key: PublicKey,
}

impl Shown {
    fn of(name: &str, key: &SecretKey) -> Self {
        let (name, address, public_key) = (name.to_owned(), key.address(), key.public_key());
        Self {
            name,
            address,
            public_key,
        }
    }

    fn text(&self) -> String {
        fields(&[
            ("name", self.name.clone()),
            ("address", self.address.to_string()),
            ("public key", self.public_key.to_string()),
        ])
    }
}

/// Does what was typed.
///
/// # Errors
/// If a key is not there, or is there already, or cannot be read or written.
pub fn run(context: &Context, command: &KeysCommand) -> Result {
    let names = Names::of(&context.dir);
    match command {
        KeysCommand::Add { name } => store(context, &names, name, &random_key()),
        KeysCommand::Import { name, file } => store(context, &names, name, &read_seed(file)?),
        KeysCommand::List => list(context, &names),
        KeysCommand::Show { name } => {
            let shown = find(&names, name)?;
            context.out.result(&shown, || shown.text());
            Ok(())
        }
        KeysCommand::Export { name, file } => export(context, &names, name, file.as_deref()),
    }
}

fn store(context: &Context, names: &Names, name: &str, key: &SecretKey) -> Result {
    let file = names.key_file(name)?;
    if is_like_an_address(name) {
        let message = format!("{name} reads as an address, or as the beginning of one");
        return Err(Failure::usage(message).help("choose a name with another letter in it"));
    }
    if names.is_node(name) {
        let message = format!("{name} is a node of this testnet: its key has that name");
        return Err(Failure::failed("exists", message).help("choose another name"));
    }
    if file.exists() {
        let message = format!("there is a key {name:?} already: {}", file.display());
        return Err(Failure::failed("exists", message).help("choose another name"));
    }
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir).map_err(|e| Failure::io("cannot make the folder", dir, &e))?;
    }
    write_key(&file, key)?;
    let shown = Shown::of(name, key);
    context.out.result(&shown, || shown.text());
    Ok(())
}

fn all(names: &Names) -> Result<Vec<Shown>> {
    let found = names.client_keys()?;
    found
        .iter()
        .map(|name| Ok(Shown::of(name, &read_key(&names.key_file(name)?)?)))
        .collect()
}

fn list(context: &Context, names: &Names) -> Result {
    let keys = all(names)?;
    context.out.result(&json!({"keys": keys}), || {
        let rows: Vec<Vec<String>> = keys
            .iter()
            .map(|k| {
                vec![
                    k.name.clone(),
                    k.address.to_string(),
                    k.public_key.to_string(),
                ]
            })
            .collect();
        table(&["NAME", "ADDRESS", "PUBLIC-KEY"], &rows)
    });
    Ok(())
}

fn find(names: &Names, text: &str) -> Result<Shown> {
    let keys = all(names)?;
    let hex: Vec<(String, usize)> = keys
        .iter()
        .enumerate()
        .map(|(index, key)| (key.address.to_string(), index))
        .collect();
    let by_name = keys.iter().position(|key| key.name == text);
    match by_name
        .or(by_prefix(text, &hex)?)
        .and_then(|index| keys.get(index))
    {
        Some(key) => Ok(key.clone()),
        None => Ok(Shown::of(text, &names.secret(text)?)),
    }
}

fn read_seed(file: &Path) -> Result<SecretKey> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(1024).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(1024).read_to_string(&mut text))
    };
    read.map_err(|e| Failure::io("cannot read", file, &e))?;
    parse_key(&text).ok_or_else(|| {
        let message = format!("{} holds no key: expected 64 hex digits", file.display());
        Failure::failed("key_malformed", message)
            .help("`tintype keys export NAME FILE` writes such a file")
    })
}

fn export(context: &Context, names: &Names, name: &str, file: Option<&Path>) -> Result {
    let key = names.secret(name)?;
    let shown = Shown::of(name, &key);
    let (address, public_key) = (shown.address, shown.public_key);
    if let Some(file) = file {
        write_key(file, &key)?;
        let file = file.display().to_string();
        let document =
            json!({"name": name, "address": address, "public_key": public_key, "file": file});
        context.out.result(&document, || {
            format!("{name} is in {file}: whoever has it is {name}")
        });
        return Ok(());
    }
    let seed = hex::encode(key.seed());
    let document =
        json!({"name": name, "address": address, "public_key": public_key, "seed": seed});
    context.out.result(&document, || seed.clone());
    Ok(())
}
