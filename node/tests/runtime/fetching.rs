//! What a node fetches of a snapshot, and from whom: after it was killed in the middle, and with a liar among its sources.

use super::{
    backfill::newcomer,
    net::{Net, free_ports, wait_for},
    sources::{Chain, Source, seeds_in_order},
};
use node::config::NodeDir;
use p2p::{Request, Response};
use snapshot::{chunk::ChunkId, sync::ASKS_PER_PEER_MAX};
use std::{collections::BTreeSet, fs, path::Path, sync::mpsc::channel};
use tokio::runtime::Runtime;

/// A joiner's folder as it is at this moment: what a node that is killed now would leave.
fn as_if_killed(running: &NodeDir, copy: NodeDir) -> NodeDir {
    fn copy_folder(from: &Path, to: &Path) {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            match entry.file_type().unwrap().is_dir() {
                true => copy_folder(&from, &to),
                false => drop(fs::copy(from, to).unwrap()),
            }
        }
    }
    copy_folder(running.path(), copy.path());
    copy
}

fn files(dir: &NodeDir, folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(dir.snapshots().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.ends_with(".new")).collect()
}

fn address(dir: &NodeDir) -> String {
    dir.run_info().unwrap().p2p
}

/// Waits until the newcomer's state is that of a snapshot.
fn joined(net: &Net, chain: &Chain, height: u64) {
    let status = wait_for("the snapshot is adopted", || {
        net.status(0).filter(|s| s["state_root"].is_string())
    });
    assert_eq!(status["origin"]["from"], "snapshot", "{status}");
    let root = chain.manifest(height).root().to_string();
    assert_eq!(
        (status["height"].as_u64(), status["state_root"].as_str()),
        (Some(height), Some(root.as_str())),
        "{status}"
    );
}

/// It goes on with the snapshot that it had begun, although there is a newer one, and asks for what had not come, and for
/// nothing else.
#[test]
fn a_node_killed_while_it_fetches_asks_for_the_missing_chunks_alone() {
    let chain = Chain::ended();
    let begun = chain.manifest(10);
    let dir = newcomer(&chain.dir, false);
    let net = Net::start(std::slice::from_ref(&dir), |_, _| {});
    let all: BTreeSet<ChunkId> = begun.chunk_ids().collect();
    let withheld: BTreeSet<ChunkId> = all.iter().take(3).copied().collect();
    let runtime = Runtime::new().unwrap();
    let waiting = runtime.block_on(async {
        let mut source = Source::connect(1, &chain, &address(&dir), &[10]).await;
        let (mut held, mut sent) = (Vec::new(), 0);
        while held.len() < withheld.len() || sent < all.len() - withheld.len() {
            let (id, request, reply) = source.chunk_asked().await;
            if withheld.contains(&id) {
                held.push(reply);
            } else {
                source.answer(&request, reply);
                sent += 1;
            }
        }
        (source, held)
    });
    let came: BTreeSet<String> = all.difference(&withheld).map(ToString::to_string).collect();
    wait_for("what came is on disk", || {
        (files(&dir, "chunks") == came).then_some(())
    });
    let killed = as_if_killed(&dir, chain.beside("killed"));
    net.stop();
    drop(waiting);

    let net = Net::start(std::slice::from_ref(&killed), |_, _| {});
    let (tell, asked) = channel();
    let to = address(&killed);
    let source = runtime.block_on(Source::connect(2, &chain, &to, &[10, 20]));
    runtime.spawn(source.serve(tell));
    joined(&net, &chain, 10);
    let asked: Vec<ChunkId> = asked
        .try_iter()
        .map(|request| match request {
            Request::Chunk { id, .. } => ChunkId(id),
            other => panic!("asked for more than chunks: {other:?}"),
        })
        .collect();
    assert_eq!(asked.len(), withheld.len(), "each once: {asked:?}");
    assert_eq!(BTreeSet::from_iter(asked), withheld);
    net.stop();
}

/// One of two sources sends the bytes of another chunk. The node joins from the other one; and it asks the liar for nothing more,
/// also when it fetches other snapshots later.
#[test]
fn a_liar_is_asked_for_nothing_more_while_the_process_lives() {
    let chain = Chain::ended();
    let dir = newcomer(&chain.dir, false);
    // Of its own, so that the sources find it again.
    let mut config = dir.config().unwrap();
    config.p2p.listen = vec![format!("/ip4/127.0.0.1/tcp/{}", free_ports(1)[0])];
    dir.write_config(&config).unwrap();
    let net = Net::start(std::slice::from_ref(&dir), |_, _| {});
    let [first, second] = seeds_in_order();
    let ((tell_liar, of_liar), (tell_honest, of_honest)) = (channel(), channel());
    let runtime = Runtime::new().unwrap();
    let offers = runtime.block_on(async {
        // All that may be asked of one peer at a time is asked of the liar when it lies, so that every later question shows.
        let mut liar = Source::connect(first, &chain, &address(&dir), &[10]).await;
        let mut owed = Vec::new();
        while owed.len() < ASKS_PER_PEER_MAX {
            owed.push(liar.chunk_asked().await);
        }
        let mut honest = Source::connect(second, &chain, &address(&dir), &[10]).await;
        let (_, request, reply) = honest.chunk_asked().await;
        honest.answer(&request, reply);
        let (id, _, reply) = owed.remove(0);
        let other = chain.manifest(10).chunk_ids().find(|other| *other != id);
        let wrong = liar.chunk(&other.unwrap(), None);
        reply.send(Response::Chunk(wrong.map(Into::into)));
        let offers = [liar.offers.clone(), honest.offers.clone()];
        tokio::spawn(liar.serve(tell_liar));
        tokio::spawn(honest.serve(tell_honest));
        offers
    });
    joined(&net, &chain, 10);
    let of_liar = || Vec::from_iter(of_liar.try_iter());
    assert_eq!(of_liar(), [], "asked of the liar by who has caught it");

    // Fetches what changed since, and starts over from it: in this process, with a new network, and new joiners.
    for height in [20, 30] {
        let before = height - 10;
        wait_for("both sources", || {
            let status = net.status(0)?;
            let is_there = status["height"] == before && status["peers"] == 2;
            is_there.then(|| assert_eq!(status["origin"]["height"], before, "{status}"))
        });
        let newer = chain.manifest(height);
        for offers in &offers {
            offers.add(&newer, true);
        }
        let id = newer.id();
        wait_for("a newer snapshot", || {
            let here = files(&dir, "manifests");
            here.contains(&id.to_string()).then_some(())
        });
        assert_eq!(of_liar(), [], "asked of the liar for {height}");
        let manifest = Request::Manifest { id: id.0 };
        let of_honest = Vec::from_iter(of_honest.try_iter());
        assert!(of_honest.contains(&manifest), "{height}: {of_honest:?}");
    }
    net.stop();
}
