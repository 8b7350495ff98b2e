//! The running server: shared state, routes, connections, shutdown.

pub mod buffers;
pub mod compression;
pub mod cors;
pub mod counted;
pub mod drain;
pub mod endpoints;
pub mod external_url;
pub mod idle;
pub mod listener;
pub mod live_config;
pub mod methods;
pub mod operations;
pub mod page;
pub mod paths;
pub mod query_log;
pub mod read_timeout;
pub mod reload;
pub mod router;
pub mod run;
pub mod same_origin;
pub mod secure;
pub mod target;
pub mod web_config;
pub mod workers;
mod write_through;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::connect_info::Connected;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use parking_lot::Mutex;
use tenbin_promql::ResultCache;
use tenbin_promql::options::EngineOptions;
use tenbin_storage::{Clock, Db, ReplayProgress};

use crate::api::response::text_error;
use crate::api::write_message::WriteMessage;
use crate::ingest::otlp::settings::Deltas;
use crate::limits::{ReadLimits, WriteLimits};
use crate::telemetry::Telemetry;
use workers::QueryThreads;

/// What every handler can reach.
pub struct App {
    /// The store; empty until it is open.
    store: OnceLock<Arc<Db>>,
    stopping: AtomicBool,
    /// How the store's start-up replay is going.
    pub replay: Arc<ReplayProgress>,
    /// The query engine's settings.
    pub engine: EngineOptions,
    /// Results of range queries.
    pub result_cache: Arc<ResultCache>,
    /// Where queries run.
    pub query_threads: QueryThreads,
    /// Counters.
    pub telemetry: Arc<Telemetry>,
    /// Limits on writes.
    pub write_limits: WriteLimits,
    /// The remote-write messages that are taken.
    pub write_messages: Vec<WriteMessage>,
    /// Subscribers of the live notifications at most.
    pub max_notification_subscribers: usize,
    /// The title of the page.
    pub page_title: String,
    /// Limits on remote reads.
    pub read_limits: ReadLimits,
    /// Where remote reads run.
    pub read_threads: QueryThreads,
    /// What becomes of OTLP's delta values.
    pub otlp_deltas: Deltas,
    /// Memory for the bodies of writes.
    pub bodies: Arc<buffers::Buffers>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// When the process started, milliseconds since the epoch.
    pub started_ms: i64,
    /// All flags with their values, for `/api/v1/status/flags`.
    pub flags: BTreeMap<String, String>,
    /// Retention as text, for `/api/v1/status/runtimeinfo`.
    pub retention_text: String,
    /// Whether `/-/quit` and `/-/reload` are served.
    pub lifecycle_enabled: bool,
    /// Whether `/api/v1/admin` is served.
    pub admin_enabled: bool,
    /// Which origins browsers may call from.
    pub cors: cors::CorsPolicy,
    /// The largest `limit` of `/api/v1/search`; absent when that is off.
    pub search_max_limit: Option<usize>,
    /// How long the body of a request may take.
    pub read_timeout: Duration,
    /// How often to look whether the configuration file has changed, if at all.
    pub auto_reload: Option<Duration>,
    /// The configuration file.
    pub config: live_config::LiveConfig,
    /// TLS, users and response headers.
    pub web_config: Arc<web_config::live::LiveWebConfig>,
    /// Held while the configuration files are read again.
    reloading: Mutex<()>,
    /// Where the server is seen from outside.
    pub external_url: external_url::ExternalUrl,
    /// Tells the main task to stop.
    pub stop: Arc<tokio::sync::Notify>,
}

/// The settings of an [`App`].
pub struct AppSettings {
    /// The query engine's settings.
    pub engine: EngineOptions,
    /// Bytes of results of range queries kept; 0 = none.
    pub result_cache_bytes: u64,
    /// Queries at once.
    pub max_concurrent_queries: usize,
    /// Limits on writes.
    pub write_limits: WriteLimits,
    /// The remote-write messages that are taken.
    pub write_messages: Vec<WriteMessage>,
    /// Subscribers of the live notifications at most.
    pub max_notification_subscribers: usize,
    /// The title of the page.
    pub page_title: String,
    /// Limits on remote reads.
    pub read_limits: ReadLimits,
    /// What becomes of OTLP's delta values.
    pub otlp_deltas: Deltas,
    /// All flags with their values.
    pub flags: BTreeMap<String, String>,
    /// Retention as text.
    pub retention_text: String,
    /// Whether `/-/quit` and `/-/reload` are served.
    pub lifecycle_enabled: bool,
    /// Whether `/api/v1/admin` is served.
    pub admin_enabled: bool,
    /// Which origins browsers may call from.
    pub cors: cors::CorsPolicy,
    /// The largest `limit` of `/api/v1/search`; absent when that is off.
    pub search_max_limit: Option<usize>,
    /// How long the body of a request may take.
    pub read_timeout: Duration,
    /// How often to look whether the configuration file has changed, if at all.
    pub auto_reload: Option<Duration>,
    /// The configuration file.
    pub config: live_config::LiveConfig,
    /// TLS, users and response headers.
    pub web_config: Arc<web_config::live::LiveWebConfig>,
    /// Where the server is seen from outside.
    pub external_url: external_url::ExternalUrl,
}

impl App {
    /// The state of a server whose store is not open yet.
    #[must_use]
    pub fn new(settings: AppSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            store: OnceLock::new(),
            stopping: AtomicBool::new(false),
            replay: Arc::new(ReplayProgress::default()),
            engine: settings.engine,
            result_cache: Arc::new(ResultCache::new(settings.result_cache_bytes)),
            query_threads: QueryThreads::new(settings.max_concurrent_queries),
            telemetry: Arc::new(Telemetry::default()),
            write_limits: settings.write_limits,
            write_messages: settings.write_messages,
            max_notification_subscribers: settings.max_notification_subscribers,
            page_title: settings.page_title,
            read_limits: settings.read_limits,
            read_threads: QueryThreads::new(settings.read_limits.max_concurrent.max(1)),
            otlp_deltas: settings.otlp_deltas,
            bodies: Arc::default(),
            started_ms: clock.now_ms(),
            clock,
            flags: settings.flags,
            retention_text: settings.retention_text,
            lifecycle_enabled: settings.lifecycle_enabled,
            admin_enabled: settings.admin_enabled,
            cors: settings.cors,
            search_max_limit: settings.search_max_limit,
            read_timeout: settings.read_timeout,
            auto_reload: settings.auto_reload,
            reloading: Mutex::new(()),
            config: settings.config,
            web_config: settings.web_config,
            external_url: settings.external_url,
            stop: Arc::new(tokio::sync::Notify::new()),
        }
    }

    /// Puts the opened store in place: from now on the server is ready.
    pub fn set_store(&self, db: Arc<Db>) {
        // A second store would be a bug of ours; the first one stays.
        let _ = self.store.set(db);
    }

    /// The store, once open and until the server stops.
    #[must_use]
    pub fn store(&self) -> Option<&Arc<Db>> {
        if self.stopping.load(Ordering::Relaxed) {
            None
        } else {
            self.store.get()
        }
    }

    /// From now on requests are turned away, and queries end.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.query_threads.stop();
        self.read_threads.stop();
    }

    /// Reads the configuration files again: all of them take effect, or none.
    ///
    /// # Errors
    /// A text that says what is wrong; then nothing has changed.
    pub fn reload(&self) -> Result<(), String> {
        let _turn = self.reloading.lock();
        let (config, web) = (self.config.read_again(), self.web_config.read_again());
        let error = match (config, web) {
            (Ok(config), Ok(web)) => {
                self.config.apply(config, self.clock.now_ms());
                self.web_config.apply(web);
                tracing::info!("configuration reloaded");
                return Ok(());
            }
            (Err(config), Err(web)) => format!("{config}; {web}"),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => error,
        };
        self.config.reload_failed();
        tracing::error!("configuration not reloaded, the old one stays: {error}");
        Err(error)
    }

    /// Whether the server has been told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The answer of everything that needs the store while there is none.
    #[must_use]
    pub fn not_ready(&self) -> Response {
        let mut response = text_error(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
        let stopping = self.stopping.load(Ordering::Relaxed);
        response.headers_mut().insert(
            HeaderName::from_static("x-prometheus-stopping"),
            HeaderValue::from_static(if stopping { "true" } else { "false" }),
        );
        response
    }
}

/// Extracts the store; answers 503 while it is not open.
pub struct Store(pub Arc<Db>);

impl FromRequestParts<Arc<App>> for Store {
    type Rejection = Response;

    async fn from_request_parts(_: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        match app.store() {
            Some(db) => Ok(Self(Arc::clone(db))),
            None => Err(app.not_ready()),
        }
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// A number that stays the same for the life of the connection.
    pub connection: u64,
}

impl Connected<SocketAddr> for Peer {
    fn connect_info(address: SocketAddr) -> Self {
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        Self {
            address,
            connection: hasher.finish(),
        }
    }
}
