//! Blocks as former versions wrote them still open, read and merge. The files in `tests/data` were written
//! by the program when that version was its newest, from the requests made here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tenbin_model::write::{HistogramSample, HistogramValue};
use tenbin_model::{BucketSpan, CounterResetHint, Histogram, Sample};
use tenbin_storage::{Db, Options};

use crate::harness::*;

fn value(round: i64, number: usize) -> f64 {
    let noise = (round * (number as i64 + 1) * 7919 % 101) as f64;
    match number % 5 {
        0 => number as f64,
        1 => (round * 1000) as f64 + noise,
        2 => noise / 100.0,
        3 => (noise + 1.0).sqrt(),
        _ if round == 30 => f64::NAN,
        _ => noise * 4096.0,
    }
}

fn histogram(timestamp_ms: i64, round: i64) -> HistogramSample {
    HistogramSample {
        timestamp_ms,
        start_timestamp_ms: START_MS - 5,
        histogram: HistogramValue::Integer(Box::new(Histogram {
            counter_reset_hint: CounterResetHint::Unknown,
            schema: 0,
            zero_threshold: 0.001,
            zero_count: 0,
            count: round as u64 * 3,
            sum: round as f64 * 1.5,
            positive_spans: vec![BucketSpan {
                offset: 0,
                length: 2,
            }],
            negative_spans: vec![],
            positive_deltas: vec![round, round],
            negative_deltas: vec![],
            custom_values: vec![],
        })),
    }
}

/// What was stored: 40 series of floats, and from version 2 on three of histograms.
fn requests(version: u16) -> Vec<Request> {
    let request = |round: i64| {
        let at_ms = START_MS + round * 15_000;
        let mut request = Request::default();
        for number in 0..40 {
            let mut pairs = series(number);
            pairs.push(("zone".into(), format!("z{}", number / 20)));
            let sample = Sample::new(at_ms, value(round, number));
            request.0.push((pairs, vec![sample]));
        }
        for number in 50..53 {
            if version > 1 {
                request.push_histogram(series(number), histogram(at_ms, round));
            }
        }
        request
    };
    (0..70).map(request).collect()
}

fn open_directory(data_dir: PathBuf) -> Arc<Db> {
    let options = Options {
        data_dir,
        flush_interval_ms: 1 << 50,
        max_future_ms: 0,
        ..Options::default()
    };
    Db::open(options).unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn blocks_of_former_versions_are_read_and_merged() {
    for version in [1, 2] {
        let stored = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(format!("version-{version}"));
        for entry in std::fs::read_dir(stored.join("blocks")).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert_eq!(
                bytes[8..12],
                [version as u8, 0, 2, 0],
                "versions in the header"
            );
        }
        let dir = tempfile::tempdir().unwrap();
        copy(&stored, dir.path());
        let db = open_directory(dir.path().to_owned());
        let mut oracle = Contents::new();
        for request in requests(version) {
            for (entry, (pairs, samples)) in request.0.iter().enumerate() {
                let series = oracle.entry(labels(pairs).to_string()).or_default();
                let histograms = request.1.get(entry).into_iter().flatten();
                series.extend(histograms.map(|s| (s.timestamp_ms, histogram_mark(s))));
                series.extend(samples.iter().map(|s| (s.timestamp_ms, mark(s))));
            }
        }
        assert_same(&everything(&db), &oracle);
        let report = db.compact().unwrap();
        assert_eq!((report.input_blocks, report.output_blocks), (2, 1));
        assert_same(&everything(&db), &oracle);
        assert_eq!(db.verify(), []);
    }
}
