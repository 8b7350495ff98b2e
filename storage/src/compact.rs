//! Merging blocks: level 0 (a flush) into level 1 (two hours), level 2 (a day) and level 3 (up to 31
//! days), and rewriting single blocks in which something was deleted.
//!
//! One output at a time, series by series, so memory is bounded by the index of the output. Inputs
//! may overlap, and lose what was deleted in them; of two samples with one timestamp that of the
//! earlier stored block stays, and the output stands where its first input stood. Order of a merge: output written and synced, renamed,
//! directory synced, one manifest edit that names it and drops its inputs, list swapped, files
//! removed. A block that cannot be read is left alone from then on and the others are merged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::block::format::file_name;
use crate::block::reader::{Block, ColumnCache};
use crate::block::writer::BlockWriter;
use crate::db::{Db, ListedBlock, Store};
use crate::error::{Corruption, DbError, IoContext};
use crate::manifest::{BlockEntry, Edit};
use crate::query::merge::{Columns, Samples, merge_samples};
use crate::tombstones::Tombstones;

const HOUR_MS: i64 = 60 * 60 * 1000;

pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// Length of the windows of level 1 and 2, and at most of level 3.
const WINDOWS_MS: [i64; 3] = [2 * HOUR_MS, DAY_MS, 31 * DAY_MS];

/// A window is closed when the newest sample is this far behind its end.
const GRACE_MS: i64 = 10 * 60 * 1000;

/// Blocks of this share of the retention time at most, so that what is too old can go.
const RETENTION_SHARE: i64 = 10;

/// The longest window of blocks that come from outside, when samples are kept for `retention_ms` (0:
/// always): a day, or less so that what is too old can go.
pub(crate) fn import_window_ms(retention_ms: i64) -> i64 {
    let share_ms = retention_ms / RETENTION_SHARE;
    if share_ms > 0 && share_ms < DAY_MS {
        WINDOWS_MS[0]
    } else {
        DAY_MS
    }
}

/// Series between two looks at whether to stop or to make way.
const SLICE: usize = 512;

/// While the WAL's writer is this much behind, a merge pauses between slices.
const BUSY_BYTES: u64 = 8 << 20;

/// What a compaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Blocks merged.
    pub input_blocks: u64,
    /// Bytes of them.
    pub input_bytes: u64,
    /// Blocks written.
    pub output_blocks: u64,
    /// Bytes of them.
    pub output_bytes: u64,
    /// Samples in them.
    pub output_samples: u64,
    /// Blocks found damaged and left alone.
    pub damaged_blocks: u64,
}

/// Blocks to become one.
struct Plan {
    level: u8,
    /// In the order in which their samples were stored.
    inputs: Vec<(Arc<ListedBlock>, Arc<Block>)>,
}

/// Where a series has samples: label hash, input, number inside.
type Place = (u128, u32, u32);

/// How a merge ended.
enum Merged {
    /// The inputs are replaced; by nothing when all of them was deleted.
    Into(Option<Arc<Block>>),
    /// Retention took an input meanwhile, or something was deleted in one.
    Outdated,
}

/// Why a merge ended without output.
enum Failed {
    /// The input with this number in the plan is damaged.
    Input(usize, Corruption),
    Stopped,
    Other(DbError),
}

impl Db {
    /// Merges blocks to their final level now, open windows included.
    ///
    /// # Errors
    /// When an output cannot be written; the inputs then stay. A damaged input is no error: it is
    /// counted and left alone.
    pub fn compact(&self) -> Result<CompactReport, DbError> {
        if self.is_closed() {
            return Err(DbError::Closed);
        }
        self.store().compact(true, &AtomicBool::new(false))
    }
}

impl Store {
    /// Merges until there is nothing to merge or `stop` is set.
    pub(crate) fn compact(
        &self,
        open_windows: bool,
        stop: &AtomicBool,
    ) -> Result<CompactReport, DbError> {
        let _turn = self.compaction.lock();
        let mut report = CompactReport::default();
        while let Some(plan) = self.plan(open_windows) {
            if !self.run(&plan, stop, &mut report)? {
                break;
            }
        }
        Ok(report)
    }

    /// Rewrites every block with deletions, unless it is damaged.
    pub(crate) fn clean(&self, stop: &AtomicBool) -> Result<CompactReport, DbError> {
        let _turn = self.compaction.lock();
        let mut report = CompactReport::default();
        while let Some(plan) = self.plan_clean() {
            if !self.run(&plan, stop, &mut report)? {
                break;
            }
        }
        Ok(report)
    }

    /// Carries out a plan; false when told to stop.
    fn run(
        &self,
        plan: &Plan,
        stop: &AtomicBool,
        report: &mut CompactReport,
    ) -> Result<bool, DbError> {
        match self.merge_blocks(plan, stop) {
            Ok(Merged::Into(output)) => {
                report.input_blocks += plan.inputs.len() as u64;
                let bytes = plan.inputs.iter().map(|(_, block)| block.file_bytes());
                report.input_bytes += bytes.sum::<u64>();
                if let Some(output) = output {
                    report.output_blocks += 1;
                    report.output_bytes += output.file_bytes();
                    report.output_samples += output.header().sample_count;
                }
                self.counters.compactions.fetch_add(1, Ordering::Relaxed);
            }
            // Plan again.
            Ok(Merged::Outdated) => {}
            Err(Failed::Stopped) => return Ok(false),
            Err(Failed::Input(input, damage)) => {
                tracing::error!(%damage, "block is damaged; it is not compacted");
                let seq = plan.inputs[input].0.entry.seq;
                self.uncompactable.lock().insert(seq);
                self.counters.corruptions.lock().push(damage);
                report.damaged_blocks += 1;
            }
            Err(Failed::Other(error)) => {
                let failures = &self.counters.compaction_failures;
                failures.fetch_add(1, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(true)
    }

    /// The next block to be rewritten for its deletions.
    fn plan_clean(&self) -> Option<Plan> {
        let skip = self.uncompactable.lock();
        let listed = self.blocks.load_full();
        let deleted_in = |b: &&Arc<ListedBlock>| {
            !b.tombstones.is_empty() && !skip.contains(&b.entry.seq) && b.block.is_ok()
        };
        let listed = listed.iter().find(deleted_in)?;
        let block = listed.block.as_ref().ok()?;
        Some(Plan {
            level: block.header().level,
            inputs: vec![(Arc::clone(listed), Arc::clone(block))],
        })
    }

    /// The window lengths in use, with their levels.
    fn windows(&self) -> Vec<(i64, u8)> {
        let share_ms = self.options.retention_ms / RETENTION_SHARE;
        let mut windows: Vec<(i64, u8)> = WINDOWS_MS.into_iter().zip(1..).collect();
        if share_ms > 0 {
            windows[2].0 = windows[2].0.min(share_ms / DAY_MS * DAY_MS);
            windows.retain(|(window_ms, level)| *level == 1 || *window_ms <= share_ms);
        }
        windows.dedup_by(|later, earlier| later.0 <= earlier.0);
        windows
    }

    /// The next blocks to be merged.
    fn plan(&self, open_windows: bool) -> Option<Plan> {
        let listed = self.blocks.load_full();
        let newest_flush = self.queriers.lock().keys().next().copied();
        let skip = self.uncompactable.lock();
        let free: Vec<(Arc<ListedBlock>, Arc<Block>)> = listed
            .iter()
            // A querier that is older than a block looks for it by its flush.
            .filter(|b| newest_flush.is_none_or(|newest| b.flush <= newest))
            .filter(|b| !skip.contains(&b.entry.seq))
            .filter_map(|b| Some((Arc::clone(b), Arc::clone(b.block.as_ref().ok()?))))
            .collect();
        drop(skip);
        let newest_ms = self.head.newest_ms();
        let mut levels = self.windows();
        if open_windows {
            // Straight to the final level.
            levels.reverse();
        }
        for (window_ms, level) in levels {
            let window = |b: &ListedBlock| b.entry.max_ms.div_euclid(window_ms);
            let closed = newest_ms.saturating_sub(GRACE_MS).div_euclid(window_ms);
            let mut windows: Vec<i64> = free.iter().map(|(b, _)| window(b)).collect();
            windows.sort_unstable();
            windows.dedup();
            for number in windows {
                if number >= closed && !open_windows {
                    continue;
                }
                let members = free.iter().filter(|(listed, block)| {
                    window(listed) == number && block.header().level <= level
                });
                let members: Vec<_> = members.cloned().collect();
                let run = longest_run(&listed, &members);
                let worth = run.iter().any(|(_, block)| block.header().level < level);
                if run.len() > 1 && worth {
                    return Some(Plan { level, inputs: run });
                }
            }
        }
        None
    }

    fn merge_blocks(&self, plan: &Plan, stop: &AtomicBool) -> Result<Merged, Failed> {
        let dir = self.blocks_dir();
        let input_bytes: u64 = plan.inputs.iter().map(|(_, b)| b.file_bytes()).sum();
        let free = self.vfs.free_bytes(&dir).doing("asking for space", &dir);
        if free.map_err(Failed::Other)? < input_bytes + input_bytes / 5 {
            let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
            let error = Err(full).doing("compacting", &dir);
            return error.map_err(Failed::Other);
        }
        let places = places(&plan.inputs)?;
        let seq = self.manifest.lock().allocate();
        let temporary = dir.join(format!("{}.tmp", file_name(seq)));
        let written = self.write_merged(plan, &places, seq, &temporary, stop);
        if written.is_err() {
            // A leftover is removed at the next start anyway.
            let _ = self.vfs.remove(&temporary);
        }
        let temporary = written?.then_some(&*temporary);
        self.publish_merged(plan, seq, temporary)
            .map_err(Failed::Other)
    }

    /// Writes the output; false (and no file) when nothing is left of the inputs.
    fn write_merged(
        &self,
        plan: &Plan,
        places: &[Vec<Place>],
        seq: u64,
        temporary: &std::path::Path,
        stop: &AtomicBool,
    ) -> Result<bool, Failed> {
        let io =
            |result: std::io::Result<()>| result.doing("writing", temporary).map_err(Failed::Other);
        let mut writer = BlockWriter::create(&*self.vfs, temporary)
            .doing("creating", temporary)
            .map_err(Failed::Other)?;
        let mut caches: Vec<ColumnCache> =
            plan.inputs.iter().map(|_| ColumnCache::default()).collect();
        let mut known_pairs: Vec<Vec<Option<u32>>> = vec![Vec::new(); plan.inputs.len()];
        let (mut merged, mut part) = (Samples::default(), Samples::default());
        let mut spare = Columns::default();
        for (number, series) in places.iter().enumerate() {
            if number % SLICE == 0 {
                self.make_way(stop)?;
            }
            merged.clear();
            for (_, input, ordinal) in series {
                let input = *input as usize;
                let damaged = |damage| Failed::Input(input, damage);
                let block = &plan.inputs[input].1;
                let cache = &mut caches[input];
                block
                    .read_cached(*ordinal, (i64::MIN, i64::MAX), cache, &mut part)
                    .map_err(damaged)?;
                plan.inputs[input].0.tombstones.apply(*ordinal, &mut part);
                merge_samples(&mut merged, &mut part, &mut spare);
            }
            if merged.is_empty() {
                continue;
            }
            let (hash, input, ordinal) = series[0];
            let input = input as usize;
            let known = &mut known_pairs[input];
            let block = &plan.inputs[input].1;
            let record = block.record_cached(ordinal, &mut caches[input]);
            let pairs = record
                .and_then(|record| own_pairs(block, &record.pairs, known, &mut writer))
                .map_err(|damage| Failed::Input(input, damage))?;
            io(writer.series(hash, &pairs, &merged))?;
        }
        if writer.is_empty() {
            drop(writer);
            let removed = self.vfs.remove(temporary);
            removed
                .doing("removing", temporary)
                .map_err(Failed::Other)?;
            return Ok(false);
        }
        writer.set_order(plan.inputs[0].0.entry.order);
        let finished = writer.finish(plan.level, seq, self.clock.now_ms());
        io(finished.map(|_| ()))?;
        Ok(true)
    }

    /// Ends the merge when told to, and lets a busy ingest go first.
    fn make_way(&self, stop: &AtomicBool) -> Result<(), Failed> {
        if stop.load(Ordering::Relaxed) {
            return Err(Failed::Stopped);
        }
        let queued = &self.wal.counters().queued_bytes;
        if queued.load(Ordering::Relaxed) > BUSY_BYTES {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    }

    /// Puts the output, if there is any, in the place of the inputs.
    fn publish_merged(
        &self,
        plan: &Plan,
        seq: u64,
        temporary: Option<&std::path::Path>,
    ) -> Result<Merged, DbError> {
        let _turn = self.maintenance.lock();
        let mut listed = (**self.blocks.load()).clone();
        let is_input =
            |b: &Arc<ListedBlock>| plan.inputs.iter().any(|(input, _)| Arc::ptr_eq(input, b));
        if listed.iter().filter(|b| is_input(b)).count() < plan.inputs.len() {
            if let Some(temporary) = temporary {
                self.vfs.remove(temporary).doing("removing", temporary)?;
            }
            return Ok(Merged::Outdated);
        }
        let dir = self.blocks_dir();
        let mut edits = Vec::new();
        let mut output = None;
        listed.retain(|b| !is_input(b));
        if let Some(temporary) = temporary {
            let block = Arc::new(self.publish(temporary, &dir.join(file_name(seq)), seq)?);
            let entry = BlockEntry {
                seq,
                min_ms: block.header().min_ms,
                max_ms: block.header().max_ms,
                order: block.order(),
            };
            edits.push(Edit::Add(entry));
            output = Some(Arc::clone(&block));
            listed.push(Arc::new(ListedBlock {
                entry,
                block: Ok(block),
                // Rewritten alone, a block is still looked for by its flush.
                flush: match &*plan.inputs {
                    [(only, _)] => only.flush,
                    _ => 0,
                },
                tombstones: Tombstones::default(),
            }));
        }
        edits.extend(plan.inputs.iter().map(|(b, _)| Edit::Drop(b.entry.seq)));
        self.manifest.lock().commit(&edits)?;
        listed.sort_by_key(|b| (b.entry.order, b.entry.seq));
        self.blocks.store(Arc::new(listed));
        for (input, _) in &plan.inputs {
            let path = dir.join(file_name(input.entry.seq));
            // What stays is removed at the next start: no manifest names it.
            if let Err(error) = self.vfs.remove(&path) {
                tracing::warn!(%error, file = %path.display(), "removing a merged block");
            }
        }
        Ok(Merged::Into(output))
    }
}

/// The longest run of members, in stored order, that can stand where its first block stands: no
/// member overlaps another block that was stored before it, but after the first of the run.
fn longest_run(
    listed: &[Arc<ListedBlock>],
    members: &[(Arc<ListedBlock>, Arc<Block>)],
) -> Vec<(Arc<ListedBlock>, Arc<Block>)> {
    let is_member = |other: &Arc<ListedBlock>| members.iter().any(|(b, _)| Arc::ptr_eq(b, other));
    let others: Vec<&Arc<ListedBlock>> = listed.iter().filter(|b| !is_member(b)).collect();
    let mut best: &[(Arc<ListedBlock>, Arc<Block>)] = &[];
    let mut start = 0;
    for (at, (member, _)) in members.iter().enumerate() {
        let own = member.entry;
        let between = members[start].0.entry.order..own.order;
        let split = others.iter().map(|other| other.entry).any(|other| {
            let overlaps = other.min_ms <= own.max_ms && own.min_ms <= other.max_ms;
            between.contains(&other.order) && overlaps
        });
        if split {
            start = at;
        }
        if at + 1 - start > best.len() {
            best = &members[start..=at];
        }
    }
    best.to_vec()
}

/// All series of the inputs with their places, in the order of their first places: neighbours stay
/// neighbours.
fn places(inputs: &[(Arc<ListedBlock>, Arc<Block>)]) -> Result<Vec<Vec<Place>>, Failed> {
    let mut all: Vec<Place> = Vec::new();
    for (input, (_, block)) in inputs.iter().enumerate() {
        for ordinal in 0..block.header().series_count {
            let hash = block.hash(ordinal);
            let hash = hash.map_err(|damage| Failed::Input(input, damage))?;
            all.push((hash, input as u32, ordinal));
        }
    }
    all.sort_unstable();
    let same = |a: &Place, b: &Place| a.0 == b.0;
    let mut series: Vec<Vec<Place>> = all.chunk_by(same).map(<[Place]>::to_vec).collect();
    series.sort_unstable_by_key(|places| (places[0].1, places[0].2));
    Ok(series)
}

/// The writer's ids of the pairs of a series.
fn own_pairs(
    block: &Block,
    pairs: &[u32],
    known: &mut Vec<Option<u32>>,
    writer: &mut BlockWriter,
) -> Result<Vec<u32>, Corruption> {
    let mut own = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().copied() {
        // Reading the text checks the id, so that a damaged one cannot make the list huge.
        let at = pair as usize;
        if let Some(id) = known.get(at).copied().flatten() {
            own.push(id);
            continue;
        }
        let (name, value) = block.pair_text(pair)?;
        let id = writer.pair(name, &value);
        if known.len() <= at {
            known.resize(at + 1, None);
        }
        known[at] = Some(id);
        own.push(id);
    }
    Ok(own)
}
