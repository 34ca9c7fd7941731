//! Shows that what an operator may get wrong is refused with the place named, and that files come back as written.

use super::{run::parse_stat, *};
use std::os::unix::fs::PermissionsExt;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("n/tintype.toml")).map_err(|e| e.to_string())
}

#[test]
fn a_name_is_enough_and_the_rest_has_defaults() {
    let config = parse("name = \"node0\"").unwrap();
    assert_eq!(config, Config::named("node0"));
    assert_eq!(config.http.address.to_string(), "127.0.0.1:0");
    assert!(config.http.allowed_hosts.is_empty());
    assert_eq!(config.snapshots.keep, 3);
    let t = config.timing;
    let timing = (
        t.propose_timeout_ms,
        t.vote_timeout_ms,
        t.idle_block_interval_ms,
    );
    assert_eq!(timing, (500, 300, 1000));
}

#[test]
fn an_error_names_the_file_and_the_line() {
    let unknown = parse("name = \"a\"\n\n[p2p]\nlisen = []\n").unwrap_err();
    assert!(
        unknown.starts_with("n/tintype.toml, line 4: unknown field `lisen`"),
        "{unknown}"
    );
    let kind = parse("name = \"a\"\n[snapshots]\nkeep = \"x\"\n").unwrap_err();
    assert!(kind.starts_with("n/tintype.toml, line 3:"), "{kind}");
    let zero = parse("name = \"a\"\n[snapshots]\nkeep = 0\n").unwrap_err();
    assert_eq!(
        zero,
        "n/tintype.toml: snapshots.keep is 0, it must be at least 1"
    );
    assert!(parse("name = \"../a\"").is_err());
    assert!(parse("name = \"a\"\n[p2p]\npeers = [\"localhost:1\"]").is_err());
}

/// A host that no request could ever name would be passed over in silence.
#[test]
fn allowed_hosts_are_hosts_as_a_request_names_them() {
    let with = |host: &str| parse(&format!("name = \"a\"\n[http]\nallowed_hosts = [{host:?}]"));
    for host in ["node.example", "NODE_1", "10.0.0.7", "[fe80::1]"] {
        let config = with(host).unwrap();
        assert_eq!(config.http.allowed_hosts, [host]);
    }
    for host in [
        "",
        "https://node.example",
        "node.example:443",
        "fe80::1",
        "[x]",
        "*.a b",
    ] {
        let error = with(host).unwrap_err();
        let place = format!("n/tintype.toml: http.allowed_hosts is {host:?}, it must be");
        assert!(error.starts_with(&place), "{error}");
    }
}

#[test]
fn what_is_written_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let dir = NodeDir::new(folder.path());
    let mut config = Config::named("node7");
    config.sync.mode = SyncMode::Snapshot;
    config.p2p.peers = vec!["/ip4/127.0.0.1/tcp/26000".into()];
    config.http.allowed_hosts = vec!["node.example".into()];
    dir.write_config(&config).unwrap();
    assert_eq!(dir.config().unwrap(), config);

    let info = RunInfo::of_this_process("http://127.0.0.1:1".into(), "/ip4".into()).unwrap();
    dir.write_run_info(&info).unwrap();
    assert_eq!(dir.run_info(), Some(info.clone()));
    assert!(info.is_alive());
    let reused = RunInfo {
        started_ticks: info.started_ticks + 1,
        ..info
    };
    assert!(!reused.is_alive(), "another process with this pid");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let key = random_key();
    write_key(&path, &key).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(read_key(&path).unwrap().seed(), key.seed());
    assert!(
        write_key(&path, &key).is_err(),
        "a key is never overwritten"
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = read_key(&path).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}

/// Whoever named the wrong file is not told to change its permissions.
#[test]
fn a_file_that_holds_no_key_is_not_said_to_be_exposed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for content in [&b"root:x:0:0"[..], &[0xff; 40]] {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = read_key(&path).unwrap_err();
        let is_malformed = matches!(error, ConfigError::KeyMalformed { .. });
        assert!(is_malformed, "{error}");
    }
}

#[test]
fn the_name_of_a_program_does_not_confuse_its_start_time() {
    let line = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
    let wanted = ProcessStat {
        state: 'S',
        started_ticks: 4711,
    };
    assert_eq!(parse_stat(line), Some(wanted));
    assert_eq!(parse_stat("12 (a) S 1"), None);
}
