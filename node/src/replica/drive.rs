//! What moves a replica on: timers, what consensus asks for, and the step from one height to the next.

use super::{
    ConsensusError, Effect, Journal, Now, Replica, Timer, catch_up,
    consensus::Request,
    message::{Message, WalRecord},
};
use std::time::Duration;

/// How often what waits is said again.
pub(super) const REGOSSIP_EVERY: Duration = Duration::from_secs(2);
/// Transactions that are said again at once.
const REGOSSIP_TRANSACTIONS_MAX: usize = 1024;

impl Replica {
    pub(super) fn timer(
        &mut self,
        timer: Timer,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        match timer {
            // A timer of an older height is not known any more, and the library never hears of it.
            Timer::Consensus(id) if !self.pausing => {
                self.consensus.timer(id, journal)?;
            }
            Timer::Idle(height) if self.pausing && height == self.height() => {
                self.begin_height(now, journal)?;
            }
            Timer::CatchUp(height) if height == self.height() => self.look_ahead(true),
            Timer::Refetch(block) => self.refetch(block),
            Timer::Regossip => self.regossip(),
            Timer::Timely(block) => self.judge_when_timely(block, now, journal)?,
            Timer::Consensus(_) | Timer::Idle(_) | Timer::CatchUp(_) => {}
        }
        Ok(())
    }

    /// Says again what has waited for a whole period.
    fn regossip(&mut self) {
        let stale = self
            .mempool
            .own_before(self.gossiped_before, REGOSSIP_TRANSACTIONS_MAX);
        self.gossiped_before = self.mempool.mark();
        if !stale.is_empty() {
            self.emit(Effect::Gossip(stale));
        }
        self.emit(Effect::SetTimer(Timer::Regossip, REGOSSIP_EVERY));
    }

    /// Does what consensus asks until it asks for nothing more, and goes on to the next height when one is over.
    pub(super) fn settle(
        &mut self,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        loop {
            let requests = self.consensus.take_requests();
            if self.diverged {
                return Ok(());
            }
            if requests.is_empty() && !self.go_on(now, journal)? {
                return Ok(());
            }
            for request in requests {
                if self.diverged {
                    break;
                }
                self.answer(request, now, journal)?;
            }
        }
    }

    /// Whether something new has begun that consensus may ask about.
    fn go_on(&mut self, now: Now, journal: &mut dyn Journal) -> Result<bool, ConsensusError> {
        if std::mem::take(&mut self.finished) {
            self.pausing = true;
            self.emit(Effect::SetTimer(
                Timer::Idle(self.height()),
                self.config.idle,
            ));
        }
        if self.pausing {
            let work = !self.mempool.has_no_work()
                || !self.early.is_empty()
                || self.catch_up.has(self.height());
            if work {
                self.begin_height(now, journal)?;
            }
            return Ok(work);
        }
        self.feed_synced(journal)
    }

    fn begin_height(&mut self, now: Now, journal: &mut dyn Journal) -> Result<(), ConsensusError> {
        self.pausing = false;
        self.start_height(&[], journal)?;
        for (from, message) in self.early.take() {
            self.receive_current(from, message, now, journal)?;
        }
        Ok(())
    }

    pub(super) fn start_height(
        &mut self,
        wal: &[WalRecord],
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        let height = self.height();
        let learnt = self.voting.learn(
            self.state.height(),
            self.state.next_validators(),
            &self.address,
        );
        if let Some(from) = learnt {
            // Durable before the first signature: a crash after it must not find a node that knows nothing again.
            journal.promise_from(from)?;
        }
        let votes = self.voting.may_vote(height);
        let set = self.state.next_validators().clone();
        self.emit(Effect::SetTimer(Timer::CatchUp(height), catch_up::PATIENCE));
        self.consensus.start(height, &set, votes, wal, journal)
    }

    fn answer(
        &mut self,
        request: Request,
        now: Now,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        match request {
            Request::PublishVote(vote) => self.emit(Effect::Broadcast(Message::Vote(vote))),
            Request::PublishPolka(votes) => self.emit(Effect::Broadcast(Message::Polka(votes))),
            Request::PublishRound { skip: true, votes } => {
                self.emit(Effect::Broadcast(Message::RoundSkipped(votes)));
            }
            Request::PublishRound { skip: false, votes } => {
                self.emit(Effect::Broadcast(Message::RoundEnded(votes)));
            }
            Request::PublishProposal(proposal) => {
                self.proposed = Some(proposal);
                self.say_proposal();
            }
            Request::Repeat => self.say_proposal(),
            Request::Timer(id, after) => {
                self.emit(Effect::SetTimer(Timer::Consensus(id), after));
            }
            Request::Propose(height, round) if height == self.height() && !self.finished => {
                self.propose(round, now, journal)?;
            }
            Request::Propose(..) => {}
            Request::JudgeSynced(height, round, block, proposer) if height == self.height() => {
                self.judge_synced(round, block, proposer, journal)?;
            }
            Request::JudgeSynced(..) => {}
            Request::RejectSynced(why) => self.reject_synced(&why),
            Request::Decided(certificate) => self.decided(certificate, journal)?,
            Request::Accuse(height, conflicts) => self.accuse(height, conflicts),
            Request::Finalized => self.finished = true,
        }
        Ok(())
    }
}
