//! `tintype query block` and `tintype query tx`: what was made final, proven by the certified header that names it.

use super::{QueryArgs, checker};
use crate::{
    answer::{is_in, meaning, outcome_of},
    api::{self, TransactionAnswer, TransactionState},
    client::{Client, segment},
    commands::tx,
    context::Context,
    evidence::Checker,
    failure::{Exit, Result},
    names::Names,
    table::{fields, grouped},
};
use serde_json::{Value, json};

/// Asks for a block.
pub(super) fn ask_block(context: &Context, name: &str, args: &QueryArgs) -> Result {
    let client = context.client()?;
    let checker = checker(context, &client, args)?;
    let (block, verified) = block(&checker, &client, name)?;
    let proposer = Names::of(&context.dir).name_of(&block.proposer);
    context.out.result(&document(&block, verified), || {
        let mut text = fields(&[
            ("height", grouped(block.height.0)),
            ("hash", block.hash.to_string()),
            ("parent", block.parent.to_string()),
            ("time", format!("{} ms since 1970", block.time)),
            (
                "proposer",
                proposer.unwrap_or_else(|| block.proposer.to_string()),
            ),
            ("state root", block.state_root.to_string()),
            ("verified", checker.verdict(verified)),
            ("transactions", grouped(block.transactions.len() as u64)),
        ]);
        for id in &block.transactions {
            text.push_str(&format!("  {id}\n"));
        }
        text
    });
    Ok(())
}

/// A block, and whether it is proven to be the chain's.
fn block(checker: &Checker<'_>, client: &Client, name: &str) -> Result<(api::Block, bool)> {
    let block: api::Block = client.get(&format!("/v1/blocks/{}", segment(name)))?;
    let verified = checker.block(&block, name)?;
    Ok((block, verified))
}

/// What scripts are told of a block: the header is spelt out, not repeated.
fn document(block: &api::Block, verified: bool) -> Value {
    json!({
        "height": block.height,
        "hash": block.hash,
        "parent": block.parent,
        "time": block.time,
        "proposer": block.proposer,
        "state_root": block.state_root,
        "transactions": block.transactions,
        "certificate": block.certificate,
        "verified": verified,
    })
}

/// Asks for a transaction.
pub(super) fn ask_transaction(context: &Context, id: &str, args: &QueryArgs) -> Result {
    let client = context.client()?;
    let checker = checker(context, &client, args)?;
    let found = transaction(&checker, &client, id)?;
    context.out.result(&found.document(), || {
        let mut pairs = tx::pairs(&found.answer);
        pairs.push(("verified", found.verdict(&checker)));
        fields(&pairs)
    });
    Ok(())
}

/// A transaction, and what of it is proven.
struct Found {
    answer: TransactionAnswer,
    verified: bool,
    /// How the node words what is proven, with figures that are not.
    wording: Option<String>,
}

/// What became of a transaction. What is in a block is proven by the block: its header covers ids and outcomes. What is in
/// none is always a node's word.
fn transaction(checker: &Checker<'_>, client: &Client, id: &str) -> Result<Found> {
    let answer: TransactionAnswer = client.get(&format!("/v1/transactions/{}", segment(id)))?;
    let answer = TransactionAnswer {
        elapsed_ms: None,
        ..api::without_help(&answer)
    };
    let asked = id.to_ascii_lowercase();
    if !answer
        .id
        .is_some_and(|id| id.to_string().starts_with(&asked))
    {
        return Err(checker.falsehood("it is about another transaction than was asked for"));
    }
    let mut found = Found {
        answer,
        verified: false,
        wording: None,
    };
    let answer = &mut found.answer;
    let Some(height) = answer.height else {
        if answer.status == TransactionState::Committed {
            return Err(checker.falsehood("it says \"committed\", and names no block"));
        }
        return Ok(found);
    };
    let name = height.to_string();
    let block = match block(checker, client, &name) {
        Ok(block) => Some(block),
        Err(failure) if failure.exit == Exit::Disagreement => return Err(failure),
        Err(failure) => {
            checker.unproven(&format!("its block was not given: {}", failure.message))?;
            None
        }
    };
    let Some((block, verified)) = block else {
        return Ok(found);
    };
    if !is_in(answer, &block) {
        return Err(checker.falsehood("its block has something else there"));
    }
    match outcome_of(&block, answer.id.as_ref()) {
        Some(code) if verified => {
            let wording = std::mem::replace(&mut answer.message, meaning(code));
            found.wording = (wording != answer.message).then_some(wording);
            found.verified = true;
        }
        Some(_) => {}
        None => checker.unproven("its block does not say what became of its transactions")?,
    }
    Ok(found)
}

impl Found {
    /// What scripts are told of it.
    fn document(&self) -> Value {
        let mut document = json!(self.answer);
        if let Some(fields) = document.as_object_mut() {
            fields.insert("verified".into(), self.verified.into());
            if let Some(wording) = &self.wording {
                fields.insert("node_says".into(), json!({"message": wording}));
            }
        }
        document
    }

    fn verdict(&self, checker: &Checker<'_>) -> String {
        match (self.answer.height, &self.wording) {
            (None, _) => {
                "no: it is in no block yet, as the node says, and no proof can show that".into()
            }
            (_, Some(wording)) => {
                format!(
                    "{}; the node says: {wording}",
                    checker.verdict(self.verified)
                )
            }
            _ => checker.verdict(self.verified),
        }
    }
}
