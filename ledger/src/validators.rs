//! Validator sets: who votes at a height, and with what power.

use crate::{
    codec,
    hash::{Address, Domain, ValidatorSetHash, hash},
    keys::PublicKey,
    units::{Height, Power, Round},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Validators a set may have: certificates and votes of a height stay within one message.
pub const VALIDATORS_MAX: usize = 256;
/// Power that a whole set may have, far below where three times a sum would overflow.
pub const POWER_TOTAL_MAX: u64 = 1 << 50;

/// One who votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Validator {
    /// The hash of the key.
    pub address: Address,
    /// The key it votes with.
    pub public_key: PublicKey,
    /// The weight of its vote, at least 1.
    pub power: Power,
}

impl Validator {
    /// The validator of a key.
    pub fn new(public_key: PublicKey, power: Power) -> Self {
        Self {
            address: public_key.address(),
            public_key,
            power,
        }
    }
}

/// Validators in the order of their addresses, each once, with bounded power. Cloning shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Validator>", into = "Vec<Validator>")]
pub struct ValidatorSet {
    validators: Arc<[Validator]>,
    total: Power,
}

/// Why a list of validators is no set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidatorSetError {
    /// Nobody could vote, or too many would.
    #[error("a validator set has 1 to {VALIDATORS_MAX} validators, not {0}")]
    Size(usize),
    /// A validator without power.
    #[error("validator {0} has no power")]
    NoPower(Address),
    /// One validator twice, or out of order, or an address that is not its key's.
    #[error("validator {0} is listed twice, out of order, or with a key that is not its own")]
    Inconsistent(Address),
    /// The powers add up to more than is safe.
    #[error("the voting powers add up to more than {POWER_TOTAL_MAX}")]
    PowerTotal,
}

impl ValidatorSet {
    /// Makes a set of validators in any order.
    ///
    /// # Errors
    /// [`ValidatorSetError`] names what is wrong.
    pub fn new(mut validators: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        validators.sort_by_key(|v| v.address);
        Self::try_from(validators)
    }

    /// The validators in the order of their addresses.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Validator> {
        self.validators.iter()
    }

    /// How many there are: at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.validators.len()
    }

    /// The validator at a place in the order.
    pub fn at(&self, index: usize) -> Option<&Validator> {
        self.validators.get(index)
    }

    /// The validator of an address.
    pub fn get(&self, address: &Address) -> Option<&Validator> {
        let index = self
            .validators
            .binary_search_by_key(address, |v| v.address)
            .ok()?;
        self.validators.get(index)
    }

    /// The power of all together.
    pub const fn total(&self) -> Power {
        self.total
    }

    /// Whether `power` is more than two thirds of the whole.
    pub const fn is_quorum(&self, power: Power) -> bool {
        power.0.saturating_mul(3) > self.total.0 * 2
    }

    /// Whether `power` is more than a third of the whole: at least one of them is correct.
    pub const fn has_correct(&self, power: Power) -> bool {
        power.0.saturating_mul(3) > self.total.0
    }

    /// Whose turn it is to propose: they take turns, each round and each height the next.
    #[allow(
        clippy::indexing_slicing,
        reason = "the remainder is below the length, which is at least 1"
    )]
    pub fn proposer(&self, height: Height, round: Round) -> &Validator {
        let count = self.validators.len() as u64;
        let turn = (height.0 % count + u64::from(round.0) % count) % count;
        #[allow(clippy::cast_possible_truncation, reason = "below the length")]
        &self.validators[turn as usize]
    }

    /// The hash that headers carry.
    pub fn hash(&self) -> ValidatorSetHash {
        hash(Domain::ValidatorSet, &codec::encode(self)).into()
    }

    /// This set with one validator added, changed, or with power 0 removed.
    ///
    /// # Errors
    /// [`ValidatorSetError`] if the result would be no set.
    pub fn with(&self, public_key: PublicKey, power: Power) -> Result<Self, ValidatorSetError> {
        let changed = Validator::new(public_key, power);
        let others = self
            .iter()
            .filter(|v| v.address != changed.address)
            .copied();
        Self::new(others.chain((power.0 > 0).then_some(changed)).collect())
    }
}

impl TryFrom<Vec<Validator>> for ValidatorSet {
    type Error = ValidatorSetError;

    fn try_from(validators: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        if validators.is_empty() || validators.len() > VALIDATORS_MAX {
            return Err(ValidatorSetError::Size(validators.len()));
        }
        let mut total = 0u64;
        for (i, v) in validators.iter().enumerate() {
            if v.power.0 == 0 {
                return Err(ValidatorSetError::NoPower(v.address));
            }
            let in_order = i
                .checked_sub(1)
                .and_then(|i| validators.get(i))
                .is_none_or(|before| before.address < v.address);
            if !in_order || v.address != v.public_key.address() {
                return Err(ValidatorSetError::Inconsistent(v.address));
            }
            total = total
                .checked_add(v.power.0)
                .filter(|&t| t <= POWER_TOTAL_MAX)
                .ok_or(ValidatorSetError::PowerTotal)?;
        }
        Ok(Self {
            validators: validators.into(),
            total: Power(total),
        })
    }
}

impl From<ValidatorSet> for Vec<Validator> {
    fn from(set: ValidatorSet) -> Self {
        set.validators.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    fn key(n: u8) -> PublicKey {
        SecretKey::from_seed([n; 32]).public_key()
    }

    fn set(powers: &[u64]) -> ValidatorSet {
        let one = |(i, &p): (u8, &u64)| Validator::new(key(i), Power(p));
        ValidatorSet::new((1..).zip(powers).map(one).collect()).unwrap()
    }

    #[test]
    fn a_quorum_is_more_than_two_thirds() {
        let four = set(&[1, 1, 1, 1]);
        assert!(!four.is_quorum(Power(2)) && four.is_quorum(Power(3)));
        assert!(!four.has_correct(Power(1)) && four.has_correct(Power(2)));
        let three = set(&[1, 1, 1]);
        assert!(
            !three.is_quorum(Power(2)),
            "exactly two thirds is not enough"
        );
    }

    #[test]
    fn everyone_takes_turns_in_every_round() {
        let four = set(&[1, 5, 1, 1]);
        let turns: std::collections::BTreeSet<_> = (0..4)
            .map(|r| four.proposer(Height(9), Round(r)).address)
            .collect();
        assert_eq!(turns.len(), 4);
        four.proposer(Height(u64::MAX), Round(u32::MAX));
    }

    #[test]
    fn refuses_what_is_no_set() {
        assert_eq!(ValidatorSet::new(vec![]), Err(ValidatorSetError::Size(0)));
        let v = Validator::new(key(1), Power(1));
        assert_eq!(
            ValidatorSet::new(vec![v, v]),
            Err(ValidatorSetError::Inconsistent(v.address))
        );
        let none = Validator {
            power: Power(0),
            ..v
        };
        assert_eq!(
            ValidatorSet::new(vec![none]),
            Err(ValidatorSetError::NoPower(v.address))
        );
        let huge = Validator {
            power: Power(u64::MAX),
            ..v
        };
        assert_eq!(
            ValidatorSet::new(vec![huge]),
            Err(ValidatorSetError::PowerTotal)
        );
        let bytes = codec::encode(&vec![v, v]);
        assert!(codec::decode::<ValidatorSet>(&bytes, 1000).is_err());
    }

    #[test]
    fn a_change_keeps_the_others() {
        let four = set(&[1, 1, 1, 1]);
        let five = four.with(key(9), Power(3)).unwrap();
        assert_eq!((five.len(), five.total()), (5, Power(7)));
        assert_eq!(five.with(key(9), Power(0)).unwrap(), four);
        assert_eq!(
            set(&[1]).with(key(1), Power(0)),
            Err(ValidatorSetError::Size(0))
        );
    }
}
