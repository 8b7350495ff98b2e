//! Every codec: any bytes decode or fail, any samples come back.

use std::path::Path;
use std::sync::Arc;

use tenbin_model::CounterResetHint;

use super::Input;
use crate::block::reader::{Block, Detail};
use crate::block::writer::BlockWriter;
use crate::codec::bytes::Cursor;
use crate::codec::values::{Chooser, MAX_RUN};
use crate::codec::{integers, timestamps, values};
use crate::head::chunk::{self, ChunkBytes};
use crate::head::histograms::Run;
use crate::head::series::Series;
use crate::head::slab::Slab;
use crate::histogram::Layout;
use crate::histogram::point::Point;
use crate::histogram::wire::{read_fields, read_layout};
use crate::interchange::fuzzing::{foreign_chunk, foreign_floats};
use crate::query::merge::{Columns, Samples};
use crate::vfs::{SimVfs, Vfs};
use crate::wal::row::Row;

/// The decoder that the first byte chooses gets the rest: never a panic.
pub fn chunk_decode(data: &[u8]) {
    let mut input = Input::new(data);
    let (kind, count) = (input.u8() % 12, usize::from(input.u16()));
    let bytes = input.rest();
    let mut numbers = Vec::new();
    match kind {
        0 => head_chunk(count, bytes),
        1 => {
            let mut floats = Vec::new();
            if values::decode(bytes, count % (MAX_RUN + 2), &mut floats).is_ok() {
                assert_eq!(floats.len(), count % (MAX_RUN + 2));
            }
        }
        2 => {
            if timestamps::decode(bytes, count, &mut numbers).is_ok() {
                assert_eq!(numbers.len(), count);
            }
        }
        3 => {
            if integers::decode(&mut Cursor::new(bytes), count, &mut numbers).is_ok() {
                assert_eq!(numbers.len(), count);
            }
        }
        4 => {
            let mut row = Row::default();
            if row.decode(bytes).is_ok() {
                let _ = row.resolve(|i| i as u64);
                assert_eq!(row.ids.len(), row.timestamps_ms.len());
                assert_eq!(row.ids.len(), row.xors.len());
            }
        }
        5 => histograms(count, bytes),
        _ => foreign_chunk(kind - 5, bytes),
    }
}

fn head_chunk(count: usize, bytes: &[u8]) {
    // The head never holds a run of all samples of a chunk.
    let count = count as u16 % 2048 + 1;
    let run = u16::from(bytes.last().copied().unwrap_or(0)) % count;
    let chunk = ChunkBytes {
        bytes: bytes.into(),
        bit_len: bytes.len() as u32 * 8,
        run,
        count,
    };
    let (mut times, mut floats) = (Vec::new(), Vec::new());
    let _ = chunk.first_ms();
    let _ = chunk.decode(&mut times, &mut floats);
    assert_eq!(times.len(), floats.len());
}

fn histograms(count: usize, bytes: &[u8]) {
    let mut cursor = Cursor::new(bytes);
    let Ok(layout) = read_layout(&mut cursor) else {
        return;
    };
    let layout = Arc::new(layout);
    let rest = cursor.take(cursor.remaining()).unwrap_or_default();
    if let Ok(fields) = read_fields(&mut Cursor::new(rest), &layout) {
        let point = Point {
            at_ms: 0,
            start_ms: 0,
            hint: CounterResetHint::Unknown,
            layout: Arc::clone(&layout),
            fields,
        };
        let value = point.to_sample().histogram;
        let _ = value.validate();
        assert!(Layout::of(&value) == *layout, "a layout comes back");
    }
    if layout.width() < 4096 {
        let run = Run::of_bytes(layout, count as u32 % 300, rest.to_vec());
        let _ = run.decode(&mut Vec::new());
    }
}

/// Samples of the input, ascending in time.
fn samples(input: &mut Input<'_>) -> Columns {
    let mut columns = Columns::default();
    let (mut at_ms, mut value, mut start_ms) = (input.varied() as i64, 0_u64, 0_i64);
    while !input.is_empty() && columns.times.len() < 3000 {
        let choice = input.u8();
        let repeats = if choice & 0xc0 == 0xc0 { input.u8() } else { 1 };
        let step = match choice & 3 {
            0 | 1 => 15_000,
            2 => i64::from(input.u16()) + 1,
            _ => (input.varied() >> 2) as i64 + 1,
        };
        match choice >> 2 & 7 {
            0 | 1 => {}
            2 | 3 => value = (f64::from_bits(value) + f64::from(input.u8())).to_bits(),
            4 => value = (f64::from(input.u16()) / 100.0).to_bits(),
            5 => value ^= u64::from(input.u8()) << (input.u8() % 57),
            _ => value = input.u64(),
        }
        if choice & 0x20 != 0 {
            start_ms = input.varied() as i64;
        }
        for _ in 0..repeats {
            columns.times.push(at_ms);
            columns.values.push(f64::from_bits(value));
            columns.starts.push(start_ms);
            match at_ms.checked_add(step) {
                Some(next) => at_ms = next,
                None => return columns,
            }
        }
    }
    columns
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Samples of the input come back bit by bit from every codec and from a block.
pub fn chunk_roundtrip(data: &[u8]) {
    let columns = samples(&mut Input::new(data));
    if columns.times.is_empty() {
        return;
    }
    let (times, floats) = (&columns.times, &columns.values);
    let mut encoded = Vec::new();
    let mut chooser = Chooser::default();
    for run in floats.chunks(MAX_RUN) {
        encoded.clear();
        chooser.encode(&mut encoded, run);
        let mut back = Vec::new();
        values::decode(&encoded, run.len(), &mut back).expect("own values");
        assert_eq!(bits(&back), bits(run));
    }
    encoded.clear();
    timestamps::encode(&mut encoded, times);
    let mut back = Vec::new();
    timestamps::decode(&encoded, times.len(), &mut back).expect("own timestamps");
    assert_eq!(&back, times);
    for numbers in [
        columns.starts.clone(),
        floats.iter().map(|v| v.to_bits() as i64).collect(),
    ] {
        encoded.clear();
        integers::encode(&mut encoded, &numbers);
        let mut back = Vec::new();
        let mut cursor = Cursor::new(&encoded);
        integers::decode(&mut cursor, numbers.len(), &mut back).expect("own integers");
        assert!(cursor.is_empty() && back == numbers);
    }
    head_roundtrip(times, floats);
    let back = foreign_floats(times, floats);
    assert_eq!(&back.times, times);
    assert_eq!(bits(&back.values), bits(floats));
    block_roundtrip(columns);
}

fn head_roundtrip(times: &[i64], floats: &[f64]) {
    let (mut series, mut slab) = (Series::new(0, 0, 0), Slab::default());
    let mut taken = 0;
    for (at_ms, value) in times.iter().zip(floats) {
        if !chunk::has_room(&series) {
            break;
        }
        chunk::append(&mut series, &mut slab, *at_ms, value.to_bits());
        taken += 1;
    }
    let chunk = ChunkBytes::of(&series, &slab).expect("a chunk");
    let (mut back_times, mut back_floats) = (Vec::new(), Vec::new());
    chunk
        .decode(&mut back_times, &mut back_floats)
        .expect("an own chunk");
    assert_eq!(back_times, times[..taken]);
    assert_eq!(bits(&back_floats), bits(&floats[..taken]));
}

fn block_roundtrip(columns: Columns) {
    let disk = SimVfs::new();
    let path = Path::new("blocks/fuzz.blk");
    let mut writer = BlockWriter::create(&disk, path).expect("a fresh file");
    let pairs = [writer.pair("__name__", "up")];
    let samples = Samples {
        floats: columns,
        histograms: Vec::new(),
    };
    writer.series(1, &pairs, &samples).expect("a write");
    writer.finish(0, 1, 0).expect("a whole block");
    let map = disk.map_sealed(path).expect("a file");
    let block = Block::open(map, "blocks/fuzz.blk".into()).expect("an own block");
    let mut back = Samples::default();
    block
        .read_detail(0, None, (i64::MIN, i64::MAX), Detail::Values, &mut back)
        .expect("own samples");
    assert_eq!(back.floats.times, samples.floats.times);
    assert_eq!(bits(&back.floats.values), bits(&samples.floats.values));
    let mut starts = samples.floats.starts.clone();
    if starts.iter().all(|start| *start == 0) {
        starts.clear();
    }
    assert_eq!(back.floats.starts, starts);
}
