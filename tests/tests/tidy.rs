//! The repository's own habits, held by a test: what `docs/architecture.md` says of who may import whom, and the cheap promises that
//! reviews forget. Each test lists every breach with its file and line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Folders that are made, not written. (In a linked working tree `.git` is a file.)
const MADE: [&str; 6] = [
    ".git",
    "target",
    "testnet",
    "corpus",
    "artifacts",
    "node_modules",
];
/// Lines that a file may have, unless it says at its top why it has more.
const LINES_MAX: usize = 800;
const LONGER_BECAUSE: &str = "Longer than 800 lines because";

/// A text file of the repository.
struct File {
    /// Its path from the repository's root.
    path: String,
    text: String,
}

impl File {
    fn is(&self, end: &str) -> bool {
        self.path.ends_with(end)
    }

    fn is_within(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    /// A file of tests alone.
    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.contains("tests.rs") || self.is("fixtures.rs")
    }

    /// The lines that are code or text, numbered from 1: in Rust without those that are comments alone.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let comments = self.is(".rs");
        let numbered = (1..).zip(self.text.lines());
        numbered.filter(move |(_, line)| !(comments && line.trim_start().starts_with("//")))
    }

    /// Where a line has any of these, as `path:line: pattern`.
    fn find(&self, patterns: &[String]) -> Vec<String> {
        self.lines()
            .flat_map(|(number, line)| {
                let found = patterns.iter().filter(|p| line.contains(p.as_str()));
                found.map(move |p| format!("{}:{number}: {p}", self.path))
            })
            .collect()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn collect(dir: &Path, prefix: &str, files: &mut Vec<File>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{prefix}{name}");
        if MADE.contains(&name.as_str()) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            files.push(File { path, text });
        }
    }
}

/// Every text file, but this one, which names what it forbids.
fn files() -> Vec<File> {
    let mut files = Vec::new();
    collect(&root(), "", &mut files);
    files.retain(|file| file.path != "tests/tests/tidy.rs");
    assert!(files.len() > 100, "only {} files were found", files.len());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn rust() -> Vec<File> {
    let mut files = files();
    files.retain(|file| file.is(".rs"));
    files
}

fn patterns(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(|p| (*p).to_owned()).collect()
}

#[track_caller]
fn assert_none(what: &str, breaches: &[String]) {
    let count = breaches.len();
    assert!(
        breaches.is_empty(),
        "{what}: {count}\n{}",
        breaches.join("\n")
    );
}

#[test]
fn nothing_names_somebodys_machine() {
    let machine = patterns(&["/work/", "/root/", "/home/", "/Users/", "/farm"]);
    let breaches: Vec<_> = files()
        .iter()
        .flat_map(|file| file.find(&machine))
        .collect();
    assert_none("paths of one machine", &breaches);
}

/// `clippy` forbids some of these; this holds in what it does not build, and in what it is told to allow.
#[test]
fn nothing_is_left_for_later() {
    let later = patterns(&["dbg!(", "todo!(", "unimplemented!(", "#[ignore"]);
    let words = patterns(&["FIXME", "XXX", "TODO"]);
    let breaches = files().into_iter().flat_map(|file| {
        let mut found = if file.is(".rs") {
            file.find(&later)
        } else {
            Vec::new()
        };
        let numbered = (1..).zip(file.text.lines()).filter(|_| !file.is(".lock"));
        for (number, line) in numbered {
            let word = words
                .iter()
                .find(|w| line.split(|c: char| !c.is_alphanumeric()).any(|x| x == *w));
            found.extend(word.map(|word| format!("{}:{number}: {word}", file.path)));
        }
        found
    });
    assert_none("left for later", &breaches.collect::<Vec<_>>());
}

#[test]
fn files_are_short() {
    let breaches = files().into_iter().filter_map(|file| {
        let lines = file.text.lines().count();
        let said = file
            .text
            .lines()
            .take(20)
            .any(|line| line.contains(LONGER_BECAUSE));
        let counts = file.is(".rs") || file.is(".md") || file.is(".toml");
        (counts && lines > LINES_MAX && !said).then(|| format!("{}: {lines} lines", file.path))
    });
    assert_none(
        "longer than 800 lines without a reason",
        &breaches.collect::<Vec<_>>(),
    );
}

#[test]
fn every_file_says_what_it_is() {
    let breaches: Vec<_> = rust()
        .into_iter()
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| file.path)
        .collect();
    assert_none("Rust files without a head", &breaches);
}

/// What each crate may use of the others, and what it must not use at all. (Dependencies; those of its tests are its own.)
#[test]
fn crates_import_whom_they_may() {
    let ours = ["cli", "ledger", "node", "p2p", "snapshot"];
    let runtime = ["tokio", "libp2p", "axum", "hyper", "futures-util", "ureq"];
    let consensus = [
        "arc-malachitebft-core-consensus",
        "arc-malachitebft-core-types",
    ];
    let http = ["axum", "hyper", "utoipa"];
    let rules: [(&str, &[&str], Vec<&str>); 5] = [
        ("ledger", &[], [&runtime[..], &consensus].concat()),
        (
            "snapshot",
            &["ledger"],
            [&runtime[..], &consensus, &["sled"]].concat(),
        ),
        (
            "p2p",
            &["ledger"],
            [&consensus[..], &http, &["sled"]].concat(),
        ),
        (
            "node",
            &["ledger", "p2p", "snapshot"],
            vec!["libp2p", "sled", "clap", "anyhow"],
        ),
        (
            "cli",
            &["ledger", "node", "snapshot"],
            [&consensus[..], &["libp2p", "sled", "axum"]].concat(),
        ),
    ];
    let mut breaches = Vec::new();
    for (name, may, must_not) in rules {
        let text = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let Some(toml::Value::Table(dependencies)) = manifest.get("dependencies") else {
            panic!("{name} has no dependencies");
        };
        for dependency in dependencies.keys() {
            let name_of = dependency.as_str();
            let is_foreign = ours.contains(&name_of) && !may.contains(&name_of);
            if is_foreign || must_not.contains(&name_of) {
                breaches.push(format!("{name} depends on {name_of}"));
            }
        }
    }
    assert_none(
        "dependencies that architecture.md does not allow",
        &breaches,
    );
}

/// What is pure reads no clock and touches no disk, network or thread. Tests may.
#[test]
fn what_is_pure_stays_pure() {
    let outside = [
        "tokio",
        "libp2p",
        "std::fs",
        "std::net",
        "std::env",
        "std::thread",
        "Instant::now",
        "time::Instant",
        "SystemTime",
        "rand::",
        "fs::read",
        "fs::write",
        "File::open",
    ];
    // Signatures are verified in a batch with random factors; the verdict does not depend on them.
    let random_but = "ledger/src/keys.rs";
    let is_pure = |file: &File| {
        file.is_within("node/src/replica/")
            || (file.is_within("ledger/src/") && !file.is_within("ledger/src/store"))
            || (file.is_within("snapshot/src/") && !file.is_within("snapshot/src/store"))
    };
    let pure: Vec<_> = rust()
        .into_iter()
        .filter(|f| is_pure(f) && !f.is_test())
        .collect();
    assert!(pure.len() > 30, "only {} pure files were found", pure.len());
    let mut breaches: Vec<_> = pure
        .iter()
        .flat_map(|f| f.find(&patterns(&outside)))
        .collect();
    let random = patterns(&["rand_core", "getrandom", "RandomState"]);
    let random = pure
        .iter()
        .filter(|f| f.path != random_but)
        .flat_map(|f| f.find(&random));
    breaches.extend(random);
    assert_none("clocks, disks, networks or chance in pure code", &breaches);
}

/// `UnverifiedBlock::from_own_log` takes a block's transactions as verified, and no type can say where the block is from: only
/// what reads a node's own log and write-ahead log may call it, and simulations whose replicas have nothing else.
#[test]
fn only_what_reads_the_own_log_takes_blocks_as_verified() {
    let may = [
        "ledger/src/block.rs",
        "node/src/replica/block.rs",
        "node/src/replica/tests.rs",
        "node/src/runtime/recover.rs",
        "tests/src/simulation/disk.rs",
        "tests/src/simulation/mod.rs",
    ];
    let (inside, outside): (Vec<File>, Vec<File>) = rust()
        .into_iter()
        .filter(|file| file.path != "ledger/src/transaction.rs")
        .partition(|file| may.contains(&file.path.as_str()));
    let call = patterns(&["from_own_log"]);
    let breaches: Vec<_> = outside.iter().flat_map(|file| file.find(&call)).collect();
    assert_none("blocks taken as verified", &breaches);
    let idle = inside.iter().filter(|file| file.find(&call).is_empty());
    let idle: Vec<_> = idle.map(|file| file.path.clone()).collect();
    assert_none("allowed, and not needed any more", &idle);
}

/// A test that sleeps until something must have happened fails on a slow machine and wastes time on a fast one. These wait
/// for something else.
#[test]
fn no_test_sleeps_to_let_something_happen() {
    let allowed = [
        (
            "node/src/api/tests/bounds.rs",
            "tokio's clock is paused: time itself is what is tested",
        ),
        ("node/tests/runtime/net.rs", "asks again until a deadline"),
        (
            "p2p/src/task/hostile_tests.rs",
            "asks again until a deadline",
        ),
        ("p2p/tests/loopback/net.rs", "asks again until a deadline"),
        ("tests/tests/e2e/wait.rs", "asks again until a deadline"),
        (
            "tests/figures/src/system.rs",
            "no test: asks again until a deadline",
        ),
    ];
    let breaches: Vec<_> = rust()
        .into_iter()
        .filter(|f| f.is_test() || f.is_within("tests/"))
        .filter(|f| !allowed.iter().any(|(path, _)| f.path == *path))
        .flat_map(|f| f.find(&patterns(&["sleep("])))
        .collect();
    assert_none("tests that sleep", &breaches);
}

/// The lines of a document outside its code blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The anchor that a heading gets, as the usual viewers make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    headings.map(|(_, line)| anchor(line)).collect()
}

#[test]
fn documents_have_one_title_and_links_that_resolve() {
    let mut breaches = Vec::new();
    for file in files().iter().filter(|file| file.is(".md")) {
        let titles = prose(&file.text)
            .filter(|(_, line)| line.starts_with("# "))
            .count();
        if titles != 1 {
            breaches.push(format!("{}: {titles} titles", file.path));
        }
        for (number, line) in prose(&file.text) {
            for link in line
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next())
            {
                if link.contains("://") || link.starts_with("mailto:") {
                    continue;
                }
                let (path, wanted) = link.split_once('#').unwrap_or((link, ""));
                let folder = Path::new(&file.path).parent().unwrap();
                let target = root().join(folder).join(path);
                let text = if path.is_empty() {
                    Some(file.text.clone())
                } else if wanted.is_empty() {
                    target.exists().then(String::new)
                } else {
                    fs::read_to_string(target).ok()
                };
                let resolves =
                    text.is_some_and(|t| wanted.is_empty() || anchors(&t).contains(wanted));
                if !resolves {
                    breaches.push(format!("{}:{number}: {link}", file.path));
                }
            }
        }
    }
    assert_none("titles and links", &breaches);
}

/// What the code says about a document must be about one that is there.
#[test]
fn documents_that_the_code_names_exist() {
    let mut breaches = Vec::new();
    for file in files() {
        for (number, line) in (1..).zip(file.text.lines()) {
            for rest in line.split("docs/").skip(1) {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || "-_./".contains(c)));
                let name = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
                let is_document = name.ends_with(".md") && file.path != "CHANGELOG.md";
                if is_document && !root().join("docs").join(name).exists() {
                    breaches.push(format!("{}:{number}: docs/{name}", file.path));
                }
            }
        }
    }
    assert_none("documents that are not there", &breaches);
}

/// Every decoder has a fuzz target, and every target a decoder. The targets need nightly, and no gate builds them: what they call
/// is called here, so that it cannot change without them.
#[test]
fn every_decoder_has_a_fuzz_target() {
    let call = "|bytes: &[u8]| tests::decoders::run(env!(\"CARGO_BIN_NAME\"), bytes)";
    let target = fs::read_to_string(root().join("tests/fuzz/targets/decoder.rs")).unwrap();
    assert!(
        target.contains(&format!("fuzz_target!({call});")),
        "{target}"
    );
    for decoder in tests::decoders::ALL {
        let same_call = |bytes: &[u8]| tests::decoders::run(decoder.name, bytes);
        (decoder.seeds)().iter().for_each(|seed| same_call(seed));
    }

    let text = fs::read_to_string(root().join("tests/fuzz/Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let targets = manifest.get("bin").and_then(toml::Value::as_array).unwrap();
    let names = targets
        .iter()
        .filter_map(|t| t.get("name").and_then(toml::Value::as_str));
    let targets: BTreeSet<&str> = names.collect();
    let decoders: BTreeSet<&str> = tests::decoders::ALL.iter().map(|d| d.name).collect();
    assert_eq!(targets, decoders);
}
