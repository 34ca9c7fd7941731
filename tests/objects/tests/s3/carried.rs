//! A node's snapshots put into a bucket, checked, compared and started from. One network serves all of it, since making one is
//! what takes long.

use crate::{
    program::{Program, number},
    proxy::Proxy,
    server::{BUCKET, Server},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const FOLDER: &str = "chains/one";

struct World {
    program: Program,
    proxy: Proxy,
    server: Server,
    _folder: tempfile::TempDir,
}

impl World {
    /// One validator with a state of some chunks, and an empty bucket.
    fn up() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start();
        let program = Program::new(&folder.path().join("net"), &server);
        program.ok("testnet --detach --validators 1 --entries 20000");
        let status = program.ok("testnet status");
        let proxy = Proxy::before(status["nodes"][0]["http"].as_str().unwrap());
        Self {
            program,
            proxy,
            server,
            _folder: folder,
        }
    }

    /// Changes one entry or two, takes a snapshot, and gives its height.
    fn take(&self) -> u64 {
        self.program.ok("tx transfer alice bob 1");
        number(&self.program.ok("snapshot take"), "height")
    }

    fn url(&self, height: u64) -> String {
        format!("s3://{BUCKET}/{FOLDER}@{height}")
    }

    fn export_line(&self, height: u64) -> String {
        let node = &self.proxy.url;
        format!("snapshot export {height} s3://{BUCKET}/{FOLDER} --node {node}")
    }

    /// Exports; and says how many chunks the node was asked for and the server was given, which are as many as the report says.
    fn export(&self, height: u64, options: &str) -> (Value, usize) {
        let _ = (self.proxy.take_chunks(), self.puts());
        let report = self.program.ok(&(self.export_line(height) + options));
        let (fetched, put) = (self.proxy.take_chunks(), self.puts());
        let reported = number(&report, "chunks_uploaded");
        assert_eq!((fetched, put), (put, reported as usize), "{report}");
        (report, put)
    }

    fn puts(&self) -> usize {
        self.server.take_count("PUT", &format!("{FOLDER}/chunks/"))
    }

    /// Chunks of a snapshot, as the node lists them.
    fn chunks(&self, height: u64) -> BTreeSet<String> {
        let shown = self.program.ok(&format!("snapshot show {height}"));
        let chunks = shown["chunks"].as_array().unwrap();
        let hash = |chunk: &Value| chunk["hash"].as_str().unwrap().to_owned();
        chunks.iter().map(hash).collect()
    }

    fn chunk_path(&self, chunk: &str) -> PathBuf {
        self.server.path(&format!("{FOLDER}/chunks/{chunk}"))
    }
}

fn flip_a_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// What a report says of a snapshot, without what only an export has.
fn carried(report: &Value) -> Value {
    let mut report = report.clone();
    let fields = report.as_object_mut().unwrap();
    for field in ["chunks_uploaded", "bytes_uploaded", "verified"] {
        fields.remove(field);
    }
    report
}

#[test]
fn snapshots_are_put_into_a_bucket_and_nodes_start_from_them() {
    let world = World::up();
    let World {
        program, server, ..
    } = &world;
    let old = world.take();
    let of_old = world.chunks(old);
    assert!(of_old.len() >= 8, "{of_old:?}");

    // Killed before the manifest was there: nothing is offered, and what was uploaded is not uploaded again.
    let held = server.hold("PUT", &format!("{FOLDER}/manifests/"));
    let mut killed = program.start(&world.export_line(old));
    held.recv().unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    server.release();
    program.fails(
        &format!("snapshot verify s3://{BUCKET}/{FOLDER}"),
        3,
        "not_found",
    );
    let (first, uploaded) = world.export(old, "");
    assert_eq!(uploaded, 0, "{first}");
    assert_eq!(
        server.names(&format!("{FOLDER}/chunks")),
        Vec::from_iter(of_old.clone())
    );

    // A later one brings what has changed and nothing else, also where more is there than one listing shows.
    for n in 0..1100 {
        fs::write(world.chunk_path(&format!("{n:064x}")), "").unwrap();
    }
    let new = world.take();
    let of_new = world.chunks(new);
    let (later, uploaded) = world.export(new, "");
    assert_eq!(uploaded, of_new.difference(&of_old).count(), "{later}");
    assert!((1..of_new.len() / 2).contains(&uploaded), "{later}");
    assert!(number(&later, "bytes_uploaded") < number(&later, "file_bytes") / 2);
    assert_eq!(later["verified"], false, "it did not look at the others");
    let (again, uploaded) = world.export(new, "");
    assert_eq!((uploaded, carried(&again)), (0, carried(&later)));

    // Checked without a node; without a height the newest is meant.
    let verify = |url: &str| program.ok(&format!("snapshot verify {url}"));
    let verified = verify(&format!("s3://{BUCKET}/{FOLDER}"));
    assert_eq!(carried(&verified), carried(&later));
    assert_eq!(verified["verified"], true);
    assert_eq!(carried(&verify(&world.url(old))), carried(&first));
    program.fails(
        &format!("snapshot verify {}", world.url(new + 1)),
        3,
        "not_found",
    );

    // Compared, with each other and with what a node has; only what differs is read.
    server.take_count("GET", &format!("{FOLDER}/chunks/"));
    let diff = |a: &str, b: &str| program.ok(&format!("snapshot diff {a} {b}"));
    let differing = diff(&world.url(old), &world.url(new));
    let read = server.take_count("GET", &format!("{FOLDER}/chunks/"));
    assert_eq!(read, of_old.symmetric_difference(&of_new).count());
    assert!(number(&differing, "changed") >= 2, "{differing}");
    assert_eq!(differing, diff(&old.to_string(), &world.url(new)));

    damage_is_named_and_repaired(&world, new, &of_new);
    a_node_starts_from_a_bucket(&world, old);
}

fn damage_is_named_and_repaired(world: &World, height: u64, chunks: &BTreeSet<String>) {
    let World {
        program, server, ..
    } = world;
    let url = world.url(height);
    let verify = format!("snapshot verify {url}");
    let chunk = chunks.iter().nth(3).unwrap();
    flip_a_bit(&world.chunk_path(chunk));
    let said = program.fails(&verify, 4, "verification_failed");
    assert!(said.contains(&format!("chunks/{chunk}")), "{said}");
    // It is there: only who is told to looks at it.
    assert_eq!(world.export(height, "").1, 0);
    program.fails(&verify, 4, "verification_failed");
    assert_eq!(world.export(height, " --force").1, chunks.len());
    program.ok(&verify);
    fs::remove_file(world.chunk_path(chunk)).unwrap();
    let said = program.fails(&verify, 4, "verification_failed");
    assert!(said.contains(&format!("chunks/{chunk}")), "{said}");
    assert_eq!(world.export(height, "").1, 1);
    program.ok(&verify);

    // A manifest under another's name, and one that was changed.
    let names = server.names(&format!("{FOLDER}/manifests"));
    let [old, new] = [0, 1].map(|n| server.path(&format!("{FOLDER}/manifests/{}", names[n])));
    let good = fs::read(&new).unwrap();
    fs::copy(&old, &new).unwrap();
    program.fails(&verify, 4, "verification_failed");
    fs::write(&new, &good).unwrap();
    flip_a_bit(&new);
    program.fails(&verify, 4, "verification_failed");
    fs::write(&new, good).unwrap();
    program.ok(&verify);
}

/// The older one, so that the node has it from nowhere else: from its peer it would take the newer.
fn a_node_starts_from_a_bucket(world: &World, height: u64) {
    let World { program, .. } = world;
    program.ok("testnet add node1 --sync blocks");
    program.ok("testnet stop node1");
    for name in ["ledger", "snapshots"] {
        fs::remove_dir_all(program.path("node1").join(name)).unwrap();
    }
    let url = world.url(height);
    let import = format!("snapshot import {url} node1");
    let chunk = world.chunks(height).into_iter().next_back().unwrap();
    let good = fs::read(world.chunk_path(&chunk)).unwrap();
    flip_a_bit(&world.chunk_path(&chunk));
    let said = program.fails(&import, 4, "verification_failed");
    assert!(said.contains(&chunk), "{said}");
    fs::write(world.chunk_path(&chunk), good).unwrap();
    let imported = program.ok(&import);
    assert_eq!(number(&imported, "height"), height);
    program.ok("testnet start node1");
    program.ok("tx transfer alice bob 1");
    let asked = program.fails(&format!("query block {height} --node node1"), 3, "pruned");
    assert!(
        asked.contains(&(height + 1).to_string()),
        "history begins after it: {asked}"
    );
    let roots = program.ok("verify roots");
    assert_eq!(roots["agree"], true, "{roots}");
}
