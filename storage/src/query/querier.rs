//! Answers the questions of [`tenbin_model::Querier`] from head and blocks.

use std::collections::BTreeSet;
use std::sync::Arc;

use croaring::Bitmap;
use tenbin_model::{Matcher, Querier, Queryable, SelectHints, SeriesSet, StoreError, TimeRange};

use super::matching::{LabelIndex, select};
use super::set::{Part, Selection};
use crate::block::reader::Block;
use crate::db::{Db, Store};

impl Queryable for Db {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier>, StoreError> {
        if self.is_closed() {
            return Err(StoreError::NotReady);
        }
        Ok(Box::new(DbQuerier {
            store: Arc::clone(self.store()),
            range,
        }))
    }
}

/// Receives a label index and the series in it that match (`None`: all).
type Visit<'a> = dyn FnMut(&dyn LabelIndex, Option<&Bitmap>) -> Result<(), StoreError> + 'a;

/// A view of a database over a time range.
struct DbQuerier {
    store: Arc<Store>,
    range: TimeRange,
}

impl DbQuerier {
    /// The blocks that overlap the range, oldest first; fails when one of them is damaged.
    fn blocks(&self) -> Result<Vec<Arc<Block>>, StoreError> {
        let mut blocks = Vec::new();
        for listed in self.store.blocks.load().iter() {
            let range = TimeRange::new(listed.entry.min_ms, listed.entry.max_ms);
            if self.range.overlaps(range) {
                match &listed.block {
                    Ok(block) => blocks.push(Arc::clone(block)),
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
                    || !lane.flushing_late.is_empty();
                if concerned {
                    let within = matching(lane)?;
                    f(lane, within.as_ref())?;
                }
                Ok::<_, StoreError>(())
            })?;
        }
        for block in self.blocks()? {
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
        let head = self.store.head.select(matchers, self.range)?;
        let blocks = self.blocks()?;
        let mut parts = Vec::with_capacity(head.len());
        for (source, block) in blocks.iter().enumerate() {
            for ordinal in select(&**block, matchers)?.to_vec() {
                parts.push(Part {
                    hash: block.hash(ordinal)?,
                    source: source as u32,
                    ordinal,
                });
            }
        }
        for (ordinal, series) in head.iter().enumerate() {
            parts.push(Part {
                hash: series.hash,
                source: blocks.len() as u32,
                ordinal: ordinal as u32,
            });
        }
        let selection = Selection::new(self.range, blocks, head, parts, hints.sorted)?;
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
}
