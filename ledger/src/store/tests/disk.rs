//! The helpers: a file is replaced whole or not at all, and a folder is locked by one.

use super::super::disk::{self, DirLock, fault};
use super::super::error::StoreError;
use std::fs;

#[test]
fn a_folder_is_locked_by_one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let lock = DirLock::acquire(dir.path()).unwrap();
    let error = DirLock::acquire(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("another node runs in this folder"),
        "{error}"
    );
    drop(lock);
    DirLock::acquire(dir.path()).unwrap();
}

#[test]
fn an_atomic_write_leaves_the_old_or_the_new_content_at_every_crash() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let mut crashes = 0;
    loop {
        disk::write_atomic(&path, b"the old content").unwrap();
        let armed = fault::crash_at(crashes);
        let result = disk::write_atomic(&path, b"new");
        drop(armed);
        let found = fs::read(&path).unwrap();
        if result.is_ok() {
            assert_eq!(found, b"new");
            break;
        }
        assert!(
            found == b"the old content" || found == b"new",
            "crash {crashes}: {found:?}"
        );
        crashes += 1;
    }
    assert!(crashes >= 5, "only {crashes} crash points");
}

#[test]
fn names_for_what_is_set_aside_are_never_used_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    for n in 1..4 {
        let aside = disk::aside_name(&path, "damaged").unwrap();
        assert_eq!(aside, dir.path().join(format!("index.damaged-{n}")));
        fs::create_dir(aside).unwrap();
    }
}

#[test]
fn folders_are_made_with_those_above_them() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b/c");
    disk::create_dir(&deep).unwrap();
    disk::create_dir(&deep).unwrap();
    assert!(deep.is_dir());
    let error = disk::create_dir(&dir.path().join("a/b/c\0")).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}
