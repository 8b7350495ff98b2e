//! Entry points of fuzz targets into the code for foreign blocks.

use std::path::Path;

use super::chunk::{self, Encoding};
use super::meta::FILE_NAME as META;
use super::source::{PrometheusBlock, SeriesSamples};
use crate::fuzzing::{CHECKSUMS_IGNORED, Input};
use crate::query::merge::Columns;
use crate::vfs::{OpenMode, SimVfs, Vfs};

/// Series that are read.
const MAX_SERIES: usize = 64;

const META_TEXT: &[u8] = br#"{"ulid":"01ARYZ6S41TSV4RRFFQ69G5FAV","minTime":0,"maxTime":7200000,
"stats":{},"compaction":{"level":1},"version":1}"#;

/// Index, chunks and tombstones of the input are opened and read, with their checksums taken to hold:
/// never a panic.
pub fn prometheus_block(data: &[u8]) {
    CHECKSUMS_IGNORED.set(true);
    read_block(data);
    CHECKSUMS_IGNORED.set(false);
}

fn read_block(data: &[u8]) {
    let mut input = Input::new(data);
    let disk = SimVfs::new();
    let dir = Path::new("01ARYZ6S41TSV4RRFFQ69G5FAV");
    for (name, bytes) in [
        (META, META_TEXT),
        ("index", input.part()),
        ("chunks/000001", input.part()),
        ("tombstones", input.rest()),
    ] {
        if name == "tombstones" && bytes.is_empty() {
            continue;
        }
        let file = disk.open(&dir.join(name), OpenMode::Create);
        let file = file.expect("a fresh file");
        file.write_at(0, bytes).expect("a write");
    }
    let Ok(block) = PrometheusBlock::open(&disk, dir) else {
        return;
    };
    let (mut chunks, mut samples) = (Vec::new(), SeriesSamples::default());
    for number in 0..block.index.series_count().min(MAX_SERIES) {
        let Ok(id) = block.index.series_id(number) else {
            continue;
        };
        let Ok(_labels) = block.index.series(id, &mut chunks) else {
            continue;
        };
        chunks.truncate(MAX_SERIES);
        let all = (i64::MIN, i64::MAX);
        if block.read(id, &chunks, all, &mut samples).is_ok() {
            let floats = &samples.samples.floats;
            assert!(floats.times.is_sorted_by(|a, b| a < b));
            assert_eq!(floats.times.len(), floats.values.len());
        }
        let _ = block.read(id, &chunks, (0, 7_199_999), &mut samples);
    }
}

/// Decodes a chunk of encoding `code`.
pub(crate) fn foreign_chunk(code: u8, bytes: &[u8]) {
    if let Some(encoding) = Encoding::from_byte(code) {
        let mut floats = Columns::default();
        let _ = chunk::decode(encoding, bytes, &mut floats, &mut |sample| {
            let _ = sample.histogram.validate();
        });
    }
}

/// Floats through chunks and back.
pub(crate) fn foreign_floats(times: &[i64], values: &[f64]) -> Columns {
    let mut back = Columns::default();
    for written in chunk::encode_floats(times, values) {
        chunk::decode(written.encoding, &written.data, &mut back, &mut |_| {})
            .expect("an own chunk");
    }
    back
}

#[cfg(test)]
fn seed_histograms() -> Vec<tenbin_model::write::HistogramSample> {
    use tenbin_model::write::{HistogramSample, HistogramValue};
    use tenbin_model::{BucketSpan, Histogram};
    let histogram = |n: i64| Histogram {
        count: 2 * n as u64 + 1,
        zero_count: 1,
        sum: n as f64,
        zero_threshold: 0.001,
        positive_spans: vec![BucketSpan {
            offset: 0,
            length: 2,
        }],
        positive_deltas: vec![n, 0],
        negative_spans: vec![],
        negative_deltas: vec![],
        custom_values: vec![],
        counter_reset_hint: tenbin_model::CounterResetHint::Unknown,
        schema: 0,
    };
    let sample = |n: i64| {
        let value = histogram(n);
        HistogramSample {
            timestamp_ms: n * 1000 + 2_000_000,
            start_timestamp_ms: 0,
            histogram: if n < 5 {
                HistogramValue::Integer(Box::new(value))
            } else {
                HistogramValue::Float(Box::new(value.to_float()))
            },
        }
    };
    (1..10).map(sample).collect()
}

#[cfg(test)]
fn own_chunks() -> Vec<chunk::EncodedChunk> {
    let times: Vec<i64> = (0..30).map(|i| i * 15_000).collect();
    let values: Vec<f64> = (0..30).map(|i| f64::from(i) / 4.0).collect();
    let mut chunks: Vec<_> = chunk::encode_floats(&times, &values).collect();
    chunks.extend(chunk::encode_histograms(&seed_histograms()));
    chunks
}

/// Chunks with their encoding.
#[cfg(test)]
pub(crate) fn seed_chunks() -> Vec<(u8, Vec<u8>)> {
    let chunks = own_chunks().into_iter();
    chunks.map(|c| (c.encoding as u8, c.data)).collect()
}

/// A small whole block.
#[cfg(test)]
pub(crate) fn seed_block() -> Vec<u8> {
    use super::index::{ChunkMeta, IndexWriter};
    use crate::fuzzing::put_part;
    use tenbin_model::Labels;
    let disk = SimVfs::new();
    let mut segments = super::segments::SegmentWriter::new(Path::new("chunks"));
    let mut metas = Vec::new();
    for chunk in own_chunks() {
        let reference = segments.put(&disk, &chunk).expect("a write");
        let (min_ms, max_ms) = (chunk.min_ms, chunk.max_ms);
        metas.push(ChunkMeta {
            min_ms,
            max_ms,
            reference,
        });
    }
    segments.finish(&disk).expect("a sync");
    let mut index = IndexWriter::default();
    let labels = |job: &str| Labels::from_pairs(&[("__name__", "up"), ("job", job)]);
    index.series(&labels("a"), metas[..1].to_vec());
    index.series(&labels("b"), metas[1..].to_vec());
    let path = Path::new("index");
    index.finish(&disk, path).expect("a write");
    let mut seed = Vec::new();
    put_part(&mut seed, &disk.bytes(path).expect("a file"));
    let chunks = disk.bytes(Path::new("chunks/000001"));
    put_part(&mut seed, &chunks.expect("a file"));
    seed.extend_from_slice(&super::tombstones::empty());
    seed
}
