//! Reads an index: the series in the order of their labels.
//!
//! The file is mapped. Only the places of the symbols are kept in memory (4 bytes each); everything
//! else is read, and its checksum verified, when it is asked for.

use std::path::Path;

use tenbin_model::Labels;
use tenbin_model::labels::MAX_LABELS_TEXT_BYTES;

use super::{ChunkMeta, FILE_NAME, MAGIC, SERIES_ALIGNMENT, TOC_BYTES};
use crate::codec::Malformed;
use crate::codec::bytes::Cursor;
use crate::error::{Corruption, DbError, IoContext};
use crate::interchange::bytes::{CRC_BYTES, checked, damage, section, u32_be, u64_be};
use crate::vfs::{Mapped, Vfs};
use crate::wal::record::MAX_PAIRS;

/// Bytes of a series id in postings.
const ID_BYTES: usize = 4;

/// An open index.
pub(in crate::interchange) struct Index {
    file: String,
    map: Mapped,
    version: u8,
    /// Offset in the file of each symbol; empty in version 1, which names symbols by offset.
    symbols: Vec<u32>,
    /// Where the list of all series begins in the file, and how many they are.
    all: (usize, usize),
}

impl Index {
    /// Opens the index of `block`, which is called `name` in messages.
    pub(in crate::interchange) fn open(
        vfs: &dyn Vfs,
        block: &Path,
        name: &str,
    ) -> Result<Self, DbError> {
        let path = block.join(FILE_NAME);
        let map = vfs.map_sealed(&path).doing("mapping", &path)?;
        Ok(Self::parse(map, format!("{name}/{FILE_NAME}"))?)
    }

    fn parse(map: Mapped, file: String) -> Result<Self, Corruption> {
        let version = match map.get(..5) {
            Some([magic @ .., version @ 1..=3]) if *magic == MAGIC => *version,
            _ => {
                let found = format!("{:02x?}", map.get(..5).unwrap_or(&map));
                let expected = "an index: magic baaad700, version 1 to 3";
                return Err(Corruption::new(file, 0, expected, found));
            }
        };
        let at = map.len().saturating_sub(TOC_BYTES + CRC_BYTES);
        let what = "a table of contents";
        let toc = checked(&map, &file, at, TOC_BYTES, what)?;
        let mut fields = Cursor::new(toc);
        let mut parse = || {
            let symbols = u64_be(&mut fields)?;
            fields.take(32)?;
            Ok((symbols, u64_be(&mut fields)?))
        };
        let (symbols_at, postings_at) = parse().map_err(|m| damage(&file, at, what, m))?;
        let symbols = if version == 1 {
            Vec::new()
        } else {
            symbol_places(&map, &file, symbols_at)?
        };
        let all = all_series(&map, &file, postings_at)?;
        Ok(Self {
            file,
            map,
            version,
            symbols,
            all,
        })
    }

    /// Number of series.
    pub(in crate::interchange) fn series_count(&self) -> usize {
        self.all.1
    }

    /// The id of series `number` in label order.
    pub(in crate::interchange) fn series_id(&self, number: usize) -> Result<u64, Corruption> {
        let at = self.all.0 + number * ID_BYTES;
        let mut cursor = Cursor::new(self.map.get(at..).unwrap_or_default());
        u32_be(&mut cursor)
            .map(u64::from)
            .map_err(|m| damage(&self.file, at, "a series id", m))
    }

    /// The labels of a series; replaces `chunks` by its chunks.
    pub(in crate::interchange) fn series(
        &self,
        id: u64,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<Labels, Corruption> {
        chunks.clear();
        let unit = if self.version == 1 {
            1
        } else {
            SERIES_ALIGNMENT
        };
        let at = usize::try_from(id)
            .unwrap_or(usize::MAX)
            .saturating_mul(unit);
        let what = "a series";
        let mut cursor = Cursor::new(self.map.get(at..).unwrap_or_default());
        let before = cursor.remaining();
        let len = cursor.uvarint32();
        let len = len.map_err(|m| damage(&self.file, at, what, m))? as usize;
        let start = at + before - cursor.remaining();
        let content = checked(&self.map, &self.file, start, len, what)?;
        let mut cursor = Cursor::new(content);
        let damaged = |m| damage(&self.file, at, "a well-formed series", m);
        let labels = self.labels(&mut cursor).map_err(damaged)?;
        read_chunks(&mut cursor, chunks).map_err(damaged)?;
        Ok(labels)
    }

    fn labels(&self, cursor: &mut Cursor<'_>) -> Result<Labels, Malformed> {
        let count = cursor.count(2, MAX_PAIRS)?;
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(count);
        let mut text = 0;
        for _ in 0..count {
            let name = self.symbol(cursor.uvarint32()?)?;
            let value = self.symbol(cursor.uvarint32()?)?;
            if pairs.last().is_some_and(|(last, _)| *last >= name) {
                return Err(Malformed("label names of a series do not ascend"));
            }
            text += name.len() + value.len();
            pairs.push((name, value));
        }
        if text > MAX_LABELS_TEXT_BYTES {
            return Err(Malformed("labels of a series are too long"));
        }
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Labels::from_sorted(&pairs))
    }

    fn symbol(&self, reference: u32) -> Result<&str, Malformed> {
        let place = if self.version == 1 {
            reference
        } else {
            let place = self.symbols.get(reference as usize);
            *place.ok_or(Malformed("a symbol number beyond the last symbol"))?
        };
        Cursor::new(self.map.get(place as usize..).unwrap_or_default()).text()
    }
}

/// Where each symbol stands.
fn symbol_places(bytes: &[u8], file: &str, at: u64) -> Result<Vec<u32>, Corruption> {
    let what = "symbols";
    let content = section(bytes, file, at, what)?;
    // The section is in the file, so its place fits.
    let start = at as usize + 4;
    let damaged = |m| damage(file, start, what, m);
    let mut cursor = Cursor::new(content);
    let count = u32_be(&mut cursor).map_err(damaged)? as usize;
    if count > cursor.remaining() {
        return Err(damaged(Malformed("count exceeds what is there")));
    }
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        let place = start + content.len() - cursor.remaining();
        cursor
            .text()
            .map_err(|m| damage(file, place, "a symbol", m))?;
        let place = u32::try_from(place);
        places.push(place.map_err(|_| damaged(Malformed("symbols beyond 4 GiB")))?);
    }
    Ok(places)
}

/// Where the list of all series begins, and how many they are.
fn all_series(bytes: &[u8], file: &str, table_at: u64) -> Result<(usize, usize), Corruption> {
    let what = "a postings offset table";
    let table = section(bytes, file, table_at, what)?;
    let damaged = |m| damage(file, table_at as usize, what, m);
    let mut cursor = Cursor::new(table);
    let count = u32_be(&mut cursor).map_err(damaged)?;
    for _ in 0..count {
        let mut entry = || {
            let keys = cursor.u8()?;
            if keys != 2 {
                return Err(Malformed("an entry with other than 2 keys"));
            }
            let is_all = cursor.text()?.is_empty();
            let is_all = cursor.text()?.is_empty() && is_all;
            Ok((is_all, cursor.uvarint()?))
        };
        let (is_all, at) = entry().map_err(damaged)?;
        if is_all {
            return postings(bytes, file, at);
        }
    }
    if count == 0 {
        return Ok((0, 0));
    }
    Err(damaged(Malformed("no entry of all series")))
}

fn postings(bytes: &[u8], file: &str, at: u64) -> Result<(usize, usize), Corruption> {
    let what = "postings of all series";
    let list = section(bytes, file, at, what)?;
    let mut cursor = Cursor::new(list);
    let damaged = |m| damage(file, at as usize, what, m);
    let count = u32_be(&mut cursor).map_err(damaged)? as usize;
    if count.checked_mul(ID_BYTES) != Some(cursor.remaining()) {
        return Err(damaged(Malformed(
            "a count that is not that of the entries",
        )));
    }
    Ok((at as usize + 8, count))
}

fn read_chunks(cursor: &mut Cursor<'_>, chunks: &mut Vec<ChunkMeta>) -> Result<(), Malformed> {
    let count = cursor.count(3, usize::MAX)?;
    for at in 0..count {
        let previous = chunks.last().copied();
        let (min_ms, max_ms, reference) = match previous.filter(|_| at > 0) {
            None => {
                let min_ms = cursor.varint()?;
                let len = cursor.uvarint()?;
                (min_ms, min_ms.checked_add_unsigned(len), cursor.uvarint()?)
            }
            Some(before) => {
                let min_ms = before.max_ms.wrapping_add(cursor.uvarint()? as i64);
                let len = cursor.uvarint()?;
                let reference = before.reference.wrapping_add(cursor.varint()? as u64);
                (min_ms, min_ms.checked_add_unsigned(len), reference)
            }
        };
        let max_ms = max_ms.ok_or(Malformed("a chunk that ends beyond time"))?;
        chunks.push(ChunkMeta {
            min_ms,
            max_ms,
            reference,
        });
    }
    Ok(())
}
