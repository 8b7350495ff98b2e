//! Command-line flags: Prometheus' names and defaults where the thing exists.
//!
//! `groups` has the flags, `values` what their texts mean, `features` the names of
//! `--enable-feature`, `listing` all of them as text; here they become settings.

mod features;
mod groups;
mod listing;
mod log;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use tenbin_model::text::duration::format_duration_ms;
use tenbin_promql::options::EngineOptions;
use tenbin_storage::Options;

use crate::limits::{ReadLimits, WriteLimits};
use crate::server::AppSettings;
use crate::server::cors::CorsPolicy;
use crate::server::external_url::ExternalUrl;
use crate::server::live_config::LiveConfig;
use crate::server::run::ServerSettings;
use crate::server::web_config::live::LiveWebConfig;
use crate::settings::file::{ConfigFile, DurationText, ReceiverFile, SizeText};
use features::Enabled;
use groups::{QueryFlags, ReadFlags, ReloadFlags, StorageFlags, WebFlags};
use values::listen_address;

pub use log::{LogFormat, LogLevel};
pub(crate) use values::{duration, format_size, size};

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
    reload: ReloadFlags,
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
        let enabled = Enabled::from_names(&self.enable_feature)?;
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
                    features: enabled.promql,
                    ..EngineOptions::default()
                },
                result_cache_bytes: self.query.cache_max_bytes,
                max_concurrent_queries: self.query.max_concurrency.max(1),
                write_limits: effective.remote_write_receiver.over(&self.write_limits()),
                write_messages: self.web.accepted_messages.clone(),
                max_notification_subscribers: self.web.max_notification_subscribers,
                page_title: self.web.page_title.clone(),
                read_limits: ReadLimits {
                    max_samples: self.read.sample_limit,
                    max_concurrent: self.read.concurrent_limit,
                    max_frame_bytes: self.read.max_bytes_in_frame,
                },
                otlp_deltas: enabled.otlp_deltas.clone(),
                flags: self.listing(),
                retention_text: retention_text(retention_ms, retention_bytes),
                lifecycle_enabled: self.web.enable_lifecycle,
                admin_enabled: self.web.enable_admin_api,
                cors,
                search_max_limit: enabled.search.then_some(self.web.search_max_limit),
                read_timeout: self.web.read_timeout,
                auto_reload: self.auto_reload(&enabled),
                config,
                web_config: Arc::new(web_config),
                external_url,
            },
        })
    }

    /// How often to look whether the configuration file has changed, if at all.
    fn auto_reload(&self, enabled: &Enabled) -> Option<Duration> {
        let interval = self.reload.auto_reload_interval;
        (self.reload.auto_reload || enabled.auto_reload)
            .then(|| interval.max(Duration::from_secs(1)))
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
    use tenbin_storage::WalSync;

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
    fn files_are_looked_at_when_asked_for() {
        let auto = |arguments: &[&str]| parse(arguments).settings().unwrap().app.auto_reload;
        assert_eq!(auto(&["--config.auto-reload-interval=5s"]), None);
        assert_eq!(
            auto(&["--config.auto-reload"]),
            Some(Duration::from_secs(30))
        );
        let often = [
            "--enable-feature=auto-reload-config",
            "--config.auto-reload-interval=1ms",
        ];
        assert_eq!(auto(&often), Some(Duration::from_secs(1)));
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
