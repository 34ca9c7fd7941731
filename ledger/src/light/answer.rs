//! Answers that are proven: what a state holds, or does not hold, by its root alone.
//!
//! A [`Verified`] value can be made by nothing but a proof against a [`VerifiedState`]: a function that takes one need not ask
//! where it is from. What is not there is a value too: `None`.

use crate::{
    codec::{self, CodecError},
    genesis::{Genesis, GenesisError},
    hash::{Address, StateRoot},
    state::{
        State,
        entries::{Account, Entry, Key, Record, Space, ValidatorSets},
        tree::{
            EntryRef, Place, PlaceRange, Proof, ProofError, ProvenRange, RANGE_PROOF_BYTES_MAX,
            RangeError, RangeProof,
        },
    },
    units::{Height, TimestampMs},
};

/// Bytes of the encoded proof of one entry: the way down the tree, and the largest entry.
pub const PROOF_BYTES_MAX: usize = 1 << 20;

/// The root of a state that is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedState {
    height: Height,
    time: TimestampMs,
    root: StateRoot,
}

/// Something that is proven of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    state: VerifiedState,
}

impl<T> Verified<T> {
    /// What is proven.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// What is proven.
    pub fn into_value(self) -> T {
        self.value
    }

    /// The state that it is proven of.
    pub const fn state(&self) -> VerifiedState {
        self.state
    }
}

/// Records of a space, in the order of their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordsPage {
    /// Each with its key.
    pub records: Vec<(Vec<u8>, Record)>,
    /// Where the last of them is, if there are more after it: the next page is what comes after this place.
    pub more_after: Option<Place>,
}

/// An answer is not proven.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The bytes are no proof.
    #[error("the proof is unreadable: {0}")]
    Codec(#[from] CodecError),
    /// The proof of an entry does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The proof of a range does not hold.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// What is proven to be there cannot be read.
    #[error(
        "what the state has at {0} is not understood; this program may be older than the chain"
    )]
    Unreadable(Place),
    /// A page that says there is more and shows nothing leads nowhere.
    #[error("the page shows no record, and says that there are more")]
    EmptyPage,
}

/// The places of a space's records: all of them, or those that come after one. None: nothing can come after it.
pub fn records_range(space: &str, after: Option<&Place>) -> Option<PlaceRange> {
    let all = PlaceRange::from(Key::space_subtree(space));
    match after {
        Some(place) => all.after(place),
        None => Some(all),
    }
}

impl VerifiedState {
    pub(super) const fn new(height: Height, time: TimestampMs, root: StateRoot) -> Self {
        Self { height, time, root }
    }

    /// The state that a chain begins with, which follows from its genesis.
    ///
    /// # Errors
    /// [`GenesisError`] if the genesis is not sound.
    pub fn genesis(genesis: &Genesis) -> Result<Self, GenesisError> {
        let root = State::genesis(genesis)?.root();
        Ok(Self::new(Height::GENESIS, genesis.time, root))
    }

    /// The height of the block that it is the state after.
    pub const fn height(&self) -> Height {
        self.height
    }

    /// The time of that block, as its proposer said.
    pub const fn time(&self) -> TimestampMs {
        self.time
    }

    /// Its root.
    pub const fn root(&self) -> StateRoot {
        self.root
    }

    /// The entry of that name, or that there is none, by the encoding of a [`Proof`].
    ///
    /// # Errors
    /// [`AnswerError`] if the proof proves neither.
    pub fn entry<E: Entry>(
        &self,
        name: &E::Name,
        proof: &[u8],
    ) -> Result<Verified<Option<E>>, AnswerError> {
        let proof: Proof = codec::decode(proof, PROOF_BYTES_MAX)?;
        let key = E::key(name);
        let place = key.place();
        // Two spaces may want one place: only the key says whose entry it is.
        let found = proof.verify(self.root, &place)?;
        let found = found.filter(|entry| entry.key == key.encode());
        let read = |entry: EntryRef<'_>| {
            codec::decode(entry.value, PROOF_BYTES_MAX).map_err(|_| AnswerError::Unreadable(place))
        };
        Ok(self.verified(found.map(read).transpose()?))
    }

    /// An account.
    ///
    /// # Errors
    /// As [`Self::entry`].
    pub fn account(
        &self,
        address: &Address,
        proof: &[u8],
    ) -> Result<Verified<Option<Account>>, AnswerError> {
        self.entry(address, proof)
    }

    /// A space.
    ///
    /// # Errors
    /// As [`Self::entry`].
    pub fn space(&self, name: &str, proof: &[u8]) -> Result<Verified<Option<Space>>, AnswerError> {
        self.entry(name, proof)
    }

    /// A record.
    ///
    /// # Errors
    /// As [`Self::entry`].
    pub fn record(
        &self,
        space: &str,
        key: &[u8],
        proof: &[u8],
    ) -> Result<Verified<Option<Record>>, AnswerError> {
        self.entry(&(space.to_owned(), key.to_vec()), proof)
    }

    /// The validator sets of the height and the next two.
    ///
    /// # Errors
    /// As [`Self::entry`].
    pub fn validators(&self, proof: &[u8]) -> Result<Verified<Option<ValidatorSets>>, AnswerError> {
        self.entry(&(), proof)
    }

    /// The records of a space that come after a place, or all, by the encoding of a [`RangeProof`]: those shown, and
    /// that there are no others up to the last of them; or none at all, where [`RecordsPage::more_after`] says so.
    ///
    /// # Errors
    /// [`AnswerError`] if the proof does not prove that.
    pub fn records(
        &self,
        space: &str,
        after: Option<&Place>,
        proof: &[u8],
    ) -> Result<Verified<RecordsPage>, AnswerError> {
        let proof: RangeProof = codec::decode(proof, RANGE_PROOF_BYTES_MAX)?;
        let Some(range) = records_range(space, after) else {
            return Ok(self.verified(RecordsPage {
                records: Vec::new(),
                more_after: None,
            }));
        };
        Ok(self.verified(read_records(space, &proof.verify(self.root, range)?)?))
    }

    const fn verified<T>(&self, value: T) -> Verified<T> {
        let state = *self;
        Verified { value, state }
    }
}

/// The records of a space that a range of its places holds.
///
/// # Errors
/// [`AnswerError`] if something else is there, or nothing on the way to more.
pub fn read_records(space: &str, range: &ProvenRange<'_>) -> Result<RecordsPage, AnswerError> {
    let last = range.entries.last().map(|entry| entry.place);
    if range.next.is_some() && last.is_none() {
        return Err(AnswerError::EmptyPage);
    }
    let records = range.entries.iter().map(|entry| read_record(space, entry));
    Ok(RecordsPage {
        records: records.collect::<Result<_, _>>()?,
        more_after: range.next.and(last),
    })
}

/// A record with its key.
fn read_record(space: &str, entry: &EntryRef<'_>) -> Result<(Vec<u8>, Record), AnswerError> {
    let unreadable = |_| AnswerError::Unreadable(entry.place);
    match codec::decode(entry.key, PROOF_BYTES_MAX).map_err(unreadable)? {
        Key::Record { space: its, key } if its == space => {
            let record = codec::decode(entry.value, PROOF_BYTES_MAX).map_err(unreadable)?;
            Ok((key, record))
        }
        // A second space with the same 56 bits cannot be made.
        _ => Err(AnswerError::Unreadable(entry.place)),
    }
}
