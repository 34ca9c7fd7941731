//! The state: accounts, spaces, records and validators, at the newest or a given height, with proofs.

use super::{
    Api,
    error::{Answer, ApiError},
    extract::{self, At, HASH_DIGITS, Path, Query, shortened},
    types::{self, Evidence},
};
use crate::handle::{Backend, BlockName, NotHere};
use axum::{Json, extract::State, http::Uri};
use ledger::{
    block::CertifiedHeader,
    codec,
    genesis::{Genesis, GenesisValidator, Parameters},
    hash::Address,
    state::{
        View,
        entries::{self, Key},
    },
    units::Height,
};

/// A name in a path may have no more bytes than this, even if the chain allows less.
const NAME_BYTES_MAX: usize = 256;

pub(super) fn picture(node: &dyn Backend, at: At) -> Result<View, ApiError> {
    Ok(node.state(at.height)?)
}

/// The header of a height with its certificate, if the node has it.
fn certified(node: &dyn Backend, height: Height) -> Option<CertifiedHeader> {
    let head = node.status().head;
    if let Some(head) = head.filter(|head| head.header.height == height) {
        return Some(head);
    }
    let name = BlockName::Height(height);
    let certified = |header, certificate| CertifiedHeader {
        header,
        certificate,
    };
    match node.block(&name) {
        Ok(committed) => Some(certified(committed.block.header, committed.certificate)),
        // Who follows spaces has headers without blocks.
        Err(_) => {
            let block = node.light_block(&name).ok()?;
            Some(certified(block.header, block.certificate))
        }
    }
}

/// What stands behind an answer from `state` about the entry of `key`.
pub(super) fn evidence(
    node: &dyn Backend,
    state: &View,
    key: &Key,
    at: At,
) -> Result<Evidence, ApiError> {
    let prove = || state.tree().prove(&key.place());
    let proof = at.proof.then(prove).transpose()?;
    let proof = proof.map(|proof| codec::encode(&proof));
    Ok(evidence_by(node, state, proof))
}

/// What stands behind an answer from `state`, by this proof if one is wanted.
pub(super) fn evidence_by(node: &dyn Backend, state: &View, proof: Option<Vec<u8>>) -> Evidence {
    let (height, state_root) = (state.height(), state.root());
    let certified = certified(node, height);
    let vouched = |c: &CertifiedHeader| c.header.state_root == state_root;
    let verified = height == Height::GENESIS || certified.as_ref().is_some_and(vouched);
    let mut evidence = Evidence {
        height,
        state_root,
        verified,
        proof: None,
        header: None,
        certificate: None,
    };
    if let Some(proof) = proof {
        evidence.proof = Some(hex::encode(proof));
        if let Some(certified) = certified {
            evidence.header = Some(certified.header);
            evidence.certificate = Some(certified.certificate);
        }
    }
    evidence
}

/// What was asked for, if it is in the state; that it is not is said with the proof, if that is wanted.
pub(super) fn found_or_absent<T>(
    found: Option<T>,
    what: impl FnOnce() -> String,
    help: &str,
    evidence: &Evidence,
    at: At,
) -> Result<T, ApiError> {
    found.ok_or_else(|| {
        let message = format!("there is no {} at height {}", what(), evidence.height);
        let error = ApiError::not_found(message, help);
        if at.proof {
            error.with_absence(evidence.clone())
        } else {
            error
        }
    })
}

#[utoipa::path(get, path = "/v1/accounts/{address}", tag = "state",
    params(("address" = String, Path, description = "The address; a genesis account or validator also by 8 or more digits of it"), At),
    responses(
        (status = 200, description = "The account", body = types::Account),
        (status = "4XX", description = "Not there, not kept, or badly asked", body = types::ErrorDocument),
    ))]
pub(super) async fn account(
    State(api): State<Api>,
    Path(name): Path,
    Query(at): Query<At>,
) -> Answer<types::Account> {
    let name = extract::hex_prefix(&name)?;
    api.ask(move |node| {
        let address = address(node.genesis(), &name)?;
        let state = picture(node, at)?;
        let evidence = evidence(node, &state, &Key::Account(address), at)?;
        let account = found_or_absent(
            state.entry::<entries::Account>(&address)?,
            || format!("account {address}"),
            "check the address; an account comes to be when something is sent to it",
            &evidence,
            at,
        )?;
        let mut known = node.genesis().accounts.iter();
        Ok(Json(types::Account {
            name: known.find(|a| a.address == address).map(|a| a.name.clone()),
            address,
            balance: account.balance,
            nonce: account.nonce,
            next_nonce: node.next_nonce(&address).max(account.nonce),
            entries: account.entries,
            evidence,
        }))
    })
    .await
}

/// The address that is meant by its hex digits. The state cannot be searched by prefix, the genesis can.
fn address(genesis: &Genesis, digits: &str) -> Result<Address, ApiError> {
    if digits.len() == HASH_DIGITS {
        let wrong = |_| ApiError::bad_request("that is no address", "give 64 hex digits");
        return digits.parse().map_err(wrong);
    }
    let accounts = genesis.accounts.iter().map(|a| a.address);
    let validators = genesis.validators.iter().map(|v| v.public_key.address());
    let mut meant: Vec<Address> = accounts
        .chain(validators)
        .filter(|address| address.to_string().starts_with(digits))
        .collect();
    meant.sort_unstable();
    meant.dedup();
    match meant.as_slice() {
        [one] => Ok(*one),
        [] => Err(ApiError::not_found(
            format!("no account of the genesis begins with {digits}"),
            "give all 64 digits of the address",
        )),
        _ => Err(NotHere::Ambiguous(digits.to_owned()).into()),
    }
}

#[utoipa::path(get, path = "/v1/spaces/{space}/records/{key}", tag = "state",
    params(("space" = String, Path, description = "The space's name"),
        ("key" = String, Path, description = "The record's key, percent-encoded; any bytes"), At),
    responses(
        (status = 200, description = "The record", body = types::Record),
        (status = "4XX", description = "Not there, not kept, or badly asked", body = types::ErrorDocument),
    ))]
pub(super) async fn record(
    State(api): State<Api>,
    uri: Uri,
    Query(at): Query<At>,
) -> Answer<types::Record> {
    let space = space_name(extract::segment(&uri, 2))?;
    let key = extract::segment(&uri, 4);
    if key.is_empty() || key.len() > NAME_BYTES_MAX {
        let message = format!("a record's key has 1 to {NAME_BYTES_MAX} bytes");
        return Err(ApiError::bad_request(
            message,
            "percent-encode the key in the path",
        ));
    }
    api.ask(move |node| {
        let state = picture(node, at)?;
        let name = (space, key);
        let place = <entries::Record as entries::Entry>::key(&name);
        let evidence = evidence(node, &state, &place, at)?;
        let found = state.entry::<entries::Record>(&name)?;
        let (space, key) = name;
        let readable = String::from_utf8_lossy(&key).into_owned();
        let record = found_or_absent(
            found,
            || format!("record {:?} in space {space:?}", shortened(&readable)),
            "check the space and the key; a key is percent-encoded in the path",
            &evidence,
            at,
        )?;
        Ok(Json(types::Record {
            key: readable,
            key_hex: hex::encode(&key),
            value_hex: hex::encode(&record.value),
            value: String::from_utf8(record.value).ok(),
            version: record.version,
            writer: record.writer,
            written_at: record.written_at,
            space,
            evidence,
        }))
    })
    .await
}

pub(super) fn space_name(bytes: Vec<u8>) -> Result<String, ApiError> {
    let fits = (1..=NAME_BYTES_MAX).contains(&bytes.len());
    let name = String::from_utf8(bytes).ok().filter(|_| fits);
    name.ok_or_else(|| {
        let message = "the space's name is empty, too long or not UTF-8";
        ApiError::bad_request(message, "give the name of a space, percent-encoded")
    })
}

#[utoipa::path(get, path = "/v1/spaces/{space}", tag = "state",
    params(("space" = String, Path, description = "The space's name"), At),
    responses(
        (status = 200, description = "The space", body = types::Space),
        (status = "4XX", description = "Not there, not kept, or badly asked", body = types::ErrorDocument),
    ))]
pub(super) async fn space(
    State(api): State<Api>,
    uri: Uri,
    Query(at): Query<At>,
) -> Answer<types::Space> {
    let name = space_name(extract::segment(&uri, 2))?;
    api.ask(move |node| {
        let state = picture(node, at)?;
        let evidence = evidence(node, &state, &Key::Space(name.clone()), at)?;
        let space = found_or_absent(
            state.entry::<entries::Space>(&name)?,
            || format!("space {name:?}"),
            "check its name, and whether the space is not newer than that height",
            &evidence,
            at,
        )?;
        let subtree = state.tree().subtree(&Key::space_subtree(&name))?;
        let totals = subtree.as_ref().map(|s| s.totals()).unwrap_or_default();
        Ok(Json(types::Space {
            space: name,
            owner: space.owner,
            writers: space.writers,
            changes: space.changes,
            records: totals.entries,
            bytes: totals.bytes,
            records_root: subtree.map(|s| s.hash()),
            evidence,
        }))
    })
    .await
}

#[utoipa::path(get, path = "/v1/validators", tag = "state", params(At), responses(
    (status = 200, description = "Those who vote on the block of the height", body = types::Validators),
    (status = "4XX", description = "Not kept, or badly asked", body = types::ErrorDocument),
))]
pub(super) async fn validators(
    State(api): State<Api>,
    Query(at): Query<At>,
) -> Answer<types::Validators> {
    api.ask(move |node| {
        let state = picture(node, at)?;
        let sets = state.entry::<entries::ValidatorSets>(&())?;
        let set = &sets.ok_or_else(|| no_such("validators"))?.current;
        let known = &node.genesis().validators;
        let name = |v: &&GenesisValidator| v.name.clone();
        let validators = set.iter().map(|validator| types::Validator {
            name: known
                .iter()
                .find(|k| k.public_key == validator.public_key)
                .as_ref()
                .map(name),
            address: validator.address,
            public_key: validator.public_key,
            power: validator.power,
        });
        Ok(Json(types::Validators {
            validators: validators.collect(),
            total_power: set.total(),
            evidence: evidence(node, &state, &Key::Validators, at)?,
        }))
    })
    .await
}

#[utoipa::path(get, path = "/v1/parameters", tag = "state", params(At), responses(
    (status = 200, description = "The chain's limits, as they are after the block of the height", body = types::ChainParameters),
    (status = "4XX", description = "Not kept, or badly asked", body = types::ErrorDocument),
))]
pub(super) async fn parameters(
    State(api): State<Api>,
    Query(at): Query<At>,
) -> Answer<types::ChainParameters> {
    api.ask(move |node| {
        let state = picture(node, at)?;
        let parameters = state.entry::<Parameters>(&())?;
        Ok(Json(types::ChainParameters {
            parameters: parameters.ok_or_else(|| no_such("parameters"))?,
            evidence: evidence(node, &state, &Key::Parameters, at)?,
        }))
    })
    .await
}

/// What every state has.
fn no_such(what: &str) -> ApiError {
    ApiError::internal(format!("the state has no {what}"))
}
