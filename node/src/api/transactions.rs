//! Submitting transactions, and what became of them.
//!
//! Each transaction gets its own answer, in order. The node's replica verifies them: nothing here believes a signature.

use super::{
    Api,
    body::{self, Claim, Submitted},
    codes::{self, Why},
    error::{Answer, ApiError},
    extract::{self, HASH_DIGITS, Path, Query, Wait},
    guard,
    types::{Submission, TransactionAnswer, TransactionState},
};
use crate::handle::{Inclusion, NotHere, Refusal, TransactionStatus};
use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use ledger::{hash::TxId, state::Inadmissible};
use std::time::Duration;
use tokio::time::Instant;

/// Longest that a client may wait for a transaction.
const WAIT_SECONDS_MAX: u64 = 60;

#[utoipa::path(post, path = "/v1/transactions", tag = "transactions",
    request_body(
        description = "One transaction or an array of them: a string with the canonical bytes in hex or base64, or an object \
                       that has one. As application/octet-stream: the canonical encoding of a list of byte strings.",
        content((Vec<Submission> = "application/json"), (Vec<u8> = "application/octet-stream")),
    ),
    responses(
        (status = 200, description = "An answer to each; for a single one not in an array, that answer alone", body = Vec<TransactionAnswer>),
        (status = "4XX", description = "The single one was refused, or the body cannot be read", body = super::types::ErrorDocument),
        (status = 503, description = "The node does not follow the chain", body = super::types::ErrorDocument),
    ))]
pub(super) async fn submit(State(api): State<Api>, request: Request) -> Result<Response, ApiError> {
    match body::read(&api, request).await? {
        Submitted::One(claim) => {
            let mut verdicts = offer(&api, vec![*claim]).await;
            let missing = || ApiError::internal("the node gave no answer");
            let answer = verdicts.pop().ok_or_else(missing)?;
            let answer = answer.map_err(|(_, refusal)| ApiError::from(&refusal))?;
            Ok(Json(answer).into_response())
        }
        Submitted::Many(claims) => {
            let verdicts = offer(&api, claims).await;
            let answers = verdicts
                .into_iter()
                .map(|verdict| verdict.unwrap_or_else(|(id, refusal)| refused(id, &refusal)));
            Ok(Json(answers.collect::<Vec<_>>()).into_response())
        }
    }
}

/// An answer, or the refusal of the transaction of that id.
type Verdict = Result<TransactionAnswer, (Option<TxId>, Refusal)>;

/// Offers the node what is a transaction, and gives a verdict on each claim.
async fn offer(api: &Api, claims: Vec<Claim>) -> Vec<Verdict> {
    let mut offered = Vec::with_capacity(claims.len());
    let ids: Vec<Result<TxId, Refusal>> = claims
        .into_iter()
        .map(|claim| {
            let untrusted = claim?;
            let id = untrusted.claim().id();
            offered.push(untrusted);
            Ok(id)
        })
        .collect();
    let mut answers = api.node.submit(offered).await.into_iter();
    ids.into_iter()
        .map(|id| {
            let id = id.map_err(|refusal| (None, refusal))?;
            match answers.next() {
                Some(Ok(id)) => Ok(pending(id)),
                Some(Err(refusal)) => again(api, id, refusal),
                None => {
                    let why = "it is stopping".to_owned();
                    Err((Some(id), Refusal::NotReady(why)))
                }
            }
        })
        .collect()
}

/// A client that got no answer sends its transaction again: it is told what became of it, not that its nonce is used.
fn again(api: &Api, id: TxId, refusal: Refusal) -> Verdict {
    let used = matches!(
        refusal,
        Refusal::NonceTaken { .. } | Refusal::Inadmissible(Inadmissible::StaleNonce { .. })
    );
    if used {
        match api.node.transaction(&id) {
            TransactionStatus::Pending => return Ok(pending(id)),
            TransactionStatus::Committed(committed) => return Ok(finished(id, &committed)),
            TransactionStatus::Unknown | TransactionStatus::Dropped(_) => {}
        }
    }
    Err((Some(id), refusal))
}

#[utoipa::path(get, path = "/v1/transactions/{id}", tag = "transactions",
    params(("id" = String, Path, description = "The id, or 8 or more digits of it"), Wait),
    responses(
        (status = 200, description = "What is known of it", body = TransactionAnswer),
        (status = "4XX", description = "Not known, or badly asked", body = super::types::ErrorDocument),
    ))]
pub(super) async fn lookup(
    State(api): State<Api>,
    Path(name): Path,
    Query(Wait { wait }): Query<Wait>,
) -> Answer<TransactionAnswer> {
    let started = Instant::now();
    if wait.is_some_and(|seconds| seconds > WAIT_SECONDS_MAX) {
        return Err(ApiError::bad_request(
            format!("a client may wait for {WAIT_SECONDS_MAX} seconds"),
            "wait for less, and ask again",
        ));
    }
    let name = extract::hex_prefix(&name)?;
    let id: TxId = if name.len() == HASH_DIGITS {
        let wrong = |_| ApiError::bad_request("that is no id", "give 64 hex digits");
        name.parse().map_err(wrong)?
    } else {
        let found = api.ask(move |node| Ok(node.transaction_id(&name))).await?;
        match found {
            Err(why @ NotHere::Unknown(_)) => return Err(not_known(&api, &why.to_string()).await),
            found => found?,
        }
    };
    let status = match wait {
        None => api.ask(move |node| Ok(node.transaction(&id))).await?,
        Some(seconds) => {
            let _permit = guard::free(&api.limits.waits, "waiting clients")?;
            let mut closing = api.closing.clone();
            tokio::select! {
                status = api.node.wait_for(id, Duration::from_secs(seconds)) => status,
                _ = closing.wait_for(|closing| *closing) => {
                    return Err(ApiError::not_ready("this node is stopping"));
                }
            }
        }
    };
    let mut answer = match status {
        TransactionStatus::Unknown => {
            let message = format!("no transaction {id} is known here");
            return Err(not_known(&api, &message).await);
        }
        TransactionStatus::Pending => pending(id),
        TransactionStatus::Committed(committed) => finished(id, &committed),
        TransactionStatus::Dropped(refusal) => refused(Some(id), &refusal),
    };
    if wait.is_some() {
        let waited = started.elapsed().as_millis();
        answer.elapsed_ms = Some(u64::try_from(waited).unwrap_or(u64::MAX));
    }
    Ok(Json(answer))
}

/// No such transaction: or none any more, on a node whose blocks begin after a snapshot.
async fn not_known(api: &Api, message: &str) -> ApiError {
    let status = match api.ask(|node| Ok(node.status())).await {
        Ok(status) => status,
        Err(error) => return error,
    };
    let first = status.earliest_block.unwrap_or(status.height.next());
    if first.0 <= 1 {
        return ApiError::not_found(message, "check the id, and ask the node it was sent to");
    }
    ApiError::not_found(
        format!("{message}: this node's blocks begin at height {first}"),
        "another node may have it: ask one whose `earliest_block` in /v1/status is lower; and check the id",
    )
}

fn pending(id: TxId) -> TransactionAnswer {
    TransactionAnswer {
        id: Some(id),
        status: TransactionState::Pending,
        code: None,
        message: "waiting for a block".into(),
        help: None,
        height: None,
        block_hash: None,
        state_root: None,
        index: None,
        elapsed_ms: None,
    }
}

fn finished(id: TxId, committed: &Inclusion) -> TransactionAnswer {
    let why = codes::outcome(committed.outcome.code);
    let status = match why {
        None => TransactionState::Committed,
        Some(_) => TransactionState::Failed,
    };
    TransactionAnswer {
        status,
        code: why.map(|(code, _)| code.into()),
        message: committed.outcome.message(),
        help: why.map(|(_, help)| help.into()),
        height: Some(committed.height),
        block_hash: Some(committed.block),
        state_root: Some(committed.state_root),
        index: Some(committed.index),
        ..pending(id)
    }
}

fn refused(id: Option<TxId>, refusal: &Refusal) -> TransactionAnswer {
    let Why { code, help, .. } = codes::refusal(refusal);
    TransactionAnswer {
        id,
        status: TransactionState::Failed,
        code: Some(code.into()),
        message: refusal.to_string(),
        help: Some(help.into()),
        ..pending(TxId::default())
    }
}
