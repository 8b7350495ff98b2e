//! Prometheus blocks on disk: finding them, opening one, reading the samples of a series.

use std::path::{Path, PathBuf};

use tenbin_model::write::HistogramSample;

use super::chunk;
use super::error::InterchangeError;
use super::index::{ChunkMeta, Index};
use super::meta::{FILE_NAME as META, Meta};
use super::segments::Segments;
use super::tombstones::Tombstones;
use super::ulid::is_ulid;
use crate::error::{Corruption, DbError, IoContext};
use crate::query::merge::{Columns, merge};
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
    pub(super) floats: Columns,
    pub(super) histograms: Vec<HistogramSample>,
    /// Samples that tombstones took.
    pub(super) deleted: u64,
    part: Columns,
    spare: Columns,
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
        out.floats.clear();
        out.histograms.clear();
        out.deleted = 0;
        let mut beyond: Option<i64> = None;
        for chunk in chunks {
            if chunk.min_ms > max_ms || chunk.max_ms < min_ms {
                continue;
            }
            let (encoding, data) = self.segments.chunk(chunk.reference)?;
            out.part.clear();
            let (part, histograms) = (&mut out.part, &mut out.histograms);
            let from = histograms.len();
            chunk::decode(encoding, data, part, &mut |sample| histograms.push(sample))
                .map_err(|m| self.segments.undecodable(chunk.reference, m))?;
            let times = part.times.iter().copied();
            let new = histograms[from..].iter().map(|s| s.timestamp_ms);
            let ascending = part.times.is_sorted_by(|a, b| a < b)
                && histograms[from..].is_sorted_by(|a, b| a.timestamp_ms < b.timestamp_ms);
            if !ascending {
                let found = crate::codec::Malformed("times that do not ascend");
                return Err(self.segments.undecodable(chunk.reference, found));
            }
            let behind = times.chain(new).filter(|t| *t > max_ms).min();
            beyond = match (beyond, behind) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            part.clip(min_ms, max_ms);
            merge(&mut out.floats, part, &mut out.spare);
        }
        out.histograms
            .retain(|s| (min_ms..=max_ms).contains(&s.timestamp_ms));
        // Chunks of blocks that were merged may overlap.
        out.histograms.sort_by_key(|s| s.timestamp_ms);
        out.histograms.dedup_by_key(|s| s.timestamp_ms);
        self.delete(id, out);
        Ok(beyond)
    }

    fn delete(&self, id: u64, out: &mut SeriesSamples) {
        let ranges = self.tombstones.of(id);
        if ranges.is_empty() {
            return;
        }
        let before = out.floats.times.len() + out.histograms.len();
        let kept = |at_ms: i64| {
            !ranges
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&at_ms))
        };
        out.floats.retain(kept);
        out.histograms.retain(|s| kept(s.timestamp_ms));
        out.deleted = (before - out.floats.times.len() - out.histograms.len()) as u64;
    }
}
