//! Snapshots: a data directory of its own under `snapshots/`, made of hard links to the blocks, a
//! copy of the WAL and a manifest.
//!
//! The head is not flushed for it, since that would turn samples of slow senders into late ones; the
//! copied WAL has what the head has. The manifest comes last: a snapshot without one is not finished.

use std::path::Path;
use std::sync::Arc;

use crate::block::format::file_name;
use crate::db::{Db, Store};
use crate::error::{DbError, IoContext};
use crate::manifest::Manifest;
use crate::sidecar;
use crate::vfs::{OpenMode, VfsFile};
use crate::wal::segment;

/// Directory of the snapshots inside the data directory.
const DIR: &str = "snapshots";

/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

impl Db {
    /// Makes a snapshot of everything stored so far (with `skip_head`: of what is in blocks) in the
    /// new directory `snapshots/<name>`, which can be opened as a data directory. Returns once it is
    /// durable.
    ///
    /// # Errors
    /// When the name is taken or no plain file name, or something cannot be written; what was
    /// written is then removed again.
    pub fn snapshot(&self, name: &str, skip_head: bool) -> Result<(), DbError> {
        if self.is_closed() {
            return Err(DbError::Closed);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let store = self.store();
        let dir = store.options.data_dir.join(DIR).join(name);
        if name.is_empty() || !name.chars().all(plain) {
            let error = std::io::Error::from(std::io::ErrorKind::InvalidInput);
            return Err(error).doing("creating", &dir);
        }
        if store.vfs.list(&dir).is_ok_and(|names| !names.is_empty()) {
            let error = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(error).doing("creating", &dir);
        }
        let made = store.snapshot(&dir, skip_head);
        if made.is_err() {
            store.remove_tree(&dir);
        }
        made
    }
}

impl Store {
    fn snapshot(&self, dir: &Path, skip_head: bool) -> Result<(), DbError> {
        let (wal_dir, blocks_dir) = (dir.join("wal"), dir.join("blocks"));
        for sub in [dir, &wal_dir, &blocks_dir] {
            self.vfs.create_dir_all(sub).doing("creating", sub)?;
        }
        // Keeps flushes, merges' ends, deletions and retention away.
        let turn = self.maintenance.lock();
        if !skip_head {
            self.wal.rotate();
            self.wal.sync().wait()?;
            for seq in self.wal.closed_segments() {
                let name = segment::file_name(seq);
                self.copy(&self.wal_dir().join(&name), &wal_dir.join(&name))?;
            }
        }
        for listed in self.blocks.load().iter() {
            let name = file_name(listed.entry.seq);
            let (from, to) = (self.blocks_dir().join(&name), blocks_dir.join(&name));
            self.vfs.hard_link(&from, &to).doing("linking", &from)?;
        }
        for name in [sidecar::EXEMPLARS, sidecar::METADATA] {
            let from = self.options.data_dir.join(name);
            match self.vfs.open(&from, OpenMode::Read) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                _ => self.copy(&from, &dir.join(name))?,
            }
        }
        let state = self.manifest.lock().state.clone();
        drop(turn);
        for sub in [&*wal_dir, &*blocks_dir] {
            self.vfs.sync_dir(sub).doing("syncing", sub)?;
        }
        Manifest::create(&*self.vfs, dir, state)?;
        for parent in dir.ancestors().skip(1).take(2) {
            self.vfs.sync_dir(parent).doing("syncing", parent)?;
        }
        Ok(())
    }

    /// Copies a file that is not written any more, durably.
    fn copy(&self, from: &Path, to: &Path) -> Result<(), DbError> {
        let source = self.vfs.open(from, OpenMode::Read).doing("opening", from)?;
        let target = self.vfs.open(to, OpenMode::Create).doing("creating", to)?;
        copy_bytes(&source, &target).doing("copying", from)?;
        target.sync_data().doing("syncing", to)
    }

    /// Removes an unfinished snapshot as far as that goes.
    fn remove_tree(&self, dir: &Path) {
        for sub in [&dir.join("wal"), &dir.join("blocks"), dir] {
            for name in self.vfs.list(sub).unwrap_or_default() {
                let _ = self.vfs.remove(&sub.join(name));
            }
            let _ = self.vfs.remove_dir(sub);
        }
    }
}

fn copy_bytes(source: &Arc<dyn VfsFile>, target: &Arc<dyn VfsFile>) -> std::io::Result<()> {
    let len = source.len()?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < len {
        let now = (len - at).min(COPY_BYTES as u64) as usize;
        source.read_at(at, &mut buffer[..now])?;
        target.write_at(at, &buffer[..now])?;
        at += now as u64;
    }
    Ok(())
}
