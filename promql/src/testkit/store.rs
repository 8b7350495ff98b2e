//! A store in memory, behaving towards the engine as a real one does.
//!
//! Histograms come back with the counter reset hints that reading chunks gives them: `gauge` in
//! gauge chunks, `unknown` for the first of a counter chunk, `not_reset` for the others. Where
//! chunks begin follows from the samples (resets, layout changes, changes of kind, stale markers,
//! days), not from sizes. Where the engine says that it does not look at values, it gets others.
//! Source: Prometheus 3.14 `tsdb/chunkenc/float_histogram.go`.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tenbin_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use tenbin_model::{
    BucketSpan, CounterResetHint, FloatHistogram, Labels, Matcher, Querier, Queryable,
    SampleBuffer, SelectHints, SeriesSet, StoreError, TimeRange, is_stale,
};

use super::histogram::buckets;
use super::nhcb;
use super::script::Load;
use super::series::SequenceValue;

/// Chunks do not reach over multiples of this: the block range of Prometheus' test storage.
const CHUNK_RANGE_MS: i64 = 24 * 3_600_000;

#[derive(Debug, Clone)]
enum StoredValue {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

#[derive(Debug, Clone)]
struct StoredSample {
    time_ms: i64,
    /// 0 = unknown.
    start_time_ms: i64,
    value: StoredValue,
}

/// The histogram chunk that the next sample may go on.
#[derive(Debug, Clone)]
struct OpenChunk {
    first_ms: i64,
    gauge: bool,
    last: Arc<FloatHistogram>,
}

#[derive(Debug, Clone)]
struct StoredSeries {
    labels: Labels,
    samples: Vec<StoredSample>,
    /// `None` at the start and after a float.
    chunk: Option<OpenChunk>,
}

#[derive(Debug, Clone, Default)]
struct Data {
    series: Vec<StoredSeries>,
    index: HashMap<Labels, usize>,
}

/// The store.
#[derive(Debug, Default)]
pub struct TestStore(RwLock<Arc<Data>>);

impl TestStore {
    /// Forgets everything.
    pub fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }

    /// A store that holds what a script's load command says.
    #[cfg(test)]
    pub(crate) fn of(script: &str) -> Self {
        let store = Self::default();
        match super::script::parse(script).remove(0) {
            Ok(super::script::Command::Load(load)) => store.load(&load).expect("samples in order"),
            other => panic!("{other:?}"),
        }
        store
    }

    fn snapshot(&self) -> Arc<Data> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds the samples of a load command, or none of them.
    pub(super) fn load(&self, load: &Load) -> Result<(), String> {
        let mut data = (*self.snapshot()).clone();
        for series in &load.series {
            for (position, value) in series.values.iter().enumerate() {
                let time_ms = position as i64 * load.step_ms;
                let value = match value {
                    SequenceValue::Omitted => continue,
                    SequenceValue::Float(value) => StoredValue::Float(*value),
                    SequenceValue::Histogram { histogram, .. } => {
                        StoredValue::Histogram(Arc::clone(histogram))
                    }
                };
                let offset = series.start_offsets.get(position).copied().flatten();
                data.append(
                    &series.labels,
                    StoredSample {
                        time_ms,
                        start_time_ms: offset.map_or(0, |offset| time_ms + offset),
                        value,
                    },
                )?;
            }
        }
        if load.with_nhcb {
            for (labels, histograms) in nhcb::convert(load)? {
                for (position, histogram) in histograms {
                    data.append(
                        &labels,
                        StoredSample {
                            time_ms: position as i64 * load.step_ms,
                            start_time_ms: 0,
                            value: StoredValue::Histogram(histogram),
                        },
                    )?;
                }
            }
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(data);
        Ok(())
    }
}

impl Data {
    fn append(&mut self, labels: &Labels, mut sample: StoredSample) -> Result<(), String> {
        let next = self.series.len();
        let at = *self.index.entry(labels.clone()).or_insert(next);
        if at == next {
            self.series.push(StoredSeries {
                labels: labels.clone(),
                samples: Vec::new(),
                chunk: None,
            });
        }
        let series = &mut self.series[at];
        if let Some(last) = series.samples.last()
            && last.time_ms >= sample.time_ms
        {
            return Err(format!(
                "out of order sample for {labels} at {} ms",
                sample.time_ms
            ));
        }
        match &mut sample.value {
            StoredValue::Float(_) => series.chunk = None,
            StoredValue::Histogram(histogram) => {
                let hint = series.hint_for(sample.time_ms, histogram);
                let mut stored = (**histogram).clone();
                stored.counter_reset_hint = hint;
                *histogram = Arc::new(stored);
            }
        }
        series.samples.push(sample);
        Ok(())
    }
}

impl StoredSeries {
    /// Appends a histogram to the open chunk or begins another; the hint that reading will give.
    fn hint_for(&mut self, time_ms: i64, histogram: &Arc<FloatHistogram>) -> CounterResetHint {
        let gauge = histogram.counter_reset_hint == CounterResetHint::Gauge;
        let goes_on = self.chunk.as_ref().is_some_and(|chunk| {
            chunk.gauge == gauge
                && time_ms.div_euclid(CHUNK_RANGE_MS) == chunk.first_ms.div_euclid(CHUNK_RANGE_MS)
                && appendable(&chunk.last, histogram, gauge)
        });
        match &mut self.chunk {
            Some(chunk) if goes_on => chunk.last = Arc::clone(histogram),
            chunk => {
                *chunk = Some(OpenChunk {
                    first_ms: time_ms,
                    gauge,
                    last: Arc::clone(histogram),
                });
            }
        }
        if gauge {
            CounterResetHint::Gauge
        } else if goes_on {
            CounterResetHint::NotReset
        } else {
            CounterResetHint::Unknown
        }
    }
}

/// Whether a chunk whose newest sample is `last` takes `next`.
fn appendable(last: &FloatHistogram, next: &FloatHistogram, gauge: bool) -> bool {
    if next.counter_reset_hint == CounterResetHint::Reset {
        return false;
    }
    if next.is_stale() {
        return true;
    }
    let same_layout = last.schema == next.schema
        && last.zero_threshold == next.zero_threshold
        && (next.schema != CUSTOM_BUCKETS_SCHEMA || last.custom_values == next.custom_values);
    if last.is_stale() || !same_layout {
        return false;
    }
    let grows =
        |last_spans: &[BucketSpan], last_counts: &[f64], spans: &[BucketSpan], counts: &[f64]| {
            let next = buckets(spans, counts);
            // A missing bucket counts as empty, and so does one that was empty before.
            buckets(last_spans, last_counts)
                .iter()
                .all(|(index, count)| *count <= next.get(index).copied().unwrap_or(0.0))
        };
    gauge
        || (last.count <= next.count
            && last.zero_count <= next.zero_count
            && grows(
                &last.positive_spans,
                &last.positive_buckets,
                &next.positive_spans,
                &next.positive_buckets,
            )
            && grows(
                &last.negative_spans,
                &last.negative_buckets,
                &next.negative_spans,
                &next.negative_buckets,
            ))
}

impl Queryable for TestStore {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier>, StoreError> {
        Ok(Box::new(Snapshot {
            data: self.snapshot(),
            range,
        }))
    }
}

struct Snapshot {
    data: Arc<Data>,
    range: TimeRange,
}

impl Snapshot {
    fn matching(&self, matchers: &[Matcher]) -> Vec<usize> {
        let satisfies = |series: &StoredSeries| {
            matchers
                .iter()
                .all(|m| m.matches(series.labels.value_of(m.name())))
        };
        let has_samples = |series: &StoredSeries| {
            let mut samples = series.samples.iter();
            samples.any(|sample| self.range.contains(sample.time_ms))
        };
        let all = self.data.series.iter().enumerate();
        all.filter(|(_, series)| satisfies(series) && has_samples(series))
            .map(|(at, _)| at)
            .collect()
    }

    /// The sorted, unique strings that `pick` finds in the labels of matching series.
    fn distinct<'s>(
        &'s self,
        matchers: &[Matcher],
        pick: impl Fn(&'s Labels) -> Vec<&'s str>,
    ) -> Vec<String> {
        let found = self.matching(matchers);
        let all = found
            .iter()
            .flat_map(|at| pick(&self.data.series[*at].labels));
        let set: std::collections::BTreeSet<&str> = all.collect();
        set.into_iter().map(str::to_owned).collect()
    }
}

impl Querier for Snapshot {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Box<dyn SeriesSet>, StoreError> {
        let mut found = self.matching(matchers);
        if hints.sorted {
            found.sort_by(|a, b| {
                self.data.series[*a]
                    .labels
                    .cmp(&self.data.series[*b].labels)
            });
        }
        if hints.limit > 0 {
            found.truncate(hints.limit);
        }
        Ok(Box::new(Selection {
            data: Arc::clone(&self.data),
            found,
            range: self.range,
            presence_only: hints.presence_only,
        }))
    }

    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        Ok(self.distinct(matchers, |labels| {
            labels.iter().map(|(name, _)| name).collect()
        }))
    }

    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        Ok(self.distinct(matchers, |labels| labels.get(name).into_iter().collect()))
    }
}

struct Selection {
    data: Arc<Data>,
    found: Vec<usize>,
    range: TimeRange,
    presence_only: bool,
}

impl SeriesSet for Selection {
    fn len(&self) -> usize {
        self.found.len()
    }

    fn labels(&self, series: usize) -> Result<Labels, StoreError> {
        Ok(self.data.series[self.found[series]].labels.clone())
    }

    fn read(
        &self,
        series: usize,
        range: TimeRange,
        out: &mut SampleBuffer,
    ) -> Result<(), StoreError> {
        out.clear();
        let wanted = |sample: &&StoredSample| {
            range.contains(sample.time_ms) && self.range.contains(sample.time_ms)
        };
        for sample in self.data.series[self.found[series]]
            .samples
            .iter()
            .filter(wanted)
        {
            match &sample.value {
                StoredValue::Float(value) => {
                    out.timestamps_ms.push(sample.time_ms);
                    out.values.push(*value);
                    out.start_timestamps_ms.push(sample.start_time_ms);
                }
                StoredValue::Histogram(histogram) => {
                    out.histogram_timestamps_ms.push(sample.time_ms);
                    out.histograms.push(Arc::clone(histogram));
                    out.histogram_start_timestamps_ms.push(sample.start_time_ms);
                }
            }
        }
        if self.presence_only {
            // Whoever looks at the values after all is to be found out.
            for value in out.values.iter_mut().filter(|value| !is_stale(**value)) {
                *value = -0.77;
            }
        }
        // Unknown throughout is said by an empty list.
        if out.start_timestamps_ms.iter().all(|t| *t == 0) {
            out.start_timestamps_ms.clear();
        }
        if out.histogram_start_timestamps_ms.iter().all(|t| *t == 0) {
            out.histogram_start_timestamps_ms.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::script::{Command, parse};

    fn store(scripts: &[&str]) -> Result<TestStore, String> {
        let store = TestStore::default();
        for script in scripts {
            match parse(script).remove(0) {
                Ok(Command::Load(load)) => store.load(&load)?,
                other => panic!("{other:?}"),
            }
        }
        Ok(store)
    }

    fn read(store: &TestStore, range: TimeRange) -> SampleBuffer {
        let querier = store.querier(range).unwrap();
        let set = querier.select(&[], &SelectHints::default()).unwrap();
        let mut out = SampleBuffer::default();
        set.read(0, TimeRange::ALL, &mut out).unwrap();
        out
    }

    fn hints(values: &str) -> Vec<CounterResetHint> {
        let store = store(&[&format!("load 1m\n h {values}")]).unwrap();
        let out = read(&store, TimeRange::ALL);
        out.histograms
            .iter()
            .map(|h| h.counter_reset_hint)
            .collect()
    }

    #[test]
    fn hints_are_those_of_chunks() {
        use CounterResetHint::{Gauge, NotReset, Unknown};
        assert_eq!(
            hints("{{count:1 buckets:[1]}} {{count:2 buckets:[1 1]}} {{count:2 buckets:[2]}}"),
            [Unknown, NotReset, Unknown],
            "a new bucket goes on, a vanished one is a reset"
        );
        assert_eq!(hints("{{count:3}} {{count:2}}"), [Unknown, Unknown]);
        assert_eq!(
            hints("{{count:1}} {{count:2 schema:1}}"),
            [Unknown, Unknown]
        );
        assert_eq!(hints("{{count:1}} 5 {{count:2}}"), [Unknown, Unknown]);
        assert_eq!(
            hints("{{count:1}} {{count:2 counter_reset_hint:reset}} {{count:3}}"),
            [Unknown, Unknown, NotReset]
        );
        assert_eq!(
            hints("{{count:3 counter_reset_hint:gauge}}x1 {{count:4}}x1"),
            [Gauge, Gauge, Unknown, NotReset]
        );
    }

    #[test]
    fn selections_honour_range_matchers_and_order() {
        let store = store(&["load 1m\n b 1 2 3\n a{x=\"1\"} _ 5\n a{x=\"2\"} 7"]).unwrap();
        let range = TimeRange::new(60_000, 120_000);
        let querier = store.querier(range).unwrap();
        let hints = SelectHints {
            sorted: true,
            ..SelectHints::default()
        };
        let set = querier.select(&[], &hints).unwrap();
        let names: Vec<String> = (0..set.len())
            .map(|i| set.labels(i).unwrap().to_string())
            .collect();
        assert_eq!(names, ["{__name__=\"a\", x=\"1\"}", "{__name__=\"b\"}"]);
        assert_eq!(read(&store, range).values, [2.0, 3.0]);
        let a = [Matcher::equal("__name__", "a")];
        let everything = store.querier(TimeRange::ALL).unwrap();
        assert_eq!(everything.label_values("x", &a).unwrap(), ["1", "2"]);
        assert_eq!(everything.label_names(&a).unwrap(), ["__name__", "x"]);
    }

    #[test]
    fn loads_add_up_and_refuse_old_samples() {
        assert!(store(&["load 1m\n a 1 2", "load 1m\n a _ _ 3"]).is_ok());
        assert!(store(&["load 1m\n a 1 2", "load 1m\n a 1 _ 3"]).is_err());
        let with_start = store(&["load 1m\n a@st _ -30s\n a 1 2"]).unwrap();
        assert_eq!(
            read(&with_start, TimeRange::ALL).start_timestamps_ms,
            [0, 30_000]
        );
    }
}
