//! From Tenbin to Prometheus blocks.
//!
//! One aligned window after the other becomes one block: chunks stream out, labels and places of
//! chunks are gathered for the index. A block is written under a temporary name, which Prometheus
//! ignores and removes, synced, and renamed.

use std::path::{Path, PathBuf};

use tenbin_model::query::RawSamples;
use tenbin_model::{Labels, Matcher, Queryable, SelectHints, SeriesSet, TimeRange};

use super::chunk::encode_series;
use super::error::InterchangeError;
use super::index::{self, ChunkMeta, IndexWriter};
use super::meta::{self, Meta, Stats};
use super::segments::{self, SegmentWriter};
use super::{tombstones, ulid};
use crate::db::Db;
use crate::error::{DbError, IoContext};
use crate::vfs::{OpenMode, Vfs};

/// Length of the shortest block of Prometheus.
const BLOCK_MS: i64 = 2 * 60 * 60 * 1000;

/// Each longer kind of block is as long as this many of the kind before.
const BLOCK_GROWTH: i64 = 3;

/// What Prometheus takes for the leftover of a crash.
const TEMPORARY_SUFFIX: &str = ".tmp-for-creation";

/// Series between two words about progress.
const SLICE: usize = 256;

/// What to export.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// Folder for the blocks; made when it is not there.
    pub out: PathBuf,
    /// First millisecond.
    pub start_ms: i64,
    /// Last millisecond.
    pub end_ms: i64,
    /// Series that satisfy all matchers of one of these are taken; none means all series.
    pub selectors: Vec<Vec<Matcher>>,
    /// Longest block in milliseconds; made shorter to a length that Prometheus itself writes.
    pub max_block_ms: i64,
}

/// How far an export is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportProgress {
    /// Begin of the window being written.
    pub window_ms: i64,
    /// Blocks written.
    pub blocks: u64,
    /// Samples written.
    pub samples: u64,
}

/// What an export did.
#[derive(Debug, Clone, Default)]
pub struct ExportReport {
    /// Folders of the blocks.
    pub blocks: Vec<PathBuf>,
    /// Series; one counts once per block.
    pub series: u64,
    /// Float samples.
    pub samples: u64,
    /// Histogram samples.
    pub histogram_samples: u64,
    /// Chunks.
    pub chunks: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// The longest length of Prometheus' own blocks that is not above `max_ms`; at least the shortest.
#[must_use]
pub fn compatible_block_ms(max_ms: i64) -> i64 {
    let mut length = BLOCK_MS;
    while let Some(longer) = length.checked_mul(BLOCK_GROWTH)
        && longer <= max_ms
    {
        length = longer;
    }
    length
}

impl Db {
    /// Writes the samples of a range as blocks of Prometheus. `progress` is called often.
    ///
    /// # Errors
    /// When data is damaged or unreadable, or the target cannot be written.
    pub fn export_prometheus(
        &self,
        target: &dyn Vfs,
        options: &ExportOptions,
        progress: &mut dyn FnMut(&ExportProgress),
    ) -> Result<ExportReport, InterchangeError> {
        let (start_ms, end_ms) = (options.start_ms, options.end_ms);
        if start_ms > end_ms {
            return Err(InterchangeError::EmptyRange { start_ms, end_ms });
        }
        target
            .create_dir_all(&options.out)
            .doing("creating", &options.out)?;
        let mut export = Export {
            db: self,
            target,
            options,
            progress,
            at: ExportProgress::default(),
            report: ExportReport::default(),
        };
        let stats = self.stats();
        let (Some(oldest), Some(newest)) = (stats.min_time_ms, stats.max_time_ms) else {
            return Ok(export.report);
        };
        let length = compatible_block_ms(options.max_block_ms);
        let (first_ms, last_ms) = (start_ms.max(oldest), end_ms.min(newest));
        let mut window = first_ms.div_euclid(length);
        while first_ms <= last_ms && window <= last_ms.div_euclid(length) {
            let window_ms = window.saturating_mul(length);
            let range = TimeRange::new(
                first_ms.max(window_ms),
                last_ms.min(window_ms.saturating_add(length - 1)),
            );
            export.window(window_ms, range)?;
            window += 1;
        }
        target
            .sync_dir(&options.out)
            .doing("syncing", &options.out)?;
        Ok(export.report)
    }
}

/// An export under way.
struct Export<'a> {
    db: &'a Db,
    target: &'a dyn Vfs,
    options: &'a ExportOptions,
    progress: &'a mut dyn FnMut(&ExportProgress),
    at: ExportProgress,
    report: ExportReport,
}

/// A series of one of several selections.
struct Source {
    labels: Labels,
    set: usize,
    series: usize,
}

impl Export<'_> {
    /// Writes the block of one window; none when it has no sample.
    fn window(&mut self, window_ms: i64, range: TimeRange) -> Result<(), InterchangeError> {
        self.at.window_ms = window_ms;
        (self.progress)(&self.at);
        let querier = self.db.querier(range)?;
        let hints = SelectHints {
            sorted: true,
            ..SelectHints::default()
        };
        let mut sets = Vec::new();
        for matchers in &self.options.selectors {
            sets.push(querier.select(matchers, &hints)?);
        }
        if self.options.selectors.is_empty() {
            sets.push(querier.select(&[], &hints)?);
        }
        let sources = in_order(&sets)?;
        if sources.is_empty() {
            return Ok(());
        }
        let name = ulid::fresh(self.db.store().clock.now_ms());
        let temporary = self.options.out.join(format!("{name}{TEMPORARY_SUFFIX}"));
        let written = self.block(&temporary, &name, range, &sets, &sources);
        match written {
            Ok(true) => {
                let path = self.options.out.join(&name);
                let renamed = self.target.rename(&temporary, &path);
                renamed.doing("renaming", &temporary)?;
                self.report.blocks.push(path);
                self.at.blocks += 1;
                Ok(())
            }
            Ok(false) => {
                self.remove(&temporary);
                Ok(())
            }
            Err(error) => {
                self.remove(&temporary);
                Err(error)
            }
        }
    }

    /// Takes away what an unfinished block left; Prometheus would, too.
    fn remove(&self, block: &Path) {
        for dir in [block.join(segments::DIRECTORY), block.to_owned()] {
            for name in self.target.list(&dir).unwrap_or_default() {
                let _ = self.target.remove(&dir.join(name));
            }
            let _ = self.target.remove_dir(&dir);
        }
    }

    /// Writes a block into `dir`; false when no series had a sample.
    fn block(
        &mut self,
        dir: &Path,
        name: &str,
        range: TimeRange,
        sets: &[Box<dyn SeriesSet>],
        sources: &[Source],
    ) -> Result<bool, InterchangeError> {
        let chunks_dir = dir.join(segments::DIRECTORY);
        let created = self.target.create_dir_all(&chunks_dir);
        created.doing("creating", &chunks_dir)?;
        let mut segments = SegmentWriter::new(&chunks_dir);
        let mut index = IndexWriter::default();
        let mut stats = Stats::default();
        let (mut min_ms, mut max_ms) = (i64::MAX, i64::MIN);
        let mut samples = RawSamples::default();
        for (number, source) in sources.iter().enumerate() {
            if number % SLICE == 0 {
                self.at.samples = self.report.samples + stats.float_samples;
                (self.progress)(&self.at);
            }
            sets[source.set].read_raw(source.series, range, &mut samples)?;
            let mut metas = Vec::new();
            for chunk in encode_series(&samples) {
                let reference = segments.put(self.target, &chunk)?;
                min_ms = min_ms.min(chunk.min_ms);
                max_ms = max_ms.max(chunk.max_ms);
                metas.push(ChunkMeta {
                    min_ms: chunk.min_ms,
                    max_ms: chunk.max_ms,
                    reference,
                });
            }
            if metas.is_empty() {
                continue;
            }
            stats.series += 1;
            stats.chunks += metas.len() as u64;
            stats.float_samples += samples.timestamps_ms.len() as u64;
            stats.histogram_samples += samples.histograms.len() as u64;
            index.series(&source.labels, metas);
        }
        let bytes = segments.finish(self.target)?;
        if stats.series == 0 {
            return Ok(false);
        }
        let meta = Meta {
            ulid: name.to_owned(),
            min_ms,
            end_ms: max_ms.saturating_add(1),
            level: 1,
            stats,
        };
        let bytes = bytes + self.finish(dir, index, &meta)?;
        self.report.series += stats.series;
        self.report.samples += stats.float_samples;
        self.report.histogram_samples += stats.histogram_samples;
        self.report.chunks += stats.chunks;
        self.report.bytes += bytes;
        Ok(true)
    }

    /// Writes the small files of a block and returns their bytes.
    fn finish(&self, dir: &Path, index: IndexWriter, meta: &Meta) -> Result<u64, DbError> {
        let mut bytes = index.finish(self.target, &dir.join(index::FILE_NAME))?;
        for (name, content) in [
            (tombstones::FILE_NAME, tombstones::empty()),
            (meta::FILE_NAME, meta.encode()),
        ] {
            let path = dir.join(name);
            let file = self.target.open(&path, OpenMode::Create);
            let file = file.doing("creating", &path)?;
            file.write_at(0, &content).doing("writing", &path)?;
            file.sync_data().doing("syncing", &path)?;
            bytes += content.len() as u64;
        }
        self.target.sync_dir(dir).doing("syncing", dir)?;
        Ok(bytes)
    }
}

/// The series of all selections in label order, each once.
fn in_order(sets: &[Box<dyn SeriesSet>]) -> Result<Vec<Source>, InterchangeError> {
    let mut sources = Vec::new();
    for (set, series_set) in sets.iter().enumerate() {
        for series in 0..series_set.len() {
            let labels = series_set.labels(series)?;
            sources.push(Source {
                labels,
                set,
                series,
            });
        }
    }
    if sets.len() > 1 {
        sources.sort_by(|a, b| a.labels.cmp(&b.labels));
        sources.dedup_by(|a, b| a.labels == b.labels);
    }
    Ok(sources)
}
