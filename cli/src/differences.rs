//! The entries in which two states differ, as people and scripts are shown them.

use crate::{
    names::Names,
    table::{or_dash, table},
};
use ledger::{
    codec,
    state::{
        entries::{Account, KEY_BYTES_MAX, Key, Record, Space},
        tree::{Difference, EntryRef},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Bytes of an entry's value, at the most.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// Entries that are shown: whoever has quite another state could fill the memory otherwise.
const SHOWN_MAX: usize = 100_000;

/// What differs.
#[derive(Debug, Default, Serialize)]
pub struct Differences {
    added: u64,
    removed: u64,
    changed: u64,
    /// Entries that differ and are not shown.
    left_off: u64,
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

impl Differences {
    /// Adds one.
    pub fn see(&mut self, difference: &Difference<'_>, names: &Names) {
        let count = match (difference.old, difference.new) {
            (None, _) => &mut self.added,
            (_, None) => &mut self.removed,
            _ => &mut self.changed,
        };
        *count += 1;
        if self.entries.len() < SHOWN_MAX {
            self.entries.push(Entry::of(difference, names));
        } else {
            self.left_off += 1;
        }
    }

    /// How many there are of each kind.
    pub fn counts(&self) -> String {
        let Self {
            added,
            removed,
            changed,
            left_off,
            ..
        } = self;
        let shown = match left_off {
            0 => String::new(),
            _ => format!(" (only the first {SHOWN_MAX} are shown)"),
        };
        format!("{added} added, {removed} removed, {changed} changed{shown}")
    }

    /// They, with what either side has.
    pub fn table(&self) -> String {
        if self.entries.is_empty() {
            return String::new();
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
        table(&["KIND", "KEY", "LEFT", "RIGHT"], &rows)
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

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::state::tree::Place;

    #[test]
    fn what_is_not_shown_is_counted() {
        let names = Names::of(std::path::Path::new("/nowhere"));
        let place = Place([0; 32]);
        let entry = EntryRef {
            place,
            key: b"",
            value: b"",
        };
        let difference = Difference {
            place,
            old: Some(entry),
            new: None,
        };
        let mut all = Differences::default();
        for _ in 0..SHOWN_MAX + 3 {
            all.see(&difference, &names);
        }
        let found = (all.removed, all.left_off, all.entries.len());
        assert_eq!(found, (100_003, 3, SHOWN_MAX));
        assert!(all.counts().contains("only the first"), "{}", all.counts());
    }
}
