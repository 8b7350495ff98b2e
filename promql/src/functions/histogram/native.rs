//! Figures of one native histogram: quantile, fraction, variance.
//!
//! Inside a bucket observations are taken to lie evenly on a logarithmic scale; evenly on a linear
//! one in the zero bucket and in custom buckets. Source: Prometheus `HistogramQuantile` and
//! `HistogramFraction` in `promql/quantile.go`, `histogramVariance` in `promql/functions.go`.

use tenbin_model::histogram::Bucket;
use tenbin_model::{FloatHistogram, kahan};

use crate::ast::Span;
use crate::eval::notes::Notes;
use crate::functions::math::{exp2, log2};

/// Where remarks on a histogram go.
pub(super) struct Remarks<'r> {
    pub(super) notes: &'r mut Notes,
    pub(super) metric: &'r str,
    pub(super) span: Span,
}

/// Whether the zero bucket reaches only up (or only down), since the other side is empty.
fn one_sided(histogram: &FloatHistogram, bucket: &mut Bucket) {
    let (negative, positive) = (
        !histogram.negative_buckets.is_empty(),
        !histogram.positive_buckets.is_empty(),
    );
    if !negative && positive {
        bucket.lower = 0.0;
    } else if !positive && negative {
        bucket.upper = 0.0;
    }
}

/// Walks to the filled bucket at which the counts so far reach `rank`, or to the last one. Returns
/// the bucket and the counts up to its end.
fn reach<'b>(buckets: &mut impl Iterator<Item = &'b Bucket>, rank: f64) -> (Bucket, f64) {
    let mut bucket = Bucket {
        lower: 0.0,
        upper: 0.0,
        lower_inclusive: false,
        upper_inclusive: false,
        count: 0.0,
    };
    let mut count = 0.0;
    for next in buckets {
        bucket = *next;
        if bucket.count == 0.0 {
            continue;
        }
        count += bucket.count;
        if count >= rank {
            break;
        }
    }
    (bucket, count)
}

/// The quantile of a histogram.
pub(super) fn quantile(
    quantile: f64,
    histogram: &FloatHistogram,
    remarks: &mut Remarks<'_>,
) -> f64 {
    if quantile < 0.0 {
        return f64::NEG_INFINITY;
    }
    if quantile > 1.0 {
        return f64::INFINITY;
    }
    if histogram.count == 0.0 || quantile.is_nan() {
        return f64::NAN;
    }
    let has_nan = histogram.sum.is_nan();
    // From the nearer end; observations of NaN count as above all buckets, so with them from below.
    let ascending = has_nan || quantile < 0.5;
    let mut buckets = histogram.all_buckets();
    if !ascending {
        buckets.reverse();
    }
    let mut rank = if ascending {
        quantile * histogram.count
    } else {
        (1.0 - quantile) * histogram.count
    };
    let mut rest = buckets.iter();
    let (mut bucket, mut count) = reach(&mut rest, rank);
    let custom = histogram.uses_custom_buckets();
    if !custom && bucket.lower < 0.0 && bucket.upper > 0.0 {
        one_sided(histogram, &mut bucket);
    } else if custom {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return bucket.upper;
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return bucket.lower;
        }
    }
    if count > histogram.count {
        count = histogram.count;
    }
    if count < rank {
        if has_nan {
            remarks.notes.quantile_is_nan(remarks.metric, remarks.span);
            return f64::NAN;
        }
        return bucket.upper;
    }
    if ascending {
        rank -= count - bucket.count;
    } else {
        rank = count - rank;
    }
    if has_nan {
        // Prometheus goes on with the bucket that it saw last.
        for next in rest {
            bucket = *next;
            count += bucket.count;
        }
        if count < histogram.count {
            remarks
                .notes
                .quantile_is_skewed(remarks.metric, remarks.span);
        }
    }
    interpolate(&bucket, rank / bucket.count, custom)
}

/// The value at a fraction of the way through a bucket.
fn interpolate(bucket: &Bucket, fraction: f64, custom: bool) -> f64 {
    if custom || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return bucket.lower + (bucket.upper - bucket.lower) * fraction;
    }
    let log_lower = log2(bucket.lower.abs());
    let log_upper = log2(bucket.upper.abs());
    if bucket.lower > 0.0 {
        return exp2(log_lower + (log_upper - log_lower) * fraction);
    }
    -exp2(log_upper + (log_lower - log_upper) * (1.0 - fraction))
}

/// The share of observations between two values.
pub(super) fn fraction(
    lower: f64,
    upper: f64,
    histogram: &FloatHistogram,
    remarks: &mut Remarks<'_>,
) -> f64 {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let custom = histogram.uses_custom_buckets();
    let buckets = histogram.all_buckets();
    let (mut count, mut rank) = (0.0, 0.0);
    let (mut lower_rank, mut upper_rank) = (None, None);
    let mut rest = buckets.iter();
    for next in rest.by_ref() {
        let mut bucket = *next;
        count += bucket.count;
        let around_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if around_zero {
            one_sided(histogram, &mut bucket);
        }
        let inside = |value: f64| {
            if custom || around_zero {
                // A bucket without lower end is not divided.
                if bucket.lower == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + bucket.count * bucket.fraction_below(value, true, log2)
                }
            } else {
                rank + bucket.count * bucket.fraction_below(value, false, log2)
            }
        };
        for (value, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_some() {
                continue;
            }
            if bucket.lower >= value {
                *found = Some(rank);
            } else if bucket.lower < value && bucket.upper > value {
                *found = Some(inside(value));
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank += bucket.count;
    }
    if histogram.sum.is_nan() {
        for bucket in rest {
            count += bucket.count;
        }
        if count < histogram.count {
            remarks
                .notes
                .fraction_excludes_nan(remarks.metric, remarks.span);
        }
    } else {
        count = histogram.count;
    }
    let capped = |rank: Option<f64>| match rank {
        Some(rank) if rank > count => count,
        Some(rank) => rank,
        None => count,
    };
    (capped(upper_rank) - capped(lower_rank)) / histogram.count
}

/// The variance of the observations, estimated from the buckets.
pub(super) fn variance(histogram: &FloatHistogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let (mut variance, mut lost) = (0.0, 0.0);
    for bucket in histogram.all_buckets() {
        if bucket.count == 0.0 {
            continue;
        }
        let value = if histogram.uses_custom_buckets() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let mean = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -mean } else { mean }
        };
        let delta = value - mean;
        (variance, lost) = kahan::add(bucket.count * delta * delta, variance, lost);
    }
    (variance + lost) / histogram.count
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenbin_model::BucketSpan;

    fn histogram() -> FloatHistogram {
        FloatHistogram {
            count: 10.0,
            sum: 20.0,
            zero_threshold: 0.5,
            zero_count: 2.0,
            positive_spans: vec![BucketSpan {
                offset: 1,
                length: 2,
            }],
            positive_buckets: vec![4.0, 4.0],
            ..FloatHistogram::default()
        }
    }

    fn with_remarks<T>(f: impl FnOnce(&mut Remarks<'_>) -> T) -> T {
        f(&mut Remarks {
            notes: &mut Notes::default(),
            metric: "",
            span: Span::default(),
        })
    }

    #[test]
    fn quantiles_interpolate_on_a_logarithmic_scale() {
        let at = |q| with_remarks(|r| quantile(q, &histogram(), r));
        assert_eq!(at(0.1), 0.25);
        assert!((at(0.4) - 2.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(at(1.0), 4.0);
        assert_eq!(at(1.1), f64::INFINITY);
    }

    #[test]
    fn fractions_are_the_inverse() {
        let between = |a, b| with_remarks(|r| fraction(a, b, &histogram(), r));
        assert_eq!(between(f64::NEG_INFINITY, f64::INFINITY), 1.0);
        assert!((between(f64::NEG_INFINITY, 2.0_f64.sqrt()) - 0.4).abs() < 1e-12);
        assert_eq!(between(0.25, 2.0), 0.5);
    }
}
