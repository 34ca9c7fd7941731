//! The genesis: what a chain starts from. Its hash is the chain's id, and every signature covers it.

use crate::{
    codec,
    hash::{Address, ChainId, Domain, hash},
    keys::PublicKey,
    units::{Amount, Power, TimestampMs},
    validators::{Validator, ValidatorSet, ValidatorSetError},
};
use serde::{Deserialize, Serialize};

/// The protocol this program speaks. A genesis of another version is refused.
pub const PROTOCOL_VERSION: u32 = 2;
/// Characters of a chain's or an account's name.
pub const NAME_BYTES_MAX: usize = 64;

/// The limits of a chain, under its agreement: they change only by its validators' approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Bytes that the transactions of one block may have together.
    pub block_bytes_max: u64,
    /// Bytes of one transaction.
    pub transaction_bytes_max: u64,
    /// Operations of one transaction.
    pub operations_max: u32,
    /// Bytes of a record's key.
    pub key_bytes_max: u32,
    /// Bytes of a record's value.
    pub value_bytes_max: u32,
    /// Spaces and records that one account may own.
    pub entries_per_account_max: u64,
    /// Bytes of a snapshot's chunk, unless one entry alone has more.
    pub chunk_bytes_max: u64,
    /// Blocks from one snapshot to the next.
    pub snapshot_interval: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            block_bytes_max: 2 << 20,
            transaction_bytes_max: 256 << 10,
            operations_max: 64,
            key_bytes_max: 256,
            value_bytes_max: 64 << 10,
            entries_per_account_max: 1 << 32,
            chunk_bytes_max: 256 << 10,
            snapshot_interval: 100,
        }
    }
}

impl Parameters {
    /// Checks that a chain can live with these.
    ///
    /// # Errors
    /// [`GenesisError::Parameter`] names the one that is out of range.
    pub fn check(&self) -> Result<(), GenesisError> {
        let within = |name, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(GenesisError::Parameter {
                    name,
                    value,
                    min,
                    max,
                })
            }
        };
        within(
            "transaction_bytes_max",
            self.transaction_bytes_max,
            1 << 10,
            1 << 20,
        )?;
        within(
            "block_bytes_max",
            self.block_bytes_max,
            self.transaction_bytes_max,
            16 << 20,
        )?;
        within("operations_max", self.operations_max.into(), 1, 1 << 12)?;
        within("key_bytes_max", self.key_bytes_max.into(), 1, 256)?;
        within("value_bytes_max", self.value_bytes_max.into(), 1, 64 << 10)?;
        within(
            "entries_per_account_max",
            self.entries_per_account_max,
            1,
            1 << 40,
        )?;
        within("chunk_bytes_max", self.chunk_bytes_max, 80 << 10, 4 << 20)?;
        within("snapshot_interval", self.snapshot_interval, 1, 1 << 32)
    }
}

/// An account that has an amount from the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisAccount {
    /// A name for people.
    pub name: String,
    /// The account.
    pub address: Address,
    /// What it holds.
    pub balance: Amount,
}

/// A validator from the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// A name for people.
    pub name: String,
    /// The key it votes with.
    pub public_key: PublicKey,
    /// Its power.
    pub power: Power,
}

/// A genesis as it stands in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The protocol's version.
    pub protocol_version: u32,
    /// The chain's name.
    pub chain_name: String,
    /// When it was made; the first block is later.
    pub time: TimestampMs,
    /// The chain's first parameters.
    pub parameters: Parameters,
    /// The first validators.
    pub validators: Vec<GenesisValidator>,
    /// The first accounts.
    pub accounts: Vec<GenesisAccount>,
}

/// Why a genesis starts no chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// The file is not a genesis.
    #[error("this is no genesis: {0}")]
    Malformed(String),
    /// It is for another program.
    #[error(
        "the genesis is for protocol version {0}, this program speaks {PROTOCOL_VERSION}: use a program of that version, or make a new chain"
    )]
    Version(u32),
    /// A parameter out of range.
    #[error("the parameter {name} is {value}, it may be {min} to {max}")]
    Parameter {
        /// Which.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
    /// A name that is empty or too long.
    #[error("the name {0:?} must have 1 to {NAME_BYTES_MAX} bytes")]
    Name(String),
    /// An account twice.
    #[error("the account {0} is listed twice")]
    AccountTwice(Address),
    /// Two validators of one name: nobody could tell them apart.
    #[error("two validators are called {0:?}")]
    ValidatorTwice(String),
    /// A validator's key that is no key of anybody.
    #[error(
        "the public key {key} of {name:?} is nobody's: give the one that `tintype init` printed"
    )]
    Key {
        /// Whose.
        name: String,
        /// What it is.
        key: PublicKey,
    },
    /// The balances overflow.
    #[error("the balances add up to more than {}", u64::MAX)]
    Supply,
    /// The validators are no set.
    #[error(transparent)]
    Validators(#[from] ValidatorSetError),
}

impl Genesis {
    /// Reads a genesis file.
    ///
    /// # Errors
    /// [`GenesisError`] names what is wrong.
    pub fn from_json(bytes: &[u8]) -> Result<Self, GenesisError> {
        let genesis: Self =
            serde_json::from_slice(bytes).map_err(|e| GenesisError::Malformed(e.to_string()))?;
        genesis.check()?;
        Ok(genesis)
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        #[allow(
            clippy::expect_used,
            reason = "writing our own types to memory cannot fail"
        )]
        let mut text = serde_json::to_string_pretty(self).expect("own types encode");
        text.push('\n');
        text
    }

    /// Checks everything a chain relies on.
    ///
    /// # Errors
    /// [`GenesisError`] names what is wrong.
    pub fn check(&self) -> Result<(), GenesisError> {
        if self.protocol_version != PROTOCOL_VERSION {
            return Err(GenesisError::Version(self.protocol_version));
        }
        self.parameters.check()?;
        let names = std::iter::once(&self.chain_name)
            .chain(self.accounts.iter().map(|a| &a.name))
            .chain(self.validators.iter().map(|v| &v.name));
        for name in names {
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(GenesisError::Name(name.clone()));
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        let mut supply = 0u64;
        for account in &self.accounts {
            if !seen.insert(account.address) {
                return Err(GenesisError::AccountTwice(account.address));
            }
            supply = supply
                .checked_add(account.balance.0)
                .ok_or(GenesisError::Supply)?;
        }
        let mut names = std::collections::BTreeSet::new();
        for validator in &self.validators {
            let name = &validator.name;
            if !names.insert(name) {
                return Err(GenesisError::ValidatorTwice(name.clone()));
            }
            if !validator.public_key.can_be_owned() {
                let (name, key) = (name.clone(), validator.public_key);
                return Err(GenesisError::Key { name, key });
            }
        }
        self.validator_set().map(|_| ())
    }

    /// The first validator set.
    ///
    /// # Errors
    /// [`GenesisError::Validators`] if they are no set.
    pub fn validator_set(&self) -> Result<ValidatorSet, GenesisError> {
        let one = |v: &GenesisValidator| Validator::new(v.public_key, v.power);
        Ok(ValidatorSet::new(
            self.validators.iter().map(one).collect(),
        )?)
    }

    /// The chain's id.
    pub fn chain_id(&self) -> ChainId {
        hash(Domain::Genesis, &codec::encode(self)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    #[test]
    fn validators_have_names_and_keys_of_their_own() {
        let of = |validators: &[(&str, PublicKey)]| Genesis {
            protocol_version: PROTOCOL_VERSION,
            chain_name: "c".into(),
            time: TimestampMs(1),
            parameters: Parameters::default(),
            validators: validators
                .iter()
                .map(|(name, key)| GenesisValidator {
                    name: (*name).into(),
                    public_key: *key,
                    power: Power(1),
                })
                .collect(),
            accounts: vec![],
        };
        let [a, b] = [1, 2].map(|n| SecretKey::from_seed([n; 32]).public_key());
        assert_eq!(of(&[("a", a), ("b", b)]).check(), Ok(()));
        let twice = of(&[("a", a), ("a", b)]).check();
        assert_eq!(twice, Err(GenesisError::ValidatorTwice("a".into())));
        let nobody = of(&[("a", a), ("b", PublicKey([0; 32]))]).check();
        assert!(
            matches!(nobody, Err(GenesisError::Key { .. })),
            "{nobody:?}"
        );
    }
}
