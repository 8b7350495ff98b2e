//! From a decoded request to a durable one: append off the async workers where it may take long, wait
//! for the log, and turn the store's errors into statuses. Shared by all ways to write.

use tenbin_storage::{AppendError, Commit};

use super::body::Refusal;
use axum::http::StatusCode;

/// The answer when the store takes nothing of a request.
pub(super) fn refused_append(error: &AppendError) -> Refusal {
    let status = match error {
        AppendError::NoSpace { .. } | AppendError::Closed => StatusCode::SERVICE_UNAVAILABLE,
        AppendError::Limit(_) => StatusCode::TOO_MANY_REQUESTS,
        AppendError::WalFailed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refusal(status, error.to_string())
}

/// Waits until the WAL's sync policy allows the acknowledgement.
pub(super) async fn durable(commit: Commit) -> Result<(), Refusal> {
    let (done, finished) = tokio::sync::oneshot::channel();
    commit.on_durable(Box::new(move |result| {
        // The receiver is gone when the client is; the samples are stored all the same.
        let _ = done.send(result);
    }));
    match finished.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(refused_append(&error)),
        Err(_) => Err(refused_append(&AppendError::Closed)),
    }
}

/// Decodes and appends on a thread of its own.
pub(super) async fn off_the_workers<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Refusal::internal("ingest thread panicked")))
}
