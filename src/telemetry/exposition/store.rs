//! What the store says about itself: head, log, blocks.
//!
//! A name of Prometheus stands here only where the meaning is its own; `prometheus_tsdb_wal_*` about pages and
//! checkpoints, `..._mmap_*` and `..._isolation_*` have no counterpart.

use tenbin_storage::DbStats;

use super::Exposition;

/// All of it.
pub(super) fn push(e: &mut Exposition, stats: &DbStats) {
    push_head(e, stats);
    push_samples(e, stats);
    push_wal(e, stats);
    push_blocks(e, stats);
}

fn push_head(e: &mut Exposition, stats: &DbStats) {
    e.gauge(
        "prometheus_tsdb_head_series",
        "Total number of series in the head.",
        stats.head_series as f64,
    );
    e.gauge(
        "prometheus_tsdb_head_chunks",
        "Total number of chunks in the head.",
        stats.head_chunks as f64,
    );
    let name = "prometheus_tsdb_head_samples_appended_total";
    e.family(name, "counter", "Total number of appended samples.");
    e.sample(name, &[("type", "float")], stats.samples_appended as f64);
    e.sample(
        name,
        &[("type", "histogram")],
        stats.histograms_appended as f64,
    );
    e.counter(
        "prometheus_tsdb_head_series_created_total",
        "Total number of series created in the head.",
        stats.head_series_created,
    );
    e.counter(
        "prometheus_tsdb_head_series_removed_total",
        "Total number of series removed from the head.",
        stats.head_series_evicted,
    );
    for (suffix, unit, scale) in [("", "milliseconds", 1.0), ("_seconds", "seconds", 1000.0)] {
        for (end, at) in [("min", stats.head_min_time_ms), ("max", stats.max_time_ms)] {
            e.gauge(
                &format!("prometheus_tsdb_head_{end}_time{suffix}"),
                &format!("The {end}imum timestamp of the head, {unit}."),
                at.unwrap_or(0) as f64 / scale,
            );
        }
    }
    for (suffix, unit, scale) in [("", "milliseconds", 1.0), ("_seconds", "seconds", 1000.0)] {
        e.gauge(
            &format!("prometheus_tsdb_lowest_timestamp{suffix}"),
            &format!("Lowest timestamp value stored in the database, {unit}."),
            stats.min_time_ms.unwrap_or(0) as f64 / scale,
        );
    }
    e.gauge(
        "tenbin_tsdb_head_chunk_bytes",
        "Bytes of the samples in the head.",
        stats.head_chunk_bytes as f64,
    );
}

fn push_samples(e: &mut Exposition, stats: &DbStats) {
    e.gauge(
        "tenbin_tsdb_block_samples",
        "Samples in blocks.",
        stats.block_samples as f64,
    );
    e.counter(
        "tenbin_tsdb_repeated_samples_total",
        "Samples acknowledged that were stored already.",
        stats.duplicate_samples,
    );
    for (name, help, value) in [
        (
            "out_of_order_samples",
            "Samples rejected as out of order.",
            stats.rejected.out_of_order,
        ),
        (
            "out_of_bound_samples",
            "Samples rejected as out of bounds.",
            stats.rejected.out_of_bounds,
        ),
        (
            "too_old_samples",
            "Samples rejected as older than the window.",
            stats.rejected.too_old,
        ),
    ] {
        e.counter(&format!("prometheus_tsdb_{name}_total"), help, value);
    }
    e.counter(
        "tenbin_tsdb_duplicate_samples_total",
        "Samples rejected since another value stands at their timestamp.",
        stats.rejected.duplicate,
    );
    e.counter(
        "tenbin_tsdb_invalid_histograms_total",
        "Native histograms refused since they break a rule.",
        stats.rejected.invalid_histograms,
    );
    e.counter(
        "prometheus_tsdb_exemplar_exemplars_appended_total",
        "Total number of appended exemplars.",
        stats.exemplars_appended,
    );
    e.gauge(
        "prometheus_tsdb_exemplar_exemplars_in_storage",
        "Number of exemplars currently in circular storage.",
        stats.exemplars as f64,
    );
    e.counter(
        "prometheus_tsdb_exemplar_out_of_order_exemplars_total",
        "Total number of out of order exemplar ingestion failed attempts.",
        stats.rejected.out_of_order_exemplars,
    );
    e.counter(
        "prometheus_tsdb_head_out_of_order_samples_appended_total",
        "Late samples accepted inside the out-of-order window.",
        stats.late_samples_appended,
    );
}

fn push_wal(e: &mut Exposition, stats: &DbStats) {
    e.gauge(
        "prometheus_tsdb_wal_storage_size_bytes",
        "Size of the write-ahead log.",
        stats.wal_bytes as f64,
    );
    e.counter(
        "tenbin_tsdb_wal_fsyncs_total",
        "Syncs of the write-ahead log; waiting requests share one.",
        stats.wal_fsyncs,
    );
    e.counter(
        "tenbin_tsdb_wal_written_bytes_total",
        "Bytes written to the write-ahead log.",
        stats.wal_written_bytes,
    );
    e.gauge(
        "tenbin_tsdb_wal_failed",
        "Whether the write-ahead log has failed and refuses writes.",
        f64::from(u8::from(stats.wal_failure.is_some())),
    );
    e.counter(
        "prometheus_tsdb_wal_corruptions_total",
        "Damaged places found in the write-ahead log and in blocks.",
        stats.corruptions.len() as u64,
    );
    e.counter(
        "tenbin_tsdb_replay_dropped_samples_total",
        "Samples that the replay at start had to drop because of damage.",
        stats.replay_dropped_samples,
    );
    let name = "prometheus_tsdb_wal_fsync_duration_seconds";
    e.family(name, "summary", "Duration of write log fsync.");
    let seconds = stats.wal_fsync_us as f64 / 1e6;
    e.sample(&format!("{name}_sum"), &[], seconds);
    e.sample(&format!("{name}_count"), &[], stats.wal_fsyncs as f64);
    e.counter(
        "prometheus_tsdb_wal_record_parts_bytes_written_total",
        "Total number of record part bytes written, including CRC and other metadata.",
        stats.wal_written_bytes,
    );
    e.gauge(
        "prometheus_tsdb_wal_segment_current",
        "Write log segment index that TSDB is currently writing to.",
        stats.wal_current_segment as f64,
    );
    e.counter(
        "prometheus_tsdb_wal_writes_failed_total",
        "Total number of write log writes that failed; after one nothing is taken.",
        u64::from(stats.wal_failure.is_some()),
    );
    // Each flush cuts off what it moved.
    for name in ["head_truncations", "wal_truncations"] {
        e.counter(
            &format!("prometheus_tsdb_{name}_total"),
            "Total number of truncations attempted: flushes of the head into blocks.",
            stats.flushes + stats.flush_failures,
        );
        e.counter(
            &format!("prometheus_tsdb_{name}_failed_total"),
            "Total number of truncations that failed.",
            stats.flush_failures,
        );
    }
}

fn push_blocks(e: &mut Exposition, stats: &DbStats) {
    e.counter(
        "prometheus_tsdb_time_retentions_total",
        "The number of times that blocks were deleted because the maximum time limit was exceeded.",
        stats.time_retentions,
    );
    e.counter(
        "prometheus_tsdb_size_retentions_total",
        "The number of times that blocks were deleted because the maximum number of bytes was exceeded.",
        stats.size_retentions,
    );
    e.counter(
        "tenbin_tsdb_flushes_total",
        "Flushes of the head into blocks.",
        stats.flushes,
    );
    e.counter(
        "tenbin_tsdb_flush_failures_total",
        "Failed flushes.",
        stats.flush_failures,
    );
    e.counter(
        "prometheus_tsdb_compactions_total",
        "Total number of compactions that were executed.",
        stats.compactions,
    );
    e.counter(
        "prometheus_tsdb_compactions_failed_total",
        "Total number of compactions that failed.",
        stats.compaction_failures,
    );
    e.gauge(
        "prometheus_tsdb_data_replay_duration_seconds",
        "Time taken to replay the data on disk at start.",
        stats.replay_ms as f64 / 1000.0,
    );
    e.gauge(
        "prometheus_tsdb_blocks_loaded",
        "Number of currently loaded blocks.",
        stats.blocks as f64,
    );
    e.gauge(
        "prometheus_tsdb_storage_blocks_bytes",
        "The number of bytes that are currently used for local storage by all blocks.",
        stats.block_bytes as f64,
    );
}
