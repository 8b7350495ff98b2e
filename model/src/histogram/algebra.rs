//! Arithmetic on float histograms: scaling, addition, subtraction, plain and compensated.
//!
//! Two exponential histograms are brought to the coarser schema and to one zero threshold, two
//! custom ones to the bounds they share. Every bucket is added in the order and with the rounding
//! of Prometheus, so that results are equal to the bit. Results may have empty buckets; `compact`
//! removes them. Source: Prometheus `Add`, `KahanAdd`, `Sub`.

use super::bounds::exponential_bound;
use super::layout::{
    Indexed, coarsened, coarsened_compensated, listed_with, merged, spans_of, unlisted,
};
use super::{CounterResetHint, FloatHistogram};
use crate::kahan;

/// Two histograms whose bucket layouts cannot be brought together: exponential and custom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("histograms with exponential and custom buckets cannot be combined")]
pub struct IncompatibleSchemas;

/// What an addition or subtraction met on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Combined {
    /// One side knows of a counter reset, the other knows that there was none.
    pub reset_collision: bool,
    /// Custom bounds differed and only the common ones were kept.
    pub bounds_reconciled: bool,
}

/// The bounds that two ascending lists share.
pub(super) fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut common = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            common.push(a[i]);
            i += 1;
            j += 1;
        } else if a[i] < b[j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    common
}

/// The buckets of `other` that count: those up to the zero threshold do not, the zero bucket has
/// them already.
fn outside_zero(list: &[Indexed], schema: i32, threshold: f64, custom: bool) -> &[Indexed] {
    if custom {
        return list;
    }
    let inside = list
        .iter()
        .take_while(|bucket| exponential_bound(bucket.index, schema) <= threshold)
        .count();
    &list[inside..]
}

/// Adds one side to another, or subtracts it.
fn add_side(left: &[Indexed], right: &[Indexed], subtract: bool) -> Vec<Indexed> {
    let signed = |bucket: Indexed| {
        if subtract {
            -bucket.count
        } else {
            bucket.count
        }
    };
    merged(
        left,
        right,
        |a, b| Indexed {
            count: a.count + signed(b),
            ..a
        },
        |b| Indexed {
            count: signed(b),
            ..b
        },
    )
}

/// Adds one side to another with compensation.
fn add_side_compensated(left: &[Indexed], right: &[Indexed]) -> Vec<Indexed> {
    merged(
        left,
        right,
        |mut a, b| {
            (a.count, a.lost) = kahan::add(b.count, a.count, a.lost);
            if b.lost != 0.0 {
                (a.count, a.lost) = kahan::add(b.lost, a.count, a.lost);
            }
            a
        },
        |b| b,
    )
}

/// Two sides with custom buckets, mapped to the bounds they share, added or subtracted.
fn add_custom(
    left: (&[Indexed], &[f64]),
    right: (&[Indexed], &[f64]),
    bounds: &[f64],
    subtract: bool,
) -> Vec<Indexed> {
    let mut totals = vec![(0.0, 0.0); bounds.len() + 1];
    let target = |index: i32, source: &[f64]| {
        let own = usize::try_from(index).ok().and_then(|i| source.get(i));
        own.map_or(bounds.len(), |own| bounds.partition_point(|b| b < own))
    };
    for bucket in left.0 {
        let slot = &mut totals[target(bucket.index, left.1)];
        *slot = kahan::add(bucket.count, slot.0, slot.1);
        *slot = kahan::add(bucket.lost, slot.0, slot.1);
    }
    for bucket in right.0 {
        let slot = &mut totals[target(bucket.index, right.1)];
        let count = if subtract {
            -bucket.count
        } else {
            bucket.count
        };
        *slot = kahan::add(count, slot.0, slot.1);
    }
    totals
        .into_iter()
        .zip(0..)
        .filter(|((count, lost), _)| *count != 0.0 || *lost != 0.0)
        .map(|((count, lost), index)| Indexed { index, count, lost })
        .collect()
}

impl FloatHistogram {
    /// Multiplies all counts and the sum. A negative factor makes the histogram a gauge.
    pub fn mul(&mut self, factor: f64) {
        self.zero_count *= factor;
        self.count *= factor;
        self.sum *= factor;
        for bucket in self.buckets_mut() {
            *bucket *= factor;
        }
        if factor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    /// Divides all counts and the sum. A negative divisor makes the histogram a gauge; division by
    /// zero removes all buckets.
    pub fn div(&mut self, divisor: f64) {
        self.zero_count /= divisor;
        self.count /= divisor;
        self.sum /= divisor;
        if divisor == 0.0 {
            self.positive_spans.clear();
            self.positive_buckets.clear();
            self.negative_spans.clear();
            self.negative_buckets.clear();
            return;
        }
        for bucket in self.buckets_mut() {
            *bucket /= divisor;
        }
        if divisor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    fn buckets_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.positive_buckets
            .iter_mut()
            .chain(&mut self.negative_buckets)
    }

    /// Adds another histogram.
    ///
    /// # Errors
    /// When one has exponential and the other custom buckets.
    pub fn add(&mut self, other: &Self) -> Result<Combined, IncompatibleSchemas> {
        self.combine(other, false)
    }

    /// Subtracts another histogram. Counter reset hints combine as in an addition.
    ///
    /// # Errors
    /// When one has exponential and the other custom buckets.
    pub fn sub(&mut self, other: &Self) -> Result<Combined, IncompatibleSchemas> {
        self.combine(other, true)
    }

    fn combine(&mut self, other: &Self, subtract: bool) -> Result<Combined, IncompatibleSchemas> {
        let custom = self.uses_custom_buckets();
        if custom != other.uses_custom_buckets() {
            return Err(IncompatibleSchemas);
        }
        let mut combined = Combined {
            reset_collision: self.combine_hints(other),
            bounds_reconciled: false,
        };
        let sign = |value: f64| if subtract { -value } else { value };
        if !custom {
            let theirs = self.reconcile_zero(other, None);
            self.zero_count += sign(theirs.count);
        }
        self.count += sign(other.count);
        self.sum += sign(other.sum);
        if custom {
            combined.bounds_reconciled = self.custom_values != other.custom_values;
            let list = if combined.bounds_reconciled {
                let bounds = common_bounds(&self.custom_values, &other.custom_values);
                let left = self.positive();
                let right = other.positive();
                let list = add_custom(
                    (&left, &self.custom_values),
                    (&right, &other.custom_values),
                    &bounds,
                    subtract,
                );
                self.custom_values = bounds;
                list
            } else {
                add_side(&self.positive(), &other.positive(), subtract)
            };
            self.set_positive(&list);
            return Ok(combined);
        }
        let schema = self.schema.min(other.schema);
        let threshold = self.zero_threshold;
        let add = |left: Vec<Indexed>, right: Vec<Indexed>, own: i32, their: i32| {
            let left = if own > schema {
                coarsened(&left, own, schema)
            } else {
                left
            };
            let right = if their > schema {
                coarsened(&right, their, schema)
            } else {
                right
            };
            add_side(
                &left,
                outside_zero(&right, schema, threshold, false),
                subtract,
            )
        };
        let positive = add(self.positive(), other.positive(), self.schema, other.schema);
        let negative = add(self.negative(), other.negative(), self.schema, other.schema);
        self.schema = schema;
        self.set_positive(&positive);
        self.set_negative(&negative);
        Ok(combined)
    }

    /// Adds another histogram with compensation: `lost` takes up what rounding loses, in a
    /// histogram of the same layout, and is made at the first call.
    ///
    /// # Errors
    /// When one has exponential and the other custom buckets.
    pub fn add_compensated(
        &mut self,
        other: &Self,
        lost: &mut Option<Self>,
    ) -> Result<Combined, IncompatibleSchemas> {
        let custom = self.uses_custom_buckets();
        if custom != other.uses_custom_buckets() {
            return Err(IncompatibleSchemas);
        }
        let mut combined = Combined {
            reset_collision: self.combine_hints(other),
            bounds_reconciled: false,
        };
        let lost = lost.get_or_insert_with(|| self.without_counts());
        if !custom {
            let theirs = self.reconcile_zero(other, Some(lost));
            for part in [theirs.count, theirs.lost] {
                (self.zero_count, lost.zero_count) =
                    kahan::add(part, self.zero_count, lost.zero_count);
            }
        }
        (self.count, lost.count) = kahan::add(other.count, self.count, lost.count);
        (self.sum, lost.sum) = kahan::add(other.sum, self.sum, lost.sum);
        let left = listed_with(
            &self.positive_spans,
            &self.positive_buckets,
            &lost.positive_buckets,
        );
        if custom {
            combined.bounds_reconciled = self.custom_values != other.custom_values;
            let list = if combined.bounds_reconciled {
                let bounds = common_bounds(&self.custom_values, &other.custom_values);
                let list = add_custom(
                    (&left, &self.custom_values),
                    (&other.positive(), &other.custom_values),
                    &bounds,
                    false,
                );
                self.custom_values.clone_from(&bounds);
                lost.custom_values = bounds;
                list
            } else {
                add_side_compensated(&left, &other.positive())
            };
            self.set_sides(lost, Some(&list), None);
            return Ok(combined);
        }
        let negative = listed_with(
            &self.negative_spans,
            &self.negative_buckets,
            &lost.negative_buckets,
        );
        let schema = self.schema.min(other.schema);
        let threshold = self.zero_threshold;
        let add = |left: &[Indexed], right: Vec<Indexed>, own: i32, their: i32| {
            let coarse;
            let left = if own > schema {
                coarse = coarsened_compensated(left, own, schema);
                &coarse
            } else {
                left
            };
            let right = if their > schema {
                coarsened_compensated(&right, their, schema)
            } else {
                right
            };
            add_side_compensated(left, outside_zero(&right, schema, threshold, false))
        };
        let positive = add(&left, other.positive(), self.schema, other.schema);
        let negative = add(&negative, other.negative(), self.schema, other.schema);
        self.schema = schema;
        lost.schema = schema;
        lost.zero_threshold = self.zero_threshold;
        self.set_sides(lost, Some(&positive), Some(&negative));
        Ok(combined)
    }

    fn set_sides(
        &mut self,
        lost: &mut Self,
        positive: Option<&[Indexed]>,
        negative: Option<&[Indexed]>,
    ) {
        if let Some(list) = positive {
            (self.positive_spans, self.positive_buckets) = unlisted(list);
            lost.positive_spans = spans_of(list);
            lost.positive_buckets = list.iter().map(|bucket| bucket.lost).collect();
        }
        if let Some(list) = negative {
            (self.negative_spans, self.negative_buckets) = unlisted(list);
            lost.negative_spans = spans_of(list);
            lost.negative_buckets = list.iter().map(|bucket| bucket.lost).collect();
        }
    }

    /// The same layout with nothing in it.
    fn without_counts(&self) -> Self {
        Self {
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive_buckets: vec![0.0; self.positive_buckets.len()],
            negative_buckets: vec![0.0; self.negative_buckets.len()],
            ..self.clone()
        }
    }

    /// Combines what both know about counter resets; true when they contradict each other.
    fn combine_hints(&mut self, other: &Self) -> bool {
        use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
        let (hint, collision) = match (self.counter_reset_hint, other.counter_reset_hint) {
            (a, b) if a == b => (a, false),
            (Gauge, _) | (_, Gauge) => (Gauge, false),
            (Reset, NotReset) | (NotReset, Reset) => (Unknown, true),
            _ => (Unknown, false),
        };
        self.counter_reset_hint = hint;
        collision
    }

    /// Whether any count, the sum or a bound is infinite: a sum went beyond the range of floats.
    #[must_use]
    pub fn has_overflow(&self) -> bool {
        [self.zero_count, self.count, self.sum]
            .iter()
            .chain(&self.positive_buckets)
            .chain(&self.negative_buckets)
            .chain(&self.custom_values)
            .any(|value| value.is_infinite())
    }

    /// Whether both hold the same: bit-equal counts and sum, the same buckets, thresholds and
    /// bounds. What is known about counter resets does not count.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
        let same_side = |a: Vec<Indexed>, b: Vec<Indexed>| {
            a.len() == b.len()
                && a.iter()
                    .zip(&b)
                    .all(|(a, b)| a.index == b.index && same(a.count, b.count))
        };
        self.schema == other.schema
            && same(self.count, other.count)
            && same(self.sum, other.sum)
            && (!self.uses_custom_buckets() || self.custom_values == other.custom_values)
            && self.zero_threshold == other.zero_threshold
            && same(self.zero_count, other.zero_count)
            && same_side(self.negative(), other.negative())
            && same_side(self.positive(), other.positive())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BucketSpan, CUSTOM_BUCKETS_SCHEMA};
    use super::*;

    fn exponential(schema: i32, offset: i32, buckets: &[f64]) -> FloatHistogram {
        FloatHistogram {
            schema,
            count: buckets.iter().sum(),
            sum: 1.0,
            positive_spans: vec![BucketSpan {
                offset,
                length: buckets.len() as u32,
            }],
            positive_buckets: buckets.to_vec(),
            ..FloatHistogram::default()
        }
    }

    fn custom(bounds: &[f64], buckets: &[f64]) -> FloatHistogram {
        FloatHistogram {
            custom_values: bounds.to_vec(),
            ..exponential(CUSTOM_BUCKETS_SCHEMA, 0, buckets)
        }
    }

    #[test]
    fn addition_meets_at_the_coarser_schema() {
        let mut left = exponential(1, 1, &[1.0, 2.0]);
        let right = exponential(0, 0, &[10.0, 20.0]);
        assert_eq!(left.add(&right), Ok(Combined::default()));
        assert_eq!(left.schema, 0);
        assert_eq!(left.positive_buckets, [10.0, 23.0]);
        assert_eq!(left.count, 33.0);
        left.sub(&right).unwrap();
        left.compact();
        assert_eq!(left.positive_buckets, [3.0]);
    }

    #[test]
    fn custom_bounds_meet_at_the_common_ones() {
        let mut left = custom(&[1.0, 2.0, 5.0], &[1.0, 2.0, 3.0, 4.0]);
        let right = custom(&[2.0, 3.0], &[10.0, 20.0, 30.0]);
        let combined = left.add(&right).unwrap();
        assert!(combined.bounds_reconciled);
        assert_eq!(left.custom_values, [2.0]);
        assert_eq!(left.positive_buckets, [13.0, 57.0]);
        assert_eq!(
            left.add(&exponential(0, 0, &[1.0])),
            Err(IncompatibleSchemas)
        );
    }

    #[test]
    fn hints_combine() {
        let mut left = exponential(0, 0, &[1.0]);
        let mut right = left.clone();
        left.counter_reset_hint = CounterResetHint::Reset;
        right.counter_reset_hint = CounterResetHint::NotReset;
        assert!(left.add(&right).unwrap().reset_collision);
        assert_eq!(left.counter_reset_hint, CounterResetHint::Unknown);
        right.counter_reset_hint = CounterResetHint::Gauge;
        assert!(!left.add(&right).unwrap().reset_collision);
        assert_eq!(left.counter_reset_hint, CounterResetHint::Gauge);
    }

    #[test]
    fn compensation_finds_what_addition_loses() {
        let mut total = exponential(0, 0, &[1e100]);
        let mut lost = None;
        for value in [1.0, -1e100] {
            let mut next = exponential(0, 0, &[value]);
            next.sum = value;
            total.add_compensated(&next, &mut lost).unwrap();
        }
        total.add(&lost.unwrap()).unwrap();
        assert_eq!(total.positive_buckets, [1.0]);
        assert_eq!(total.count, 1.0);
    }

    #[test]
    fn scaling_by_nothing_removes_buckets() {
        let mut histogram = exponential(0, 0, &[2.0, 4.0]);
        histogram.mul(-0.5);
        assert_eq!(histogram.positive_buckets, [-1.0, -2.0]);
        assert_eq!(histogram.counter_reset_hint, CounterResetHint::Gauge);
        assert!(!histogram.has_overflow());
        histogram.div(0.0);
        assert!(histogram.positive_buckets.is_empty() && histogram.has_overflow());
    }
}
