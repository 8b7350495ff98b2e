//! The flags by concern: names, defaults and help texts, which are Prometheus' where the thing exists.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tenbin_storage::WalSync;

use super::values::{duration, size, timeout, wal_sync};
use crate::api::write_message::WriteMessage;

/// When the configuration file is read again.
#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration file")]
pub(super) struct ReloadFlags {
    /// Read the configuration file again when it has changed.
    #[arg(long = "config.auto-reload")]
    pub(super) auto_reload: bool,
    /// How often to look whether it has; at least a second.
    #[arg(long = "config.auto-reload-interval", value_name = "DURATION", default_value = "30s",
          value_parser = timeout)]
    pub(super) auto_reload_interval: Duration,
}

/// Where and how samples are kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(super) struct StorageFlags {
    /// Directory for all data.
    #[arg(long = "storage.tsdb.path", value_name = "DIR", default_value = "data")]
    pub(super) path: PathBuf,
    /// How long samples are kept, counted back from the newest; 0 keeps them forever.
    #[arg(long = "storage.tsdb.retention.time", value_name = "DURATION", default_value = "15d",
          value_parser = duration)]
    pub(super) retention_ms: i64,
    /// Most bytes that everything stored may take; the oldest blocks go first. Units B, KB, MB, GB,
    /// TB, PB, EB (powers of 1024); 0 = no limit.
    #[arg(long = "storage.tsdb.retention.size", value_name = "SIZE", default_value = "0",
          value_parser = size)]
    pub(super) retention_bytes: u64,
    /// How late a sample may arrive. (Prometheus' default is 0s; see docs/COMPAT.md.)
    #[arg(long = "storage.tsdb.out-of-order-time-window", value_name = "DURATION",
          default_value = "30m", value_parser = duration)]
    pub(super) out_of_order_window_ms: i64,
    /// When a write is acknowledged: `group` after an fdatasync shared by waiting requests,
    /// `interval=DURATION` after the write with a sync that often, `segment` as Prometheus.
    #[arg(long = "storage.wal-sync", value_name = "POLICY", default_value = "group",
          value_parser = wal_sync)]
    pub(super) wal_sync: WalSync,
    /// Most active series; beyond it new series are refused and known ones go on. 0 = no limit.
    #[arg(long = "storage.max-series", value_name = "N", default_value_t = 0)]
    pub(super) max_series: u64,
    /// Most exemplars kept, the newest stay. 0 = none.
    #[arg(
        long = "storage.exemplars.max",
        value_name = "N",
        default_value_t = 100_000
    )]
    pub(super) max_exemplars: usize,
    /// Most labels on one series.
    #[arg(
        long = "storage.max-labels-per-series",
        value_name = "N",
        default_value_t = 128
    )]
    pub(super) max_labels_per_series: usize,
    /// Longest label name, bytes.
    #[arg(
        long = "storage.max-label-name-bytes",
        value_name = "BYTES",
        default_value_t = 1024
    )]
    pub(super) max_label_name_bytes: usize,
    /// Longest label value, bytes.
    #[arg(
        long = "storage.max-label-value-bytes",
        value_name = "BYTES",
        default_value_t = 16384
    )]
    pub(super) max_label_value_bytes: usize,
}

/// What a remote read may take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Remote read")]
pub(super) struct ReadFlags {
    /// Most samples in one answer that is not streamed; 0 = no limit.
    #[arg(
        long = "storage.remote.read-sample-limit",
        value_name = "N",
        default_value_t = 50_000_000
    )]
    pub(super) sample_limit: u64,
    /// Most remote reads at once; further ones wait.
    #[arg(
        long = "storage.remote.read-concurrent-limit",
        value_name = "N",
        default_value_t = 10
    )]
    pub(super) concurrent_limit: usize,
    /// Most bytes in a frame of a streamed answer; a client may have a limit of its own.
    #[arg(
        long = "storage.remote.read-max-bytes-in-frame",
        value_name = "BYTES",
        default_value_t = 1 << 20
    )]
    pub(super) max_bytes_in_frame: usize,
}

/// The listener and its endpoints.
#[derive(Debug, Args)]
#[command(next_help_heading = "Web")]
pub(super) struct WebFlags {
    /// Address to listen on for the API, remote write and the page. Repeatable.
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:9090"
    )]
    pub(super) listen_address: Vec<String>,
    /// File with TLS, users and response headers, in Prometheus' form.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub(super) web_config_file: Option<PathBuf>,
    /// URL under which the server is reached from outside, e.g. behind a proxy.
    #[arg(long = "web.external-url", value_name = "URL")]
    pub(super) external_url: Option<String>,
    /// Path before all routes. Without it the path of --web.external-url.
    #[arg(long = "web.route-prefix", value_name = "PATH")]
    pub(super) route_prefix: Option<String>,
    /// Largest limit of /api/v1/search (with --enable-feature=search-api).
    #[arg(
        long = "web.search.max-limit",
        value_name = "N",
        default_value_t = 10_000
    )]
    pub(super) search_max_limit: usize,
    /// Longest time that the headers, and then the body, of a request may take; idle connections are
    /// closed after it.
    #[arg(long = "web.read-timeout", value_name = "DURATION", default_value = "5m",
          value_parser = timeout)]
    pub(super) read_timeout: Duration,
    /// Most connections at once; further ones wait.
    #[arg(long = "web.max-connections", value_name = "N", default_value_t = 512)]
    pub(super) max_connections: usize,
    /// Anchored regex of origins that browsers may call the API from.
    #[arg(long = "web.cors.origin", value_name = "REGEX", default_value = ".*")]
    pub(super) cors_origin: String,
    /// Serve /-/reload and /-/quit.
    #[arg(long = "web.enable-lifecycle")]
    pub(super) enable_lifecycle: bool,
    /// Serve /api/v1/admin.
    #[arg(long = "web.enable-admin-api")]
    pub(super) enable_admin_api: bool,
    /// Accepted for compatibility: remote write is always on.
    #[arg(long = "web.enable-remote-write-receiver")]
    pub(super) enable_remote_write_receiver: bool,
    /// Remote-write messages to take: `prometheus.WriteRequest` is version 1.0,
    /// `io.prometheus.write.v2.Request` 2.0. May be repeated.
    #[arg(
        long = "web.remote-write-receiver.accepted-protobuf-messages",
        value_name = "MESSAGE",
        default_values = WriteMessage::ALL.map(WriteMessage::name)
    )]
    pub(super) accepted_messages: Vec<WriteMessage>,
    /// Most subscribers of /api/v1/notifications/live; further ones get a 204.
    #[arg(
        long = "web.max-notifications-subscribers",
        value_name = "N",
        default_value_t = 16
    )]
    pub(super) max_notification_subscribers: usize,
    /// Title of the page.
    #[arg(long = "web.page-title", value_name = "TEXT", default_value = "Tenbin")]
    pub(super) page_title: String,
    /// Accepted for compatibility: OTLP is always taken.
    #[arg(long = "web.enable-otlp-receiver")]
    pub(super) enable_otlp_receiver: bool,
    /// Largest compressed write request, bytes.
    #[arg(long = "web.max-body-bytes", value_name = "BYTES", default_value_t = 32 << 20)]
    pub(super) max_body_bytes: usize,
    /// Largest decompressed write request, bytes.
    #[arg(long = "web.max-decoded-body-bytes", value_name = "BYTES", default_value_t = 32 << 20)]
    pub(super) max_decoded_body_bytes: usize,
    /// Most series in one write request.
    #[arg(
        long = "web.max-series-per-request",
        value_name = "N",
        default_value_t = 1_000_000
    )]
    pub(super) max_series_per_request: usize,
    /// Most samples in one write request.
    #[arg(
        long = "web.max-samples-per-request",
        value_name = "N",
        default_value_t = 2_000_000
    )]
    pub(super) max_samples_per_request: usize,
}

/// What a query may take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Query")]
pub(super) struct QueryFlags {
    /// How far back the newest sample of a series may lie.
    #[arg(long = "query.lookback-delta", value_name = "DURATION", default_value = "5m",
          value_parser = duration)]
    pub(super) lookback_ms: i64,
    /// Longest time a query may take.
    #[arg(long = "query.timeout", value_name = "DURATION", default_value = "2m",
          value_parser = duration)]
    pub(super) timeout_ms: i64,
    /// Most queries at once; further ones wait.
    #[arg(long = "query.max-concurrency", value_name = "N", default_value_t = 20)]
    pub(super) max_concurrency: usize,
    /// Most samples that one query may hold in memory.
    #[arg(
        long = "query.max-samples",
        value_name = "N",
        default_value_t = 50_000_000
    )]
    pub(super) max_samples: u64,
    /// Most bytes that one query's buffers and answer may hold; 0 = no limit.
    #[arg(
        long = "query.max-memory",
        value_name = "BYTES",
        default_value_t = 1 << 30
    )]
    pub(super) max_memory_bytes: u64,
    /// Bytes of range query results that are kept for the next time; 0 = none.
    #[arg(
        long = "query.cache-max-memory",
        value_name = "BYTES",
        default_value_t = 64 << 20
    )]
    pub(super) cache_max_bytes: u64,
}
