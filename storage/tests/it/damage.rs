//! Damaged files: never a panic, never a wrong value, never silently less.

use tenbin_model::TimeRange;
use tenbin_storage::vfs::SimVfs;

use crate::harness::*;

/// A closed database with 3 series in a small WAL, and what it holds.
fn small_wal() -> (SimVfs, Contents) {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    for i in 0..6_i64 {
        let mut request = Request::default();
        for number in 0..3 {
            request.0.extend(
                one(
                    series(number),
                    START_MS + i * 1000,
                    (i * number as i64) as f64,
                )
                .0,
            );
        }
        append(&db, &request).1.wait().unwrap();
    }
    append(&db, &one(series(0), START_MS - 5000, 0.5))
        .1
        .wait()
        .unwrap();
    let all = everything(&db);
    db.close().unwrap();
    (disk, all)
}

fn assert_subset(found: &Contents, all: &Contents, case: &str) {
    for (labels, samples) in found {
        for (at_ms, bits) in samples {
            assert_eq!(
                all[labels].get(at_ms),
                Some(bits),
                "{case}: {labels} at {at_ms}"
            );
        }
    }
}

#[test]
fn a_flip_anywhere_in_the_wal_is_noticed() {
    let (disk, all) = small_wal();
    let path = files(&disk, "data/wal", ".wal").remove(0);
    let bytes = disk.bytes(&path).unwrap();
    for at in 0..bytes.len() {
        for flip in [1, 0x80] {
            let copy = disk.copy();
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            copy.overwrite(&path, damaged);
            let db = open(&copy, &options()).unwrap();
            let found = everything(&db);
            assert_subset(&found, &all, &format!("byte {at}"));
            if found != all {
                let stats = db.stats();
                assert!(
                    !stats.corruptions.is_empty() || stats.replay_torn_bytes > 0,
                    "byte {at}: lost without a word"
                );
            }
            append(&db, &one(series(9), START_MS + 9000, 1.0))
                .1
                .wait()
                .unwrap();
        }
    }
}

#[test]
fn a_wal_cut_anywhere_opens_with_a_prefix() {
    let (disk, all) = small_wal();
    let path = files(&disk, "data/wal", ".wal").remove(0);
    let bytes = disk.bytes(&path).unwrap();
    let mut held = 0;
    for len in 0..bytes.len() {
        let copy = disk.copy();
        copy.overwrite(&path, bytes[..len].to_vec());
        let db = open(&copy, &options()).unwrap();
        let found = everything(&db);
        assert_subset(&found, &all, &format!("length {len}"));
        let now: usize = found.values().map(std::collections::BTreeMap::len).sum();
        assert!(now >= held, "a longer log never holds less");
        held = now;
        let damaged = !db.stats().corruptions.is_empty();
        assert_eq!(
            damaged,
            len < 64,
            "a cut behind the header is what a crash does"
        );
    }
}

#[test]
fn damage_inside_one_segment_leaves_later_ones() {
    let disk = SimVfs::new();
    let small = tenbin_storage::Options {
        wal_segment_bytes: 4096,
        ..options()
    };
    let db = open(&disk, &small).unwrap();
    for i in 0..400_i64 {
        append(
            &db,
            &one(series((i % 5) as usize), START_MS + i * 1000, i as f64),
        )
        .1
        .wait()
        .unwrap();
    }
    let all = everything(&db);
    db.close().unwrap();
    let segments = files(&disk, "data/wal", ".wal");
    assert!(segments.len() > 3, "{segments:?}");
    let mut bytes = disk.bytes(&segments[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    disk.overwrite(&segments[1], bytes);
    let db = open(&disk, &small).unwrap();
    let found = everything(&db);
    assert_subset(&found, &all, "middle segment");
    let stats = db.stats();
    assert_eq!(stats.corruptions.len(), 1);
    assert!(stats.corruptions[0].file.starts_with("wal/"), "{stats:?}");
    let count = |c: &Contents| {
        c.values()
            .map(std::collections::BTreeMap::len)
            .sum::<usize>()
    };
    let lost = count(&all) - count(&found);
    assert!(
        lost > 0 && lost < 60,
        "{lost} lost: no more than a part of one segment"
    );
    db.flush().unwrap();
    assert_eq!(files(&disk, "data/wal", ".damaged").len(), 1, "kept aside");
    assert_eq!(everything(&db), found);
}

#[test]
fn a_flip_anywhere_in_a_block_fails_queries_or_changes_nothing() {
    let (disk, all) = small_wal();
    let db = open(&disk, &options()).unwrap();
    db.flush().unwrap();
    assert_eq!(everything(&db), all);
    db.close().unwrap();
    let path = files(&disk, "data/blocks", ".blk").remove(0);
    let bytes = disk.bytes(&path).unwrap();
    let mut failed = 0;
    for at in 0..bytes.len() {
        let copy = disk.copy();
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x21;
        copy.overwrite(&path, damaged);
        let db = open(&copy, &options()).unwrap();
        match contents(&db, &any(), TimeRange::ALL) {
            Ok(found) => assert_eq!(found, all, "byte {at}"),
            Err(error) => {
                assert!(error.to_string().contains("blocks/"), "{error}");
                failed += 1;
            }
        }
    }
    assert_eq!(failed, bytes.len(), "every byte of a small block is read");
    for len in 0..bytes.len() {
        let copy = disk.copy();
        copy.overwrite(&path, bytes[..len].to_vec());
        let db = open(&copy, &options()).unwrap();
        assert!(
            contents(&db, &any(), TimeRange::ALL).is_err(),
            "length {len}"
        );
    }
}

#[test]
fn a_damaged_manifest_is_rebuilt_from_the_blocks() {
    let (disk, all) = small_wal();
    let db = open(&disk, &options()).unwrap();
    db.flush().unwrap();
    append(&db, &one(series(0), START_MS + 50_000, 1.0))
        .1
        .wait()
        .unwrap();
    db.flush().unwrap();
    let all_now = everything(&db);
    assert_ne!(all, all_now);
    db.close().unwrap();
    let path = std::path::Path::new("data/MANIFEST");
    let mut bytes = disk.bytes(path).unwrap();
    bytes[20] ^= 1;
    disk.overwrite(path, bytes);
    let db = open(&disk, &options()).unwrap();
    assert_eq!(everything(&db), all_now);
    assert_eq!(db.stats().corruptions.len(), 1);
}
