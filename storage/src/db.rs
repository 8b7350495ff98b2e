//! The database: opens everything in order, owns it, and closes it.
//!
//! Opening: lock the directory, read the manifest, open the blocks it names, remove what it does not
//! name, replay the WAL, start a fresh segment, start the background thread.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use hashbrown::HashSet;
use parking_lot::Mutex;
use tenbin_model::write::{AppendReport, WriteRequest};

use crate::background::Background;
use crate::block::format;
use crate::block::pages::PagesError;
use crate::block::reader::Block;
use crate::clock::{Clock, Stopwatch, SystemClock};
use crate::error::{AppendError, Corruption, DbError, IoContext, OpenError};
use crate::head::append::Terms;
use crate::head::{Head, HeadLimits};
use crate::manifest::{self, BlockEntry, Found, Manifest, ManifestState};
use crate::options::Options;
use crate::replay::{ReplayProgress, Replayed, replay};
use crate::sidecar;
use crate::tombstones::Tombstones;
use crate::vfs::{FileLock, OsVfs, Vfs};
use crate::wal::commit::Commit;
use crate::wal::writer::Wal;

/// Lanes of the head. A few more than cores of a small machine, so that senders seldom meet.
const LANES: u32 = 4;

/// A block that the manifest names: open, or the damage that keeps it from being opened.
pub(crate) struct ListedBlock {
    pub(crate) entry: BlockEntry,
    pub(crate) block: Result<Arc<Block>, Corruption>,
    /// Number of the flush of this process that wrote it, from 1; else 0.
    pub(crate) flush: u32,
    /// What was deleted in it.
    pub(crate) tombstones: Tombstones,
}

/// What is found at start and counted later.
#[derive(Debug, Default)]
pub(crate) struct StoreCounters {
    pub(crate) corruptions: Mutex<Vec<Corruption>>,
    pub(crate) replay_ms: AtomicU64,
    pub(crate) replayed_samples: AtomicU64,
    pub(crate) replay_dropped_samples: AtomicU64,
    pub(crate) replay_torn_bytes: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) flush_failures: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) compaction_failures: AtomicU64,
    pub(crate) time_retentions: AtomicU64,
    pub(crate) size_retentions: AtomicU64,
}

impl StoreCounters {
    fn note_replay(&self, stopwatch: &Stopwatch, replayed: &Replayed) {
        let took_ms = u64::try_from(stopwatch.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(samples = replayed.samples, took_ms, "WAL replayed");
        let set = |counter: &AtomicU64, value| counter.store(value, Ordering::Relaxed);
        set(&self.replay_ms, took_ms);
        set(&self.replayed_samples, replayed.samples);
        set(&self.replay_dropped_samples, replayed.dropped_samples);
        set(&self.replay_torn_bytes, replayed.torn_bytes);
        let mut corruptions = self.corruptions.lock();
        corruptions.extend_from_slice(&replayed.corruptions);
    }
}

/// The parts of a database. Blocks are listed in order of publication.
pub(crate) struct Store {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    pub(crate) head: Head,
    pub(crate) wal: Wal,
    pub(crate) blocks: ArcSwap<Vec<Arc<ListedBlock>>>,
    pub(crate) manifest: Mutex<Manifest>,
    /// One flush or retention run at a time.
    pub(crate) maintenance: Mutex<()>,
    /// One compaction at a time; flushes go on beside it.
    pub(crate) compaction: Mutex<()>,
    /// Numbers of blocks that a compaction found damaged.
    pub(crate) uncompactable: Mutex<HashSet<u64>>,
    /// In-order samples before this were flushed.
    pub(crate) flushed_ms: AtomicI64,
    pub(crate) counters: StoreCounters,
    /// Open queriers by the last flush whose block was listed before them.
    pub(crate) queriers: Mutex<BTreeMap<u32, usize>>,
}

impl Store {
    pub(crate) fn wal_dir(&self) -> PathBuf {
        self.options.data_dir.join("wal")
    }

    pub(crate) fn blocks_dir(&self) -> PathBuf {
        self.options.data_dir.join("blocks")
    }

    /// Lists other blocks, by which samples at `changed_ms` and later come, go or change: seen by a
    /// snapshot with the version it belongs to.
    pub(crate) fn list_changed(&self, blocks: Vec<Arc<ListedBlock>>, changed_ms: i64) {
        let _lanes = self.head.all_lanes();
        self.blocks.store(Arc::new(blocks));
        self.head.changes.note(changed_ms);
    }

    /// Registers a querier that is about to take its list of blocks.
    pub(crate) fn open_querier(&self) -> u32 {
        let listed = self.blocks.load();
        let flush = listed.iter().map(|b| b.flush).max().unwrap_or(0);
        *self.queriers.lock().entry(flush).or_default() += 1;
        flush
    }

    pub(crate) fn close_querier(&self, flush: u32) {
        let mut queriers = self.queriers.lock();
        if let Some(count) = queriers.get_mut(&flush) {
            *count -= 1;
            if *count == 0 {
                queriers.remove(&flush);
            }
        }
    }
}

/// An open database. Used as `Arc<Db>`.
pub struct Db {
    store: Arc<Store>,
    background: Mutex<Option<Background>>,
    closed: AtomicBool,
    lock: Mutex<Option<Box<dyn FileLock>>>,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Db({})", self.store.options.data_dir.display())
    }
}

impl Db {
    /// Opens a data directory of the file system.
    ///
    /// # Errors
    /// When the directory is in use, cannot be read, or was written by a newer version.
    pub fn open(options: Options) -> Result<Arc<Self>, OpenError> {
        let progress = Arc::new(ReplayProgress::default());
        Self::open_with(Arc::new(OsVfs), Arc::new(SystemClock), options, progress)
    }

    /// Opens a data directory of any disk under any clock, showing how far the replay is.
    ///
    /// # Errors
    /// As for [`Db::open`].
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers share the progress and let go"
    )]
    pub fn open_with(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        options: Options,
        progress: Arc<ReplayProgress>,
    ) -> Result<Arc<Self>, OpenError> {
        check(&options)?;
        let dir = options.data_dir.clone();
        for sub in [dir.clone(), dir.join("wal"), dir.join("blocks")] {
            vfs.create_dir_all(&sub).doing("creating", &sub)?;
        }
        let lock_path = dir.join("LOCK");
        let lock = vfs.lock(&lock_path).doing("locking", &lock_path)?;
        let Some(lock) = lock else {
            return Err(OpenError::Locked {
                dir,
                lock: lock_path,
            });
        };
        let counters = StoreCounters::default();
        let state = read_manifest(&*vfs, &dir, &counters)?;
        let blocks = open_blocks(&*vfs, &dir, &state, &counters)?;
        let limits = HeadLimits {
            max_future_ms: options.max_future_ms,
            max_series: options.max_series,
            max_exemplars: options.max_exemplars,
            exemplar_window_ms: options.out_of_order_window_ms,
        };
        let head = Head::new(LANES, limits, state.flushed_ms);
        for block in &blocks {
            head.raise_newest(block.entry.max_ms);
        }
        let damage = sidecar::load(&*vfs, &dir, &head)?;
        counters.corruptions.lock().extend(damage);
        let stopwatch = Stopwatch::start();
        let replayed = replay(&*vfs, &dir.join("wal"), &state, &head, &progress)?;
        counters.note_replay(&stopwatch, &replayed);
        let flushed_ms = AtomicI64::new(state.flushed_ms);
        let manifest = Manifest::create(&*vfs, &dir, state)?;
        let wal = Wal::start(
            Arc::clone(&vfs),
            Arc::clone(&clock),
            &dir.join("wal"),
            options.wal_sync,
            options.wal_segment_bytes,
            replayed.position,
            replayed.segments,
        )
        .map_err(OpenError::Thread)?;
        let store = Arc::new(Store {
            vfs,
            clock,
            options,
            head,
            wal,
            blocks: ArcSwap::from_pointee(blocks),
            manifest: Mutex::new(manifest),
            maintenance: Mutex::new(()),
            compaction: Mutex::new(()),
            uncompactable: Mutex::default(),
            flushed_ms,
            counters,
            queriers: Mutex::default(),
        });
        let background = if store.options.maintenance {
            Some(Background::start(Arc::clone(&store)).map_err(OpenError::Thread)?)
        } else {
            None
        };
        Ok(Arc::new(Self {
            store,
            background: Mutex::new(background),
            closed: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
        }))
    }

    /// Appends a request. Returns once the samples are in the head and the WAL's writer has the
    /// record; the request may be acknowledged when the [`Commit`] resolves Ok. `connection` is a
    /// stable number of the sender's connection: series that arrive together stay together.
    ///
    /// # Errors
    /// When the WAL takes no more or a limit is exceeded; then nothing may be acknowledged.
    pub fn append<R: WriteRequest>(
        &self,
        connection: u64,
        request: &R,
    ) -> Result<(AppendReport, Commit), AppendError> {
        let window_ms = self.store.options.out_of_order_window_ms;
        self.append_within(window_ms, connection, request)
    }

    /// As [`Db::append`], but samples of any age inside the retention time are taken, whatever the
    /// out-of-order window: for imports.
    ///
    /// # Errors
    /// As for [`Db::append`].
    pub fn backfill<R: WriteRequest>(
        &self,
        connection: u64,
        request: &R,
    ) -> Result<(AppendReport, Commit), AppendError> {
        let window_ms = match self.store.options.retention_ms {
            0 => i64::MAX,
            retention_ms => retention_ms.max(self.store.options.out_of_order_window_ms),
        };
        self.append_within(window_ms, connection, request)
    }

    fn append_within<R: WriteRequest>(
        &self,
        late_window_ms: i64,
        connection: u64,
        request: &R,
    ) -> Result<(AppendReport, Commit), AppendError> {
        if self.is_closed() {
            return Err(AppendError::Closed);
        }
        let terms = Terms {
            now_ms: self.store.clock.now_ms(),
            late_window_ms,
        };
        self.store
            .head
            .append(&self.store.wal, connection, request, terms)
    }

    /// Bytes that wait for the WAL's writer; an append blocks while it is too far behind.
    #[must_use]
    pub fn wal_queued_bytes(&self) -> u64 {
        let counters = self.store.wal.counters();
        counters.queued_bytes.load(Ordering::Relaxed)
    }

    /// Flushes the WAL, stops the threads and releases the directory. Idempotent.
    ///
    /// # Errors
    /// When the WAL cannot be written to the end.
    pub fn close(&self) -> Result<(), DbError> {
        self.closed.store(true, Ordering::SeqCst);
        let background = self.background.lock().take();
        if let Some(background) = background {
            background.stop();
        }
        let closed = self.store.wal.close();
        *self.lock.lock() = None;
        Ok(closed?)
    }

    /// Reads every block and verifies all checksums; returns the damage found.
    #[must_use]
    pub fn verify(&self) -> Vec<Corruption> {
        let blocks = self.store.blocks.load();
        let checked = blocks.iter().map(|listed| match &listed.block {
            Ok(block) => block.verify(),
            Err(damage) => Err(damage.clone()),
        });
        checked.filter_map(Result::err).collect()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the database");
        }
    }
}

fn check(options: &Options) -> Result<(), OpenError> {
    let wrong = |text: &str| Err(OpenError::Options(text.into()));
    if options.flush_interval_ms <= 0 {
        return wrong("the flush interval must be above 0");
    }
    if options.retention_ms < 0 || options.out_of_order_window_ms < 0 || options.max_future_ms < 0 {
        return wrong("retention, out-of-order window and future limit must not be negative");
    }
    if options.wal_segment_bytes < 4096 || options.wal_segment_bytes > 1 << 32 {
        return wrong("a WAL segment must have 4 KiB to 4 GiB");
    }
    Ok(())
}

/// The manifest's state; a damaged or missing one is rebuilt from the blocks that are there.
fn read_manifest(
    vfs: &dyn Vfs,
    dir: &Path,
    counters: &StoreCounters,
) -> Result<ManifestState, OpenError> {
    let damage = match manifest::read(vfs, dir)? {
        Found::Intact(state) => return Ok(state),
        Found::Missing => None,
        Found::Damaged(damage) => Some(damage),
    };
    let mut state = ManifestState::default();
    let blocks_dir = dir.join("blocks");
    for name in vfs.list(&blocks_dir).doing("listing", &blocks_dir)? {
        let Some(seq) = format::parse_file_name(&name) else {
            continue;
        };
        if let Ok(block) = open_block(vfs, &blocks_dir, seq)? {
            let header = block.header();
            let entry = BlockEntry {
                seq,
                min_ms: header.min_ms,
                max_ms: header.max_ms,
                order: block.order(),
            };
            state.blocks.insert(seq, entry);
        }
        state.next_seq = state.next_seq.max(seq + 1);
    }
    if let Some(damage) = damage {
        tracing::error!(%damage, "manifest is damaged; rebuilt from the blocks that are there");
        counters.corruptions.lock().push(damage);
        let (from, to) = (dir.join(manifest::FILE_NAME), dir.join("MANIFEST.damaged"));
        vfs.rename(&from, &to).doing("renaming", &from)?;
    }
    Ok(state)
}

/// Opens the block `seq`; damage comes back inside.
fn open_block(
    vfs: &dyn Vfs,
    blocks_dir: &Path,
    seq: u64,
) -> Result<Result<Arc<Block>, Corruption>, OpenError> {
    let name = format::file_name(seq);
    let path = blocks_dir.join(&name);
    let file = format!("blocks/{name}");
    let map = match vfs.map_sealed(&path) {
        Ok(map) => map,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Err(Corruption::new(file, 0, "a block", "no file")));
        }
        Err(source) => {
            return Err(OpenError::Io {
                what: "mapping",
                path,
                source,
            });
        }
    };
    match Block::open(map, file.clone()) {
        Ok(block) if block.header().seq == seq => Ok(Ok(Arc::new(block))),
        Ok(block) => {
            let found = format!("block {:016x}", block.header().seq);
            let expected = format!("block {seq:016x}");
            let at = format::SEQ_OFFSET;
            Ok(Err(Corruption::new(file, at, expected, found)))
        }
        Err(PagesError::Corrupt(damage)) => Ok(Err(damage)),
        Err(PagesError::TooNew(found)) => Err(OpenError::TooNew {
            file,
            found,
            supported: format::VERSION,
        }),
    }
}

/// Opens what the manifest names and removes what it does not.
fn open_blocks(
    vfs: &dyn Vfs,
    dir: &Path,
    state: &ManifestState,
    counters: &StoreCounters,
) -> Result<Vec<Arc<ListedBlock>>, OpenError> {
    let blocks_dir = dir.join("blocks");
    for name in vfs.list(&blocks_dir).doing("listing", &blocks_dir)? {
        let seq = format::parse_file_name(&name);
        // An intact manifest knows every published block; one rebuilt knows every readable one.
        let leftover = name.ends_with(".tmp")
            || seq.is_some_and(|seq| {
                !state.blocks.contains_key(&seq) && counters.corruptions.lock().is_empty()
            });
        if leftover {
            let path = blocks_dir.join(&name);
            tracing::info!(file = %path.display(), "removing a file that no manifest names");
            vfs.remove(&path).doing("removing", &path)?;
        }
    }
    let mut blocks = Vec::with_capacity(state.blocks.len());
    for entry in state.blocks.values() {
        let block = open_block(vfs, &blocks_dir, entry.seq)?;
        if let Err(damage) = &block {
            tracing::error!(%damage, "block is damaged; queries of its range fail");
            counters.corruptions.lock().push(damage.clone());
        }
        blocks.push(Arc::new(ListedBlock {
            entry: *entry,
            block,
            flush: 0,
            tombstones: Tombstones::new(
                state.tombstones.get(&entry.seq).map_or(&[], Vec::as_slice),
            ),
        }));
    }
    blocks.sort_by_key(|b: &Arc<ListedBlock>| (b.entry.order, b.entry.seq));
    Ok(blocks)
}
