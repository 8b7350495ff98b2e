//! Values of one series over all steps of a grid: a slot per step, and a bitmap that tells which
//! slots hold a float. Histograms stand in a column of their own, made when the first one comes.
//!
//! Invariants: a step holds a float or a histogram or nothing, never both; slots whose bit is clear
//! have no meaning.

use std::sync::Arc;

use smallvec::SmallVec;
use tenbin_model::{FloatHistogram, Labels};

use crate::eval::meter::Weight;
use crate::value::SampleValue;

/// A bit per step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presence {
    /// Bits beyond `len` are clear.
    words: SmallVec<[u64; 4]>,
    len: usize,
}

impl Presence {
    /// No step present.
    pub(crate) fn none(len: usize) -> Self {
        Self {
            words: smallvec::smallvec![0; len.div_ceil(64)],
            len,
        }
    }

    /// Every step present.
    pub(crate) fn all(len: usize) -> Self {
        let mut words: SmallVec<[u64; 4]> = smallvec::smallvec![u64::MAX; len.div_ceil(64)];
        if !len.is_multiple_of(64)
            && let Some(last) = words.last_mut()
        {
            *last = (1 << (len % 64)) - 1;
        }
        Self { words, len }
    }

    #[inline]
    pub(crate) fn get(&self, step: usize) -> bool {
        (self.words[step / 64] >> (step % 64)) & 1 == 1
    }

    #[inline]
    pub(crate) fn set(&mut self, step: usize) {
        self.words[step / 64] |= 1 << (step % 64);
    }

    /// Calls `f` for every step and sets the bits of those for which it returns true. The steps
    /// were not present before.
    #[inline]
    pub(crate) fn fill(&mut self, mut f: impl FnMut(usize) -> bool) {
        let len = self.len;
        for (at, word) in self.words.iter_mut().enumerate() {
            let first = at * 64;
            let mut bits = 0;
            for step in first..(first + 64).min(len) {
                bits |= u64::from(f(step)) << (step - first);
            }
            *word = bits;
        }
    }

    #[inline]
    pub(crate) fn clear(&mut self, step: usize) {
        self.words[step / 64] &= !(1 << (step % 64));
    }

    /// Clears the bits of `len` and all steps after it.
    pub(crate) fn truncate(&mut self, len: usize) {
        for (at, word) in self.words.iter_mut().enumerate() {
            let kept = len.saturating_sub(at * 64).min(64) as u32;
            *word &= u64::MAX.checked_shr(64 - kept).unwrap_or(0);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count() == self.len
    }

    pub(crate) fn union_with(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }

    pub(crate) fn intersect_with(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= theirs;
        }
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= !theirs;
        }
    }

    /// The steps present in both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.intersect_with(other);
        both
    }

    /// The first step present.
    pub(crate) fn first(&self) -> Option<usize> {
        self.iter().next()
    }

    /// The steps present, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                Some(at * 64 + bit)
            })
        })
    }
}

/// One series of a node's result.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    /// Delayed name removal: the name is still there and to be dropped at the query's end.
    pub(crate) drop_name: bool,
    /// A slot per step.
    pub(crate) values: Vec<f64>,
    /// Which slots hold a float.
    pub(crate) floats: Presence,
    /// A slot per step, once there is any histogram.
    pub(crate) histograms: Option<Vec<Option<Arc<FloatHistogram>>>>,
    /// What the memory limit counts.
    weight: Weight,
}

impl Series {
    /// A series without samples.
    pub(crate) fn new(labels: Labels, steps: usize) -> Self {
        let bytes = size_of::<Self>() + labels.byte_len() + 8 * steps + steps / 8;
        Self {
            weight: Weight::new(bytes),
            labels,
            drop_name: false,
            values: vec![0.0; steps],
            floats: Presence::none(steps),
            histograms: None,
        }
    }

    /// Takes the series out of its place, where one without samples stays.
    pub(crate) fn keep(&mut self) -> Self {
        let next = Self::new(Labels::empty(), self.steps());
        let mut kept = std::mem::replace(self, next);
        kept.weight.grow(kept.labels.byte_len());
        kept
    }

    pub(crate) fn steps(&self) -> usize {
        self.values.len()
    }

    /// Bytes held, as the memory limit counts them.
    pub(crate) fn byte_len(&self) -> u64 {
        self.weight.bytes()
    }

    /// Removes all samples and keeps the memory.
    pub(crate) fn reset(&mut self) {
        self.floats = Presence::none(self.values.len());
        self.histograms = None;
        self.drop_name = false;
    }

    /// Sets the floats of a series without samples: `f` gives the value of each step, if there is
    /// one.
    #[inline]
    pub(crate) fn fill_floats(&mut self, mut f: impl FnMut(usize) -> Option<f64>) {
        let values = self.values.as_mut_slice();
        self.floats.fill(|step| match f(step) {
            Some(value) => {
                values[step] = value;
                true
            }
            None => false,
        });
    }

    #[inline]
    pub(crate) fn set_float(&mut self, step: usize, value: f64) {
        self.values[step] = value;
        self.floats.set(step);
    }

    pub(crate) fn set_histogram(&mut self, step: usize, histogram: Arc<FloatHistogram>) {
        let steps = self.steps();
        let weight = &mut self.weight;
        // Histograms of the store are shared with its samples; others are made here.
        if Arc::strong_count(&histogram) == 1 {
            weight.grow(16 * histogram_size(&histogram) as usize);
        }
        self.histograms.get_or_insert_with(|| {
            weight.grow(8 * steps);
            vec![None; steps]
        })[step] = Some(histogram);
    }

    pub(crate) fn set(&mut self, step: usize, value: SampleValue) {
        match value {
            SampleValue::Float(value) => self.set_float(step, value),
            SampleValue::Histogram(histogram) => self.set_histogram(step, histogram),
        }
    }

    #[inline]
    pub(crate) fn float(&self, step: usize) -> Option<f64> {
        self.floats.get(step).then(|| self.values[step])
    }

    pub(crate) fn histogram(&self, step: usize) -> Option<&Arc<FloatHistogram>> {
        self.histograms.as_ref()?[step].as_ref()
    }

    pub(crate) fn get(&self, step: usize) -> Option<SampleValue> {
        match self.float(step) {
            Some(value) => Some(SampleValue::Float(value)),
            None => self.histogram(step).cloned().map(SampleValue::Histogram),
        }
    }

    /// Which steps hold a float or a histogram.
    pub(crate) fn occupied(&self) -> Presence {
        let mut occupied = self.floats.clone();
        if let Some(histograms) = &self.histograms {
            for (step, histogram) in histograms.iter().enumerate() {
                if histogram.is_some() {
                    occupied.set(step);
                }
            }
        }
        occupied
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.floats.is_empty()
            && self
                .histograms
                .as_ref()
                .is_none_or(|h| h.iter().all(Option::is_none))
    }

    /// Removes the samples of all steps outside `keep`.
    pub(crate) fn retain(&mut self, keep: &Presence) {
        self.floats.intersect_with(keep);
        if let Some(histograms) = &mut self.histograms {
            for (step, slot) in histograms.iter_mut().enumerate() {
                if !keep.get(step) {
                    *slot = None;
                }
            }
        }
    }

    /// Takes over all samples of `other`, which has none at steps that this series has.
    pub(crate) fn absorb(&mut self, other: &Self) {
        for step in other.floats.iter() {
            self.set_float(step, other.values[step]);
        }
        if let Some(histograms) = &other.histograms {
            for (step, slot) in histograms.iter().enumerate() {
                if let Some(histogram) = slot {
                    self.set_histogram(step, Arc::clone(histogram));
                }
            }
        }
    }

    /// Samples held, as the sample limit counts them.
    pub(crate) fn size(&self) -> u64 {
        let histograms: u64 = self
            .histograms
            .iter()
            .flatten()
            .flatten()
            .map(|h| histogram_size(h))
            .sum();
        self.floats.count() as u64 + histograms
    }
}

/// How many float samples a histogram counts as.
pub(crate) fn histogram_size(histogram: &FloatHistogram) -> u64 {
    /// Bytes of the fixed fields, as Prometheus' `FloatHistogram.Size` counts them.
    const FIXED_BYTES: usize = 168;
    let spans = histogram.positive_spans.len() + histogram.negative_spans.len();
    let floats = histogram.positive_buckets.len()
        + histogram.negative_buckets.len()
        + histogram.custom_values.len();
    ((FIXED_BYTES + 8 * (spans + floats) + 8) / 16) as u64
}

/// A scalar over all steps.
#[derive(Debug, Clone)]
pub(crate) enum Scalars {
    /// The same value at every step.
    Same(f64),
    /// A value per step.
    PerStep(Vec<f64>),
}

impl Scalars {
    #[inline]
    pub(crate) fn at(&self, step: usize) -> f64 {
        match self {
            Self::Same(value) => *value,
            Self::PerStep(values) => values[step],
        }
    }

    /// Combines two scalars step by step.
    pub(crate) fn combine(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Self::Same(a), Self::Same(b)) => Self::Same(f(*a, *b)),
            (Self::PerStep(values), _) => Self::PerStep(
                values
                    .iter()
                    .enumerate()
                    .map(|(step, value)| f(*value, other.at(step)))
                    .collect(),
            ),
            (_, Self::PerStep(values)) => Self::PerStep(
                values
                    .iter()
                    .enumerate()
                    .map(|(step, value)| f(self.at(step), *value))
                    .collect(),
            ),
        }
    }

    /// Changes every value.
    pub(crate) fn map(self, f: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::Same(value) => Self::Same(f(value)),
            Self::PerStep(values) => Self::PerStep(values.into_iter().map(f).collect()),
        }
    }
}

/// The result of a node.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    /// A scalar.
    Scalar(Scalars),
    /// An instant vector over all steps.
    Vector(Vec<Series>),
    /// A string.
    Text(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_is_a_set_of_steps() {
        let mut some = Presence::none(130);
        for step in [0, 63, 64, 129] {
            some.set(step);
        }
        assert_eq!(some.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert_eq!(some.count(), 4);
        let mut rest = Presence::all(130);
        assert!(rest.is_full());
        rest.subtract(&some);
        assert_eq!(rest.count(), 126);
        assert_eq!(rest.first(), Some(1));
        assert!(rest.and(&some).is_empty());
        rest.union_with(&some);
        assert!(rest.is_full());
        rest.clear(64);
        assert!(!rest.get(64));
    }

    #[test]
    fn sparse_series_merge() {
        let mut a = Series::new(Labels::empty(), 3);
        a.set_float(0, 1.0);
        let mut b = Series::new(Labels::empty(), 3);
        b.set_histogram(2, Arc::default());
        a.absorb(&b);
        assert_eq!(a.occupied().iter().collect::<Vec<_>>(), [0, 2]);
        assert!(a.size() > 1);
        a.retain(&Presence::none(3));
        assert!(a.is_empty());
    }
}
