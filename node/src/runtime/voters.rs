//! The validator sets that this chain has had, `DIR/validators/HASH`: who follows the headers from far needs the sets that they
//! name, and the state keeps only the last three.
//!
//! A set is kept when a state first announces it, two heights before it votes, so that a crash loses none. The file is
//! its canonical encoding, and its name the hash that headers carry: what was damaged is found when it is read, and not given.
//! Sets change only by the validators' own approval, so their number needs no bound. A node that began with a snapshot has
//! those from there on.

use ledger::{
    codec,
    hash::ValidatorSetHash,
    state::{State, entries::ValidatorSets},
    store::{
        StoreError,
        disk::{create_dir, write_atomic},
    },
    validators::ValidatorSet,
};
use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Bytes of an encoded set: 256 validators of 72, and their number.
const SET_BYTES_MAX: usize = 32 << 10;

/// The folder.
pub(super) struct Voters {
    dir: PathBuf,
    genesis: ValidatorSet,
    /// The sets of the last state that was noted: most states have the same.
    noted: Mutex<Option<ValidatorSets>>,
}

impl Voters {
    /// The folder at `dir`, which is made when there is something to keep. The genesis's set needs no file.
    pub(super) fn new(dir: &Path, genesis: ValidatorSet) -> Self {
        Self {
            dir: dir.to_owned(),
            genesis,
            noted: Mutex::default(),
        }
    }

    /// The genesis's.
    pub(super) const fn of_genesis(&self) -> &ValidatorSet {
        &self.genesis
    }

    /// Keeps the sets that a state knows. Failing to is told, and stops nothing.
    pub(super) fn note(&self, state: &State) {
        let sets = state.validators();
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.as_ref() == Some(sets) {
            return;
        }
        match self.keep(sets) {
            Ok(()) => *noted = Some(sets.clone()),
            Err(error) => tracing::error!(%error, "a validator set was not kept"),
        }
    }

    fn keep(&self, sets: &ValidatorSets) -> Result<(), StoreError> {
        for set in [&sets.current, &sets.next, &sets.after_next] {
            let path = self.file(&set.hash());
            if *set == self.genesis || path.exists() {
                continue;
            }
            create_dir(&self.dir)?;
            write_atomic(&path, &codec::encode(set))?;
        }
        Ok(())
    }

    fn file(&self, hash: &ValidatorSetHash) -> PathBuf {
        self.dir.join(hash.to_string())
    }

    /// The set of that hash, if it is known.
    pub(super) fn get(&self, hash: &ValidatorSetHash) -> Option<ValidatorSet> {
        if self.genesis.hash() == *hash {
            return Some(self.genesis.clone());
        }
        let file = std::fs::File::open(self.file(hash)).ok()?;
        let mut bytes = Vec::new();
        let most = SET_BYTES_MAX as u64 + 1;
        file.take(most).read_to_end(&mut bytes).ok()?;
        let set: ValidatorSet = codec::decode(&bytes, SET_BYTES_MAX).ok()?;
        (set.hash() == *hash).then_some(set)
    }
}

#[cfg(test)]
pub(super) mod tests {
    //! Sets outlive the process that kept them, and a damaged file gives none.

    use super::*;
    use ledger::{
        genesis::{Genesis, GenesisValidator, PROTOCOL_VERSION, Parameters},
        keys::SecretKey,
        units::{Power, TimestampMs},
    };

    pub(in crate::runtime) fn state(seed: u8) -> State {
        State::genesis(&Genesis {
            protocol_version: PROTOCOL_VERSION,
            chain_name: "c".into(),
            time: TimestampMs(1),
            parameters: Parameters::default(),
            validators: vec![GenesisValidator {
                name: "node0".into(),
                public_key: SecretKey::from_seed([seed; 32]).public_key(),
                power: Power(1),
            }],
            accounts: vec![],
            generated: None,
        })
        .unwrap()
    }

    #[test]
    fn sets_are_kept_over_a_restart_and_checked_when_they_are_read() {
        let keep = tempfile::tempdir().unwrap();
        let dir = keep.path().join("validators");
        let set = |seed| state(seed).validators().current.clone();
        let open = || Voters::new(&dir, set(1));
        let voters = open();
        voters.note(&state(1));
        assert!(!dir.exists(), "the genesis needs no file");
        voters.note(&state(2));
        voters.note(&state(3));
        for seed in 1..=3 {
            assert_eq!(open().get(&set(seed).hash()), Some(set(seed)));
        }
        assert_eq!(open().get(&set(4).hash()), None);
        std::fs::write(open().file(&set(2).hash()), codec::encode(&set(3))).unwrap();
        std::fs::write(open().file(&set(3).hash()), vec![0; SET_BYTES_MAX + 1]).unwrap();
        assert_eq!(open().get(&set(2).hash()), None);
        assert_eq!(open().get(&set(3).hash()), None);
    }
}
