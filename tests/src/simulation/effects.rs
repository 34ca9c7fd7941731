//! What a replica's effects do in the simulated world, and the watch over what it says and commits.

use super::{Happening, Simulation, Violation};
use ledger::{
    block::Block,
    certificate::BlockProposal,
    hash::{Domain, StateRoot},
    keys::PublicKey,
};
use node::{
    event::Alarm,
    replica::{Effect, Input, Timer, message::Message},
};
use std::time::Duration;

impl Simulation {
    pub(super) fn carry_out(&mut self, node: usize, effects: Vec<Effect>) -> Result<(), Violation> {
        // A crash can also come between two effects: then the rest never happens.
        let cut = match self.world.crash_every {
            Some(n) if self.random.below(n * 2) == 0 => {
                Some(usize::try_from(self.random.below(effects.len() as u64 + 1)).unwrap_or(0))
            }
            _ => None,
        };
        for (i, effect) in effects.into_iter().enumerate() {
            if cut == Some(i) {
                self.crash(node);
                return Ok(());
            }
            self.effect(node, effect)?;
        }
        Ok(())
    }

    fn effect(&mut self, node: usize, effect: Effect) -> Result<(), Violation> {
        let from = self.nodes[node].key.public_key();
        let others = (0..self.nodes.len()).filter(|o| *o != node);
        match effect {
            Effect::Broadcast(message) => {
                self.note(&ledger::codec::encode(&message));
                self.watch(&message)?;
                for other in others {
                    self.send(
                        other,
                        &Input::Message {
                            from,
                            message: message.clone(),
                        },
                    );
                }
            }
            Effect::SetTimer(timer, after) => self.set_timer(node, timer, after),
            Effect::FetchBodies {
                from,
                block,
                missing,
            } => {
                if let Some(of) = self.index_of(&from) {
                    let happening = Happening::FetchBodies {
                        asker: node,
                        of,
                        block,
                        missing,
                    };
                    self.schedule(1_000, happening);
                }
            }
            Effect::FetchBlocks { from, height } => {
                if let Some(of) = self.index_of(&from) {
                    self.schedule(
                        1_000,
                        Happening::FetchBlocks {
                            asker: node,
                            of,
                            height,
                        },
                    );
                }
            }
            Effect::Gossip(transactions) => {
                for other in others {
                    self.send(other, &Input::Gossiped(transactions.clone()));
                }
            }
            Effect::Committed(committed) => {
                let root = committed.executed.state.root();
                self.committed_at(node, &committed.block, root)?;
            }
            Effect::Alarm(Alarm::Equivocation { .. })
            | Effect::Admitted { .. }
            | Effect::Dropped(_) => {}
            Effect::Alarm(alarm) => return Err(self.unexpected(node, format!("{alarm:?}"))),
            Effect::Fault { what, .. } => return Err(self.unexpected(node, what)),
        }
        Ok(())
    }

    pub(super) fn unexpected(&self, node: usize, what: String) -> Violation {
        Violation::Unexpected {
            seed: self.world.seed,
            node,
            what,
        }
    }

    fn set_timer(&mut self, node: usize, timer: Timer, after: Duration) {
        let after_us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX / 2);
        self.schedule(after_us, Happening::Deliver(node, Input::Timer(timer)));
    }

    pub(super) fn index_of(&self, key: &PublicKey) -> Option<usize> {
        self.nodes.iter().position(|n| n.key.public_key() == *key)
    }

    fn committed_at(
        &mut self,
        node: usize,
        block: &Block,
        root: StateRoot,
    ) -> Result<(), Violation> {
        let (height, hash) = (block.header.height, block.hash());
        self.note(hash.as_bytes());
        let seed = self.world.seed;
        match self.committed.get(&height) {
            Some((a, _)) if *a != hash => {
                return Err(Violation::TwoHistories {
                    seed,
                    height,
                    a: *a,
                    b: hash,
                });
            }
            Some(_) => {}
            None => {
                self.report.transactions += block.transactions.len() as u64;
                self.committed.insert(height, (hash, root));
            }
        }
        let acknowledged = &mut self.nodes[node].acknowledged;
        if height <= *acknowledged {
            return Err(Violation::Lost { seed, node, height });
        }
        *acknowledged = height;
        Ok(())
    }

    /// Holds every vote and proposal that leaves a node against all that its key said before.
    fn watch(&mut self, message: &Message) -> Result<(), Violation> {
        let seed = self.world.seed;
        let (position, what, said) = match message {
            Message::Vote(v) => {
                let position = (
                    v.vote.validator,
                    v.vote.height,
                    v.vote.round,
                    Some(v.vote.kind),
                );
                (position, "votes", ledger::codec::encode(&v.vote.block))
            }
            Message::Proposal(p, _) => {
                let BlockProposal {
                    height,
                    round,
                    block,
                    proof_of_lock,
                    proposer,
                } = p.proposal;
                let said = ledger::codec::encode(&(block, proof_of_lock));
                ((proposer, height, round, None), "proposals", said)
            }
            Message::Polka(_) | Message::RoundEnded(_) | Message::RoundSkipped(_) => return Ok(()),
        };
        let said = ledger::hash::hash(Domain::Vote, &said);
        let before = *self.said.entry(position).or_insert(said);
        if before == said {
            return Ok(());
        }
        let (who, height, round, _) = position;
        Err(Violation::SignedTwice {
            seed,
            who,
            what,
            height,
            round,
        })
    }
}
