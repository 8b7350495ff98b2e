//! Start to stop: bind, open the store while already answering, serve, drain, close.
//!
//! The listener is up before the store so that `/-/ready` and the replay progress can be asked.
//! On SIGTERM or SIGINT: no new connections, running requests get a deadline, then the WAL is
//! synced and closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tenbin_storage::vfs::OsVfs;
use tenbin_storage::{Clock, Db, OpenError, Options, SystemClock};

use super::idle::CloseIdle;
use super::listener::ConnectionLimit;
use super::secure::Secure;
use super::target::EncodeTargets;
use super::{App, AppSettings, Peer, reload, router};

/// How long running requests may take after a stop was asked for.
const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

/// How long a client may take for the header of its first request.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of the whole server.
pub struct ServerSettings {
    /// Where to listen.
    pub addresses: Vec<SocketAddr>,
    /// Connections at once.
    pub max_connections: usize,
    /// The store's settings.
    pub storage: Options,
    /// The front end's settings.
    pub app: AppSettings,
}

/// Why the server stopped or did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A listen address cannot be used.
    #[error("cannot listen on {address} (flag --web.listen-address): {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error("cannot open the database: {0}")]
    Open(#[from] OpenError),
    /// A thread died.
    #[error("server thread failed: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// Runs until stopped by a signal or `/-/quit`.
///
/// # Errors
/// When an address is taken or the store cannot be opened.
pub async fn serve(settings: ServerSettings) -> Result<(), ServeError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let app = Arc::new(App::new(settings.app, Arc::clone(&clock)));
    let secure = Secure {
        limit: ConnectionLimit::new(settings.max_connections),
        web_config: Arc::clone(&app.web_config),
    };
    let is_tls = app.web_config.current().tls.is_some();
    let handle = axum_server::Handle::new();
    let mut servers = tokio::task::JoinSet::new();
    for address in settings.addresses {
        let listener = bind(address).map_err(|source| ServeError::Listen { address, source })?;
        let server = axum_server::from_tcp(listener)
            .map_err(|source| ServeError::Listen { address, source })?
            .acceptor(EncodeTargets(CloseIdle {
                inner: secure.clone(),
                timeout: app.read_timeout,
            }))
            .first_request_timeout(FIRST_REQUEST_TIMEOUT.min(app.read_timeout))
            .accept_error_handler(|peer, error| {
                tracing::debug!(?peer, %error, "connection refused");
            })
            .handle(handle.clone());
        // HTTP/2 is for TLS, as in Go.
        let mut server = if is_tls { server } else { server.http1_only() };
        server
            .http_builder()
            .http1()
            .header_read_timeout(app.read_timeout);
        let service = router::router(&app).into_make_service_with_connect_info::<Peer>();
        servers.spawn(async move { server.serve(service).await });
        tracing::info!(%address, tls = is_tls, "listening");
    }
    let db = open(&app, clock, settings.storage).await?;
    let reloading = tokio::spawn(reload::run(Arc::clone(&app)));
    wait_for_stop(&app).await;
    reloading.abort();
    tracing::info!("stopping: draining requests");
    app.set_stopping();
    handle.graceful_shutdown(Some(DRAIN_DEADLINE));
    while servers.join_next().await.is_some() {}
    tokio::task::spawn_blocking(move || match db.close() {
        Ok(()) => tracing::info!("database closed"),
        Err(error) => tracing::error!(%error, "closing the database"),
    })
    .await?;
    Ok(())
}

fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn open(
    app: &Arc<App>,
    clock: Arc<dyn Clock>,
    options: Options,
) -> Result<Arc<Db>, ServeError> {
    let started = std::time::Instant::now();
    let replay = Arc::clone(&app.replay);
    let directory = options.data_dir.display().to_string();
    let opened =
        tokio::task::spawn_blocking(move || Db::open_with(Arc::new(OsVfs), clock, options, replay));
    let db = opened.await??;
    app.set_store(Arc::clone(&db));
    let stats = db.stats();
    tracing::info!(
        directory,
        took_ms = started.elapsed().as_millis() as u64,
        series = stats.head_series,
        blocks = stats.blocks,
        "database open; ready for requests"
    );
    Ok(db)
}

async fn wait_for_stop(app: &App) {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut stream) => {
                stream.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "cannot listen for SIGTERM");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
        () = app.stop.notified() => {}
    }
}
