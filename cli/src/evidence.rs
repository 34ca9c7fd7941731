//! Checking a node's answers without believing the node: [`ledger::light`], fed over HTTP.
//!
//! Trust starts from the testnet's own genesis file, however old it is; `verify chain` minds its age. What is plainly false is a
//! failure, and so is what cannot be tied to the genesis, unless it is wanted unverified: a liar need only keep the proof
//! back. Without a genesis nothing can be checked, and it is said of every answer.

use crate::{
    answer::{self, Answer},
    api::{self, Evidence},
    client::{Client, Found, segment},
    failure::{Exit, Failure, Result},
    testnet::{Testnet, create::now},
};
use ledger::{
    block::CertifiedHeader,
    genesis::{Genesis, GenesisError},
    hash::StateRoot,
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
    /// None of an answer in a file, for which nobody is asked.
    client: Option<&'a Client>,
    /// The height that was asked for, if one was.
    at: Option<u64>,
    /// Whether what cannot be verified is wanted all the same.
    unverified: bool,
}

/// Why something is not believed.
enum Doubt {
    /// It is false.
    False(Failure),
    /// What would prove it is not there.
    Unproven(String),
}

type Believed<T> = std::result::Result<T, Doubt>;

fn unproven<T>(why: impl Into<String>) -> Believed<T> {
    Err(Doubt::Unproven(why.into()))
}

impl<'a> Checker<'a> {
    /// With the genesis in `dir`, if there is one, for answers of the height `at`, or of any.
    ///
    /// # Errors
    /// If there is a genesis and it cannot be used: then nothing is to be believed for want of one.
    pub fn new(dir: &Path, client: &'a Client, at: Option<u64>) -> Result<Self> {
        let testnet = Testnet::at(dir);
        let there = testnet.genesis_file().exists();
        Ok(Self {
            genesis: there.then(|| testnet.genesis()).transpose()?,
            client: Some(client),
            at,
            unverified: false,
        })
    }

    /// For an answer in a file, against this genesis.
    pub const fn offline(genesis: Genesis) -> Self {
        Self {
            genesis: Some(genesis),
            client: None,
            at: None,
            unverified: false,
        }
    }

    /// As this one, but what cannot be verified is no failure if it is wanted so.
    #[must_use]
    pub fn unverified(self, unverified: bool) -> Self {
        Self { unverified, ..self }
    }

    /// As this one, for answers of one height.
    #[must_use]
    pub fn at(self, at: Option<u64>) -> Self {
        Self { at, ..self }
    }

    /// Asks for an entry of the state, and says whether the answer is proven. That it is not there must be proven as well.
    ///
    /// # Errors
    /// Exit code 3 with `not_found` if it is not there; 4 if that, or the answer, is false or cannot be verified.
    pub fn ask<A: Answer + DeserializeOwned>(
        &self,
        path: &str,
        name: &<A::Entry as Entry>::Name,
    ) -> Result<(A, bool)> {
        match self.client()?.find(path)? {
            Found::There(answer) => {
                let verified = self.confirms(&answer, name)?;
                Ok((answer, verified))
            }
            Found::Absent(failure, absence) => {
                Err(self.absent::<A::Entry>(*failure, absence.as_deref(), name)?)
            }
        }
    }

    /// Whether an answer about what the state has under that name is proven.
    ///
    /// # Errors
    /// Exit code 4 if the proof or the certificate is false, shows something else, or is not there.
    pub fn confirms<A: Answer>(
        &self,
        answer: &A,
        name: &<A::Entry as Entry>::Name,
    ) -> Result<bool> {
        let proven = self.proven(answer.evidence(), |state, proof| {
            state.entry::<A::Entry>(name, proof)
        })?;
        let Some(proven) = proven else {
            return Ok(false);
        };
        match proven.value() {
            Some(entry) if answer.agrees(name, entry) => Ok(true),
            _ => Err(self.falsehood("the proof shows another content than the answer")),
        }
    }

    /// The failure of what is not there, with whether that is proven.
    fn absent<E: Entry>(
        &self,
        failure: Failure,
        evidence: Option<&Evidence>,
        name: &E::Name,
    ) -> Result<Failure> {
        let show = |state: &VerifiedState, proof: &[u8]| state.entry::<E>(name, proof);
        let proven = match evidence {
            Some(evidence) => self.proven(evidence, show)?,
            None => self.settled(unproven(format!(
                "it gave no proof that {}",
                failure.message
            )))?,
        };
        if proven
            .as_ref()
            .is_some_and(|proven| proven.value().is_some())
        {
            return Err(self.falsehood("it says that there is none, and the proof shows one"));
        }
        let verified = proven.is_some();
        let mut found = json!({"verified": verified});
        if let (Some(evidence), Some(found)) = (evidence, found.as_object_mut()) {
            found.insert("height".into(), json!(evidence.height));
            found.insert("state_root".into(), json!(evidence.state_root));
        }
        let how = if verified {
            "proof and certificate hold"
        } else {
            "that is not proven"
        };
        let message = format!("{}: {how}", failure.message);
        Ok(Failure { message, ..failure }.with_found(&found))
    }

    /// What the proof of an answer shows of the state that the certificate is over; nothing, if that cannot be told and need
    /// not be.
    ///
    /// # Errors
    /// Exit code 4 if either is false, or not there.
    pub fn proven<T, E: fmt::Display>(
        &self,
        evidence: &Evidence,
        show: impl FnOnce(&VerifiedState, &[u8]) -> std::result::Result<Verified<T>, E>,
    ) -> Result<Option<Verified<T>>> {
        if self.at.is_some_and(|at| at != evidence.height.0) {
            return Err(self.falsehood("the answer is of another height than was asked for"));
        }
        let proven = || {
            let Some(text) = &evidence.proof else {
                return unproven("there is no proof with it");
            };
            let state = self.state(evidence)?;
            let proof = hex::decode(text).map_err(|e| self.is_false(&e))?;
            show(&state, &proof).map_err(|e| self.is_false(&e))
        };
        self.settled(proven())
    }

    /// The root of the chain's state after a block, if the node shows a header of it that is the chain's.
    pub fn root(&self, height: Height) -> Option<StateRoot> {
        let state = if height == Height::GENESIS {
            VerifiedState::genesis(self.genesis.as_ref()?).ok()?
        } else {
            let LightBlock {
                header,
                certificate,
                ..
            } = self.light_block(height).ok()?;
            let certified = CertifiedHeader {
                header,
                certificate,
            };
            self.certified(certified).ok()?
        };
        (state.height() == height).then(|| state.root())
    }

    /// Whether a block is the chain's, and all that is said of it is what its header says.
    ///
    /// # Errors
    /// Exit code 4 if it is not, or that cannot be told.
    pub fn block(&self, block: &api::Block, name: &str) -> Result<bool> {
        if !answer::is_whole(block, name) {
            return Err(self.falsehood("its header is of another block than the answer"));
        }
        let (header, certificate) = (block.header.clone(), block.certificate.clone());
        let certified = CertifiedHeader {
            header,
            certificate,
        };
        Ok(self.settled(self.certified(certified))?.is_some())
    }

    /// What is believed; nothing, if it cannot be told and need not be.
    fn settled<T>(&self, found: Believed<T>) -> Result<Option<T>> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(Doubt::False(failure)) => Err(failure),
            Err(Doubt::Unproven(_)) if self.unverified || self.genesis.is_none() => Ok(None),
            Err(Doubt::Unproven(why)) => Err(self.unverifiable(&why)),
        }
    }

    /// The state that an answer is from, believed.
    fn state(&self, evidence: &Evidence) -> Believed<VerifiedState> {
        let height = evidence.height;
        let state = match (&evidence.header, &evidence.certificate) {
            (Some(header), Some(certificate)) => self.certified(CertifiedHeader {
                header: header.clone(),
                certificate: certificate.clone(),
            })?,
            // The state of the genesis has no block: it follows from the file.
            _ if height == Height::GENESIS => {
                VerifiedState::genesis(self.genesis()?).map_err(|e| self.is_false(&e))?
            }
            _ => return unproven(format!("no certificate of height {height} is with it")),
        };
        let said: (StateRoot, Height) = (evidence.state_root, height);
        if (state.root(), state.height()) != said {
            return Err(self.is_false(&"the header is of another state than the answer"));
        }
        Ok(state)
    }

    fn client(&self) -> Result<&Client> {
        let offline = || Failure::failed("offline", "no node is asked");
        self.client.ok_or_else(offline)
    }

    fn light_block(&self, height: Height) -> Result<LightBlock> {
        light_block(self.client()?, &height.to_string())
    }

    fn answer(&self) -> String {
        match self.client {
            Some(client) => format!("the answer of {}", client.name()),
            None => "the answer in the file".into(),
        }
    }

    fn genesis(&self) -> Believed<&Genesis> {
        let none = || Doubt::Unproven("no genesis is known here".into());
        self.genesis.as_ref().ok_or_else(none)
    }

    /// The state after a block whose header is the chain's.
    fn certified(&self, certified: CertifiedHeader) -> Believed<VerifiedState> {
        let unsound = |e: GenesisError| self.is_false(&e);
        let trusted = Trusted::genesis(self.genesis()?).map_err(unsound)?;
        let header = &certified.header;
        let height = header.height;
        let set = if header.validators == trusted.validators().hash() {
            trusted.validators().clone()
        } else {
            let block = self.light_block(height);
            match block.map(|block| block.validators) {
                Ok(set) if set.hash() == header.validators => set,
                _ => {
                    return unproven(format!(
                        "it does not give the validators of height {height}"
                    ));
                }
            }
        };
        let clock = Clock {
            now: now(),
            trusting_period_ms: u64::MAX,
        };
        let fetch = |height: Height| self.light_block(height);
        match follow(trusted, LightBlock::new(certified, set), &clock, fetch) {
            Ok(followed) => {
                let state = followed.trusted.state();
                state.ok_or_else(|| Doubt::Unproven("the genesis has no header".into()))
            }
            Err(FollowError::Fetch { height, source }) => unproven(format!(
                "the header of height {height} is needed to tie it to the genesis, and was not given: {}",
                source.message
            )),
            // The chain speaks a newer protocol, or the clock here is behind.
            Err(error) if !error.is_lie() => unproven(error.to_string()),
            Err(error) => Err(self.is_false(&error)),
        }
    }

    fn is_false(&self, why: &dyn fmt::Display) -> Doubt {
        Doubt::False(self.falsehood(&why.to_string()))
    }

    /// The failure of an answer that is false.
    pub fn falsehood(&self, why: &str) -> Failure {
        let message = format!("{} does not verify: {why}", self.answer());
        Failure::new(Exit::Disagreement, "verification_failed", message)
            .help("ask another node; `tintype verify roots` shows whether they agree")
    }

    /// The failure of an answer that may be true, and is the node's word alone.
    fn unverifiable(&self, why: &str) -> Failure {
        let message = format!(
            "{} cannot be verified, and is not shown: {why}",
            self.answer()
        );
        let help = match self.client {
            Some(_) => {
                "ask another node; `tintype query ... --unverified` shows what this one says all the same"
            }
            None => {
                "save it with its proof: `tintype query ... --json --proof`, or curl with `?proof=true`"
            }
        };
        Failure::new(Exit::Disagreement, "unverified", message).help(help)
    }

    /// Passes over that something is not proven, if that is wanted or cannot be otherwise.
    ///
    /// # Errors
    /// Exit code 4 if it must be proven.
    pub fn unproven(&self, why: &str) -> Result {
        self.settled::<()>(unproven(why)).map(|_| ())
    }

    /// What stands beside `verified` in an answer for people.
    pub fn verdict(&self, verified: bool) -> String {
        let text = match (verified, self.genesis.is_some()) {
            (true, _) => "yes: proof and certificate hold",
            (false, true) => "no: this is the node's word alone",
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
        units::{Amount, Nonce, Power, TimestampMs},
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

    fn answer(address: Address, balance: u64, evidence: &Evidence) -> api::Account {
        api::Account {
            name: None,
            address,
            balance: Amount(balance),
            nonce: Nonce(0),
            next_nonce: Nonce(0),
            entries: 0,
            evidence: evidence.clone(),
        }
    }

    #[test]
    fn an_answer_is_believed_by_its_proof_and_a_false_one_fails() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("genesis.json"), genesis().to_json()).unwrap();
        let client = Client::new("node0", "http://127.0.0.1:1");
        let checker = Checker::new(dir.path(), &client, None).unwrap();
        let nobody = Address([8; 32]);
        let checked = |evidence: &Evidence, address: &Address, claimed: Option<u64>| {
            let found = match claimed {
                Some(balance) => checker.confirms(&answer(*address, balance, evidence), address),
                None => {
                    let nothing = Failure::not_found("there is none");
                    let found = checker.absent::<Account>(nothing, Some(evidence), address);
                    found.map(|failure| failure.found["verified"] == true)
                }
            };
            found.map_err(|failure| (failure.exit, failure.code.into_owned()))
        };
        let failed = Err((Exit::Disagreement, "verification_failed".to_owned()));
        let unproven = Err((Exit::Disagreement, "unverified".to_owned()));
        assert_eq!(checked(&evidence(ALICE), &ALICE, Some(5)), Ok(true));
        assert_eq!(checked(&evidence(nobody), &nobody, None), Ok(true));
        // Another balance; hidden, though it is there; made up, though it is not; another's proof.
        assert_eq!(checked(&evidence(ALICE), &ALICE, Some(6)), failed);
        assert_eq!(checked(&evidence(ALICE), &ALICE, None), failed);
        assert_eq!(checked(&evidence(nobody), &nobody, Some(5)), failed);
        assert_eq!(checked(&evidence(ALICE), &nobody, None), failed);
        let mut bent = evidence(ALICE);
        bent.state_root.0[0] ^= 1;
        assert_eq!(checked(&bent, &ALICE, Some(5)), failed);
        bent = evidence(ALICE);
        bent.proof = Some("00".into());
        assert_eq!(checked(&bent, &ALICE, Some(5)), failed);
        // What no certificate covers, or nothing proves, may be true or not: it is not shown unasked.
        let mut uncovered = evidence(ALICE);
        uncovered.height = Height(3);
        let mut bare = evidence(ALICE);
        bare.proof = None;
        for bent in [&uncovered, &bare] {
            assert_eq!(checked(bent, &ALICE, Some(5)), unproven);
            let lenient = Checker::new(dir.path(), &client, None).unwrap();
            let shown = lenient
                .unverified(true)
                .confirms(&answer(ALICE, 5, bent), &ALICE);
            assert_eq!(shown, Ok(false));
        }

        let at_three = Checker::new(dir.path(), &client, Some(3)).unwrap();
        let other_height = at_three.confirms(&answer(ALICE, 5, &evidence(ALICE)), &ALICE);
        assert_eq!(other_height.unwrap_err().code, "verification_failed");
        let elsewhere = Checker::new(Path::new("/nowhere"), &client, None).unwrap();
        let unknown = elsewhere.confirms(&answer(ALICE, 5, &evidence(ALICE)), &ALICE);
        assert_eq!(unknown, Ok(false));
    }
}
