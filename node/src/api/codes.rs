//! The stable codes: one for each reason why the ledger or the node refuses, with what to do about it.
//!
//! Every match here is exhaustive, so that a new reason cannot be forgotten.

use crate::handle::Refusal;
use axum::http::StatusCode;
use ledger::{
    state::{Code, Inadmissible},
    transaction::TransactionError,
};

/// A reason as a program and a person need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Why {
    /// The HTTP status it is answered with when it is the whole answer.
    pub status: StatusCode,
    /// The stable code.
    pub code: &'static str,
    /// What to do.
    pub help: &'static str,
}

const fn why(status: StatusCode, code: &'static str, help: &'static str) -> Why {
    Why { status, code, help }
}

/// Why the node did not take a transaction in.
pub(super) const fn refusal(refusal: &Refusal) -> Why {
    match refusal {
        Refusal::Invalid(error) => transaction(error),
        Refusal::Inadmissible(reason) => inadmissible(reason),
        Refusal::NonceTaken { .. } => why(
            StatusCode::CONFLICT,
            "nonce_taken",
            "wait for that transaction, or sign this one again with the account's next_nonce",
        ),
        Refusal::PoolFull { .. } => why(
            StatusCode::TOO_MANY_REQUESTS,
            "pool_full",
            "send it again in a few seconds, or to another node",
        ),
        Refusal::SenderFull { .. } => why(
            StatusCode::TOO_MANY_REQUESTS,
            "sender_full",
            "wait until some of this account's transactions are in a block, then send it again",
        ),
        Refusal::NotReady(_) => why(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_ready",
            "wait until /ready answers 200, or send it to another node",
        ),
        Refusal::FollowsSpaces => why(
            StatusCode::MISDIRECTED_REQUEST,
            "not_followed",
            "send it to a node that follows the whole chain",
        ),
    }
}

/// Why a transaction may not be in the next block.
const fn inadmissible(reason: &Inadmissible) -> Why {
    match reason {
        Inadmissible::Limits(error) => transaction(error),
        Inadmissible::UnknownSender(_) => why(
            StatusCode::CONFLICT,
            "unknown_account",
            "transfer something to the account first: that makes it",
        ),
        Inadmissible::StaleNonce { .. } => why(
            StatusCode::CONFLICT,
            "stale_nonce",
            "ask for the account's next_nonce, and sign the transaction again with it",
        ),
        Inadmissible::FutureNonce { .. } => why(
            StatusCode::CONFLICT,
            "future_nonce",
            "send the transactions with the nonces before it first",
        ),
        Inadmissible::Expired { .. } => why(
            StatusCode::CONFLICT,
            "expired",
            "sign it again with a later last_valid height",
        ),
    }
}

/// Why a transaction is bad whatever the state is.
pub(super) const fn transaction(error: &TransactionError) -> Why {
    match error {
        TransactionError::TooLarge { .. } => why(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "split it into smaller transactions",
        ),
        TransactionError::WrongChain { .. } => why(
            StatusCode::CONFLICT,
            "wrong_chain",
            "sign it for this chain, or send it to a node of the other",
        ),
        TransactionError::OperationCount { .. } => why(
            StatusCode::BAD_REQUEST,
            "operation_count",
            "give it at least one operation, or split it into several transactions",
        ),
        TransactionError::OutOfBounds { .. } => why(
            StatusCode::BAD_REQUEST,
            "out_of_bounds",
            "keep names, keys, values and lists within the chain's limits",
        ),
        TransactionError::InvalidSignature => why(
            StatusCode::BAD_REQUEST,
            "invalid_signature",
            "sign exactly these bytes with the key that the transaction names as its sender",
        ),
        TransactionError::Malformed(_) => why(
            StatusCode::BAD_REQUEST,
            "malformed",
            "send the canonical encoding of a signed transaction, in hex or base64",
        ),
    }
}

/// Why a transaction that is in a block changed nothing; none if it was applied.
pub(super) const fn outcome(code: Code) -> Option<(&'static str, &'static str)> {
    Some(match code {
        Code::Applied => return None,
        Code::InsufficientBalance => (
            "insufficient_balance",
            "send less, or transfer something to the sender first",
        ),
        Code::BalanceOverflow => ("balance_overflow", "send less, or to another account"),
        Code::SpaceExists => ("space_exists", "use it, or choose another name"),
        Code::SpaceNotFound => ("space_not_found", "make the space first"),
        Code::NotAWriter => (
            "not_a_writer",
            "ask the owner of the space to name this account as a writer",
        ),
        Code::NotTheOwner => ("not_the_owner", "let the owner of the space do it"),
        Code::VersionMismatch => (
            "version_mismatch",
            "read the record anew, decide again, and give the version that it has now",
        ),
        Code::RecordNotFound => ("record_not_found", "check the space and the key"),
        Code::TooManyEntries => (
            "too_many_entries",
            "delete records that are not needed, or use a space of another owner",
        ),
        Code::NotAValidator => ("not_a_validator", "let a validator approve it"),
        Code::AlreadyApproved => (
            "already_approved",
            "nothing is left to do here: other validators have to approve it",
        ),
        Code::UnsoundChange => (
            "unsound_change",
            "propose a change that leaves a validator, and parameters within their ranges",
        ),
    })
}
