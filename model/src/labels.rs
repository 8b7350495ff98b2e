//! Label sets: the identity of a series.
//!
//! A [`Labels`] is immutable, sorted by label name, free of empty values and duplicate names, and
//! cheap to clone: one reference-counted allocation that holds everything.
//!
//! Buffer layout (all of it valid UTF-8, so no `unsafe` is needed to read it back): each of the
//! `2n` strings (name, value, name, value, ...) has its end offset written in front as four 7-bit
//! ASCII characters, most significant first; before them stands the label count, in the same form;
//! after them all text without separators. Equal label sets have equal buffers, so equality and
//! hashing look at the buffer alone.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::text::quote::push_quoted;

/// The label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

/// Bytes of one encoded number.
const NUMBER_LEN: usize = 4;

/// The most text that one label set may hold: what four 7-bit digits can address.
pub const MAX_LABELS_TEXT_BYTES: usize = (1 << 28) - 1;

/// A thread keeps no more memory than this for the next set.
const MAX_KEPT_LAYOUT: usize = 1 << 16;

thread_local! {
    /// Where a set is put together, before it is copied into memory of its length.
    static LAYOUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An immutable, sorted set of label pairs. See the module page for the layout.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

/// [`Labels::hash128`] of a set that is not built: of pairs that are sorted by name, unique by name and
/// without empty values. `scratch` lends its memory.
#[must_use]
pub fn hash128_of_sorted(pairs: &[(&str, &str)], scratch: &mut Vec<u8>) -> u128 {
    scratch.clear();
    push_layout(scratch, pairs);
    xxh3_128(scratch)
}

/// Appends a set as [`Labels`] holds it. Hashes of it stand on disk, so it may not change.
fn push_layout<S: AsRef<str>>(buffer: &mut Vec<u8>, pairs: &[(S, S)]) {
    push_number(buffer, pairs.len());
    let mut end = 0;
    for (name, value) in pairs {
        end += name.as_ref().len();
        push_number(buffer, end);
        end += value.as_ref().len();
        push_number(buffer, end);
    }
    for (name, value) in pairs {
        buffer.extend_from_slice(name.as_ref().as_bytes());
        buffer.extend_from_slice(value.as_ref().as_bytes());
    }
}

fn push_number(buffer: &mut Vec<u8>, number: usize) {
    let digit = |shift: u32| ((number >> shift) & 0x7f) as u8;
    buffer.extend_from_slice(&[digit(21), digit(14), digit(7), digit(0)]);
}

impl Labels {
    /// The empty label set.
    #[must_use]
    pub fn empty() -> Self {
        Self::from_sorted::<&str>(&[])
    }

    /// Builds a set from pairs that are already sorted by name, unique by name and without empty
    /// values.
    ///
    /// # Panics
    /// When the text exceeds [`MAX_LABELS_TEXT_BYTES`]; request limits keep far below that.
    #[must_use]
    pub fn from_sorted<S: AsRef<str>>(pairs: &[(S, S)]) -> Self {
        debug_assert!(pairs.windows(2).all(|w| w[0].0.as_ref() < w[1].0.as_ref()));
        debug_assert!(pairs.iter().all(|p| !p.1.as_ref().is_empty()));
        let text: usize = pairs
            .iter()
            .map(|(n, v)| n.as_ref().len() + v.as_ref().len())
            .sum();
        assert!(
            text <= MAX_LABELS_TEXT_BYTES,
            "label set text of {text} bytes is too long"
        );
        LAYOUT.with_borrow_mut(|buffer| {
            buffer.clear();
            buffer.reserve(NUMBER_LEN * (1 + 2 * pairs.len()) + text);
            push_layout(buffer, pairs);
            // Seven-bit digits and whole strings.
            let set = std::str::from_utf8(buffer).unwrap_or_default().into();
            if buffer.capacity() > MAX_KEPT_LAYOUT {
                *buffer = Vec::new();
            }
            Self(set)
        })
    }

    /// Builds a set from pairs in any order. Empty values are dropped; of pairs with one name the
    /// last wins.
    #[must_use]
    pub fn from_pairs<S: AsRef<str>>(pairs: &[(S, S)]) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    fn number(&self, index: usize) -> usize {
        let at = index * NUMBER_LEN;
        self.0.as_bytes()[at..at + NUMBER_LEN]
            .iter()
            .fold(0, |number, digit| (number << 7) | usize::from(*digit))
    }

    /// The `index`-th of the `2n` strings.
    fn string(&self, index: usize) -> &str {
        let text = NUMBER_LEN * (1 + 2 * self.len());
        let start = if index == 0 { 0 } else { self.number(index) };
        &self.0[text + start..text + self.number(index + 1)]
    }

    /// Number of label pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.number(0)
    }

    /// Bytes that the labels take in memory.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.0.len()
    }

    /// True for the set without labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pairs in name order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        (0..self.len()).map(|i| (self.string(2 * i), self.string(2 * i + 1)))
    }

    /// The value of `name`, or `None` where the set lacks it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.string(2 * middle).cmp(name) {
                Ordering::Equal => return Some(self.string(2 * middle + 1)),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The value of `name`, or the empty string, which PromQL treats as the same as absence.
    #[must_use]
    pub fn value_of(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// The metric name, or the empty string.
    #[must_use]
    pub fn metric_name(&self) -> &str {
        self.value_of(METRIC_NAME)
    }

    /// The set of only those labels for which `keep` holds.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        let pairs: Vec<(&str, &str)> = self.iter().filter(|(name, _)| keep(name)).collect();
        if pairs.len() == self.len() {
            self.clone()
        } else {
            Self::from_sorted(&pairs)
        }
    }

    /// A stable 128-bit hash of the set, the key by which the same series is recognised across head
    /// and blocks. XXH3 over the buffer; stored on disk, so the layout above may not change.
    #[must_use]
    pub fn hash128(&self) -> u128 {
        xxh3_128(self.0.as_bytes())
    }

    /// Bytes of heap memory that this set holds (shared between clones).
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.0.len() + 2 * size_of::<usize>()
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Pairwise by name, then value, then by number of labels: Prometheus' `labels.Compare`.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

/// `{__name__="up", job="x"}`: Prometheus' `Labels.String`, used in error texts.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::from("{");
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                out.push_str(", ");
            }
            if is_legacy_label_name(name) {
                out.push_str(name);
            } else {
                push_quoted(&mut out, name);
            }
            out.push('=');
            push_quoted(&mut out, value);
        }
        out.push('}');
        f.write_str(&out)
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Collects changes to a label set and builds the result.
#[derive(Debug, Default, Clone)]
pub struct LabelsBuilder {
    /// Sorted by name; an empty value marks a removed label.
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Starts from an existing set.
    #[must_use]
    pub fn from_labels(labels: &Labels) -> Self {
        Self {
            pairs: labels
                .iter()
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .collect(),
        }
    }

    /// Sets `name` to `value`; the empty value removes the label.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
            Ok(at) => value.clone_into(&mut self.pairs[at].1),
            Err(at) => self.pairs.insert(at, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes `name`.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(n, _)| n != name);
        self
    }

    /// The current value of `name`, empty where absent.
    #[must_use]
    pub fn value_of(&self, name: &str) -> &str {
        self.pairs
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, value)| value)
    }

    /// The finished set.
    #[must_use]
    pub fn build(mut self) -> Labels {
        self.pairs.retain(|(_, value)| !value.is_empty());
        Labels::from_sorted(&self.pairs)
    }
}

/// Whether `name` fits the classic label name form `[a-zA-Z_][a-zA-Z0-9_]*`.
#[must_use]
pub fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether `name` fits the classic metric name form `[a-zA-Z_:][a-zA-Z0-9_:]*`.
#[must_use]
pub fn is_legacy_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_needs_no_set() {
        let mut scratch = Vec::new();
        for pairs in [
            &[][..],
            &[("a", "1")],
            &[("__name__", "up"), ("z", "日本"), ("é", &"x".repeat(1000))],
        ] {
            let expected = Labels::from_sorted(pairs).hash128();
            assert_eq!(hash128_of_sorted(pairs, &mut scratch), expected);
        }
    }

    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn reads_back_what_was_put_in() {
        let labels = Labels::from_pairs(&[("b", "2"), ("__name__", "up"), ("c", ""), ("a", "é")]);
        assert_eq!(labels.len(), 3);
        assert_eq!(labels.get("a"), Some("é"));
        assert_eq!(labels.get("c"), None);
        assert_eq!(labels.metric_name(), "up");
        assert_eq!(labels.to_string(), "{__name__=\"up\", a=\"é\", b=\"2\"}");
        assert_eq!(
            labels.filter(|n| n != "a").to_string(),
            "{__name__=\"up\", b=\"2\"}"
        );
        assert!(Labels::empty().is_empty());
        assert_eq!(Labels::empty().to_string(), "{}");
    }

    #[test]
    fn orders_as_prometheus_does() {
        let l = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs);
        let sorted = [
            l(&[]),
            l(&[("a", "1")]),
            l(&[("a", "1"), ("b", "1")]),
            l(&[("a", "10")]),
            l(&[("a", "2")]),
            l(&[("b", "1")]),
        ];
        for window in sorted.windows(2) {
            assert!(window[0] < window[1], "{} < {}", window[0], window[1]);
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(pairs in prop::collection::vec((".{1,6}", ".{0,200}"), 0..12)) {
            let labels = Labels::from_pairs(&pairs);
            let mut model = BTreeMap::new();
            for (name, value) in &pairs {
                model.insert(name.as_str(), value.as_str());
            }
            model.retain(|_, value| !value.is_empty());
            prop_assert!(labels.iter().eq(model.iter().map(|(n, v)| (*n, *v))));
            for (name, value) in &model {
                prop_assert_eq!(labels.get(name), Some(*value));
            }
            prop_assert_eq!(labels.get("\u{1}absent"), None);
            prop_assert_eq!(&LabelsBuilder::from_labels(&labels).build(), &labels);
        }
    }
}
