//! Writes a block: values and timestamp columns stream out, the index is built in memory.
//!
//! Series get their numbers in the order in which they are added.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use croaring::{Bitmap, Portable};
use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_128;

use super::format::{
    BlockHeader, HASHES, HEADER_BYTES, LAYOUTS, ORDER, PAGE_BYTES, PAGE_CHECKSUMS, PAIRS, POSTINGS,
    POSTINGS_DIRECTORY, SERIES, SERIES_STARTS, SIDE, SIDE_INDEX, Section, TIMES, VALUES, VERSION,
    encode_footer, hash_bytes,
};
use super::index::DirectoryEntry;
use super::pending::PendingSeries;
use super::series::{SeriesRecord, SeriesWriter};
use super::side::SideWriter;
use crate::codec::Malformed;
use crate::codec::bytes::put_uvarint;
use crate::codec::timestamps;
use crate::codec::values::{Chooser, MAX_RUN};
use crate::query::merge::Samples;
use crate::vfs::{OpenMode, Vfs, VfsFile};

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// Appends to the file and keeps the page checksums.
struct Output {
    file: Arc<dyn VfsFile>,
    written: u64,
    buffer: Vec<u8>,
    page_crc: u32,
    page_len: usize,
    checksums: Vec<u8>,
    sections: Vec<Section>,
}

impl Output {
    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(PAGE_BYTES - self.page_len));
            self.page_crc = crc32c::crc32c_append(self.page_crc, now);
            self.page_len += now.len();
            if self.page_len == PAGE_BYTES {
                self.end_page();
            }
            bytes = rest;
        }
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn end_page(&mut self) {
        self.checksums
            .extend_from_slice(&self.page_crc.to_le_bytes());
        (self.page_crc, self.page_len) = (0, 0);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(self.written, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn section(&mut self, id: u32, bytes: &[u8]) -> io::Result<()> {
        let offset = self.position();
        self.put(bytes)?;
        self.sections.push(Section {
            id,
            crc: 0,
            offset,
            len: bytes.len() as u64,
        });
        Ok(())
    }
}

/// A block being written.
pub(crate) struct BlockWriter {
    path: PathBuf,
    output: Output,
    times: Vec<u8>,
    known_times: HashMap<(u128, usize), usize>,
    /// Pair text to provisional id.
    pair_ids: HashMap<(Box<str>, Box<str>), u32, foldhash::fast::RandomState>,
    pending: PendingSeries,
    record: SeriesRecord,
    hashes: Vec<u8>,
    values_len: usize,
    min_ms: i64,
    max_ms: i64,
    sample_count: u64,
    scratch: Vec<u8>,
    chooser: Chooser,
    order: Option<u64>,
    side: SideWriter,
}

impl BlockWriter {
    /// Starts a block at `path`, replacing what a crash may have left there.
    pub(crate) fn create(vfs: &dyn Vfs, path: &Path) -> io::Result<Self> {
        let _ = vfs.remove(path);
        let file = vfs.open(path, OpenMode::Create)?;
        Ok(Self {
            path: path.to_owned(),
            output: Output {
                file,
                written: HEADER_BYTES as u64,
                buffer: Vec::new(),
                page_crc: 0,
                page_len: 0,
                checksums: Vec::new(),
                sections: Vec::new(),
            },
            times: Vec::new(),
            known_times: HashMap::new(),
            pair_ids: HashMap::default(),
            pending: PendingSeries::default(),
            record: SeriesRecord::default(),
            hashes: Vec::new(),
            values_len: 0,
            min_ms: i64::MAX,
            max_ms: i64::MIN,
            sample_count: 0,
            scratch: Vec::new(),
            chooser: Chooser::default(),
            order: None,
            side: SideWriter::default(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Places the block among all blocks elsewhere than at its number.
    pub(crate) fn set_order(&mut self, order: u64) {
        self.order = Some(order);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.len() == 0
    }

    /// The provisional id of a label pair.
    pub(crate) fn pair(&mut self, name: &str, value: &str) -> u32 {
        let next = self.pair_ids.len() as u32;
        *self
            .pair_ids
            .entry((name.into(), value.into()))
            .or_insert(next)
    }

    /// Adds a series with its provisional pair ids (in name order) and its samples (at least one,
    /// ascending).
    pub(crate) fn series(
        &mut self,
        hash: u128,
        pairs: &[u32],
        samples: &Samples,
    ) -> io::Result<()> {
        let Some((first, last)) = samples.extent() else {
            return Ok(());
        };
        self.side.series(self.pending.len() as u32, samples);
        let histograms = samples.histograms.len();
        let samples = &samples.floats;
        self.min_ms = self.min_ms.min(first);
        self.max_ms = self.max_ms.max(last);
        self.sample_count += (samples.times.len() + histograms) as u64;
        let times_at = match samples.times.len() {
            0 => 0,
            _ => self.times_column(&samples.times),
        };
        let record = &mut self.record;
        record.pairs.clear();
        record.pairs.extend_from_slice(pairs);
        record.sample_count = samples.times.len();
        (record.times_at, record.values_at) = (times_at, self.values_len);
        record.run_bytes.clear();
        self.scratch.clear();
        for run in samples.values.chunks(MAX_RUN) {
            let before = self.scratch.len();
            self.chooser.encode(&mut self.scratch, run);
            record.run_bytes.push(self.scratch.len() - before);
        }
        self.output.put(&self.scratch)?;
        self.values_len += self.scratch.len();
        self.pending.push(record);
        let hash = hash.to_le_bytes();
        self.hashes.extend_from_slice(&hash[..hash_bytes(VERSION)]);
        Ok(())
    }

    /// Where a timestamp column stands; stored once however many series share it.
    fn times_column(&mut self, times: &[i64]) -> usize {
        self.scratch.clear();
        self.scratch
            .extend(times.iter().flat_map(|t| t.to_le_bytes()));
        let key = (xxh3_128(&self.scratch), times.len());
        *self.known_times.entry(key).or_insert_with(|| {
            let at = self.times.len();
            timestamps::encode(&mut self.times, times);
            at
        })
    }

    /// Writes the rest, syncs the file and returns its header. The caller renames it.
    pub(crate) fn finish(
        mut self,
        level: u8,
        seq: u64,
        created_ms: i64,
    ) -> io::Result<BlockHeader> {
        self.output.sections.push(Section {
            id: VALUES,
            crc: 0,
            offset: HEADER_BYTES as u64,
            len: self.values_len as u64,
        });
        self.output.section(TIMES, &self.times)?;
        self.index()?;
        self.output.section(HASHES, &self.hashes)?;
        if let Some(order) = self.order {
            self.scratch.clear();
            put_uvarint(&mut self.scratch, order);
            self.output.section(ORDER, &self.scratch)?;
        }
        if !self.side.is_empty() {
            let (side, index, layouts) = self.side.finish();
            self.output.section(SIDE, &side)?;
            self.output.section(SIDE_INDEX, &index)?;
            self.output.section(LAYOUTS, &layouts)?;
        }
        if self.output.page_len > 0 {
            self.output.end_page();
        }
        let checksums = std::mem::take(&mut self.output.checksums);
        let offset = self.output.position();
        self.output.sections.push(Section {
            id: PAGE_CHECKSUMS,
            crc: crc32c::crc32c(&checksums),
            offset,
            len: checksums.len() as u64,
        });
        self.output.buffer.extend_from_slice(&checksums);
        let at = self.output.position();
        let footer = encode_footer(&self.output.sections, at);
        self.output.buffer.extend_from_slice(&footer);
        self.output.flush()?;
        let header = BlockHeader {
            level,
            seq,
            min_ms: self.min_ms,
            max_ms: self.max_ms,
            series_count: self.pending.len() as u32,
            sample_count: self.sample_count,
            created_ms,
            version: VERSION,
        };
        self.output.file.write_at(0, &header.encode())?;
        self.output.file.sync_data()?;
        Ok(header)
    }

    /// Writes series records, dictionary and postings.
    fn index(&mut self) -> io::Result<()> {
        let mut sorted: Vec<(&str, &str, u32)> = self
            .pair_ids
            .iter()
            .map(|((name, value), id)| (&**name, &**value, *id))
            .collect();
        sorted.sort_unstable();
        let mut ranks = vec![0_u32; sorted.len()];
        let mut names: Vec<(&str, Vec<&str>)> = Vec::new();
        for (rank, (name, value, id)) in sorted.iter().enumerate() {
            ranks[*id as usize] = rank as u32;
            match names.last_mut() {
                Some((last, values)) if last == name => values.push(value),
                _ => names.push((name, vec![value])),
            }
        }
        let mut pairs = Vec::new();
        super::pairs::encode(&mut pairs, &names);
        let mut series = SeriesWriter::default();
        let push = |record: &mut SeriesRecord| {
            record.pairs.sort_unstable();
            series.push(record);
        };
        self.pending.each(&ranks, push).map_err(own_memory)?;
        let (mut directory, mut postings) = (Vec::new(), Vec::new());
        let each = |list: &[u32]| directory_entry(list, &mut postings).encode(&mut directory);
        self.pending.lists(&ranks, each).map_err(own_memory)?;
        self.output.section(SERIES, &series.records)?;
        self.output.section(SERIES_STARTS, &series.starts)?;
        self.output.section(PAIRS, &pairs)?;
        self.output.section(POSTINGS_DIRECTORY, &directory)?;
        self.output.section(POSTINGS, &postings)
    }
}

/// What was written to memory a moment ago does not come back.
fn own_memory(Malformed(what): Malformed) -> io::Error {
    io::Error::other(what)
}

/// The smallest form of an ascending list.
fn directory_entry(list: &[u32], postings: &mut Vec<u8>) -> DirectoryEntry {
    match (list.first(), list.last()) {
        (Some(first), Some(last)) if (last - first) as usize == list.len() - 1 => {
            DirectoryEntry::Run {
                start: *first,
                len: list.len() as u32,
            }
        }
        _ => {
            let mut bitmap = Bitmap::of(list);
            bitmap.run_optimize();
            let bytes = bitmap.serialize::<Portable>();
            let at = postings.len() as u32;
            postings.extend_from_slice(&bytes);
            DirectoryEntry::Bitmap {
                at,
                len: bytes.len() as u32,
            }
        }
    }
}
