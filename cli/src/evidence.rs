//! Checking a node's answers without believing the node: [`ledger::light`], fed over HTTP.
//!
//! Trust starts from the testnet's own genesis file, however old it is; `verify chain` minds its age. What cannot be tied to
//! it is reported as not verified. What is plainly false is a failure.

use crate::{
    api::{self, Evidence},
    client::{Client, Found, segment},
    failure::{Exit, Failure, Result},
    testnet::{Testnet, create::now},
};
use ledger::{
    block::CertifiedHeader,
    genesis::Genesis,
    light::{Clock, FollowError, LightBlock, Trusted, Verified, VerifiedState, follow},
    state::entries::Entry,
    units::Height,
};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{fmt, path::Path};

/// Checks answers of one node against the genesis of one testnet.
#[derive(Debug)]
pub struct Checker<'a> {
    genesis: Option<Genesis>,
    client: &'a Client,
    /// The height that was asked for, if one was.
    at: Option<u64>,
}

impl<'a> Checker<'a> {
    /// With the genesis in `dir`, if there is one, for answers of the height `at`, or of any.
    pub fn new(dir: &Path, client: &'a Client, at: Option<u64>) -> Self {
        let genesis = Testnet::at(dir).genesis().ok();
        Self {
            genesis,
            client,
            at,
        }
    }

    /// Whether there is a genesis to check anything against.
    pub const fn knows_genesis(&self) -> bool {
        self.genesis.is_some()
    }

    /// Whether `claimed`, or that there is none, is proven to be what the state has under that name.
    ///
    /// # Errors
    /// Exit code 4 if the proof or the certificate is false, or shows something else.
    pub fn holds<E: Entry + PartialEq>(
        &self,
        evidence: &Evidence,
        name: &E::Name,
        claimed: Option<&E>,
    ) -> Result<bool> {
        let proven = self.proven(evidence, |state, proof| state.entry::<E>(name, proof))?;
        let Some(proven) = proven else {
            return Ok(false);
        };
        if proven.value().as_ref() != claimed {
            return Err(self.falsehood("the proof shows another content than the answer"));
        }
        Ok(true)
    }

    /// What the proof of an answer shows of the state that the certificate is over; nothing, if the state cannot be tied to
    /// the genesis, or there is no proof.
    ///
    /// # Errors
    /// Exit code 4 if either is false.
    pub fn proven<T, E: fmt::Display>(
        &self,
        evidence: &Evidence,
        show: impl FnOnce(&VerifiedState, &[u8]) -> std::result::Result<Verified<T>, E>,
    ) -> Result<Option<Verified<T>>> {
        let Some(text) = &evidence.proof else {
            return Ok(None);
        };
        let Some(state) = self.state(evidence)? else {
            return Ok(None);
        };
        let proof = hex::decode(text).map_err(|e| self.falsehood(&e.to_string()))?;
        let shown = show(&state, &proof).map_err(|e| self.falsehood(&e.to_string()))?;
        Ok(Some(shown))
    }

    /// The state that an answer is from, believed; nothing, if it cannot be tied to the genesis.
    fn state(&self, evidence: &Evidence) -> Result<Option<VerifiedState>> {
        let Some(genesis) = &self.genesis else {
            return Ok(None);
        };
        let height = evidence.height;
        if self.at.is_some_and(|at| at != height.0) {
            return Err(self.falsehood("the answer is of another height than was asked for"));
        }
        let unsound = |e: ledger::genesis::GenesisError| self.falsehood(&e.to_string());
        let state = match (&evidence.header, &evidence.certificate) {
            (Some(header), Some(certificate)) => {
                let certified = CertifiedHeader {
                    header: header.clone(),
                    certificate: certificate.clone(),
                };
                self.certified(Trusted::genesis(genesis).map_err(unsound)?, certified)?
            }
            // The state of the genesis has no block: it follows from the file.
            _ if height == Height::GENESIS => {
                Some(VerifiedState::genesis(genesis).map_err(unsound)?)
            }
            _ => None,
        };
        let Some(state) = state else {
            return Ok(None);
        };
        if (state.root(), state.height()) != (evidence.state_root, height) {
            return Err(self.falsehood("the header is of another state than the answer"));
        }
        Ok(Some(state))
    }

    fn certified(
        &self,
        trusted: Trusted,
        certified: CertifiedHeader,
    ) -> Result<Option<VerifiedState>> {
        let header = &certified.header;
        let set = if header.validators == trusted.validators().hash() {
            trusted.validators().clone()
        } else {
            let block = light_block(self.client, &header.height.to_string());
            match block.map(|block| block.validators) {
                Ok(set) if set.hash() == header.validators => set,
                _ => return Ok(None),
            }
        };
        let clock = Clock {
            now: now(),
            trusting_period_ms: u64::MAX,
        };
        let fetch = |height: Height| light_block(self.client, &height.to_string());
        match follow(trusted, LightBlock::new(certified, set), &clock, fetch) {
            Ok(followed) => Ok(followed.trusted.state()),
            Err(error @ FollowError::FromFuture { .. }) => Err(self.falsehood(&error.to_string())),
            // A header between is not kept here, or the chain speaks a newer protocol.
            Err(error) if !error.is_lie() => Ok(None),
            Err(error) => Err(self.falsehood(&error.to_string())),
        }
    }

    /// The failure of an answer that is false.
    pub fn falsehood(&self, why: &str) -> Failure {
        let message = format!(
            "the answer of {} does not verify: {why}",
            self.client.name()
        );
        Failure::new(Exit::Disagreement, "verification_failed", message)
            .help("ask another node; `tintype verify roots` shows whether they agree")
    }

    /// Asks for something that may not be there. That it is not must be proven as well: the failure says whether it is.
    ///
    /// # Errors
    /// Exit code 3 with `not_found` if it is not there, 4 if that is false.
    pub fn ask<T: DeserializeOwned, E: Entry + PartialEq>(
        &self,
        path: &str,
        name: &E::Name,
    ) -> Result<T> {
        let (failure, absence) = match self.client.find(path)? {
            Found::There(answer) => return Ok(answer),
            Found::Absent(failure, absence) => (*failure, absence),
        };
        let verified = match &absence {
            Some(evidence) => self.holds::<E>(evidence, name, None)?,
            None => false,
        };
        let mut found = json!({"verified": verified});
        if let (Some(evidence), Some(found)) = (&absence, found.as_object_mut()) {
            found.insert("height".into(), json!(evidence.height));
            found.insert("state_root".into(), json!(evidence.state_root));
        }
        let how = if verified {
            "proof and certificate hold"
        } else {
            "that is not proven"
        };
        let message = format!("{}: {how}", failure.message);
        Err(Failure { message, ..failure }.with_found(&found))
    }

    /// What stands beside `verified` in an answer for people.
    pub fn verdict(&self, verified: bool) -> String {
        let text = match (verified, self.knows_genesis()) {
            (true, _) => "yes: proof and certificate hold",
            (false, true) => "no: no proof that a certificate covers",
            (false, false) => {
                "no: no genesis is known here to check it against; --dir says which folder has the chain's genesis.json"
            }
        };
        text.into()
    }
}

/// What a node says of a block to light clients.
///
/// # Errors
/// If it does not answer, or does not have it.
pub fn light_block(client: &Client, name: &str) -> Result<LightBlock> {
    let block: api::LightBlock = client.get(&format!("/v1/light/{}", segment(name)))?;
    Ok(LightBlock {
        header: block.header,
        certificate: block.certificate,
        validators: block.validators,
    })
}

#[cfg(test)]
mod tests {
    //! What the genesis alone proves: the state of height 0, and nothing that differs from it.

    use super::*;
    use ledger::{
        codec,
        genesis::{GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
        hash::Address,
        keys::SecretKey,
        state::{
            State,
            entries::{Account, Key},
        },
        units::{Amount, Power, TimestampMs},
    };

    const ALICE: Address = Address([7; 32]);

    fn genesis() -> Genesis {
        Genesis {
            protocol_version: PROTOCOL_VERSION,
            chain_name: "made-up".into(),
            time: TimestampMs(1),
            parameters: Parameters::default(),
            validators: vec![GenesisValidator {
                name: "node0".into(),
                public_key: SecretKey::from_seed([1; 32]).public_key(),
                power: Power(1),
            }],
            accounts: vec![GenesisAccount {
                name: "alice".into(),
                address: ALICE,
                balance: Amount(5),
            }],
            generated: None,
        }
    }

    fn evidence(address: Address) -> Evidence {
        let state = State::genesis(&genesis()).unwrap();
        let proof = state.tree().prove(&Key::Account(address).place());
        Evidence {
            height: Height(0),
            state_root: state.root(),
            verified: true,
            proof: Some(hex::encode(codec::encode(&proof))),
            header: None,
            certificate: None,
        }
    }

    fn account(balance: u64) -> Account {
        Account {
            balance: Amount(balance),
            ..Account::default()
        }
    }

    #[test]
    fn an_answer_is_believed_by_its_proof_and_a_false_one_fails() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("genesis.json"), genesis().to_json()).unwrap();
        let client = Client::new("node0", "http://127.0.0.1:1");
        let checker = Checker::new(dir.path(), &client, None);
        let nobody = Address([8; 32]);
        let holds = |evidence: &Evidence, address: &Address, claimed: Option<Account>| {
            let found = checker.holds(evidence, address, claimed.as_ref());
            found.map_err(|failure| (failure.exit, failure.code.into_owned()))
        };
        let failed = Err((Exit::Disagreement, "verification_failed".to_owned()));
        assert_eq!(holds(&evidence(ALICE), &ALICE, Some(account(5))), Ok(true));
        assert_eq!(holds(&evidence(nobody), &nobody, None), Ok(true));
        // Another balance; hidden, though it is there; made up, though it is not; another's proof.
        assert_eq!(holds(&evidence(ALICE), &ALICE, Some(account(6))), failed);
        assert_eq!(holds(&evidence(ALICE), &ALICE, None), failed);
        assert_eq!(holds(&evidence(nobody), &nobody, Some(account(5))), failed);
        assert_eq!(holds(&evidence(ALICE), &nobody, None), failed);
        let mut bent = evidence(ALICE);
        bent.state_root.0[0] ^= 1;
        assert_eq!(holds(&bent, &ALICE, Some(account(5))), failed);
        bent = evidence(ALICE);
        bent.proof = Some("00".into());
        assert_eq!(holds(&bent, &ALICE, Some(account(5))), failed);
        // What no certificate covers, or nothing proves, is no lie, and not verified.
        bent = evidence(ALICE);
        bent.height = Height(3);
        assert_eq!(holds(&bent, &ALICE, Some(account(5))), Ok(false));
        bent = evidence(ALICE);
        bent.proof = None;
        assert_eq!(holds(&bent, &ALICE, Some(account(5))), Ok(false));

        let at_three = Checker::new(dir.path(), &client, Some(3));
        let other_height = at_three.holds(&evidence(ALICE), &ALICE, Some(&account(5)));
        assert_eq!(other_height.unwrap_err().code, "verification_failed");
        let elsewhere = Checker::new(Path::new("/nowhere"), &client, None);
        let unknown = elsewhere.holds(&evidence(ALICE), &ALICE, Some(&account(5)));
        assert_eq!(unknown, Ok(false));
    }
}
