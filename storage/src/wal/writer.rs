//! The WAL's writing side: appenders hand over payloads, one thread writes, syncs and resolves.
//!
//! Order of frames = order of [`WalTurn::submit`] calls. A turn holds the gate shared, a rotation
//! holds it exclusively, so a payload built against one segment is written to that segment.
//! After a failed write (other than for lack of space) or a failed fsync nothing is written again.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};

use super::commit::{Commit, Commits};
use super::frame;
use super::segment::{SPARE_NAME, TEMPORARY_NAME};
use super::thread::Writer;
use crate::clock::Clock;
use crate::error::AppendError;
use crate::options::WalSync;
use crate::vfs::Vfs;

/// Appenders wait while this much is queued: the disk is slower than the senders.
const MAX_QUEUED_BYTES: u64 = 64 << 20;

/// How long a full disk is left alone before the next try.
pub(super) const NO_SPACE_RETRY: Duration = Duration::from_millis(100);

pub(super) enum Item {
    Frame { lsn: u64, payload: Vec<u8> },
    Rotate { seq: u64, first_lsn: u64 },
    Sync { lsn: u64 },
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) items: VecDeque<Item>,
    next_lsn: u64,
    pub(super) closing: bool,
    /// The writer gathers requests and wants to be woken by this many.
    pub(super) wanted: usize,
}

/// Counters of the WAL since start.
#[derive(Debug, Default)]
pub(crate) struct WalCounters {
    pub(crate) fsyncs: AtomicU64,
    /// Time in them, microseconds.
    pub(crate) fsync_us: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) queued_bytes: AtomicU64,
}

pub(super) struct Shared {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) dir: PathBuf,
    pub(super) sync: WalSync,
    pub(super) segment_bytes: u64,
    pub(super) queue: Mutex<Queue>,
    pub(super) wake: Condvar,
    pub(super) drained: Condvar,
    pub(super) commits: Arc<Commits>,
    pub(super) counters: WalCounters,
    /// Bytes in use of each segment that a replay would read.
    pub(super) sizes: Mutex<BTreeMap<u64, u64>>,
    /// Whether a file waits to be recycled.
    pub(super) spare: AtomicBool,
}

/// A closed segment that replay would still read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClosedSegment {
    pub(crate) seq: u64,
    pub(crate) bytes: u64,
    /// Newest in-order sample inside.
    pub(crate) max_row_ms: i64,
    /// Damage was found in it at replay: it is kept aside instead of removed.
    pub(crate) damaged: bool,
}

/// Where the log goes on after replay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WalPosition {
    pub(crate) next_seq: u64,
    pub(crate) next_lsn: u64,
}

/// The log, open for appending.
pub(crate) struct Wal {
    shared: Arc<Shared>,
    /// The current segment. Shared while a request is built and handed over.
    gate: RwLock<u64>,
    current_bytes: AtomicU64,
    current_max_ms: AtomicI64,
    closed: Mutex<Vec<ClosedSegment>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// The right to build a payload for the current segment and to hand it over.
pub(crate) struct WalTurn<'a> {
    wal: &'a Wal,
    seq: RwLockReadGuard<'a, u64>,
}

impl Wal {
    /// Starts the writer thread with a fresh segment.
    pub(crate) fn start(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        sync: WalSync,
        segment_bytes: u64,
        position: WalPosition,
        closed: Vec<ClosedSegment>,
    ) -> io::Result<Self> {
        let names = vfs.list(dir)?;
        if names.iter().any(|name| name == TEMPORARY_NAME) {
            vfs.remove(&dir.join(TEMPORARY_NAME))?;
        }
        let spare = names.iter().any(|name| name == SPARE_NAME);
        let shared = Arc::new(Shared {
            vfs,
            clock,
            dir: dir.to_owned(),
            sync,
            segment_bytes,
            queue: Mutex::new(Queue {
                items: VecDeque::from([Item::Rotate {
                    seq: position.next_seq,
                    first_lsn: position.next_lsn,
                }]),
                next_lsn: position.next_lsn,
                closing: false,
                wanted: 0,
            }),
            wake: Condvar::new(),
            drained: Condvar::new(),
            commits: Arc::new(Commits::default()),
            counters: WalCounters::default(),
            sizes: Mutex::new(closed.iter().map(|s| (s.seq, s.bytes)).collect()),
            spare: AtomicBool::new(spare),
        });
        shared.commits.advance(position.next_lsn.saturating_sub(1));
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("wal-writer".into())
            .spawn(move || Writer::new(&for_thread).run())?;
        Ok(Self {
            shared,
            gate: RwLock::new(position.next_seq),
            current_bytes: AtomicU64::new(0),
            current_max_ms: AtomicI64::new(i64::MIN),
            closed: Mutex::new(closed),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Waits for room in the queue; to be called before any lock of the head is taken.
    pub(crate) fn admit(&self) -> Result<(), AppendError> {
        loop {
            if let Some(error) = self.shared.commits.failure() {
                return Err(error);
            }
            if self.shared.counters.queued_bytes.load(Ordering::Relaxed) < MAX_QUEUED_BYTES {
                return Ok(());
            }
            let mut queue = self.shared.queue.lock();
            if queue.closing {
                return Err(AppendError::Closed);
            }
            self.shared.drained.wait_for(&mut queue, NO_SPACE_RETRY);
        }
    }

    /// Takes a turn.
    pub(crate) fn turn(&self) -> WalTurn<'_> {
        WalTurn {
            wal: self,
            seq: self.gate.read(),
        }
    }

    /// A commit for everything handed over so far.
    pub(crate) fn commit_of_all(&self) -> Commit {
        let lsn = self.shared.queue.lock().next_lsn.saturating_sub(1);
        Commit::new(Arc::clone(&self.shared.commits), lsn)
    }

    /// Asks for an fdatasync of everything handed over so far, whatever the policy.
    pub(crate) fn sync(&self) -> Commit {
        let mut queue = self.shared.queue.lock();
        let lsn = queue.next_lsn;
        queue.next_lsn += 1;
        queue.items.push_back(Item::Sync { lsn });
        drop(queue);
        self.shared.wake.notify_one();
        Commit::new(Arc::clone(&self.shared.commits), lsn)
    }

    /// Closes the current segment and returns the number of the new one.
    pub(crate) fn rotate(&self) -> u64 {
        let mut seq = self.gate.write();
        self.rotate_locked(&mut seq);
        *seq
    }

    /// Closes the current segment if it is full.
    pub(crate) fn rotate_if_full(&self) {
        if self.current_bytes.load(Ordering::Relaxed) < self.shared.segment_bytes {
            return;
        }
        let mut seq = self.gate.write();
        if self.current_bytes.load(Ordering::Relaxed) >= self.shared.segment_bytes {
            self.rotate_locked(&mut seq);
        }
    }

    fn rotate_locked(&self, seq: &mut u64) {
        self.closed.lock().push(ClosedSegment {
            seq: *seq,
            bytes: self.current_bytes.swap(0, Ordering::Relaxed),
            max_row_ms: self.current_max_ms.swap(i64::MIN, Ordering::Relaxed),
            damaged: false,
        });
        *seq += 1;
        let mut queue = self.shared.queue.lock();
        let first_lsn = queue.next_lsn;
        queue.items.push_back(Item::Rotate {
            seq: *seq,
            first_lsn,
        });
        drop(queue);
        self.shared.wake.notify_one();
    }

    /// Takes out the closed segments before `cut_seq` whose in-order samples are all before
    /// `flushed_ms`.
    pub(crate) fn take_flushed(&self, cut_seq: u64, flushed_ms: i64) -> Vec<ClosedSegment> {
        let mut closed = self.closed.lock();
        let (gone, kept) = std::mem::take(&mut *closed)
            .into_iter()
            .partition(|s| s.seq < cut_seq && s.max_row_ms < flushed_ms);
        *closed = kept;
        let gone: Vec<ClosedSegment> = gone;
        let mut sizes = self.shared.sizes.lock();
        for segment in &gone {
            sizes.remove(&segment.seq);
        }
        gone
    }

    /// Numbers of the closed segments that a replay would read.
    pub(crate) fn closed_segments(&self) -> Vec<u64> {
        self.closed.lock().iter().map(|s| s.seq).collect()
    }

    /// Whether a file could be put aside for the next segment.
    pub(crate) fn wants_spare(&self) -> bool {
        !self.shared.spare.load(Ordering::Acquire)
    }

    /// Tells the writer that a file under [`SPARE_NAME`] is its to use, and durably called so.
    pub(crate) fn offer_spare(&self) {
        self.shared.spare.store(true, Ordering::Release);
    }

    /// Segments that replay would read, and their bytes in use.
    pub(crate) fn extent(&self) -> (u64, u64) {
        let segments = self.closed.lock().len() as u64 + 1;
        (segments, self.shared.sizes.lock().values().sum())
    }

    /// The number of the segment that is written to.
    pub(crate) fn current_segment(&self) -> u64 {
        *self.gate.read()
    }

    pub(crate) fn counters(&self) -> &WalCounters {
        &self.shared.counters
    }

    pub(crate) fn failure(&self) -> Option<AppendError> {
        self.shared.commits.failure()
    }

    /// Writes and syncs everything and stops the thread. Idempotent.
    pub(crate) fn close(&self) -> Result<(), AppendError> {
        self.shared.queue.lock().closing = true;
        self.shared.wake.notify_one();
        self.shared.drained.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            return Err(AppendError::WalFailed {
                reason: "the WAL writer panicked".into(),
            });
        }
        match self.shared.commits.failure() {
            None | Some(AppendError::Closed) => Ok(()),
            Some(error) => Err(error),
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

impl WalTurn<'_> {
    /// The segment that the payload will be in.
    pub(crate) fn seq(&self) -> u64 {
        *self.seq
    }

    /// Hands over a payload whose newest in-order sample is at `max_row_ms`.
    pub(crate) fn submit(&self, payload: Vec<u8>, max_row_ms: i64) -> Commit {
        let shared = &self.wal.shared;
        let bytes = (payload.len() + frame::FRAME_HEADER_BYTES) as u64;
        let counters = &shared.counters;
        counters.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.wal.current_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.wal
            .current_max_ms
            .fetch_max(max_row_ms, Ordering::Relaxed);
        let mut queue = shared.queue.lock();
        let lsn = queue.next_lsn;
        queue.next_lsn += 1;
        queue.items.push_back(Item::Frame { lsn, payload });
        let wake = queue.items.len() >= queue.wanted;
        drop(queue);
        if wake {
            shared.wake.notify_one();
        }
        Commit::new(Arc::clone(&shared.commits), lsn)
    }
}
