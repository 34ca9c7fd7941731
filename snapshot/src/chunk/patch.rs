//! A patch: a chunk as what became of an older one.
//!
//! Places are hashes, so changes spread evenly over a state: of a million entries, a thousand changes touch nearly every chunk.
//! A patch says what changed in one, so that what is written and what is sent follow the changes.
//!
//! # The format
//! ```text
//! form u8 = 2 ‖ base 32 ‖ prefix 32 + u16 ‖ bytes u64 ‖ zstd frame of:
//!               removed u32 ‖ removed × place 32 ‖ the entries put, as in a whole chunk
//! ```
//! The base is the id of the older chunk. The chunk is: the base's entries below `prefix`, without those removed, with those put.
//! (A chunk that grows parts in two: each is a patch on the part of the old one below its prefix.) Places rise, in both lists,
//! and none is in both.
//!
//! # Chains
//! A base may be a patch itself; a chain of them ends in a whole chunk. Of several patches that say something of one place the
//! newest counts, and only the newest prefix: so a chain is resolved at once, and several patches make one ([`compose`]).
//!
//! # Trust
//! As for a whole chunk: what results is hashed. A patch is bounded by the bytes of its chunk; one that takes more would better
//! have come whole.

use super::{
    BYTES_MAX, ChunkError, ChunkId, ChunkRef, PATCH, VerifiedChunk, form_of, plain, unpack_whole,
};
use ledger::{
    hash::Hash,
    state::tree::{Change, EntryRef, Op, Place, Prefix, Subtree, Tree},
};
use std::cmp::Ordering;

/// Bytes before what is packed, without the form.
const HEAD_BYTES: usize = 32 + 32 + 2;
/// Bytes of a packed patch's head on disk or on the wire: enough to learn what it is a patch on.
pub const BASE_BYTES: usize = 1 + 32;

/// The chunk that these bytes are a patch on; nothing if they are none.
pub fn base_of(bytes: &[u8]) -> Option<ChunkId> {
    let head = bytes.first_chunk::<BASE_BYTES>()?;
    let [form, base @ ..] = *head;
    (form == PATCH).then_some(ChunkId(Hash(base)))
}

/// Encodes what became of a chunk: `old` is what was below the prefix of `new` then, and `base` names the chunk that held it.
/// Nothing, if that takes more than `plain_max` bytes before compression.
///
/// Costs what changed: what both share in memory is not looked at.
///
/// # Errors
/// [`ChunkError::Compression`] if zstd fails.
pub fn encode(
    base: ChunkId,
    old: &Subtree,
    new: &Subtree,
    plain_max: u64,
) -> Result<Option<Vec<u8>>, ChunkError> {
    let (old, now) = (Tree::from(old.clone()), Tree::from(new.clone()));
    let changes = old.changes(&now).map(|difference| Change {
        place: difference.place,
        op: match difference.new {
            Some(EntryRef { key, value, .. }) => Op::Put { key, value },
            None => Op::Remove,
        },
    });
    encode_changes(base, &new.prefix(), changes, plain_max)
}

/// Encodes changes, which come in the order of their places.
fn encode_changes<'a>(
    base: ChunkId,
    prefix: &Prefix,
    changes: impl Iterator<Item = Change<'a>>,
    plain_max: u64,
) -> Result<Option<Vec<u8>>, ChunkError> {
    let (mut removed, mut put) = (Vec::new(), Vec::new());
    for change in changes {
        match change.op {
            Op::Remove => removed.extend_from_slice(&change.place.0),
            Op::Put { key, value } => plain::push_entry(&mut put, key, value),
        }
        if 4 + (removed.len() + put.len()) as u64 > plain_max.min(BYTES_MAX) {
            return Ok(None);
        }
    }
    // Below BYTES_MAX / 32.
    let count = u32::try_from(removed.len() / 32).unwrap_or(u32::MAX);
    let mut plain = count.to_be_bytes().to_vec();
    plain.extend(removed);
    plain.extend(put);
    let mut head = vec![PATCH];
    head.extend_from_slice(&base.0.0);
    head.extend_from_slice(&prefix.bits().0);
    head.extend_from_slice(&prefix.bit_count().to_be_bytes());
    plain::pack(head, &plain).map(Some)
}

/// A patch, unpacked. Nothing about it is verified before it is applied.
struct Unpacked {
    base: ChunkId,
    prefix: Prefix,
    plain: Vec<u8>,
}

impl Unpacked {
    fn of(bytes: &[u8], plain_max: u64) -> Result<Self, ChunkError> {
        let (form, rest) = form_of(bytes)?;
        if form != PATCH {
            return Err(ChunkError::Form(form));
        }
        let short = ChunkError::NoHead(bytes.len());
        let (head, packed) = rest
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(short.clone())?;
        let (base, head) = head.split_first_chunk::<32>().ok_or(short.clone())?;
        let (bits, len) = head.split_first_chunk::<32>().ok_or(short.clone())?;
        let len = len.first_chunk::<2>().ok_or(short)?;
        Ok(Self {
            base: ChunkId(Hash(*base)),
            prefix: Prefix::new(Place(*bits), u16::from_be_bytes(*len))?,
            plain: plain::unpack(packed, plain_max.min(BYTES_MAX))?,
        })
    }

    /// What it changes, in the order of places.
    fn changes(&self) -> Result<Vec<Change<'_>>, ChunkError> {
        let unreadable = ChunkError::Entry(0);
        let (count, plain) = self.plain.split_first_chunk::<4>().ok_or(unreadable)?;
        let removed_bytes = usize::try_from(u32::from_be_bytes(*count))
            .ok()
            .and_then(|count| count.checked_mul(32));
        let (removed, put) = removed_bytes
            .and_then(|bytes| plain.split_at_checked(bytes))
            .ok_or(ChunkError::Entry(0))?;
        let removed = removed.as_chunks::<32>().0.iter().map(|place| Change {
            place: Place(*place),
            op: Op::Remove,
        });
        let put = plain::entries(put)?;
        let put = put.iter().map(|entry| Change {
            place: entry.place,
            op: Op::Put {
                key: entry.key,
                value: entry.value,
            },
        });
        let mut changes: Vec<Change<'_>> = removed.collect();
        ordered(&changes)?;
        let puts_from = changes.len();
        changes.extend(put);
        ordered(changes.get(puts_from..).unwrap_or_default())?;
        changes.sort_by_key(|change| change.place);
        ordered(&changes)?;
        Ok(changes)
    }
}

/// Whether places rise.
fn ordered(changes: &[Change<'_>]) -> Result<(), ChunkError> {
    for pair in changes.windows(2) {
        if let [before, next] = pair
            && before.place >= next.place
        {
            return Err(ChunkError::Contradiction(next.place));
        }
    }
    Ok(())
}

/// Verifies a patch on a subtree that is at hand: the subtree is the whole of chunk `base`. `bytes_max` is what the chunk may
/// have.
pub(crate) fn verify_on(
    base: &Subtree,
    bytes: &[u8],
    chunk: &ChunkRef,
    bytes_max: u64,
) -> Result<VerifiedChunk, ChunkError> {
    let patch = Unpacked::of(bytes, bytes_max)?;
    if patch.base.0 != base.hash() {
        return Err(ChunkError::OtherBase {
            found: patch.base.0,
            expected: base.hash(),
        });
    }
    let below = Tree::from(base.clone()).subtree(&patch.prefix);
    let mut tree = below.map(Tree::from).unwrap_or_default();
    let changes = patch.changes()?;
    tree.apply(&changes)
        .map_err(ledger::state::tree::BuildError::from)?;
    VerifiedChunk::of(tree.top().ok_or(ChunkError::Empty)?, chunk)
}

/// Verifies a chunk from its chain: patches from the newest to the oldest, and the whole chunk at the end. These bytes were
/// made here or verified before they were stored.
pub(crate) fn verify_chain(
    whole: &[u8],
    newest_first: &[Vec<u8>],
    chunk: &ChunkRef,
    bytes_max: u64,
) -> Result<VerifiedChunk, ChunkError> {
    let patches = unpack_all(newest_first)?;
    let Some(newest) = patches.first() else {
        return super::verify_within(whole, chunk, bytes_max);
    };
    let whole = unpack_whole(whole, BYTES_MAX)?;
    let old = plain::entries(&whole)?;
    let changes = newest_of_each(&patches)?;
    let entries = patched(&old, &changes);
    let tree = Tree::build(entries.filter(|entry| newest.prefix.contains(&entry.place)))?;
    VerifiedChunk::of(tree.top().ok_or(ChunkError::Empty)?, chunk)
}

/// One patch that does what several in a row do, given from the newest to the oldest. Nothing, if it took more than
/// `plain_max` bytes, or if these are none in a row.
///
/// # Errors
/// [`ChunkError`] if one of them is unreadable.
pub fn compose(newest_first: &[Vec<u8>], plain_max: u64) -> Result<Option<Vec<u8>>, ChunkError> {
    if let [one] = newest_first {
        let fits = Unpacked::of(one, plain_max).is_ok();
        return Ok(fits.then(|| one.clone()));
    }
    let patches = unpack_all(newest_first)?;
    let (Some(newest), Some(oldest)) = (patches.first(), patches.last()) else {
        return Ok(None);
    };
    let changes = newest_of_each(&patches)?;
    let inside = |change: &Change<'_>| newest.prefix.contains(&change.place);
    let changes = changes.into_iter().filter(inside);
    encode_changes(oldest.base, &newest.prefix, changes, plain_max)
}

fn unpack_all(newest_first: &[Vec<u8>]) -> Result<Vec<Unpacked>, ChunkError> {
    let unpack = |bytes: &Vec<u8>| Unpacked::of(bytes, BYTES_MAX);
    newest_first.iter().map(unpack).collect()
}

/// What several patches change, the newest word on each place, in the order of places.
fn newest_of_each(newest_first: &[Unpacked]) -> Result<Vec<Change<'_>>, ChunkError> {
    let mut changes = Vec::new();
    for patch in newest_first {
        changes.extend(patch.changes()?);
    }
    // Stable, so that the newest of a place comes first.
    changes.sort_by_key(|change| change.place);
    changes.dedup_by_key(|change| change.place);
    Ok(changes)
}

/// Old entries with changes made to them, both in the order of places.
fn patched<'a>(old: &[EntryRef<'a>], changes: &[Change<'a>]) -> impl Iterator<Item = EntryRef<'a>> {
    let (mut old, mut changes) = (old.iter().peekable(), changes.iter().peekable());
    let next = move || {
        loop {
            let order = match (old.peek(), changes.peek()) {
                (Some(old), Some(change)) => old.place.cmp(&change.place),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return None,
            };
            if order == Ordering::Less {
                return old.next().copied();
            }
            if order == Ordering::Equal {
                old.next();
            }
            let change = changes.next()?;
            if let Op::Put { key, value } = change.op {
                let place = change.place;
                return Some(EntryRef { place, key, value });
            }
        }
    };
    std::iter::from_fn(next)
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
