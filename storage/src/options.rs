//! Tunables of a [`crate::Db`]. Times are milliseconds, sizes bytes, unless a type says otherwise.

use std::path::PathBuf;
use std::time::Duration;

/// When a write request counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalSync {
    /// After an fdatasync that waiting requests share: nothing acknowledged is ever lost.
    Group,
    /// After the write; an fdatasync follows at least this often. A power cut loses at most the
    /// last interval, a process crash nothing.
    Interval(Duration),
    /// After the write; an fdatasync follows when a segment is full, as in Prometheus.
    Segment,
}

/// Settings of a database.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory that holds everything.
    pub data_dir: PathBuf,
    /// Samples older than this, counted back from the newest sample, are dropped; 0 = never.
    pub retention_ms: i64,
    /// Old blocks go while everything on disk and in the head takes more bytes than this; 0 = off.
    pub retention_bytes: u64,
    /// How far behind the newest sample a late sample is accepted; 0 = not at all.
    pub out_of_order_window_ms: i64,
    /// How far ahead of the clock a sample may be; 0 = any.
    pub max_future_ms: i64,
    /// Closed ranges of this length leave the head for a block.
    pub flush_interval_ms: i64,
    /// When a request counts as durable.
    pub wal_sync: WalSync,
    /// Size at which a WAL segment is closed.
    pub wal_segment_bytes: u64,
    /// Most series in the head; 0 = no limit.
    pub max_series: u64,
    /// Whether background threads flush, merge and enforce retention. A program that opens a
    /// database for one task leaves that to the server.
    pub maintenance: bool,
    /// Most exemplars in memory, the newest stay; 0 = none.
    pub max_exemplars: usize,
}

impl Default for Options {
    fn default() -> Self {
        const MINUTE_MS: i64 = 60_000;
        Self {
            data_dir: PathBuf::from("data"),
            retention_ms: 15 * 24 * 60 * MINUTE_MS,
            retention_bytes: 0,
            out_of_order_window_ms: 30 * MINUTE_MS,
            max_future_ms: 10 * MINUTE_MS,
            flush_interval_ms: 30 * MINUTE_MS,
            wal_sync: WalSync::Group,
            wal_segment_bytes: 64 << 20,
            max_series: 0,
            maintenance: true,
            max_exemplars: 100_000,
        }
    }
}
