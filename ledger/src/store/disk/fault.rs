//! Makes the n-th change to the disk fail, the process seem to die at it, or the power fail, on this thread.
//!
//! A process that dies leaves what it wrote; a power failure leaves, at worst, only what was synced. That is done here for the
//! content of files, and not for names: those are in order when their folder is synced by the same call that makes them.

#![allow(clippy::expect_used, reason = "for tests alone")]

use super::Op;
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// This one operation fails.
    Error(i32),
    /// This and every later operation fails: the process is dead. A write leaves its first half.
    Crash,
    /// From this operation on none succeeds that takes space; removing files and syncing folders still do.
    FullDisk,
}

#[derive(Default)]
struct Plan {
    only: Option<Op>,
    left: u64,
    kind: Option<Kind>,
    dead: bool,
    seen: u64,
}

thread_local! {
    static PLAN: RefCell<Plan> = RefCell::default();
    static UNSYNCED: RefCell<Option<Vec<Unsynced>>> = const { RefCell::new(None) };
}

/// A change of a file that a power failure takes back.
struct Unsynced {
    file: File,
    number: (u64, u64),
    len: u64,
    from: u64,
    before: Vec<u8>,
}

/// From when it was made, keeps what it takes to let the power fail.
#[derive(Debug)]
pub struct Power(());

/// Keeps in mind what is written and not synced from here on.
pub fn watch_power() -> Power {
    UNSYNCED.set(Some(Vec::new()));
    Power(())
}

impl Power {
    /// Takes back all that was written and not synced.
    pub fn fails(self) {
        for change in UNSYNCED.take().unwrap_or_default().into_iter().rev() {
            let file = change.file;
            file.set_len(change.len).expect("cut back");
            file.write_all_at(&change.before, change.from)
                .expect("written back");
        }
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        UNSYNCED.set(None);
    }
}

fn number_of(file: &File) -> (u64, u64) {
    let metadata = file.metadata().expect("a file that is open");
    (metadata.dev(), metadata.ino())
}

pub(super) fn changes(file: &File, from: u64, bytes: u64) {
    UNSYNCED.with_borrow_mut(|changes| {
        let Some(changes) = changes else { return };
        let len = file.metadata().expect("a file that is open").len();
        let kept = len.saturating_sub(from).min(bytes);
        let mut before = vec![0; usize::try_from(kept).expect("small files")];
        file.read_exact_at(&mut before, from)
            .expect("what is there");
        changes.push(Unsynced {
            number: number_of(file),
            file: file.try_clone().expect("another handle"),
            len,
            from,
            before,
        });
    });
}

pub(super) fn synced(file: &File) {
    UNSYNCED.with_borrow_mut(|changes| {
        if let Some(changes) = changes {
            let number = number_of(file);
            changes.retain(|change| change.number != number);
        }
    });
}

/// Ends the fault when it goes out of scope.
#[derive(Debug)]
pub struct Armed;

impl Drop for Armed {
    fn drop(&mut self) {
        PLAN.with_borrow_mut(|plan| *plan = Plan::default());
    }
}

impl Armed {
    /// How many operations were asked for since.
    pub fn operations(&self) -> u64 {
        PLAN.with_borrow(|plan| plan.seen)
    }

    /// Whether the fault has struck.
    pub fn struck(&self) -> bool {
        PLAN.with_borrow(|plan| plan.kind.is_none() || plan.dead)
    }
}

/// Counts operations and lets them be.
pub fn count() -> Armed {
    crash_at(u64::MAX)
}

/// The process dies at the operation number `n`, from 0.
pub fn crash_at(n: u64) -> Armed {
    arm(None, n, Kind::Crash)
}

/// The disk is full from the operation number `n` on, from 0, of those that take space.
pub fn full_at(n: u64) -> Armed {
    arm(None, n, Kind::FullDisk)
}

/// The `n`-th operation of this sort fails with this error number of the operating system.
pub fn fail(op: Op, n: u64, errno: i32) -> Armed {
    arm(Some(op), n, Kind::Error(errno))
}

fn arm(only: Option<Op>, left: u64, kind: Kind) -> Armed {
    PLAN.with_borrow_mut(|plan| {
        *plan = Plan {
            only,
            left,
            kind: Some(kind),
            ..Plan::default()
        }
    });
    Armed
}

pub(super) fn before(op: Op, _path: &Path) -> io::Result<()> {
    PLAN.with_borrow_mut(|plan| {
        plan.seen += 1;
        let full = matches!(plan.kind, Some(Kind::FullDisk));
        if full && matches!(op, Op::SyncDir | Op::Remove) {
            return Ok(());
        }
        if plan.dead && full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if plan.dead {
            return Err(io::Error::other("the process is dead"));
        }
        if plan.only.is_some_and(|only| only != op) {
            return Ok(());
        }
        let Some(kind) = plan.kind else {
            return Ok(());
        };
        if plan.left > 0 {
            plan.left -= 1;
            return Ok(());
        }
        match kind {
            Kind::Error(errno) => {
                plan.kind = None;
                Err(io::Error::from_raw_os_error(errno))
            }
            Kind::Crash => {
                plan.dead = true;
                Err(io::Error::other("the process dies here"))
            }
            Kind::FullDisk => {
                plan.dead = true;
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    })
}

/// How much of a write arrives if the process dies at it.
pub(super) fn torn_write(len: usize) -> Option<usize> {
    PLAN.with_borrow(|plan| {
        let cuts = matches!(plan.kind, Some(Kind::Crash | Kind::FullDisk));
        let strikes = cuts && !plan.dead && plan.left == 0;
        strikes.then_some(len / 2)
    })
}
