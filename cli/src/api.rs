//! What the HTTP API answers: the documents are the node's own types, which say what each field means. Here is only what
//! the commands ask of them besides.

pub use node::api::types::*;

/// Whether a transaction is in no block and can be in none: refused, or dropped while it waited.
pub fn is_out(answer: &TransactionAnswer) -> bool {
    answer.status == TransactionState::Failed && answer.height.is_none()
}

/// The answer as a command prints it. What to do about a failure stands with the error, not in here.
#[must_use]
pub fn without_help(answer: &TransactionAnswer) -> TransactionAnswer {
    TransactionAnswer {
        help: None,
        ..answer.clone()
    }
}
