//! What of an answer a proof shows, and what is the node's word: each answer is taken apart field by field, so that a new
//! field cannot be passed over.

use crate::api::{self, Evidence, SpaceRecord};
use ledger::{
    block::{transaction_ids_hash, transactions_root},
    genesis::Parameters,
    hash::TxId,
    state::{
        Code, Outcome,
        entries::{self, Entry},
    },
    validators::{Validator, ValidatorSet},
};

/// Digits by which a block or transaction is named, at the least.
const HASH_DIGITS_MIN: usize = 8;

/// An answer about one entry of the state.
pub trait Answer {
    /// What the state has of it.
    type Entry: Entry;
    /// The fields that no proof shows.
    const NOT_PROVEN: &'static [&'static str];

    /// What stands behind it.
    fn evidence(&self) -> &Evidence;

    /// Whether all that it says is so, if the state has this under that name. What it says of mempools and names is not
    /// looked at, and must not be shown as proven.
    fn agrees(&self, name: &<Self::Entry as Entry>::Name, entry: &Self::Entry) -> bool;
}

impl Answer for api::Account {
    type Entry = entries::Account;
    const NOT_PROVEN: &'static [&'static str] = &["name", "next_nonce"];

    fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    fn agrees(&self, name: &ledger::hash::Address, entry: &entries::Account) -> bool {
        let Self {
            name: _,
            address,
            balance,
            nonce,
            next_nonce: _,
            entries,
            evidence: _,
        } = self;
        address == name
            && (balance, nonce, entries) == (&entry.balance, &entry.nonce, &entry.entries)
    }
}

impl Answer for api::Record {
    type Entry = entries::Record;
    const NOT_PROVEN: &'static [&'static str] = &[];

    fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    fn agrees(&self, (in_space, name): &(String, Vec<u8>), entry: &entries::Record) -> bool {
        let Self {
            space,
            key,
            key_hex,
            value,
            value_hex,
            version,
            writer,
            written_at,
            evidence: _,
        } = self.clone();
        let said = SpaceRecord {
            key,
            key_hex,
            value,
            value_hex,
            version,
            writer,
            written_at,
        };
        space == *in_space && said == SpaceRecord::new(name, entry.clone())
    }
}

impl Answer for api::Space {
    type Entry = entries::Space;
    const NOT_PROVEN: &'static [&'static str] = &["records", "bytes", "records_root"];

    fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    fn agrees(&self, name: &str, entry: &entries::Space) -> bool {
        // Of its records only their own proof tells.
        let Self {
            space,
            owner,
            writers,
            changes,
            records: _,
            bytes: _,
            records_root: _,
            evidence: _,
        } = self;
        space == name && (owner, writers, changes) == (&entry.owner, &entry.writers, &entry.changes)
    }
}

impl Answer for api::Validators {
    type Entry = entries::ValidatorSets;
    const NOT_PROVEN: &'static [&'static str] = &["name"];

    fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    fn agrees(&self, (): &(), entry: &entries::ValidatorSets) -> bool {
        let Self {
            validators,
            total_power,
            evidence: _,
        } = self;
        let is_its = |v: &api::Validator| v.address == v.public_key.address();
        let said = validators.iter();
        let said = said.map(|v| Validator::new(v.public_key, v.power));
        let said = ValidatorSet::new(said.collect()).ok();
        validators.iter().all(is_its)
            && said.as_ref() == Some(&entry.current)
            && *total_power == entry.current.total()
    }
}

impl Answer for api::ChainParameters {
    type Entry = Parameters;
    const NOT_PROVEN: &'static [&'static str] = &[];

    fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    fn agrees(&self, (): &(), entry: &Parameters) -> bool {
        self.parameters == *entry
    }
}

/// Whether all that is said of a block is what its header says, which its hash covers; and the block is the one that is named:
/// by its height, the beginning of its hash, or as the latest. The certificate is another question.
pub fn is_whole(block: &api::Block, name: &str) -> bool {
    let api::Block {
        height,
        hash,
        parent,
        time,
        round,
        proposer,
        state_root,
        transactions,
        outcomes,
        header,
        certificate: _,
    } = block;
    // Fewer digits are a height, and never the beginning of a hash.
    let may_begin_a_hash = name.len() >= HASH_DIGITS_MIN;
    let begins = |hash: String| hash.starts_with(&name.to_ascii_lowercase());
    let is_named = name == "latest"
        || name.parse().is_ok_and(|asked: u64| asked == height.0)
        || (may_begin_a_hash && begins(hash.to_string()));
    let said = (height, parent, time, round, proposer, state_root);
    let is = (
        &header.height,
        &header.parent,
        &header.time,
        &header.round,
        &header.proposer,
        &header.state_root,
    );
    let outcomes_are_its = |codes: &Vec<Code>| {
        let outcomes: Vec<Outcome> = codes.iter().copied().map(Outcome::from).collect();
        let root = transactions_root(transactions.iter().copied().zip(&outcomes));
        codes.len() == transactions.len() && root == header.transactions_root
    };
    is_named
        && said == is
        && *hash == header.hash()
        && transaction_ids_hash(transactions.iter().copied()) == header.transaction_ids
        && outcomes.as_ref().is_none_or(outcomes_are_its)
}

/// Whether all that is said of a transaction's place is so in a block that is whole. What became of it the block tells, by
/// [`outcome_of`]; how long it took, and the figure in a message, nothing does.
pub fn is_in(answer: &api::TransactionAnswer, block: &api::Block) -> bool {
    let api::TransactionAnswer {
        id,
        status,
        code,
        message: _,
        help: _,
        height,
        block_hash,
        state_root,
        index,
        elapsed_ms: _,
    } = answer;
    let at = index.and_then(|index| usize::try_from(index).ok());
    let there = at.and_then(|at| block.transactions.get(at));
    let told = outcome_of(block, there).is_none_or(|outcome| {
        let became = match outcome {
            Code::Applied => (api::TransactionState::Committed, None),
            failed => (api::TransactionState::Failed, Some(code_text(failed))),
        };
        (*status, code.clone()) == became
    });
    id.is_some()
        && id.as_ref() == there
        && *height == Some(block.height)
        && *block_hash == Some(block.hash)
        && *state_root == Some(block.state_root)
        && told
}

/// What became of a transaction, as the block it is in says, if it does.
pub fn outcome_of(block: &api::Block, id: Option<&TxId>) -> Option<Code> {
    let at = block.transactions.iter().position(|t| Some(t) == id)?;
    block.outcomes.as_ref()?.get(at).copied()
}

/// A code as the API writes it.
fn code_text(code: Code) -> String {
    let text = serde_json::to_value(code).ok();
    let text = text.and_then(|value| value.as_str().map(str::to_owned));
    text.unwrap_or_default()
}

/// What a code means, without the figure that only the node tells.
pub fn meaning(code: Code) -> String {
    match code {
        Code::InsufficientBalance => "the sender's balance was too small".into(),
        Code::VersionMismatch => "the record had another version".into(),
        Code::TooManyEntries => "the owner of the space has as many entries as there may be".into(),
        other => Outcome::from(other).message(),
    }
}
