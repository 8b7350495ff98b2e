//! Threads for queries: at most so many at once, the rest waits in line up to its own timeout.
//!
//! A query never runs on an async worker: it is CPU-bound and may fault mapped pages in. When the
//! client goes away the handler's future is dropped, and that drop cancels the query.

use std::sync::Arc;
use std::time::Duration;

use tenbin_promql::CancelToken;
use tokio::sync::Semaphore;

/// Why work gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueError {
    /// No thread became free in time.
    TimedOut,
    /// The work panicked.
    Panicked,
}

/// The query threads.
#[derive(Debug)]
pub struct QueryThreads {
    slots: Arc<Semaphore>,
    max_concurrent: usize,
}

/// Cancels its query when dropped before the query has finished.
struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl QueryThreads {
    /// Room for `max_concurrent` queries at once.
    #[must_use]
    pub fn new(max_concurrent: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(max_concurrent)),
            max_concurrent,
        }
    }

    /// How many queries may run at once.
    #[must_use]
    pub fn max_concurrent(&self) -> usize {
        self.max_concurrent
    }

    /// How many queries run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.max_concurrent - self.slots.available_permits()
    }

    /// Runs `work` on a thread of its own as soon as one is free.
    ///
    /// # Errors
    /// When none became free within `timeout`, or the work panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        timeout: Duration,
        work: impl FnOnce(&CancelToken) -> T + Send + 'static,
    ) -> Result<T, QueueError> {
        let slot = tokio::time::timeout(timeout, Arc::clone(&self.slots).acquire_owned());
        let Ok(Ok(slot)) = slot.await else {
            return Err(QueueError::TimedOut);
        };
        let guard = CancelOnDrop(CancelToken::default());
        let cancel = guard.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work(&cancel)
        });
        let result = done.await.map_err(|_| QueueError::Panicked);
        drop(guard);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_house_times_out_and_a_drop_cancels() {
        let threads = Arc::new(QueryThreads::new(1));
        let (started, has_started) = tokio::sync::oneshot::channel();
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        let running = {
            let threads = Arc::clone(&threads);
            tokio::spawn(async move {
                let work = move |cancel: &CancelToken| {
                    let _ = started.send(());
                    while !cancel.is_cancelled() {
                        std::thread::yield_now();
                    }
                    let _ = ended.send(());
                };
                threads.run(Duration::from_secs(10), work).await
            })
        };
        has_started.await.unwrap();
        assert_eq!(threads.running(), 1);
        let refused = threads.run(Duration::from_millis(10), |_| ()).await;
        assert_eq!(refused, Err(QueueError::TimedOut));
        running.abort();
        has_ended.await.unwrap();
        assert_eq!(threads.run(Duration::from_secs(10), |_| 7).await, Ok(7));
        let panicked = threads
            .run(Duration::from_secs(10), |_| panic!("on purpose"))
            .await;
        assert_eq!(panicked, Err::<(), _>(QueueError::Panicked));
    }
}
