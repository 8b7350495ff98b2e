//! A database on a simulated disk, requests made by hand, and the oracle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tenbin_model::write::{AppendReport, InvalidLabels, WriteRequest, canonicalise};
use tenbin_model::{
    Labels, MatchOp, Matcher, Queryable, Sample, SampleBuffer, SelectHints, StoreError, TimeRange,
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

/// A request as a list of series with samples.
#[derive(Default, Clone)]
pub(crate) struct Request(pub(crate) Vec<(Pairs, Vec<Sample>)>);

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

/// All samples by labels, then time, as bits.
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
    Request(vec![(pairs, vec![Sample::new(timestamp_ms, value)])])
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
    let mut buffer = SampleBuffer::default();
    for series in 0..set.len() {
        set.read(series, range, &mut buffer)?;
        assert!(buffer.timestamps_ms.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(buffer.timestamps_ms.len(), buffer.values.len());
        let samples: BTreeMap<i64, u64> = buffer
            .timestamps_ms
            .iter()
            .copied()
            .zip(buffer.values.iter().map(|v| v.to_bits()))
            .collect();
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

pub(crate) fn everything(db: &Db) -> Contents {
    contents(db, &any(), TimeRange::ALL).unwrap()
}

/// Adds the accepted samples of a request to the oracle; of two values the first stays.
pub(crate) fn note(oracle: &mut Contents, request: &Request, report: &AppendReport) {
    for (entry, (pairs, samples)) in request.0.iter().enumerate() {
        assert!(
            samples.len() == 1 && request.0.len() <= 16,
            "reports stay exact"
        );
        if report.rejections.iter().all(|(at, _)| *at != entry) {
            oracle
                .entry(labels(pairs).to_string())
                .or_default()
                .entry(samples[0].timestamp_ms)
                .or_insert(samples[0].value.to_bits());
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

/// A small deterministic generator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
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
