//! When the configuration files are read again without a request: on SIGHUP, and with
//! `--config.auto-reload` when the file has changed.
//!
//! How a reload went is in the log, in the metrics and in the notifications; a file that stays wrong is tried
//! again each time, as in Prometheus.

use std::sync::Arc;

use super::App;

/// Runs until it is dropped.
pub(super) async fn run(app: Arc<App>) {
    tokio::join!(on_hangup(&app), on_change(&app));
}

async fn reload(app: &Arc<App>) {
    let app = Arc::clone(app);
    // Errors are in the log.
    let _ = tokio::task::spawn_blocking(move || app.reload()).await;
}

async fn on_hangup(app: &Arc<App>) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::error!(%error, "cannot listen for SIGHUP");
            return;
        }
    };
    while hangups.recv().await.is_some() {
        reload(app).await;
    }
}

async fn on_change(app: &Arc<App>) {
    let Some(interval) = app.auto_reload else {
        return;
    };
    let seconds = interval.as_secs_f64();
    tracing::info!(
        seconds,
        "the configuration file is read again when it has changed"
    );
    loop {
        tokio::time::sleep(interval).await;
        let looking = Arc::clone(app);
        let changed = tokio::task::spawn_blocking(move || looking.config.has_changed()).await;
        if changed.unwrap_or(false) {
            reload(app).await;
        }
    }
}
