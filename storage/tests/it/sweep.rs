//! Every file operation of a standard workload fails, once and for ever, with EIO and with ENOSPC.
//! Nothing acknowledged is lost, nothing wrong is read, and a restart without the fault needs no hand.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tenbin_model::{MatchOp, Matcher, TimeRange};
use tenbin_storage::Db;
use tenbin_storage::vfs::{CrashMode, SimFault, SimVfs};

use crate::harness::*;

/// What a client knows.
#[derive(Default)]
struct Ledger {
    /// Acknowledged and not deleted.
    acknowledged: Contents,
    /// Sent, or deleted, without an answer: may be there or not.
    unknown: BTreeSet<(String, i64, u64)>,
}

impl Ledger {
    fn append(&mut self, db: &Db, request: &Request) {
        let mut sent = Contents::new();
        let stored = db.append(1, request).and_then(|(report, commit)| {
            note(&mut sent, request, &report);
            commit.wait()
        });
        if stored.is_err() {
            sent = Contents::new();
            note(
                &mut sent,
                request,
                &tenbin_model::write::AppendReport::default(),
            );
        }
        for (labels, samples) in sent {
            for (at_ms, bits) in samples {
                let known = self.acknowledged.entry(labels.clone()).or_default();
                if stored.is_ok() {
                    known.entry(at_ms).or_insert(bits);
                } else if !known.contains_key(&at_ms) {
                    self.unknown.insert((labels.clone(), at_ms, bits));
                }
            }
        }
    }

    fn delete(&mut self, db: &Db, number: usize, range: TimeRange) {
        let pairs = series(number);
        let matchers = pairs
            .iter()
            .map(|(name, value)| Matcher::new(MatchOp::Equal, name, value).unwrap())
            .collect();
        let deleted = db.delete_series(&[matchers], range).is_ok();
        let labels = labels(&pairs).to_string();
        let samples = self.acknowledged.entry(labels.clone()).or_default();
        samples.retain(|at_ms, bits| {
            let hit = range.contains(*at_ms);
            if hit && !deleted {
                self.unknown.insert((labels.clone(), *at_ms, *bits));
            }
            !hit
        });
        if deleted {
            let gone = |s: &(String, i64, u64)| s.0 == labels && range.contains(s.1);
            self.unknown.retain(|sample| !gone(sample));
        }
    }

    fn check(&self, found: &Contents, case: &str) {
        for (labels, samples) in &self.acknowledged {
            for (at_ms, bits) in samples {
                let stored = found.get(labels).and_then(|s| s.get(at_ms));
                assert_eq!(stored, Some(bits), "{case}: {labels} at {at_ms} is lost");
            }
        }
        for (labels, samples) in found {
            for (at_ms, bits) in samples {
                let known = self.acknowledged.get(labels).and_then(|s| s.get(at_ms));
                let unknown = self.unknown.contains(&(labels.clone(), *at_ms, *bits));
                assert!(
                    known == Some(bits) || unknown,
                    "{case}: {labels} at {at_ms} was never stored so"
                );
            }
        }
    }
}

/// Requests of three series, now and then with a late sample.
fn fill(db: &Db, ledger: &mut Ledger, from: i64) {
    for i in from..from + 8 {
        let late_ms = if i % 4 == 3 { 25_500 } else { 0 };
        let mut request = Request::default();
        for number in 0..3 {
            let at_ms = START_MS + i * 15_000 - late_ms;
            let value = (i * 10 + number as i64) as f64;
            request.0.extend(one(series(number), at_ms, value).0);
        }
        ledger.append(db, &request);
    }
}

fn read(db: &Db, ledger: &Ledger, case: &str) {
    // A fault may make a query fail, never lie.
    if let Ok(found) = contents(db, &any(), TimeRange::ALL) {
        ledger.check(&found, case);
    }
}

/// Everything that a database does, however much of it fails.
fn workload(disk: &SimVfs, ledger: &mut Ledger, case: &str) {
    let opened = || open(disk, &options()).or_else(|_| open(disk, &options()));
    let work = |db: &Arc<Db>, ledger: &mut Ledger, from: i64| {
        fill(db, ledger, from);
        let _ = db.flush();
        read(db, ledger, case);
        fill(db, ledger, from + 8);
        let from_ms = START_MS + from * 15_000;
        ledger.delete(db, 1, TimeRange::new(from_ms + 60_000, from_ms + 150_000));
        let _ = db.snapshot(&format!("s{from}"), false);
        let _ = db.flush();
        let _ = db.compact();
        fill(db, ledger, from + 16);
        ledger.delete(db, 2, TimeRange::new(from_ms, from_ms + 30_000));
        let _ = db.clean_tombstones();
        let _ = db.enforce_retention();
        read(db, ledger, case);
        let _ = db.close();
    };
    for from in [0, 100] {
        if let Ok(db) = opened() {
            work(&db, ledger, from);
        }
    }
}

fn one_case(fault: SimFault, seed: u64) {
    let case = format!("{fault:?}");
    let disk = SimVfs::new();
    let mut ledger = Ledger::default();
    disk.set_fault(Some(fault));
    workload(&disk, &mut ledger, &case);
    let mode = [CrashMode::DropAll, CrashMode::KeepAll, CrashMode::Random][seed as usize % 3];
    let disk = disk.crash(mode, seed);
    let db = open(&disk, &options()).unwrap_or_else(|e| panic!("{case}: {e}"));
    let found = everything(&db);
    ledger.check(&found, &case);
    assert_eq!(db.verify(), [], "{case}");
    assert_eq!(db.stats().corruptions, [], "{case}");
    db.close().unwrap();
    let db = open(&disk, &options()).unwrap();
    assert_same(&everything(&db), &found);
    fill(&db, &mut ledger, 500);
    db.flush().unwrap();
    db.compact().unwrap();
    ledger.check(&everything(&db), &case);
}

#[test]
fn every_operation_may_fail() {
    let disk = SimVfs::new();
    let mut ledger = Ledger::default();
    workload(&disk, &mut ledger, "no fault");
    assert!(
        ledger.unknown.is_empty(),
        "without a fault everything is answered"
    );
    let (changes, looks) = (disk.write_count(), disk.read_count());
    assert!(
        changes > 250 && looks > 25,
        "{changes} changes, {looks} looks"
    );
    // A normal run takes a sample; the whole sweep is for the long run.
    let stride = if std::env::var_os("TENBIN_SWEEP").is_some() {
        1
    } else {
        7
    };
    let mut cases = Vec::new();
    for number in (0..changes + 2).step_by(stride) {
        cases.push((SimFault::EioAt(number), number));
        cases.push((SimFault::EioFrom(number), number));
        cases.push((SimFault::NoSpaceAt(number), number));
        cases.push((SimFault::NoSpaceFrom(number), number));
    }
    for number in (0..looks + 2).step_by(stride) {
        cases.push((SimFault::ReadEioAt(number), number));
        cases.push((SimFault::ReadEioFrom(number), number));
    }
    // Most of the time is waiting for space.
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some((fault, seed)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    one_case(*fault, *seed);
                }
            });
        }
    });
}
