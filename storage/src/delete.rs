//! Deleting samples: at once from the head, by tombstones from blocks; merging takes them out of the
//! files.
//!
//! A deletion covers what is stored at its time and nothing that comes later. Order: one manifest
//! edit with the tombstones of all blocks, list swapped, then head and WAL. A crash in between
//! leaves a part of the deletion undone, never something else deleted; it was not acknowledged.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tenbin_model::{Matcher, TimeRange};

use crate::compact::CompactReport;
use crate::db::{Db, ListedBlock, Store};
use crate::error::DbError;
use crate::manifest::Edit;
use crate::query::matching::select;
use crate::tombstones::Tombstone;

/// What a deletion did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeleteReport {
    /// Samples taken out of the head.
    pub head_samples: u64,
    /// Blocks that have a new tombstone.
    pub blocks: u64,
}

impl Db {
    /// Deletes the samples inside a range of all series that satisfy the matchers of any of the
    /// selections. Returns once that is durable.
    ///
    /// # Errors
    /// When a block of the range is damaged (then nothing was deleted) or manifest or WAL cannot be
    /// written.
    pub fn delete_series(
        &self,
        selections: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<DeleteReport, DbError> {
        if self.is_closed() {
            return Err(DbError::Closed);
        }
        self.store().delete(selections, range)
    }

    /// Rewrites every block in which something was deleted, so that the files lose it too.
    ///
    /// # Errors
    /// When an output cannot be written; the block then stays, with its tombstones.
    pub fn clean_tombstones(&self) -> Result<CompactReport, DbError> {
        if self.is_closed() {
            return Err(DbError::Closed);
        }
        self.store().clean(&AtomicBool::new(false))
    }
}

impl Store {
    fn delete(
        &self,
        selections: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<DeleteReport, DbError> {
        let mut report = DeleteReport::default();
        if range.is_empty() {
            return Ok(report);
        }
        // Neither a flush nor a merge publishes meanwhile.
        let _turn = self.maintenance.lock();
        // A flush whose edit failed may yet be found at the next start, with what is deleted now.
        self.manifest.lock().check()?;
        let mut listed = (**self.blocks.load()).clone();
        let mut edits = Vec::new();
        let mut first_ms = i64::MAX;
        for block in &mut listed {
            let Some(tombstone) = tombstone(block, selections, range)? else {
                continue;
            };
            first_ms = first_ms.min(block.entry.min_ms);
            edits.push(Edit::Delete {
                seq: block.entry.seq,
                tombstone: tombstone.clone(),
            });
            *block = Arc::new(ListedBlock {
                entry: block.entry,
                block: block.block.clone(),
                flush: block.flush,
                tombstones: block.tombstones.with(tombstone),
            });
        }
        report.blocks = edits.len() as u64;
        if !edits.is_empty() {
            self.manifest.lock().commit(&edits)?;
            self.list_changed(listed, first_ms.max(range.min_ms));
        }
        for matchers in selections {
            let (samples, commit) = self.head.delete(&self.wal, matchers, range)?;
            report.head_samples += samples;
            commit.wait()?;
        }
        Ok(report)
    }
}

/// What to delete in a block, if anything.
fn tombstone(
    listed: &ListedBlock,
    selections: &[Vec<Matcher>],
    range: TimeRange,
) -> Result<Option<Tombstone>, DbError> {
    if !range.overlaps(TimeRange::new(listed.entry.min_ms, listed.entry.max_ms)) {
        return Ok(None);
    }
    let block = listed.block.as_ref().map_err(Clone::clone)?;
    let mut series = croaring::Bitmap::new();
    for matchers in selections {
        series.or_inplace(&select(&**block, matchers)?);
    }
    series.run_optimize();
    Ok((!series.is_empty()).then_some(Tombstone { range, series }))
}
