//! The buckets of a float histogram with their bounds.
//!
//! Source: Prometheus' bucket iterators in `model/histogram/float_histogram.go`.

use super::FloatHistogram;
use super::bounds::bound;
use super::layout::indexes;

/// A bucket: its bounds and how many observations lie between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether the lower bound belongs to the bucket.
    pub lower_inclusive: bool,
    /// Whether the upper bound belongs to the bucket.
    pub upper_inclusive: bool,
    /// Observations.
    pub count: f64,
}

impl Bucket {
    /// The share of the bucket's width that lies up to `value`, which is strictly inside: linear,
    /// or on a logarithmic scale as exponential buckets are. `log2` is the logarithm to use.
    #[must_use]
    pub fn fraction_below(&self, value: f64, linear: bool, log2: fn(f64) -> f64) -> f64 {
        if linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let log_lower = log2(self.lower.abs());
        let log_upper = log2(self.upper.abs());
        let log_value = log2(value.abs());
        if value > 0.0 {
            (log_value - log_lower) / (log_upper - log_lower)
        } else {
            1.0 - ((log_value - log_upper) / (log_lower - log_upper))
        }
    }
}

impl FloatHistogram {
    /// The positive buckets, from the zero bucket up.
    pub fn positive_side(&self) -> impl Iterator<Item = Bucket> + '_ {
        let custom = self.uses_custom_buckets();
        indexes(&self.positive_spans, self.positive_buckets.len())
            .zip(&self.positive_buckets)
            .map(move |(index, count)| {
                let lower = bound(index.saturating_sub(1), self.schema, &self.custom_values);
                let upper = bound(index, self.schema, &self.custom_values);
                Bucket {
                    lower,
                    upper,
                    lower_inclusive: if custom { index == 0 } else { lower < 0.0 },
                    upper_inclusive: custom || upper > 0.0,
                    count: *count,
                }
            })
    }

    /// The negative buckets, from the zero bucket down.
    pub fn negative_side(&self) -> impl Iterator<Item = Bucket> + '_ {
        indexes(&self.negative_spans, self.negative_buckets.len())
            .zip(&self.negative_buckets)
            .map(move |(index, count)| {
                let lower = -bound(index, self.schema, &[]);
                let upper = -bound(index.saturating_sub(1), self.schema, &[]);
                Bucket {
                    lower,
                    upper,
                    lower_inclusive: lower < 0.0,
                    upper_inclusive: upper > 0.0,
                    count: *count,
                }
            })
    }

    /// The zero bucket.
    #[must_use]
    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    /// All buckets in ascending order, the zero bucket among them if it holds anything. Neighbours
    /// that reach into the zero bucket end at its threshold.
    #[must_use]
    pub fn all_buckets(&self) -> Vec<Bucket> {
        let threshold = self.zero_threshold;
        let outside_zero = |mut bucket: Bucket| {
            if bucket.upper < 0.0 && bucket.upper > -threshold {
                bucket.upper = -threshold;
            } else if bucket.lower > 0.0 && bucket.lower < threshold {
                bucket.lower = threshold;
            }
            bucket
        };
        let mut all: Vec<Bucket> = if self.uses_custom_buckets() {
            Vec::new()
        } else {
            self.negative_side().map(outside_zero).collect()
        };
        all.reverse();
        if self.zero_count > 0.0 {
            all.push(self.zero_bucket());
        }
        all.extend(self.positive_side().map(outside_zero));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BucketSpan, CUSTOM_BUCKETS_SCHEMA};
    use super::*;

    #[test]
    fn all_buckets_ascend_around_zero() {
        let spans = vec![BucketSpan {
            offset: 0,
            length: 2,
        }];
        let histogram = FloatHistogram {
            zero_threshold: 0.75,
            zero_count: 3.0,
            positive_spans: spans.clone(),
            positive_buckets: vec![1.0, 2.0],
            negative_spans: spans,
            negative_buckets: vec![4.0, 5.0],
            ..FloatHistogram::default()
        };
        let bounds: Vec<(f64, f64, f64)> = histogram
            .all_buckets()
            .iter()
            .map(|b| (b.lower, b.upper, b.count))
            .collect();
        assert_eq!(
            bounds,
            [
                (-2.0, -1.0, 5.0),
                (-1.0, -0.75, 4.0),
                (-0.75, 0.75, 3.0),
                (0.75, 1.0, 1.0),
                (1.0, 2.0, 2.0)
            ]
        );
    }

    #[test]
    fn custom_buckets_start_at_minus_infinity() {
        let histogram = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_values: vec![1.0],
            positive_spans: vec![BucketSpan {
                offset: 0,
                length: 2,
            }],
            positive_buckets: vec![1.0, 2.0],
            ..FloatHistogram::default()
        };
        let all = histogram.all_buckets();
        assert_eq!((all[0].lower, all[0].upper), (f64::NEG_INFINITY, 1.0));
        assert!(all[0].lower_inclusive && !all[1].lower_inclusive);
        assert_eq!(all[1].upper, f64::INFINITY);
    }
}
