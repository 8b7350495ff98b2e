//! From the head to blocks: everything before a point in time, and all late samples. Late samples
//! that are far older than the rest go into blocks of their days, so that every block stays short.
//!
//! Order, so that a crash or a failure at any step loses nothing: cut (all lanes at once: late
//! samples set aside, WAL rotated), WAL synced, blocks written and synced, renamed, directory synced,
//! manifest edit synced, blocks listed for queries, samples dropped from the head, WAL segments
//! removed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tenbin_model::TimeRange;

use crate::block::format::file_name;
use crate::block::pages::PagesError;
use crate::block::reader::Block;
use crate::block::writer::BlockWriter;
use crate::compact::DAY_MS;
use crate::db::{Db, ListedBlock, Store};
use crate::error::{Corruption, DbError, IoContext};
use crate::head::lane::Lane;
use crate::head::read::HeadSamples;
use crate::head::series::HAS_LATE;
use crate::manifest::{BlockEntry, Edit};
use crate::query::merge::{Columns, Samples};
use crate::tombstones::Tombstones;
use crate::vfs::OpenMode;
use crate::wal::segment::SPARE_NAME;

/// Series handled before a lane's lock is given up for a moment.
const SLICE: usize = 512;

/// A series without samples for this long leaves memory once its samples are in blocks.
const SILENT_MS: i64 = 10 * 60 * 1000;

/// Late samples this far before the in-order ones, at least, get blocks of their own.
const LATE_SPAN_MS: i64 = 2 * 60 * 60 * 1000;

/// Most space that a former segment keeps for the next one.
const SPARE_BYTES: u64 = 128 << 10;

/// What a flush did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlushReport {
    /// Series in the new blocks.
    pub series: u64,
    /// Samples in the new blocks.
    pub samples: u64,
    /// Bytes of the new blocks.
    pub block_bytes: u64,
    /// Series that left memory.
    pub evicted_series: u64,
    /// WAL segments removed.
    pub removed_segments: u64,
}

/// What goes into one of the blocks of a flush.
struct FlushPart {
    /// In-order samples before this.
    before_ms: i64,
    /// Late samples inside this range.
    late: TimeRange,
}

impl FlushPart {
    /// The series of a lane that may have something for this block.
    fn candidates(&self, lane: &Lane) -> Vec<u32> {
        if self.before_ms > i64::MIN {
            return lane.live.to_vec();
        }
        let histograms = lane.histograms.flushing_late_series();
        let mut ids: Vec<u32> = lane.flushing_late.series().chain(histograms).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

/// A series on its way into a block.
struct Outgoing {
    hash: u128,
    pairs: Vec<u32>,
    samples: HeadSamples,
}

impl Db {
    /// Moves everything in the head into blocks now.
    ///
    /// # Errors
    /// When writing fails; then everything stays in the head and the WAL.
    pub fn flush(&self) -> Result<FlushReport, DbError> {
        if self.is_closed() {
            return Err(DbError::Closed);
        }
        let store = self.store();
        store.flush_before(store.head.newest_ms().saturating_add(1))
    }
}

impl Store {
    /// Moves in-order samples before `before_ms` and all late samples into a block.
    pub(crate) fn flush_before(&self, before_ms: i64) -> Result<FlushReport, DbError> {
        let _turn = self.maintenance.lock();
        let result = self.flush_locked(before_ms);
        let counter = if result.is_ok() {
            &self.counters.flushes
        } else {
            &self.counters.flush_failures
        };
        counter.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn flush_locked(&self, before_ms: i64) -> Result<FlushReport, DbError> {
        let before_ms = before_ms.max(self.flushed_ms.load(Ordering::Relaxed));
        let (cut_seq, flush) = {
            let mut lanes = self.head.all_lanes();
            for lane in &mut lanes {
                lane.begin_flush(before_ms);
            }
            let flushes = lanes.iter().map(|lane| lane.journal.flushes).max();
            (self.wal.rotate(), flushes.unwrap_or(0))
        };
        // No segment before the cut may be written after it was removed.
        self.wal.sync().wait()?;
        self.write_sidecars()?;
        let mut report = FlushReport::default();
        let written = self.write_blocks(before_ms)?;
        let mut edits = Vec::new();
        let mut blocks = (**self.blocks.load()).clone();
        for block in written {
            let header = *block.header();
            report.series += u64::from(header.series_count);
            report.samples += header.sample_count;
            report.block_bytes += block.file_bytes();
            let entry = BlockEntry {
                seq: header.seq,
                min_ms: header.min_ms,
                max_ms: header.max_ms,
                order: header.seq,
            };
            edits.push(Edit::Add(entry));
            blocks.push(Arc::new(ListedBlock {
                entry,
                block: Ok(Arc::new(block)),
                flush,
                tombstones: Tombstones::default(),
            }));
        }
        edits.push(Edit::Flushed {
            until_ms: before_ms,
            cut_seq,
        });
        self.manifest.lock().commit(&edits)?;
        self.flushed_ms.store(before_ms, Ordering::Relaxed);
        self.blocks.store(Arc::new(blocks));
        report.evicted_series = self.drop_flushed(before_ms)?;
        report.removed_segments = self.remove_segments(cut_seq, before_ms)?;
        Ok(report)
    }

    /// Writes, publishes by name and opens the blocks; none when there is nothing to write.
    fn write_blocks(&self, before_ms: i64) -> Result<Vec<Block>, DbError> {
        let mut written = Vec::new();
        for part in self.parts(before_ms) {
            match self.write_block(&part) {
                Ok(block) => written.extend(block),
                Err(error) => {
                    // No manifest names them; what stays is removed at the next start.
                    for block in written {
                        let name = file_name(block.header().seq);
                        let _ = self.vfs.remove(&self.blocks_dir().join(name));
                    }
                    return Err(error);
                }
            }
        }
        Ok(written)
    }

    /// What goes into which block: old late samples by their days, then the rest.
    fn parts(&self, before_ms: i64) -> Vec<FlushPart> {
        let mut oldest_ms = before_ms;
        let mut days = BTreeSet::new();
        for number in 0..self.head.lane_count() {
            let lane = self.head.lane(number);
            oldest_ms = oldest_ms.min(lane.oldest_ms().unwrap_or(before_ms));
            let histograms = lane.histograms.flushing_late_times();
            let times = lane.flushing_late.times().chain(histograms);
            days.extend(times.map(|t| t.div_euclid(DAY_MS)));
        }
        let main_from_ms = oldest_ms
            .saturating_sub(LATE_SPAN_MS)
            .div_euclid(LATE_SPAN_MS)
            .saturating_mul(LATE_SPAN_MS);
        let old = |day: &i64| day.saturating_mul(DAY_MS) < main_from_ms;
        let day = |day: i64| FlushPart {
            before_ms: i64::MIN,
            late: TimeRange::new(
                day.saturating_mul(DAY_MS),
                (day.saturating_add(1).saturating_mul(DAY_MS) - 1).min(main_from_ms - 1),
            ),
        };
        let mut parts: Vec<FlushPart> = days.into_iter().filter(old).map(day).collect();
        parts.push(FlushPart {
            before_ms,
            late: TimeRange::new(main_from_ms, i64::MAX),
        });
        parts
    }

    fn write_block(&self, part: &FlushPart) -> Result<Option<Block>, DbError> {
        let dir = self.blocks_dir();
        let seq = self.manifest.lock().allocate();
        let name = file_name(seq);
        let temporary = dir.join(format!("{name}.tmp"));
        let vfs = &*self.vfs;
        let mut writer = BlockWriter::create(vfs, &temporary).doing("creating", &temporary)?;
        let written = (0..self.head.lane_count())
            .try_for_each(|lane| self.write_lane(lane, part, &mut writer))
            .and_then(|()| {
                if writer.is_empty() {
                    return Ok(None);
                }
                let created_ms = self.clock.now_ms();
                let header = writer.finish(0, seq, created_ms);
                header.doing("writing", &temporary).map(Some)
            });
        match written {
            Ok(Some(header)) => self
                .publish(&temporary, &dir.join(&name), header.seq)
                .map(Some),
            Ok(None) => {
                vfs.remove(&temporary).doing("removing", &temporary)?;
                Ok(None)
            }
            Err(error) => {
                // A leftover is removed at the next start anyway.
                let _ = vfs.remove(&temporary);
                Err(error)
            }
        }
    }

    /// Gives a written block its name and opens it.
    pub(crate) fn publish(&self, from: &Path, to: &Path, seq: u64) -> Result<Block, DbError> {
        self.vfs.rename(from, to).doing("renaming", from)?;
        let dir = self.blocks_dir();
        self.vfs.sync_dir(&dir).doing("syncing", &dir)?;
        let map = self.vfs.map_sealed(to).doing("mapping", to)?;
        let file = format!("blocks/{}", file_name(seq));
        match Block::open(map, file.clone()) {
            Ok(block) => Ok(block),
            Err(PagesError::Corrupt(damage)) => Err(damage.into()),
            Err(PagesError::TooNew(_)) => {
                Err(Corruption::new(file, 0, "the version written", "another").into())
            }
        }
    }

    fn write_lane(
        &self,
        number: u32,
        part: &FlushPart,
        writer: &mut BlockWriter,
    ) -> Result<(), DbError> {
        let ids = part.candidates(&self.head.lane(number));
        // Lane pair ids to ids of the block; only a flush frees pairs, so they keep their meaning.
        let mut known_pairs: Vec<Option<u32>> = Vec::new();
        let (mut samples, mut decoded) = (Samples::default(), Samples::default());
        let mut spare = Columns::default();
        let mut outgoing = Vec::with_capacity(SLICE);
        for ids in ids.chunks(SLICE) {
            let lane = self.head.lane(number);
            for id in ids {
                outgoing.extend(take(&lane, *id, part, &mut known_pairs, writer));
            }
            drop(lane);
            for series in outgoing.drain(..) {
                samples.clear();
                let last_ms = part.before_ms.saturating_sub(1);
                series.samples.read(
                    TimeRange::ALL,
                    last_ms,
                    &mut samples,
                    &mut decoded,
                    &mut spare,
                )?;
                writer
                    .series(series.hash, &series.pairs, &samples)
                    .doing("writing", writer.path())?;
            }
        }
        Ok(())
    }

    /// Drops from the head what the block has; returns how many series left memory.
    fn drop_flushed(&self, before_ms: i64) -> Result<u64, DbError> {
        let newest_ms = self.head.newest_ms();
        let mut evicted = 0;
        for number in 0..self.head.lane_count() {
            let ids = {
                let mut lane = self.head.lane(number);
                lane.end_flush();
                lane.live.to_vec()
            };
            for ids in ids.chunks(SLICE) {
                let mut lane = self.head.lane(number);
                for id in ids {
                    lane.drop_before(*id, before_ms)
                        .map_err(|m| Corruption::new("head (memory)", 0, "a chunk", m.0))?;
                    if is_evictable(&lane, *id, newest_ms) {
                        self.head.evict(&mut lane, *id);
                        evicted += 1;
                    }
                }
            }
            self.head.lane(number).shrink();
        }
        Ok(evicted)
    }

    /// Removes WAL segments that blocks have; one is kept for its space, damaged ones aside.
    fn remove_segments(&self, cut_seq: u64, before_ms: i64) -> Result<u64, DbError> {
        let gone = self.wal.take_flushed(cut_seq, before_ms);
        let dir = self.wal_dir();
        let spare = dir.join(SPARE_NAME);
        let mut spared = false;
        for segment in &gone {
            let path = dir.join(crate::wal::segment::file_name(segment.seq));
            if segment.damaged {
                let aside = path.with_extension("wal.damaged");
                self.vfs.rename(&path, &aside).doing("renaming", &path)?;
            } else if !spared && self.wal.wants_spare() {
                self.vfs.rename(&path, &spare).doing("renaming", &path)?;
                spared = true;
            } else {
                self.vfs.remove(&path).doing("removing", &path)?;
            }
        }
        if !gone.is_empty() {
            self.vfs.sync_dir(&dir).doing("syncing", &dir)?;
        }
        if spared {
            // Only now: under its old name the file must not be seen without its end.
            let file = self.vfs.open(&spare, OpenMode::Write);
            let file = file.doing("opening", &spare)?;
            if file.len().doing("reading", &spare)? > SPARE_BYTES {
                file.truncate(SPARE_BYTES).doing("truncating", &spare)?;
            }
            self.wal.offer_spare();
        }
        Ok(gone.len() as u64)
    }
}

/// Copies what the flush takes of a series.
fn take(
    lane: &Lane,
    id: u32,
    part: &FlushPart,
    known_pairs: &mut Vec<Option<u32>>,
    writer: &mut BlockWriter,
) -> Option<Outgoing> {
    let samples = lane.copy_flushing(id, part.before_ms, part.late)?;
    let in_lane = lane.pairs(id);
    let mut pairs = Vec::with_capacity(in_lane.len());
    for pair in in_lane {
        let at = pair as usize;
        if known_pairs.len() <= at {
            known_pairs.resize(at + 1, None);
        }
        pairs.push(*known_pairs[at].get_or_insert_with(|| {
            let (name, value) = lane.dictionary.text(pair);
            writer.pair(name, value)
        }));
    }
    Some(Outgoing {
        hash: lane.hash(id),
        pairs,
        samples,
    })
}

/// Whether memory holds nothing of a series that blocks do not, and no sample is expected soon.
fn is_evictable(lane: &Lane, id: u32, newest_ms: i64) -> bool {
    let series = &lane.series[id as usize];
    let empty = lane.first_ms(id).is_none() && !series.has(HAS_LATE);
    let silent = newest_ms.saturating_sub(series.last_ms) > SILENT_MS;
    empty && (silent || lane.is_stale(id))
}
