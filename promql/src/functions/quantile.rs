//! Quantiles of plain values and of classic histograms' buckets.
//!
//! Source: Prometheus `promql/quantile.go`.

use std::cmp::Ordering;

use tenbin_model::sorting::sort_checked;
use tenbin_model::{Interrupt, StoreError};

use crate::eval::notes::ForcedMonotonicity;

/// Relative differences between neighbouring buckets up to this are taken for rounding errors.
const SMALL_DELTA: f64 = 1e-12;

/// Ascending, NaN first.
pub(crate) fn nan_first(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
    }
}

/// Sorts values, NaN first, unless that is given up.
pub(crate) fn sort_values(values: &mut [f64], interrupt: &Interrupt) -> Result<(), StoreError> {
    // As many are sorted before anybody could have noticed.
    const AT_ONCE: usize = 1 << 12;
    if values.len() <= AT_ONCE {
        values.sort_by(|a, b| nan_first(*a, *b));
        return Ok(());
    }
    sort_checked(values, |a, b| nan_first(*a, *b), || interrupt.check())
}

/// The quantile of some values, which get sorted. NaN is the smallest value.
pub(crate) fn quantile_of(
    quantile: f64,
    values: &mut [f64],
    interrupt: &Interrupt,
) -> Result<f64, StoreError> {
    sort_values(values, interrupt)?;
    Ok(quantile_of_sorted(quantile, values))
}

/// The quantile of values in order.
pub(crate) fn quantile_of_sorted(quantile: f64, values: &[f64]) -> f64 {
    if values.is_empty() || quantile.is_nan() {
        return f64::NAN;
    }
    if quantile < 0.0 {
        return f64::NEG_INFINITY;
    }
    if quantile > 1.0 {
        return f64::INFINITY;
    }
    let last = (values.len() - 1) as f64;
    let rank = quantile * last;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(last);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

/// A bucket of a classic histogram: how many observations are up to the bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) upper_bound: f64,
    pub(crate) count: f64,
}

/// Sorts buckets by bound and adds up those of equal bounds. `false` when the last bound is not
/// +Inf, so that the total is not known.
fn order(buckets: &mut Vec<Bucket>) -> bool {
    // By counts too, so that equal bounds are added up alike in whatever order they come.
    buckets.sort_by(|a, b| {
        a.upper_bound
            .partial_cmp(&b.upper_bound)
            .unwrap_or(Ordering::Equal)
            .then_with(|| a.count.total_cmp(&b.count))
    });
    if buckets
        .last()
        .is_none_or(|bucket| bucket.upper_bound != f64::INFINITY)
    {
        return false;
    }
    buckets.dedup_by(|later, kept| {
        let equal = later.upper_bound == kept.upper_bound;
        if equal {
            kept.count += later.count;
        }
        equal
    });
    true
}

/// Whether two counts are equal within the relative tolerance (Prometheus `almost.Equal`).
fn almost_equal(a: f64, b: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let sum = a.abs() + b.abs();
    let diff = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return diff < SMALL_DELTA * f64::MIN_POSITIVE;
    }
    diff / sum.min(f64::MAX) < SMALL_DELTA
}

/// Removes decreases from bucket to bucket. Tells where real ones were.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<ForcedMonotonicity> {
    let mut forced: Option<ForcedMonotonicity> = None;
    let mut previous = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        let current = bucket.count;
        if current == previous {
            continue;
        }
        if almost_equal(previous, current) {
            bucket.count = previous;
            continue;
        }
        if current < previous {
            bucket.count = previous;
            let figures = forced.get_or_insert(ForcedMonotonicity {
                min_bound: f64::INFINITY,
                max_bound: f64::NEG_INFINITY,
                max_diff: 0.0,
            });
            figures.min_bound = figures.min_bound.min(bucket.upper_bound);
            figures.max_bound = figures.max_bound.max(bucket.upper_bound);
            figures.max_diff = figures.max_diff.max(previous - current);
            continue;
        }
        previous = current;
    }
    forced
}

/// The quantile of a classic histogram, interpolated linearly inside a bucket.
pub(crate) fn bucket_quantile(
    quantile: f64,
    buckets: &mut Vec<Bucket>,
) -> (f64, Option<ForcedMonotonicity>) {
    if quantile.is_nan() {
        return (f64::NAN, None);
    }
    if quantile < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if quantile > 1.0 {
        return (f64::INFINITY, None);
    }
    if !order(buckets) {
        return (f64::NAN, None);
    }
    let forced = make_monotonic(buckets);
    if buckets.len() < 2 {
        return (f64::NAN, forced);
    }
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if observations == 0.0 {
        return (f64::NAN, forced);
    }
    let mut rank = quantile * observations;
    // NaN on either side does not count as reached.
    let reached = |bucket: &Bucket| bucket.count >= rank;
    let at = buckets[..last].partition_point(|bucket| !reached(bucket));
    if at == last {
        return (buckets[last - 1].upper_bound, forced);
    }
    if at == 0 && buckets[0].upper_bound <= 0.0 {
        return (buckets[0].upper_bound, forced);
    }
    let end = buckets[at].upper_bound;
    let (mut start, mut count) = (0.0, buckets[at].count);
    if at > 0 {
        start = buckets[at - 1].upper_bound;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (start + (end - start) * (rank / count), forced)
}

/// The share of a classic histogram's observations between two values.
pub(crate) fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !order(buckets) {
        return f64::NAN;
    }
    let count = buckets.last().map_or(0.0, |bucket| bucket.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let capped = |rank: Option<f64>| match rank {
        Some(rank) if rank > count => count,
        Some(rank) => rank,
        None => count,
    };
    let lower_rank = capped(rank_of(lower, buckets));
    let upper_rank = capped(rank_of(upper, buckets));
    (upper_rank - lower_rank) / count
}

/// How many observations are below `value`, as far as the buckets tell.
fn rank_of(value: f64, buckets: &[Bucket]) -> Option<f64> {
    let mut rank = 0.0;
    let mut low = if buckets[0].upper_bound > 0.0 {
        0.0
    } else {
        f64::NEG_INFINITY
    };
    for (at, bucket) in buckets.iter().enumerate() {
        if at > 0 {
            low = buckets[at - 1].upper_bound;
        }
        if low >= value {
            return Some(rank);
        }
        if bucket.upper_bound > value {
            // A bucket without lower end is not interpolated.
            return Some(if low == f64::NEG_INFINITY {
                bucket.count
            } else {
                rank + (bucket.count - rank) * (value - low) / (bucket.upper_bound - low)
            });
        }
        rank = bucket.count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantile(quantile: f64, values: &mut [f64]) -> f64 {
        quantile_of(quantile, values, &Interrupt::default()).unwrap()
    }

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs
            .iter()
            .map(|(upper_bound, count)| Bucket {
                upper_bound: *upper_bound,
                count: *count,
            })
            .collect()
    }

    #[test]
    fn values_blend_linearly() {
        assert_eq!(quantile(0.5, &mut [3.0, 1.0]), 2.0);
        assert_eq!(quantile(0.0, &mut [3.0, 1.0]), 1.0);
        assert_eq!(quantile(2.0, &mut [1.0]), f64::INFINITY);
        assert!(quantile(0.5, &mut []).is_nan());
    }

    #[test]
    fn buckets_interpolate() {
        let all = [(1.0, 2.0), (2.0, 4.0), (f64::INFINITY, 4.0)];
        assert_eq!(bucket_quantile(0.5, &mut buckets(&all)).0, 1.0);
        assert_eq!(bucket_quantile(0.75, &mut buckets(&all)).0, 1.5);
        assert_eq!(bucket_fraction(0.0, 1.5, &mut buckets(&all)), 0.75);
        assert!(bucket_quantile(0.5, &mut buckets(&all[..2])).0.is_nan());
    }

    #[test]
    fn decreases_are_removed_and_told() {
        let all = [(1.0, 5.0), (2.0, 3.0), (f64::INFINITY, 6.0)];
        let (_, forced) = bucket_quantile(0.5, &mut buckets(&all));
        assert_eq!(forced.map(|f| (f.min_bound, f.max_diff)), Some((2.0, 2.0)));
    }
}
