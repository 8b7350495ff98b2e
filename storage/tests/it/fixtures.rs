//! Data directories that earlier versions wrote, each under the versions of its formats: what is in them
//! is read to the bit, and damage in them is named as it was.
//!
//! `TENBIN_FIXTURES=1 cargo test -p tenbin-storage --test it fixtures` adds the directory of today's
//! versions when there is none, and writes the texts of what is read and what damage is called
//! anew. A directory that is there is never changed: it is what that version wrote. Look at the
//! difference before you commit it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tenbin_model::write::HistogramValue;
use tenbin_model::{BucketSpan, Queryable, RawSamples, SelectHints, TimeRange};
use tenbin_storage::Db;
use tenbin_storage::vfs::{OpenMode, SimVfs, Vfs};

use crate::harness::*;
use crate::rich::{exemplars, helps, rich};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn is_writing() -> bool {
    std::env::var_os("TENBIN_FIXTURES").is_some()
}

/// Compares a text with the committed one, or commits it.
fn compare(path: &Path, text: &str) {
    if is_writing() {
        std::fs::write(path, text).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    for (at, (found, expected)) in text.lines().zip(committed.lines()).enumerate() {
        assert_eq!(found, expected, "{} line {}", path.display(), at + 1);
    }
    assert_eq!(text.len(), committed.len(), "{}", path.display());
}

/// The versions that wrote the files of a directory, as its name.
fn versions(disk: &SimVfs) -> String {
    let version = |path: &Path| {
        let bytes = disk.bytes(path).unwrap();
        u16::from_le_bytes([bytes[10], bytes[11]])
    };
    format!(
        "wal{}-block{}-manifest{}-side{}",
        version(&files(disk, "data/wal", ".wal")[0]),
        version(&files(disk, "data/blocks", ".blk")[0]),
        version(Path::new("data/MANIFEST")),
        version(Path::new("data/EXEMPLARS")),
    )
}

fn is_content(path: &Path) -> bool {
    !path.ends_with("LOCK") && !path.ends_with("spare")
}

fn save(disk: &SimVfs, dir: &Path) {
    for path in disk.paths().into_iter().filter(|path| is_content(path)) {
        let target = dir.join(&path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, disk.bytes(&path).unwrap()).unwrap();
    }
}

fn load(dir: &Path) -> SimVfs {
    let disk = SimVfs::new();
    for folder in ["data", "data/blocks", "data/wal"] {
        for entry in std::fs::read_dir(dir.join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let path = Path::new(folder).join(entry.file_name());
                let file = disk.open(&path, OpenMode::Create).unwrap();
                file.write_at(0, &std::fs::read(entry.path()).unwrap())
                    .unwrap();
                file.sync_data().unwrap();
                disk.sync_dir(Path::new(folder)).unwrap();
            }
        }
    }
    disk
}

fn bits(values: &[f64]) -> Vec<String> {
    let values = values.iter();
    values.map(|v| format!("{:x}", v.to_bits())).collect()
}

fn spans(spans: &[BucketSpan]) -> Vec<(i32, u32)> {
    spans.iter().map(|s| (s.offset, s.length)).collect()
}

/// A histogram in a text that no change of the types changes.
fn histogram_text(value: &HistogramValue) -> String {
    let kind = match value {
        HistogramValue::Integer(_) => "integers",
        HistogramValue::Float(_) => "floats",
    };
    let h = value.to_float();
    format!(
        "{kind} hint {} schema {} zero {:?} count {:?} sum {:?} + {:?} {:?} - {:?} {:?} bounds {:?}",
        h.counter_reset_hint as u8,
        h.schema,
        bits(&[h.zero_threshold, h.zero_count]),
        bits(&[h.count]),
        bits(&[h.sum]),
        spans(&h.positive_spans),
        bits(&h.positive_buckets),
        spans(&h.negative_spans),
        bits(&h.negative_buckets),
        bits(&h.custom_values),
    )
}

/// Everything in a database as text.
fn describe(db: &Db) -> String {
    let querier = db.querier(TimeRange::ALL).unwrap();
    let set = querier.select(&any(), &SelectHints::default()).unwrap();
    let mut lines = Vec::new();
    let mut raw = RawSamples::default();
    for series in 0..set.len() {
        let labels = set.labels(series).unwrap().to_string();
        set.read_raw(series, TimeRange::ALL, &mut raw).unwrap();
        let times = raw.timestamps_ms.iter().zip(&raw.values).enumerate();
        for (at, (at_ms, value)) in times {
            let start_ms = raw.start_timestamps_ms.get(at).copied().unwrap_or(0);
            let value = value.to_bits();
            lines.push(format!("{labels} {at_ms} start {start_ms} float {value:x}"));
        }
        for sample in &raw.histograms {
            let (at_ms, start_ms) = (sample.timestamp_ms, sample.start_timestamp_ms);
            let text = histogram_text(&sample.histogram);
            lines.push(format!("{labels} {at_ms} start {start_ms} {text}"));
        }
    }
    lines.sort();
    let found = exemplars(db).into_iter();
    lines.extend(found.map(|(text, at_ms)| format!("exemplar {text} {at_ms}")));
    lines.extend(helps(db).into_iter().map(|text| format!("metadata {text}")));
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// Writes a newer version, and the checksum that belongs to it.
fn newer(path: &Path, bytes: &mut [u8]) {
    bytes[8..10].copy_from_slice(&99_u16.to_le_bytes());
    let name = path.file_name().unwrap().to_str().unwrap();
    let (at, crc) = match name {
        "MANIFEST" => (12, crc32c::crc32c(&bytes[..12])),
        "EXEMPLARS" | "METADATA" => {
            let front = crc32c::crc32c(&bytes[..20]);
            (20, crc32c::crc32c_append(front, &bytes[24..]))
        }
        _ => (60, crc32c::crc32c(&bytes[..60])),
    };
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// A change of a file's bytes.
type Change = fn(&Path, &mut Vec<u8>);

/// What is done to each file.
const DAMAGES: [(&str, Change); 7] = [
    ("magic", |_, bytes| bytes[3] ^= 1),
    ("header", |_, bytes| bytes[11] ^= 0x40),
    ("first page or frame", |path, bytes| {
        let block_or_log = path.extension().is_some();
        bytes[if block_or_log { 96 } else { 30 }] ^= 1;
    }),
    ("end", |_, bytes| {
        let at = bytes.len() - 30;
        bytes[at] ^= 1;
    }),
    ("cut in half", |_, bytes| bytes.truncate(bytes.len() / 2)),
    ("empty", |_, bytes| bytes.clear()),
    ("newer", |path, bytes| newer(path, bytes)),
];

/// What is said about a damaged copy.
fn said(disk: &SimVfs, path: &Path, change: Change) -> String {
    let copy = disk.copy();
    let mut bytes = disk.bytes(path).unwrap();
    change(path, &mut bytes);
    copy.overwrite(path, bytes);
    let db = match open(&copy, &options()) {
        Ok(db) => db,
        Err(error) => return format!("  does not open: {error}\n"),
    };
    let mut text = String::new();
    let stats = db.stats();
    for damage in &stats.corruptions {
        let _ = writeln!(text, "  {damage}");
    }
    if stats.replay_torn_bytes > 0 {
        let _ = writeln!(text, "  torn tail of {} bytes", stats.replay_torn_bytes);
    }
    match contents(&db, &any(), TimeRange::ALL) {
        Ok(found) => {
            let samples: usize = found.values().map(std::collections::BTreeMap::len).sum();
            let _ = writeln!(text, "  {samples} samples are read");
        }
        Err(error) => {
            let _ = writeln!(text, "  query fails: {error}");
        }
    }
    text
}

/// The committed directories; that of today's versions is added when asked for.
fn dirs() -> &'static [PathBuf] {
    static DIRS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    DIRS.get_or_init(|| {
        let today = rich().disk;
        let current = root().join(versions(&today));
        if is_writing() && !current.exists() {
            save(&today, &current);
        }
        assert!(
            current.exists(),
            "no fixture of today's versions: see the head of this file"
        );
        let entries = std::fs::read_dir(root()).unwrap();
        let mut dirs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        dirs.sort();
        dirs
    })
}

#[test]
fn what_earlier_versions_wrote_is_read() {
    for dir in dirs() {
        let disk = load(dir);
        let db = open(&disk.copy(), &options()).unwrap();
        assert_eq!((db.stats().corruptions, db.verify()), (vec![], vec![]));
        let before = describe(&db);
        compare(&dir.join("contents.txt"), &before);
        // What it becomes when this version goes on writing.
        db.flush().unwrap();
        db.compact().unwrap();
        let without_hints = |text: &str| {
            let words = text.split("hint 0").collect::<Vec<_>>().join("hint 2");
            words.split("hint 1").collect::<Vec<_>>().join("hint 2")
        };
        assert_eq!(without_hints(&describe(&db)), without_hints(&before));
    }
}

#[test]
fn damage_in_what_earlier_versions_wrote_is_named() {
    for dir in dirs() {
        let disk = load(dir);
        let mut text = String::new();
        let mut paths = disk.paths();
        paths.sort();
        for path in paths {
            for (kind, change) in DAMAGES {
                let file = path.strip_prefix("data").unwrap().display();
                let _ = writeln!(text, "{file}: {kind}");
                text.push_str(&said(&disk, &path, change));
            }
        }
        compare(&dir.join("damage.txt"), &text);
    }
}
