//! Counts for metrics and the status pages.

use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use tenbin_model::METRIC_NAME;

use crate::db::Db;
use crate::error::Corruption;

/// A picture of the database.
#[derive(Debug, Clone, Default)]
pub struct DbStats {
    /// Series in the head.
    pub head_series: u64,
    /// Series ever created since start.
    pub head_series_created: u64,
    /// Series that left memory since start.
    pub head_series_evicted: u64,
    /// Chunks in the head.
    pub head_chunks: u64,
    /// Bytes of the head's chunks.
    pub head_chunk_bytes: u64,
    /// Float samples stored since start, without duplicates.
    pub samples_appended: u64,
    /// Histogram samples stored since start.
    pub histograms_appended: u64,
    /// Exemplars stored since start.
    pub exemplars_appended: u64,
    /// Exemplars in memory.
    pub exemplars: u64,
    /// Late samples among the float samples.
    pub late_samples_appended: u64,
    /// Exact duplicates acknowledged since start.
    pub duplicate_samples: u64,
    /// Samples refused since start, by reason.
    pub rejected: RejectedStats,
    /// Oldest sample in head or blocks; `None` when there is none.
    pub min_time_ms: Option<i64>,
    /// Newest sample in head or blocks; `None` when there is none.
    pub max_time_ms: Option<i64>,
    /// Oldest in-order sample that only the head has; `None` when there is none.
    pub head_min_time_ms: Option<i64>,
    /// WAL segments that a replay would read.
    pub wal_segments: u64,
    /// Bytes in use of them, without what is reserved ahead.
    pub wal_bytes: u64,
    /// Bytes written to the WAL since start.
    pub wal_written_bytes: u64,
    /// Calls of fdatasync for the WAL since start.
    pub wal_fsyncs: u64,
    /// Time in them, microseconds.
    pub wal_fsync_us: u64,
    /// Number of the WAL segment that is written to.
    pub wal_current_segment: u64,
    /// Bytes waiting for the WAL's writer.
    pub wal_queued_bytes: u64,
    /// Why the WAL accepts nothing, if so.
    pub wal_failure: Option<String>,
    /// Blocks.
    pub blocks: u64,
    /// Bytes of the blocks.
    pub block_bytes: u64,
    /// Samples in the blocks; late and repeated ones may count twice.
    pub block_samples: u64,
    /// Deletions in blocks that no merge has applied yet.
    pub tombstones: u64,
    /// Flushes since start.
    pub flushes: u64,
    /// Failed flushes since start.
    pub flush_failures: u64,
    /// Blocks written by compactions since start.
    pub compactions: u64,
    /// Failed compactions since start.
    pub compaction_failures: u64,
    /// Times that blocks left since they were too old, since start.
    pub time_retentions: u64,
    /// Times that blocks left since everything was too big, since start.
    pub size_retentions: u64,
    /// Damage found since start.
    pub corruptions: Vec<Corruption>,
    /// How long the replay at start took.
    pub replay_ms: u64,
    /// Samples that the replay brought back.
    pub replayed_samples: u64,
    /// Samples that the replay had to drop because of damage.
    pub replay_dropped_samples: u64,
    /// Bytes of a torn tail that the replay cut off.
    pub replay_torn_bytes: u64,
}

/// Refused samples by reason, since start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RejectedStats {
    /// Behind the newest sample of their series, without an out-of-order window.
    pub out_of_order: u64,
    /// Older than the head accepts.
    pub out_of_bounds: u64,
    /// Older than the out-of-order window.
    pub too_old: u64,
    /// Too far ahead of the clock.
    pub too_far_in_future: u64,
    /// Another value is stored at the timestamp.
    pub duplicate: u64,
    /// New series beyond the limit.
    pub series_limit: u64,
    /// Native histograms that break a rule.
    pub invalid_histograms: u64,
    /// Exemplars older than their series accepts.
    pub out_of_order_exemplars: u64,
    /// Entries with invalid labels (entries, not samples).
    pub invalid_entries: u64,
}

/// A block as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSummary {
    /// Its number, part of its file name.
    pub number: u64,
    /// Its oldest sample, milliseconds.
    pub min_time_ms: i64,
    /// Its newest sample, milliseconds.
    pub max_time_ms: i64,
    /// 0 as flushed, then merged.
    pub level: u8,
    /// Series.
    pub series: u64,
    /// Samples.
    pub samples: u64,
    /// Bytes of its file.
    pub bytes: u64,
    /// Deletions that no merge has applied yet.
    pub tombstones: u64,
    /// Whether it was set aside; then only its times are known.
    pub is_damaged: bool,
}

/// A name with a count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCount {
    /// The name.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// What the series of the head consist of.
#[derive(Debug, Clone, Default)]
pub struct CardinalityStats {
    /// Series in the head.
    pub series: u64,
    /// Distinct label pairs.
    pub label_pairs: u64,
    /// Metric names with the most series.
    pub series_by_metric: Vec<NamedCount>,
    /// Label names with the most values.
    pub values_by_label: Vec<NamedCount>,
    /// Label names whose values take the most bytes.
    pub bytes_by_label: Vec<NamedCount>,
    /// Pairs (`name=value`) with the most series.
    pub series_by_pair: Vec<NamedCount>,
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The `limit` largest, ties by name.
fn top(counts: HashMap<String, u64>, limit: usize) -> Vec<NamedCount> {
    let mut list: Vec<NamedCount> = counts
        .into_iter()
        .map(|(name, count)| NamedCount { name, count })
        .collect();
    list.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    list.truncate(limit);
    list
}

impl Db {
    /// Counts of the database as it is now.
    #[must_use]
    pub fn stats(&self) -> DbStats {
        let store = self.store();
        let head = &store.head.counters;
        let wal = store.wal.counters();
        let (wal_segments, wal_bytes) = store.wal.extent();
        let mut stats = DbStats {
            head_series: store.head.series_count(),
            head_series_created: get(&head.series_created),
            head_series_evicted: get(&head.series_evicted),
            samples_appended: get(&head.samples),
            histograms_appended: get(&head.histograms),
            exemplars_appended: get(&head.exemplars),
            exemplars: store.head.exemplars.len() as u64,
            late_samples_appended: get(&head.late),
            duplicate_samples: get(&head.duplicates),
            rejected: RejectedStats {
                out_of_order: get(&head.out_of_order),
                out_of_bounds: get(&head.out_of_bounds),
                too_old: get(&head.too_old),
                too_far_in_future: get(&head.too_far_in_future),
                duplicate: get(&head.duplicate_other_value),
                series_limit: get(&head.series_limit),
                invalid_histograms: get(&head.invalid_histograms),
                out_of_order_exemplars: get(&head.out_of_order_exemplars),
                invalid_entries: get(&head.invalid_entries),
            },
            wal_segments,
            wal_bytes,
            wal_written_bytes: get(&wal.written_bytes),
            wal_fsyncs: get(&wal.fsyncs),
            wal_fsync_us: get(&wal.fsync_us),
            wal_current_segment: store.wal.current_segment(),
            wal_queued_bytes: get(&wal.queued_bytes),
            wal_failure: store.wal.failure().map(|error| error.to_string()),
            flushes: get(&store.counters.flushes),
            flush_failures: get(&store.counters.flush_failures),
            compactions: get(&store.counters.compactions),
            compaction_failures: get(&store.counters.compaction_failures),
            time_retentions: get(&store.counters.time_retentions),
            size_retentions: get(&store.counters.size_retentions),
            corruptions: store.counters.corruptions.lock().clone(),
            replay_ms: get(&store.counters.replay_ms),
            replayed_samples: get(&store.counters.replayed_samples),
            replay_dropped_samples: get(&store.counters.replay_dropped_samples),
            replay_torn_bytes: get(&store.counters.replay_torn_bytes),
            ..DbStats::default()
        };
        self.block_stats(&mut stats);
        let _ = store.head.each_lane(|lane| {
            stats.head_chunks += lane.chunk_count;
            stats.head_chunk_bytes += lane.chunk_bytes();
            stats.head_min_time_ms = [stats.head_min_time_ms, lane.oldest_ms()]
                .into_iter()
                .flatten()
                .min();
            Ok::<_, std::convert::Infallible>(())
        });
        let oldest = [stats.min_time_ms, stats.head_min_time_ms];
        stats.min_time_ms = oldest.into_iter().flatten().min();
        let newest_ms = store.head.newest_ms();
        stats.max_time_ms = (newest_ms > i64::MIN).then_some(newest_ms);
        stats
    }

    fn block_stats(&self, stats: &mut DbStats) {
        for listed in self.store().blocks.load().iter() {
            stats.blocks += 1;
            stats.tombstones += listed.tombstones.count() as u64;
            let min_ms = Some(listed.entry.min_ms);
            stats.min_time_ms = [stats.min_time_ms, min_ms].into_iter().flatten().min();
            if let Ok(block) = &listed.block {
                stats.block_bytes += block.file_bytes();
                stats.block_samples += block.header().sample_count;
            }
        }
    }

    /// The blocks, oldest first.
    #[must_use]
    pub fn block_list(&self) -> Vec<BlockSummary> {
        let mut list: Vec<BlockSummary> = self
            .store()
            .blocks
            .load()
            .iter()
            .map(|listed| {
                let block = listed.block.as_ref().ok();
                BlockSummary {
                    number: listed.entry.seq,
                    min_time_ms: listed.entry.min_ms,
                    max_time_ms: listed.entry.max_ms,
                    level: block.map_or(0, |block| block.header().level),
                    series: block.map_or(0, |block| u64::from(block.header().series_count)),
                    samples: block.map_or(0, |block| block.header().sample_count),
                    bytes: block.map_or(0, |block| block.file_bytes()),
                    tombstones: listed.tombstones.count() as u64,
                    is_damaged: block.is_none(),
                }
            })
            .collect();
        list.sort_by_key(|block| (block.min_time_ms, block.number));
        list
    }

    /// What the series of the head consist of, the `limit` largest of each kind.
    #[must_use]
    pub fn cardinality(&self, limit: usize) -> CardinalityStats {
        let store = self.store();
        let mut stats = CardinalityStats {
            series: store.head.series_count(),
            ..CardinalityStats::default()
        };
        let mut metrics = HashMap::new();
        let mut by_pair: HashMap<(String, String), u64> = HashMap::new();
        let _ = store.head.each_lane(|lane| {
            for name in lane.dictionary.names() {
                for pair in &name.pairs {
                    let pair = lane.dictionary.pair(*pair);
                    let key = (name.text.to_string(), pair.value.to_string());
                    *by_pair.entry(key).or_default() += pair.series.len();
                }
            }
            Ok::<_, std::convert::Infallible>(())
        });
        stats.label_pairs = by_pair.len() as u64;
        let (mut values, mut bytes) = (HashMap::new(), HashMap::new());
        let mut pairs = HashMap::new();
        for ((name, value), count) in by_pair {
            *values.entry(name.clone()).or_default() += 1;
            *bytes.entry(name.clone()).or_default() += value.len() as u64;
            if name == METRIC_NAME {
                metrics.insert(value.clone(), count);
            }
            pairs.insert(format!("{name}={value}"), count);
        }
        stats.series_by_metric = top(metrics, limit);
        stats.values_by_label = top(values, limit);
        stats.bytes_by_label = top(bytes, limit);
        stats.series_by_pair = top(pairs, limit);
        stats
    }
}
