//! Header, section table and footer of a block, and its file name.

use crate::codec::Malformed;
use crate::codec::bytes::Cursor;

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 64;
/// Where the header has the number of the block.
pub(crate) const SEQ_OFFSET: u64 = 16;
/// Bytes at the very end: section count, checksum, file length, magic.
pub(crate) const TAIL_BYTES: usize = 24;
/// Bytes of a section table entry.
const ENTRY_BYTES: usize = 24;
/// Unit of the page checksums, counted from the end of the header.
pub(crate) const PAGE_BYTES: usize = 64 << 10;
/// The version that this program writes, and the newest it reads. 2 may have side sections; 3 has more
/// codecs, chained series records and shorter hashes.
pub(crate) const VERSION: u16 = 3;

/// Bytes of a label hash in [`HASHES`].
const HASH_BYTES: usize = 10;
/// The same up to version 2.
const OLD_HASH_BYTES: usize = 16;

const MAGIC: &[u8; 8] = b"TBNBLK01";
const END_MAGIC: &[u8; 8] = b"TBNBLKED";
const MAX_SECTIONS: usize = 64;

/// Encoded values, series after series.
pub(crate) const VALUES: u32 = 1;
/// Distinct timestamp columns.
pub(crate) const TIMES: u32 = 2;
/// Series records.
pub(crate) const SERIES: u32 = 3;
/// Where every 16th series record and its values begin.
pub(crate) const SERIES_STARTS: u32 = 4;
/// Label hash of each series.
pub(crate) const HASHES: u32 = 5;
/// Label names and sorted values.
pub(crate) const PAIRS: u32 = 6;
/// Where the postings of each pair are.
pub(crate) const POSTINGS_DIRECTORY: u32 = 7;
/// Roaring bitmaps.
pub(crate) const POSTINGS: u32 = 8;
/// `uvarint order`: where the block stands among all; without it at its number.
pub(crate) const ORDER: u32 = 9;
/// Histograms and start timestamps, series after series.
pub(crate) const SIDE: u32 = 10;
/// Which series have what in [`SIDE`].
pub(crate) const SIDE_INDEX: u32 = 11;
/// Layouts of histograms.
pub(crate) const LAYOUTS: u32 = 12;
/// Checksums of the pages of everything above.
pub(crate) const PAGE_CHECKSUMS: u32 = 15;

/// What a block is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) level: u8,
    /// Position in the order of publication; of two samples with one timestamp that of the lower
    /// block was stored first.
    pub(crate) seq: u64,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
    pub(crate) series_count: u32,
    pub(crate) sample_count: u64,
    pub(crate) created_ms: i64,
    /// Which version a reader has to know.
    pub(crate) version: u16,
}

/// A part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) id: u32,
    /// CRC-32C of the section; only of those outside the checksummed pages, else 0.
    pub(crate) crc: u32,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Why header or footer cannot be used.
#[derive(Debug)]
pub(crate) enum FormatError {
    Malformed(u64, Malformed),
    TooNew(u16),
}

/// Bytes of a label hash in a block of this version.
pub(crate) fn hash_bytes(version: u16) -> usize {
    if version < 3 {
        OLD_HASH_BYTES
    } else {
        HASH_BYTES
    }
}

/// What a block keeps of a label hash, by which its series are known: the low 80 bits.
pub(crate) fn stored_hash(hash: u128) -> u128 {
    hash & ((1 << (HASH_BYTES * 8)) - 1)
}

/// The file name of block `seq`.
pub(crate) fn file_name(seq: u64) -> String {
    format!("{seq:016x}.blk")
}

/// The block number in a file name.
pub(crate) fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".blk")?;
    (digits.len() == 16)
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

impl BlockHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[self.level, 0, 0, 0]);
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.min_ms.to_le_bytes());
        out.extend_from_slice(&self.max_ms.to_le_bytes());
        out.extend_from_slice(&self.series_count.to_le_bytes());
        out.extend_from_slice(&self.sample_count.to_le_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        debug_assert_eq!(out.len(), HEADER_BYTES);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wrong = |what| FormatError::Malformed(0, Malformed(what));
        let header = bytes
            .first_chunk::<HEADER_BYTES>()
            .ok_or(wrong("a header of 64 bytes"))?;
        if !header.starts_with(MAGIC) {
            return Err(wrong("magic TBNBLK01"));
        }
        let mut fields = Cursor::new(&header[8..]);
        let mut parse = || {
            let version = fields.u16()?;
            let _write_version = fields.u16()?;
            let level = fields.u8()?;
            fields.take(3)?;
            let header = Self {
                level,
                seq: fields.u64()?,
                min_ms: fields.i64()?,
                max_ms: fields.i64()?,
                series_count: fields.u32()?,
                sample_count: fields.u64()?,
                created_ms: fields.i64()?,
                version,
            };
            Ok((header, fields.u32()?))
        };
        let (decoded, crc) = parse().map_err(|m| FormatError::Malformed(0, m))?;
        if crc != crc32c::crc32c(&header[..HEADER_BYTES - 4]) {
            return Err(wrong("a valid header checksum"));
        }
        if decoded.version > VERSION {
            return Err(FormatError::TooNew(decoded.version));
        }
        Ok(decoded)
    }
}

/// The section table and tail of a file whose sections end at `at`.
pub(crate) fn encode_footer(sections: &[Section], at: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for section in sections {
        out.extend_from_slice(&section.id.to_le_bytes());
        out.extend_from_slice(&section.crc.to_le_bytes());
        out.extend_from_slice(&section.offset.to_le_bytes());
        out.extend_from_slice(&section.len.to_le_bytes());
    }
    out.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    let file_len = at + out.len() as u64 + 20;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out), &file_len.to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&file_len.to_le_bytes());
    out.extend_from_slice(END_MAGIC);
    out
}

/// The section table of a whole file.
pub(crate) fn decode_footer(file: &[u8]) -> Result<Vec<Section>, FormatError> {
    let file_len = file.len();
    let wrong = |what| FormatError::Malformed(file_len as u64, Malformed(what));
    let tail_at = file_len.checked_sub(TAIL_BYTES).ok_or(wrong("a footer"))?;
    let mut tail = Cursor::new(&file[tail_at..]);
    let mut parse = || Ok::<_, Malformed>((tail.u32()?, tail.u32()?, tail.u64()?));
    let (count, crc, stored_len) = parse().map_err(|m| FormatError::Malformed(0, m))?;
    if !file.ends_with(END_MAGIC) {
        return Err(wrong("magic TBNBLKED at the end"));
    }
    if stored_len != file_len as u64 || count as usize > MAX_SECTIONS {
        return Err(wrong("the length that the footer states"));
    }
    let table_at = tail_at
        .checked_sub(count as usize * ENTRY_BYTES)
        .ok_or(wrong("a section table"))?;
    let computed = crc32c::crc32c_append(
        crc32c::crc32c(&file[table_at..tail_at + 4]),
        &stored_len.to_le_bytes(),
    );
    if crc != computed {
        return Err(wrong("a valid footer checksum"));
    }
    let mut table = Cursor::new(&file[table_at..tail_at]);
    let mut sections = Vec::with_capacity(count as usize);
    while !table.is_empty() {
        let mut entry = || {
            Ok::<_, Malformed>(Section {
                id: table.u32()?,
                crc: table.u32()?,
                offset: table.u64()?,
                len: table.u64()?,
            })
        };
        let section = entry().map_err(|m| FormatError::Malformed(table_at as u64, m))?;
        let end = section.offset.checked_add(section.len);
        if section.offset < HEADER_BYTES as u64 || end.is_none_or(|end| end > table_at as u64) {
            return Err(wrong("sections inside the file"));
        }
        sections.push(section);
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_footer_come_back_and_every_flip_is_seen() {
        let header = BlockHeader {
            level: 0,
            seq: 3,
            min_ms: -4,
            max_ms: 9,
            series_count: 2,
            sample_count: 11,
            created_ms: 5,
            version: VERSION,
        };
        let mut file = header.encode();
        file.extend([1; 100]);
        let sections = [Section {
            id: VALUES,
            crc: 0,
            offset: 64,
            len: 100,
        }];
        file.extend(encode_footer(&sections, 164));
        assert_eq!(BlockHeader::decode(&file).unwrap(), header);
        assert_eq!(decode_footer(&file).unwrap(), sections);
        for at in (0..64).chain(164..file.len()) {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            let seen = BlockHeader::decode(&damaged).is_err() || decode_footer(&damaged).is_err();
            assert!(seen, "byte {at}");
        }
        for len in 0..file.len() {
            assert!(decode_footer(&file[..len]).is_err(), "length {len}");
        }
        assert_eq!(parse_file_name(&file_name(77)), Some(77));
    }
}
