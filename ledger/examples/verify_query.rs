//! Checks an answer of a node's HTTP API offline: no node, no network, no store.
//!
//! ```sh
//! curl 'http://127.0.0.1:26001/v1/spaces/notes/records/greeting?proof=true' > answer.json
//! cargo run --example verify_query --no-default-features -- genesis.json answer.json
//! ```
//! The answer may be an account or a record, or that there is none (the error document of a request with `?proof=true` has the
//! proof; then the third and fourth word say of what: `account ADDRESS`, or `record SPACE/KEY`). The validators are those of
//! the genesis; where they have changed, `/v1/light/HEIGHT` has them, and `ledger::light::follow` bridges what lies between.

#![allow(clippy::print_stdout, reason = "it is what the example is for")]

use ledger::{
    block::CertifiedHeader,
    genesis::Genesis,
    light::{LightBlock, Trusted, VerifiedState},
};
use serde::Deserialize;
use serde_json::Value;
use std::error::Error;

/// What stands beside every answer.
#[derive(Deserialize)]
struct Evidence {
    proof: String,
    #[serde(flatten)]
    certified: CertifiedHeader,
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [genesis, answer, about @ ..] = words.as_slice() else {
        return Err(
            "usage: verify_query genesis.json answer.json [account ADDRESS | record SPACE/KEY]"
                .into(),
        );
    };
    let genesis = Genesis::from_json(&std::fs::read(genesis)?)?;
    let answer: Value = serde_json::from_slice(&std::fs::read(answer)?)?;
    let evidence: Evidence =
        serde_json::from_value(answer.get("absence").unwrap_or(&answer).clone())?;
    let state = believed(&genesis, evidence.certified)?;
    let proof = hex::decode(evidence.proof)?;
    let about: Vec<&str> = about.iter().map(String::as_str).collect();
    println!("height {}, state root {}", state.height(), state.root());
    match about.as_slice() {
        ["account", address] => {
            println!("{:?}", state.account(&address.parse()?, &proof)?.value());
        }
        ["record", name] => {
            let (space, key) = name.split_once('/').ok_or("give SPACE/KEY")?;
            println!("{:?}", state.record(space, key.as_bytes(), &proof)?.value());
        }
        _ => match (answer["address"].as_str(), answer["space"].as_str()) {
            (Some(address), _) => {
                println!("{:?}", state.account(&address.parse()?, &proof)?.value());
            }
            (None, Some(space)) => {
                let key = hex::decode(answer["key_hex"].as_str().unwrap_or_default())?;
                println!("{:?}", state.record(space, &key, &proof)?.value());
            }
            (None, None) => return Err("the answer is no account and no record".into()),
        },
    }
    Ok(())
}

/// The state of a certified header, if the validators of the genesis have signed it.
fn believed(
    genesis: &Genesis,
    certified: CertifiedHeader,
) -> Result<VerifiedState, Box<dyn Error>> {
    let trusted = Trusted::genesis(genesis)?;
    let block = LightBlock::new(certified, genesis.validator_set()?);
    let state = trusted.verify(block)?.state();
    Ok(state.ok_or("the genesis has no header")?)
}
