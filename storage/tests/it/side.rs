//! Exemplars and metadata: durable in the log, through flushes, in snapshots; damage is set aside.

use std::collections::BTreeSet;
use std::path::Path;

use tenbin_model::TimeRange;
use tenbin_storage::vfs::{CrashMode, SimVfs, Vfs};
use tenbin_storage::{Db, Options};

use crate::harness::*;

type Found = BTreeSet<(String, String, u64, i64)>;

fn exemplars(db: &Db) -> Found {
    let mut found = Found::new();
    for series in db.exemplars(&[any()], TimeRange::ALL).unwrap() {
        let times = series.exemplars.iter().map(|e| e.timestamp_ms);
        assert!(times.is_sorted());
        for exemplar in series.exemplars {
            let own = (
                series.labels.to_string(),
                exemplar.labels.to_string(),
                exemplar.value.to_bits(),
                exemplar.timestamp_ms,
            );
            assert!(found.insert(own), "an exemplar comes once");
        }
    }
    found
}

fn helps(db: &Db) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (metric, list) in db.metadata("").unwrap() {
        found.extend(list.into_iter().map(|m| (metric.clone(), m.help)));
    }
    found
}

/// Random requests, flushes, reopenings and crashes against a set.
#[test]
fn what_was_acknowledged_comes_back() {
    for seed in 0..12 {
        let mut random = Random::new(seed);
        let mut disk = SimVfs::new();
        let mut db = open(&disk, &options()).unwrap();
        let (mut oracle, mut known_helps) = (Found::new(), BTreeSet::new());
        let mut now_ms = START_MS;
        for _ in 0..120 {
            match random.below(20) {
                0 | 1 => drop(db.flush().unwrap()),
                2 => {
                    db.close().unwrap();
                    db = open(&disk, &options()).unwrap();
                }
                3 => {
                    let mode = [CrashMode::DropAll, CrashMode::KeepAll, CrashMode::Random]
                        [random.below(3) as usize];
                    disk = disk.crash(mode, random.next());
                    db = open(&disk, &options()).unwrap();
                    assert_eq!(db.stats().corruptions, []);
                }
                _ => {
                    let number = random.below(5) as usize;
                    let mut request = one(series(number), now_ms, 1.0);
                    let at_ms = now_ms - random.below(2_500_000) as i64;
                    let id = format!("trace-{}", random.below(3));
                    let value = random.value();
                    request.2.exemplars.push((0, id.clone(), value, at_ms));
                    let help = (format!("metric_{number}"), random.below(4).to_string());
                    request.2.metadata.push(help.clone());
                    let (report, commit) = append(&db, &request);
                    commit.wait().unwrap();
                    known_helps.insert(help);
                    if report.exemplar_errors.is_empty() {
                        assert_eq!(report.exemplars_written, 1);
                        let labels = labels(&series(number)).to_string();
                        let own = format!("{{trace_id=\"{id}\"}}");
                        oracle.insert((labels, own, value.to_bits(), at_ms));
                    }
                    now_ms += random.below(60_000) as i64;
                }
            }
            assert_eq!(exemplars(&db), oracle, "seed {seed}");
            assert_eq!(helps(&db), known_helps);
        }
        assert!(oracle.len() > 20);
    }
}

#[test]
fn the_ring_is_bounded_and_ranges_are_closed() {
    let disk = SimVfs::new();
    let options = Options {
        max_exemplars: 10,
        ..options()
    };
    let db = open(&disk, &options).unwrap();
    for i in 0..30 {
        let mut request = one(series(0), START_MS + i, 1.0);
        let exemplar = (0, "x".to_owned(), i as f64, START_MS + i);
        request.2.exemplars.push(exemplar);
        append(&db, &request).1.wait().unwrap();
    }
    assert_eq!(exemplars(&db).len(), 10);
    let stats = db.stats();
    assert_eq!((stats.exemplars, stats.exemplars_appended), (10, 30));
    let range = TimeRange::new(START_MS + 25, START_MS + 27);
    let found = db.exemplars(&[any()], range).unwrap();
    assert_eq!((found.len(), found[0].exemplars.len()), (1, 3));
    assert_eq!(db.exemplars(&[], TimeRange::ALL).unwrap(), []);
    db.flush().unwrap();
    let db = open(&disk.crash(CrashMode::DropAll, 0), &options).unwrap();
    assert_eq!(exemplars(&db).len(), 10);
}

#[test]
fn a_damaged_file_is_set_aside_and_the_log_still_counts() {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    let request = |number: usize| {
        let mut request = one(series(number), START_MS, 1.0);
        let exemplar = (0, "x".to_owned(), 1.0, START_MS);
        request.2.exemplars.push(exemplar);
        request
    };
    append(&db, &request(0)).1.wait().unwrap();
    db.flush().unwrap();
    append(&db, &request(1)).1.wait().unwrap();
    assert_eq!(exemplars(&db).len(), 2);
    db.snapshot("copy", false).unwrap();
    let copy = Options {
        data_dir: "data/snapshots/copy".into(),
        ..options()
    };
    assert_eq!(exemplars(&open(&disk, &copy).unwrap()).len(), 2);
    db.close().unwrap();
    let path = Path::new("data/EXEMPLARS");
    let mut bytes = disk.bytes(path).unwrap();
    bytes[30] ^= 1;
    disk.overwrite(path, bytes);
    let db = open(&disk, &options()).unwrap();
    assert_eq!(db.stats().corruptions[0].file, "EXEMPLARS");
    assert_eq!(exemplars(&db).len(), 1);
    let names = disk.list(Path::new("data")).unwrap();
    assert!(names.contains(&"EXEMPLARS.damaged".to_owned()));
}
