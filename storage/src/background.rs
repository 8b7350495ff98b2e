//! The threads that flush closed ranges and enforce retention, and that compact blocks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use crate::db::Store;

/// How often the thread looks whether there is something to do.
const TICK: Duration = Duration::from_secs(1);

/// Ticks between two looks at retention.
const RETENTION_TICKS: u32 = 60;

/// Ticks that a failed flush is left alone.
const FAILURE_TICKS: u32 = 10;

/// A range is closed when the newest sample is this far behind its end, so that slow senders still
/// arrive in order.
const MAX_GRACE_MS: i64 = 60_000;

/// The WAL may grow to this before a flush is due whatever the time; bounds the replay.
const MAX_WAL_BYTES: u64 = 512 << 20;

/// A log up to this size is left alone, however full the disk is.
const SMALL_WAL_BYTES: u64 = 8 << 20;

/// So many late samples may be in memory before a flush is due whatever the time (16 bytes each).
const MAX_LATE_SAMPLES: usize = 4 << 20;

/// How often the other thread looks for blocks to merge.
const COMPACTION_TICK: Duration = Duration::from_secs(5);

/// The running threads.
pub(crate) struct Background {
    stop: [Sender<()>; 2],
    /// Ends a merge in the middle.
    stopping: Arc<AtomicBool>,
    threads: [JoinHandle<()>; 2],
}

impl Background {
    pub(crate) fn start(store: Arc<Store>) -> io::Result<Self> {
        let (stop_compaction, compaction_stopped) = bounded(0);
        let stopping = Arc::new(AtomicBool::new(false));
        let compaction = {
            let (store, stopping) = (Arc::clone(&store), Arc::clone(&stopping));
            std::thread::Builder::new()
                .name("storage-compaction".into())
                .spawn(move || {
                    let timeout = Err(RecvTimeoutError::Timeout);
                    while compaction_stopped.recv_timeout(COMPACTION_TICK) == timeout {
                        match store.compact(false, &stopping) {
                            Ok(report) if report.output_blocks > 0 => {
                                tracing::info!(?report, "compacted blocks");
                            }
                            Ok(_) => {}
                            Err(error) => tracing::error!(%error, "compacting blocks failed"),
                        }
                    }
                })?
        };
        let (stop, stopped) = bounded(0);
        let thread = std::thread::Builder::new()
            .name("storage-maintenance".into())
            .spawn(move || {
                let mut ticks = 0_u32;
                let mut pause = 0_u32;
                while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    ticks = ticks.wrapping_add(1);
                    pause = pause.saturating_sub(1);
                    if pause == 0 && !tick(&store, ticks) {
                        pause = FAILURE_TICKS;
                    }
                }
            })?;
        Ok(Self {
            stop: [stop, stop_compaction],
            stopping,
            threads: [thread, compaction],
        })
    }

    /// Waits for what they are doing and ends them.
    pub(crate) fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(self.stop);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a maintenance thread panicked");
            }
        }
    }
}

/// One look; false when something failed.
fn tick(store: &Store, ticks: u32) -> bool {
    let mut flushed = false;
    if let Some(before_ms) = due(store) {
        match store.flush_before(before_ms) {
            Ok(report) => {
                flushed = true;
                tracing::info!(before_ms, ?report, "flushed the head");
            }
            Err(error) => {
                tracing::error!(%error, "flushing the head failed");
                return false;
            }
        }
    }
    if (flushed || ticks.is_multiple_of(RETENTION_TICKS))
        && let Err(error) = store.enforce_retention()
    {
        tracing::error!(%error, "enforcing retention failed");
        return false;
    }
    true
}

/// Up to where a flush is due now.
fn due(store: &Store) -> Option<i64> {
    let newest_ms = store.head.newest_ms();
    if newest_ms == i64::MIN || store.wal.failure().is_some() {
        return None;
    }
    let interval_ms = store.options.flush_interval_ms;
    let closed_ms = newest_ms.saturating_sub(MAX_GRACE_MS.min(interval_ms / 10));
    let (_, wal_bytes) = store.wal.extent();
    let mut late = 0;
    let counted = store.head.each_lane(|lane| {
        late += lane.late.count();
        Ok::<_, std::convert::Infallible>(())
    });
    // On a disk with less room than the log takes, blocks take its place while they still fit.
    let free = store.vfs.free_bytes(&store.options.data_dir);
    let tight = wal_bytes > SMALL_WAL_BYTES && free.is_ok_and(|free| free < wal_bytes);
    let over_budget = tight || wal_bytes > MAX_WAL_BYTES || late > MAX_LATE_SAMPLES;
    if over_budget && late > 0 && counted.is_ok() {
        // Late samples alone are reason enough.
        return Some(closed_ms.max(store.flushed_ms.load(Ordering::Relaxed)));
    }
    let before_ms = if over_budget {
        closed_ms
    } else {
        closed_ms
            .div_euclid(interval_ms)
            .saturating_mul(interval_ms)
    };
    if before_ms <= store.flushed_ms.load(Ordering::Relaxed) {
        return None;
    }
    // Only when the range holds something; a first sample far from zero must not flush nothing.
    let mut holds = false;
    let looked = store.head.each_lane(|lane| {
        holds = holds || lane.holds_before(before_ms);
        Ok::<_, std::convert::Infallible>(())
    });
    (looked.is_ok() && holds).then_some(before_ms)
}
