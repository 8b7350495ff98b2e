//! Out to blocks of Prometheus and in again, whatever fails meanwhile; and looking into files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tenbin_model::{MatchOp, Matcher, TimeRange};
use tenbin_storage::inspect::{View, inspect, verify};
use tenbin_storage::vfs::{CrashMode, OsVfs, SimFault, SimVfs};
use tenbin_storage::{Db, ExportOptions, ImportReport, InterchangeError};

use crate::harness::*;

/// A quarter before midnight.
const BASE_MS: i64 = START_MS / 86_400_000 * 86_400_000 - 900_000;

/// Nine hours around midnight, flushed and not.
fn filled(disk: &SimVfs) -> (Arc<Db>, Contents) {
    let db = open(disk, &options()).unwrap();
    let mut oracle = Contents::new();
    let mut random = Random::new(3);
    for i in 0..540_i64 {
        for number in 0..5 {
            let value = random.value();
            let request = one(series(number), BASE_MS + i * 60_000 + number as i64, value);
            let (report, _) = append(&db, &request);
            note(&mut oracle, &request, &report);
        }
        if i % 200 == 199 {
            db.flush().unwrap();
        }
    }
    assert_eq!(everything(&db), oracle);
    (db, oracle)
}

fn export_options(out: &Path) -> ExportOptions {
    ExportOptions {
        out: out.to_owned(),
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        selectors: Vec::new(),
        max_block_ms: 6 * 3_600_000,
    }
}

fn export(db: &Db, options: &ExportOptions) -> Vec<PathBuf> {
    db.export_prometheus(&OsVfs, options, &mut |_| ())
        .unwrap()
        .blocks
}

fn import(db: &Db, from: &Path) -> Result<ImportReport, InterchangeError> {
    db.import_prometheus(&OsVfs, &[from.to_owned()], &mut |_| ())
}

#[test]
fn what_went_out_comes_in_again_and_twice_is_once() {
    let (disk, out) = (SimVfs::new(), tempfile::tempdir().unwrap());
    let (db, oracle) = filled(&disk);
    let blocks = export(&db, &export_options(out.path()));
    assert_eq!(blocks.len(), 3, "18 h to 24 h, 0 h to 6 h, 6 h to 12 h");
    let target = SimVfs::new();
    let db = open(&target, &options()).unwrap();
    let report = import(&db, out.path()).unwrap();
    let samples = oracle.values().map(|s| s.len() as u64).sum::<u64>();
    assert_eq!((report.blocks, report.samples), (3, samples));
    assert_eq!((report.series, report.written_blocks), (15, 3));
    assert!(report.failed.is_empty());
    assert_eq!(report.min_ms, Some(BASE_MS));
    assert_same(&everything(&db), &oracle);
    import(&db, out.path()).unwrap();
    assert_same(&everything(&db), &oracle);
    db.compact().unwrap();
    assert_eq!(db.stats().block_samples, samples);
    let target = target.crash(CrashMode::DropAll, 0);
    let db = open(&target, &options()).unwrap();
    assert_same(&everything(&db), &oracle);
    assert_eq!(db.verify(), []);
}

#[test]
fn a_range_and_selectors_choose() {
    let (disk, out) = (SimVfs::new(), tempfile::tempdir().unwrap());
    let (db, _) = filled(&disk);
    let matcher =
        |name: &str, value: &str| vec![Matcher::new(MatchOp::Equal, name, value).unwrap()];
    let range = TimeRange::new(BASE_MS + 3_600_000, BASE_MS + 7_200_000);
    let some = ExportOptions {
        start_ms: range.min_ms,
        end_ms: range.max_ms,
        // They overlap; no series comes twice.
        selectors: vec![matcher("__name__", "up"), matcher("instance", "host-0")],
        ..export_options(out.path())
    };
    export(&db, &some);
    let target = open(&SimVfs::new(), &options()).unwrap();
    import(&target, out.path()).unwrap();
    let mut expected = contents(&db, &some.selectors[0], range).unwrap();
    expected.extend(contents(&db, &some.selectors[1], range).unwrap());
    assert_eq!(expected.len(), 4);
    assert_same(&everything(&target), &expected);
    let backwards = ExportOptions {
        start_ms: 5,
        end_ms: 4,
        ..some
    };
    let refused = db.export_prometheus(&OsVfs, &backwards, &mut |_| ());
    assert!(matches!(refused, Err(InterchangeError::EmptyRange { .. })));
}

#[test]
fn an_import_that_fails_anywhere_loses_nothing_and_can_be_repeated() {
    let out = tempfile::tempdir().unwrap();
    let (db, oracle) = filled(&SimVfs::new());
    export(&db, &export_options(out.path()));
    for nth in 0..22 {
        let disk = SimVfs::new();
        let db = open(&disk, &options()).unwrap();
        // Something is there already.
        let own = one(series(9), BASE_MS - 5_000, 1.0);
        append(&db, &own).1.wait().unwrap();
        disk.set_fault(Some(SimFault::EioFrom(disk.write_count() + nth)));
        let failed = import(&db, out.path());
        let found = everything(&db);
        let disk = disk.crash(CrashMode::Random, nth);
        let db = open(&disk, &options()).unwrap();
        assert_eq!(db.stats().corruptions, [], "operation {nth}");
        let mut after = everything(&db);
        after.remove(&labels(&series(9)).to_string()).unwrap();
        // What was seen stays; what was written but not confirmed may be there, and nothing else.
        let within = |part: &Contents, whole: &Contents| {
            part.iter().all(|(labels, samples)| {
                let has = |at_ms: &i64, bits: &u64| {
                    whole.get(labels).and_then(|s| s.get(at_ms)) == Some(bits)
                };
                samples.iter().all(|(at_ms, bits)| has(at_ms, bits))
            })
        };
        let mut found = found;
        found.remove(&labels(&series(9)).to_string());
        assert!(within(&found, &after), "operation {nth}");
        assert!(within(&after, &oracle), "operation {nth}");
        assert!(failed.is_err() || nth > 15, "operation {nth} was reached");
        import(&db, out.path()).unwrap();
        let mut whole = everything(&db);
        whole.remove(&labels(&series(9)).to_string());
        assert_same(&whole, &oracle);
    }
}

#[test]
fn damage_in_a_source_is_named_and_the_rest_comes_in() {
    let out = tempfile::tempdir().unwrap();
    let (db, oracle) = filled(&SimVfs::new());
    let blocks = export(&db, &export_options(out.path()));
    let samples = oracle.values().map(|s| s.len() as u64).sum::<u64>();
    for (file, at) in [("chunks/000001", 40), ("index", 30), ("meta.json", 0)] {
        let path = blocks[1].join(file);
        let intact = std::fs::read(&path).unwrap();
        let mut damaged = intact.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&path, damaged).unwrap();
        let db = open(&SimVfs::new(), &options()).unwrap();
        let report = import(&db, out.path()).unwrap();
        assert_eq!((report.blocks, report.failed.len()), (2, 1), "{file}");
        assert!(report.failed[0].1.file.ends_with(file), "{report:?}");
        assert!(report.samples > 0 && report.samples < samples);
        std::fs::write(&path, intact).unwrap();
    }
}

#[test]
fn nothing_to_import_is_said() {
    let empty = tempfile::tempdir().unwrap();
    let db = open(&SimVfs::new(), &options()).unwrap();
    let refused = import(&db, empty.path());
    assert!(matches!(refused, Err(InterchangeError::NoBlocks(_))));
}

#[test]
fn inspection_tells_and_verification_finds_every_flip() {
    let disk = SimVfs::new();
    let (db, _) = filled(&disk);
    db.close().unwrap();
    let dir = Path::new("data");
    let before: Vec<_> = disk.paths().iter().map(|p| disk.bytes(p)).collect();
    let View::Directory(view) = inspect(&disk, dir).unwrap() else {
        panic!("a directory");
    };
    assert_eq!((view.blocks.len(), view.levels.len()), (2, 1));
    assert_eq!(view.damage, []);
    let in_blocks: u64 = view.blocks.iter().map(|b| b.samples).sum();
    let rows = view.segments.iter().flat_map(|s| &s.records);
    let in_log: u64 = rows
        .filter(|r| r.name == "rows of samples")
        .map(|r| r.items)
        .sum();
    assert!(in_blocks == 2000 && in_log >= 700, "{in_blocks} {in_log}");
    for block in &view.blocks {
        let parts: u64 = block.sections.iter().map(|s| s.bytes).sum();
        assert!(parts < block.file_bytes && parts + 400 > block.file_bytes);
        let values: u64 = block.codecs.iter().map(|c| c.values).sum();
        assert_eq!(values, block.samples);
    }
    let clean = verify(&disk, dir, &mut |_| ()).unwrap();
    assert_eq!(
        (clean.damage.len(), clean.files),
        (0, 3 + view.segments.len() as u64)
    );
    let after: Vec<_> = disk.paths().iter().map(|p| disk.bytes(p)).collect();
    assert!(before == after, "nothing was changed");

    let mut paths = files(&disk, "data/blocks", ".blk");
    paths.push(PathBuf::from("data/MANIFEST"));
    for path in paths {
        let intact = disk.bytes(&path).unwrap();
        for at in (0..intact.len()).step_by(997) {
            let mut bytes = intact.clone();
            bytes[at] ^= 4;
            disk.overwrite(&path, bytes);
            let report = verify(&disk, dir, &mut |_| ()).unwrap();
            // The last frame of a manifest may be torn.
            let torn = path.ends_with("MANIFEST") && at > 40;
            assert!(torn || !report.damage.is_empty(), "{} {at}", path.display());
            let _ = inspect(&disk, dir);
            let _ = inspect(&disk, &path);
        }
        disk.overwrite(&path, intact);
    }
    // A frame in the middle of a sealed segment.
    let path = files(&disk, "data/wal", ".wal").remove(0);
    let mut bytes = disk.bytes(&path).unwrap();
    bytes[200] ^= 1;
    disk.overwrite(&path, bytes);
    let report = verify(&disk, dir, &mut |_| ()).unwrap();
    assert!(
        report.damage.iter().any(|d| d.file.starts_with("wal/")),
        "{report:?}"
    );
    assert!(inspect(&disk, Path::new("data/LOCK")).is_err());
}
