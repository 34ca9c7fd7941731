//! What a replica's effects do in the simulated world, and the watch over what it says and commits.

use super::{Happening, Simulation, Violation};
use ledger::{
    block::Block,
    certificate::BlockProposal,
    hash::{Domain, StateRoot, TxId, ValidatorSetHash},
    keys::PublicKey,
};
use node::{
    event::Alarm,
    replica::{Effect, Input, Timer, evidence::Equivocation, message::Message},
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
                    self.forge(other, &message);
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
            Effect::Evidence(found) => self.accused(node, &found)?,
            Effect::Alarm(Alarm::Equivocation { .. })
            | Effect::Astray(_)
            | Effect::Admitted { .. }
            | Effect::Dropped(_) => {}
            Effect::Alarm(alarm) => return Err(self.unexpected(node, format!("{alarm:?}"))),
            Effect::Fault { what, .. } => return Err(self.unexpected(node, what)),
        }
        Ok(())
    }

    /// A stranger's copy of a proposal: signed by its proposer as it is, with a list of transactions that is not its own.
    fn forge(&mut self, to: usize, message: &Message) {
        let Message::Proposal(proposal, compact) = message else {
            return;
        };
        if !self.random.chance(self.world.forged_percent) {
            return;
        }
        let mut forged = compact.clone();
        match self.random.below(3) {
            0 if !forged.transactions.is_empty() => drop(forged.transactions.pop()),
            1 if !forged.transactions.is_empty() => forged.transactions.reverse(),
            _ => forged.transactions.push(TxId([0xF0; 32])),
        }
        let input = Input::Message {
            from: self.client.public_key(),
            message: Message::Proposal(*proposal, forged),
        };
        self.schedule(1, Happening::Deliver(to, input));
    }

    pub(super) fn unexpected(&self, node: usize, what: String) -> Violation {
        Violation::Unexpected {
            seed: self.world.seed,
            node,
            what,
        }
    }

    /// Holds a proof against what is known here: only the key that runs twice signs twice.
    fn accused(&mut self, node: usize, found: &Equivocation) -> Result<(), Violation> {
        let guilty = self.world.twin && found.validator == self.nodes[0].key.address();
        let why = match found.verify() {
            Ok(()) if guilty => {
                self.report.equivocations += u64::from(self.is_honest(node));
                return Ok(());
            }
            Ok(()) => "it is honest".into(),
            Err(error) => error.to_string(),
        };
        Err(Violation::FalseAccusation {
            seed: self.world.seed,
            node,
            accused: found.validator,
            why,
        })
    }

    fn set_timer(&mut self, node: usize, timer: Timer, after: Duration) {
        let after_us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX / 2);
        self.schedule(after_us, Happening::Deliver(node, Input::Timer(timer)));
    }

    /// The node of a key. Of twins, any: whoever asks cannot tell them apart.
    pub(super) fn index_of(&mut self, key: &PublicKey) -> Option<usize> {
        let nodes = self.nodes.iter().enumerate();
        let its: Vec<usize> = nodes
            .filter(|(_, n)| n.key.public_key() == *key)
            .map(|(i, _)| i)
            .collect();
        match its.as_slice() {
            [] | [_] => its.first().copied(),
            _ => {
                let one = self.random.below(its.len() as u64);
                its.get(usize::try_from(one).unwrap_or(0)).copied()
            }
        }
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
            Some((_, a)) if *a != root => {
                let what = format!("root {root:.8} after height {height}, others have {a:.8}");
                return Err(self.unexpected(node, what));
            }
            Some(_) => {}
            None => {
                self.report.transactions += block.transactions.len() as u64;
                self.note_validators(block.header.validators);
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

    fn note_validators(&mut self, set: ValidatorSetHash) {
        if self.last_set.is_some_and(|before| before != set) {
            self.report.set_changes += 1;
        }
        self.last_set = Some(set);
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
        if self.world.twin && position.0 == self.nodes[0].key.address() {
            return Ok(());
        }
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
