//! The series of a block that a selection found, by number, with their records where there are not too many.
//!
//! A selection hands out series in the order of their label hashes, which is none that a block knows; a record
//! is coded against the one before. So records are read here once, in the block's order.

use crate::block::reader::Block;
use crate::block::series::{Record, RecordCache};
use crate::error::Corruption;

/// Records of more series than this are read when they are needed.
const MAX_KEPT: usize = 1 << 16;

/// Series of one block; their places here are what parts refer to.
#[derive(Debug, Default)]
pub(super) struct Records {
    ordinals: Vec<u32>,
    /// As many as `ordinals`, or none.
    kept: Vec<Kept>,
    pairs: Vec<u32>,
    run_bytes: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    sample_count: usize,
    times_at: usize,
    values_at: usize,
    /// Ends of its pairs and runs.
    pairs_end: usize,
    runs_end: usize,
}

impl Records {
    /// The number of a series in its block.
    pub(super) fn ordinal(&self, place: u32) -> u32 {
        self.ordinals[place as usize]
    }

    /// The record of a series, if it was kept.
    pub(super) fn kept(&self, place: u32) -> Option<Record<'_>> {
        let place = place as usize;
        let kept = self.kept.get(place)?;
        let before = place.checked_sub(1).map(|before| self.kept[before]);
        let (pairs, runs) = before.map_or((0, 0), |before| (before.pairs_end, before.runs_end));
        Some(Record {
            pairs: &self.pairs[pairs..kept.pairs_end],
            sample_count: kept.sample_count,
            times_at: kept.times_at,
            values_at: kept.values_at,
            run_bytes: &self.run_bytes[runs..kept.runs_end],
        })
    }

    /// Adds a series; returns its place.
    pub(super) fn push(&mut self, ordinal: u32) -> u32 {
        self.ordinals.push(ordinal);
        self.ordinals.len() as u32 - 1
    }

    /// Reads the records of all series, if they are few enough.
    pub(super) fn keep(&mut self, block: &Block) -> Result<(), Corruption> {
        if self.ordinals.len() > MAX_KEPT {
            return Ok(());
        }
        self.kept.reserve_exact(self.ordinals.len());
        let mut cache = RecordCache::EMPTY;
        for ordinal in &self.ordinals {
            let record = block.record_from(*ordinal, &mut cache)?;
            self.pairs.extend_from_slice(record.pairs);
            self.run_bytes.extend_from_slice(record.run_bytes);
            self.kept.push(Kept {
                sample_count: record.sample_count,
                times_at: record.times_at,
                values_at: record.values_at,
                pairs_end: self.pairs.len(),
                runs_end: self.run_bytes.len(),
            });
        }
        Ok(())
    }
}
