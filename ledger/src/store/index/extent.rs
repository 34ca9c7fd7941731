//! How much is indexed, and which runs count: written last, so that whatever a crash left behind does not.

use super::runs::Run;
use super::unsupported;
use crate::store::format::be_u64;
use crate::units::Height;

/// How much is indexed. One value, so that it is never half written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// All blocks up to here: so many of them, without a gap.
    pub up_to: Height,
    pub blocks: u64,
    /// Where their transactions are.
    pub runs: Vec<Run>,
}

impl Extent {
    const HEAD_BYTES: usize = 16;

    /// Its bytes, as in `docs/formats.md`.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.up_to.0.to_be_bytes().to_vec();
        bytes.extend(self.blocks.to_be_bytes());
        bytes.extend(self.runs.iter().flat_map(Run::encode));
        bytes
    }

    /// The lowest height that is indexed: there is no gap above it.
    pub fn from(&self) -> Height {
        Height(self.up_to.0.saturating_add(1).saturating_sub(self.blocks))
    }

    /// Whether the block of a height is indexed.
    pub fn covers(&self, height: Height) -> bool {
        (self.from()..=self.up_to).contains(&height)
    }

    /// How many transactions are indexed.
    pub fn transactions(&self) -> u64 {
        self.runs
            .iter()
            .map(|run| run.entries)
            .fold(0, u64::saturating_add)
    }

    /// Reads it.
    pub fn decode(bytes: &[u8]) -> sled::Result<Self> {
        let wrong = || unsupported("its extent has the wrong length");
        let (head, runs) = bytes
            .split_first_chunk::<{ Self::HEAD_BYTES }>()
            .ok_or_else(wrong)?;
        let (runs, []) = runs.as_chunks() else {
            return Err(wrong());
        };
        Ok(Self {
            up_to: Height(be_u64(head, 0)),
            blocks: be_u64(head, 8),
            runs: runs.iter().map(Run::decode).collect(),
        })
    }
}
