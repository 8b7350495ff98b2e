//! The label pairs of each series of a lane: `uvarint pairs, uvarint pair id...`, in pages that never
//! move. A series' run of bytes lies in one page.

use smallvec::SmallVec;

use crate::codec::bytes::{Cursor, put_uvarint, uvarint_len};

/// Bytes of a page, unless one series needs more.
const PAGE: usize = 64 << 10;

/// Pair ids of one series.
pub(crate) type PairIds = SmallVec<[u32; 16]>;

/// All runs of a lane.
#[derive(Debug, Default)]
pub(crate) struct LabelArena {
    pages: Vec<Vec<u8>>,
    /// Bytes of runs, and of those that belong to nobody any more.
    used: usize,
    garbage: usize,
    scratch: Vec<u8>,
}

impl LabelArena {
    /// Adds the pairs of a series and returns their place.
    pub(crate) fn push(&mut self, pairs: &[u32]) -> u32 {
        let mut run = std::mem::take(&mut self.scratch);
        run.clear();
        put_uvarint(&mut run, pairs.len() as u64);
        for pair in pairs {
            put_uvarint(&mut run, u64::from(*pair));
        }
        self.used += run.len();
        let fits = |page: &Vec<u8>| page.len() + run.len() <= PAGE;
        if !self.pages.last().is_some_and(fits) {
            self.pages.push(Vec::with_capacity(PAGE.max(run.len())));
        }
        let number = self.pages.len() - 1;
        let page = &mut self.pages[number];
        let at = number * PAGE + page.len();
        page.extend_from_slice(&run);
        self.scratch = run;
        at as u32
    }

    /// The pairs at a place that [`Self::push`] returned, in name order.
    pub(crate) fn pairs(&self, at: u32) -> PairIds {
        let at = at as usize;
        let mut cursor = Cursor::new(&self.pages[at / PAGE][at % PAGE..]);
        // What was written to memory by `push` decodes.
        let mut number = || cursor.uvarint().unwrap_or_default() as u32;
        let count = number();
        (0..count).map(|_| number()).collect()
    }

    /// Says that the run at a place belongs to nobody any more.
    pub(crate) fn forget(&mut self, at: u32) {
        let pairs = self.pairs(at);
        let in_pairs = pairs.iter().map(|pair| uvarint_len(u64::from(*pair)));
        self.garbage += uvarint_len(pairs.len() as u64) + in_pairs.sum::<usize>();
    }

    /// Whether most bytes belong to nobody.
    pub(crate) fn is_wasteful(&self) -> bool {
        self.garbage * 2 > self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_come_back_also_across_pages() {
        let mut arena = LabelArena::default();
        let lists: Vec<Vec<u32>> = (0..30_000_u32)
            .map(|i| (0..i % 12).map(|k| i.wrapping_mul(k * k * 977)).collect())
            .collect();
        let long: Vec<u32> = (0..40_000).collect();
        let at: Vec<u32> = lists.iter().map(|pairs| arena.push(pairs)).collect();
        let at_long = arena.push(&long);
        let after = arena.push(&[7, u32::MAX]);
        assert!(arena.pages.len() > 3);
        for (at, pairs) in at.iter().zip(&lists) {
            assert_eq!(arena.pairs(*at).as_slice(), pairs);
        }
        assert_eq!(arena.pairs(at_long).as_slice(), long);
        assert_eq!(arena.pairs(after).as_slice(), [7, u32::MAX]);
        assert!(!arena.is_wasteful());
        for at in at.into_iter().chain([at_long, after]) {
            arena.forget(at);
        }
        assert!(arena.is_wasteful());
        assert_eq!(arena.garbage, arena.used);
    }
}
