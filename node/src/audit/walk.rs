//! The walk itself, pure: one block after another, each held against what is known before it.

use ledger::{
    block::{Block, CommittedBlock, Header, rules::Standing},
    certificate::Certificate,
    hash::{BlockHash, ChainId, Hash, ValidatorSetHash},
    state::{Execution, State},
    store::BlockRecord,
    units::Height,
    untrusted::Untrusted,
    validators::ValidatorSet,
};
use std::collections::BTreeMap;

/// A block with all that can be said of it alone. Made on any core.
pub(super) struct Prepared {
    /// The height it was recorded under.
    pub(super) height: Height,
    recorded_hash: Hash,
    content: Result<Content, String>,
}

struct Content {
    header: Header,
    parent_certificate: Option<Certificate>,
    certificate: Certificate,
    /// The block with its transactions verified, or which is bad.
    block: Result<Block, String>,
    /// Whether the transactions and their recorded outcomes are those of the header.
    outcomes: Result<(), String>,
}

impl Prepared {
    pub(super) fn new(record: &BlockRecord, chain: &ChainId) -> Self {
        let content = CommittedBlock::decode(&record.payload)
            .map(|claimed| Content::new(claimed, chain))
            .map_err(|e| format!("it is unreadable: {e}"));
        Self {
            height: record.height,
            recorded_hash: record.block_hash,
            content,
        }
    }
}

impl Content {
    /// Each part is judged by itself, so that a fault is named by what it is and not by what follows from it.
    fn new(claimed: Untrusted<CommittedBlock>, chain: &ChainId) -> Self {
        let CommittedBlock {
            block, certificate, ..
        } = claimed.claim().clone();
        let (header, parent_certificate) = (block.header.clone(), block.parent_certificate.clone());
        let body = claimed.verify_body().map_err(|e| e.to_string());
        Self {
            header,
            parent_certificate,
            certificate,
            block: block.verify_transactions(chain).map_err(|e| e.to_string()),
            outcomes: body.and_then(|committed| match committed.verified_outcomes() {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }),
        }
    }
}

/// What is known of the blocks before the next one.
enum Before {
    /// There are none.
    Genesis,
    /// They are not here.
    Nothing,
    /// The last one.
    Block(Box<Header>),
}

/// A walk along a chain. It needs a state for execution, and does without as well as it can.
pub(super) struct Walk {
    chain: ChainId,
    next: Height,
    before: Before,
    state: Option<State>,
    executed_from: Option<Height>,
    /// Validator sets that are known by their hash, for heights without a state.
    known: BTreeMap<ValidatorSetHash, ValidatorSet>,
    not_executed: u64,
    unknown_voters: u64,
    parent_unknown: bool,
}

impl Walk {
    /// From the genesis's state on.
    pub(super) fn from_genesis(chain: ChainId, state: State) -> Self {
        Self {
            next: Height::GENESIS.next(),
            before: Before::Genesis,
            executed_from: Some(Height::GENESIS.next()),
            state: Some(state),
            ..Self::without_state(chain, Height::GENESIS.next(), vec![])
        }
    }

    /// From a block on whose parent is not here.
    pub(super) fn without_state(chain: ChainId, next: Height, known: Vec<ValidatorSet>) -> Self {
        Self {
            chain,
            next,
            before: Before::Nothing,
            state: None,
            executed_from: None,
            known: known.into_iter().map(|set| (set.hash(), set)).collect(),
            not_executed: 0,
            unknown_voters: 0,
            parent_unknown: false,
        }
    }

    /// Takes the verified state after the last block: from the next one on blocks are executed.
    pub(super) fn stand_on(&mut self, header: Header, state: State) {
        debug_assert_eq!(header.height.next(), self.next);
        self.before = Before::Block(Box::new(header));
        self.state = Some(state);
        self.executed_from = Some(self.next);
    }

    pub(super) const fn executes(&self) -> bool {
        self.state.is_some()
    }

    /// The first height that was executed, if one was.
    pub(super) fn executed_from(&self) -> Option<Height> {
        self.executed_from.filter(|from| *from < self.next)
    }

    /// What was left out, said to a person.
    pub(super) fn unchecked(&self) -> Vec<String> {
        let mut left_out = Vec::new();
        if self.not_executed > 0 {
            left_out.push(format!(
                "{} blocks were not executed, since no state before them is kept: their state roots, \
                 nonces and limits are as their certificates say",
                self.not_executed
            ));
        }
        if self.unknown_voters > 0 {
            left_out.push(format!(
                "{} blocks name a validator set that is not known here: their certificates and proposers were not checked",
                self.unknown_voters
            ));
        }
        if self.parent_unknown {
            left_out.push(
                "the parent of the first block is not here: its certificate in that block was not checked".into(),
            );
        }
        left_out
    }

    /// Checks the next block, and goes on to it. Its hash is returned.
    pub(super) fn follow(&mut self, prepared: Prepared) -> Result<BlockHash, String> {
        let Prepared {
            height,
            recorded_hash,
            content,
        } = prepared;
        if height != self.next {
            return Err(format!("it stands where block {} belongs", self.next));
        }
        let content = content?;
        let hash = content.header.hash();
        if Hash::from(hash) != recorded_hash {
            return Err(format!(
                "it is recorded as {recorded_hash}, and its header's hash is {hash}"
            ));
        }
        if content.header.height != height {
            return Err(format!("its header says height {}", content.header.height));
        }
        match self.state.take() {
            Some(state) => self.state = Some(self.execute(&state, &content, hash)?),
            None => self.check_without_state(&content, hash)?,
        }
        self.before = Before::Block(Box::new(content.header));
        self.next = height.next();
        Ok(hash)
    }

    /// All of it, by the state before. The state after is returned.
    fn execute(&self, state: &State, content: &Content, hash: BlockHash) -> Result<State, String> {
        let voters = state.next_validators();
        let standing = Standing {
            chain: &self.chain,
            parent: match &self.before {
                Before::Block(parent) => Some(parent),
                Before::Genesis | Before::Nothing => None,
            },
            voters,
            parent_voters: &state.validators().current,
        };
        standing
            .check(&content.header, content.parent_certificate.as_ref())
            .map_err(|e| e.to_string())?;
        self.check_certificate(content, hash, voters)?;
        let block = content.block.as_ref().map_err(Clone::clone)?;
        let executed = Execution::run(state, block).map_err(|e| e.to_string())?;
        content.outcomes.clone()?;
        Ok(executed.state)
    }

    fn check_certificate(
        &self,
        content: &Content,
        hash: BlockHash,
        voters: &ValidatorSet,
    ) -> Result<(), String> {
        let height = content.header.height;
        content
            .certificate
            .verify_for(height, hash, &self.chain, voters)
            .map_err(|e| format!("its certificate: {e}"))
    }

    /// What its own bytes, the block before and the sets known by their hashes prove.
    fn check_without_state(&mut self, content: &Content, hash: BlockHash) -> Result<(), String> {
        let Content {
            header,
            parent_certificate,
            certificate,
            ..
        } = content;
        let misplaced = |e: ledger::block::rules::Misplaced| e.to_string();
        header.check_alone(&self.chain).map_err(misplaced)?;
        header
            .check_parent_certificate(parent_certificate.as_ref())
            .map_err(misplaced)?;
        if let Before::Block(parent) = &self.before {
            header.check_after(Some(parent)).map_err(misplaced)?;
        }
        self.check_parent_certificate(header, parent_certificate.as_ref())?;
        if (certificate.height, certificate.block) != (header.height, hash) {
            return Err(format!(
                "its certificate is for block {:.8} at height {}",
                certificate.block, certificate.height
            ));
        }
        match self.known.get(&header.validators) {
            Some(voters) => {
                header.check_proposer(voters).map_err(misplaced)?;
                self.check_certificate(content, hash, voters)?;
            }
            None => self.unknown_voters += 1,
        }
        content.block.as_ref().map_err(Clone::clone)?;
        content.outcomes.clone()?;
        self.not_executed += 1;
        Ok(())
    }

    fn check_parent_certificate(
        &mut self,
        header: &Header,
        certificate: Option<&Certificate>,
    ) -> Result<(), String> {
        let (Some(certificate), Some(before)) = (certificate, header.height.previous()) else {
            return Ok(());
        };
        let wrong = |e| format!("the parent's certificate: {e}");
        match &self.before {
            Before::Block(parent) => match self.known.get(&parent.validators) {
                Some(voters) => certificate
                    .verify_for(before, header.parent, &self.chain, voters)
                    .map_err(|e| wrong(e.to_string())),
                // Counted with the parent.
                None => Ok(()),
            },
            Before::Genesis | Before::Nothing => {
                self.parent_unknown = true;
                if (certificate.height, certificate.block) == (before, header.parent) {
                    Ok(())
                } else {
                    Err(wrong("it is for another block".into()))
                }
            }
        }
    }
}
