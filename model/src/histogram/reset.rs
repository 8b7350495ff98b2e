//! Counter resets between two histograms, found by comparing buckets.
//!
//! Source: Prometheus `DetectReset` and `detectResetWithMismatchedCustomBounds`.

use super::algebra::common_bounds;
use super::bounds::exponential_bound;
use super::layout::{Indexed, coarsened};
use super::{CounterResetHint, FloatHistogram};

/// Whether a populated bucket of `previous` is missing in `current` or holds less there. The first
/// buckets, which the zero bucket covers, do not count.
fn side_was_reset(current: &[Indexed], previous: &[Indexed]) -> bool {
    let mut at = 0;
    for bucket in previous {
        while current.get(at).is_some_and(|c| c.index < bucket.index) {
            at += 1;
        }
        match current.get(at) {
            Some(same) if same.index == bucket.index && same.count < bucket.count => return true,
            Some(same) if same.index == bucket.index => {}
            _ if bucket.count != 0.0 => return true,
            _ => {}
        }
    }
    false
}

/// The buckets beyond the zero threshold, in a coarser or the same schema.
fn beyond_zero(list: Vec<Indexed>, schema: i32, target: i32, threshold: f64) -> Vec<Indexed> {
    let mut list = if schema > target {
        coarsened(&list, schema, target)
    } else {
        list
    };
    if threshold > 0.0 {
        let inside = list
            .iter()
            .take_while(|bucket| exponential_bound(bucket.index, target) <= threshold)
            .count();
        list.drain(..inside);
    }
    list
}

/// The counts between the bounds that both have.
fn rolled_up(list: &[Indexed], own: &[f64], bounds: &[f64]) -> Vec<f64> {
    let mut totals = vec![0.0; bounds.len() + 1];
    for bucket in list {
        let upper = usize::try_from(bucket.index).ok().and_then(|i| own.get(i));
        let target = upper.map_or(bounds.len(), |upper| bounds.partition_point(|b| b < upper));
        totals[target] += bucket.count;
    }
    totals
}

impl FloatHistogram {
    /// Whether the counter was reset between `previous` and this histogram. What the hint says
    /// counts; without a hint, or for a gauge, the counts are compared.
    #[must_use]
    pub fn detect_reset(&self, previous: &Self) -> bool {
        match self.counter_reset_hint {
            CounterResetHint::Reset => return true,
            CounterResetHint::NotReset => return false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.uses_custom_buckets() {
            if !previous.uses_custom_buckets() {
                return true;
            }
            return self.custom_was_reset(previous);
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let before = previous.widened_zero(self.zero_threshold, None);
        if before.threshold != self.zero_threshold || self.zero_count < before.count {
            return true;
        }
        let side = |list: Vec<Indexed>, schema: i32| {
            beyond_zero(list, schema, self.schema, self.zero_threshold)
        };
        side_was_reset(
            &side(self.positive(), self.schema),
            &side(previous.positive(), previous.schema),
        ) || side_was_reset(
            &side(self.negative(), self.schema),
            &side(previous.negative(), previous.schema),
        )
    }

    fn custom_was_reset(&self, previous: &Self) -> bool {
        let (current, before) = (self.positive(), previous.positive());
        if self.custom_values == previous.custom_values {
            return self.zero_count < previous.zero_count || side_was_reset(&current, &before);
        }
        let bounds = common_bounds(&self.custom_values, &previous.custom_values);
        let now = rolled_up(&current, &self.custom_values, &bounds);
        let then = rolled_up(&before, &previous.custom_values, &bounds);
        now.iter().zip(&then).any(|(now, then)| now < then)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BucketSpan, CUSTOM_BUCKETS_SCHEMA};
    use super::*;

    fn histogram(schema: i32, offset: i32, buckets: &[f64]) -> FloatHistogram {
        FloatHistogram {
            schema,
            count: 10.0,
            positive_spans: vec![BucketSpan {
                offset,
                length: buckets.len() as u32,
            }],
            positive_buckets: buckets.to_vec(),
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn any_lesser_or_missing_bucket_is_a_reset() {
        let before = histogram(0, 0, &[1.0, 0.0, 2.0]);
        assert!(!before.detect_reset(&before));
        assert!(!histogram(0, 0, &[1.0, 5.0, 3.0]).detect_reset(&before));
        assert!(histogram(0, 0, &[1.0, 5.0, 1.0]).detect_reset(&before));
        assert!(histogram(0, 1, &[5.0, 3.0]).detect_reset(&before));
        assert!(histogram(0, 0, &[1.0, 5.0]).detect_reset(&before));
        assert!(histogram(1, 0, &[1.0, 5.0, 3.0]).detect_reset(&before));
        let mut fewer = before.clone();
        fewer.count = 9.0;
        assert!(fewer.detect_reset(&before));
    }

    #[test]
    fn a_coarser_schema_is_none() {
        let before = histogram(1, 1, &[1.0, 2.0]);
        assert!(!histogram(0, 1, &[3.0]).detect_reset(&before));
        assert!(histogram(0, 1, &[2.0]).detect_reset(&before));
    }

    #[test]
    fn hints_decide() {
        let before = histogram(0, 0, &[1.0]);
        let mut after = histogram(0, 0, &[0.5]);
        after.counter_reset_hint = CounterResetHint::NotReset;
        assert!(!after.detect_reset(&before));
        let mut after = before.clone();
        after.counter_reset_hint = CounterResetHint::Reset;
        assert!(after.detect_reset(&before));
    }

    #[test]
    fn custom_bounds_compare_where_they_meet() {
        let custom = |bounds: &[f64], buckets: &[f64]| FloatHistogram {
            custom_values: bounds.to_vec(),
            ..histogram(CUSTOM_BUCKETS_SCHEMA, 0, buckets)
        };
        let before = custom(&[1.0, 2.0, 3.0], &[1.0, 1.0, 1.0]);
        assert!(!custom(&[2.0, 3.0], &[2.0, 1.0]).detect_reset(&before));
        assert!(custom(&[2.0, 3.0], &[1.0, 2.0]).detect_reset(&before));
        assert!(before.detect_reset(&histogram(0, 0, &[1.0])));
    }
}
