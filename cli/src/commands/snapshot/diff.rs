//! `snapshot diff`: which entries two snapshots differ in.

use super::{source::Source, trust::TrustArgs};
use crate::{
    context::Context,
    differences::Differences,
    failure::{Failure, Result},
    names::Names,
    table::short,
};
use ledger::{hash::StateRoot, units::Height};
use serde::Serialize;
use snapshot::compare::{CompareError, compare};

/// One of two snapshots.
#[derive(Debug, Serialize)]
struct Side {
    height: Height,
    root: StateRoot,
    entries: u64,
}

/// What differs.
#[derive(Debug, Serialize)]
struct Report {
    left: Side,
    right: Side,
    equal: bool,
    #[serde(flatten)]
    differences: Differences,
}

/// Compares two snapshots, each a height on a node, an archive, or in an object store.
///
/// # Errors
/// If one of them is not there or does not verify.
pub fn run(context: &Context, left: &str, right: &str, trust: &TrustArgs) -> Result {
    let trust = trust.resolve(context)?;
    let left = Source::open(context, left, &trust)?;
    let right = Source::open(context, right, &trust)?;
    let (old, new) = (left.manifest(), right.manifest());
    if old.header().chain != new.header().chain {
        return Err(Failure::failed(
            "other_chain",
            "the two snapshots are of different chains",
        ));
    }
    let names = Names::of(&context.dir);
    let mut differences = Differences::default();
    compare((old, &left), (new, &right), |difference| {
        differences.see(&difference, &names);
    })
    .map_err(|error| match error {
        CompareError::Old(failure) | CompareError::New(failure) => failure,
        CompareError::Join(error) => Failure::failed("bug", error.to_string()),
    })?;
    let report = Report {
        left: side(&left),
        right: side(&right),
        equal: old.root() == new.root(),
        differences,
    };
    context.out.result(&report, || report.text());
    Ok(())
}

fn side(source: &Source) -> Side {
    let manifest = source.manifest();
    Side {
        height: manifest.height(),
        root: manifest.root(),
        entries: manifest.totals().entries,
    }
}

impl Report {
    fn text(&self) -> String {
        let Self { left, right, .. } = self;
        let sides = [left, right].map(|s| format!("{} ({})", s.height, short(&s.root)));
        let [left, right] = sides;
        let counts = self.differences.counts();
        format!("{left} and {right}: {counts}\n{}", self.differences.table())
    }
}
