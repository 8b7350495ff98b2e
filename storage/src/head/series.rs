//! The header of a head series: one cache line with everything that an unchanged sample needs.

use super::slab::NO_CLASS;

/// The series has had an in-order sample, float or histogram.
pub(crate) const HAS_SAMPLES: u8 = 1;
/// A row of the series stands in the current WAL segment (the epoch of the header).
pub(crate) const HAS_ROW: u8 = 2;
/// Full chunks of the series wait for the flush beside the open one.
pub(crate) const HAS_SEALED: u8 = 4;
/// Late samples of the series are in memory.
pub(crate) const HAS_LATE: u8 = 8;
/// Histograms or start timestamps of the series are, or were, in memory beside its chunks.
pub(crate) const HAS_SIDE: u8 = 16;
/// The newest in-order sample is a histogram; `last_bits` is an older float then.
pub(crate) const LAST_IS_HISTOGRAM: u8 = 32;
/// The newest sample was deleted.
pub(crate) const LAST_GONE: u8 = 64;
/// The slot belongs to no series.
pub(crate) const DEAD: u8 = 128;

/// A series of a lane. See the module page of [`super::chunk`] for the chunk fields.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(crate) struct Series {
    /// Hash of the encoded labels that the sender repeats; 0 = not known (after replay).
    pub(crate) key_hash: u64,
    /// Newest in-order sample, float or histogram.
    pub(crate) last_ms: i64,
    /// Value bits of the newest in-order float.
    pub(crate) last_bits: u64,
    /// Slot of the open chunk.
    pub(crate) slot: u32,
    /// Bits used in the open chunk.
    pub(crate) bit_len: u32,
    /// Last difference of timestamps, as the chunk coding has it.
    pub(crate) delta_ms: i32,
    /// Samples at the end of the open chunk that repeat value and delta and are not coded yet.
    pub(crate) run: u16,
    /// Samples in the open chunk, the run included.
    pub(crate) count: u16,
    /// Place of the label pairs in the lane's [`super::label_arena::LabelArena`].
    pub(crate) labels: u32,
    /// The series that followed this one in the last request.
    pub(crate) next_id: u32,
    /// The WAL segment that has this series' definition.
    pub(crate) wal_epoch: u32,
    /// Window of significant bits of the chunk coding.
    pub(crate) lead: u8,
    pub(crate) significant: u8,
    /// Slab class of the open chunk, [`NO_CLASS`] without one.
    pub(crate) class: u8,
    pub(crate) flags: u8,
}

const _: () = assert!(size_of::<Series>() == 64);

impl Series {
    pub(crate) fn new(id: u32, key_hash: u64, labels: u32) -> Self {
        Self {
            key_hash,
            last_ms: i64::MIN,
            last_bits: 0,
            slot: 0,
            bit_len: 0,
            delta_ms: 0,
            run: 0,
            count: 0,
            labels,
            next_id: id.wrapping_add(1),
            wal_epoch: 0,
            lead: 0,
            significant: 0,
            class: NO_CLASS,
            flags: 0,
        }
    }

    #[inline]
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn set(&mut self, flag: u8, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }
}
