//! One side of a histogram as a list of buckets with their indexes, and back to spans.
//!
//! All algebra works on such lists: they are ascending by index, and turning them back gives the
//! only layout without empty or adjacent spans. A histogram from outside may have spans that do not
//! fit its counts; what has no count is no bucket.

use super::bounds::coarser_index;
use super::{BucketSpan, FloatHistogram, Histogram};
use crate::kahan;

/// A bucket of one side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Indexed {
    pub(super) index: i32,
    pub(super) count: f64,
    /// What a compensated sum has lost, else 0.
    pub(super) lost: f64,
}

/// Indexes of the buckets that spans lay out, as many as there are counts at most.
pub(super) fn indexes(spans: &[BucketSpan], buckets: usize) -> impl Iterator<Item = i32> + '_ {
    let mut next = 0_i32;
    spans
        .iter()
        .flat_map(move |span| {
            let first = next.saturating_add(span.offset);
            next = first.saturating_add_unsigned(span.length);
            (0..span.length).map(move |at| first.saturating_add_unsigned(at))
        })
        .take(buckets)
}

/// The buckets of one side.
pub(super) fn listed(spans: &[BucketSpan], buckets: &[f64]) -> Vec<Indexed> {
    indexes(spans, buckets.len())
        .zip(buckets)
        .map(|(index, count)| Indexed {
            index,
            count: *count,
            lost: 0.0,
        })
        .collect()
}

/// The buckets of one side with the losses of a compensated sum that has the same layout.
pub(super) fn listed_with(spans: &[BucketSpan], buckets: &[f64], lost: &[f64]) -> Vec<Indexed> {
    let mut list = listed(spans, buckets);
    for (bucket, lost) in list.iter_mut().zip(lost) {
        bucket.lost = *lost;
    }
    list
}

/// Spans that lay out a list.
pub(super) fn spans_of(list: &[Indexed]) -> Vec<BucketSpan> {
    let mut spans: Vec<BucketSpan> = Vec::new();
    let mut next = 0_i32;
    for bucket in list {
        match spans.last_mut() {
            Some(span) if bucket.index == next => span.length += 1,
            _ => spans.push(BucketSpan {
                offset: bucket.index.saturating_sub(next),
                length: 1,
            }),
        }
        next = bucket.index.saturating_add(1);
    }
    spans
}

/// Spans and counts of a list.
pub(super) fn unlisted(list: &[Indexed]) -> (Vec<BucketSpan>, Vec<f64>) {
    (spans_of(list), list.iter().map(|b| b.count).collect())
}

/// Merges buckets to a coarser schema, plainly.
pub(super) fn coarsened(list: &[Indexed], schema: i32, target: i32) -> Vec<Indexed> {
    let mut result: Vec<Indexed> = Vec::with_capacity(list.len());
    for bucket in list {
        let index = coarser_index(bucket.index, schema, target);
        match result.last_mut() {
            Some(last) if last.index == index => last.count += bucket.count,
            _ => result.push(Indexed { index, ..*bucket }),
        }
    }
    result
}

/// Merges buckets to a coarser schema with compensated sums.
pub(super) fn coarsened_compensated(list: &[Indexed], schema: i32, target: i32) -> Vec<Indexed> {
    let mut result: Vec<Indexed> = Vec::with_capacity(list.len());
    for bucket in list {
        let index = coarser_index(bucket.index, schema, target);
        match result.last_mut() {
            Some(last) if last.index == index => {
                (last.count, last.lost) = kahan::add(bucket.count, last.count, last.lost);
                (last.count, last.lost) = kahan::add(bucket.lost, last.count, last.lost);
            }
            _ => result.push(Indexed { index, ..*bucket }),
        }
    }
    result
}

/// Merges two lists: `both` combines buckets of one index, `only` makes one from the right list.
pub(super) fn merged(
    left: &[Indexed],
    right: &[Indexed],
    mut both: impl FnMut(Indexed, Indexed) -> Indexed,
    mut only: impl FnMut(Indexed) -> Indexed,
) -> Vec<Indexed> {
    let mut result = Vec::with_capacity(left.len().max(right.len()));
    let (mut a, mut b) = (0, 0);
    while a < left.len() && b < right.len() {
        let (l, r) = (left[a], right[b]);
        if l.index == r.index {
            result.push(both(l, r));
            a += 1;
            b += 1;
        } else if l.index < r.index {
            result.push(l);
            a += 1;
        } else {
            result.push(only(r));
            b += 1;
        }
    }
    result.extend_from_slice(&left[a..]);
    result.extend(right[b..].iter().map(|r| only(*r)));
    result
}

impl FloatHistogram {
    pub(super) fn positive(&self) -> Vec<Indexed> {
        listed(&self.positive_spans, &self.positive_buckets)
    }

    pub(super) fn negative(&self) -> Vec<Indexed> {
        listed(&self.negative_spans, &self.negative_buckets)
    }

    pub(super) fn set_positive(&mut self, list: &[Indexed]) {
        (self.positive_spans, self.positive_buckets) = unlisted(list);
    }

    pub(super) fn set_negative(&mut self, list: &[Indexed]) {
        (self.negative_spans, self.negative_buckets) = unlisted(list);
    }

    /// Removes empty buckets and the spans that no longer hold any.
    pub fn compact(&mut self) {
        if needs_compaction(&self.positive_spans, &self.positive_buckets) {
            let mut list = self.positive();
            list.retain(|bucket| bucket.count != 0.0);
            self.set_positive(&list);
        }
        if needs_compaction(&self.negative_spans, &self.negative_buckets) {
            let mut list = self.negative();
            list.retain(|bucket| bucket.count != 0.0);
            self.set_negative(&list);
        }
    }

    /// A copy in a coarser schema. What is known about counter resets does not carry over, unless
    /// the schema is the same.
    #[must_use]
    pub fn to_schema(&self, target: i32) -> Self {
        if target >= self.schema || self.uses_custom_buckets() {
            return self.clone();
        }
        let mut result = Self {
            schema: target,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count,
            count: self.count,
            sum: self.sum,
            ..Self::default()
        };
        result.set_positive(&coarsened(&self.positive(), self.schema, target));
        result.set_negative(&coarsened(&self.negative(), self.schema, target));
        result
    }
}

impl Histogram {
    /// A copy in a coarser schema, exact. Custom buckets stay as they are.
    #[must_use]
    pub fn to_schema(&self, target: i32) -> Self {
        if target >= self.schema {
            return self.clone();
        }
        let side = |spans: &[BucketSpan], deltas: &[i64]| {
            let (mut count, mut buckets) = (0_i64, Vec::<(i32, i64)>::new());
            for (index, delta) in indexes(spans, deltas.len()).zip(deltas) {
                count = count.wrapping_add(*delta);
                let index = coarser_index(index, self.schema, target);
                match buckets.last_mut() {
                    Some((last, sum)) if *last == index => *sum = sum.wrapping_add(count),
                    _ => buckets.push((index, count)),
                }
            }
            let list: Vec<Indexed> = buckets
                .iter()
                .map(|(index, _)| Indexed {
                    index: *index,
                    count: 0.0,
                    lost: 0.0,
                })
                .collect();
            let mut before = 0_i64;
            let deltas = buckets.iter().map(|(_, count)| {
                let delta = count.wrapping_sub(before);
                before = *count;
                delta
            });
            (spans_of(&list), deltas.collect())
        };
        let (positive_spans, positive_deltas) = side(&self.positive_spans, &self.positive_deltas);
        let (negative_spans, negative_deltas) = side(&self.negative_spans, &self.negative_deltas);
        Self {
            schema: target,
            positive_spans,
            negative_spans,
            positive_deltas,
            negative_deltas,
            ..self.clone()
        }
    }
}

fn needs_compaction(spans: &[BucketSpan], buckets: &[f64]) -> bool {
    buckets.contains(&0.0)
        || spans.iter().any(|span| span.length == 0)
        || spans.iter().skip(1).any(|span| span.offset <= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(offset: i32, length: u32) -> BucketSpan {
        BucketSpan { offset, length }
    }

    #[test]
    fn spans_round_trip() {
        let spans = [span(-2, 2), span(3, 1), span(0, 1)];
        let list = listed(&spans, &[1.0, 2.0, 3.0, 4.0]);
        let indexes: Vec<i32> = list.iter().map(|b| b.index).collect();
        assert_eq!(indexes, [-2, -1, 3, 4]);
        assert_eq!(spans_of(&list), [span(-2, 2), span(3, 2)]);
        assert_eq!(listed(&spans, &[1.0]).len(), 1, "too few counts");
        let huge = [span(i32::MAX, u32::MAX), span(i32::MAX, u32::MAX)];
        assert_eq!(listed(&huge, &[1.0, 2.0]).len(), 2);
    }

    #[test]
    fn compaction_removes_what_is_empty() {
        let mut histogram = FloatHistogram {
            positive_spans: vec![span(0, 3), span(0, 0), span(1, 1)],
            positive_buckets: vec![0.0, 1.0, 0.0, 2.0],
            ..FloatHistogram::default()
        };
        histogram.compact();
        assert_eq!(histogram.positive_spans, [span(1, 1), span(2, 1)]);
        assert_eq!(histogram.positive_buckets, [1.0, 2.0]);
    }

    #[test]
    fn schemas_coarsen() {
        let histogram = FloatHistogram {
            schema: 1,
            positive_spans: vec![span(1, 3)],
            positive_buckets: vec![1.0, 2.0, 4.0],
            ..FloatHistogram::default()
        };
        let coarse = histogram.to_schema(0);
        assert_eq!(coarse.positive_buckets, [3.0, 4.0]);
        assert_eq!(coarse.positive_spans, [span(1, 2)]);
        let integer = Histogram {
            counter_reset_hint: crate::CounterResetHint::Gauge,
            schema: 1,
            zero_threshold: 0.0,
            zero_count: 0,
            count: 7,
            sum: 1.0,
            positive_spans: vec![span(1, 3)],
            negative_spans: vec![],
            positive_deltas: vec![1, 1, 2],
            negative_deltas: vec![],
            custom_values: vec![],
        };
        let coarse = integer.to_schema(0);
        assert_eq!(
            (coarse.schema, &coarse.positive_deltas[..]),
            (0, &[3, 1][..])
        );
        assert_eq!(coarse.positive_spans, [span(1, 2)]);
    }
}
