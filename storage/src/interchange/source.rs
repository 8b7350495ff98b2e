//! Prometheus blocks on disk: finding them, opening one, reading the samples of a series.

use std::path::{Path, PathBuf};

use tenbin_model::write::{HistogramSample, HistogramValue};

use super::chunk;
use super::error::InterchangeError;
use super::index::{ChunkMeta, Index};
use super::meta::{FILE_NAME as META, Meta};
use super::segments::Segments;
use super::tombstones::Tombstones;
use super::ulid::is_ulid;
use crate::codec::Malformed;
use crate::error::{Corruption, DbError, IoContext};
use crate::histogram::point::Point;
use crate::histogram::reset::{View, decide};
use crate::histogram::{Layout, Layouts, MAX_BUCKETS, fields_into, size};
use crate::query::merge::{Columns, Samples, merge_samples};
use crate::vfs::Vfs;

/// Folders of a Prometheus data directory whose samples are in no block yet.
const HEAD_FOLDERS: [&str; 3] = ["wal", "wbl", "chunks_head"];

/// What was found below the paths that were given.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) blocks: Vec<PathBuf>,
    /// Folders that hold samples outside of blocks.
    pub(super) head_folders: Vec<PathBuf>,
}

/// Finds blocks: a path is a block itself, or a folder of blocks.
pub(super) fn find(vfs: &dyn Vfs, paths: &[PathBuf]) -> Result<Found, InterchangeError> {
    let mut found = Found::default();
    for path in paths {
        let is_block = |dir: &Path| {
            let names = vfs.list(dir);
            names.is_ok_and(|names| names.iter().any(|name| name == META))
        };
        if is_block(path) {
            found.blocks.push(path.clone());
            continue;
        }
        let before = found.blocks.len();
        for name in vfs.list_dirs(path).doing("listing", path)? {
            let dir = path.join(&name);
            if HEAD_FOLDERS.contains(&&*name) {
                if vfs.list(&dir).is_ok_and(|files| !files.is_empty()) {
                    found.head_folders.push(dir);
                }
            } else if is_ulid(&name) && is_block(&dir) {
                found.blocks.push(dir);
            }
        }
        if found.blocks.len() == before {
            return Err(InterchangeError::NoBlocks(path.clone()));
        }
    }
    found.blocks.sort();
    found.blocks.dedup();
    Ok(found)
}

/// An open block of Prometheus.
pub(super) struct PrometheusBlock {
    pub(super) name: String,
    pub(super) meta: Meta,
    pub(super) index: Index,
    segments: Segments,
    tombstones: Tombstones,
}

/// Samples of one series, reused between series.
#[derive(Debug, Default)]
pub(super) struct SeriesSamples {
    pub(super) samples: Samples,
    /// Samples that tombstones took.
    pub(super) deleted: u64,
    part: Samples,
    decoded: Vec<HistogramSample>,
    layouts: Layouts,
    spare: Columns,
}

impl SeriesSamples {
    /// Turns what a chunk had into points; fails on what the store would refuse.
    fn take_histograms(&mut self) -> Result<(), Malformed> {
        for sample in self.decoded.drain(..) {
            let value = reduced(sample.histogram);
            if value.validate().is_err() || size(&value) > MAX_BUCKETS {
                return Err(Malformed("a histogram that breaks a rule"));
            }
            let mut fields = Vec::new();
            fields_into(&value, &mut fields);
            self.part.histograms.push(Point {
                at_ms: sample.timestamp_ms,
                start_ms: sample.start_timestamp_ms,
                hint: value.hint(),
                layout: self.layouts.intern(Layout::of(&value)),
                fields: fields.into(),
            });
        }
        Ok(())
    }

    /// Decides about counter resets as the head does, now that it is known what stands before what.
    fn decide_resets(&mut self) {
        let points = &mut self.samples.histograms;
        for at in 0..points.len() {
            let (before, now) = points.split_at_mut(at);
            let hint = decide(before.last().map(view_of), view_of(&now[0]));
            now[0].hint = hint;
        }
    }
}

fn view_of(point: &Point) -> View<'_> {
    View {
        layout: &point.layout,
        fields: &point.fields,
        hint: point.hint,
    }
}

/// The finest schema that is stored; finer ones are reduced to it.
const FINEST_SCHEMA: i32 = 8;

fn reduced(value: HistogramValue) -> HistogramValue {
    match value {
        HistogramValue::Integer(h) if h.schema > FINEST_SCHEMA => {
            HistogramValue::Integer(Box::new(h.to_schema(FINEST_SCHEMA)))
        }
        HistogramValue::Float(h) if h.schema > FINEST_SCHEMA => {
            let hint = h.counter_reset_hint;
            let mut coarse = h.to_schema(FINEST_SCHEMA);
            coarse.counter_reset_hint = hint;
            HistogramValue::Float(Box::new(coarse))
        }
        other => other,
    }
}

impl PrometheusBlock {
    pub(super) fn open(vfs: &dyn Vfs, dir: &Path) -> Result<Self, DbError> {
        let name = dir.file_name().map_or_else(
            || dir.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        );
        Ok(Self {
            meta: Meta::open(vfs, dir, &name)?,
            index: Index::open(vfs, dir, &name)?,
            segments: Segments::open(vfs, dir, &name)?,
            tombstones: Tombstones::open(vfs, dir, &name)?,
            name,
        })
    }

    /// Replaces `out` by the samples of series `id` in those of its chunks that `wanted` takes,
    /// inside `[min_ms, max_ms]`. Returns the first sample behind `max_ms` that was met.
    pub(super) fn read(
        &self,
        id: u64,
        chunks: &[ChunkMeta],
        (min_ms, max_ms): (i64, i64),
        out: &mut SeriesSamples,
    ) -> Result<Option<i64>, Corruption> {
        out.samples.clear();
        out.deleted = 0;
        let mut beyond: Option<i64> = None;
        for chunk in chunks {
            if chunk.min_ms > max_ms || chunk.max_ms < min_ms {
                continue;
            }
            let (encoding, data) = self.segments.chunk(chunk.reference)?;
            out.part.clear();
            out.decoded.clear();
            let undecodable = |m| self.segments.undecodable(chunk.reference, m);
            let histograms = &mut out.decoded;
            chunk::decode(encoding, data, &mut out.part.floats, &mut |sample| {
                histograms.push(sample);
            })
            .map_err(undecodable)?;
            out.take_histograms().map_err(undecodable)?;
            let part = &mut out.part;
            let times = part.floats.times.iter().copied();
            let points = part.histograms.iter().map(|p| p.at_ms);
            let ascending = part.floats.times.is_sorted_by(|a, b| a < b)
                && part.histograms.is_sorted_by(|a, b| a.at_ms < b.at_ms);
            if !ascending {
                return Err(undecodable(Malformed("times that do not ascend")));
            }
            let behind = times.chain(points).filter(|t| *t > max_ms).min();
            beyond = match (beyond, behind) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            part.clip(min_ms, max_ms);
            // Chunks of blocks that were merged may overlap.
            merge_samples(&mut out.samples, part, &mut out.spare);
        }
        out.layouts.prune();
        self.delete(id, out);
        out.decide_resets();
        Ok(beyond)
    }

    fn delete(&self, id: u64, out: &mut SeriesSamples) {
        let ranges = self.tombstones.of(id);
        if ranges.is_empty() {
            return;
        }
        let count = |samples: &Samples| samples.floats.times.len() + samples.histograms.len();
        let before = count(&out.samples);
        out.samples.retain(|at_ms| {
            !ranges
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&at_ms))
        });
        out.deleted = (before - count(&out.samples)) as u64;
    }
}
