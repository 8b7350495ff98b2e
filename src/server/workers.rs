//! Threads for queries: at most so many at once, the rest waits in line up to its own timeout.
//!
//! A query never runs on an async worker: it is CPU-bound and may fault mapped pages in. When the
//! client goes away the handler's future is dropped, and that drop cancels the query. When the
//! server stops, all queries are cancelled and those that wait are turned away.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tenbin_promql::CancelToken;
use tokio::sync::Semaphore;

/// Why work gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueError {
    /// No thread became free in time.
    TimedOut,
    /// The server stops.
    Stopping,
    /// The work panicked.
    Panicked,
}

/// The query threads.
#[derive(Debug)]
pub struct QueryThreads {
    slots: Arc<Semaphore>,
    max_concurrent: usize,
    running: Mutex<Vec<(u64, CancelToken)>>,
    next_number: AtomicU64,
    stopping: AtomicBool,
}

/// A query that has a slot. Cancels it when dropped before it has finished.
struct Running<'t> {
    threads: &'t QueryThreads,
    number: u64,
    cancel: CancelToken,
}

impl<'t> Running<'t> {
    fn new(threads: &'t QueryThreads) -> Self {
        let number = threads.next_number.fetch_add(1, Ordering::Relaxed);
        let cancel = CancelToken::default();
        threads.with_running(|all| all.push((number, cancel.clone())));
        // A stop that came before the entry did not see it.
        if threads.stopping.load(Ordering::SeqCst) {
            cancel.cancel();
        }
        Self {
            threads,
            number,
            cancel,
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.threads
            .with_running(|all| all.retain(|(number, _)| *number != self.number));
    }
}

/// What work on a query thread is told.
#[derive(Debug)]
pub struct Turn {
    /// Stops the work.
    pub cancel: CancelToken,
    /// How long it waited for a thread.
    pub waited: Duration,
}

impl QueryThreads {
    /// Room for `max_concurrent` queries at once.
    #[must_use]
    pub fn new(max_concurrent: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(max_concurrent)),
            max_concurrent,
            running: Mutex::default(),
            next_number: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    fn with_running<T>(&self, work: impl FnOnce(&mut Vec<(u64, CancelToken)>) -> T) -> T {
        // The list is whole also after a panic elsewhere.
        work(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Cancels all queries and takes no more.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.slots.close();
        self.with_running(|all| {
            for (_, cancel) in all {
                cancel.cancel();
            }
        });
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
    /// When none became free within `timeout`, the server stops, or the work panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        timeout: Duration,
        work: impl FnOnce(&Turn) -> T + Send + 'static,
    ) -> Result<T, QueueError> {
        let queued = Instant::now();
        let slot = tokio::time::timeout(timeout, Arc::clone(&self.slots).acquire_owned());
        let slot = match slot.await {
            Ok(Ok(slot)) => slot,
            Ok(Err(_)) => return Err(QueueError::Stopping),
            Err(_) => return Err(QueueError::TimedOut),
        };
        let running = Running::new(self);
        let turn = Turn {
            cancel: running.cancel.clone(),
            waited: queued.elapsed(),
        };
        let done = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work(&turn)
        });
        let result = done.await.map_err(|_| QueueError::Panicked);
        drop(running);
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
                let work = move |turn: &Turn| {
                    let _ = started.send(());
                    while !turn.cancel.is_cancelled() {
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

    #[tokio::test]
    async fn a_stop_ends_what_runs_and_what_waits() {
        let threads = Arc::new(QueryThreads::new(1));
        let long = Duration::from_secs(10);
        let (started, has_started) = tokio::sync::oneshot::channel();
        let other = Arc::clone(&threads);
        let running = tokio::spawn(async move {
            let work = move |turn: &Turn| {
                let _ = started.send(());
                while !turn.cancel.is_cancelled() {
                    std::thread::yield_now();
                }
                turn.waited
            };
            other.run(long, work).await
        });
        has_started.await.unwrap();
        let other = Arc::clone(&threads);
        let waiting = tokio::spawn(async move { other.run(long, |_| ()).await });
        tokio::task::yield_now().await;
        threads.stop();
        assert!(running.await.unwrap().is_ok_and(|waited| waited < long));
        assert_eq!(waiting.await.unwrap(), Err(QueueError::Stopping));
        let late = threads.run(long, |_| ()).await;
        assert_eq!(late, Err(QueueError::Stopping));
    }
}
