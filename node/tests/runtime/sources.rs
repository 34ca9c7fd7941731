//! Peers that offer a chain's snapshots, as nodes do, and whose every answer a test may hold, change or leave out.

use super::{
    net::{Net, wait_for},
    snapshots::{chain, listed},
    stranger::Stranger,
};
use ledger::{
    genesis::{Generated, PROTOCOL_VERSION},
    hash::ChainId,
    keys::SecretKey,
    units::Height,
};
use node::config::NodeDir;
use p2p::{Event, Peer, Reply, Request, Response, SnapshotOffer, Status};
use snapshot::{
    chunk::ChunkId,
    manifest::{Manifest, ManifestId},
    store::Store,
};
use std::{
    fs,
    sync::{Arc, Mutex, mpsc::Sender},
};
use tempfile::TempDir;

/// A state of some fifteen chunks.
const RECORDS: u64 = 10_000;

/// Gives a chain that has not begun a state of many chunks.
pub fn with_many_chunks(dir: &NodeDir) {
    let mut genesis = dir.genesis().unwrap();
    genesis.parameters.chunk_bytes_max = 80 << 10;
    genesis.generated = Some(Generated::of(RECORDS));
    fs::write(dir.genesis_file(), serde_json::to_vec(&genesis).unwrap()).unwrap();
}

/// A chain of one validator that has ended, and its snapshots.
pub struct Chain {
    pub dir: NodeDir,
    pub store: Store,
    folder: TempDir,
}

impl Chain {
    /// With snapshots at 10, 20 and 30.
    pub fn ended() -> Self {
        let (folder, dir) = chain(100);
        with_many_chunks(&dir);
        let net = Net::start(std::slice::from_ref(&dir), |_, _| {});
        wait_for("its snapshots", || listed(&net).contains(&30).then_some(()));
        net.stop();
        let store = Store::open(&dir.snapshots()).unwrap();
        Self { dir, store, folder }
    }

    /// Another name for a folder beside the chain's.
    pub fn beside(&self, name: &str) -> NodeDir {
        NodeDir::new(self.folder.path().join(name))
    }

    pub fn manifest(&self, height: u64) -> Arc<Manifest> {
        let mut manifests = self.store.manifests().into_iter();
        manifests.find(|m| m.height().0 == height).unwrap()
    }
}

/// What a source says it has.
#[derive(Clone)]
pub struct Offers(Arc<Mutex<Status>>);

impl Offers {
    /// From now on this snapshot too; and of the blocks none, if they are said to be gone.
    pub fn add(&self, manifest: &Manifest, blocks_are_gone: bool) {
        let mut status = self.0.lock().unwrap();
        status.height = manifest.height();
        if blocks_are_gone {
            status.earliest_block = manifest.height().next();
        }
        let offer = SnapshotOffer {
            height: manifest.height(),
            manifest: manifest.id().0,
            root: manifest.root(),
            bytes: manifest.totals().bytes,
            chunks: u32::try_from(manifest.chunks().len()).unwrap(),
        };
        status.snapshots.insert(0, offer);
    }
}

/// A peer that has the snapshots of a store.
pub struct Source {
    stranger: Stranger,
    store: Store,
    pub offers: Offers,
}

impl Source {
    /// Connects to the node at `to`. It offers snapshots as soon as they are added to what it offers.
    pub async fn connect(seed: u8, chain: &Chain, to: &str, heights: &[u64]) -> Self {
        let id: ChainId = chain.dir.genesis().unwrap().chain_id();
        let offers = Offers(Arc::new(Mutex::new(Status {
            chain: id,
            version: PROTOCOL_VERSION,
            height: Height(0),
            earliest_block: Height(1),
            head: None,
            snapshots: Vec::new(),
        })));
        for height in heights {
            offers.add(&chain.manifest(*height), false);
        }
        Self {
            stranger: Stranger::connect(seed, id, to).await,
            store: chain.store.clone(),
            offers,
        }
    }

    /// The next chunk that it is asked for, and how; what else it is asked it answers.
    pub async fn chunk_asked(&mut self) -> (ChunkId, Request, Reply) {
        loop {
            let event = self
                .stranger
                .until(|event| matches!(event, Event::Request { .. }))
                .await;
            let Event::Request { request, reply, .. } = event else {
                continue;
            };
            match request {
                Request::Chunk { id, .. } => return (ChunkId(id), request, reply),
                _ => self.answer(&request, reply),
            }
        }
    }

    /// Answers as an honest node does.
    pub fn answer(&self, request: &Request, reply: Reply) {
        let answer = match request {
            Request::Status => {
                let status = self.offers.0.lock().unwrap().clone();
                Response::Status(Box::new(status))
            }
            Request::Manifest { id } => {
                let manifest = self.store.read_manifest(&ManifestId(*id)).ok();
                Response::Manifest(manifest.map(|m| m.encode().into()))
            }
            Request::Chunk { id, base } => {
                let bytes = self.chunk(&ChunkId(*id), base.map(ChunkId));
                Response::Chunk(bytes.map(Into::into))
            }
            // No node: refused.
            _ => return,
        };
        reply.send(answer);
    }

    pub fn chunk(&self, id: &ChunkId, base: Option<ChunkId>) -> Option<Vec<u8>> {
        let manifests = self.store.manifests();
        let (manifest, chunk) = manifests.iter().find_map(|m| Some((m, m.chunk(id)?)))?;
        self.store.chunk_for_peer(manifest, chunk, base).ok()
    }

    /// Answers all that it is asked, and tells what that was, but for how far it is.
    pub async fn serve(mut self, asked: Sender<Request>) {
        while let Some(event) = self.stranger.events.recv().await {
            if let Event::Request { request, reply, .. } = event {
                if matches!(request, Request::Manifest { .. } | Request::Chunk { .. }) {
                    let _ = asked.send(request.clone());
                }
                self.answer(&request, reply);
            }
        }
    }
}

/// Two seeds of strangers, the first of which comes first wherever a node goes through its peers in order.
pub fn seeds_in_order() -> [u8; 2] {
    let peer = |seed: &u8| {
        let key = SecretKey::from_seed([*seed; 32]).public_key();
        Peer::from_public_key(&key).unwrap()
    };
    let mut seeds = [1, 2];
    seeds.sort_by_key(peer);
    seeds
}
