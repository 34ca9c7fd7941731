//! The runtime as the API sees it: answers from published pictures, the index, the log and the snapshots.

use super::{
    metrics,
    shared::{NO_STATE, Shared},
    spaces::Spaces,
    thread::Ask,
};
use crate::{
    event::Event,
    handle::{
        Answering, Backend, Backfill, BlockName, NotHere, Refusal, SnapshotInfo, Status,
        SyncProgress, TransactionStatus, light_block_of,
    },
};
use ::snapshot::{chunk::ChunkId, manifest::Manifest};
use ledger::{
    block::{CertifiedHeader, CommittedBlock},
    codec,
    genesis::Genesis,
    hash::{Address, Hash, StateRoot, TxId, ValidatorSetHash},
    light::LightBlock,
    state::{State, View, entries::Account},
    transaction::{SignedTransaction, VerifiedTransaction, verify_batch},
    units::{Height, Nonce},
    untrusted::Untrusted,
    validators::ValidatorSet,
};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::sync::broadcast;

/// A node so many blocks behind what others have is catching up.
const BEHIND_MAX: u64 = 2;

impl Shared {
    /// Why there is nothing of a height above the latest here.
    fn ahead(&self, asked: Height, latest: Height) -> NotHere {
        match self.follows() {
            true => NotHere::Future { asked, latest },
            false => NotHere::NotReady(NO_STATE.into()),
        }
    }

    /// How far the sync is, while it lasts: of a snapshot, or of the blocks that others are ahead.
    fn progress(&self) -> Option<SyncProgress> {
        if let Some(syncing) = &*self.sync() {
            return Some(syncing.told(Instant::now()));
        }
        let goal = self.highest_certified()?;
        let peers = self.heard().len();
        (goal.0 > self.latest().0 + BEHIND_MAX).then_some(SyncProgress {
            mode: "blocks",
            height: goal,
            chunks_done: 0,
            chunks_total: 0,
            bytes_done: 0,
            bytes_total: 0,
            bytes_per_second: 0,
            seconds_left: None,
            peers,
        })
    }
}

impl Shared {
    /// Whether blocks and what is in them can be here at all.
    fn has_blocks(&self) -> Result<(), NotHere> {
        match self.spaces {
            None => Ok(()),
            Some(_) => Err(NotHere::FollowsSpaces),
        }
    }

    /// Of a node that follows some spaces: where they stand.
    fn status_of(&self, spaces: &Spaces, peers: usize, p2p: Vec<String>) -> Status {
        let newest = spaces.newest().map(|picture| picture.manifest);
        let newest = newest.as_deref();
        Status {
            name: self.name.clone(),
            public_key: self.public_key,
            chain: self.chain,
            validator: false,
            voting: false,
            height: newest.map(Manifest::height).unwrap_or_default(),
            earliest_block: None,
            backfill: None,
            head: newest.map(Manifest::certified),
            state_root: newest.map(Manifest::root),
            last_block_transactions: 0,
            peers,
            p2p,
            mempool: 0,
            snapshot: None,
            origin: None,
            sync: self
                .sync()
                .as_ref()
                .map(|syncing| syncing.told(Instant::now())),
            alarm: None,
            disputed: None,
            stands_still: None,
            ready: newest.is_some() && peers > 0 && spaces.is_moving(),
            spaces: spaces.names().to_vec(),
        }
    }
}

impl Backend for Shared {
    fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    fn status(&self) -> Status {
        let peers = self.network.peers().len();
        let sync = self.progress();
        let behind = sync.is_some();
        let snapshot = self.snapshots.newest();
        let p2p = self
            .network
            .listening()
            .iter()
            .map(ToString::to_string)
            .collect();
        if let Some(spaces) = &self.spaces {
            return self.status_of(spaces, peers, p2p);
        }
        let stands_still = self.stands_still();
        let validators = self.next_validators();
        let pictures = self.pictures();
        let state = pictures.states.back();
        let address = self.public_key.address();
        // One of several that hears nobody does not know whether the chain has gone on.
        let cut_off = peers == 0 && validators.len() > 1;
        Status {
            name: self.name.clone(),
            public_key: self.public_key,
            chain: self.chain,
            validator: validators.get(&address).is_some(),
            voting: self.votes.load(Ordering::Relaxed),
            height: state.map(State::height).unwrap_or_default(),
            earliest_block: self.blocks.first(),
            backfill: self.backfills.then(|| Backfill {
                earliest: self.blocks.first(),
                target: Height::GENESIS.next(),
            }),
            head: pictures.head.clone(),
            state_root: state.map(State::root),
            last_block_transactions: pictures.last_block_transactions,
            peers,
            p2p,
            mempool: self.mempool.load(Ordering::Relaxed),
            snapshot,
            origin: self.origin().clone(),
            sync,
            alarm: pictures.alarm.clone(),
            disputed: pictures.disputed().map(State::height),
            stands_still,
            ready: self.ready.load(Ordering::Relaxed)
                && !behind
                && !cut_off
                && stands_still.is_none()
                && pictures.alarm.is_none(),
            spaces: Vec::new(),
        }
    }

    fn state(&self, height: Option<Height>) -> Result<View, NotHere> {
        if let Some(spaces) = &self.spaces {
            return spaces.view(height);
        }
        if !self.follows() {
            return Err(NotHere::NotReady(NO_STATE.into()));
        }
        let pictures = self.pictures();
        let newest = pictures.states.back().cloned();
        let newest = newest.ok_or_else(|| NotHere::Unknown("the state".into()))?;
        let Some(asked) = height else {
            return Ok(newest.into());
        };
        if let Some(found) = pictures.state(asked) {
            return Ok(found.clone().into());
        }
        let latest = newest.height();
        if asked > latest {
            return Err(NotHere::Future { asked, latest });
        }
        let earliest = pictures
            .states
            .front()
            .map(State::height)
            .unwrap_or_default();
        Err(NotHere::StateGone { earliest })
    }

    fn reads_on(&self, height: Height) {
        let now = Instant::now();
        match &self.spaces {
            Some(spaces) => spaces.reads_on(height, now),
            None => self.pictures().reads_on(height, now),
        }
    }

    fn disputed(&self, height: Height) -> Option<View> {
        let pictures = self.pictures();
        let state = pictures
            .disputed()
            .filter(|state| state.height() == height)?;
        Some(state.clone().into())
    }

    fn next_nonce(&self, address: &Address) -> Nonce {
        let (answer, taken) = std::sync::mpsc::sync_channel(1);
        let asked = || {
            self.inbox.send(Ask::NextNonce {
                address: *address,
                answer,
            })
        };
        let nonce = (self.follows() && asked())
            .then(|| taken.recv_timeout(Duration::from_secs(5)).ok())
            .flatten();
        nonce.unwrap_or_else(|| {
            let state = self.state(None).ok();
            state
                .and_then(|s| s.entry::<Account>(address).ok()?)
                .map(|a| a.nonce)
                .unwrap_or_default()
        })
    }

    fn block(&self, name: &BlockName) -> Result<CommittedBlock, NotHere> {
        self.has_blocks()?;
        let latest = self.latest();
        let height = match name {
            BlockName::Latest => latest,
            BlockName::Height(height) => *height,
            BlockName::Hash(prefix) => self.index.block_height(prefix)?,
        };
        if height > latest {
            return Err(self.ahead(height, latest));
        }
        if height == Height::GENESIS {
            return Err(NotHere::Unknown(
                "a block of height 0 (the genesis has none)".into(),
            ));
        }
        match self.logged(height) {
            Ok(Some(payload)) => codec::decode_unchecked(&payload, ledger::block::BLOCK_BYTES_MAX)
                .map_err(|e| NotHere::Failed(e.to_string())),
            Ok(None) => {
                let earliest = self.blocks.first().unwrap_or(latest.next());
                Err(NotHere::Pruned { earliest })
            }
            Err(why) => Err(NotHere::Failed(why)),
        }
    }

    fn validator_set(&self, hash: &ValidatorSetHash) -> Option<ValidatorSet> {
        self.voters.get(hash)
    }

    fn began_after(&self) -> Option<CertifiedHeader> {
        let at_start = self.pictures().began_after.clone();
        let Some(before) = self.blocks.first().and_then(Height::previous) else {
            return at_start;
        };
        let is_it = |began: &CertifiedHeader| began.header.height == before;
        at_start.filter(is_it).or_else(|| {
            let manifests = self.snapshots.store().manifests();
            let kept = manifests.iter().find(|m| m.height() == before);
            kept.map(|manifest| manifest.certified())
        })
    }

    fn light_block(&self, name: &BlockName) -> Result<LightBlock, NotHere> {
        match (&self.spaces, name) {
            (None, _) => light_block_of(self, name),
            (Some(spaces), BlockName::Latest) => spaces.light_block(None),
            (Some(spaces), BlockName::Height(height)) => spaces.light_block(Some(*height)),
            (Some(_), BlockName::Hash(_)) => Err(NotHere::FollowsSpaces),
        }
    }

    fn transaction_id(&self, prefix: &str) -> Result<TxId, NotHere> {
        self.has_blocks()?;
        if let Ok(id) = prefix.parse() {
            return Ok(id);
        }
        self.index.transaction_id(prefix)
    }

    fn transaction(&self, id: &TxId) -> TransactionStatus {
        let otherwise = {
            let pictures = self.pictures();
            match pictures.dropped.get(id) {
                Some(why) => TransactionStatus::Dropped(why.clone()),
                None if pictures.pending.contains_key(id) => TransactionStatus::Pending,
                None => TransactionStatus::Unknown,
            }
        };
        // The index second: what ceased to wait before is in it.
        match self.index.committed(id) {
            Some(committed) => TransactionStatus::Committed(committed),
            None => otherwise,
        }
    }

    fn snapshots(&self) -> Vec<SnapshotInfo> {
        self.snapshots.list()
    }

    fn manifest(&self, height: Height) -> Result<Vec<u8>, NotHere> {
        self.snapshots.manifest_at(height)
    }

    fn chunk(&self, height: Height, id: Hash) -> Result<Vec<u8>, NotHere> {
        self.snapshots.chunk_at(height, ChunkId(id))
    }

    fn take_snapshot(&self) -> Result<SnapshotInfo, NotHere> {
        let (state, certified) = self.newest()?;
        self.snapshots.take_now(state, certified)
    }

    fn root(&self, height: Height) -> Result<StateRoot, NotHere> {
        if let Some(spaces) = &self.spaces {
            return Ok(spaces.view(Some(height))?.root());
        }
        let kept = self.pictures().roots.get(&height).copied();
        if let Some(root) = kept.or_else(|| self.index.root(height)) {
            return Ok(root);
        }
        let latest = self.latest();
        if height > latest || !self.follows() {
            return Err(self.ahead(height, latest));
        }
        Err(NotHere::Pruned {
            earliest: self.blocks.first().unwrap_or(latest),
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    fn metrics(&self) -> String {
        metrics::text(self)
    }

    fn submit(
        &self,
        transactions: Vec<Untrusted<SignedTransaction>>,
    ) -> Answering<'_, Vec<Result<TxId, Refusal>>> {
        Box::pin(async move {
            let count = transactions.len();
            if self.spaces.is_some() {
                return vec![Err(Refusal::FollowsSpaces); count];
            }
            let chain = self.chain;
            let checked =
                tokio::task::spawn_blocking(move || verify_batch(transactions, &chain)).await;
            let not_ready = |why: &str| Err(Refusal::NotReady(why.into()));
            if !self.follows() {
                return vec![not_ready(NO_STATE); count];
            }
            let Ok(checked) = checked else {
                return vec![not_ready("it is stopping"); count];
            };
            let good: Vec<_> = checked
                .iter()
                .filter_map(|c| c.as_ref().ok().cloned())
                .collect();
            {
                let mut pictures = self.pictures();
                for transaction in &good {
                    pictures.pending.insert(transaction.id(), ());
                    pictures.dropped.remove(&transaction.id());
                }
            }
            let forget = |which: &dyn Fn(usize) -> bool| {
                let mut pictures = self.pictures();
                for (i, transaction) in good.iter().enumerate() {
                    if which(i) {
                        pictures.pending.remove(&transaction.id());
                    }
                }
            };
            let (answer, taken) = tokio::sync::oneshot::channel();
            if !self.inbox.send(Ask::Submit {
                transactions: good.clone(),
                answer,
            }) {
                forget(&|_| true);
                return vec![not_ready("it is stopping, or overloaded"); count];
            }
            let Ok(results) = taken.await else {
                forget(&|_| true);
                return vec![not_ready("it is stopping"); count];
            };
            forget(&|i| results.get(i).is_some_and(Result::is_err));
            let mut results = results.into_iter();
            let merge = |c: Result<VerifiedTransaction, _>| match c {
                Ok(_) => results
                    .next()
                    .unwrap_or_else(|| not_ready("it is stopping")),
                Err(e) => Err(Refusal::Invalid(e)),
            };
            checked.into_iter().map(merge).collect()
        })
    }

    fn wait_for(&self, id: TxId, timeout: Duration) -> Answering<'_, TransactionStatus> {
        Box::pin(async move {
            let waiter = self.waiters.wait_for(id);
            let deadline = tokio::time::Instant::now() + timeout;
            loop {
                // Before the look: what ends between the two is heard too.
                let end = waiter.end();
                let status = self.transaction(&id);
                let settled = matches!(
                    status,
                    TransactionStatus::Committed(_) | TransactionStatus::Dropped(_)
                );
                if settled {
                    return status;
                }
                if tokio::time::timeout_at(deadline, end).await.is_err() {
                    return self.transaction(&id);
                }
            }
        })
    }
}
