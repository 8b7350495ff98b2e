//! Results against expectations: values up to rounding, labels and timestamps exactly.
//! Source: Prometheus 3.14 `promql/promqltest/test.go` and `util/almost`.

use std::collections::HashSet;

use tenbin_model::{FloatHistogram, Labels, is_stale};

use crate::value::{MatrixSeries, SampleValue, Value, VectorSample};

use super::histogram;
use super::script::{Eval, Expected};
use super::series::SequenceValue;

/// The relative error that results may have.
const EPSILON: f64 = 0.000_001;

/// Equality up to a relative error; every NaN equals every other, except that a staleness marker
/// equals only itself.
pub(super) fn almost_equal(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}

/// Checks a result; the error says what differs.
pub(super) fn check(eval: &Eval, value: &Value) -> Result<(), String> {
    match value {
        Value::Scalar { value, .. } => scalar(eval, *value),
        Value::String { value, .. } => match &eval.expected {
            Expected::String(expected) if expected == value => Ok(()),
            expected => Err(format!("expected {expected:?}, got the string {value:?}")),
        },
        Value::Vector(samples) => vector(eval, samples),
        Value::Matrix(series) => matrix(eval, series),
    }
}

fn scalar(eval: &Eval, actual: f64) -> Result<(), String> {
    match &eval.expected {
        Expected::Scalar(expected) if almost_equal(*expected, actual) => Ok(()),
        expected => Err(format!("expected {expected:?}, got the scalar {actual}")),
    }
}

/// The expected series, or an error that says what was expected instead of series.
fn expected_series(eval: &Eval) -> Result<&[(Labels, Vec<SequenceValue>)], String> {
    match &eval.expected {
        Expected::Series(series) => Ok(series),
        other => Err(format!("expected {other:?}, got series")),
    }
}

fn find<'e>(
    expected: &'e [(Labels, Vec<SequenceValue>)],
    labels: &Labels,
) -> Option<(usize, &'e [SequenceValue])> {
    // The last line of a series counts, as in Prometheus' map of them.
    let at = expected.iter().rposition(|(known, _)| known == labels)?;
    Some((at, &expected[at].1))
}

fn all_seen(
    expected: &[(Labels, Vec<SequenceValue>)],
    seen: &HashSet<Labels>,
) -> Result<(), String> {
    match expected.iter().find(|(labels, _)| !seen.contains(labels)) {
        Some((labels, _)) => Err(format!("expected series {labels} not found")),
        None => Ok(()),
    }
}

fn vector(eval: &Eval, samples: &[VectorSample]) -> Result<(), String> {
    let expected = expected_series(eval)?;
    let mut seen = HashSet::new();
    for (position, sample) in samples.iter().enumerate() {
        let labels = &sample.labels;
        let Some((at, values)) = find(expected, labels) else {
            let value = show(&sample.value);
            return Err(format!("unexpected series {labels} with {value}"));
        };
        if eval.ordered && at != position {
            return Err(format!(
                "{labels} is expected at position {at} but was at {position}"
            ));
        }
        let Some(value) = values.first() else {
            return Err(format!("no value is expected for {labels}"));
        };
        if !same_sample(value, &sample.value) {
            let actual = show(&sample.value);
            return Err(format!("expected {value:?} for {labels}, got {actual}"));
        }
        seen.insert(labels.clone());
    }
    all_seen(expected, &seen)
}

fn same_sample(expected: &SequenceValue, actual: &SampleValue) -> bool {
    match (expected, actual) {
        (SequenceValue::Float(expected), SampleValue::Float(actual)) => {
            almost_equal(*expected, *actual)
        }
        (
            SequenceValue::Histogram {
                histogram: expected,
                hint_given,
            },
            SampleValue::Histogram(actual),
        ) => histogram::matches(expected, actual, *hint_given),
        _ => false,
    }
}

fn show(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(value) => value.to_string(),
        SampleValue::Histogram(h) => show_histogram(h),
    }
}

fn show_histogram(h: &FloatHistogram) -> String {
    format!("{h:?}")
}

fn matrix(eval: &Eval, series: &[MatrixSeries]) -> Result<(), String> {
    if eval.ordered {
        return Err("expected an ordered vector, got a matrix".to_owned());
    }
    let expected = expected_series(eval)?;
    sorted(series)?;
    let mut seen = HashSet::new();
    for one in series {
        let labels = &one.labels;
        let Some((_, values)) = find(expected, labels) else {
            return Err(format!("unexpected series in result: {one:?}"));
        };
        matrix_points(eval, values, one).map_err(|e| format!("{labels}: {e}; got {one:?}"))?;
        seen.insert(labels.clone());
    }
    all_seen(expected, &seen)
}

/// Whether series are in label order.
pub(super) fn sorted(series: &[MatrixSeries]) -> Result<(), String> {
    match series.windows(2).find(|w| w[0].labels > w[1].labels) {
        Some(w) => Err(format!(
            "matrix is not sorted: {} comes before {}",
            w[0].labels, w[1].labels
        )),
        None => Ok(()),
    }
}

fn matrix_points(
    eval: &Eval,
    values: &[SequenceValue],
    actual: &MatrixSeries,
) -> Result<(), String> {
    let (mut floats, mut histograms) = (actual.floats.iter(), actual.histograms.iter());
    for (i, value) in values.iter().enumerate() {
        let time_ms = eval.range.start_ms + i as i64 * eval.range.step_ms;
        if time_ms > eval.range.end_ms {
            let count = values.len();
            return Err(format!("{count} points expected, more than the range has"));
        }
        match value {
            SequenceValue::Omitted => {}
            SequenceValue::Float(expected) => match floats.next() {
                Some((t, v)) if *t == time_ms && almost_equal(*expected, *v) => {}
                other => return Err(format!("expected {expected} at {time_ms}, got {other:?}")),
            },
            SequenceValue::Histogram {
                histogram: expected,
                hint_given,
            } => match histograms.next() {
                Some((t, h)) if *t == time_ms && histogram::matches(expected, h, *hint_given) => {}
                other => {
                    return Err(format!("expected {expected:?} at {time_ms}, got {other:?}"));
                }
            },
        }
    }
    match (floats.next(), histograms.next()) {
        (None, None) => Ok(()),
        (float, histogram) => Err(format!("unexpected point: {float:?} {histogram:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::script::{Command, parse};

    fn eval(lines: &str) -> Eval {
        let script = parse(lines);
        match script.into_iter().next() {
            Some(Ok(Command::Eval(eval))) => *eval,
            other => panic!("{other:?}"),
        }
    }

    fn float_sample(name: &str, value: f64) -> VectorSample {
        VectorSample {
            labels: Labels::from_pairs(&[("__name__", name)]),
            timestamp_ms: 0,
            value: SampleValue::Float(value),
        }
    }

    #[test]
    fn floats_are_equal_up_to_rounding() {
        assert!(almost_equal(1.0, 1.000_000_1));
        assert!(!almost_equal(1.0, 1.000_01));
        assert!(!almost_equal(0.0, 1e-300));
        assert!(almost_equal(0.0, -0.0));
        assert!(almost_equal(f64::NAN, -f64::NAN));
        assert!(!almost_equal(f64::NAN, tenbin_model::stale_nan()));
        assert!(almost_equal(f64::INFINITY, f64::INFINITY));
        assert!(!almost_equal(f64::MAX, -f64::MAX));
    }

    #[test]
    fn vectors_need_exactly_the_expected_series() {
        let expecting = eval("eval instant at 1m x\n a 1\n b 2");
        let (a, b) = (float_sample("a", 1.0), float_sample("b", 2.0));
        let check = |samples: &[&VectorSample]| {
            let samples = samples.iter().map(|s| (*s).clone()).collect();
            check(&expecting, &Value::Vector(samples))
        };
        assert_eq!(check(&[&b, &a]), Ok(()));
        assert!(check(&[&a]).is_err());
        assert!(check(&[&a, &b, &float_sample("c", 3.0)]).is_err());
        assert!(check(&[&a, &float_sample("b", 3.0)]).is_err());
    }

    #[test]
    fn order_counts_where_it_is_asked_for() {
        let expecting = eval("eval instant at 1m x\n expect ordered\n a 1\n b 2");
        let (a, b) = (float_sample("a", 1.0), float_sample("b", 2.0));
        assert_eq!(
            check(&expecting, &Value::Vector(vec![a.clone(), b.clone()])),
            Ok(())
        );
        assert!(check(&expecting, &Value::Vector(vec![b, a])).is_err());
    }

    #[test]
    fn matrices_need_points_at_the_expected_times() {
        let expecting = eval("eval range from 0 to 20s step 10s x\n a 1 _ 3");
        let with = |floats: &[(i64, f64)]| {
            let series = MatrixSeries {
                labels: Labels::from_pairs(&[("__name__", "a")]),
                floats: floats.to_vec(),
                histograms: Vec::new(),
            };
            check(&expecting, &Value::Matrix(vec![series]))
        };
        assert_eq!(with(&[(0, 1.0), (20_000, 3.0)]), Ok(()));
        assert!(with(&[(0, 1.0), (10_000, 3.0)]).is_err());
        assert!(with(&[(0, 1.0)]).is_err());
        assert!(with(&[(0, 1.0), (10_000, 2.0), (20_000, 3.0)]).is_err());
    }

    #[test]
    fn scalars_and_strings_are_told_from_series() {
        let scalar = |value| Value::Scalar {
            timestamp_ms: 0,
            value,
        };
        let expecting = eval("eval instant at 0 1\n 0x10");
        assert_eq!(check(&expecting, &scalar(16.0)), Ok(()));
        assert!(check(&expecting, &Value::Vector(Vec::new())).is_err());
        let expecting = eval("eval instant at 0 x");
        assert!(check(&expecting, &scalar(1.0)).is_err());
        let expecting = eval("eval instant at 0 'a'\n expect string \"a\"");
        let string = |value: &str| Value::String {
            timestamp_ms: 0,
            value: value.to_owned(),
        };
        assert_eq!(check(&expecting, &string("a")), Ok(()));
        assert!(check(&expecting, &string("b")).is_err());
    }
}
