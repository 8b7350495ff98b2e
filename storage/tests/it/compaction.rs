//! Blocks merge to their final level, whatever fails meanwhile.

use tenbin_model::TimeRange;
use tenbin_storage::Options;
use tenbin_storage::vfs::{CrashMode, SimFault, SimVfs};

use crate::harness::*;

/// In the middle of a day.
const BASE_MS: i64 = START_MS - 40_000_000;

/// Flushes six blocks within one day, with late, repeated and contradicting samples in between.
fn filled(disk: &SimVfs) -> (std::sync::Arc<tenbin_storage::Db>, Contents) {
    let db = open(disk, &options()).unwrap();
    let mut oracle = Contents::new();
    for block in 0..6_i64 {
        for i in 0..20_i64 {
            let late = if i % 5 == 4 { 1_500_000 } else { 0 };
            let at_ms = BASE_MS + block * 1_400_000 + i * 15_000 - late;
            let number = (i + block) as usize % 7;
            let request = one(series(number), at_ms, (block * 100 + i) as f64);
            let (report, commit) = append(&db, &request);
            commit.wait().unwrap();
            note(&mut oracle, &request, &report);
        }
        db.flush().unwrap();
    }
    assert_eq!(everything(&db), oracle);
    (db, oracle)
}

#[test]
fn everything_becomes_one_block_per_day() {
    let disk = SimVfs::new();
    let (db, oracle) = filled(&disk);
    let querier_before = contents(&db, &any(), TimeRange::ALL).unwrap();
    let report = db.compact().unwrap();
    assert!(report.input_blocks >= 6, "{report:?}");
    let stats = db.stats();
    assert_eq!(stats.blocks, 1);
    assert_eq!(
        stats.block_samples,
        oracle.values().map(|s| s.len() as u64).sum::<u64>()
    );
    assert_eq!(everything(&db), oracle);
    assert_eq!(querier_before, oracle);
    assert_eq!(
        db.compact().unwrap(),
        tenbin_storage::CompactReport::default()
    );
    assert_eq!(
        files(&disk, "data/blocks", ".blk").len() as u64,
        stats.blocks
    );
    let disk = disk.crash(CrashMode::DropAll, 0);
    let db = open(&disk, &options()).unwrap();
    assert_eq!(everything(&db), oracle);
    assert_eq!(db.verify(), []);
}

#[test]
fn a_compaction_that_fails_anywhere_loses_nothing() {
    for crash in [false, true] {
        for nth in 0..24 {
            let disk = SimVfs::new();
            let (db, oracle) = filled(&disk);
            let from = disk.write_count() + nth;
            disk.set_fault(Some(if crash {
                SimFault::EioFrom(from)
            } else {
                SimFault::EioAt(from)
            }));
            let _ = db.compact();
            assert_eq!(everything(&db), oracle, "operation {nth}");
            let disk = if crash {
                disk.crash(CrashMode::Random, nth)
            } else {
                disk.set_fault(None);
                let _ = db.compact();
                assert_eq!(everything(&db), oracle, "operation {nth}, again");
                disk.crash(CrashMode::DropAll, nth)
            };
            let db = open(&disk, &options()).unwrap();
            assert_eq!(db.stats().corruptions, [], "operation {nth}");
            assert_eq!(everything(&db), oracle, "operation {nth} after restart");
            db.compact().unwrap();
            assert_eq!(everything(&db), oracle, "operation {nth} at last");
            assert_eq!(db.stats().blocks, 1);
        }
    }
}

#[test]
fn a_damaged_block_stays_alone() {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    let mut random = Random::new(5);
    // Large enough that values and index are in different pages.
    for block in 0..4_i64 {
        for i in 0..60_i64 {
            let mut request = Request::default();
            for number in 0..200 {
                let at_ms = BASE_MS + block * 1_400_000 + i * 15_000;
                let value = f64::from_bits(random.next());
                request.0.extend(one(series(number), at_ms, value).0);
            }
            append(&db, &request);
        }
        db.flush().unwrap();
    }
    let all = everything(&db);
    db.close().unwrap();
    let path = files(&disk, "data/blocks", ".blk").remove(1);
    let intact = disk.bytes(&path).unwrap();
    let mut bytes = intact.clone();
    bytes[70] ^= 1;
    disk.overwrite(&path, bytes);
    let db = open(&disk, &options()).unwrap();
    let report = db.compact().unwrap();
    assert_eq!((report.damaged_blocks, report.output_blocks), (1, 1));
    assert_eq!(db.stats().blocks, 2);
    assert_eq!(db.stats().corruptions.len(), 1);
    let error = contents(&db, &any(), TimeRange::ALL).unwrap_err();
    assert!(error.to_string().contains("blocks/"), "{error}");
    db.close().unwrap();
    disk.overwrite(&path, intact);
    let db = open(&disk, &options()).unwrap();
    assert!(everything(&db) == all, "damage is not deleted");
    db.compact().unwrap();
    assert!(db.stats().blocks == 1 && everything(&db) == all);
}

#[test]
fn a_full_disk_and_an_open_querier_are_respected() {
    let disk = SimVfs::new();
    let (db, oracle) = filled(&disk);
    disk.set_fault(Some(SimFault::NoSpace));
    assert!(db.compact().is_err());
    disk.set_fault(None);
    assert_eq!(everything(&db), oracle);
    let querier = tenbin_model::Queryable::querier(&*db, TimeRange::ALL).unwrap();
    append(&db, &one(series(1), BASE_MS + 9_000_000, 1.0));
    db.flush().unwrap();
    db.compact().unwrap();
    assert_eq!(
        db.stats().blocks,
        2,
        "the newest block waits for the querier"
    );
    drop(querier);
    db.compact().unwrap();
    assert_eq!(db.stats().blocks, 1);
}

#[test]
fn the_oldest_blocks_go_when_the_size_limit_is_passed() {
    let disk = SimVfs::new();
    let (db, oracle) = filled(&disk);
    let all_bytes = db.stats().block_bytes;
    db.close().unwrap();
    let limited = |retention_bytes| Options {
        retention_bytes,
        ..options()
    };
    let db = open(&disk, &limited(all_bytes * 2)).unwrap();
    assert_eq!(db.enforce_retention().unwrap(), 0);
    drop(db);
    let db = open(&disk, &limited(all_bytes / 2)).unwrap();
    let gone = db.enforce_retention().unwrap();
    assert!((2..6).contains(&gone), "{gone} blocks went");
    let stats = db.stats();
    assert_eq!((stats.size_retentions, stats.time_retentions), (1, 0));
    let left = everything(&db);
    let newest = |c: &Contents| c.values().flat_map(|s| s.keys()).max().copied();
    assert_eq!(newest(&left), newest(&oracle));
}
