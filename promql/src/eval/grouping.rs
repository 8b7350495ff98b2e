//! Which group a series belongs to, decided once per series from its labels.
//!
//! Source: Prometheus `generateGroupingKey`, `generateGroupingLabels`.

use hashbrown::HashMap;
use tenbin_model::{Labels, METRIC_NAME};

/// Bytes that no UTF-8 text contains, so that keys of different labels differ.
const AFTER_NAME: u8 = 0xfe;
const AFTER_VALUE: u8 = 0xff;

/// The labels that groups share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grouping<'q> {
    /// Sorted names.
    pub(crate) names: &'q [&'q str],
    /// The names are those left out, and so is the metric name.
    pub(crate) without: bool,
}

impl Grouping<'_> {
    fn leaves_out(&self, name: &str) -> bool {
        name == METRIC_NAME || self.names.binary_search(&name).is_ok()
    }

    /// Writes what tells the group of a series from others into `key`.
    fn key(&self, labels: &Labels, key: &mut Vec<u8>) {
        key.clear();
        if self.without {
            for (name, value) in labels.iter() {
                if !self.leaves_out(name) {
                    key.extend_from_slice(name.as_bytes());
                    key.push(AFTER_NAME);
                    key.extend_from_slice(value.as_bytes());
                    key.push(AFTER_VALUE);
                }
            }
        } else {
            for name in self.names {
                key.extend_from_slice(labels.value_of(name).as_bytes());
                key.push(AFTER_VALUE);
            }
        }
    }

    /// The labels of the group of a series.
    pub(crate) fn group_labels(&self, labels: &Labels) -> Labels {
        if self.without {
            labels.filter(|name| !self.leaves_out(name))
        } else if self.names.is_empty() {
            Labels::empty()
        } else {
            labels.filter(|name| self.names.binary_search(&name).is_ok())
        }
    }
}

/// The groups found so far, numbered in order of appearance.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    numbers: HashMap<Box<[u8]>, usize>,
    key: Vec<u8>,
}

impl Groups {
    /// The number of the group that a series belongs to; a new group gets the next number.
    pub(crate) fn number(&mut self, grouping: &Grouping<'_>, labels: &Labels) -> usize {
        grouping.key(labels, &mut self.key);
        if let Some(number) = self.numbers.get(self.key.as_slice()) {
            return *number;
        }
        let number = self.numbers.len();
        self.numbers.insert(self.key.as_slice().into(), number);
        number
    }

    /// Number of groups.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_by_listed_or_other_labels() {
        let a = Labels::from_pairs(&[("__name__", "m"), ("a", "1"), ("b", "2")]);
        let b = Labels::from_pairs(&[("__name__", "n"), ("a", "1"), ("b", "3")]);
        let names = ["a"];
        let by = Grouping {
            names: &names,
            without: false,
        };
        let mut groups = Groups::default();
        assert_eq!(groups.number(&by, &a), 0);
        assert_eq!(groups.number(&by, &b), 0);
        assert_eq!(by.group_labels(&a).to_string(), "{a=\"1\"}");
        let without = Grouping {
            names: &names,
            without: true,
        };
        let mut groups = Groups::default();
        assert_eq!(groups.number(&without, &a), 0);
        assert_eq!(groups.number(&without, &b), 1);
        assert_eq!(groups.number(&without, &a), 0);
        assert_eq!(groups.len(), 2);
        assert_eq!(without.group_labels(&b).to_string(), "{b=\"3\"}");
    }
}
