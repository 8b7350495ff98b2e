//! Histograms and start timestamps: what is taken, what a read says, what survives.

use tenbin_model::write::{HistogramSample, HistogramValue};
use tenbin_model::{
    BucketSpan, CounterResetHint, Histogram, Queryable, Sample, SampleBuffer, SelectHints,
    TimeRange, stale_nan,
};
use tenbin_storage::Db;
use tenbin_storage::vfs::{CrashMode, SimVfs};

use crate::harness::*;

use CounterResetHint::{Gauge, NotReset, Reset, Unknown};

/// A histogram of two buckets.
fn sample(timestamp_ms: i64, counts: [i64; 2], hint: CounterResetHint) -> HistogramSample {
    HistogramSample {
        timestamp_ms,
        start_timestamp_ms: 0,
        histogram: HistogramValue::Integer(Box::new(Histogram {
            counter_reset_hint: hint,
            schema: 0,
            zero_threshold: 0.001,
            zero_count: 0,
            count: (counts[0] + counts[1]) as u64,
            sum: 1.5,
            positive_spans: vec![BucketSpan {
                offset: 0,
                length: 2,
            }],
            negative_spans: vec![],
            positive_deltas: vec![counts[0], counts[1] - counts[0]],
            negative_deltas: vec![],
            custom_values: vec![],
        })),
    }
}

/// The first refusal of a request, as text.
fn verdict(db: &Db, request: &Request) -> Option<String> {
    let report = append(db, request).0;
    let written = report.samples_written + report.histograms_written;
    assert_eq!(written + report.rejected_samples, 1);
    let first = report.rejections.first();
    first.map(|(_, reason)| reason.to_string())
}

fn hint_verdicts(db: &Db) -> Vec<CounterResetHint> {
    let querier = db.querier(TimeRange::ALL).unwrap();
    let set = querier.select(&any(), &SelectHints::default()).unwrap();
    let mut buffer = SampleBuffer::default();
    set.read(0, TimeRange::ALL, &mut buffer).unwrap();
    let histograms = buffer.histograms.iter();
    histograms.map(|h| h.counter_reset_hint).collect()
}

#[test]
fn floats_and_histograms_are_one_timeline() {
    let db = open(&SimVfs::new(), &options()).unwrap();
    let at = |offset_ms: i64| START_MS + offset_ms;
    let float = |offset_ms, value| verdict(&db, &one(series(0), at(offset_ms), value));
    let histogram = |offset_ms, counts| {
        let sample = sample(at(offset_ms), counts, Unknown);
        verdict(&db, &one_histogram(series(0), sample))
    };
    assert_eq!(float(0, 1.0), None);
    assert_eq!(
        histogram(0, [1, 1]).unwrap(),
        "duplicate sample for timestamp"
    );
    assert_eq!(histogram(10, [1, 2]), None);
    assert_eq!(histogram(10, [1, 2]), None, "the same again");
    assert_eq!(
        histogram(10, [1, 3]).unwrap(),
        "duplicate sample for timestamp"
    );
    let text = "duplicate sample for timestamp 1700000000010; overrides not allowed: \
                existing is a histogram, new value 2.5";
    assert_eq!(float(10, 2.5).unwrap(), text);
    assert_eq!(float(20, 2.5), None);
    // Late ones of both kinds.
    assert_eq!(float(10, 2.5).unwrap(), text);
    assert_eq!(
        histogram(20, [1, 2]).unwrap(),
        "duplicate sample for timestamp"
    );
    assert_eq!(histogram(10, [1, 2]), None);
    assert_eq!(histogram(5, [7, 7]), None);
    assert_eq!(
        histogram(5, [7, 8]).unwrap(),
        "duplicate sample for timestamp"
    );
    assert_eq!(
        float(5, 1.0).unwrap(),
        text.replace("010;", "005;").replace("2.5", "1")
    );
    let kept = everything(&db);
    assert_eq!(kept[&labels(&series(0)).to_string()].len(), 4);
    db.flush().unwrap();
    assert_eq!(everything(&db), kept);
    assert_eq!(histogram(-2_000_000, [1, 1]).unwrap(), "too old sample");
}

#[test]
fn broken_histograms_are_refused_by_name() {
    let db = open(&SimVfs::new(), &options()).unwrap();
    let broken = |change: fn(&mut Histogram)| {
        let mut sample = sample(START_MS, [1, 2], Unknown);
        if let HistogramValue::Integer(histogram) = &mut sample.histogram {
            change(histogram);
        }
        verdict(&db, &one_histogram(series(0), sample))
    };
    assert!(
        broken(|h| h.schema = 60)
            .unwrap()
            .ends_with("got schema 60")
    );
    assert!(
        broken(|h| h.count = 1)
            .unwrap()
            .starts_with("3 observations found")
    );
    let wide = broken(|h| {
        h.positive_spans[0].length = 70_000;
        h.positive_deltas = vec![0; 70_000];
        h.count = 0;
    });
    assert_eq!(
        wide.unwrap(),
        "histogram has 70000 buckets and spans, which exceeds the limit of 65536"
    );
    assert_eq!(db.stats().rejected.invalid_histograms, 3);
    assert_eq!(broken(|h| h.schema = 12), None, "too fine is made coarser");
    assert_eq!(db.stats().histograms_appended, 1);
    assert_eq!(db.stats().samples_appended, 0);
}

#[test]
fn resets_are_decided_when_stored() {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    let steps = [
        ([1, 1], Reset),
        ([1, 2], Unknown),
        ([0, 2], Unknown),
        ([0, 3], NotReset),
        ([0, 3], Reset),
        ([5, 5], Gauge),
        ([1, 1], Gauge),
        ([1, 1], Unknown),
        ([1, 2], Unknown),
    ];
    for (at, (counts, hint)) in steps.into_iter().enumerate() {
        let request = one_histogram(series(0), sample(START_MS + at as i64, counts, hint));
        append(&db, &request).1.wait().unwrap();
    }
    let expected = [
        Unknown, NotReset, Unknown, NotReset, Unknown, Gauge, Gauge, Unknown, NotReset,
    ];
    assert_eq!(hint_verdicts(&db), expected);
    let db = open(&disk.crash(CrashMode::DropAll, 0), &options()).unwrap();
    assert_eq!(hint_verdicts(&db), expected, "after replay");
    db.flush().unwrap();
    assert_eq!(hint_verdicts(&db), expected, "from a block");
    let next = sample(START_MS + 9, [2, 2], Unknown);
    append(&db, &one_histogram(series(0), next));
    let hints = hint_verdicts(&db);
    assert_eq!(
        hints[9], Unknown,
        "behind a block nothing is taken for granted"
    );
}

#[test]
fn a_float_staleness_marker_ends_a_histogram() {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    append(
        &db,
        &one_histogram(series(0), sample(START_MS, [1, 2], Unknown)),
    );
    let stale = one(series(0), START_MS + 10, stale_nan());
    assert_eq!(verdict(&db, &stale), None);
    assert_eq!(verdict(&db, &stale), None, "the same again");
    let querier = db.querier(TimeRange::ALL).unwrap();
    let set = querier.select(&any(), &SelectHints::default()).unwrap();
    let mut buffer = SampleBuffer::default();
    set.read(0, TimeRange::ALL, &mut buffer).unwrap();
    assert!(buffer.timestamps_ms.is_empty() && buffer.histograms[1].is_stale());
    drop((set, querier));
    append(&db, &one(series(1), START_MS + 700_000, 1.0));
    assert_eq!(db.flush().unwrap().evicted_series, 1);
}

#[test]
fn histograms_live_through_flushes_and_compactions() {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    let mut random = Random::new(5);
    let mut oracle = Contents::new();
    for round in 0..6_i64 {
        for step in 0..40_i64 {
            let mut request = Request::default();
            for number in 0..4 {
                let timestamp_ms = START_MS + round * 600_000 + step * 15_000;
                let sample = HistogramSample {
                    timestamp_ms,
                    start_timestamp_ms: random.start_ms(),
                    histogram: random.histogram(),
                };
                request.push_histogram(series(number), sample);
            }
            let report = append(&db, &request).0;
            assert_eq!(report.histograms_written, 4, "{report:?}");
            note(&mut oracle, &request, &report);
        }
        db.flush().unwrap();
    }
    assert_eq!(everything(&db), oracle);
    let report = db.compact().unwrap();
    assert!(report.output_samples > 0);
    assert_eq!(everything(&db), oracle);
    assert_eq!(db.verify(), []);
    let db = open(&disk.crash(CrashMode::DropAll, 0), &options()).unwrap();
    assert_eq!(everything(&db), oracle);
}

#[test]
fn start_timestamps_come_back() {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    let starts = [0, 50, 50, 70, 0];
    for (at, start_timestamp_ms) in starts.into_iter().enumerate() {
        let sample = Sample {
            timestamp_ms: START_MS + 10 * at as i64,
            value: 1.0,
            start_timestamp_ms,
        };
        let request = Request(vec![(series(0), vec![sample])], vec![], Side::default());
        append(&db, &request).1.wait().unwrap();
    }
    let late = Sample {
        timestamp_ms: START_MS + 5,
        value: 1.0,
        start_timestamp_ms: 9,
    };
    let request = Request(vec![(series(0), vec![late])], vec![], Side::default());
    append(&db, &request).1.wait().unwrap();
    append(&db, &one(series(1), START_MS, 1.0))
        .1
        .wait()
        .unwrap();
    let found = |db: &Db, range: TimeRange| {
        let querier = db.querier(range).unwrap();
        let hints = SelectHints {
            sorted: true,
            ..SelectHints::default()
        };
        let set = querier.select(&any(), &hints).unwrap();
        let mut buffer = SampleBuffer::default();
        set.read(0, range, &mut buffer).unwrap();
        assert!(buffer.start_timestamps_ms.is_empty(), "none costs nothing");
        set.read(1, range, &mut buffer).unwrap();
        buffer.start_timestamps_ms
    };
    let check = |db: &Db| {
        assert_eq!(found(db, TimeRange::ALL), [0, 9, 50, 50, 70, 0]);
        let range = TimeRange::new(START_MS, START_MS + 20);
        assert_eq!(found(db, range), [0, 9, 50, 50]);
    };
    check(&db);
    let db = open(&disk.crash(CrashMode::DropAll, 0), &options()).unwrap();
    check(&db);
    db.flush().unwrap();
    check(&db);
}
