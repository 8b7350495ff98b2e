//! Old blocks go: those whose newest sample is further behind the newest sample of the database than
//! the retention time, and the oldest ones while blocks, log and head take more than the size limit.
//! The clock has no say, so a jump of it deletes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashSet;

use crate::block::format::file_name;
use crate::db::{Db, ListedBlock, Store};
use crate::error::{DbError, IoContext};
use crate::manifest::Edit;

impl Db {
    /// Removes blocks beyond the retention time or size; returns how many.
    ///
    /// # Errors
    /// When the manifest or a file cannot be changed.
    pub fn enforce_retention(&self) -> Result<usize, DbError> {
        if self.is_closed() {
            return Err(DbError::Closed);
        }
        self.store().enforce_retention()
    }
}

impl Store {
    pub(crate) fn enforce_retention(&self) -> Result<usize, DbError> {
        let _turn = self.maintenance.lock();
        let listed = self.blocks.load_full();
        let mut horizon_ms = i64::MIN;
        if self.options.retention_ms > 0 {
            let newest_ms = self.head.newest_ms();
            horizon_ms = newest_ms.saturating_sub(self.options.retention_ms);
        }
        let too_big = self.too_big(&listed);
        let (gone, kept): (Vec<_>, Vec<_>) = listed.iter().cloned().partition(|listed| {
            listed.entry.max_ms < horizon_ms || too_big.contains(&listed.entry.seq)
        });
        if gone.is_empty() {
            return Ok(0);
        }
        // Runs that removed something, as Prometheus counts them.
        let count = |counter: &AtomicU64, counts: bool| {
            counter.fetch_add(u64::from(counts), Ordering::Relaxed);
        };
        let is_old = gone.iter().any(|b| b.entry.max_ms < horizon_ms);
        count(&self.counters.time_retentions, is_old);
        count(&self.counters.size_retentions, !too_big.is_empty());
        let edits: Vec<Edit> = gone.iter().map(|b| Edit::Drop(b.entry.seq)).collect();
        self.manifest.lock().commit(&edits)?;
        // Open selections keep their maps; only the names go.
        let first_ms = gone.iter().map(|b| b.entry.min_ms).min();
        self.list_changed(kept, first_ms.unwrap_or(i64::MAX));
        let dir = self.blocks_dir();
        for listed in &gone {
            let path = dir.join(file_name(listed.entry.seq));
            match self.vfs.remove(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.doing("removing", &path)?,
            }
        }
        self.vfs.sync_dir(&dir).doing("syncing", &dir)?;
        Ok(gone.len())
    }
    /// The oldest blocks that have to go for the rest to fit the size limit.
    fn too_big(&self, listed: &[Arc<ListedBlock>]) -> HashSet<u64> {
        let mut gone = HashSet::new();
        let limit = self.options.retention_bytes;
        if limit == 0 {
            return gone;
        }
        let bytes = |b: &ListedBlock| b.block.as_ref().map_or(0, |block| block.file_bytes());
        let (_, mut sum) = self.wal.extent();
        let _ = self.head.each_lane(|lane| {
            sum += lane.chunk_bytes();
            Ok::<_, std::convert::Infallible>(())
        });
        sum += listed.iter().map(|b| bytes(b)).sum::<u64>();
        let mut oldest_first: Vec<&Arc<ListedBlock>> = listed.iter().collect();
        oldest_first.sort_by_key(|b| (b.entry.max_ms, b.entry.seq));
        for block in oldest_first {
            if sum <= limit {
                break;
            }
            sum -= bytes(block);
            gone.insert(block.entry.seq);
        }
        gone
    }
}
