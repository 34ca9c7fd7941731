//! Blocks and roots.

use super::{
    Api,
    error::{Answer, ApiError},
    extract::{self, HASH_DIGITS, Nothing, Path, Query},
    types,
};
use crate::handle::{BlockName, NotHere};
use axum::{Json, extract::State};
use ledger::{block::CommittedBlock, transaction::SignedTransaction, units::Height};

#[utoipa::path(get, path = "/v1/blocks/{name}", tag = "chain",
    params(("name" = String, Path, description = "A height, 8 or more hex digits of a hash, or `latest`")),
    responses(
        (status = 200, description = "The block", body = types::Block),
        (status = "4XX", description = "Not there, not kept, or badly asked", body = types::ErrorDocument),
    ))]
pub(super) async fn block(
    State(api): State<Api>,
    Path(name): Path,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<types::Block> {
    api.ask(move |node| {
        let committed = named(&name, |name| node.block(name))?;
        let CommittedBlock {
            block,
            certificate,
            outcomes,
        } = committed;
        let header = block.header;
        Ok(Json(types::Block {
            height: header.height,
            hash: header.hash(),
            parent: header.parent,
            time: header.time,
            round: header.round,
            proposer: header.proposer,
            state_root: header.state_root,
            transactions: block
                .transactions
                .iter()
                .map(SignedTransaction::id)
                .collect(),
            outcomes: Some(outcomes.iter().map(|outcome| outcome.code).collect()),
            header,
            certificate,
        }))
    })
    .await
}

/// What `find` has of the block that is named. Decimal digits are a height, unless the chain is not that far and they begin a block's hash.
fn named<T>(name: &str, find: impl Fn(&BlockName) -> Result<T, NotHere>) -> Result<T, ApiError> {
    if name == "latest" {
        return Ok(find(&BlockName::Latest)?);
    }
    let height = name.parse::<Height>().ok();
    let Some(height) = height.filter(|_| name.len() < HASH_DIGITS && !name.starts_with('+')) else {
        let prefix = extract::hex_prefix(name).map_err(|_| {
            let message = format!("{:?} names no block", extract::shortened(name));
            ApiError::bad_request(
                message,
                "give a height, 8 to 64 hex digits of a hash, or latest",
            )
        })?;
        return Ok(find(&BlockName::Hash(prefix))?);
    };
    match find(&BlockName::Height(height)) {
        Err(future @ NotHere::Future { .. }) => {
            let prefix = extract::hex_prefix(name).ok();
            prefix
                .and_then(|prefix| find(&BlockName::Hash(prefix)).ok())
                .ok_or_else(|| future.into())
        }
        other => Ok(other?),
    }
}

#[utoipa::path(get, path = "/v1/light/{name}", tag = "chain",
    params(("name" = String, Path, description = "A height, 8 or more hex digits of a hash, or `latest`")),
    responses(
        (status = 200, description = "What a light client needs to believe the block's header", body = types::LightBlock),
        (status = "4XX", description = "Not there, not kept, or badly asked", body = types::ErrorDocument),
    ))]
pub(super) async fn light(
    State(api): State<Api>,
    Path(name): Path,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<types::LightBlock> {
    api.ask(move |node| {
        let block = named(&name, |name| node.light_block(name))?;
        Ok(Json(types::LightBlock {
            height: block.header.height,
            hash: block.header.hash(),
            header: block.header,
            certificate: block.certificate,
            validators: block.validators,
        }))
    })
    .await
}

#[utoipa::path(get, path = "/v1/roots/{height}", tag = "chain",
    params(("height" = u64, Path, description = "The height")),
    responses(
        (status = 200, description = "The state root after that height, as this node has it", body = types::Root),
        (status = "4XX", description = "Not reached, not kept, or badly asked", body = types::ErrorDocument),
    ))]
pub(super) async fn root(
    State(api): State<Api>,
    Path(height): Path,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<types::Root> {
    let height = extract::height(&height)?;
    api.ask(move |node| {
        let root = node.root(height)?;
        let name = node.status().name;
        Ok(Json(types::Root { name, height, root }))
    })
    .await
}
