//! A small data directory with everything in it: floats, start timestamps, both kinds of histograms,
//! late samples, exemplars, metadata, and deletions, in the log, in a flushed and in a merged block.

use std::collections::BTreeSet;

use tenbin_model::write::HistogramSample;
use tenbin_model::{MatchOp, Matcher, Sample, TimeRange};
use tenbin_storage::Db;
use tenbin_storage::vfs::SimVfs;

use crate::harness::*;

/// In the middle of a day, so that blocks merge.
const BASE_MS: i64 = START_MS - 40_000_000;

/// What the directory holds.
pub(crate) struct Rich {
    pub(crate) disk: SimVfs,
    /// What a query finds.
    pub(crate) visible: Contents,
    /// That and what was deleted.
    pub(crate) ever: Contents,
    pub(crate) exemplars: Exemplars,
    pub(crate) helps: Vec<String>,
}

pub(crate) type Exemplars = BTreeSet<(String, i64)>;

pub(crate) fn exemplars(db: &Db) -> Exemplars {
    let found = db.exemplars(&[any()], TimeRange::ALL).unwrap().into_iter();
    let found = found.flat_map(|series| {
        let labels = series.labels.to_string();
        let times = series.exemplars.into_iter();
        times.map(move |e| {
            (
                format!("{labels} {} {:x}", e.labels, e.value.to_bits()),
                e.timestamp_ms,
            )
        })
    });
    found.collect()
}

pub(crate) fn helps(db: &Db) -> Vec<String> {
    let all = db.metadata("").unwrap().into_iter();
    let all = all.flat_map(|(metric, list)| {
        let texts = list.into_iter();
        texts.map(move |m| format!("{metric}: {}", m.help))
    });
    all.collect()
}

fn fill(db: &Db, random: &mut Random, ever: &mut Contents, (from, to): (i64, i64)) {
    for i in from..to {
        let mut request = Request::default();
        for number in 0..5_usize {
            let late_ms = if (i + number as i64) % 5 == 4 {
                50_000
            } else {
                0
            };
            let timestamp_ms = BASE_MS + i * 20_000 - late_ms;
            let start_timestamp_ms = if number == 1 { BASE_MS - 7 } else { 0 };
            if number < 3 {
                let value = random.below(1000) as f64 / 8.0;
                let sample = Sample {
                    timestamp_ms,
                    value,
                    start_timestamp_ms,
                };
                request.0.push((series(number), vec![sample]));
            } else {
                let sample = HistogramSample {
                    timestamp_ms,
                    start_timestamp_ms,
                    histogram: random.histogram(),
                };
                request.push_histogram(series(number), sample);
            }
        }
        let id = format!("trace-{i}");
        request
            .2
            .exemplars
            .push((0, id, i as f64, BASE_MS + i * 20_000));
        let statement = (format!("metric_{}", i % 7), format!("help {}", i / 7));
        request.2.metadata.push(statement);
        let (report, commit) = append(db, &request);
        commit.wait().unwrap();
        note(ever, &request, &report);
    }
}

fn delete(db: &Db, number: usize, (from, to): (i64, i64)) {
    let pairs = series(number);
    let matchers = pairs.iter();
    let matchers = matchers.map(|(n, v)| Matcher::new(MatchOp::Equal, n, v).unwrap());
    let range = TimeRange::new(BASE_MS + from * 20_000, BASE_MS + to * 20_000);
    db.delete_series(&[matchers.collect()], range).unwrap();
}

/// Makes such a directory; the same each time.
pub(crate) fn rich() -> Rich {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    let (mut random, mut ever) = (Random::new(11), Contents::new());
    fill(&db, &mut random, &mut ever, (0, 12));
    db.flush().unwrap();
    fill(&db, &mut random, &mut ever, (12, 24));
    db.flush().unwrap();
    db.compact().unwrap();
    assert_eq!(db.stats().blocks, 1, "one merged block");
    // One more frame than the last restart wrote, and one with deletions.
    fill(&db, &mut random, &mut ever, (24, 36));
    db.flush().unwrap();
    // A block of floats alone, which an older version can read.
    for i in 0..20 {
        let request = one(series(6), BASE_MS + 800_000 + i * 1000, i as f64);
        let (report, commit) = append(&db, &request);
        commit.wait().unwrap();
        note(&mut ever, &request, &report);
    }
    db.flush().unwrap();
    delete(&db, 0, (3, 6));
    delete(&db, 3, (25, 30));
    fill(&db, &mut random, &mut ever, (41, 49));
    delete(&db, 1, (43, 45));
    let stats = db.stats();
    assert!(stats.blocks == 3 && stats.tombstones > 0, "{stats:?}");
    let (visible, exemplars, helps) = (everything(&db), exemplars(&db), helps(&db));
    assert!(exemplars.len() > 40 && helps.len() >= 7);
    db.close().unwrap();
    drop(db);
    Rich {
        disk,
        visible,
        ever,
        exemplars,
        helps,
    }
}
