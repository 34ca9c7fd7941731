//! Makes the n-th change to the disk fail, or the process seem to die at it, on this thread.

use super::Op;
use std::cell::RefCell;
use std::io;
use std::path::Path;

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// This one operation fails.
    Error(i32),
    /// This and every later operation fails: the process is dead. A write leaves its first half.
    Crash,
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
}

/// Ends the fault when it goes out of scope.
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

pub fn before(op: Op, _path: &Path) -> io::Result<()> {
    PLAN.with_borrow_mut(|plan| {
        plan.seen += 1;
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
        }
    })
}

/// How much of a write arrives if the process dies at it.
pub fn torn_write(len: usize) -> Option<usize> {
    PLAN.with_borrow(|plan| {
        let strikes = matches!(plan.kind, Some(Kind::Crash)) && !plan.dead && plan.left == 0;
        strikes.then_some(len / 2)
    })
}
