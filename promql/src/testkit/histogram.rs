//! Histograms of test scripts: descriptions (`schema:0 sum:5 count:4 buckets:[1 2 1]`),
//! progressions, and equality up to rounding.
//!
//! Buckets are handled as maps from index to count, apart from the engine's own arithmetic: what a
//! test expects must not come from the code under test.

use std::collections::BTreeMap;

use tenbin_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use tenbin_model::{BucketSpan, CounterResetHint, FloatHistogram};

use crate::parser::literal::number;

use super::compare::almost_equal;

/// A histogram and whether its description names a counter reset hint.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) histogram: FloatHistogram,
    pub(super) hint_given: bool,
}

/// Bucket counts by bucket index.
type Buckets = BTreeMap<i32, f64>;

/// Parses what stands between `{{` and `}}`.
pub(super) fn parse(description: &str) -> Result<Described, String> {
    let mut described = Described {
        histogram: FloatHistogram::default(),
        hint_given: false,
    };
    let (mut offset, mut negative_offset) = (0, 0);
    let mut seen: Vec<&str> = Vec::new();
    let mut rest = description.trim();
    while !rest.is_empty() {
        let (key, after) = rest
            .split_once(':')
            .ok_or_else(|| format!("histogram description incomplete: {rest:?}"))?;
        let end = if after.starts_with('[') {
            1 + after
                .find(']')
                .ok_or("missing ] in histogram description")?
        } else {
            after.find(char::is_whitespace).unwrap_or(after.len())
        };
        let (value, tail) = after.split_at(end);
        rest = tail.trim_start();
        if seen.contains(&key) {
            return Err(format!("duplicate key \"{key}\" in histogram"));
        }
        seen.push(key);
        let h = &mut described.histogram;
        match key {
            "schema" => h.schema = integer(value)?,
            "sum" => h.sum = signed(value)?,
            "count" => h.count = signed(value)?,
            "z_bucket" => h.zero_count = signed(value)?,
            "z_bucket_w" => h.zero_threshold = signed(value)?,
            "custom_values" => h.custom_values = list(value)?,
            "buckets" => h.positive_buckets = list(value)?,
            "n_buckets" => h.negative_buckets = list(value)?,
            "offset" => offset = integer(value)?,
            "n_offset" => negative_offset = integer(value)?,
            "counter_reset_hint" => {
                h.counter_reset_hint = hint(value)?;
                described.hint_given = true;
            }
            _ => return Err(format!("bad histogram descriptor found: {key:?}")),
        }
    }
    let h = &mut described.histogram;
    h.positive_spans = one_span(offset, h.positive_buckets.len());
    h.negative_spans = one_span(negative_offset, h.negative_buckets.len());
    Ok(described)
}

fn one_span(offset: i32, length: usize) -> Vec<BucketSpan> {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let span = BucketSpan { offset, length };
    if length == 0 { Vec::new() } else { vec![span] }
}

fn integer(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| format!("no integer: {text:?}"))
}

fn signed(text: &str) -> Result<f64, String> {
    match text.strip_prefix('-') {
        Some(magnitude) => number(magnitude).map(|value| -value),
        None => number(text.strip_prefix('+').unwrap_or(text)),
    }
}

fn list(text: &str) -> Result<Vec<f64>, String> {
    text.strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .ok_or_else(|| format!("no list: {text:?}"))?
        .split_whitespace()
        .map(signed)
        .collect()
}

fn hint(text: &str) -> Result<CounterResetHint, String> {
    Ok(match text {
        "unknown" => CounterResetHint::Unknown,
        "reset" => CounterResetHint::Reset,
        "not_reset" => CounterResetHint::NotReset,
        "gauge" => CounterResetHint::Gauge,
        _ => return Err(format!("bad counter reset hint: {text:?}")),
    })
}

/// The buckets of one side by index, empty ones included.
pub(super) fn buckets(spans: &[BucketSpan], counts: &[f64]) -> Buckets {
    let mut index = 0_i32;
    let mut counts = counts.iter();
    let mut buckets = Buckets::new();
    for span in spans {
        index = index.saturating_add(span.offset);
        for _ in 0..span.length {
            let Some(count) = counts.next() else {
                return buckets;
            };
            buckets.insert(index, *count);
            index = index.saturating_add(1);
        }
    }
    buckets
}

/// Spans and counts of buckets: one span for each run of indexes.
pub(super) fn spans(buckets: &Buckets) -> (Vec<BucketSpan>, Vec<f64>) {
    let mut spans: Vec<BucketSpan> = Vec::new();
    let mut end = 0_i32;
    for index in buckets.keys() {
        match spans.last_mut() {
            Some(span) if *index == end => span.length += 1,
            _ => spans.push(BucketSpan {
                offset: index - end,
                length: 1,
            }),
        }
        end = index + 1;
    }
    (spans, buckets.values().copied().collect())
}

/// `base + sign * increment`, for progressions. The base's resolution may be lower, not higher;
/// zero thresholds and custom bounds must agree.
pub(super) fn add(
    base: &FloatHistogram,
    increment: &FloatHistogram,
    sign: f64,
) -> Result<FloatHistogram, String> {
    if base.schema > increment.schema {
        return Err(format!(
            "error combining histograms: cannot merge from schema {} to {}",
            increment.schema, base.schema
        ));
    }
    let custom = |h: &FloatHistogram| h.schema == CUSTOM_BUCKETS_SCHEMA;
    if custom(base) != custom(increment)
        || base.custom_values != increment.custom_values
        || base.zero_threshold != increment.zero_threshold
    {
        return Err("error combining histograms: bucket layouts differ".to_owned());
    }
    let coarser = increment.schema - base.schema;
    let mut sum = base.clone();
    sum.counter_reset_hint = combined_hint(base.counter_reset_hint, increment.counter_reset_hint);
    sum.count += sign * increment.count;
    sum.sum += sign * increment.sum;
    sum.zero_count += sign * increment.zero_count;
    let merge = |base: Buckets, increment: &Buckets| {
        let mut merged = base;
        for (index, count) in increment {
            *merged.entry(coarser_index(*index, coarser)).or_default() += sign * count;
        }
        spans(&merged)
    };
    (sum.positive_spans, sum.positive_buckets) = merge(
        buckets(&base.positive_spans, &base.positive_buckets),
        &buckets(&increment.positive_spans, &increment.positive_buckets),
    );
    (sum.negative_spans, sum.negative_buckets) = merge(
        buckets(&base.negative_spans, &base.negative_buckets),
        &buckets(&increment.negative_spans, &increment.negative_buckets),
    );
    Ok(sum)
}

/// The bucket of a schema `steps` lower that holds bucket `index`: each step joins pairs whose
/// upper one has an even index.
fn coarser_index(index: i32, steps: i32) -> i32 {
    if steps == 0 {
        return index;
    }
    ((index - 1) >> steps.min(31)) + 1
}

fn combined_hint(a: CounterResetHint, b: CounterResetHint) -> CounterResetHint {
    use CounterResetHint::{Gauge, Unknown};
    if a == b {
        a
    } else if a == Gauge || b == Gauge {
        Gauge
    } else {
        Unknown
    }
}

/// Whether `actual` is what is expected, counts up to rounding; empty buckets do not count.
pub(super) fn matches(
    expected: &FloatHistogram,
    actual: &FloatHistogram,
    compare_hint: bool,
) -> bool {
    let sides = |h: &FloatHistogram| {
        [
            buckets(&h.positive_spans, &h.positive_buckets),
            buckets(&h.negative_spans, &h.negative_buckets),
        ]
    };
    let same_buckets = sides(expected)
        .iter()
        .zip(&sides(actual))
        .all(|(a, b)| same_side(a, b));
    let bounds =
        expected.schema != CUSTOM_BUCKETS_SCHEMA || expected.custom_values == actual.custom_values;
    expected.schema == actual.schema
        && bounds
        && expected.zero_threshold == actual.zero_threshold
        && almost_equal(expected.count, actual.count)
        && almost_equal(expected.sum, actual.sum)
        && almost_equal(expected.zero_count, actual.zero_count)
        && same_buckets
        && (!compare_hint || expected.counter_reset_hint == actual.counter_reset_hint)
}

fn same_side(a: &Buckets, b: &Buckets) -> bool {
    let populated = |side: &Buckets| -> Vec<(i32, f64)> {
        let pairs = side.iter().map(|(index, count)| (*index, *count));
        pairs.filter(|(_, count)| *count != 0.0).collect()
    };
    let (a, b) = (populated(a), populated(b));
    a.len() == b.len()
        && a.iter()
            .zip(&b)
            .all(|(a, b)| a.0 == b.0 && almost_equal(a.1, b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h(description: &str) -> FloatHistogram {
        parse(description).unwrap().histogram
    }

    #[test]
    fn descriptions_set_every_part() {
        let described = parse(
            "schema:1 sum:-5.5 count:9 z_bucket:2 z_bucket_w:0.01 buckets:[1 0 2] offset:-3 \
             n_buckets:[4] n_offset:2 counter_reset_hint:gauge",
        )
        .unwrap();
        assert!(described.hint_given);
        let h = described.histogram;
        assert_eq!((h.schema, h.sum, h.count), (1, -5.5, 9.0));
        assert_eq!(h.counter_reset_hint, CounterResetHint::Gauge);
        let positive = buckets(&h.positive_spans, &h.positive_buckets);
        assert_eq!(positive.keys().collect::<Vec<_>>(), [&-3, &-2, &-1]);
        let negative = buckets(&h.negative_spans, &h.negative_buckets);
        assert_eq!(negative.into_iter().collect::<Vec<_>>(), [(2, 4.0)]);
        assert!(parse("sum:1 sum:2").is_err());
        assert!(parse("color:1").is_err());
    }

    #[test]
    fn additions_bring_the_increment_to_the_lower_resolution() {
        let sum = add(
            &h("schema:-1 buckets:[1] offset:1"),
            &h("buckets:[2 2] offset:1"),
            1.0,
        );
        let sum = sum.unwrap();
        assert_eq!(sum.schema, -1);
        let buckets = buckets(&sum.positive_spans, &sum.positive_buckets);
        assert_eq!(buckets.into_iter().collect::<Vec<_>>(), [(1, 5.0)]);
        assert!(add(&h("schema:1"), &h("schema:0"), 1.0).is_err());
    }

    #[test]
    fn equality_ignores_empty_buckets_and_rounding() {
        let expected = h("count:3 sum:1 buckets:[1 2] offset:1");
        let same = h("count:3.0000000001 sum:1 buckets:[0 1 2 0] counter_reset_hint:gauge");
        assert!(matches(&expected, &same, false));
        assert!(!matches(&expected, &same, true));
        assert!(!matches(
            &expected,
            &h("count:3 sum:1 buckets:[1 2]"),
            false
        ));
        assert!(!matches(
            &expected,
            &h("count:3 sum:1.1 buckets:[1 2] offset:1"),
            false
        ));
    }
}
