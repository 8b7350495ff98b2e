//! Who owns a directory, and what a restart finds.

use std::sync::Arc;

use tenbin_storage::vfs::{CrashMode, OsVfs, SimVfs, Vfs};
use tenbin_storage::{Db, OpenError, Options};

use crate::harness::*;

#[test]
fn a_second_owner_is_refused() {
    let disk = SimVfs::new();
    let first = open(&disk, &options()).unwrap();
    assert!(matches!(
        open(&disk, &options()),
        Err(OpenError::Locked { .. })
    ));
    first.close().unwrap();
    first.close().unwrap();
    open(&disk, &options()).unwrap();
}

#[test]
fn the_real_disk_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: dir.path().join("data"),
        ..options()
    };
    let mut oracle = Contents::new();
    for round in 0..4 {
        let db = Db::open(options.clone()).unwrap();
        assert_eq!(everything(&db), oracle);
        for i in 0..50_i64 {
            let at_ms = START_MS + round * 1_000_000 + i * 1000;
            let request = one(series(i as usize % 7), at_ms, i as f64 * 0.1);
            let (report, commit) = append(&db, &request);
            commit.wait().unwrap();
            note(&mut oracle, &request, &report);
        }
        if round % 2 == 1 {
            let report = db.flush().unwrap();
            assert!(
                report.samples > 0 && report.removed_segments > 0,
                "{report:?}"
            );
        }
        assert_eq!(everything(&db), oracle);
        assert!(matches!(
            Db::open(options.clone()),
            Err(OpenError::Locked { .. })
        ));
    }
    let blocks = OsVfs.list(&dir.path().join("data/blocks")).unwrap();
    assert_eq!(blocks.len(), 2);
}

#[test]
fn a_commit_calls_back_once_durable() {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let (_, commit) = append(&db, &one(series(0), START_MS, 1.0));
    commit.on_durable(Box::new(move |result| sender.send(result).unwrap()));
    receiver.recv().unwrap().unwrap();
    let disk = disk.crash(CrashMode::DropAll, 0);
    assert_eq!(everything(&open(&disk, &options()).unwrap()).len(), 1);
}

#[test]
fn silent_and_stale_series_leave_memory_and_stay_readable() {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    append(&db, &one(series(0), START_MS, 1.0));
    append(&db, &one(series(1), START_MS, tenbin_model::stale_nan()));
    append(&db, &one(series(2), START_MS + 500_000, 1.0));
    let report = db.flush().unwrap();
    assert_eq!(
        report.evicted_series, 1,
        "only the stale one is old enough: {report:?}"
    );
    append(&db, &one(series(2), START_MS + 500_001, 1.0));
    assert_eq!(db.stats().head_series, 2);
    append(&db, &one(series(3), START_MS + 3_000_000, 1.0));
    assert_eq!(db.flush().unwrap().evicted_series, 2);
    assert_eq!(db.stats().head_series, 1);
    assert_eq!(everything(&db).len(), 4);
    let (report, commit) = append(&db, &one(series(0), START_MS + 3_000_001, 2.0));
    commit.wait().unwrap();
    assert_eq!(report.samples_written, 1);
    assert_eq!(everything(&db)[&labels(&series(0)).to_string()].len(), 2);
}

#[test]
fn series_in_several_lanes_are_written_by_one_request() {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    let mut all = Request::default();
    for number in 0..40 {
        let request = one(series(number), START_MS, 1.0);
        db.append(number as u64, &request).unwrap();
        all.0
            .push(one(series(number), START_MS + 1, 2.0).0.remove(0));
    }
    let (report, commit) = db.append(99, &all).unwrap();
    commit.wait().unwrap();
    assert_eq!(report.samples_written, 40);
    assert_eq!(db.stats().head_series, 40);
    let disk = disk.crash(CrashMode::DropAll, 0);
    let db = open(&disk, &options()).unwrap();
    let found = everything(&db);
    assert!(found.len() == 40 && found.values().all(|s| s.len() == 2));
}

#[test]
fn writers_and_a_flusher_run_together() {
    let disk = SimVfs::new();
    let db = open(
        &disk,
        &Options {
            wal_segment_bytes: 1 << 16,
            ..options()
        },
    )
    .unwrap();
    let writers: Vec<_> = (0..4_u64)
        .map(|writer| {
            let db = Arc::clone(&db);
            std::thread::spawn(move || {
                for i in 0..200_i64 {
                    let mut request = Request::default();
                    for number in 0..10 {
                        let own = one(
                            series(writer as usize * 10 + number),
                            START_MS + i * 1000,
                            i as f64,
                        );
                        request.0.extend(own.0);
                    }
                    let (report, commit) = db.append(writer, &request).unwrap();
                    commit.wait().unwrap();
                    assert_eq!(report.samples_written, 10, "{report:?}");
                }
            })
        })
        .collect();
    for _ in 0..10 {
        db.flush().unwrap();
        let found = everything(&db);
        for samples in found.values() {
            let held: Vec<_> = samples.keys().copied().collect();
            let complete: Vec<_> = (0..held.len() as i64)
                .map(|i| START_MS + i * 1000)
                .collect();
            assert_eq!(held, complete, "no sample is missing while a flush runs");
        }
    }
    for writer in writers {
        writer.join().unwrap();
    }
    let found = everything(&db);
    assert!(found.len() == 40 && found.values().all(|s| s.len() == 200));
    let disk = disk.crash(CrashMode::DropAll, 0);
    assert_eq!(everything(&open(&disk, &options()).unwrap()), found);
}

#[test]
fn a_small_database_is_small_on_disk_and_reuses_its_log_files() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let options = Options {
        data_dir: data.clone(),
        wal_segment_bytes: 64 << 20,
        ..options()
    };
    let db = Db::open(options).unwrap();
    for round in 0..5_i64 {
        for i in 0..20 {
            let at_ms = START_MS + round * 100_000 + i * 1000;
            append(&db, &one(series(i as usize), at_ms, 1.0))
                .1
                .wait()
                .unwrap();
        }
        db.flush().unwrap();
        let stats = db.stats();
        assert_eq!(stats.wal_segments, 1);
        assert!(stats.wal_bytes < 4096, "{} bytes in use", stats.wal_bytes);
        assert_eq!(db.wal_queued_bytes(), 0);
        let names = OsVfs.list(&data.join("wal")).unwrap();
        assert!(names.len() <= 2, "{names:?}");
        for name in names {
            let len = std::fs::metadata(data.join("wal").join(&name))
                .unwrap()
                .len();
            assert!(len <= 4 << 20, "{name} has {len} bytes");
        }
    }
}

/// Old frames behind the end of a recycled segment are neither replayed nor taken for damage.
#[test]
fn a_recycled_segment_forgets_its_former_life() {
    for seed in 0..60 {
        let disk = SimVfs::new();
        let db = open(&disk, &options()).unwrap();
        let mut oracle = Contents::new();
        let mut at_ms = START_MS;
        for round in 0..4 {
            for i in 0..12 {
                at_ms += 1000;
                let request = one(series(i % 5), at_ms, i as f64 + 0.1 * f64::from(round));
                let (report, commit) = append(&db, &request);
                commit.wait().unwrap();
                note(&mut oracle, &request, &report);
            }
            if round < 3 {
                db.flush().unwrap();
            }
        }
        let mode = [CrashMode::DropAll, CrashMode::KeepAll, CrashMode::Random][seed % 3];
        let disk = disk.crash(mode, seed as u64);
        let db = open(&disk, &options()).unwrap();
        assert_eq!(everything(&db), oracle, "seed {seed}");
        let stats = db.stats();
        assert_eq!((stats.corruptions.len(), stats.replay_torn_bytes), (0, 0));
    }
}
