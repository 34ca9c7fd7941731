//! `snapshot diff`: which entries two snapshots differ in.

use super::{source::Source, trust::TrustArgs};
use crate::{
    context::Context,
    failure::{Failure, Result},
    names::Names,
    table::{or_dash, short, table},
};
use ledger::{
    codec,
    hash::StateRoot,
    state::{
        entries::{Account, KEY_BYTES_MAX, Key, Record, Space},
        tree::{Difference, EntryRef},
    },
    units::Height,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use snapshot::compare::{CompareError, compare};

/// Bytes of an entry's value, at the most.
const VALUE_BYTES_MAX: usize = 1 << 20;

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
    added: u64,
    removed: u64,
    changed: u64,
    entries: Vec<Entry>,
}

/// An entry that differs.
#[derive(Debug, Serialize)]
struct Entry {
    kind: &'static str,
    key: String,
    left: Value,
    right: Value,
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
    let mut report = Report {
        left: side(&left),
        right: side(&right),
        equal: old.root() == new.root(),
        added: 0,
        removed: 0,
        changed: 0,
        entries: Vec::new(),
    };
    let see = |difference: Difference<'_>| {
        let count = match (difference.old, difference.new) {
            (None, _) => &mut report.added,
            (_, None) => &mut report.removed,
            _ => &mut report.changed,
        };
        *count += 1;
        report.entries.push(Entry::of(&difference, &names));
    };
    compare((old, &left), (new, &right), see).map_err(|error| match error {
        CompareError::Old(failure) | CompareError::New(failure) => failure,
        CompareError::Join(error) => Failure::failed("bug", error.to_string()),
    })?;
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

impl Entry {
    fn of(difference: &Difference<'_>, names: &Names) -> Self {
        let either = difference.new.or(difference.old);
        let bytes = either.map(|entry| entry.key).unwrap_or_default();
        let Ok(key) = codec::decode::<Key>(bytes, KEY_BYTES_MAX) else {
            // No state has one.
            return Self {
                kind: "unknown",
                key: hex::encode(bytes),
                left: Value::Null,
                right: Value::Null,
            };
        };
        let (kind, text) = match &key {
            Key::Parameters => ("parameters", "parameters".to_owned()),
            Key::Validators => ("validators", "validators".to_owned()),
            Key::Approvals(proposal) => ("approvals", format!("{proposal:?}")),
            Key::Account(address) => {
                let name = names.name_of(address);
                ("account", name.unwrap_or_else(|| address.to_string()))
            }
            Key::Space(space) => ("space", space.clone()),
            Key::Record { space, key } => (
                "record",
                format!("{space}/{}", String::from_utf8_lossy(key)),
            ),
        };
        let value = |entry: Option<EntryRef<'_>>| {
            entry.map_or(Value::Null, |entry| content(&key, entry.value))
        };
        Self {
            kind,
            key: text,
            left: value(difference.old),
            right: value(difference.new),
        }
    }
}

/// What an entry holds, for people and scripts.
fn content(key: &Key, value: &[u8]) -> Value {
    fn decoded<T: DeserializeOwned + Serialize>(value: &[u8]) -> Option<T> {
        codec::decode(value, VALUE_BYTES_MAX).ok()
    }
    let content = match key {
        Key::Account(_) => decoded::<Account>(value).map(|a| json!(a)),
        Key::Space(_) => decoded::<Space>(value).map(|s| json!(s)),
        Key::Record { .. } => decoded::<Record>(value).map(|r| {
            json!({
                "value": String::from_utf8(r.value.clone()).ok(),
                "value_hex": hex::encode(&r.value),
                "version": r.version,
                "writer": r.writer,
                "written_at": r.written_at,
            })
        }),
        Key::Parameters | Key::Validators | Key::Approvals(_) => None,
    };
    content.unwrap_or_else(|| json!({"hex": hex::encode(value)}))
}

impl Report {
    fn text(&self) -> String {
        let head = format!(
            "{} ({}) and {} ({}): {} added, {} removed, {} changed\n",
            self.left.height,
            short(&self.left.root),
            self.right.height,
            short(&self.right.root),
            self.added,
            self.removed,
            self.changed
        );
        if self.entries.is_empty() {
            return head;
        }
        let cell = |value: &Value| {
            let shown = match value {
                Value::Null => None,
                Value::Object(map) => Some(shown(map)),
                other => Some(other.to_string()),
            };
            or_dash(shown)
        };
        let row = |e: &Entry| {
            vec![
                e.kind.to_owned(),
                e.key.clone(),
                cell(&e.left),
                cell(&e.right),
            ]
        };
        let rows: Vec<Vec<String>> = self.entries.iter().map(row).collect();
        format!("{head}{}", table(&["KIND", "KEY", "LEFT", "RIGHT"], &rows))
    }
}

/// What tells most of an entry in a few words.
fn shown(map: &serde_json::Map<String, Value>) -> String {
    let part = |name: &str| {
        map.get(name).filter(|v| !v.is_null()).map(|v| match v {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    let words = ["balance", "nonce", "value", "version", "changes", "hex"]
        .into_iter()
        .filter_map(|name| Some(format!("{name} {}", part(name)?)));
    words.collect::<Vec<_>>().join(", ")
}
