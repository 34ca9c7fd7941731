//! The genesis: what a chain starts from. Its hash is the chain's id, and every signature covers it.

use crate::{
    codec,
    hash::{Address, ChainId, Domain, Hash, Hasher, hash},
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

/// Records that are there from the start, made from a few numbers: a state of any size from a file of any size.
///
/// They stand in a space of their own, [`Generated::SPACE`], which belongs to the first account (or, without accounts, to
/// the first validator), as if it had written them one after the other at height 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// What their keys and values follow from.
    pub seed: u64,
    /// How many there are.
    pub count: u64,
}

impl Generated {
    /// The space they are in.
    pub const SPACE: &str = "generated";
    /// Records that a genesis may generate: some 20 GB of memory.
    pub const COUNT_MAX: u64 = 100_000_000;

    /// So many records from the seed 0, which has the same keys in every chain.
    pub const fn of(count: u64) -> Self {
        Self { seed: 0, count }
    }

    /// The key of record `number`, from 0: 32 hex digits, which anyone can type.
    pub fn key(&self, number: u64) -> String {
        let Hash(hash) = self.material(number, 0);
        hex::encode(hash.split_at(16).0)
    }

    /// The value of record `number`: 48 bytes that no compression makes less of.
    pub fn value(&self, number: u64) -> [u8; 48] {
        let (Hash(first), Hash(second)) = (self.material(number, 0), self.material(number, 1));
        let mut value = [0; 48];
        value[..16].copy_from_slice(&first[16..]);
        value[16..].copy_from_slice(&second);
        value
    }

    fn material(&self, number: u64, part: u8) -> Hash {
        Hasher::new(Domain::Generated)
            .chain(self.seed.to_be_bytes())
            .chain(number.to_be_bytes())
            .chain([part])
            .finish()
    }
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
    /// The first records, if there are any. Left out where there are none, so that what was hashed before this existed has
    /// the hash that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Generated>,
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
    /// Generated records that are none, or too many.
    #[error("the genesis generates {0} records, it may be 1 to {max}", max = Generated::COUNT_MAX)]
    Generated(u64),
    /// More generated records than their owner may have.
    #[error(
        "the genesis generates {count} records in a space of {owner}, who may own {max} entries: raise \
         entries_per_account_max, or generate fewer"
    )]
    GeneratedOwner {
        /// How many it generates.
        count: u64,
        /// Whose they would be.
        owner: Address,
        /// What an account may own.
        max: u64,
    },
    /// Two generated records of one place: of a hash of 192 bits, so nobody will see this.
    #[error("two of the generated records have one place: choose another seed")]
    GeneratedTwice,
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
        self.validator_set()?;
        self.check_generated()
    }

    fn check_generated(&self) -> Result<(), GenesisError> {
        let Some(Generated { count, .. }) = self.generated else {
            return Ok(());
        };
        if !(1..=Generated::COUNT_MAX).contains(&count) {
            return Err(GenesisError::Generated(count));
        }
        let max = self.parameters.entries_per_account_max;
        // The space is an entry too.
        if count >= max {
            let owner = self.owner_of_generated();
            return Err(GenesisError::GeneratedOwner { count, owner, max });
        }
        Ok(())
    }

    /// Whose the generated records are. A genesis that passes its check has a validator.
    pub fn owner_of_generated(&self) -> Address {
        let account = self.accounts.first().map(|account| account.address);
        let validator = self.validators.first();
        account
            .or_else(|| validator.map(|v| v.public_key.address()))
            .unwrap_or_default()
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

    fn of(validators: &[(&str, PublicKey)]) -> Genesis {
        let validator = |(name, key): &(&str, PublicKey)| GenesisValidator {
            name: (*name).into(),
            public_key: *key,
            power: Power(1),
        };
        Genesis {
            protocol_version: PROTOCOL_VERSION,
            chain_name: "c".into(),
            time: TimestampMs(1),
            parameters: Parameters::default(),
            validators: validators.iter().map(validator).collect(),
            accounts: vec![],
            generated: None,
        }
    }

    fn keys() -> [PublicKey; 2] {
        [1, 2].map(|n| SecretKey::from_seed([n; 32]).public_key())
    }

    #[test]
    fn validators_have_names_and_keys_of_their_own() {
        let [a, b] = keys();
        assert_eq!(of(&[("a", a), ("b", b)]).check(), Ok(()));
        let twice = of(&[("a", a), ("a", b)]).check();
        assert_eq!(twice, Err(GenesisError::ValidatorTwice("a".into())));
        let nobody = of(&[("a", a), ("b", PublicKey([0; 32]))]).check();
        assert!(
            matches!(nobody, Err(GenesisError::Key { .. })),
            "{nobody:?}"
        );
    }

    /// None, more than memory could hold, or more than their owner may have.
    #[test]
    fn generated_records_are_bounded() {
        let [a, _] = keys();
        let generating = |count, max| {
            let mut genesis = of(&[("a", a)]);
            genesis.parameters.entries_per_account_max = max;
            genesis.generated = Some(Generated::of(count));
            genesis
        };
        let many = u64::MAX >> 24;
        assert_eq!(generating(Generated::COUNT_MAX, many).check(), Ok(()));
        for count in [0, Generated::COUNT_MAX + 1, u64::MAX] {
            let refused = generating(count, many).check();
            assert_eq!(refused, Err(GenesisError::Generated(count)));
        }
        // The space counts too.
        assert_eq!(generating(9, 10).check(), Ok(()));
        let (count, owner, max) = (10, a.address(), 10);
        let refused = generating(count, max).check();
        assert_eq!(
            refused,
            Err(GenesisError::GeneratedOwner { count, owner, max })
        );
    }
}
