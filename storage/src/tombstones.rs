//! Which samples of a block were deleted: kept in the manifest, honoured by every read, applied for
//! good by the next merge of the block.
//!
//! A tombstone names series by their numbers in the block, so it stays true whatever is stored
//! later: samples that come after the deletion are in other blocks.

use std::sync::Arc;

use croaring::{Bitmap, Portable};
use tenbin_model::TimeRange;

use crate::query::merge::Samples;

/// One deletion in one block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tombstone {
    pub(crate) range: TimeRange,
    /// Numbers of the series in the block.
    pub(crate) series: Bitmap,
}

impl Tombstone {
    /// The series as the manifest has them: a roaring bitmap in the portable format.
    pub(crate) fn series_bytes(&self) -> Vec<u8> {
        self.series.serialize::<Portable>()
    }

    /// A tombstone as the manifest has it; `None` when the bytes are no bitmap.
    pub(crate) fn decode(range: TimeRange, bytes: &[u8]) -> Option<Self> {
        let series = Bitmap::try_deserialize::<Portable>(bytes)?;
        series.internal_validate().ok()?;
        Some(Self { range, series })
    }
}

/// All deletions in one block.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tombstones(Arc<[Tombstone]>);

impl Tombstones {
    pub(crate) fn new(list: &[Tombstone]) -> Self {
        Self(list.into())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// These and one more.
    pub(crate) fn with(&self, more: Tombstone) -> Self {
        let mut list = self.0.to_vec();
        list.push(more);
        Self(list.into())
    }

    /// Whether something of a series was deleted.
    pub(crate) fn touch(&self, ordinal: u32) -> bool {
        self.0.iter().any(|t| t.series.contains(ordinal))
    }

    /// Whether the sample of a series at a timestamp was deleted.
    pub(crate) fn cover(&self, ordinal: u32, at_ms: i64) -> bool {
        let covers = |t: &Tombstone| t.range.contains(at_ms) && t.series.contains(ordinal);
        self.0.iter().any(covers)
    }

    /// Takes the deleted samples of a series out.
    pub(crate) fn apply(&self, ordinal: u32, samples: &mut Samples) {
        if self.touch(ordinal) {
            samples.retain(|at_ms| !self.cover(ordinal, at_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_series_and_times_go() {
        let one = Tombstone {
            range: TimeRange::new(10, 20),
            series: Bitmap::of(&[1, 5]),
        };
        let back = Tombstone::decode(one.range, &one.series_bytes()).unwrap();
        assert_eq!(back, one);
        assert!(Tombstone::decode(one.range, b"no bitmap").is_none());
        let all = Tombstones::default().with(one).with(Tombstone {
            range: TimeRange::new(25, 25),
            series: Bitmap::of(&[5]),
        });
        let columns = || Samples {
            floats: crate::query::merge::Columns {
                times: vec![9, 10, 20, 21, 25],
                values: vec![1.0, 2.0, 3.0, 4.0, 5.0],
                starts: vec![],
            },
            histograms: vec![],
        };
        let mut samples = columns();
        all.apply(2, &mut samples);
        assert!(samples.floats.times.len() == 5 && !all.touch(2));
        all.apply(1, &mut samples);
        assert_eq!(samples.floats.times, [9, 21, 25]);
        assert_eq!(samples.floats.values, [1.0, 4.0, 5.0]);
        let mut samples = columns();
        all.apply(5, &mut samples);
        assert_eq!(samples.floats.times, [9, 21]);
        assert!(all.cover(5, 25) && !all.cover(1, 25));
    }
}
