//! Disks that fail: full, broken, broken in the middle of a flush.

use std::time::Duration;

use tenbin_storage::AppendError;
use tenbin_storage::vfs::{CrashMode, SimFault, SimVfs};

use crate::harness::*;

#[test]
fn a_full_disk_refuses_and_resumes_by_itself() {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    append(&db, &one(series(0), START_MS, 1.0))
        .1
        .wait()
        .unwrap();
    disk.set_fault(Some(SimFault::NoSpace));
    let request = one(series(0), START_MS + 1, 2.0);
    let (_, commit) = append(&db, &request);
    assert!(matches!(commit.wait(), Err(AppendError::NoSpace { .. })));
    assert!(matches!(
        db.append(1, &request),
        Err(AppendError::NoSpace { .. })
    ));
    assert_eq!(everything(&db).len(), 1, "reads go on");
    disk.set_fault(None);
    let mut tries = 0;
    // The sender repeats the request, now a duplicate: acknowledged only once it is durable.
    loop {
        match db.append(1, &request).map(|(_, commit)| commit.wait()) {
            Ok(Ok(())) => break,
            _ if tries < 100 => std::thread::sleep(Duration::from_millis(20)),
            other => panic!("writes did not resume: {other:?}"),
        }
        tries += 1;
    }
    let disk = disk.crash(CrashMode::DropAll, 0);
    let db = open(&disk, &options()).unwrap();
    assert_eq!(everything(&db)[&labels(&series(0)).to_string()].len(), 2);
}

#[test]
fn nothing_is_acknowledged_after_a_failed_write_or_sync() {
    for nth in 0..12 {
        let disk = SimVfs::new();
        let db = open(&disk, &options()).unwrap();
        let mut oracle = Contents::new();
        let mut failed = false;
        // Once this is durable the writer thread is idle, so operations can be counted.
        append(&db, &one(series(1), START_MS, 0.0))
            .1
            .wait()
            .unwrap();
        disk.set_fault(Some(SimFault::EioAt(disk.write_count() + nth)));
        for i in 0..10 {
            let request = one(series(0), START_MS + i, i as f64);
            let durable = db.append(1, &request).and_then(|(report, commit)| {
                commit.wait()?;
                Ok(report)
            });
            match durable {
                Ok(report) => {
                    assert!(!failed, "operation {nth}: acknowledged after a failure");
                    note(&mut oracle, &request, &report);
                }
                Err(AppendError::WalFailed { .. }) => failed = true,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(failed, "operation {nth} did not fail");
        assert!(db.stats().wal_failure.is_some());
        let disk = disk.crash(CrashMode::DropAll, nth);
        let found = everything(&open(&disk, &options()).unwrap());
        for (labels, samples) in &oracle {
            for (at_ms, bits) in samples {
                assert_eq!(found[labels].get(at_ms), Some(bits), "operation {nth}");
            }
        }
    }
}

/// Fails or crashes every single operation of a flush.
#[test]
fn a_flush_that_fails_anywhere_loses_nothing() {
    for crash in [false, true] {
        for nth in 0..30 {
            let disk = SimVfs::new();
            let db = open(&disk, &options()).unwrap();
            let mut oracle = Contents::new();
            for i in 0..30_i64 {
                let late = if i % 7 == 6 { 5500 } else { 0 };
                let request = one(
                    series((i % 4) as usize),
                    START_MS + i * 1000 - late,
                    i as f64,
                );
                let (report, commit) = append(&db, &request);
                commit.wait().unwrap();
                note(&mut oracle, &request, &report);
            }
            let from = disk.write_count() + nth;
            disk.set_fault(Some(if crash {
                SimFault::EioFrom(from)
            } else {
                SimFault::EioAt(from)
            }));
            let failed = db.flush().is_err();
            assert_eq!(everything(&db), oracle, "operation {nth}");
            let disk = if crash {
                disk.crash(CrashMode::Random, nth)
            } else {
                disk.set_fault(None);
                // A later flush may succeed, unless the log itself has failed.
                let _ = db.flush();
                assert_eq!(everything(&db), oracle, "operation {nth}, second flush");
                disk.crash(CrashMode::DropAll, nth)
            };
            let db = open(&disk, &options()).unwrap();
            assert_eq!(
                everything(&db),
                oracle,
                "operation {nth} ({failed}) after restart"
            );
            db.flush().unwrap();
            assert_eq!(
                everything(&db),
                oracle,
                "operation {nth} after restart and flush"
            );
        }
    }
}
