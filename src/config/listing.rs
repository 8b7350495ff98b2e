//! Every flag with its value as text, for `/api/v1/status/flags`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tenbin_model::text::duration::format_duration_ms;

use super::Flags;
use super::groups::{QueryFlags, ReadFlags, StorageFlags, WebFlags};

/// Name and value.
type Listed = (&'static str, String);

fn path(file: Option<&PathBuf>) -> String {
    file.map_or_else(String::new, |file| file.display().to_string())
}

fn lower(value: &dyn std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

fn time(duration: std::time::Duration) -> String {
    format_duration_ms(duration.as_millis() as i64)
}

fn storage(flags: &StorageFlags) -> Vec<Listed> {
    vec![
        ("storage.tsdb.path", flags.path.display().to_string()),
        (
            "storage.tsdb.retention.time",
            format_duration_ms(flags.retention_ms),
        ),
        (
            "storage.tsdb.retention.size",
            format!("{}B", flags.retention_bytes),
        ),
        (
            "storage.tsdb.out-of-order-time-window",
            format_duration_ms(flags.out_of_order_window_ms),
        ),
        ("storage.wal-sync", lower(&flags.wal_sync)),
        ("storage.max-series", flags.max_series.to_string()),
        ("storage.exemplars.max", flags.max_exemplars.to_string()),
        (
            "storage.max-labels-per-series",
            flags.max_labels_per_series.to_string(),
        ),
        (
            "storage.max-label-name-bytes",
            flags.max_label_name_bytes.to_string(),
        ),
        (
            "storage.max-label-value-bytes",
            flags.max_label_value_bytes.to_string(),
        ),
    ]
}

fn remote_read(flags: &ReadFlags) -> Vec<Listed> {
    vec![
        (
            "storage.remote.read-sample-limit",
            flags.sample_limit.to_string(),
        ),
        (
            "storage.remote.read-concurrent-limit",
            flags.concurrent_limit.to_string(),
        ),
        (
            "storage.remote.read-max-bytes-in-frame",
            flags.max_bytes_in_frame.to_string(),
        ),
    ]
}

fn web(flags: &WebFlags) -> Vec<Listed> {
    vec![
        ("web.listen-address", flags.listen_address.join(",")),
        ("web.config.file", path(flags.web_config_file.as_ref())),
        (
            "web.external-url",
            flags.external_url.clone().unwrap_or_default(),
        ),
        (
            "web.route-prefix",
            flags.route_prefix.clone().unwrap_or_default(),
        ),
        ("web.search.max-limit", flags.search_max_limit.to_string()),
        ("web.read-timeout", time(flags.read_timeout)),
        ("web.max-connections", flags.max_connections.to_string()),
        ("web.cors.origin", flags.cors_origin.clone()),
        ("web.enable-lifecycle", flags.enable_lifecycle.to_string()),
        ("web.enable-admin-api", flags.enable_admin_api.to_string()),
        (
            "web.remote-write-receiver.accepted-protobuf-messages",
            flags
                .accepted_messages
                .iter()
                .map(|message| message.name())
                .collect::<Vec<_>>()
                .join(","),
        ),
        (
            "web.max-notifications-subscribers",
            flags.max_notification_subscribers.to_string(),
        ),
        ("web.page-title", flags.page_title.clone()),
        // Always on, whatever the flags say.
        ("web.enable-remote-write-receiver", true.to_string()),
        ("web.enable-otlp-receiver", true.to_string()),
        ("web.max-body-bytes", flags.max_body_bytes.to_string()),
        (
            "web.max-decoded-body-bytes",
            flags.max_decoded_body_bytes.to_string(),
        ),
        (
            "web.max-series-per-request",
            flags.max_series_per_request.to_string(),
        ),
        (
            "web.max-samples-per-request",
            flags.max_samples_per_request.to_string(),
        ),
    ]
}

fn query(flags: &QueryFlags) -> Vec<Listed> {
    vec![
        (
            "query.lookback-delta",
            format_duration_ms(flags.lookback_ms),
        ),
        ("query.timeout", format_duration_ms(flags.timeout_ms)),
        ("query.max-concurrency", flags.max_concurrency.to_string()),
        ("query.max-samples", flags.max_samples.to_string()),
        ("query.max-memory", flags.max_memory_bytes.to_string()),
        ("query.cache-max-memory", flags.cache_max_bytes.to_string()),
    ]
}

impl Flags {
    /// All of them; nothing in flags is secret.
    pub(super) fn listing(&self) -> BTreeMap<String, String> {
        let general = vec![
            ("config.file", path(self.config_file.as_ref())),
            ("config.auto-reload", self.reload.auto_reload.to_string()),
            (
                "config.auto-reload-interval",
                time(self.reload.auto_reload_interval),
            ),
            ("enable-feature", self.enable_feature.join(",")),
            ("log.level", lower(&self.log_level)),
            ("log.format", lower(&self.log_format)),
        ];
        [
            general,
            storage(&self.storage),
            remote_read(&self.read),
            web(&self.web),
            query(&self.query),
        ]
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}
