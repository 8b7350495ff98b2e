//! Samples of any age come in, and whole databases go out: backfill, long levels, snapshots.

use std::path::PathBuf;

use tenbin_model::{MatchOp, Matcher, TimeRange};
use tenbin_storage::Options;
use tenbin_storage::vfs::{CrashMode, SimFault, SimVfs};

use crate::harness::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[test]
fn backfilled_samples_go_into_blocks_of_their_days_and_long_levels() {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    let mut oracle = Contents::new();
    let fresh = one(series(0), START_MS, 1.0);
    let (report, _) = append(&db, &fresh);
    note(&mut oracle, &fresh, &report);
    for day in 0..70_i64 {
        for number in 0..3 {
            let at_ms = START_MS - day * DAY_MS - 3 * 60 * 60 * 1000;
            let request = one(series(number), at_ms, day as f64);
            if day > 0 {
                let (report, _) = append(&db, &request);
                assert_eq!(report.rejected_samples, 1, "older than the window");
            }
            let (report, commit) = db.backfill(1, &request).unwrap();
            commit.wait().unwrap();
            assert_eq!(report.samples_written, 1);
            note(&mut oracle, &request, &report);
        }
    }
    assert_eq!(everything(&db), oracle);
    let report = db.flush().unwrap();
    assert_eq!(report.samples, 1 + 70 * 3);
    assert_eq!(db.stats().blocks, 71);
    assert_eq!(everything(&db), oracle);
    db.compact().unwrap();
    let blocks = db.stats().blocks;
    assert!((3..=4).contains(&blocks), "{blocks} blocks of 31 days");
    assert_eq!(everything(&db), oracle);
    let disk = disk.crash(CrashMode::DropAll, 0);
    let limited = Options {
        retention_ms: 50 * DAY_MS,
        ..options()
    };
    let db = open(&disk, &limited).unwrap();
    assert_eq!(everything(&db), oracle);
    let old = one(series(1), START_MS - 51 * DAY_MS, 1.0);
    let (report, _) = db.backfill(1, &old).unwrap();
    assert_eq!(report.rejected_samples, 1, "older than the retention time");
}

#[test]
fn levels_keep_to_a_tenth_of_the_retention_time() {
    let disk = SimVfs::new();
    let limited = Options {
        retention_ms: 45 * DAY_MS,
        ..options()
    };
    let db = open(&disk, &limited).unwrap();
    for day in (0..20_i64).rev() {
        let at_ms = START_MS - day * DAY_MS;
        append(&db, &one(series(0), at_ms, day as f64));
        db.flush().unwrap();
    }
    let before = everything(&db);
    db.compact().unwrap();
    let blocks = db.stats().blocks;
    assert!((5..=6).contains(&blocks), "{blocks} blocks of four days");
    assert_eq!(everything(&db), before);
}

#[test]
fn a_snapshot_is_a_database_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let real = Options {
        data_dir: dir.path().join("data"),
        ..options()
    };
    let db = tenbin_storage::Db::open(real.clone()).unwrap();
    for i in 0..50_i64 {
        append(&db, &one(series(i as usize % 5), START_MS + i * 1000, 1.0));
        if i == 30 {
            db.flush().unwrap();
        }
    }
    let in_blocks = contents(&db, &any(), TimeRange::new(0, START_MS + 30_000)).unwrap();
    let all = everything(&db);
    db.snapshot("whole", false).unwrap();
    db.snapshot("blocks", true).unwrap();
    assert!(db.snapshot("whole", false).is_err(), "the name is taken");
    assert!(db.snapshot("../x", false).is_err());
    // What happens later is not in it.
    append(&db, &one(series(9), START_MS + 60_000, 1.0));
    let only = vec![Matcher::new(MatchOp::Equal, "__name__", "up").unwrap()];
    db.delete_series(&[only], TimeRange::ALL).unwrap();
    db.flush().unwrap();
    db.compact().unwrap();
    for (name, expected) in [("whole", &all), ("blocks", &in_blocks)] {
        let copy = Options {
            data_dir: real.data_dir.join("snapshots").join(name),
            ..options()
        };
        let copy = tenbin_storage::Db::open(copy).unwrap();
        assert_eq!(&everything(&copy), expected, "{name}");
        assert_eq!(copy.stats().corruptions, []);
        append(&copy, &one(series(1), START_MS + 70_000, 1.0))
            .1
            .wait()
            .unwrap();
    }
}

#[test]
fn a_snapshot_that_fails_anywhere_leaves_nothing() {
    let mut succeeded = false;
    for nth in 0..40 {
        let disk = SimVfs::new();
        let db = open(&disk, &options()).unwrap();
        for i in 0..20_i64 {
            append(&db, &one(series(0), START_MS + i, 1.0));
        }
        db.flush().unwrap();
        append(&db, &one(series(1), START_MS + 100, 1.0))
            .1
            .wait()
            .unwrap();
        let all = everything(&db);
        disk.set_fault(Some(SimFault::EioAt(disk.write_count() + nth)));
        let made = db.snapshot("s", false);
        disk.set_fault(None);
        assert_eq!(everything(&db), all);
        let inside = |path: &PathBuf| path.starts_with("data/snapshots");
        if made.is_err() {
            let left: Vec<_> = disk.paths().into_iter().filter(inside).collect();
            assert!(left.is_empty(), "operation {nth} left {left:?}");
            continue;
        }
        succeeded = true;
        drop(db);
        let disk = disk.crash(CrashMode::DropAll, nth);
        let copy = Options {
            data_dir: "data/snapshots/s".into(),
            ..options()
        };
        assert_eq!(everything(&open(&disk, &copy).unwrap()), all);
    }
    assert!(succeeded);
}
