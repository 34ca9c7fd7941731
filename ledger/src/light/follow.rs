//! Following the chain from what is trusted to a header far ahead, by as few headers as will do.
//!
//! # The protocol
//! The target is verified directly, by [`Trusted::verify`]. If too few of those who are trusted signed it
//! ([`LightError::TooFar`]), the header half-way is fetched and verified first, and so on: the sets have changed between, and a header
//! between was signed by enough of both. Two neighbours need nobody in common: the first announces the second's validators.
//! So every honest chain can be followed, over at most `log2(distance)` headers for each time that the validators change
//! by more than two thirds.
//!
//! # What is assumed
//! - **The trusting period.** Of the validators of a trusted header, less than a third of the power is faulty *until the period
//!   after the header's time is over*. Later their keys may be sold or leaked, having nothing left to protect: a header
//!   that is older is not trusted any more, and another one has to be named, from a source that is trusted. Choose it
//!   shorter than the time for which validators must answer for what they signed.
//! - **The clock.** The time that is given is right to [`CLOCK_DRIFT_MS_MAX`]: a header from the future is refused.
//! - That one node gives the true chain needs no trust. That it gives the *newest* of it does: ask several.
//!
//! # What it can find
//! A header that contradicts what is trusted is a lie of the node's, and named. Two *certified* headers of one height are more:
//! a third of the validators have signed both. Ask two nodes, and compare.

use super::{LightBlock, LightError, Trusted};
use crate::units::{Height, TimestampMs};

/// For how long a header is trusted, if nothing else is said: two weeks.
pub const TRUSTING_PERIOD_MS: u64 = 14 * 24 * 3600 * 1000;
/// How far a header may be ahead of the local clock.
pub const CLOCK_DRIFT_MS_MAX: u64 = 60_000;

/// The time, and for how long a header is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The local time.
    pub now: TimestampMs,
    /// The trusting period.
    pub trusting_period_ms: u64,
}

/// Where following led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The target, believed.
    pub trusted: Trusted,
    /// Headers that were verified, the target included.
    pub headers_checked: u64,
    /// How often one of these had other validators than the one verified before it.
    pub validator_set_changes: u64,
}

/// A header is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError<E> {
    /// A header could not be had.
    #[error("the header of height {height} could not be had")]
    Fetch {
        /// Its height.
        height: Height,
        /// Why.
        source: E,
    },
    /// What is trusted is too old.
    #[error(
        "the trusted header of height {height} is {age_ms} ms old, the trusting period is {trusting_period_ms} ms; \
         name a newer block to trust, from a source that you trust"
    )]
    Expired {
        /// Its height.
        height: Height,
        /// How old it is.
        age_ms: u64,
        /// How old it may be.
        trusting_period_ms: u64,
    },
    /// A header that is dated later than now.
    #[error("the header of height {height} is dated {ahead_ms} ms ahead of the local clock")]
    FromFuture {
        /// Its height.
        height: Height,
        /// By how much.
        ahead_ms: u64,
    },
    /// The header that came is of another height than the one asked for.
    #[error("asked for height {asked}, a header of height {found} came")]
    OtherHeight {
        /// The height asked for.
        asked: Height,
        /// The height that came.
        found: Height,
    },
    /// A header does not verify.
    #[error("height {height}: {source}")]
    Light {
        /// Its height.
        height: Height,
        /// Why.
        source: LightError,
    },
}

impl<E> FollowError<E> {
    /// Whether an honest node of this chain could never have sent what came.
    pub const fn is_lie(&self) -> bool {
        match self {
            Self::Fetch { .. } | Self::Expired { .. } | Self::FromFuture { .. } => false,
            Self::OtherHeight { .. } => true,
            Self::Light { source, .. } => source.is_lie(),
        }
    }
}

/// Believes `target`, which lies ahead of `trusted`; what it needs between the two comes from `fetch`.
///
/// # Errors
/// [`FollowError`] names the height that it failed at.
pub fn follow<E>(
    mut trusted: Trusted,
    target: LightBlock,
    clock: &Clock,
    mut fetch: impl FnMut(Height) -> Result<LightBlock, E>,
) -> Result<Followed, FollowError<E>> {
    let age_ms = clock.now.0.saturating_sub(trusted.time().0);
    if age_ms > clock.trusting_period_ms {
        return Err(FollowError::Expired {
            height: trusted.height(),
            age_ms,
            trusting_period_ms: clock.trusting_period_ms,
        });
    }
    let (mut headers_checked, mut validator_set_changes) = (0, 0);
    // What is to be verified, the next one last: each half-way to the one below it, so never more than a height has bits.
    let mut pending = vec![target];
    while let Some(block) = pending.pop() {
        let height = block.header.height;
        let ahead_ms = block.header.time.0.saturating_sub(clock.now.0);
        if ahead_ms > CLOCK_DRIFT_MS_MAX {
            return Err(FollowError::FromFuture { height, ahead_ms });
        }
        match trusted.verify(block.clone()) {
            Ok(next) => {
                headers_checked += 1;
                validator_set_changes += u64::from(next.validators() != trusted.validators());
                trusted = next;
            }
            Err(LightError::TooFar { .. }) => {
                let asked = half_way(trusted.height(), height);
                let between = fetch(asked).map_err(|source| FollowError::Fetch {
                    height: asked,
                    source,
                })?;
                let found = between.header.height;
                if found != asked {
                    return Err(FollowError::OtherHeight { asked, found });
                }
                pending.extend([block, between]);
            }
            Err(source) => return Err(FollowError::Light { height, source }),
        }
    }
    Ok(Followed {
        trusted,
        headers_checked,
        validator_set_changes,
    })
}

/// A height between two that are no neighbours. (Of neighbours none is ever too far.)
const fn half_way(trusted: Height, too_far: Height) -> Height {
    Height(trusted.0 + (too_far.0 - trusted.0) / 2)
}
