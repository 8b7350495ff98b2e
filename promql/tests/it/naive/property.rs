//! The comparison: many seeds, each with its own data and queries.
//!
//! `NAIVE_CASES` sets how many seeds, `NAIVE_SEED` runs a single one.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenbin_model::{
    Labels, Matcher, Querier, Queryable, SampleBuffer, SelectHints, SeriesSet, StoreError,
    TimeRange, is_stale,
};
use tenbin_promql::ast::Expr;
use tenbin_promql::options::EngineOptions;
use tenbin_promql::value::{SampleValue, Value};
use tenbin_promql::{CancelToken, EvalError, QueryRange, evaluate, parse};

use super::generate::{self, Random};
use super::{Answer, Data, Naive, Trouble};

/// The engine's view of the data.
#[derive(Clone)]
struct Store(Arc<Data>);

struct Selected {
    data: Arc<Data>,
    found: Vec<usize>,
    presence_only: bool,
}

impl Queryable for Store {
    fn querier(&self, _range: TimeRange) -> Result<Box<dyn Querier>, StoreError> {
        Ok(Box::new(self.clone()))
    }
}

impl Querier for Store {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Box<dyn SeriesSet>, StoreError> {
        let matches = |at: &usize| {
            let labels = &self.0[*at].0;
            matchers
                .iter()
                .all(|m| m.matches(labels.value_of(m.name())))
        };
        let found = (0..self.0.len()).filter(matches).collect();
        Ok(Box::new(Selected {
            data: Arc::clone(&self.0),
            found,
            presence_only: hints.presence_only,
        }))
    }

    fn label_names(&self, _matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}

impl SeriesSet for Selected {
    fn len(&self) -> usize {
        self.found.len()
    }

    fn labels(&self, series: usize) -> Result<Labels, StoreError> {
        Ok(self.data[self.found[series]].0.clone())
    }

    fn read(
        &self,
        series: usize,
        range: TimeRange,
        out: &mut SampleBuffer,
    ) -> Result<(), StoreError> {
        out.clear();
        for (t, value) in &self.data[self.found[series]].1 {
            if range.contains(*t) {
                out.timestamps_ms.push(*t);
                // What is not looked at may be anything.
                let hidden = self.presence_only && !is_stale(*value);
                out.values.push(if hidden { f64::NAN } else { *value });
            }
        }
        Ok(())
    }
}

/// Values by labels and time, as bits; every NaN is the same.
type Points = BTreeMap<(String, i64), u64>;

fn bits(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

fn naive_points(naive: &Naive<'_>, expr: &Expr, range: &QueryRange) -> Result<Points, Trouble> {
    let mut points = Points::new();
    let mut failed = None;
    let mut t = range.start_ms;
    loop {
        match naive.eval(expr, t) {
            Ok(Answer::Scalar(value)) => {
                points.insert((Labels::empty().to_string(), t), bits(value));
            }
            Ok(Answer::Vector(all)) => {
                for (labels, value) in all {
                    points.insert((labels.to_string(), t), bits(value));
                }
            }
            Err(Trouble::Skip) => return Err(Trouble::Skip),
            Err(Trouble::Execution) => failed = Some(Trouble::Execution),
        }
        t += range.step_ms;
        if range.step_ms == 0 || t > range.end_ms {
            return failed.map_or(Ok(points), Err);
        }
    }
}

fn engine_points(value: Value) -> Points {
    let mut points = Points::new();
    match value {
        Value::Scalar {
            timestamp_ms,
            value,
        } => {
            points.insert((Labels::empty().to_string(), timestamp_ms), bits(value));
        }
        Value::Vector(all) => {
            for sample in all {
                let SampleValue::Float(value) = sample.value else {
                    panic!("a histogram from floats");
                };
                points.insert(
                    (sample.labels.to_string(), sample.timestamp_ms),
                    bits(value),
                );
            }
        }
        Value::Matrix(all) => {
            for series in all {
                for (t, value) in series.floats {
                    points.insert((series.labels.to_string(), t), bits(value));
                }
            }
        }
        Value::String { .. } => panic!("a string from numbers"),
    }
    points
}

fn differences(expected: &Points, got: &Points) -> String {
    let shown = |bits: Option<&u64>| bits.map(|b| f64::from_bits(*b));
    let keys = expected.keys().chain(got.keys());
    let different = keys.filter(|key| expected.get(key) != got.get(key));
    let lines = different.take(6).map(|key| {
        format!(
            "{key:?}: naive {:?}, engine {:?}",
            shown(expected.get(key)),
            shown(got.get(key))
        )
    });
    lines.collect::<Vec<_>>().join("\n  ")
}

/// Whether a query adds up intermediate results, whose order Prometheus does not define (it ranges
/// over a Go map), so that the last bits of sums may differ.
fn order_is_open(text: &str) -> bool {
    let adds = ["sum ", "avg ", "stddev ", "stdvar "];
    let others = ["count ", "min ", "max ", "group ", "quantile "];
    let count = |ops: &[&str]| -> usize { ops.iter().map(|op| text.matches(op).count()).sum() };
    let added = count(&adds);
    added > 0 && (added + count(&others) > 1 || text.contains(':'))
}

fn close(a: u64, b: u64) -> bool {
    let (a, b) = (f64::from_bits(a), f64::from_bits(b));
    a.to_bits() == b.to_bits() || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

fn agree(expected: &Points, got: &Points, text: &str) -> bool {
    let same_keys = || expected.keys().eq(got.keys());
    let all_close = || {
        expected
            .values()
            .zip(got.values())
            .all(|(a, b)| close(*a, *b))
    };
    expected == got || (order_is_open(text) && same_keys() && all_close())
}

/// Compares one query; `None` when it was skipped, else what differs.
fn compare(data: &Arc<Data>, text: &str, range: &QueryRange) -> Option<Result<(), String>> {
    let options = EngineOptions::default();
    let expr = match parse(text, &options.features) {
        Ok(expr) => expr,
        Err(error) => return Some(Err(format!("does not parse: {error}"))),
    };
    let naive = Naive {
        data,
        lookback_ms: options.lookback_ms,
        start_ms: range.start_ms,
        end_ms: if range.step_ms == 0 {
            range.start_ms
        } else {
            range.end_ms
        },
    };
    let expected = naive_points(&naive, &expr, range);
    if expected == Err(Trouble::Skip) {
        return None;
    }
    let store = Store(Arc::clone(data));
    let got = evaluate(
        &store,
        text,
        &expr,
        range,
        &options,
        &CancelToken::default(),
    );
    Some(match (expected, got) {
        (Ok(expected), Ok(got)) => {
            let got = engine_points(got.value);
            if agree(&expected, &got, text) {
                Ok(())
            } else {
                Err(differences(&expected, &got))
            }
        }
        (Err(_), Err(EvalError::Execution(_))) => Ok(()),
        // Subqueries are evaluated at more times than lie in any window, and functions over windows
        // fail on series that become equal even if they never meet.
        (Ok(_), Err(EvalError::Execution(error)))
            if text.contains(':')
                || (range.step_ms > 0 && error.contains("with the same labelset")) =>
        {
            return None;
        }
        (expected, got) => Err(format!(
            "naive {:?}, engine {:?}",
            expected.map(|points| points.len()),
            got.map(|result| result.value.value_type())
        )),
    })
}

#[test]
fn engine_and_naive_evaluator_agree() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match number("NAIVE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("NAIVE_CASES").unwrap_or(200),
    };
    let (mut compared, mut answered, mut failures) = (0, 0, Vec::new());
    for seed in seeds.clone() {
        let mut random = Random::new(seed);
        let data = Arc::new(generate::data(&mut random));
        for _ in 0..10 {
            let text = generate::query(&mut random);
            let start_ms = random.below(600_000) as i64;
            let step_ms = random.one(&[0, 15_000, 60_000, 7_000]);
            let range = QueryRange {
                start_ms,
                end_ms: start_ms + 12 * step_ms,
                step_ms,
            };
            match compare(&data, &text, &range) {
                None => {}
                Some(Ok(())) => {
                    compared += 1;
                    answered += 1;
                }
                Some(Err(what)) => {
                    compared += 1;
                    failures.push(format!("seed {seed}: {text}\n  {range:?}\n  {what}"));
                }
            }
        }
    }
    let shown: Vec<&str> = failures.iter().take(8).map(String::as_str).collect();
    println!("{compared} compared, {answered} equal");
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        shown.join("\n")
    );
    assert!(
        seeds.end - seeds.start == 1 || compared > 1000,
        "only {compared} compared"
    );
}
