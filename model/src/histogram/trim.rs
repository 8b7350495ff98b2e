//! Trimming: keeping the observations of a histogram up to or from a value.
//!
//! A bucket that the value cuts keeps a share, found by interpolation; once anything was cut, count
//! and sum are estimated anew from what is left. Source: Prometheus `TrimBuckets`.

use super::FloatHistogram;
use super::buckets::Bucket;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Observations up to the value.
    Below,
    /// Observations from the value on.
    Above,
}

/// What is left of a bucket: observations, and the value that stands for each in the sum.
type Remainder = (f64, f64);

/// A trim at work.
struct Trim {
    at: f64,
    keep: Keep,
    custom: bool,
    log2: fn(f64) -> f64,
    count: f64,
    sum: f64,
    cut: bool,
}

fn zero_if_infinite(value: f64) -> f64 {
    if value.is_infinite() { 0.0 } else { value }
}

/// The value that stands for the observations between two bounds: the arithmetic mean for custom
/// buckets, the geometric one for exponential buckets.
fn midpoint(lower: f64, upper: f64, positive: bool, linear: bool) -> f64 {
    if lower.is_infinite() {
        return if upper.is_infinite() {
            0.0
        } else if upper > 0.0 {
            upper / 2.0
        } else {
            upper
        };
    }
    if upper.is_infinite() {
        return lower;
    }
    if linear {
        return (lower + upper) / 2.0;
    }
    let mean = (lower * upper).abs().sqrt();
    if positive { mean } else { -mean }
}

impl Trim {
    /// Trims one bucket and returns the count it keeps.
    fn bucket(&mut self, bucket: &Bucket, positive: bool) -> f64 {
        let (whole, part) = match self.keep {
            Keep::Below => (bucket.upper <= self.at, bucket.lower < self.at),
            Keep::Above => (bucket.lower >= self.at, bucket.upper > self.at),
        };
        if whole {
            self.count += bucket.count;
            self.sum += midpoint(bucket.lower, bucket.upper, positive, self.custom) * bucket.count;
            return bucket.count;
        }
        if !part {
            self.cut = true;
            return 0.0;
        }
        let (kept, value) = if bucket.lower == f64::NEG_INFINITY || bucket.upper == f64::INFINITY {
            self.of_unbounded(bucket)
        } else {
            self.of_bounded(bucket, positive)
        };
        self.count += kept;
        self.sum += value * kept;
        self.cut |= kept != bucket.count;
        kept
    }

    fn of_bounded(&self, bucket: &Bucket, positive: bool) -> Remainder {
        let below = if self.at <= bucket.lower {
            0.0
        } else if self.at >= bucket.upper {
            bucket.count
        } else {
            bucket.count * bucket.fraction_below(self.at, self.custom, self.log2)
        };
        match self.keep {
            Keep::Below => (
                below,
                midpoint(bucket.lower, self.at, positive, self.custom),
            ),
            Keep::Above => (
                bucket.count - below,
                midpoint(self.at, bucket.upper, positive, self.custom),
            ),
        }
    }

    /// Of a bucket without an end: how its observations lie is not known, except that one with a
    /// positive upper bound is taken to begin at zero.
    fn of_unbounded(&self, bucket: &Bucket) -> Remainder {
        let (at, upper) = (self.at, bucket.upper);
        let starts_at_zero = upper > 0.0 && upper != f64::INFINITY;
        match (bucket.lower == f64::NEG_INFINITY, self.keep) {
            (true, Keep::Below) => {
                if at >= upper {
                    (bucket.count, 0.0)
                } else if at > 0.0 && starts_at_zero {
                    (bucket.count * at / upper, at / 2.0)
                } else if upper <= 0.0 {
                    (bucket.count, at)
                } else {
                    (0.0, zero_if_infinite(upper))
                }
            }
            (true, Keep::Above) => {
                if at <= bucket.lower {
                    (bucket.count, 0.0)
                } else if at >= 0.0 && upper > at && upper != f64::INFINITY {
                    (bucket.count * (1.0 - at / upper), (at + upper) / 2.0)
                } else {
                    (0.0, zero_if_infinite(upper))
                }
            }
            (false, Keep::Below) => (0.0, zero_if_infinite(bucket.lower)),
            (false, Keep::Above) if at >= bucket.lower => (bucket.count, at),
            (false, Keep::Above) => (0.0, zero_if_infinite(bucket.lower)),
        }
    }

    /// Of the zero bucket, which reaches to one side only if the other side is empty.
    fn of_zero(&self, zero: &Bucket, has_negative: bool, has_positive: bool) -> Remainder {
        let at = self.at;
        let upper = if has_negative && !has_positive {
            0.0
        } else {
            zero.upper
        };
        let lower = if has_positive && !has_negative {
            0.0
        } else {
            zero.lower
        };
        let all = (zero.count, (lower + upper) / 2.0);
        match self.keep {
            Keep::Below if at <= lower => (0.0, 0.0),
            Keep::Below if at >= upper => all,
            Keep::Below => (
                zero.count * ((at - lower) / (upper - lower)),
                (lower + at) / 2.0,
            ),
            Keep::Above if at <= lower => all,
            Keep::Above if at >= upper => (0.0, 0.0),
            Keep::Above => (
                zero.count * ((upper - at) / (upper - lower)),
                (at + upper) / 2.0,
            ),
        }
    }
}

impl FloatHistogram {
    /// Keeps only the observations on one side of `at`. `log2` is the logarithm that cuts
    /// exponential buckets.
    pub fn trim(&mut self, at: f64, keep: Keep, log2: fn(f64) -> f64) {
        let mut trim = Trim {
            at,
            keep,
            custom: self.uses_custom_buckets(),
            log2,
            count: 0.0,
            sum: 0.0,
            cut: false,
        };
        let (mut has_positive, mut has_negative) = (false, false);
        let positive: Vec<Bucket> = self.positive_side().collect();
        for (slot, bucket) in self.positive_buckets.iter_mut().zip(&positive) {
            if bucket.count != 0.0 {
                has_positive = true;
                *slot = trim.bucket(bucket, true);
            }
        }
        let negative: Vec<Bucket> = self.negative_side().collect();
        for (slot, bucket) in self.negative_buckets.iter_mut().zip(&negative) {
            if bucket.count != 0.0 {
                has_negative = true;
                *slot = trim.bucket(bucket, false);
            }
        }
        if self.zero_count > 0.0 {
            let (kept, value) = trim.of_zero(&self.zero_bucket(), has_negative, has_positive);
            trim.cut |= self.zero_count != kept;
            self.zero_count = kept;
            trim.sum += value * kept;
            trim.count += kept;
        }
        if trim.cut {
            self.count = trim.count;
            self.sum = trim.sum;
            self.compact();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BucketSpan, CUSTOM_BUCKETS_SCHEMA};
    use super::*;

    fn custom() -> FloatHistogram {
        FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_values: vec![10.0, 20.0],
            positive_spans: vec![BucketSpan {
                offset: 0,
                length: 3,
            }],
            positive_buckets: vec![4.0, 8.0, 2.0],
            count: 14.0,
            sum: 200.0,
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn buckets_are_cut_where_the_value_lies() {
        let mut histogram = custom();
        histogram.trim(15.0, Keep::Below, f64::log2);
        assert_eq!(histogram.positive_buckets, [4.0, 4.0]);
        assert_eq!((histogram.count, histogram.sum), (8.0, 20.0 + 50.0));
        let mut histogram = custom();
        histogram.trim(5.0, Keep::Above, f64::log2);
        assert_eq!(histogram.positive_buckets, [2.0, 8.0, 2.0]);
        assert_eq!(histogram.sum, 15.0 + 120.0 + 40.0);
    }

    #[test]
    fn nothing_changes_when_nothing_is_cut() {
        let mut histogram = custom();
        histogram.trim(f64::NEG_INFINITY, Keep::Above, f64::log2);
        assert_eq!((histogram.count, histogram.sum), (14.0, 200.0));
    }

    #[test]
    fn exponential_buckets_are_cut_on_a_logarithmic_scale() {
        let mut histogram = FloatHistogram {
            positive_spans: vec![BucketSpan {
                offset: 2,
                length: 1,
            }],
            positive_buckets: vec![4.0],
            count: 6.0,
            zero_threshold: 0.5,
            zero_count: 2.0,
            ..FloatHistogram::default()
        };
        histogram.trim(8.0_f64.sqrt(), Keep::Above, f64::log2);
        assert!((histogram.count - 2.0).abs() < 1e-12);
        assert_eq!(histogram.zero_count, 0.0);
    }
}
