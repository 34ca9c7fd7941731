//! A source goes on serving what somebody is fetching, although it keeps but one snapshot and takes newer ones meanwhile.

use super::{
    net::{Net, wait_for},
    snapshots::{approve, chain},
    sources::with_many_chunks,
    stranger::Stranger,
};
use ledger::{genesis::Parameters, hash::Hash};
use node::config::NodeDir;
use p2p::{Peer, Request, Response};
use serde_json::Value;
use snapshot::{
    chunk::ChunkId,
    manifest::{Manifest, UntrustedManifest},
};
use std::fs;
use tokio::runtime::Runtime;

/// A node that takes a snapshot when it is told to, each of another state.
struct Scene {
    net: Net,
    dir: NodeDir,
    tokio: Runtime,
    stranger: Stranger,
    taken: u64,
}

impl Scene {
    /// Changes the state, and takes a snapshot of it.
    fn take(&mut self) -> u64 {
        let parameters = Parameters {
            operations_max: 100 + u32::try_from(self.taken).unwrap(),
            ..self.dir.genesis().unwrap().parameters
        };
        let id = approve(&self.net, &self.dir, self.taken, parameters);
        self.taken += 1;
        wait_for("the change is final", || {
            let text = self.net.any_text(0, &format!("/v1/transactions/{id}"));
            let found: Value = serde_json::from_str(&text).unwrap();
            (found["status"] == "committed").then_some(())
        });
        self.net.take_snapshot(0, &self.dir)
    }

    fn ask(&self, request: Request) -> Response {
        let node = Peer::from_public_key(&self.dir.key().unwrap().public_key()).unwrap();
        let answer = self.stranger.network.request(node, request);
        self.tokio.block_on(answer).unwrap()
    }

    /// What the node offers to peers, newest first: heights, and the manifests' ids.
    fn offered(&self) -> Vec<(u64, Hash)> {
        let Response::Status(status) = self.ask(Request::Status) else {
            panic!("no status");
        };
        let offers = status.snapshots.iter();
        offers
            .map(|offer| (offer.height.0, offer.manifest))
            .collect()
    }

    fn heights(&self) -> Vec<u64> {
        self.offered()
            .into_iter()
            .map(|(height, _)| height)
            .collect()
    }

    /// Asks for a manifest, as whoever begins to fetch does.
    fn manifest(&self, height: u64) -> Manifest {
        let (_, id) = self
            .offered()
            .into_iter()
            .find(|(h, _)| *h == height)
            .unwrap();
        let Response::Manifest(Some(payload)) = self.ask(Request::Manifest { id }) else {
            panic!("the manifest of {height} is not here");
        };
        let genesis = self.dir.genesis().unwrap();
        UntrustedManifest::decode(&payload.0)
            .unwrap()
            .verify(&genesis.chain_id(), &genesis.validator_set().unwrap())
            .unwrap()
    }

    fn chunk(&self, id: &ChunkId) -> Vec<u8> {
        let request = Request::Chunk {
            id: id.0,
            base: None,
        };
        match self.ask(request) {
            Response::Chunk(Some(payload)) => payload.0,
            other => panic!("chunk {id}: {other:?}"),
        }
    }
}

/// A node that keeps but its newest snapshot.
fn scene() -> (tempfile::TempDir, Scene) {
    let (folder, dir) = chain(1);
    with_many_chunks(&dir);
    let mut genesis = dir.genesis().unwrap();
    genesis.parameters.snapshot_interval = 1 << 20;
    fs::write(dir.genesis_file(), serde_json::to_vec(&genesis).unwrap()).unwrap();
    let net = Net::start(std::slice::from_ref(&dir), |_, _| {});
    net.reach(0, 1);
    let tokio = Runtime::new().unwrap();
    let address = dir.run_info().unwrap().p2p;
    let stranger = tokio.block_on(Stranger::connect(1, genesis.chain_id(), &address));
    let scene = Scene {
        net,
        dir,
        tokio,
        stranger,
        taken: 0,
    };
    (folder, scene)
}

#[test]
fn what_somebody_is_fetching_stays_to_the_end() {
    let (_folder, mut scene) = scene();
    let first = scene.take();
    let begun = scene.manifest(first);
    let second = scene.take();
    assert_eq!(scene.heights(), [second, first], "for the peer");

    // A client of the second one, by HTTP; nobody of the third.
    let text = scene.net.any_text(0, &format!("/v1/snapshots/{second}"));
    assert!(text.contains("chunks"), "{text}");
    let third = scene.take();
    assert_eq!(scene.heights(), [third, second, first]);
    let fourth = scene.take();
    assert_eq!(scene.heights(), [fourth, second, first]);

    // It looks at another manifest, and goes on with the chunks of the first: that is what it fetches.
    let newer = scene.manifest(fourth);
    let gone = begun.chunk_ids().find(|id| newer.chunk(id).is_none());
    scene.chunk(&gone.unwrap());
    let fifth = scene.take();
    assert_eq!(scene.heights(), [fifth, second, first]);
    for chunk in begun.chunks() {
        let bytes = scene.chunk(&chunk.id());
        assert!(begun.verify_chunk(chunk, &bytes).is_ok());
    }
    scene.net.stop();
}
