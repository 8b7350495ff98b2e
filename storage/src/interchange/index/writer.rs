//! Writes an index, version 2.
//!
//! Series are gathered in memory (their labels shared with the caller), since symbols stand before
//! them in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use tenbin_model::Labels;

use super::{ChunkMeta, MAGIC, POSTINGS_ALIGNMENT, SERIES_ALIGNMENT, TOC_BYTES};
use crate::codec::bytes::{put_text, put_uvarint, put_varint};
use crate::error::{DbError, IoContext};
use crate::interchange::bytes::CRC_BYTES;
use crate::vfs::{OpenMode, Vfs, VfsFile};

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// Appends to the file.
struct Output<'a> {
    path: &'a Path,
    file: Arc<dyn VfsFile>,
    written: u64,
    buffer: Vec<u8>,
}

impl Output<'_> {
    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), DbError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DbError> {
        let written = self.file.write_at(self.written, &self.buffer);
        written.doing("writing", self.path)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn align(&mut self, unit: usize) -> Result<(), DbError> {
        let past = (self.position() % unit as u64) as usize;
        self.put(&vec![0; (unit - past) % unit])
    }

    /// `u32 length, content, checksum`.
    fn section(&mut self, content: &[u8]) -> Result<(), DbError> {
        let len = u32::try_from(content.len())
            .map_err(|_| std::io::Error::other("a section of the index would exceed 4 GiB"));
        let len = len.doing("writing", self.path)?;
        self.put(&len.to_be_bytes())?;
        self.put(content)?;
        self.put(&crc32c::crc32c(content).to_be_bytes())
    }
}

/// Gathers the series of a block and writes its index.
#[derive(Default)]
pub(in crate::interchange) struct IndexWriter {
    series: Vec<(Labels, Vec<ChunkMeta>)>,
}

impl IndexWriter {
    /// Adds a series; the labels ascend from call to call, chunks in time.
    pub(in crate::interchange) fn series(&mut self, labels: &Labels, chunks: Vec<ChunkMeta>) {
        debug_assert!(self.series.last().is_none_or(|(last, _)| last < labels));
        self.series.push((labels.clone(), chunks));
    }

    /// Writes and syncs the file, which must not exist; returns its bytes.
    pub(in crate::interchange) fn finish(self, vfs: &dyn Vfs, path: &Path) -> Result<u64, DbError> {
        let file = vfs.open(path, OpenMode::Create).doing("creating", path)?;
        let mut out = Output {
            path,
            file,
            written: 0,
            buffer: Vec::new(),
        };
        out.put(&MAGIC)?;
        out.put(&[2])?;
        let symbols_at = out.position();
        let numbers = self.symbols(&mut out)?;
        out.align(SERIES_ALIGNMENT)?;
        let series_at = out.position();
        let (ids, lists) = self.write_series(&numbers, &mut out)?;
        // Label indices are of the past: their place is that of the postings.
        let indices_at = out.position();
        let mut table = Vec::new();
        let count = lists.len() as u32 + 1;
        table.extend_from_slice(&count.to_be_bytes());
        let all = write_postings(&ids, &mut out)?;
        put_entry(&mut table, "", "", all);
        for ((name, value), list) in &lists {
            let at = write_postings(list, &mut out)?;
            put_entry(&mut table, name, value, at);
        }
        let table_at = out.position();
        out.section(&table)?;
        let mut toc = Vec::with_capacity(TOC_BYTES + CRC_BYTES);
        let places = [
            symbols_at, series_at, indices_at, table_at, indices_at, table_at,
        ];
        for place in places {
            toc.extend_from_slice(&place.to_be_bytes());
        }
        toc.extend_from_slice(&crc32c::crc32c(&toc).to_be_bytes());
        out.put(&toc)?;
        out.flush()?;
        out.file.sync_data().doing("syncing", path)?;
        Ok(out.written)
    }

    /// Writes the symbols and returns their numbers.
    fn symbols(&self, out: &mut Output<'_>) -> Result<BTreeMap<&str, u32>, DbError> {
        let mut symbols: BTreeSet<&str> = BTreeSet::from([""]);
        for (labels, _) in &self.series {
            for (name, value) in labels.iter() {
                symbols.insert(name);
                symbols.insert(value);
            }
        }
        let mut content = (symbols.len() as u32).to_be_bytes().to_vec();
        for symbol in &symbols {
            put_text(&mut content, symbol.as_bytes());
        }
        out.section(&content)?;
        Ok(symbols.into_iter().zip(0..).collect())
    }

    /// Writes the series; returns their ids, and those of each label pair.
    #[expect(clippy::type_complexity, reason = "a list of ids per pair of texts")]
    fn write_series(
        &self,
        numbers: &BTreeMap<&str, u32>,
        out: &mut Output<'_>,
    ) -> Result<(Vec<u32>, BTreeMap<(&str, &str), Vec<u32>>), DbError> {
        let mut ids = Vec::with_capacity(self.series.len());
        let mut lists: BTreeMap<(&str, &str), Vec<u32>> = BTreeMap::new();
        let (mut content, mut front) = (Vec::new(), Vec::new());
        for (labels, chunks) in &self.series {
            out.align(SERIES_ALIGNMENT)?;
            let id = u32::try_from(out.position() / SERIES_ALIGNMENT as u64)
                .map_err(|_| std::io::Error::other("the index would exceed 64 GiB"));
            let id = id.doing("writing", out.path)?;
            ids.push(id);
            content.clear();
            put_uvarint(&mut content, labels.len() as u64);
            for (name, value) in labels.iter() {
                put_uvarint(&mut content, u64::from(numbers[name]));
                put_uvarint(&mut content, u64::from(numbers[value]));
                lists.entry((name, value)).or_default().push(id);
            }
            put_chunks(&mut content, chunks);
            front.clear();
            put_uvarint(&mut front, content.len() as u64);
            out.put(&front)?;
            out.put(&content)?;
            out.put(&crc32c::crc32c(&content).to_be_bytes())?;
        }
        Ok((ids, lists))
    }
}

fn put_chunks(content: &mut Vec<u8>, chunks: &[ChunkMeta]) {
    put_uvarint(content, chunks.len() as u64);
    let mut before: Option<&ChunkMeta> = None;
    for chunk in chunks {
        match before {
            None => put_varint(content, chunk.min_ms),
            Some(before) => put_uvarint(content, chunk.min_ms.wrapping_sub(before.max_ms) as u64),
        }
        put_uvarint(content, chunk.max_ms.wrapping_sub(chunk.min_ms) as u64);
        match before {
            None => put_uvarint(content, chunk.reference),
            Some(before) => {
                put_varint(
                    content,
                    chunk.reference.wrapping_sub(before.reference) as i64,
                );
            }
        }
        before = Some(chunk);
    }
}

/// Writes a list of series and returns its place.
fn write_postings(ids: &[u32], out: &mut Output<'_>) -> Result<u64, DbError> {
    out.align(POSTINGS_ALIGNMENT)?;
    let at = out.position();
    let mut content = Vec::with_capacity(4 + ids.len() * 4);
    content.extend_from_slice(&(ids.len() as u32).to_be_bytes());
    for id in ids {
        content.extend_from_slice(&id.to_be_bytes());
    }
    out.section(&content)?;
    Ok(at)
}

fn put_entry(table: &mut Vec<u8>, name: &str, value: &str, at: u64) {
    table.push(2);
    put_text(table, name.as_bytes());
    put_text(table, value.as_bytes());
    put_uvarint(table, at);
}
