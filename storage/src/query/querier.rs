//! Answers the questions of [`tenbin_model::Querier`] from head and blocks.

use std::collections::BTreeSet;
use std::sync::Arc;

use croaring::Bitmap;
use tenbin_model::{Matcher, Querier, Queryable, SelectHints, SeriesSet, StoreError, TimeRange};

use super::matching::{LabelIndex, select, select_until};
use super::merge::Samples;
use super::records::Records;
use super::set::{Newer, Part, Selection, Source};
use crate::block::format::stored_hash;
use crate::block::reader::Detail;
use crate::db::{Db, ListedBlock, Store};

impl Queryable for Db {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier>, StoreError> {
        if self.is_closed() {
            return Err(StoreError::NotReady);
        }
        let store = Arc::clone(self.store());
        // A flush drops from the head, lane by lane, only what a listed block has.
        let flush = store.open_querier();
        let taken = || (store.head.changes.version(), store.blocks.load_full());
        let (snapshot, (version, blocks)) = store.head.open_snapshot(taken);
        Ok(Box::new(DbQuerier {
            store,
            flush,
            range,
            snapshot,
            version,
            blocks,
        }))
    }

    fn unchanged_before(&self, version: u64) -> i64 {
        self.store().head.changes.unchanged_before(version)
    }
}

/// Receives a label index and the series in it that match (`None`: all).
type Visit<'a> = dyn FnMut(&dyn LabelIndex, Option<&Bitmap>) -> Result<(), StoreError> + 'a;

/// A view of a database over a time range.
struct DbQuerier {
    store: Arc<Store>,
    range: TimeRange,
    /// No compaction takes blocks of later flushes.
    flush: u32,
    /// Position in each lane's journal.
    snapshot: Vec<u64>,
    version: u64,
    blocks: Arc<Vec<Arc<ListedBlock>>>,
}

impl Drop for DbQuerier {
    fn drop(&mut self) {
        self.store.head.close_snapshot(&self.snapshot);
        self.store.close_querier(self.flush);
    }
}

impl DbQuerier {
    /// Blocks that a flush listed after the snapshot; no compaction takes them while it is open. To
    /// be asked for after the head was read: what the head has dropped by then is in them.
    fn newer_blocks(&self) -> Vec<Arc<ListedBlock>> {
        let mut listed = (**self.store.blocks.load()).clone();
        listed.retain(|block| {
            // By number: a deletion lists a block anew.
            let known = |old: &Arc<ListedBlock>| old.entry.seq == block.entry.seq;
            block.flush > 0 && !self.blocks.iter().any(known)
        });
        listed
    }

    /// The blocks that overlap the range, in the same order; fails when one of them is damaged.
    fn concerned(&self, listed: &[Arc<ListedBlock>]) -> Result<Vec<Source>, StoreError> {
        let mut blocks = Vec::new();
        for listed in listed {
            let range = TimeRange::new(listed.entry.min_ms, listed.entry.max_ms);
            if self.range.overlaps(range) {
                match &listed.block {
                    Ok(block) => blocks.push(Source {
                        block: Arc::clone(block),
                        tombstones: listed.tombstones.clone(),
                        records: Records::default(),
                    }),
                    Err(damage) => return Err(damage.clone().into()),
                }
            }
        }
        Ok(blocks)
    }

    /// Runs `f` on every label index that may have series of the range, with the series that
    /// satisfy the matchers (`None`: all).
    fn each_index(&self, matchers: &[Matcher], f: &mut Visit<'_>) -> Result<(), StoreError> {
        let matching = |index: &dyn LabelIndex| {
            if matchers.is_empty() {
                return Ok(None);
            }
            select(index, matchers).map(Some)
        };
        if self.range.min_ms <= self.store.head.newest_ms() {
            self.store.head.each_lane(|lane| {
                let concerned = self.range.max_ms >= lane.min_valid_ms
                    || !lane.late.is_empty()
                    || !lane.flushing_late.is_empty()
                    || lane.histograms.has_late();
                if concerned {
                    let within = matching(lane)?;
                    f(lane, within.as_ref())?;
                }
                Ok::<_, StoreError>(())
            })?;
        }
        let mut blocks = self.concerned(&self.blocks)?;
        blocks.extend(self.concerned(&self.newer_blocks())?);
        for Source { block, .. } in blocks {
            let within = matching(&*block)?;
            f(&*block, within.as_ref())?;
        }
        Ok(())
    }
}

impl Querier for DbQuerier {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Box<dyn SeriesSet>, StoreError> {
        // The head first: see the page of this module's parent.
        let head =
            self.store
                .head
                .select(&self.snapshot, matchers, self.range, &hints.interrupt)?;
        let mut blocks = self.concerned(&self.blocks)?;
        let mut newer = Newer {
            from: blocks.len(),
            ..Newer::default()
        };
        for listed in self.newer_blocks() {
            for block in self.concerned(std::slice::from_ref(&listed))? {
                blocks.push(block);
                newer.flushes.push(listed.flush);
            }
        }
        if !newer.flushes.is_empty() {
            let cuts = self.store.head.cuts(&self.snapshot)?.into_iter();
            newer.cuts = cuts.map(|(hash, cut)| (stored_hash(hash), cut)).collect();
        }
        let mut parts = Vec::with_capacity(head.len());
        let mut left = Samples::default();
        for (number, source) in blocks.iter_mut().enumerate() {
            let ordinals = select_until(&*source.block, matchers, &hints.interrupt)?;
            for (at, ordinal) in ordinals.to_vec().into_iter().enumerate() {
                hints.interrupt.check_at(at)?;
                if source.tombstones.touch(ordinal) {
                    hints.interrupt.check()?;
                    source.read(ordinal, None, self.range, Detail::Markers, &mut left)?;
                    if left.is_empty() {
                        continue;
                    }
                }
                parts.push(Part {
                    hash: source.block.hash(ordinal)?,
                    source: number as u32,
                    place: source.records.push(ordinal),
                });
            }
            source.records.keep(&source.block)?;
        }
        for (place, series) in head.iter().enumerate() {
            parts.push(Part {
                hash: stored_hash(series.hash),
                source: blocks.len() as u32,
                place: place as u32,
            });
        }
        let selection = Selection::new(self.range, blocks, newer, head, parts, hints)?;
        Ok(Box::new(selection))
    }

    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        let mut names = BTreeSet::new();
        self.each_index(matchers, &mut |index, within| {
            index.names(within, &mut |name| {
                if !names.contains(name) {
                    names.insert(name.to_owned());
                }
            })
        })?;
        Ok(names.into_iter().collect())
    }

    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, StoreError> {
        let mut values = BTreeSet::new();
        self.each_index(matchers, &mut |index, within| {
            index.values(name, within, &mut |value| {
                if !values.contains(value) {
                    values.insert(value.to_owned());
                }
            })
        })?;
        Ok(values.into_iter().collect())
    }

    fn version(&self) -> Option<u64> {
        Some(self.version)
    }

    /// What came after the snapshot counts too: that errs on the safe side.
    fn unchanged_before(&self, version: u64) -> i64 {
        self.store.head.changes.unchanged_before(version)
    }
}
