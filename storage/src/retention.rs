//! Old blocks go: those whose newest sample is further behind the newest sample of the database than
//! the retention time. The clock has no say, so a jump of it deletes nothing.

use std::sync::Arc;

use crate::block::format::file_name;
use crate::db::{Db, Store};
use crate::error::{DbError, IoContext};
use crate::manifest::Edit;

impl Db {
    /// Removes blocks beyond the retention time; returns how many.
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
        if self.options.retention_ms == 0 {
            return Ok(0);
        }
        let horizon_ms = self
            .head
            .newest_ms()
            .saturating_sub(self.options.retention_ms);
        let (gone, kept): (Vec<_>, Vec<_>) = self
            .blocks
            .load()
            .iter()
            .cloned()
            .partition(|listed| listed.entry.max_ms < horizon_ms);
        if gone.is_empty() {
            return Ok(0);
        }
        let edits: Vec<Edit> = gone.iter().map(|b| Edit::Drop(b.entry.seq)).collect();
        self.manifest.lock().commit(&edits)?;
        // Open selections keep their maps; only the names go.
        self.blocks.store(Arc::new(kept));
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
}
