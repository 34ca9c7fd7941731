//! Blocks wait for no snapshot: not while the disk hangs that one is written to, nor when it fails. What could not be taken is
//! counted or told, and the next ones are taken as ever.

use super::{
    net::{Net, wait_for},
    snapshots::{chain, listed},
};
use node::config::NodeDir;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;

/// Puts something else in the place of one of the folders of a node's snapshots. Gives the way back.
fn replace(dir: &NodeDir, folder: &str, by: impl Fn(&std::path::Path)) -> impl FnOnce() {
    let path = dir.snapshots().join(folder);
    let (away, aside) = (path.with_extension("away"), path.with_extension("aside"));
    fs::rename(&path, &away).unwrap();
    by(&path);
    move || {
        fs::rename(&path, &aside).unwrap();
        fs::rename(&away, &path).unwrap();
        // Ends the wait of whoever has opened a pipe.
        let both = fs::OpenOptions::new().read(true).write(true).open(aside);
        drop(both.unwrap());
    }
}

/// Whether a thread of this process that writes snapshots has put itself behind the others.
fn a_writer_steps_back() -> bool {
    let own = rustix::process::getpriority_process(None).unwrap();
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("stat")).ok());
    let mut writers = stats.filter(|stat| stat.contains("(snapshots)"));
    // proc(5): the niceness is the 19th field, the third is the first behind the name.
    writers.any(|stat| {
        let fields = stat.rsplit(')').next().unwrap();
        let niceness = fields.split_whitespace().nth(16).unwrap();
        niceness.parse::<i32>().unwrap() > own
    })
}

/// In the place of a folder that every snapshot makes durable there is a pipe, whose opening waits for somebody at its other end.
#[test]
fn blocks_go_on_while_the_disk_of_a_snapshot_hangs() {
    let (_folder, dir) = chain(3);
    // Before the first is due.
    let back = std::cell::Cell::new(None);
    let net = Net::start(std::slice::from_ref(&dir), |_, _| {
        let pipe = |path: &std::path::Path| {
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        };
        back.set(Some(replace(&dir, "patches", pipe)));
    });
    // At 10 one begins, at 20 one waits; those after are left out.
    net.reach(0, 61);
    assert_eq!(net.metric(0, "snapshots_taken_total"), 0);
    let skipped = net.metric(0, "snapshots_skipped_total");
    assert!(skipped >= 4, "{skipped}");
    assert_eq!(listed(&net), Vec::<u64>::new());
    assert!(a_writer_steps_back());

    back.take().unwrap()();
    wait_for("a snapshot after the disk has come back", || {
        (net.metric(0, "snapshots_taken_total") >= 1).then_some(())
    });
    net.stop();
}

#[test]
fn a_node_lives_on_when_the_disk_of_its_snapshots_fails() {
    let (_folder, dir) = chain(3);
    let net = Net::start(std::slice::from_ref(&dir), |_, _| {});
    wait_for("a snapshot", || listed(&net).first().map(|_| ()));
    let no_folder = |path: &std::path::Path| fs::write(path, "").unwrap();
    let back = replace(&dir, "manifests", no_folder);
    // One may have been under way.
    let newest = || listed(&net)[0];
    let height = net.status(0).unwrap()["height"].as_u64().unwrap();
    net.reach(0, height + 25);
    let last = newest();
    assert!(last <= height, "{last} was taken without a folder");

    back();
    wait_for("a newer snapshot", || (newest() > last).then_some(()));
    net.stop();
}
