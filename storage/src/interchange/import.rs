//! From Prometheus blocks to Tenbin's.
//!
//! One block after the other, and of each one window (a day, or two hours where retention asks for
//! short blocks) after the other, series by series: memory is bounded by the index of one window.
//! Every window becomes a block of Tenbin, published by one manifest edit; so whatever ends an import
//! leaves whole windows, and a repetition brings the same samples again, of which queries show and
//! compactions keep one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::InterchangeError;
use super::index::ChunkMeta;
use super::source::{PrometheusBlock, SeriesSamples, find};
use crate::block::format::file_name;
use crate::block::writer::BlockWriter;
use crate::codec::timestamps::MAX_COLUMN;
use crate::compact::import_window_ms;
use crate::db::{Db, ListedBlock, Store};
use crate::error::{Corruption, DbError, IoContext};
use crate::manifest::{BlockEntry, Edit};
use crate::tombstones::Tombstones;
use crate::vfs::Vfs;

/// Blocks that came from outside are merged with what a day has like flushed two hours are.
const LEVEL: u8 = 1;

/// Series between two words about progress.
const SLICE: usize = 256;

/// How far an import is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportProgress {
    /// Blocks to be read.
    pub blocks_total: usize,
    /// Blocks read.
    pub blocks_done: usize,
    /// The block being read.
    pub block: String,
    /// Series of it.
    pub series_total: usize,
    /// Those read, of the present window.
    pub series_done: usize,
    /// Samples written since the start.
    pub samples: u64,
}

/// What an import did.
#[derive(Debug, Clone, Default)]
pub struct ImportReport {
    /// Blocks of Prometheus that were read to their end.
    pub blocks: u64,
    /// Their series; a series counts once per block.
    pub series: u64,
    /// Float samples written; one that is in two blocks counts twice.
    pub samples: u64,
    /// Native histogram samples written.
    pub histogram_samples: u64,
    /// Samples left out because Prometheus had deleted them.
    pub deleted: u64,
    /// Blocks of Tenbin that were written.
    pub written_blocks: u64,
    /// Their bytes.
    pub written_bytes: u64,
    /// Time of the oldest sample written.
    pub min_ms: Option<i64>,
    /// Time of the newest sample written.
    pub max_ms: Option<i64>,
    /// Folders of Prometheus with samples that are in no block yet, which were not read.
    pub head_folders: Vec<PathBuf>,
    /// Blocks that were left in the middle, each with why. What was written before stays.
    pub failed: Vec<(String, Corruption)>,
}

impl Db {
    /// Imports the blocks at or below `paths`. `progress` is called often.
    ///
    /// # Errors
    /// When nothing is there to import, or the database cannot be written. Damage in a source ends
    /// only that source and stands in the report.
    pub fn import_prometheus(
        &self,
        source: &dyn Vfs,
        paths: &[PathBuf],
        progress: &mut dyn FnMut(&ImportProgress),
    ) -> Result<ImportReport, InterchangeError> {
        if self.is_closed() {
            return Err(DbError::Closed.into());
        }
        let found = find(source, paths)?;
        let mut import = Import {
            store: self.store(),
            source,
            progress,
            at: ImportProgress {
                blocks_total: found.blocks.len(),
                ..ImportProgress::default()
            },
            report: ImportReport {
                head_folders: found.head_folders,
                ..ImportReport::default()
            },
        };
        for dir in import.in_time_order(found.blocks)? {
            match import.block(&dir) {
                Ok(()) => import.report.blocks += 1,
                Err(DbError::Corrupt(damage)) => {
                    let name = import.at.block.clone();
                    import.report.failed.push((name, damage));
                }
                Err(error) => return Err(error.into()),
            }
            import.at.blocks_done += 1;
            (import.progress)(&import.at);
        }
        Ok(import.report)
    }
}

/// An import under way.
struct Import<'a> {
    store: &'a Arc<Store>,
    source: &'a dyn Vfs,
    progress: &'a mut dyn FnMut(&ImportProgress),
    at: ImportProgress,
    report: ImportReport,
}

/// A window that was read.
#[derive(Default)]
struct Window {
    /// First sample behind it, as far as the index says.
    next_ms: Option<i64>,
    samples: u64,
    histogram_samples: u64,
}

impl Import<'_> {
    /// Older blocks first: of two samples with one timestamp the first imported stays.
    fn in_time_order(&mut self, dirs: Vec<PathBuf>) -> Result<Vec<PathBuf>, InterchangeError> {
        let mut keyed = Vec::with_capacity(dirs.len());
        for dir in dirs {
            let name = dir.display().to_string();
            match super::meta::Meta::open(self.source, &dir, &name) {
                Ok(meta) => keyed.push((meta.min_ms, meta.ulid, dir)),
                Err(DbError::Corrupt(damage)) => self.report.failed.push((name, damage)),
                Err(error) => return Err(error.into()),
            }
        }
        keyed.sort();
        Ok(keyed.into_iter().map(|(_, _, dir)| dir).collect())
    }

    fn block(&mut self, dir: &Path) -> Result<(), DbError> {
        self.at.block = dir.display().to_string();
        let block = PrometheusBlock::open(self.source, dir)?;
        self.at.series_total = block.index.series_count();
        self.at.series_done = 0;
        let stats = block.meta.stats;
        tracing::debug!(block = %block.name, ?stats, "importing a block");
        let window_ms = import_window_ms(self.store.options.retention_ms);
        let mut next = first_sample(&block)?;
        while let Some(from_ms) = next {
            let number = from_ms.div_euclid(window_ms);
            let start_ms = number.saturating_mul(window_ms);
            // The last millisecond inside.
            let last_ms = start_ms.saturating_add(window_ms - 1);
            next = self.window(&block, (start_ms, last_ms))?;
        }
        self.report.series += block.index.series_count() as u64;
        Ok(())
    }

    /// Writes and publishes one window; returns where the next samples are.
    fn window(
        &mut self,
        block: &PrometheusBlock,
        range: (i64, i64),
    ) -> Result<Option<i64>, DbError> {
        let dir = self.store.blocks_dir();
        let seq = self.store.manifest.lock().allocate();
        let temporary = dir.join(format!("{}.tmp", file_name(seq)));
        let vfs = &*self.store.vfs;
        let mut writer = BlockWriter::create(vfs, &temporary).doing("creating", &temporary)?;
        let result = self.write(block, range, &mut writer).and_then(|window| {
            if writer.is_empty() {
                vfs.remove(&temporary).doing("removing", &temporary)?;
                return Ok(window);
            }
            let finished = writer.finish(LEVEL, seq, self.store.clock.now_ms());
            finished.doing("writing", &temporary)?;
            let listed = self.store.publish_imported(&temporary, seq)?;
            let bounds = (listed.min_ms, listed.max_ms);
            let report = &mut self.report;
            report.min_ms = Some(report.min_ms.map_or(bounds.0, |ms| ms.min(bounds.0)));
            report.max_ms = Some(report.max_ms.map_or(bounds.1, |ms| ms.max(bounds.1)));
            report.written_blocks += 1;
            report.written_bytes += listed.bytes;
            report.samples += window.samples;
            report.histogram_samples += window.histogram_samples;
            Ok(window)
        });
        if result.is_err() {
            // A leftover is removed at the next start anyway.
            let _ = vfs.remove(&temporary);
        }
        Ok(result?.next_ms)
    }

    fn write(
        &mut self,
        block: &PrometheusBlock,
        (min_ms, max_ms): (i64, i64),
        writer: &mut BlockWriter,
    ) -> Result<Window, DbError> {
        let mut window = Window::default();
        let mut chunks: Vec<ChunkMeta> = Vec::new();
        let mut samples = SeriesSamples::default();
        for number in 0..block.index.series_count() {
            if number % SLICE == 0 {
                self.at.series_done = number;
                self.at.samples = self.report.samples + self.report.histogram_samples;
                self.at.samples += window.samples + window.histogram_samples;
                (self.progress)(&self.at);
            }
            let id = block.index.series_id(number)?;
            let labels = block.index.series(id, &mut chunks)?;
            let later = chunks.iter().map(|c| c.min_ms).filter(|t| *t > max_ms);
            let met = block.read(id, &chunks, (min_ms, max_ms), &mut samples)?;
            let next = later.chain(met).chain(window.next_ms).min();
            window.next_ms = next;
            self.report.deleted += samples.deleted;
            let (floats, histograms) = (
                samples.samples.floats.times.len(),
                samples.samples.histograms.len(),
            );
            let count = floats + histograms;
            if count == 0 {
                continue;
            }
            if count > MAX_COLUMN {
                let expected = format!("at most {MAX_COLUMN} samples of a series in a window");
                let found = format!("{count} of {labels}");
                return Err(Corruption::new(&*block.name, 0, expected, found).into());
            }
            window.samples += floats as u64;
            window.histogram_samples += histograms as u64;
            let pairs: Vec<u32> = labels.iter().map(|(n, v)| writer.pair(n, v)).collect();
            writer
                .series(labels.hash128(), &pairs, &samples.samples)
                .doing("writing", writer.path())?;
        }
        Ok(window)
    }
}

/// The earliest begin of a chunk.
fn first_sample(block: &PrometheusBlock) -> Result<Option<i64>, Corruption> {
    let mut chunks = Vec::new();
    let mut first: Option<i64> = None;
    for number in 0..block.index.series_count() {
        let id = block.index.series_id(number)?;
        block.index.series(id, &mut chunks)?;
        first = chunks.iter().map(|c| c.min_ms).chain(first).min();
    }
    Ok(first)
}

/// A block that was published.
struct Published {
    min_ms: i64,
    max_ms: i64,
    bytes: u64,
}

impl Store {
    /// Makes a finished block part of the database.
    fn publish_imported(&self, temporary: &Path, seq: u64) -> Result<Published, DbError> {
        let _turn = self.maintenance.lock();
        let target = self.blocks_dir().join(file_name(seq));
        let block = self.publish(temporary, &target, seq)?;
        let entry = BlockEntry {
            seq,
            min_ms: block.header().min_ms,
            max_ms: block.header().max_ms,
            order: seq,
        };
        self.manifest.lock().commit(&[Edit::Add(entry)])?;
        let published = Published {
            min_ms: entry.min_ms,
            max_ms: entry.max_ms,
            bytes: block.file_bytes(),
        };
        let mut listed = (**self.blocks.load()).clone();
        listed.push(Arc::new(ListedBlock {
            entry,
            block: Ok(Arc::new(block)),
            flush: 0,
            tombstones: Tombstones::default(),
        }));
        listed.sort_by_key(|b| (b.entry.order, b.entry.seq));
        self.list_changed(listed, entry.min_ms);
        // As at the next start.
        self.head.raise_newest(entry.max_ms);
        Ok(published)
    }
}
