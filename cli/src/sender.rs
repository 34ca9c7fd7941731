//! Making, signing and sending transactions, and waiting until they are final.
//!
//! A transaction is signed again with a fresh nonce only when the node said that it is in no block and can be in none:
//! refused, or dropped while it waited. While it could still be committed it is never replaced, so nothing is done twice.

use crate::{
    api::{self, TransactionAnswer, TransactionState, is_out, without_help},
    client::Client,
    failure::{Exit, Failure, Result},
    interrupt::{self, Known},
    testnet::Testnet,
};
use ledger::{
    codec,
    hash::{Address, ChainId, TxId},
    keys::SecretKey,
    transaction::{Operation, Transaction},
    units::{Height, Nonce},
};
use serde_json::Map;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// How often a transaction is signed anew because another client used its nonce.
const ATTEMPTS_MAX: u32 = 10;
/// For how many blocks a transaction stays valid at the least, if nobody says.
const VALID_BLOCKS_MIN: u64 = 100;
/// How many more, by chance: one in so many is the odds that two equal transactions of one nonce become one.
const VALID_BLOCKS_CHANCE: u64 = 16_384;
/// How long one request waits on the node.
const WAIT_STEP_S: u64 = 10;
/// How long a submission may take to be answered.
const SUBMIT_LIMIT: Duration = Duration::from_secs(20);

/// How to send.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The nonce, if it was given: then nothing is signed again.
    pub nonce: Option<Nonce>,
    /// For how many blocks the transaction stays valid; some 100 and more, by chance, if none is given.
    pub valid_for: Option<u64>,
    /// How long to wait for a block; none returns at once.
    pub wait: Option<Duration>,
}

/// Sends transactions of one chain through one node.
#[derive(Debug)]
pub struct Sender<'a> {
    client: &'a Client,
    chain: ChainId,
}

impl<'a> Sender<'a> {
    /// Through a node, on its chain.
    ///
    /// # Errors
    /// If the node does not answer, or is of another chain than the genesis in `dir`, if there is one: the keys there
    /// are for that chain.
    pub fn new(client: &'a Client, dir: &Path) -> Result<Self> {
        let chain = client.get::<api::Status>("/v1/status")?.chain_id;
        let expected = Testnet::at(dir)
            .genesis()
            .ok()
            .map(|genesis| genesis.chain_id());
        if let Some(expected) = expected.filter(|expected| *expected != chain) {
            let (name, dir) = (client.name(), dir.display());
            let message = format!(
                "{name} is of chain {chain:.12}, the keys in {dir} are for chain {expected:.12}"
            );
            return Err(Failure::new(Exit::Refused, "wrong_chain", message)
                .help("choose another --node, or the --dir of that chain"));
        }
        Ok(Self { client, chain })
    }

    /// Signs, sends and waits, as the options say. What the ledger refuses or fails is a failure with the answer in it.
    ///
    /// # Errors
    /// Exit code 3 for what the ledger refuses, 5 for a node that does not answer, 1 if it takes too long.
    pub fn send(
        &self,
        key: &SecretKey,
        operations: &[Operation],
        options: Options,
    ) -> Result<TransactionAnswer> {
        let begun = Instant::now();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut answer = self.attempt(key, operations, options)?;
            let elapsed = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            answer.elapsed_ms = Some(elapsed);
            let again = options.nonce.is_none() && attempt < ATTEMPTS_MAX && lost_a_race(&answer);
            if !again {
                return judged(answer, &key.address(), options.wait);
            }
            std::thread::sleep(pause(attempt));
        }
    }

    fn attempt(
        &self,
        key: &SecretKey,
        operations: &[Operation],
        options: Options,
    ) -> Result<TransactionAnswer> {
        let nonce = match options.nonce {
            Some(nonce) => nonce,
            None => self.next_nonce(&key.address())?,
        };
        let head = self.client.get::<api::Status>("/v1/status")?.height;
        let transaction = Transaction {
            chain: self.chain,
            sender: key.public_key(),
            nonce,
            last_valid: Height(
                head.0
                    .saturating_add(options.valid_for.unwrap_or_else(valid_by_chance)),
            ),
            operations: operations.to_vec(),
        };
        let signed = transaction.sign(key);
        let id = signed.id();
        let body = [hex::encode(codec::encode(&signed))];
        interrupt::leaves("transaction", on_its_way(&id));
        let answers: Vec<TransactionAnswer> = self
            .client
            .post("/v1/transactions", &body, SUBMIT_LIMIT)
            .map_err(|failure| maybe_sent(failure, &id))?;
        let answer = answers.into_iter().next().ok_or_else(|| {
            Failure::failed("bad_answer", "the node answered a submission with nothing")
        })?;
        let answer = match options.wait {
            Some(limit) if answer.status == TransactionState::Pending => self
                .wait(&id, limit, answer)
                .map_err(|failure| maybe_sent(failure, &id))?,
            _ => answer,
        };
        if answer.status != TransactionState::Pending {
            interrupt::leaves("transaction", Known::default());
        }
        Ok(answer)
    }

    fn next_nonce(&self, address: &Address) -> Result<Nonce> {
        let account = self
            .client
            .get::<api::Account>(&format!("/v1/accounts/{address}"));
        match account {
            Ok(account) => Ok(account.next_nonce),
            Err(failure) if failure.code == "not_found" => {
                let message = format!("the account {address} does not exist");
                Err(Failure::new(Exit::Refused, "unknown_account", message)
                    .help("transfer something to it first: that makes it"))
            }
            Err(failure) => Err(failure),
        }
    }

    fn wait(
        &self,
        id: &TxId,
        limit: Duration,
        mut answer: TransactionAnswer,
    ) -> Result<TransactionAnswer> {
        let deadline = Instant::now() + limit;
        while answer.status == TransactionState::Pending {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let seconds = left.as_secs().clamp(1, WAIT_STEP_S);
            let path = format!("/v1/transactions/{id}?wait={seconds}");
            answer = self
                .client
                .get_within(&path, Duration::from_secs(seconds + 10))?;
        }
        Ok(answer)
    }
}

/// Whether it is out because another transaction had its nonce.
fn lost_a_race(answer: &TransactionAnswer) -> bool {
    let code = answer.code.as_deref().unwrap_or_default();
    is_out(answer) && matches!(code, "stale_nonce" | "nonce_taken" | "future_nonce")
}

/// A growing pause with chance in it, so that two clients do not meet again and again.
fn pause(attempt: u32) -> Duration {
    use rand_core::RngCore;
    let chance = u64::from(rand_core::OsRng.next_u32() % 40);
    Duration::from_millis(20 * u64::from(attempt) + chance)
}

/// What is known of a transaction that is sent and waited for.
fn on_its_way(id: &TxId) -> Known {
    Known {
        message: format!("the transaction {id} was sent, and may still become final"),
        help: format!("`tintype query tx {id}` says what became of it"),
        found: Map::from_iter([("id".to_owned(), id.to_string().into())]),
        ..Known::default()
    }
}

/// A submission that got no answer may be committed all the same: the id tells.
fn maybe_sent(mut failure: Failure, id: &TxId) -> Failure {
    if failure.exit == Exit::Unreachable {
        failure
            .message
            .push_str(&format!("; the transaction {id} may still be committed"));
        failure.help = format!("`tintype query tx {id}` says what became of it").into();
        failure.found.insert("id".into(), id.to_string().into());
    }
    failure
}

/// Makes a failure of what did not succeed.
fn judged(
    answer: TransactionAnswer,
    sender: &Address,
    wait: Option<Duration>,
) -> Result<TransactionAnswer> {
    match answer.status {
        TransactionState::Committed => Ok(answer),
        TransactionState::Pending if wait.is_none() => Ok(answer),
        TransactionState::Pending => {
            let id = answer.id.map(|id| id.to_string()).unwrap_or_default();
            let message = format!("the transaction {id} is in no block yet");
            Err(Failure::failed("timeout", message)
                .help(format!(
                    "`tintype query tx {id}` says what became of it; do the validators run?"
                ))
                .with_found(&answer))
        }
        TransactionState::Failed => Err(failed(&answer, sender)),
    }
}

/// The failure of a transaction that the ledger refused or that had no effect.
pub fn failed(answer: &TransactionAnswer, sender: &Address) -> Failure {
    let code = answer.code.clone().unwrap_or_else(|| "failed".into());
    let help = answer.help.clone().unwrap_or_default();
    let what = if is_out(answer) {
        "refused"
    } else {
        "committed without effect"
    };
    let message = format!("transaction of {sender:.12} {what}: {}", answer.message);
    Failure::new(Exit::Refused, code, message)
        .help(help)
        .with_found(&without_help(answer))
}

/// For how many blocks a transaction stays valid if nobody says. Two people who send the same from one account at the
/// same moment mean two transactions; without a difference they would be one, with one id. So chance decides.
fn valid_by_chance() -> u64 {
    let chance = rand_core::RngCore::next_u32(&mut rand_core::OsRng);
    VALID_BLOCKS_MIN + u64::from(chance) % VALID_BLOCKS_CHANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(
        status: TransactionState,
        code: Option<&str>,
        height: Option<u64>,
    ) -> TransactionAnswer {
        TransactionAnswer {
            id: None,
            status,
            code: code.map(Into::into),
            message: "x".into(),
            help: None,
            height: height.map(Height),
            block_hash: None,
            state_root: None,
            index: None,
            elapsed_ms: None,
        }
    }

    #[test]
    fn only_what_can_be_in_no_block_is_signed_again() {
        use TransactionState::{Committed, Failed, Pending};
        assert!(lost_a_race(&answer(Failed, Some("stale_nonce"), None)));
        assert!(lost_a_race(&answer(Failed, Some("nonce_taken"), None)));
        assert!(
            !lost_a_race(&answer(Failed, Some("stale_nonce"), Some(3))),
            "it is in a block"
        );
        assert!(!lost_a_race(&answer(Pending, None, None)));
        assert!(!lost_a_race(&answer(Committed, None, Some(3))));
        assert!(!lost_a_race(&answer(Failed, Some("expired"), None)));
    }

    #[test]
    fn a_failed_transaction_says_why_beside_what_is_known_of_it() {
        let found = TransactionAnswer {
            help: Some("send less".into()),
            ..answer(
                TransactionState::Failed,
                Some("insufficient_balance"),
                Some(7),
            )
        };
        let failure = judged(found, &Address([1; 32]), None).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        let document = failure.document();
        assert_eq!(document["error"]["code"], "insufficient_balance");
        assert_eq!(document["status"], "failed");
        assert_eq!(document["height"], 7);
        assert_eq!(document["error"]["help"], "send less");
        let fields: Vec<&String> = document.as_object().unwrap().keys().collect();
        assert_eq!(
            fields,
            [
                "block_hash",
                "code",
                "elapsed_ms",
                "error",
                "height",
                "id",
                "index",
                "message",
                "state_root",
                "status"
            ]
        );
    }
}
