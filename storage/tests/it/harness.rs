//! A database on a simulated disk, requests made by hand, and the oracle.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tenbin_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use tenbin_model::write::{
    AppendReport, Exemplar, HistogramSample, HistogramValue, InvalidLabels, MetadataEntry,
    MetricType, WriteRequest, canonicalise,
};
use tenbin_model::{
    BucketSpan, CounterResetHint, FloatHistogram, Histogram, Labels, MatchOp, Matcher, Queryable,
    RawSamples, Sample, SampleBuffer, SelectHints, StoreError, TimeRange,
};
use tenbin_storage::vfs::SimVfs;
use tenbin_storage::{Clock, Commit, Db, OpenError, Options, ReplayProgress};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Where the tests begin in time.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

pub(crate) struct TestClock(pub(crate) AtomicI64);

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) type Pairs = Vec<(String, String)>;

/// A request as a list of series with samples, and the histograms of the first entries.
#[derive(Default, Clone)]
pub(crate) struct Request(
    pub(crate) Vec<(Pairs, Vec<Sample>)>,
    pub(crate) Vec<Vec<HistogramSample>>,
    pub(crate) Side,
);

/// Exemplars as `(entry, trace id, value, timestamp)`, and help texts by metric.
#[derive(Default, Clone)]
pub(crate) struct Side {
    pub(crate) exemplars: Vec<(usize, String, f64, i64)>,
    pub(crate) metadata: Vec<(String, String)>,
}

impl Request {
    /// Adds an entry with a histogram.
    pub(crate) fn push_histogram(&mut self, pairs: Pairs, sample: HistogramSample) {
        self.0.push((pairs, Vec::new()));
        self.1.resize(self.0.len(), Vec::new());
        self.1[self.0.len() - 1].push(sample);
    }
}

impl WriteRequest for Request {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn identity_hash(&self, entry: usize, seed: u64) -> u64 {
        xxh3_64_with_seed(format!("{:?}", self.0[entry].0).as_bytes(), seed)
    }

    fn labels<'r>(
        &'r self,
        entry: usize,
        out: &mut Vec<(&'r str, &'r str)>,
    ) -> Result<(), InvalidLabels> {
        out.clear();
        out.extend(
            self.0[entry]
                .0
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str())),
        );
        canonicalise(out)
    }

    fn samples(&self, entry: usize) -> &[Sample] {
        &self.0[entry].1
    }

    fn histograms(&self, entry: usize) -> &[HistogramSample] {
        self.1.get(entry).map_or(&[], Vec::as_slice)
    }

    fn exemplar_count(&self, entry: usize) -> usize {
        self.2.exemplars.iter().filter(|e| e.0 == entry).count()
    }

    fn exemplars<'r>(&'r self, entry: usize, out: &mut Vec<Result<Exemplar<'r>, InvalidLabels>>) {
        out.clear();
        let own = self.2.exemplars.iter().filter(|e| e.0 == entry);
        out.extend(own.map(|(_, id, value, timestamp_ms)| {
            Ok(Exemplar {
                labels: vec![("trace_id", id)],
                value: *value,
                timestamp_ms: *timestamp_ms,
            })
        }));
    }

    fn metadata(&self) -> Vec<MetadataEntry<'_>> {
        let statements = self.2.metadata.iter();
        let statements = statements.map(|(metric, help)| MetadataEntry {
            metric,
            kind: MetricType::Counter,
            help,
            unit: "",
        });
        statements.collect()
    }
}

pub(crate) fn pairs(text: &[(&str, &str)]) -> Pairs {
    text.iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect()
}

/// The labels of test series `number`.
pub(crate) fn series(number: usize) -> Pairs {
    pairs(&[
        ("__name__", ["up", "load", "bytes_total"][number % 3]),
        ("instance", &format!("host-{}", number / 3)),
        ("job", "test"),
    ])
}

pub(crate) fn labels(pairs: &Pairs) -> Labels {
    Labels::from_pairs(pairs)
}

/// The bits of a float, or what stands for anything else: float with start timestamp, histogram.
/// Staleness markers of both kinds are the same, for a float one behind a histogram becomes one.
pub(crate) fn mark(sample: &Sample) -> u64 {
    let bits = sample.value.to_bits();
    match sample.start_timestamp_ms {
        0 => bits,
        start_ms => xxh3_64_with_seed(&bits.to_le_bytes(), start_ms as u64),
    }
}

/// As [`mark`]. Of the counter reset hint only a gauge's is the sender's.
pub(crate) fn histogram_mark(sample: &HistogramSample) -> u64 {
    let float = sample.histogram.to_float();
    if float.is_stale() {
        return mark(&Sample {
            timestamp_ms: 0,
            value: float.sum,
            start_timestamp_ms: sample.start_timestamp_ms,
        });
    }
    let mut value = sample.histogram.clone();
    let hint = match &mut value {
        HistogramValue::Integer(h) => &mut h.counter_reset_hint,
        HistogramValue::Float(h) => &mut h.counter_reset_hint,
    };
    if *hint != CounterResetHint::Gauge {
        *hint = CounterResetHint::Unknown;
    }
    let text = format!("{value:?} {:x}", float.sum.to_bits());
    xxh3_64_with_seed(text.as_bytes(), sample.start_timestamp_ms as u64)
}

/// All samples by labels, then time, as [`mark`] has them.
pub(crate) type Contents = BTreeMap<String, BTreeMap<i64, u64>>;

pub(crate) fn options() -> Options {
    Options {
        data_dir: PathBuf::from("data"),
        retention_ms: 0,
        max_future_ms: 0,
        // Tests flush when they want to.
        flush_interval_ms: 1 << 50,
        wal_segment_bytes: 8192,
        ..Options::default()
    }
}

pub(crate) fn open(disk: &SimVfs, options: &Options) -> Result<Arc<Db>, OpenError> {
    Db::open_with(
        Arc::new(disk.clone()),
        Arc::new(TestClock(AtomicI64::new(START_MS))),
        options.clone(),
        Arc::new(ReplayProgress::default()),
    )
}

pub(crate) fn one(pairs: Pairs, timestamp_ms: i64, value: f64) -> Request {
    Request(
        vec![(pairs, vec![Sample::new(timestamp_ms, value)])],
        vec![],
        Side::default(),
    )
}

/// A request with one histogram.
pub(crate) fn one_histogram(pairs: Pairs, sample: HistogramSample) -> Request {
    let mut request = Request::default();
    request.push_histogram(pairs, sample);
    request
}

pub(crate) fn append(db: &Db, request: &Request) -> (AppendReport, Commit) {
    db.append(1, request).unwrap()
}

pub(crate) fn any() -> Vec<Matcher> {
    vec![Matcher::new(MatchOp::Regex, "__name__", ".+").unwrap()]
}

/// Everything that matches inside a range.
pub(crate) fn contents(
    db: &Db,
    matchers: &[Matcher],
    range: TimeRange,
) -> Result<Contents, StoreError> {
    let querier = db.querier(range)?;
    let set = querier.select(matchers, &SelectHints::default())?;
    let mut found = Contents::new();
    let (mut buffer, mut raw) = (SampleBuffer::default(), RawSamples::default());
    for series in 0..set.len() {
        set.read(series, range, &mut buffer)?;
        set.read_raw(series, range, &mut raw)?;
        assert_agree(&buffer, &raw);
        assert!(buffer.timestamps_ms.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(buffer.timestamps_ms.len(), buffer.values.len());
        let floats = raw.timestamps_ms.iter().zip(&raw.values).enumerate();
        let floats = floats.map(|(at, (timestamp_ms, value))| Sample {
            timestamp_ms: *timestamp_ms,
            value: *value,
            start_timestamp_ms: raw.start_timestamps_ms.get(at).copied().unwrap_or(0),
        });
        let mut samples: BTreeMap<i64, u64> = floats.map(|s| (s.timestamp_ms, mark(&s))).collect();
        for sample in &raw.histograms {
            let before = samples.insert(sample.timestamp_ms, histogram_mark(sample));
            assert_eq!(before, None, "one timeline");
        }
        let labels = set.labels(series)?.to_string();
        if !samples.is_empty() {
            assert!(
                found.insert(labels, samples).is_none(),
                "a series comes once"
            );
        }
    }
    Ok(found)
}

/// Both ways to read say the same.
fn assert_agree(buffer: &SampleBuffer, raw: &RawSamples) {
    assert_eq!(buffer.timestamps_ms, raw.timestamps_ms);
    assert_eq!(buffer.start_timestamps_ms, raw.start_timestamps_ms);
    assert_eq!(buffer.histograms.len(), raw.histograms.len());
    let times = &buffer.histogram_timestamps_ms;
    assert!(times.windows(2).all(|w| w[0] < w[1]));
    for (at, sample) in raw.histograms.iter().enumerate() {
        assert_eq!(times[at], sample.timestamp_ms);
        let start = buffer.histogram_start_timestamps_ms.get(at).copied();
        assert_eq!(start.unwrap_or(0), sample.start_timestamp_ms);
        let mut float = sample.histogram.to_float();
        if float.counter_reset_hint == CounterResetHint::Reset {
            float.counter_reset_hint = CounterResetHint::Unknown;
        }
        assert_eq!(format!("{float:?}"), format!("{:?}", buffer.histograms[at]));
    }
}

pub(crate) fn everything(db: &Db) -> Contents {
    contents(db, &any(), TimeRange::ALL).unwrap()
}

/// Adds the accepted samples of a request to the oracle; of two values the first stays.
pub(crate) fn note(oracle: &mut Contents, request: &Request, report: &AppendReport) {
    for (entry, (pairs, samples)) in request.0.iter().enumerate() {
        let histograms = request.histograms(entry).iter();
        let histograms = histograms.map(|s| (s.timestamp_ms, histogram_mark(s)));
        let floats = samples.iter().map(|s| (s.timestamp_ms, mark(s)));
        let marks: Vec<(i64, u64)> = floats.chain(histograms).collect();
        assert!(
            marks.len() == 1 && request.0.len() <= 16,
            "reports stay exact"
        );
        if report.rejections.iter().all(|(at, _)| *at != entry) {
            let series = oracle.entry(labels(pairs).to_string()).or_default();
            series.entry(marks[0].0).or_insert(marks[0].1);
        }
    }
}

/// The only file below `dir` whose name ends so.
pub(crate) fn files(disk: &SimVfs, dir: &str, end: &str) -> Vec<PathBuf> {
    let mut paths = disk.paths();
    paths.retain(|p| {
        p.parent() == Some(Path::new(dir)) && p.to_str().is_some_and(|p| p.ends_with(end))
    });
    paths
}

/// A small deterministic generator: of a seed, or of bytes that each decide one choice.
pub(crate) struct Random {
    state: u64,
    choices: Option<VecDeque<u8>>,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: seed,
            choices: None,
        }
    }

    /// Takes its choices from bytes, and when these are used up always the first.
    #[allow(dead_code, reason = "used by the fuzz target that includes this file")]
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self {
            state: 0,
            choices: Some(bytes.iter().copied().collect()),
        }
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.choices.as_ref().is_some_and(VecDeque::is_empty)
    }

    pub(crate) fn next(&mut self) -> u64 {
        if let Some(left) = &mut self.choices {
            let Some(byte) = left.pop_front() else {
                return 0;
            };
            self.state ^= u64::from(byte);
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        match &mut self.choices {
            Some(left) if bound <= 256 => u64::from(left.pop_front().unwrap_or(0)) % bound,
            _ => self.next() % bound,
        }
    }

    pub(crate) fn value(&mut self) -> f64 {
        match self.below(10) {
            0 => f64::from_bits(self.next()),
            1 => -0.0,
            2 => f64::INFINITY,
            3 => tenbin_model::stale_nan(),
            4 => f64::from_bits(tenbin_model::sample::NORMAL_NAN_BITS),
            5 => self.below(1000) as f64 / 100.0,
            _ => self.below(5) as f64,
        }
    }

    /// A start timestamp, mostly unknown.
    pub(crate) fn start_ms(&mut self) -> i64 {
        match self.below(8) {
            0 => self.next() as i64,
            1 | 2 => START_MS - 1000,
            _ => 0,
        }
    }

    /// A valid histogram of any kind.
    pub(crate) fn histogram(&mut self) -> HistogramValue {
        let span = |offset, length| BucketSpan { offset, length };
        let layouts: [(i32, Vec<BucketSpan>, Vec<BucketSpan>); 4] = [
            (0, vec![span(0, 2), span(1, 2)], vec![]),
            (0, vec![span(-1, 5)], vec![span(2, 1)]),
            (3, vec![], vec![span(-4, 2)]),
            (CUSTOM_BUCKETS_SCHEMA, vec![span(0, 3)], vec![]),
        ];
        let (schema, positive_spans, negative_spans) =
            layouts[self.below(4) as usize % layouts.len()].clone();
        let custom = schema == CUSTOM_BUCKETS_SCHEMA;
        let covered = |spans: &[BucketSpan]| spans.iter().map(|s| u64::from(s.length)).sum::<u64>();
        let mut counts = |spans: &[BucketSpan]| -> Vec<i64> {
            (0..covered(spans)).map(|_| self.below(4) as i64).collect()
        };
        let (positive, negative) = (counts(&positive_spans), counts(&negative_spans));
        let zero_count = if custom { 0 } else { self.below(3) };
        let total = positive.iter().chain(&negative).sum::<i64>() as u64 + zero_count;
        let hints = [
            CounterResetHint::Unknown,
            CounterResetHint::Gauge,
            CounterResetHint::Reset,
            CounterResetHint::NotReset,
        ];
        let counter_reset_hint = hints[self.below(8) as usize % 4];
        let zero_threshold = if custom { 0.0 } else { 0.001 };
        let custom_values = if custom { vec![0.5, 1.0, 2.5] } else { vec![] };
        let sum = match self.below(8) {
            0 => tenbin_model::stale_nan(),
            _ => self.below(1000) as f64 / 10.0,
        };
        let deltas = |counts: &[i64]| {
            let mut before = 0;
            let delta = |count: &i64| count - std::mem::replace(&mut before, *count);
            counts.iter().map(delta).collect()
        };
        if self.below(2) == 0 {
            return HistogramValue::Integer(Box::new(Histogram {
                counter_reset_hint,
                schema,
                zero_threshold,
                zero_count,
                count: total,
                sum,
                positive_deltas: deltas(&positive),
                negative_deltas: deltas(&negative),
                positive_spans,
                negative_spans,
                custom_values,
            }));
        }
        let scale = 1.0 + self.below(3) as f64 / 4.0;
        let scaled = |counts: &[i64]| counts.iter().map(|c| *c as f64 * scale).collect();
        HistogramValue::Float(Box::new(FloatHistogram {
            counter_reset_hint,
            schema,
            zero_threshold,
            zero_count: zero_count as f64 * scale,
            count: total as f64 * scale,
            sum,
            positive_buckets: scaled(&positive),
            negative_buckets: scaled(&negative),
            positive_spans,
            negative_spans,
            custom_values,
        }))
    }
}

/// Fails with the differences only.
pub(crate) fn assert_same(found: &Contents, expected: &Contents) {
    let flat = |c: &Contents| {
        let samples = c.iter().flat_map(|(labels, samples)| {
            samples
                .iter()
                .map(|(at_ms, bits)| (labels.clone(), *at_ms, *bits))
        });
        samples.collect::<std::collections::BTreeSet<_>>()
    };
    let (found, expected) = (flat(found), flat(expected));
    let missing: Vec<_> = expected.difference(&found).collect();
    let surplus: Vec<_> = found.difference(&expected).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "missing {missing:?}, surplus {surplus:?}"
    );
}
