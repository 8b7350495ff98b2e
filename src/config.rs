//! Command-line flags: Prometheus' names and defaults where the thing exists.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, ValueEnum};
use tenbin_model::text::duration::{format_duration_ms, parse_duration_ms};
use tenbin_promql::options::{EngineOptions, Features};
use tenbin_storage::{Options, WalSync};

use crate::limits::{ReadLimits, WriteLimits};
use crate::server::AppSettings;
use crate::server::cors::CorsPolicy;
use crate::server::external_url::ExternalUrl;
use crate::server::live_config::LiveConfig;
use crate::server::run::ServerSettings;
use crate::server::web_config::live::LiveWebConfig;
use crate::settings::file::{ConfigFile, DurationText, ReceiverFile, SizeText};

/// Tenbin: a Prometheus-compatible time-series database in one binary.
///
/// Send to http://HOST:9090/api/v1/write (remote write), query at http://HOST:9090 (as Prometheus).
#[derive(Debug, Parser)]
#[command(name = "tenbin", version, max_term_width = 100)]
pub struct Flags {
    /// Configuration file (YAML): external labels, storage, OTLP, limits. Read again on SIGHUP.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    #[command(flatten)]
    storage: StorageFlags,
    #[command(flatten)]
    read: ReadFlags,
    #[command(flatten)]
    web: WebFlags,
    #[command(flatten)]
    query: QueryFlags,
    /// Comma-separated Prometheus feature flags to enable.
    #[arg(long = "enable-feature", value_name = "FEATURE", value_delimiter = ',')]
    enable_feature: Vec<String>,
    /// Only log messages of this severity or above.
    #[arg(long = "log.level", default_value = "info")]
    log_level: LogLevel,
    /// Form of log messages.
    #[arg(long = "log.format", default_value = "logfmt")]
    log_format: LogFormat,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
struct StorageFlags {
    /// Directory for all data.
    #[arg(long = "storage.tsdb.path", value_name = "DIR", default_value = "data")]
    path: PathBuf,
    /// How long samples are kept, counted back from the newest; 0 keeps them forever.
    #[arg(long = "storage.tsdb.retention.time", value_name = "DURATION", default_value = "15d",
          value_parser = duration)]
    retention_ms: i64,
    /// Most bytes that everything stored may take; the oldest blocks go first. Units B, KB, MB, GB,
    /// TB, PB, EB (powers of 1024); 0 = no limit.
    #[arg(long = "storage.tsdb.retention.size", value_name = "SIZE", default_value = "0",
          value_parser = size)]
    retention_bytes: u64,
    /// How late a sample may arrive. (Prometheus' default is 0s; see docs/COMPAT.md.)
    #[arg(long = "storage.tsdb.out-of-order-time-window", value_name = "DURATION",
          default_value = "30m", value_parser = duration)]
    out_of_order_window_ms: i64,
    /// When a write is acknowledged: `group` after an fdatasync shared by waiting requests,
    /// `interval=DURATION` after the write with a sync that often, `segment` as Prometheus.
    #[arg(long = "storage.wal-sync", value_name = "POLICY", default_value = "group",
          value_parser = wal_sync)]
    wal_sync: WalSync,
    /// Most active series; beyond it new series are refused and known ones go on. 0 = no limit.
    #[arg(long = "storage.max-series", value_name = "N", default_value_t = 0)]
    max_series: u64,
    /// Most exemplars kept, the newest stay. 0 = none.
    #[arg(
        long = "storage.exemplars.max",
        value_name = "N",
        default_value_t = 100_000
    )]
    max_exemplars: usize,
    /// Most labels on one series.
    #[arg(
        long = "storage.max-labels-per-series",
        value_name = "N",
        default_value_t = 128
    )]
    max_labels_per_series: usize,
    /// Longest label name, bytes.
    #[arg(
        long = "storage.max-label-name-bytes",
        value_name = "BYTES",
        default_value_t = 1024
    )]
    max_label_name_bytes: usize,
    /// Longest label value, bytes.
    #[arg(
        long = "storage.max-label-value-bytes",
        value_name = "BYTES",
        default_value_t = 16384
    )]
    max_label_value_bytes: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Remote read")]
struct ReadFlags {
    /// Most samples in one answer that is not streamed; 0 = no limit.
    #[arg(
        long = "storage.remote.read-sample-limit",
        value_name = "N",
        default_value_t = 50_000_000
    )]
    sample_limit: u64,
    /// Most remote reads at once; further ones wait.
    #[arg(
        long = "storage.remote.read-concurrent-limit",
        value_name = "N",
        default_value_t = 10
    )]
    concurrent_limit: usize,
    /// Most bytes in a frame of a streamed answer; a client may have a limit of its own.
    #[arg(
        long = "storage.remote.read-max-bytes-in-frame",
        value_name = "BYTES",
        default_value_t = 1 << 20
    )]
    max_bytes_in_frame: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Web")]
struct WebFlags {
    /// Address to listen on for the API, remote write and the page. Repeatable.
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:9090"
    )]
    listen_address: Vec<String>,
    /// File with TLS, users and response headers, in Prometheus' form.
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config_file: Option<PathBuf>,
    /// URL under which the server is reached from outside, e.g. behind a proxy.
    #[arg(long = "web.external-url", value_name = "URL")]
    external_url: Option<String>,
    /// Path before all routes. Without it the path of --web.external-url.
    #[arg(long = "web.route-prefix", value_name = "PATH")]
    route_prefix: Option<String>,
    /// Largest limit of /api/v1/search (with --enable-feature=search-api).
    #[arg(
        long = "web.search.max-limit",
        value_name = "N",
        default_value_t = 10_000
    )]
    search_max_limit: usize,
    /// Most connections at once; further ones wait.
    #[arg(long = "web.max-connections", value_name = "N", default_value_t = 512)]
    max_connections: usize,
    /// Anchored regex of origins that browsers may call the API from.
    #[arg(long = "web.cors.origin", value_name = "REGEX", default_value = ".*")]
    cors_origin: String,
    /// Serve /-/reload and /-/quit.
    #[arg(long = "web.enable-lifecycle")]
    enable_lifecycle: bool,
    /// Serve /api/v1/admin.
    #[arg(long = "web.enable-admin-api")]
    enable_admin_api: bool,
    /// Accepted for compatibility: remote write is always on.
    #[arg(long = "web.enable-remote-write-receiver")]
    enable_remote_write_receiver: bool,
    /// Accepted for compatibility: OTLP is always taken.
    #[arg(long = "web.enable-otlp-receiver")]
    enable_otlp_receiver: bool,
    /// Largest compressed write request, bytes.
    #[arg(long = "web.max-body-bytes", value_name = "BYTES", default_value_t = 32 << 20)]
    max_body_bytes: usize,
    /// Largest decompressed write request, bytes.
    #[arg(long = "web.max-decoded-body-bytes", value_name = "BYTES", default_value_t = 32 << 20)]
    max_decoded_body_bytes: usize,
    /// Most series in one write request.
    #[arg(
        long = "web.max-series-per-request",
        value_name = "N",
        default_value_t = 1_000_000
    )]
    max_series_per_request: usize,
    /// Most samples in one write request.
    #[arg(
        long = "web.max-samples-per-request",
        value_name = "N",
        default_value_t = 2_000_000
    )]
    max_samples_per_request: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Query")]
struct QueryFlags {
    /// How far back the newest sample of a series may lie.
    #[arg(long = "query.lookback-delta", value_name = "DURATION", default_value = "5m",
          value_parser = duration)]
    lookback_ms: i64,
    /// Longest time a query may take.
    #[arg(long = "query.timeout", value_name = "DURATION", default_value = "2m",
          value_parser = duration)]
    timeout_ms: i64,
    /// Most queries at once; further ones wait.
    #[arg(long = "query.max-concurrency", value_name = "N", default_value_t = 20)]
    max_concurrency: usize,
    /// Most samples that one query may hold in memory.
    #[arg(
        long = "query.max-samples",
        value_name = "N",
        default_value_t = 50_000_000
    )]
    max_samples: u64,
    /// Most bytes that one query's buffers and answer may hold; 0 = no limit.
    #[arg(
        long = "query.max-memory",
        value_name = "BYTES",
        default_value_t = 1 << 30
    )]
    max_memory_bytes: u64,
}

/// Severity of log messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What an operator wants to read.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
}

/// Form of log messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text with `key=value` fields.
    Logfmt,
    /// One JSON object a line.
    Json,
}

pub(crate) fn duration(text: &str) -> Result<i64, String> {
    parse_duration_ms(text).map_err(|e| e.to_string())
}

/// A size as Prometheus writes it: `512MB`, powers of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "B" => 0,
        "" if text == "0" => 0,
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        "PB" => 50,
        "EB" => 60,
        _ => return Err("expected a number with a unit: B, KB, MB, GB, TB, PB, EB".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "expected a number before the unit".to_owned())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "size out of range".to_owned())
}

/// A size with the largest unit that divides it.
pub(crate) fn format_size(bytes: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
    let steps = if bytes == 0 {
        0
    } else {
        bytes.trailing_zeros() / 10
    };
    format!("{}{}", bytes >> (10 * steps), units[steps as usize])
}

fn wal_sync(text: &str) -> Result<WalSync, String> {
    match text {
        "group" => Ok(WalSync::Group),
        "segment" => Ok(WalSync::Segment),
        _ => {
            let Some(interval) = text.strip_prefix("interval=") else {
                return Err("expected group, interval=DURATION or segment".to_owned());
            };
            let interval_ms = duration(interval)?;
            if interval_ms <= 0 {
                return Err("the interval must be above zero".to_owned());
            }
            Ok(WalSync::Interval(Duration::from_millis(interval_ms as u64)))
        }
    }
}

/// Flags of Prometheus that change nothing here, since the thing is always on or decided elsewhere.
const ACCEPTED_FEATURES: [&str; 6] = [
    "search-api",
    "promql-duration-expr",
    "native-histograms",
    "ooo-native-histograms",
    "exemplar-storage",
    // Read where the settings are made.
    "otlp-native-delta-ingestion",
];

fn features(names: &[String]) -> Result<Features, String> {
    let mut features = Features::default();
    for name in names {
        match name.as_str() {
            "promql-experimental-functions" => features.experimental_functions = true,
            "promql-extended-range-selectors" => features.extended_range_selectors = true,
            "promql-binop-fill-modifiers" => features.binop_fill_modifiers = true,
            "promql-delayed-name-removal" => features.delayed_name_removal = true,
            "use-start-timestamps" => features.use_start_timestamps = true,
            "type-and-unit-labels" => features.type_and_unit_labels = true,
            "promql-per-step-stats" => features.per_step_stats = true,
            known if ACCEPTED_FEATURES.contains(&known) => {}
            unknown => {
                return Err(format!(
                    "unknown feature {unknown:?} (flag --enable-feature)"
                ));
            }
        }
    }
    Ok(features)
}

/// `:9090`, `host:9090` or `[::1]:9090`.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.to_owned()
    };
    full.to_socket_addrs()
        .ok()
        .and_then(|mut all| all.next())
        .ok_or_else(|| format!("cannot resolve {text:?} (flag --web.listen-address)"))
}

/// Retention as `/api/v1/status/runtimeinfo` shows it: `15d or 512MiB`.
fn retention_text(time_ms: i64, bytes: u64) -> String {
    let mut parts = Vec::new();
    if time_ms > 0 {
        parts.push(format_duration_ms(time_ms));
    }
    if bytes > 0 {
        parts.push(format!("{}MiB", bytes >> 20));
    }
    parts.join(" or ")
}

fn addresses_port(addresses: &[SocketAddr]) -> u16 {
    addresses.first().map_or(9090, SocketAddr::port)
}

impl Flags {
    /// Severity and form of log messages.
    #[must_use]
    pub fn log(&self) -> (LogLevel, LogFormat) {
        (self.log_level, self.log_format)
    }

    /// Turns the flags into settings.
    ///
    /// # Errors
    /// A text that names the flag.
    pub fn settings(&self) -> Result<ServerSettings, String> {
        let addresses = self
            .web
            .listen_address
            .iter()
            .map(|a| listen_address(a))
            .collect::<Result<Vec<_>, _>>()?;
        let cors = CorsPolicy::new(&self.web.cors_origin)
            .map_err(|e| format!("{e} (flag --web.cors.origin)"))?;
        let features = features(&self.enable_feature)?;
        let delta = |name: &String| name == "otlp-native-delta-ingestion";
        let otlp_native_delta = self.enable_feature.iter().any(delta);
        let config = LiveConfig::new(self.config_file.clone(), self.as_config_file())?;
        let effective = config.current();
        let tsdb = &effective.storage.tsdb;
        let retention_ms = tsdb.retention.time.map_or(0, |time| time.0);
        let retention_bytes = tsdb.retention.size.map_or(0, |size| size.0);
        let window = tsdb.out_of_order_time_window;
        let max_exemplars = effective.storage.exemplars.max_exemplars;
        let web_config = LiveWebConfig::new(self.web.web_config_file.clone())
            .map_err(|e| format!("{e} (flag --web.config.file)"))?;
        let external_url = ExternalUrl::new(
            self.web.external_url.as_deref(),
            self.web.route_prefix.as_deref(),
            addresses_port(&addresses),
        )?;
        Ok(ServerSettings {
            addresses,
            max_connections: self.web.max_connections,
            storage: Options {
                data_dir: self.storage.path.clone(),
                retention_ms,
                retention_bytes,
                out_of_order_window_ms: window.map_or(0, |window| window.0),
                wal_sync: self.storage.wal_sync,
                max_series: self.storage.max_series,
                max_exemplars: max_exemplars.unwrap_or(self.storage.max_exemplars),
                ..Options::default()
            },
            app: AppSettings {
                engine: EngineOptions {
                    lookback_ms: self.query.lookback_ms,
                    timeout_ms: self.query.timeout_ms.unsigned_abs(),
                    max_samples: self.query.max_samples,
                    max_memory_bytes: self.query.max_memory_bytes,
                    features,
                    ..EngineOptions::default()
                },
                max_concurrent_queries: self.query.max_concurrency.max(1),
                write_limits: effective.remote_write_receiver.over(&self.write_limits()),
                read_limits: ReadLimits {
                    max_samples: self.read.sample_limit,
                    max_concurrent: self.read.concurrent_limit,
                    max_frame_bytes: self.read.max_bytes_in_frame,
                },
                otlp_native_delta,
                flags: self.listing(),
                retention_text: retention_text(retention_ms, retention_bytes),
                lifecycle_enabled: self.web.enable_lifecycle,
                admin_enabled: self.web.enable_admin_api,
                cors,
                search_max_limit: self
                    .enable_feature
                    .iter()
                    .any(|name| name == "search-api")
                    .then_some(self.web.search_max_limit),
                config,
                web_config: Arc::new(web_config),
                external_url,
            },
        })
    }

    /// What the flags say, in the form of the configuration file.
    fn as_config_file(&self) -> ConfigFile {
        let mut file = ConfigFile::default();
        let tsdb = &mut file.storage.tsdb;
        tsdb.out_of_order_time_window = Some(DurationText(self.storage.out_of_order_window_ms));
        tsdb.retention.time = Some(DurationText(self.storage.retention_ms));
        tsdb.retention.size = Some(SizeText(self.storage.retention_bytes));
        file.storage.exemplars.max_exemplars = Some(self.storage.max_exemplars);
        file.remote_write_receiver = ReceiverFile::from_limits(&self.write_limits());
        file
    }

    fn write_limits(&self) -> WriteLimits {
        WriteLimits {
            max_body_bytes: self.web.max_body_bytes,
            max_decoded_body_bytes: self.web.max_decoded_body_bytes,
            max_series_per_request: self.web.max_series_per_request,
            max_samples_per_request: self.web.max_samples_per_request,
            max_labels_per_series: self.storage.max_labels_per_series,
            max_label_name_bytes: self.storage.max_label_name_bytes,
            max_label_value_bytes: self.storage.max_label_value_bytes,
        }
    }

    /// Every flag with its value as text, for `/api/v1/status/flags`.
    fn listing(&self) -> BTreeMap<String, String> {
        let (storage, web, query) = (&self.storage, &self.web, &self.query);
        let lower = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
        let path = |file: &Option<PathBuf>| {
            file.as_ref()
                .map_or_else(String::new, |f| f.display().to_string())
        };
        let set = [
            ("config.file", path(&self.config_file)),
            ("web.config.file", path(&web.web_config_file)),
            (
                "web.external-url",
                web.external_url.clone().unwrap_or_default(),
            ),
            (
                "web.route-prefix",
                web.route_prefix.clone().unwrap_or_default(),
            ),
            ("storage.tsdb.path", storage.path.display().to_string()),
            (
                "storage.tsdb.retention.time",
                format_duration_ms(storage.retention_ms),
            ),
            (
                "storage.tsdb.out-of-order-time-window",
                format_duration_ms(storage.out_of_order_window_ms),
            ),
            (
                "storage.tsdb.retention.size",
                format!("{}B", storage.retention_bytes),
            ),
            ("storage.wal-sync", lower(&storage.wal_sync)),
            ("storage.max-series", storage.max_series.to_string()),
            ("storage.exemplars.max", storage.max_exemplars.to_string()),
            (
                "storage.max-labels-per-series",
                storage.max_labels_per_series.to_string(),
            ),
            (
                "storage.max-label-name-bytes",
                storage.max_label_name_bytes.to_string(),
            ),
            (
                "storage.max-label-value-bytes",
                storage.max_label_value_bytes.to_string(),
            ),
            (
                "storage.remote.read-sample-limit",
                self.read.sample_limit.to_string(),
            ),
            (
                "storage.remote.read-concurrent-limit",
                self.read.concurrent_limit.to_string(),
            ),
            (
                "storage.remote.read-max-bytes-in-frame",
                self.read.max_bytes_in_frame.to_string(),
            ),
            ("web.listen-address", web.listen_address.join(",")),
            ("web.search.max-limit", web.search_max_limit.to_string()),
            ("web.max-connections", web.max_connections.to_string()),
            ("web.cors.origin", web.cors_origin.clone()),
            ("web.enable-lifecycle", web.enable_lifecycle.to_string()),
            ("web.enable-admin-api", web.enable_admin_api.to_string()),
            ("web.enable-remote-write-receiver", true.to_string()),
            ("web.enable-otlp-receiver", true.to_string()),
            ("web.max-body-bytes", web.max_body_bytes.to_string()),
            (
                "web.max-decoded-body-bytes",
                web.max_decoded_body_bytes.to_string(),
            ),
            (
                "web.max-series-per-request",
                web.max_series_per_request.to_string(),
            ),
            (
                "web.max-samples-per-request",
                web.max_samples_per_request.to_string(),
            ),
            (
                "query.lookback-delta",
                format_duration_ms(query.lookback_ms),
            ),
            ("query.timeout", format_duration_ms(query.timeout_ms)),
            ("query.max-concurrency", query.max_concurrency.to_string()),
            ("query.max-samples", query.max_samples.to_string()),
            ("query.max-memory", query.max_memory_bytes.to_string()),
            ("enable-feature", self.enable_feature.join(",")),
            ("log.level", lower(&self.log_level)),
            ("log.format", lower(&self.log_format)),
        ];
        set.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// All flags that the command line knows; the tests hold the listing against it.
    #[must_use]
    pub fn known() -> Vec<String> {
        Self::command()
            .get_arguments()
            .filter_map(|a| a.get_long().map(str::to_owned))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Flags {
        Flags::try_parse_from([&["tenbin"], arguments].concat()).unwrap()
    }

    #[test]
    fn defaults_are_prometheus_own_where_they_exist() {
        let settings = parse(&[]).settings().unwrap();
        assert_eq!(settings.addresses[0].port(), 9090);
        assert_eq!(settings.storage.retention_ms, 15 * 86_400_000);
        assert_eq!(settings.app.engine, EngineOptions::default());
        assert_eq!(settings.app.write_limits, WriteLimits::default());
        assert_eq!(settings.app.retention_text, "15d");
    }

    #[test]
    fn flags_are_read() {
        let flags = parse(&[
            "--web.listen-address=:1234",
            "--storage.wal-sync=interval=1s",
            "--enable-feature=promql-experimental-functions,promql-duration-expr",
        ]);
        let settings = flags.settings().unwrap();
        assert_eq!(settings.addresses[0].to_string(), "0.0.0.0:1234");
        assert_eq!(
            settings.storage.wal_sync,
            WalSync::Interval(Duration::from_secs(1))
        );
        assert!(settings.app.engine.features.experimental_functions);
        let sized = parse(&["--storage.tsdb.retention.size=512MB"])
            .settings()
            .unwrap();
        assert_eq!(sized.storage.retention_bytes, 512 << 20);
        assert!(size("5").is_err() && size("5XB").is_err() && size("99EB").is_err());
        let unknown = parse(&["--enable-feature=nope"]).settings().err().unwrap();
        assert_eq!(unknown, "unknown feature \"nope\" (flag --enable-feature)");
        let wrong = Flags::try_parse_from(["tenbin", "--storage.wal-sync=never"]);
        assert!(
            wrong
                .unwrap_err()
                .to_string()
                .contains("--storage.wal-sync")
        );
    }

    #[test]
    fn every_flag_is_listed() {
        let listing = parse(&[]).listing();
        for flag in Flags::known() {
            assert!(
                listing.contains_key(&flag),
                "{flag} is missing in /api/v1/status/flags"
            );
        }
    }
}
