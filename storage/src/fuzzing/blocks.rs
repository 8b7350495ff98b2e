//! A block with a valid header, section table and page checksums around any sections.

use tenbin_model::{MatchOp, Matcher};

use super::Input;
use crate::block::format::{BlockHeader, HASHES, PAGE_BYTES, PAGE_CHECKSUMS, Section};
use crate::block::format::{HEADER_BYTES, VERSION, encode_footer, hash_bytes};
use crate::block::reader::{Block, Detail};
use crate::query::matching::{LabelIndex, select};
use crate::query::merge::Samples;
use crate::vfs::Mapped;

/// Series that are read; the others are like them.
const MAX_SERIES: u32 = 64;

/// The next section stands where the input says, not where its bytes are.
const MISPLACED: u8 = 0x80;

/// The file that an input describes: `u8 version (0: the newest), i64 first ms, i64 last ms`, then per section `u8 id` and
/// its bytes.
fn assemble(data: &[u8]) -> Vec<u8> {
    let mut input = Input::new(data);
    let version = match input.u8() % 4 {
        0 => VERSION,
        version => u16::from(version),
    };
    let (min_ms, max_ms) = (input.u64() as i64, input.u64() as i64);
    let mut body = Vec::new();
    let mut sections: Vec<Section> = Vec::new();
    while !input.is_empty() {
        let id = input.u8();
        let mut offset = (HEADER_BYTES + body.len()) as u64;
        let bytes = input.part();
        body.extend_from_slice(bytes);
        let mut len = bytes.len() as u64;
        if id & MISPLACED != 0 {
            (offset, len) = (input.varied(), input.varied());
        }
        let id = u32::from(id & !MISPLACED);
        if id != PAGE_CHECKSUMS && sections.len() < 20 {
            let crc = 0;
            sections.push(Section {
                id,
                crc,
                offset,
                len,
            });
        }
    }
    let hashes = sections.iter().find(|s| s.id == HASHES);
    let header = BlockHeader {
        level: 0,
        seq: 1,
        min_ms,
        max_ms,
        series_count: hashes.map_or(0, |s| (s.len / hash_bytes(version) as u64) as u32),
        sample_count: 1,
        created_ms: 0,
        version,
    };
    let checksums: Vec<u8> = body
        .chunks(PAGE_BYTES)
        .flat_map(|page| crc32c::crc32c(page).to_le_bytes())
        .collect();
    sections.push(Section {
        id: PAGE_CHECKSUMS,
        crc: crc32c::crc32c(&checksums),
        offset: (HEADER_BYTES + body.len()) as u64,
        len: checksums.len() as u64,
    });
    let mut file = header.encode();
    file.extend_from_slice(&body);
    file.extend_from_slice(&checksums);
    let footer = encode_footer(&sections, file.len() as u64);
    file.extend_from_slice(&footer);
    file
}

/// The input that describes the file of a real block.
#[cfg(test)]
pub(super) fn describe(file: &[u8]) -> Vec<u8> {
    let header = BlockHeader::decode(file).expect("a block");
    let mut out = vec![header.version as u8];
    out.extend_from_slice(&header.min_ms.to_le_bytes());
    out.extend_from_slice(&header.max_ms.to_le_bytes());
    for section in crate::block::format::decode_footer(file).expect("a block") {
        if section.id != PAGE_CHECKSUMS {
            let from = section.offset as usize;
            out.push(section.id as u8);
            super::input::put_part(&mut out, &file[from..from + section.len as usize]);
        }
    }
    out
}

/// Reads everything that a block has, in every way.
fn read_all(block: &Block) {
    let mut samples = Samples::default();
    let header = *block.header();
    for ordinal in 0..header.series_count.min(MAX_SERIES) {
        let _ = block.hash(ordinal);
        if let Ok(record) = block.record(ordinal) {
            let _ = block.labels_of(&record.pairs);
        }
        if block
            .read_detail(
                ordinal,
                None,
                (i64::MIN, i64::MAX),
                Detail::Values,
                &mut samples,
            )
            .is_ok()
        {
            let floats = &samples.floats;
            assert_eq!(floats.times.len(), floats.values.len());
            assert!(floats.starts.is_empty() || floats.starts.len() == floats.times.len());
            for point in &samples.histograms {
                assert_eq!(point.fields.len(), point.layout.width());
                let _ = point.to_sample().histogram.validate();
            }
            let all = samples.clone();
            let middle = all
                .extent()
                .map_or(0, |(first, last)| i64::midpoint(first, last));
            let part = block.read_detail(
                ordinal,
                None,
                (i64::MIN, middle),
                Detail::Markers,
                &mut samples,
            );
            if part.is_ok() {
                let expected = all.floats.times.iter().filter(|t| **t <= middle).count();
                assert_eq!(samples.floats.times.len(), expected, "a part is a part");
            }
        }
    }
    let mut names = Vec::new();
    let _ = LabelIndex::names(block, None, &mut |name| names.push(name.to_owned()));
    for name in names.iter().take(16) {
        let mut values = Vec::new();
        let _ = LabelIndex::values(block, name, None, &mut |value| {
            values.push(value.to_owned());
        });
        let value = values.first().cloned().unwrap_or_default();
        for (op, value) in [
            (MatchOp::Equal, value.as_str()),
            (MatchOp::NotEqual, &value),
            (MatchOp::Regex, ".+"),
            (MatchOp::NotRegex, "a.*|b"),
        ] {
            let matcher = Matcher::new(op, name, value).expect("a matcher");
            if let Ok(found) = select(block, &[matcher]) {
                assert!(
                    found
                        .maximum()
                        .is_none_or(|last| last < header.series_count)
                );
                let _ = LabelIndex::values(block, name, Some(&found), &mut |_| {});
            }
        }
    }
    block.check(&mut |_| {});
    let _ = (block.codec_uses(), block.sections(), block.name_uses());
}

/// A file around the sections of the input is opened and read: never a panic.
pub fn block_file(data: &[u8]) {
    let map = Mapped::owned(assemble(data));
    if let Ok(block) = Block::open(map, "blocks/fuzz.blk".into()) {
        read_all(&block);
    }
}
