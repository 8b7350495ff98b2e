//! The WAL's writing side: appenders hand over payloads, one thread writes, syncs and resolves.
//!
//! Order of frames = order of [`WalTurn::submit`] calls. A turn holds the gate shared, a rotation
//! holds it exclusively, so a payload built against one segment is written to that segment.
//! After a failed write (other than for lack of space) or a failed fsync nothing is written again.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};

use super::commit::{Commit, Commits, no_space};
use super::frame;
use super::segment::{HEADER_BYTES, SegmentHeader, file_name};
use crate::clock::{Clock, Stopwatch};
use crate::error::AppendError;
use crate::options::WalSync;
use crate::vfs::{OpenMode, Vfs, VfsFile};

/// Appenders wait while this much is queued: the disk is slower than the senders.
const MAX_QUEUED_BYTES: u64 = 64 << 20;

/// How long a full disk is left alone before the next try.
const NO_SPACE_RETRY: Duration = Duration::from_millis(100);

/// Encoded frames are written when this much has gathered, even without a sync.
const WRITE_BYTES: usize = 4 << 20;

enum Item {
    Frame { lsn: u64, payload: Vec<u8> },
    Rotate { seq: u64, first_lsn: u64 },
    Sync { lsn: u64 },
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    next_lsn: u64,
    closing: bool,
}

/// Counters of the WAL since start.
#[derive(Debug, Default)]
pub(crate) struct WalCounters {
    pub(crate) fsyncs: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) queued_bytes: AtomicU64,
}

struct Shared {
    vfs: Arc<dyn Vfs>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    sync: WalSync,
    segment_bytes: u64,
    queue: Mutex<Queue>,
    wake: Condvar,
    drained: Condvar,
    commits: Arc<Commits>,
    counters: WalCounters,
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
            }),
            wake: Condvar::new(),
            drained: Condvar::new(),
            commits: Arc::new(Commits::default()),
            counters: WalCounters::default(),
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
        gone
    }

    /// Segments that replay would read, and their bytes.
    pub(crate) fn extent(&self) -> (u64, u64) {
        let closed = self.closed.lock();
        let bytes: u64 = closed.iter().map(|s| s.bytes).sum();
        let current = self.current_bytes.load(Ordering::Relaxed);
        (closed.len() as u64 + 1, bytes + current)
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
        drop(queue);
        shared.wake.notify_one();
        Commit::new(Arc::clone(&shared.commits), lsn)
    }
}

/// Why writing stopped.
enum Stop {
    /// Try again later from the same place.
    NoSpace,
    /// Final.
    Failed(String),
}

fn stop(error: &io::Error) -> Stop {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Stop::NoSpace,
        _ => Stop::Failed(error.to_string()),
    }
}

/// The state of the writer thread.
struct Writer<'a> {
    shared: &'a Shared,
    pending: VecDeque<Item>,
    file: Option<Arc<dyn VfsFile>>,
    salt: u32,
    offset: u64,
    /// Encoded frames that are not written yet; they belong at `offset`.
    encoded: Vec<u8>,
    /// Last LSN in `encoded` or before.
    encoded_lsn: u64,
    written_lsn: u64,
    durable_lsn: u64,
    since_sync: Stopwatch,
    no_space: bool,
}

impl<'a> Writer<'a> {
    fn new(shared: &'a Shared) -> Self {
        let start = shared.commits.durable_lsn();
        Self {
            shared,
            pending: VecDeque::new(),
            file: None,
            salt: 0,
            offset: 0,
            encoded: Vec::new(),
            encoded_lsn: start,
            written_lsn: start,
            durable_lsn: start,
            since_sync: Stopwatch::start(),
            no_space: false,
        }
    }

    fn run(mut self) {
        loop {
            let closing = self.gather();
            let result = self.work(closing);
            self.shared.drained.notify_all();
            match result {
                Ok(()) if self.no_space => {
                    self.no_space = false;
                    self.shared.commits.recover();
                    tracing::info!("space for the write-ahead log is back; writes resume");
                }
                Ok(()) => {}
                Err(Stop::NoSpace) => {
                    if !self.no_space {
                        tracing::error!(dir = %self.shared.dir.display(), "no space for the write-ahead log");
                    }
                    self.no_space = true;
                    self.shared.commits.fail(&no_space(&self.shared.dir));
                    if closing {
                        return;
                    }
                    continue;
                }
                Err(Stop::Failed(reason)) => {
                    tracing::error!(reason, "write-ahead log failed; writes are refused");
                    self.shared.commits.fail(&AppendError::WalFailed { reason });
                    return;
                }
            }
            if closing {
                self.shared.commits.fail(&AppendError::Closed);
                return;
            }
        }
    }

    /// Waits for work and takes all of it; returns whether this is the last round.
    fn gather(&mut self) -> bool {
        let mut queue = self.shared.queue.lock();
        if self.no_space && !queue.closing {
            self.shared.wake.wait_for(&mut queue, NO_SPACE_RETRY);
        }
        while !self.no_space && queue.items.is_empty() && !queue.closing {
            let dirty = self.durable_lsn < self.written_lsn;
            match self.shared.sync {
                WalSync::Interval(interval) if dirty => {
                    let left = interval.saturating_sub(self.since_sync.elapsed());
                    if left.is_zero() || self.shared.wake.wait_for(&mut queue, left).timed_out() {
                        break;
                    }
                }
                _ => self.shared.wake.wait(&mut queue),
            }
        }
        self.pending.append(&mut queue.items);
        queue.closing
    }

    fn work(&mut self, closing: bool) -> Result<(), Stop> {
        let mut sync_now = closing;
        while let Some(item) = self.pending.front() {
            match item {
                Item::Frame { lsn, payload } => {
                    frame::encode(
                        &mut self.encoded,
                        self.salt,
                        *lsn,
                        self.durable_lsn,
                        payload,
                    );
                    self.encoded_lsn = *lsn;
                    let bytes = (payload.len() + frame::FRAME_HEADER_BYTES) as u64;
                    let counters = &self.shared.counters;
                    counters.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
                Item::Sync { lsn } => {
                    // Takes an LSN of its own so that its commit resolves after the sync.
                    let lsn = *lsn;
                    frame::encode(&mut self.encoded, self.salt, lsn, self.durable_lsn, &[0, 0]);
                    self.encoded_lsn = lsn;
                    sync_now = true;
                }
                Item::Rotate { seq, first_lsn } => {
                    let (seq, first_lsn) = (*seq, *first_lsn);
                    self.finish_segment()?;
                    self.open_segment(seq, first_lsn)?;
                }
            }
            self.pending.pop_front();
            if self.encoded.len() >= WRITE_BYTES {
                self.write()?;
            }
        }
        self.write()?;
        let due = match self.shared.sync {
            WalSync::Group => true,
            WalSync::Interval(interval) => self.since_sync.elapsed() >= interval,
            WalSync::Segment => false,
        };
        if due || sync_now {
            self.sync_file()?;
        } else {
            self.shared.commits.advance(self.written_lsn);
        }
        if closing {
            self.finish_segment()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Stop> {
        if self.encoded.is_empty() {
            return Ok(());
        }
        let Some(file) = &self.file else {
            return Err(Stop::Failed("no segment is open".into()));
        };
        file.write_at(self.offset, &self.encoded)
            .map_err(|e| stop(&e))?;
        let written = self.encoded.len() as u64;
        self.offset += written;
        self.shared
            .counters
            .written_bytes
            .fetch_add(written, Ordering::Relaxed);
        self.encoded.clear();
        self.encoded.shrink_to(2 * WRITE_BYTES);
        self.written_lsn = self.encoded_lsn;
        Ok(())
    }

    fn sync_file(&mut self) -> Result<(), Stop> {
        if self.durable_lsn < self.written_lsn
            && let Some(file) = &self.file
        {
            // Whatever the reason, a failed fsync may have dropped the pages: final.
            file.sync_data()
                .map_err(|e| Stop::Failed(format!("fdatasync: {e}")))?;
            self.shared.counters.fsyncs.fetch_add(1, Ordering::Relaxed);
            self.durable_lsn = self.written_lsn;
        }
        self.since_sync = Stopwatch::start();
        self.shared.commits.advance(self.durable_lsn);
        Ok(())
    }

    /// Writes and syncs the open segment and cuts off its unused space.
    fn finish_segment(&mut self) -> Result<(), Stop> {
        self.write()?;
        let Some(file) = &self.file else {
            return Ok(());
        };
        file.truncate(self.offset)
            .map_err(|e| Stop::Failed(format!("truncate: {e}")))?;
        file.sync_data()
            .map_err(|e| Stop::Failed(format!("fdatasync: {e}")))?;
        self.shared.counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        self.durable_lsn = self.written_lsn;
        self.since_sync = Stopwatch::start();
        self.shared.commits.advance(self.durable_lsn);
        self.file = None;
        Ok(())
    }

    fn open_segment(&mut self, seq: u64, first_lsn: u64) -> Result<(), Stop> {
        let path = self.shared.dir.join(file_name(seq));
        let vfs = &self.shared.vfs;
        // Left over from a try that ran out of space.
        let _ = vfs.remove(&path);
        let header = SegmentHeader {
            seq,
            salt: random_salt(),
            created_ms: self.shared.clock.now_ms(),
            first_lsn,
        };
        let create = || {
            let file = vfs.open(&path, OpenMode::Create)?;
            file.allocate(self.shared.segment_bytes.max(HEADER_BYTES as u64))?;
            file.write_at(0, &header.encode())?;
            file.sync_data()?;
            vfs.sync_dir(&self.shared.dir)?;
            Ok(file)
        };
        let file = create().map_err(|e: io::Error| stop(&e))?;
        self.file = Some(file);
        self.salt = header.salt;
        self.offset = HEADER_BYTES as u64;
        Ok(())
    }
}

/// A number that differs from segment to segment.
fn random_salt() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish() as u32
}
