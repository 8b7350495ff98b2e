//! Walks the frames of a segment and tells a torn tail from damage.
//!
//! A frame that does not verify is followed by a search for a later frame that does. If the frames
//! between were known durable (by a mark in a later frame, or because a later segment exists), they
//! are lost to damage: a gap, reported, and the walk goes on behind it. Otherwise the crash tore an
//! unacknowledged tail: the log ends before it.

use super::frame::{FRAME_HEADER_BYTES, Frame};
use super::segment::{HEADER_BYTES, SegmentHeader};

/// What the walk met.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// The next frame.
    Frame(Frame<'a>),
    /// Damage from `offset` to `resume`; the frames `lost` are gone.
    Gap {
        offset: usize,
        resume: usize,
        lost: std::ops::Range<u64>,
    },
    /// The log ends at `offset`; `torn` when what follows is not the writer's end mark.
    End { offset: usize, torn: bool },
}

/// Walks one segment.
pub(crate) struct Scan<'a> {
    bytes: &'a [u8],
    header: SegmentHeader,
    offset: usize,
    next_lsn: u64,
    /// Every LSN up to this is known to have been durable.
    durable_lsn: u64,
    done: bool,
}

impl<'a> Scan<'a> {
    /// A walk over `bytes`, whose header is `header`. `sealed_at`: the first LSN after this segment
    /// when it is known to be complete.
    pub(crate) fn new(bytes: &'a [u8], header: SegmentHeader, sealed_at: Option<u64>) -> Self {
        Self {
            bytes,
            header,
            offset: HEADER_BYTES,
            next_lsn: header.first_lsn,
            durable_lsn: sealed_at.map_or(0, |lsn| lsn.saturating_sub(1)),
            done: false,
        }
    }

    /// The next thing in the segment; `None` after the end.
    pub(crate) fn step(&mut self) -> Option<Step<'a>> {
        if self.done {
            return None;
        }
        if let Some(frame) = Frame::at(self.bytes, self.offset, &self.header, self.next_lsn)
            && frame.lsn == self.next_lsn
        {
            self.offset = frame.end;
            self.next_lsn = frame.lsn + 1;
            self.durable_lsn = self.durable_lsn.max(frame.durable_lsn);
            return Some(Step::Frame(frame));
        }
        let (found, best_mark) = self.search();
        let damaged_at = self.offset;
        if let Some(frame) = found
            && best_mark >= self.next_lsn
        {
            let resume = frame.0;
            let lost = self.next_lsn..frame.1;
            self.offset = resume;
            self.next_lsn = frame.1;
            return Some(Step::Gap {
                offset: damaged_at,
                resume,
                lost,
            });
        }
        self.done = true;
        if self.durable_lsn >= self.next_lsn {
            return Some(Step::Gap {
                offset: damaged_at,
                resume: self.bytes.len(),
                lost: self.next_lsn..self.durable_lsn + 1,
            });
        }
        // Farther behind may be what the file held before it was recycled.
        let rest = self.bytes.get(damaged_at..).unwrap_or_default();
        let mut mark = rest.iter().take(FRAME_HEADER_BYTES);
        Some(Step::End {
            offset: damaged_at,
            torn: found.is_some() || mark.any(|byte| *byte != 0),
        })
    }

    /// The first later frame that verifies (offset, LSN), and the best durability mark of all.
    fn search(&self) -> (Option<(usize, u64)>, u64) {
        let mut first = None;
        let mut best_mark = self.durable_lsn;
        let mut at = self.offset + 8;
        let mut min_lsn = self.next_lsn;
        while at + 8 <= self.bytes.len() {
            // Most of what is searched is the zeros of a preallocated file.
            if self.bytes[at..at + 8] == [0; 8] {
                at += 8;
                continue;
            }
            match Frame::at(self.bytes, at, &self.header, min_lsn) {
                Some(frame) => {
                    best_mark = best_mark.max(frame.durable_lsn);
                    if first.is_none() {
                        first = Some((at, frame.lsn));
                    }
                    min_lsn = frame.lsn + 1;
                    at = frame.end;
                }
                None => at += 8,
            }
        }
        (first, best_mark)
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame;
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        seq: 1,
        salt: 7,
        created_ms: 0,
        first_lsn: 10,
    };

    /// Frames 10..14, each written when all before it were durable (`marks`) or none.
    fn segment(marks: bool) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = HEADER.encode().to_vec();
        let mut offsets = Vec::new();
        for lsn in 10..14 {
            offsets.push(bytes.len());
            let durable = if marks { lsn - 1 } else { 9 };
            frame::encode(&mut bytes, 7, lsn, durable, &[lsn as u8; 40]);
        }
        bytes.resize(bytes.len() + 256, 0);
        (bytes, offsets)
    }

    fn walk(bytes: &[u8], sealed_at: Option<u64>) -> (Vec<u64>, Vec<(u64, u64)>, bool) {
        let mut scan = Scan::new(bytes, HEADER, sealed_at);
        let (mut lsns, mut gaps, mut torn_tail) = (Vec::new(), Vec::new(), false);
        while let Some(step) = scan.step() {
            match step {
                Step::Frame(frame) => lsns.push(frame.lsn),
                Step::Gap { lost, .. } => gaps.push((lost.start, lost.end)),
                Step::End { torn, .. } => torn_tail = torn,
            }
        }
        (lsns, gaps, torn_tail)
    }

    #[test]
    fn an_intact_segment_is_walked_to_its_end() {
        let (bytes, _) = segment(true);
        assert_eq!(walk(&bytes, None), (vec![10, 11, 12, 13], vec![], false));
    }

    #[test]
    fn damage_below_a_durability_mark_is_a_gap() {
        let (mut bytes, offsets) = segment(true);
        bytes[offsets[1] + 33] ^= 1;
        assert_eq!(
            walk(&bytes, None),
            (vec![10, 12, 13], vec![(11, 12)], false)
        );
    }

    #[test]
    fn damage_beyond_every_mark_is_a_torn_tail() {
        let (mut bytes, offsets) = segment(false);
        bytes[offsets[1] + 33] ^= 1;
        assert_eq!(walk(&bytes, None), (vec![10], vec![], true));
        assert_eq!(
            walk(&bytes, Some(14)),
            (vec![10, 12, 13], vec![(11, 12)], false),
            "but not when a later segment proves that this one was complete"
        );
    }

    #[test]
    fn a_lost_end_of_a_sealed_segment_is_a_gap() {
        let (bytes, offsets) = segment(true);
        let cut = &bytes[..offsets[2]];
        assert_eq!(walk(cut, Some(14)), (vec![10, 11], vec![(12, 14)], false));
        assert_eq!(walk(cut, None), (vec![10, 11], vec![], false));
    }
}
