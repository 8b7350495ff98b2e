//! Matchers, label lists, joins over head and blocks, admission.

use std::collections::BTreeSet;

use tenbin_model::write::{HistogramSample, RejectReason};
use tenbin_model::{
    MatchOp, Matcher, Queryable, Sample, SampleBuffer, SelectHints, TimeRange, is_stale,
};
use tenbin_storage::Options;
use tenbin_storage::vfs::SimVfs;

use crate::harness::*;

fn m(op: MatchOp, name: &str, value: &str) -> Matcher {
    Matcher::new(op, name, value).unwrap()
}

/// Series with and without a label, half of them in a block, one in both.
fn filled() -> std::sync::Arc<tenbin_storage::Db> {
    let db = open(&SimVfs::new(), &options()).unwrap();
    let all = [
        &[("__name__", "a"), ("env", "prod"), ("job", "x")][..],
        &[("__name__", "a"), ("env", "dev")],
        &[("__name__", "a")],
        &[("__name__", "b"), ("env", "prod"), ("job", "y")],
        &[("__name__", "b"), ("env", "")],
    ];
    for (i, labels) in all.iter().enumerate() {
        append(&db, &one(pairs(labels), START_MS + i as i64, i as f64));
        if i == 2 {
            db.flush().unwrap();
        }
    }
    append(&db, &one(pairs(all[0]), START_MS + 100, 9.0));
    db
}

#[test]
fn matchers_follow_prometheus() {
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    type Case = (
        &'static [(MatchOp, &'static str, &'static str)],
        &'static [&'static str],
    );
    let cases: &[Case] = &[
        (&[(Equal, "__name__", "a")], &["a/", "a/dev", "a/prod"]),
        (&[(Equal, "env", "")], &["a/", "b/"]),
        (&[(NotEqual, "env", "")], &["a/dev", "a/prod", "b/prod"]),
        (&[(NotEqual, "env", "prod")], &["a/", "a/dev", "b/"]),
        (
            &[(Regex, "env", "prod|")],
            &["a/", "a/prod", "b/", "b/prod"],
        ),
        (&[(Regex, "env", ".+")], &["a/dev", "a/prod", "b/prod"]),
        (
            &[(Regex, "env", ".*")],
            &["a/", "a/dev", "a/prod", "b/", "b/prod"],
        ),
        (
            &[(NotRegex, "env", "d.*")],
            &["a/", "a/prod", "b/", "b/prod"],
        ),
        (&[(NotRegex, "env", ".+")], &["a/", "b/"]),
        (
            &[(Equal, "absent", "")],
            &["a/", "a/dev", "a/prod", "b/", "b/prod"],
        ),
        (&[(Equal, "absent", "x")], &[]),
        (
            &[(NotEqual, "absent", "x"), (Equal, "__name__", "b")],
            &["b/", "b/prod"],
        ),
        (
            &[(Regex, "job", "x|y"), (NotEqual, "env", "dev")],
            &["a/prod", "b/prod"],
        ),
    ];
    let db = filled();
    for round in 0..2 {
        for (matchers, expected) in cases {
            let matchers: Vec<_> = matchers.iter().map(|(op, n, v)| m(*op, n, v)).collect();
            let querier = db.querier(TimeRange::ALL).unwrap();
            let hints = SelectHints {
                sorted: true,
                ..SelectHints::default()
            };
            let set = querier.select(&matchers, &hints).unwrap();
            let found: Vec<String> = (0..set.len())
                .map(|i| {
                    let labels = set.labels(i).unwrap();
                    format!("{}/{}", labels.metric_name(), labels.value_of("env"))
                })
                .collect();
            assert_eq!(&found, expected, "{matchers:?}, round {round}");
        }
        db.flush().unwrap();
    }
}

#[test]
fn label_lists_respect_matchers() {
    let db = filled();
    let querier = db.querier(TimeRange::ALL).unwrap();
    assert_eq!(
        querier.label_names(&[]).unwrap(),
        ["__name__", "env", "job"]
    );
    assert_eq!(querier.label_values("env", &[]).unwrap(), ["dev", "prod"]);
    let x = [m(MatchOp::Equal, "job", "y")];
    assert_eq!(querier.label_values("__name__", &x).unwrap(), ["b"]);
    let dev = [m(MatchOp::Equal, "env", "dev")];
    assert_eq!(querier.label_names(&dev).unwrap(), ["__name__", "env"]);
    assert!(querier.label_values("nothing", &[]).unwrap().is_empty());
}

#[test]
fn a_series_in_blocks_and_head_is_one_series() {
    let db = filled();
    let found = contents(&db, &[m(MatchOp::Equal, "job", "x")], TimeRange::ALL).unwrap();
    let samples: Vec<_> = found.values().next().unwrap().keys().copied().collect();
    assert_eq!(samples, [START_MS, START_MS + 100]);
}

#[test]
fn admission_follows_prometheus() {
    let db = open(
        &SimVfs::new(),
        &Options {
            max_future_ms: 600_000,
            ..options()
        },
    )
    .unwrap();
    let verdict = |at_ms: i64, value: f64| {
        let (report, _) = append(&db, &one(series(0), START_MS + at_ms, value));
        report.rejections.first().map(|(_, reason)| reason.clone())
    };
    assert_eq!(verdict(0, 1.0), None);
    assert_eq!(verdict(0, 1.0), None, "the same again");
    let twice = verdict(0, 2.0).unwrap().to_string();
    assert!(
        twice.starts_with("duplicate sample for timestamp"),
        "{twice}"
    );
    assert_eq!(verdict(-1_800_000, 3.0), None, "late, inside the window");
    assert_eq!(verdict(-1_800_000, 3.0), None);
    assert!(verdict(-1_800_000, 4.0).is_some());
    assert_eq!(verdict(-1_800_001, 3.0), Some(RejectReason::TooOld));
    assert_eq!(verdict(600_001, 3.0), Some(RejectReason::TooFarInFuture));
    assert_eq!(verdict(600_000, 3.0), None);
    let stats = db.stats();
    assert_eq!((stats.rejected.duplicate, stats.rejected.too_old), (2, 1));
    assert_eq!(
        (stats.duplicate_samples, stats.late_samples_appended),
        (2, 1)
    );

    let strict = Options {
        out_of_order_window_ms: 0,
        ..options()
    };
    let db = open(&SimVfs::new(), &strict).unwrap();
    append(&db, &one(series(0), START_MS, 1.0));
    let (report, _) = append(&db, &one(series(0), START_MS - 1, 1.0));
    assert_eq!(report.rejections, [(0, RejectReason::OutOfOrder)]);
    let (report, _) = append(&db, &one(series(1), START_MS - 3_600_001, 1.0));
    assert_eq!(report.rejections, [(0, RejectReason::OutOfBounds)]);
    let (report, _) = append(&db, &one(series(1), START_MS - 3_600_000, 1.0));
    assert!(
        report.rejections.is_empty(),
        "another series may be an hour behind"
    );
    db.flush().unwrap();
    let verdict = |number: usize, ago_ms: i64, value: f64| {
        let (report, _) = append(&db, &one(series(number), START_MS - ago_ms, value));
        report.rejections.first().map(|(_, reason)| reason.clone())
    };
    assert_eq!(verdict(2, 3_600_000, 1.0), None, "also behind a flush");
    assert_eq!(verdict(2, 1_000, 2.0), None);
    assert_eq!(
        verdict(1, 1_000, 2.0),
        None,
        "a series that was flushed goes on"
    );
    assert!(verdict(2, 2_000, 1.0).is_some(), "but in order");
    assert_eq!(verdict(2, 1_000, 2.0), None, "the same again");
    assert!(verdict(2, 1_000, 3.0).is_some());
    assert!(verdict(1, 3_600_000, 2.0).is_some());
    let times = |number: usize| -> Vec<i64> {
        let contents = everything(&db);
        let samples = &contents[&labels(&series(number)).to_string()];
        samples.keys().map(|at_ms| START_MS - at_ms).collect()
    };
    assert_eq!(
        (times(1), times(2)),
        (vec![3_600_000, 1_000], vec![3_600_000, 1_000])
    );
}

#[test]
fn the_series_limit_spares_existing_series() {
    let db = open(
        &SimVfs::new(),
        &Options {
            max_series: 2,
            ..options()
        },
    )
    .unwrap();
    let mut request = Request::default();
    for number in 0..3 {
        request.0.extend(one(series(number), START_MS, 1.0).0);
    }
    request
        .0
        .push((pairs(&[("no_name", "x")]), vec![Sample::new(START_MS, 1.0)]));
    let (report, _) = append(&db, &request);
    assert_eq!((report.samples_written, report.rejected_samples), (2, 1));
    assert_eq!(
        report.rejections[0],
        (2, RejectReason::SeriesLimit { limit: 2 })
    );
    assert_eq!((report.invalid_entries, report.invalid[0].0), (1, 3));
    let (report, _) = append(&db, &one(series(1), START_MS + 1, 1.0));
    assert_eq!(report.samples_written, 1);
    let cardinality = db.cardinality(1);
    assert_eq!(
        (cardinality.series, cardinality.series_by_metric.len()),
        (2, 1)
    );
}

#[test]
fn extreme_timestamps_and_values_survive_everything() {
    let disk = SimVfs::new();
    let wide = Options {
        out_of_order_window_ms: i64::MAX,
        ..options()
    };
    let db = open(&disk, &wide).unwrap();
    let mut oracle = Contents::new();
    for (i, at_ms) in [0, -1, i64::MIN, i64::MIN + 1, 5, i64::MAX - 1, i64::MAX]
        .iter()
        .enumerate()
    {
        let request = one(
            series(0),
            *at_ms,
            f64::from_bits(0x7ff0_0000_0000_0001 + i as u64),
        );
        let (report, commit) = append(&db, &request);
        commit.wait().unwrap();
        note(&mut oracle, &request, &report);
    }
    assert!(oracle.values().next().unwrap().len() >= 5);
    assert_eq!(everything(&db), oracle);
    db.flush().unwrap();
    assert_eq!(everything(&db), oracle);
    db.close().unwrap();
    assert_eq!(everything(&open(&disk, &wide).unwrap()), oracle);
}

/// Every kind of matcher against a plain filter, asked twice: the second time from memory.
#[test]
fn matchers_agree_with_a_plain_filter_in_head_and_blocks() {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    let mut all = Vec::new();
    for i in 0..60_usize {
        let mut labels = vec![
            ("__name__", "m".to_owned()),
            ("host", format!("host-{i:03}")),
        ];
        if i % 3 > 0 {
            labels.push(("zone", ["", "north", "south-1"][i % 3].to_owned()));
        }
        let labels: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
        append(&db, &one(pairs(&labels), START_MS + i as i64, 1.0));
        all.push(pairs(&labels));
    }
    let patterns = [
        "",
        ".*",
        ".+",
        "host-01.*",
        "host-0(10|11|99)",
        "h.*5",
        "north|",
        "south-1",
        "n.*|x",
        "host-059|host-060",
        "zzz.*",
        "[a-h]ost-.*",
        "(?i)HOST-00.*",
    ];
    let ops = [
        MatchOp::Equal,
        MatchOp::NotEqual,
        MatchOp::Regex,
        MatchOp::NotRegex,
    ];
    for _ in 0..2 {
        for name in ["host", "zone", "none"] {
            for (op, pattern) in ops.iter().flat_map(|op| patterns.map(|p| (*op, p))) {
                let matchers = [m(MatchOp::Equal, "__name__", "m"), m(op, name, pattern)];
                let expected: Vec<String> = all
                    .iter()
                    .filter(|series| {
                        let value = series.iter().find(|(n, _)| n == name);
                        matchers[1].matches(value.map_or("", |(_, v)| v))
                    })
                    .map(|series| labels(series).to_string())
                    .collect();
                for _ in 0..2 {
                    let found = contents(&db, &matchers, TimeRange::ALL).unwrap();
                    let found: Vec<String> = found.into_keys().collect();
                    assert_eq!(found, expected, "{name} {op:?} {pattern}");
                }
                let querier = db.querier(TimeRange::ALL).unwrap();
                let values = querier.label_values("host", &matchers).unwrap();
                assert_eq!(values.len(), expected.len(), "{name} {op:?} {pattern}");
                let selected = || {
                    let is_expected = |s: &&Pairs| expected.contains(&labels(s).to_string());
                    all.iter().filter(is_expected).flatten()
                };
                let names: BTreeSet<&str> = selected().map(|(name, _)| name.as_str()).collect();
                let found = querier.label_names(&matchers).unwrap();
                assert_eq!(found, Vec::from_iter(names), "{name} {op:?} {pattern}");
                let zones = selected().filter(|(name, _)| name == "zone");
                let zones: BTreeSet<&str> = zones.map(|(_, value)| value.as_str()).collect();
                let found = querier.label_values("zone", &matchers).unwrap();
                assert_eq!(found, Vec::from_iter(zones), "{name} {op:?} {pattern}");
            }
        }
        db.flush().unwrap();
    }
}

/// A series of values of one kind each, so that every codec of blocks is used.
fn value_of_kind(kind: usize, at: usize, random: &mut Random) -> f64 {
    let step = at as f64;
    match kind {
        0 => 7.0,
        1 => 4.25,
        2 => -0.0,
        3 => step * 1000.0,
        4 => (random.below(100_000) as f64) / 1000.0,
        5 => (step + 1.0).sqrt().sin(),
        6 => f64::from_bits(random.next()),
        7 => tenbin_model::stale_nan(),
        _ => random.value(),
    }
}

/// Whoever only asks where samples and staleness markers are gets the same, wherever they lie.
#[test]
fn presence_is_the_same_without_values() {
    let mut codecs_skipped = 0;
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let db = open(&SimVfs::new(), &options()).unwrap();
        let mut at_ms = START_MS;
        for round in 0..120 {
            at_ms += 1 + random.below(30_000) as i64;
            for kind in 0..9 {
                let pairs = pairs(&[("__name__", "m"), ("kind", &kind.to_string())]);
                let value = match random.below(if kind % 2 == 0 { 25 } else { 1000 }) {
                    0 => tenbin_model::stale_nan(),
                    _ => value_of_kind(kind, round, &mut random),
                };
                let request = match random.below(60) {
                    0 => one_histogram(
                        pairs,
                        HistogramSample {
                            timestamp_ms: at_ms,
                            start_timestamp_ms: 0,
                            histogram: random.histogram(),
                        },
                    ),
                    1 => one(pairs, at_ms - random.below(60_000) as i64, value),
                    _ => one(pairs, at_ms, value),
                };
                append(&db, &request);
            }
            if random.below(50) == 0 {
                db.flush().unwrap();
            }
        }
        db.flush().unwrap();
        let from = START_MS + random.below(600_000) as i64;
        for range in [TimeRange::ALL, TimeRange::new(from, from + 600_000)] {
            let querier = db.querier(range).unwrap();
            let select = |presence_only| {
                let hints = SelectHints {
                    presence_only,
                    ..SelectHints::default()
                };
                querier.select(&any(), &hints).unwrap()
            };
            let (whole, present) = (select(false), select(true));
            assert_eq!(whole.len(), present.len());
            let mut buffers = [SampleBuffer::default(), SampleBuffer::default()];
            for series in 0..whole.len() {
                whole.read(series, range, &mut buffers[0]).unwrap();
                present.read(series, range, &mut buffers[1]).unwrap();
                let [values, marks] = &buffers;
                let stale =
                    |values: &[f64]| values.iter().map(|v| is_stale(*v)).collect::<Vec<_>>();
                assert_eq!(values.timestamps_ms, marks.timestamps_ms);
                assert_eq!(stale(&values.values), stale(&marks.values));
                assert_eq!(values.start_timestamps_ms, marks.start_timestamps_ms);
                assert_eq!(
                    values.histogram_timestamps_ms,
                    marks.histogram_timestamps_ms
                );
                let texts = |b: &SampleBuffer| format!("{:?}", b.histograms);
                assert_eq!(texts(values), texts(marks));
                let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                codecs_skipped += usize::from(bits(&values.values) != bits(&marks.values));
            }
        }
    }
    assert!(codecs_skipped > 20, "{codecs_skipped} reads without values");
}
