//! Answers with a result cache beside answers without: random queries whose range moves, over data that
//! grows, gets late samples and loses some. They must be equal to the bit.
//!
//! `CACHED_CASES` sets how many seeds, `CACHED_SEED` runs a single one.

use std::sync::{Arc, Mutex};

use tenbin_model::{
    Labels, Matcher, Querier, Queryable, SampleBuffer, SelectHints, SeriesSet, StoreError,
    TimeRange,
};
use tenbin_promql::options::EngineOptions;
use tenbin_promql::value::{QueryResult, Value};
use tenbin_promql::{CancelToken, EvalError, QueryRange, ResultCache, evaluate, parse};

use super::generate::{self, Random};
use super::{Data, Samples};

/// Data that changes and counts versions.
struct Store(Mutex<State>);

#[derive(Clone)]
struct State {
    data: Arc<Data>,
    /// The smallest time changed by each version.
    changes: Arc<Vec<i64>>,
}

struct Snapshot {
    state: State,
    range: TimeRange,
}

struct Selected {
    data: Arc<Data>,
    found: Vec<usize>,
    range: TimeRange,
}

impl Store {
    fn change(&self, series: usize, change: impl FnOnce(&mut Samples) -> i64) {
        let mut state = self.0.lock().unwrap();
        let mut data = (*state.data).clone();
        let at_ms = change(&mut data[series].1);
        state.data = Arc::new(data);
        Arc::make_mut(&mut state.changes).push(at_ms);
    }
}

impl State {
    fn unchanged_before(&self, version: u64) -> i64 {
        let later = self.changes.get(version as usize..).unwrap();
        later.iter().copied().min().unwrap_or(i64::MAX)
    }
}

impl Queryable for Store {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier>, StoreError> {
        let state = self.0.lock().unwrap().clone();
        Ok(Box::new(Snapshot { state, range }))
    }

    fn unchanged_before(&self, version: u64) -> i64 {
        self.0.lock().unwrap().unchanged_before(version)
    }
}

impl Querier for Snapshot {
    fn select(
        &self,
        matchers: &[Matcher],
        _hints: &SelectHints,
    ) -> Result<Box<dyn SeriesSet>, StoreError> {
        let data = Arc::clone(&self.state.data);
        let found = (0..data.len()).filter(|at| {
            let (labels, samples) = &data[*at];
            let matches = |m: &Matcher| m.matches(labels.value_of(m.name()));
            // A real store leaves out what has nothing in the range.
            matchers.iter().all(matches) && samples.iter().any(|(t, _)| self.range.contains(*t))
        });
        Ok(Box::new(Selected {
            found: found.collect(),
            range: self.range,
            data: Arc::clone(&data),
        }))
    }

    fn label_names(&self, _matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn version(&self) -> Option<u64> {
        Some(self.state.changes.len() as u64)
    }

    fn unchanged_before(&self, version: u64) -> i64 {
        self.state.unchanged_before(version)
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
            if range.contains(*t) && self.range.contains(*t) {
                out.timestamps_ms.push(*t);
                out.values.push(*value);
            }
        }
        Ok(())
    }
}

/// All that an answer shows, exactly; every NaN is written alike.
fn shown(result: Result<QueryResult, EvalError>) -> String {
    match result {
        Err(error) => format!("{error}"),
        Ok(result) => {
            let Value::Matrix(all) = result.value else {
                panic!("not a matrix");
            };
            let lines = all.iter().map(|series| {
                assert!(series.histograms.is_empty());
                let points = series.floats.iter().map(|(t, v)| {
                    let bits = if v.is_nan() { f64::NAN } else { *v }.to_bits();
                    format!("{t}:{bits:x}")
                });
                format!(
                    "{}: {}",
                    series.labels,
                    points.collect::<Vec<_>>().join(" ")
                )
            });
            let lines = lines.collect::<Vec<_>>().join("\n");
            format!("{lines}\n{:?}", result.annotations)
        }
    }
}

/// One change: a sample behind all others, a late one, or a deletion.
fn change(store: &Store, random: &mut Random) {
    let state = store.0.lock().unwrap().clone();
    if state.data.is_empty() {
        return;
    }
    let series = random.below(state.data.len());
    let value = random.one(&[0.0, 1.0, 2.5, -0.0, 1e300, f64::NAN, 7.25]);
    let kind = random.below(12);
    let at_ms = random.below(1_500_000) as i64;
    store.change(series, |samples| match kind {
        0 => {
            samples.retain(|(t, _)| *t < at_ms);
            at_ms
        }
        1 | 2 => {
            if samples.iter().all(|(t, _)| *t != at_ms) {
                samples.push((at_ms, value));
                samples.sort_by_key(|(t, _)| *t);
            }
            at_ms
        }
        _ => {
            let newest = samples.last().map_or(0, |(t, _)| *t);
            samples.push((newest + 15_000, value));
            newest + 15_000
        }
    });
}

/// Queries like those of dashboards, beside the random ones.
const USUAL: &[&str] = &[
    "sum by (a) (rate(c_total[5m]))",
    "topk(2, m)",
    "histogram_quantile(0.9, sum by (a, b) (m))",
    "sum(rate(c_total[2m])) / sum(m)",
    "avg(m) or vector(0)",
    "max_over_time(sum(m)[5m:30s])",
    "m offset -1m",
    "count(m) * on () group_left () sum(n)",
    "absent(m{a=\"1\"})",
    "timestamp(m) - time()",
];

#[test]
fn answers_with_and_without_a_cache_are_equal() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        text.parse::<u64>().ok()
    };
    let seeds = match number("CACHED_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CACHED_CASES").unwrap_or(150),
    };
    let options = EngineOptions::default();
    let cancel = CancelToken::default();
    let (mut hits, mut misses, mut failures) = (0, 0, Vec::new());
    for seed in seeds {
        let mut random = Random::new(seed);
        let store = Store(Mutex::new(State {
            data: Arc::new(generate::data(&mut random)),
            changes: Arc::default(),
        }));
        let cache = ResultCache::new(random.one(&[1 << 20, 1 << 20, 40_000]));
        let texts: Vec<String> = (0..6)
            .map(|at| match at {
                0 => random.one(USUAL).to_owned(),
                _ => generate::query(&mut random),
            })
            .collect();
        let step_ms = random.one(&[15_000, 60_000, 7_000]);
        let mut start_ms = random.below(200_000) as i64;
        for _ in 0..12 {
            for text in &texts {
                let expr = parse(text, &options.features).unwrap();
                let steps = 4 + random.below(40) as i64;
                let range = QueryRange {
                    start_ms,
                    end_ms: start_ms + steps * step_ms + random.below(7_000) as i64,
                    step_ms,
                };
                let plain = evaluate(&store, text, &expr, &range, &options, &cancel);
                let cached = cache.evaluate(&store, text, &expr, &range, &options, &cancel);
                let (plain, cached) = (shown(plain), shown(cached));
                if plain != cached {
                    failures.push(format!(
                        "seed {seed}: {text} {range:?}\n-- plain\n{plain}\n-- cached\n{cached}"
                    ));
                }
            }
            for _ in 0..random.below(3) {
                change(&store, &mut random);
            }
            start_ms += step_ms * random.one(&[0, 0, 1, 1, 2, -1]);
        }
        let counts = cache.counts();
        assert!(counts.bytes <= 1 << 20);
        hits += counts.hits;
        misses += counts.misses;
    }
    println!("{hits} hits, {misses} misses");
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        failures[..failures.len().min(3)].join("\n")
    );
    assert!(
        number("CACHED_SEED").is_some() || hits > 1000,
        "{hits} hits"
    );
}
