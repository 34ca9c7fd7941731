//! The documents of the event stream.

use super::{Snapshot, SyncProgress};
use crate::event;
use ledger::{
    hash::{Address, BlockHash, StateRoot},
    units::{Height, Round, TimestampMs},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What `/v1/events` sends; the `event` field is also the name of the server-sent event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A block became final.
    Block(BlockEvent),
    /// A snapshot is whole on disk.
    Snapshot(Snapshot),
    /// A sync went on.
    Sync(SyncProgress),
    /// Someone disagrees about the state.
    Alarm(Alarm),
    /// The receiver was too slow, and events were dropped: it should read anew what it keeps.
    Lagged(Lagged),
}

/// A block that became final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockEvent {
    /// Its height.
    #[schema(value_type = u64)]
    pub height: Height,
    /// The round it was decided in.
    #[schema(value_type = u32)]
    pub round: Round,
    /// Its hash.
    #[schema(value_type = String)]
    pub hash: BlockHash,
    /// The root after it.
    #[schema(value_type = String)]
    pub state_root: StateRoot,
    /// Who proposed it.
    #[schema(value_type = String)]
    pub proposer: Address,
    /// When, as the proposer says.
    #[schema(value_type = u64)]
    pub time: TimestampMs,
    /// How many transactions it has.
    pub transactions: u64,
}

/// Who disagrees, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alarm {
    /// `diverged`, `peer_differs` or `equivocation`.
    pub alarm: String,
    /// The height.
    #[schema(value_type = u64)]
    pub height: Height,
    /// What is known, for a person.
    pub message: String,
    /// The root this node has, or judged by.
    #[schema(value_type = Option<String>)]
    pub here: Option<StateRoot>,
    /// The root that is certified, or that the peer attests.
    #[schema(value_type = Option<String>)]
    pub theirs: Option<StateRoot>,
    /// The block, the peer's key or the validator's address.
    pub subject: String,
}

/// Events were dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lagged {
    /// How many.
    pub missed: u64,
}

impl Event {
    /// The name of the server-sent event.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Block(_) => "block",
            Self::Snapshot(_) => "snapshot",
            Self::Sync(_) => "sync",
            Self::Alarm(_) => "alarm",
            Self::Lagged(_) => "lagged",
        }
    }
}

impl From<event::Event> for Event {
    fn from(event: event::Event) -> Self {
        match event {
            event::Event::Block {
                height,
                round,
                hash,
                state_root,
                proposer,
                time,
                transactions,
            } => Self::Block(BlockEvent {
                height,
                round,
                hash,
                state_root,
                proposer,
                time,
                transactions,
            }),
            event::Event::Snapshot(info) => Self::Snapshot(info.into()),
            event::Event::Sync(sync) => Self::Sync((&sync).into()),
            event::Event::Alarm(alarm) => Self::Alarm(alarm.into()),
        }
    }
}

impl From<event::Alarm> for Alarm {
    fn from(alarm: event::Alarm) -> Self {
        let message = alarm.to_string();
        let (name, height, subject, here, theirs) = match alarm {
            event::Alarm::Diverged {
                height,
                block,
                certified,
                here,
                ..
            } => ("diverged", height, block.to_string(), here, Some(certified)),
            event::Alarm::PeerDiffers {
                peer,
                height,
                here,
                theirs,
            } => (
                "peer_differs",
                height,
                peer.to_string(),
                Some(here),
                Some(theirs),
            ),
            event::Alarm::Equivocation { validator, height } => {
                ("equivocation", height, validator.to_string(), None, None)
            }
        };
        Self {
            alarm: name.into(),
            height,
            message,
            here,
            theirs,
            subject,
        }
    }
}
