//! What senders say about metric families: type, help and unit. Kept in memory, in the log on change,
//! and in a file that a flush rewrites when something changed.
//!
//! Bounded: [`MAX_METRICS`] families, [`MAX_PER_METRIC`] different statements about each (the one
//! made first leaves), texts up to [`MAX_TEXT`] bytes; what is beyond is not kept.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use parking_lot::RwLock;
use tenbin_model::StoreError;
use tenbin_model::write::{MetadataEntry, MetricType};

use crate::codec::Malformed;
use crate::codec::bytes::{Cursor, put_text, put_uvarint};
use crate::db::Db;

/// Most metric families.
const MAX_METRICS: usize = 100_000;
/// Most statements about one.
const MAX_PER_METRIC: usize = 8;
/// Longest text.
const MAX_TEXT: usize = 4096;

/// A statement about a metric family.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// The type.
    pub kind: MetricType,
    /// Help text.
    pub help: String,
    /// Unit.
    pub unit: String,
}

impl Metadata {
    fn says(&self, entry: &MetadataEntry<'_>) -> bool {
        (self.kind, &*self.help, &*self.unit) == (entry.kind, entry.help, entry.unit)
    }
}

#[derive(Default)]
struct Families {
    by_metric: HashMap<String, Vec<Metadata>, foldhash::fast::RandomState>,
    changed: bool,
}

/// All statements.
#[derive(Default)]
pub(crate) struct MetadataStore(RwLock<Families>);

impl MetadataStore {
    /// Takes a statement; whether it is new and has to be logged.
    pub(crate) fn note(&self, entry: &MetadataEntry<'_>) -> bool {
        let longest = entry
            .metric
            .len()
            .max(entry.help.len())
            .max(entry.unit.len());
        let nothing = (entry.kind, entry.help, entry.unit) == (MetricType::Unknown, "", "");
        if nothing || entry.metric.is_empty() || longest > MAX_TEXT {
            return false;
        }
        let families = self.0.read();
        let known = families.by_metric.get(entry.metric);
        let full = known.is_none() && families.by_metric.len() >= MAX_METRICS;
        if full || known.is_some_and(|known| known.iter().any(|m| m.says(entry))) {
            return false;
        }
        drop(families);
        let mut families = self.0.write();
        families.changed = true;
        let known = families.by_metric.entry_ref(entry.metric).or_default();
        // Another thread may have been faster.
        if known.iter().any(|m| m.says(entry)) {
            return false;
        }
        if known.len() >= MAX_PER_METRIC {
            known.remove(0);
        }
        known.push(Metadata {
            kind: entry.kind,
            help: entry.help.to_owned(),
            unit: entry.unit.to_owned(),
        });
        true
    }

    fn all(&self, metric: &str) -> BTreeMap<String, Vec<Metadata>> {
        let families = self.0.read();
        let wanted = families.by_metric.iter();
        let wanted = wanted.filter(|(name, _)| metric.is_empty() || name.as_str() == metric);
        wanted
            .map(|(name, list)| (name.clone(), list.clone()))
            .collect()
    }

    /// All statements as bytes, unless the last such bytes still hold.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let mut families = self.0.write();
        if !std::mem::take(&mut families.changed) {
            return None;
        }
        let mut out = Vec::new();
        for (metric, list) in &families.by_metric {
            for metadata in list {
                let entry = MetadataEntry {
                    metric,
                    kind: metadata.kind,
                    help: &metadata.help,
                    unit: &metadata.unit,
                };
                put_entry(&mut out, &entry);
            }
        }
        Some(out)
    }

    /// Says that the bytes were not kept.
    pub(crate) fn mark_changed(&self) {
        self.0.write().changed = true;
    }

    /// Adds what [`MetadataStore::encode`] wrote.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            self.note(&read_entry(&mut cursor)?);
        }
        self.0.write().changed = false;
        Ok(())
    }
}

/// Appends a statement: `text metric, u8 type, text help, text unit`.
pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &MetadataEntry<'_>) {
    put_text(out, entry.metric.as_bytes());
    put_uvarint(out, u64::from(entry.kind.number()));
    put_text(out, entry.help.as_bytes());
    put_text(out, entry.unit.as_bytes());
}

/// Reads a statement.
pub(crate) fn read_entry<'a>(cursor: &mut Cursor<'a>) -> Result<MetadataEntry<'a>, Malformed> {
    Ok(MetadataEntry {
        metric: cursor.text()?,
        kind: MetricType::from_number(cursor.uvarint()?),
        help: cursor.text()?,
        unit: cursor.text()?,
    })
}

impl Db {
    /// What is known about metric families, each statement once, in the order in which they were
    /// made; `metric` asks for one family alone, an empty one for all.
    ///
    /// # Errors
    /// When the database is closed.
    pub fn metadata(&self, metric: &str) -> Result<BTreeMap<String, Vec<Metadata>>, StoreError> {
        if self.is_closed() {
            return Err(StoreError::NotReady);
        }
        Ok(self.store().head.metadata.all(metric))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry<'a>(metric: &'a str, kind: MetricType, help: &'a str) -> MetadataEntry<'a> {
        MetadataEntry {
            metric,
            kind,
            help,
            unit: "s",
        }
    }

    #[test]
    fn statements_are_kept_once_and_bounded() {
        let store = MetadataStore::default();
        assert!(store.note(&entry("a", MetricType::Counter, "A")));
        assert!(!store.note(&entry("a", MetricType::Counter, "A")));
        assert!(store.note(&entry("a", MetricType::Gauge, "A")));
        let nothing = MetadataEntry {
            unit: "",
            ..entry("b", MetricType::Unknown, "")
        };
        assert!(!store.note(&nothing));
        assert!(!store.note(&entry("b", MetricType::Gauge, &"x".repeat(MAX_TEXT + 1))));
        for number in 0..20 {
            store.note(&entry("c", MetricType::Gauge, &number.to_string()));
        }
        let all = store.all("");
        assert_eq!(
            (all.len(), all["a"].len(), all["c"].len()),
            (2, 2, MAX_PER_METRIC)
        );
        assert_eq!(all["c"][MAX_PER_METRIC - 1].help, "19");
        let bytes = store.encode().unwrap();
        assert!(store.encode().is_none());
        let back = MetadataStore::default();
        back.decode(&bytes).unwrap();
        assert_eq!(back.all(""), all);
        assert!(back.encode().is_none());
        assert_eq!(store.all("a").len(), 1);
        assert!(back.decode(&bytes[..bytes.len() - 1]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = MetadataStore::default().decode(&bytes);
        }
    }
}
