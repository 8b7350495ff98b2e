//! The WAL's thread: writes what was handed over, syncs it and resolves the commits.
//!
//! A segment grows by steps of zeros ahead of the frames, and its file is, where there is one, a
//! spare left by a flush: so nearly every fdatasync finds the file's length and extents as they were
//! and needs no journal commit. A new segment is made whole under another name (header, zeros
//! behind it, synced) before it gets its own, so a crash leaves no segment without header.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::commit::no_space;
use super::frame::{self, FRAME_HEADER_BYTES};
use super::segment::{HEADER_BYTES, SPARE_NAME, SegmentHeader, TEMPORARY_NAME, file_name};
use super::writer::{Item, NO_SPACE_RETRY, Shared};
use crate::clock::Stopwatch;
use crate::error::AppendError;
use crate::options::WalSync;
use crate::vfs::{OpenMode, VfsFile};

/// Encoded frames are written when this much has gathered, even without a sync.
const WRITE_BYTES: usize = 4 << 20;

/// A segment's file is made longer by these steps, small at first.
const STEPS: [u64; 3] = [128 << 10, 1 << 20, 4 << 20];

/// So long after a sync the next one waits for as many requests as the last one let go, so that a
/// stream of small requests shares syncs.
const GATHER: Duration = Duration::from_millis(2);

/// Beyond so many requests nobody is waited for.
const MAX_WANTED: usize = 64;

/// Zeros behind the last frame: where they stand, no frame of the file's former life is looked at.
const END_BYTES: usize = FRAME_HEADER_BYTES;

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
pub(super) struct Writer<'a> {
    shared: &'a Shared,
    pending: VecDeque<Item>,
    file: Option<Arc<dyn VfsFile>>,
    seq: u64,
    salt: u32,
    offset: u64,
    /// Bytes that the open file has.
    reserved: u64,
    /// Encoded frames that are not written yet; they belong at `offset`.
    encoded: Vec<u8>,
    /// Last LSN in `encoded` or before.
    encoded_lsn: u64,
    written_lsn: u64,
    durable_lsn: u64,
    since_sync: Stopwatch,
    /// Requests that the last round took.
    last_frames: usize,
    no_space: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        let start = shared.commits.durable_lsn();
        Self {
            shared,
            pending: VecDeque::new(),
            file: None,
            seq: 0,
            salt: 0,
            offset: 0,
            reserved: 0,
            encoded: Vec::new(),
            encoded_lsn: start,
            written_lsn: start,
            durable_lsn: start,
            since_sync: Stopwatch::start(),
            last_frames: 0,
            no_space: false,
        }
    }

    pub(super) fn run(mut self) {
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
        if self.shared.sync == WalSync::Group {
            // Right after a sync those that it let go are about to send again: one more for all of
            // them, as soon as as many are there.
            queue.wanted = self.last_frames;
            let plain = |item: &Item| matches!(item, Item::Frame { .. });
            while queue.items.len() < queue.wanted
                && queue.items.iter().all(plain)
                && !queue.closing
            {
                let left = GATHER.saturating_sub(self.since_sync.elapsed());
                if left.is_zero() || self.shared.wake.wait_for(&mut queue, left).timed_out() {
                    break;
                }
            }
            queue.wanted = 0;
            let frames = queue.items.iter().filter(|item| plain(item)).count();
            self.last_frames = frames.min(MAX_WANTED);
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
                    let bytes = (payload.len() + FRAME_HEADER_BYTES) as u64;
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
        let Some(file) = self.file.clone() else {
            return Err(Stop::Failed("no segment is open".into()));
        };
        let len = self.encoded.len();
        self.reserve(&*file, self.offset + (len + END_BYTES) as u64)
            .map_err(|e| stop(&e))?;
        self.encoded.resize(len + END_BYTES, 0);
        let written = file.write_at(self.offset, &self.encoded);
        self.encoded.truncate(len);
        written.map_err(|e| stop(&e))?;
        self.offset += len as u64;
        self.shared.sizes.lock().insert(self.seq, self.offset);
        self.shared
            .counters
            .written_bytes
            .fetch_add(len as u64, Ordering::Relaxed);
        self.encoded.clear();
        self.encoded.shrink_to(2 * WRITE_BYTES);
        self.written_lsn = self.encoded_lsn;
        Ok(())
    }

    /// Makes the file at least `len` bytes long, by whole steps of zeros.
    fn reserve(&mut self, file: &dyn VfsFile, len: u64) -> io::Result<()> {
        while self.reserved < len {
            let step = match self.reserved {
                0..1_048_576 => STEPS[0],
                1_048_576..4_194_304 => STEPS[1],
                _ => STEPS[2],
            };
            let step = step.min(self.shared.segment_bytes.max(HEADER_BYTES as u64));
            file.write_at(self.reserved, &vec![0; step as usize])?;
            self.reserved += step;
        }
        Ok(())
    }

    fn sync_file(&mut self) -> Result<(), Stop> {
        if self.durable_lsn < self.written_lsn
            && let Some(file) = &self.file
        {
            // Whatever the reason, a failed fsync may have dropped the pages: final.
            let started = Stopwatch::start();
            file.sync_data()
                .map_err(|e| Stop::Failed(format!("fdatasync: {e}")))?;
            self.count_sync(&started);
            self.durable_lsn = self.written_lsn;
        }
        self.since_sync = Stopwatch::start();
        self.shared.commits.advance(self.durable_lsn);
        Ok(())
    }

    fn count_sync(&self, started: &Stopwatch) {
        let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let counters = &self.shared.counters;
        counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        counters.fsync_us.fetch_add(took_us, Ordering::Relaxed);
    }

    /// Writes and syncs the open segment and cuts off its unused space.
    fn finish_segment(&mut self) -> Result<(), Stop> {
        self.write()?;
        let Some(file) = &self.file else {
            return Ok(());
        };
        file.truncate(self.offset)
            .map_err(|e| Stop::Failed(format!("truncate: {e}")))?;
        let started = Stopwatch::start();
        file.sync_data()
            .map_err(|e| Stop::Failed(format!("fdatasync: {e}")))?;
        self.count_sync(&started);
        self.durable_lsn = self.written_lsn;
        self.since_sync = Stopwatch::start();
        self.shared.commits.advance(self.durable_lsn);
        self.file = None;
        self.reserved = 0;
        Ok(())
    }

    fn open_segment(&mut self, seq: u64, first_lsn: u64) -> Result<(), Stop> {
        let header = SegmentHeader {
            seq,
            salt: random_salt(),
            created_ms: self.shared.clock.now_ms(),
            first_lsn,
        };
        let dir = &self.shared.dir;
        let vfs = &self.shared.vfs;
        let path = dir.join(file_name(seq));
        let had_spare = self.shared.spare.swap(false, Ordering::AcqRel);
        let spare = dir.join(SPARE_NAME);
        let recycled = had_spare
            .then(|| vfs.open_log(&spare, OpenMode::Write).ok())
            .flatten();
        let temporary = dir.join(TEMPORARY_NAME);
        let (from, file) = match recycled {
            Some(file) => (&spare, file),
            None => {
                // Left over from a crash or from a try that ran out of space.
                let _ = vfs.remove(&temporary);
                let created = vfs.open_log(&temporary, OpenMode::Create);
                (&temporary, created.map_err(|e| stop(&e))?)
            }
        };
        self.name_segment(&header, &*file, from, &path)
            .map_err(|e| stop(&e))?;
        self.file = Some(file);
        (self.seq, self.salt) = (seq, header.salt);
        self.offset = HEADER_BYTES as u64;
        self.shared.sizes.lock().insert(seq, self.offset);
        Ok(())
    }

    /// Makes a file an empty segment, then gives it its name.
    fn name_segment(
        &mut self,
        header: &SegmentHeader,
        file: &dyn VfsFile,
        from: &Path,
        to: &Path,
    ) -> io::Result<()> {
        let mut front = header.encode().to_vec();
        front.resize(HEADER_BYTES + END_BYTES, 0);
        self.reserved = file.len()?;
        self.reserve(file, front.len() as u64)?;
        file.write_at(0, &front)?;
        file.sync_data()?;
        self.shared.vfs.rename(from, to)?;
        self.shared.vfs.sync_dir(&self.shared.dir)
    }
}

/// A number that differs from segment to segment.
fn random_salt() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish() as u32
}
