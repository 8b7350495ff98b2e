//! Runs the committed inputs of the fuzz targets, and makes the seeds among them.
//!
//! `TENBIN_FUZZ_SEEDS=1 cargo test -p tenbin-storage --lib fuzzing` writes `fuzz/corpus/TARGET/seed-*`
//! anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tenbin_model::write::{MetadataEntry, MetricType};
use tenbin_model::{BucketSpan, CounterResetHint, Labels, TimeRange};

use super::*;
use crate::block::writer::BlockWriter;
use crate::codec::values::Chooser;
use crate::codec::{integers, timestamps};
use crate::exemplars::StoredExemplar;
use crate::histogram::Layout;
use crate::histogram::point::Point;
use crate::histogram::wire::{put_fields, put_layout};
use crate::query::merge::Samples;
use crate::vfs::{OpenMode, OsVfs, SimVfs, Vfs, read_all};
use crate::wal::record::RecordBuilder;

type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

const TARGETS: [Target; 6] = [
    ("wal_frames", wal_frames, wal_seeds),
    ("block_file", block_file, block_seeds),
    ("index_sections", index_sections, random_seeds),
    ("chunk_decode", chunk_decode, chunk_seeds),
    ("chunk_roundtrip", chunk_roundtrip, random_seeds),
    ("prometheus_block", prometheus_block, foreign_seeds),
];

fn folder(kind: &str, target: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../fuzz").join(kind).join(target)
}

#[test]
fn committed_inputs_pass() {
    let vfs = OsVfs;
    for (name, target, seeds) in TARGETS {
        if std::env::var_os("TENBIN_FUZZ_SEEDS").is_some() {
            let dir = folder("corpus", name);
            vfs.create_dir_all(&dir).unwrap();
            for (number, seed) in seeds().iter().enumerate() {
                let path = dir.join(format!("seed-{number}"));
                let _ = vfs.remove(&path);
                let file = vfs.open(&path, OpenMode::Create).unwrap();
                file.write_at(0, seed).unwrap();
            }
        }
        for kind in ["corpus", "regressions"] {
            let dir = folder(kind, name);
            let files = vfs.list(&dir).unwrap_or_default();
            assert!(kind != "corpus" || !files.is_empty(), "{name} has no seeds");
            for file in files {
                let input = read_all(&vfs, &dir.join(&file), 1 << 20).unwrap();
                println!("{name}: {kind}/{file}");
                target(&input);
            }
        }
    }
}

fn histogram(at_ms: i64, float: bool) -> Point {
    let span = |offset, length| BucketSpan { offset, length };
    let count = |n: u64| if float { (n as f64).to_bits() } else { n };
    Point {
        at_ms,
        start_ms: 5,
        hint: CounterResetHint::Unknown,
        layout: Arc::new(Layout {
            float,
            schema: 2,
            zero_threshold: 0.5_f64.to_bits(),
            positive_spans: vec![span(0, 2), span(3, 1)],
            negative_spans: vec![span(-1, 1)],
            custom_values: vec![],
        }),
        fields: [
            count(7),
            count(1),
            12.5_f64.to_bits(),
            count(1),
            count(2),
            count(1),
            count(2),
        ]
        .into(),
    }
}

/// Payloads with every type of record.
fn wal_seeds() -> Vec<Vec<u8>> {
    let at_ms = 1_700_000_000_000;
    let mut builder = RecordBuilder::default();
    let mut payloads = Vec::new();
    let mut end = |builder: &mut RecordBuilder| {
        let mut payload = Vec::new();
        builder.finish(0, &mut payload);
        payloads.push(payload);
    };
    for (id, value) in ["up", "load", "sizes"].iter().enumerate() {
        builder.symbol(id as u32, "__name__", value);
        builder.series(id as u32, [id as u32, 3].into_iter());
    }
    builder.symbol(3, "job", "x");
    builder.sample(0, 0, at_ms, 5, 0);
    builder.sample(0, 1, at_ms, 1.5_f64.to_bits(), 0);
    builder.start(1, at_ms, at_ms - 500, false);
    end(&mut builder);
    builder.sample(0, 0, at_ms + 15_000, 7, 5);
    builder.late(1, at_ms - 60_000, 6);
    builder.histogram(2, &histogram(at_ms, false), false);
    builder.histogram(2, &histogram(at_ms + 1000, true), false);
    builder.histogram(2, &histogram(at_ms - 5, true), true);
    end(&mut builder);
    let exemplar = StoredExemplar {
        labels: Labels::from_pairs(&[("id", "a")]),
        value: 1.0,
        timestamp_ms: at_ms,
    };
    builder.exemplar(0, &exemplar);
    let statement = MetadataEntry {
        metric: "up",
        kind: MetricType::Gauge,
        help: "Is it up?",
        unit: "",
    };
    builder.metadata(&statement);
    builder.tombstone(1, TimeRange::new(at_ms - 100_000, at_ms - 1));
    end(&mut builder);
    let join = |flags: [u8; 3]| {
        let mut seed = Vec::new();
        for (flags, payload) in flags.iter().zip(&payloads) {
            seed.push(*flags);
            put_part(&mut seed, payload);
        }
        seed
    };
    vec![join([0; 3]), join([0, 1, 0]), join([4, 2, 4])]
}

fn block_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for with_side in [false, true] {
        let (disk, path) = (SimVfs::new(), Path::new("blocks/seed.blk"));
        let mut writer = BlockWriter::create(&disk, path).unwrap();
        for number in 0..20_i64 {
            let name = format!("m{}", number % 3);
            let labels = [("__name__", name.as_str()), ("job", &number.to_string())];
            let pairs = labels.map(|(name, value)| writer.pair(name, value));
            let mut samples = Samples::default();
            for i in 0..number * 3 {
                samples.floats.times.push(1000 * i);
                samples.floats.values.push((number * i) as f64 / 8.0);
            }
            if with_side && number % 4 == 0 {
                samples.floats.starts = vec![7; samples.floats.times.len()];
            }
            if (with_side && number % 3 == 0) || number == 0 {
                let points = (0..5).map(|i| histogram(500 + 1000 * i, number % 2 == 0));
                samples.histograms = points.collect();
            }
            if !with_side {
                samples.histograms.clear();
            }
            let hash = Labels::from_sorted(&labels).hash128();
            writer.series(hash, &pairs, &samples).unwrap();
        }
        writer.finish(0, 1, 0).unwrap();
        seeds.push(blocks::describe(&disk.bytes(path).unwrap()));
    }
    seeds
}

/// Bytes of a fixed generator.
fn random_seeds() -> Vec<Vec<u8>> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (state >> 56) as u8
    };
    let lens = [20, 60, 200, 600];
    lens.map(|len| (0..len).map(|_| next()).collect()).to_vec()
}

fn chunk_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    let mut seed = |kind: u8, count: u16, bytes: &[u8]| {
        seeds.push([&[kind][..], &count.to_le_bytes(), bytes].concat());
    };
    seed(0, 9, &[0x51; 40]);
    let values: [fn(u64) -> f64; 5] = [
        |i| i as f64,
        |i| i as f64 / 100.0,
        |_| 0.1,
        |i| (i as f64).sqrt(),
        |i| if i % 9 == 0 { f64::NAN } else { i as f64 },
    ];
    for value in values {
        let run: Vec<f64> = (0..100).map(value).collect();
        let mut bytes = Vec::new();
        Chooser::default().encode(&mut bytes, &run);
        seed(1, 100, &bytes);
    }
    let times: Vec<i64> = (0..90).map(|i| i * 15_000 + i % 7).collect();
    let mut bytes = Vec::new();
    timestamps::encode(&mut bytes, &times);
    seed(2, 90, &bytes);
    bytes.clear();
    integers::encode(&mut bytes, &times);
    seed(3, 90, &bytes);
    let mut row = crate::wal::row::RowBuilder::default();
    for id in 0..10 {
        row.push(id, 1000, u64::from(id) << 40, 0);
    }
    bytes.clear();
    row.finish(0, &mut bytes);
    seed(4, 0, &bytes);
    for float in [false, true] {
        let point = histogram(0, float);
        bytes.clear();
        put_layout(&mut bytes, &point.layout);
        put_fields(&mut bytes, &point.layout, &point.fields);
        seed(5, 3, &bytes);
    }
    for (encoding, data) in crate::interchange::fuzzing::seed_chunks() {
        seed(5 + encoding, 0, &data);
    }
    seeds
}

fn foreign_seeds() -> Vec<Vec<u8>> {
    vec![crate::interchange::fuzzing::seed_block()]
}
