//! The series that have a label pair: a short sorted list, or a bitmap when there are many.

use std::borrow::Cow;
use std::ops::Range;

use croaring::Bitmap;
use smallvec::SmallVec;

/// Lists longer than this become bitmaps.
const MAX_LISTED: usize = 16;

/// A set of series ids.
#[derive(Debug)]
pub(crate) enum Postings {
    Listed(Vec<u32>),
    Many(Box<Many>),
}

/// Runs that wait for the bitmap at most.
const MAX_WAITING: usize = 15;

/// A bitmap, and runs of ids that came since: the series of a target share most of their pairs and
/// come together, so most ids only move the end of the last run; and a metric's pair comes once per
/// target, so that single ids are put into the bitmap in numbers.
#[derive(Debug)]
pub(crate) struct Many {
    bitmap: Bitmap,
    waiting: Vec<Range<u32>>,
    run: Range<u32>,
}

impl Many {
    fn new(ids: &[u32], id: u32) -> Self {
        Self {
            bitmap: Bitmap::of(ids),
            waiting: Vec::new(),
            run: id..id + 1,
        }
    }

    fn add(&mut self, id: u32) {
        if self.run.end == id {
            self.run.end += 1;
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.settle();
        } else {
            self.waiting.push(self.run.clone());
        }
        self.run = id..id + 1;
    }

    /// What is not in the bitmap yet; an id may be in several of these, and in the bitmap too.
    fn runs(&self) -> impl Iterator<Item = &Range<u32>> {
        self.waiting.iter().chain([&self.run])
    }

    /// Puts all runs into the bitmap.
    fn settle(&mut self) {
        let mut singles: SmallVec<[u32; MAX_WAITING + 1]> = SmallVec::new();
        for run in self.waiting.drain(..).chain([self.run.clone()]) {
            match run.len() {
                1 => singles.push(run.start),
                _ => self.bitmap.add_range(run),
            }
        }
        self.bitmap.add_many(&singles);
        self.run = 0..0;
    }

    /// The bitmap with all runs.
    fn settled(&self) -> Cow<'_, Bitmap> {
        if self.waiting.is_empty() && self.run.is_empty() {
            return Cow::Borrowed(&self.bitmap);
        }
        let mut all = self.bitmap.clone();
        for run in self.runs() {
            all.add_range(run.clone());
        }
        Cow::Owned(all)
    }
}

impl Default for Postings {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl Postings {
    pub(crate) fn add(&mut self, id: u32) {
        match self {
            Self::Listed(ids) => {
                if let Err(at) = ids.binary_search(&id) {
                    if ids.len() < MAX_LISTED {
                        ids.insert(at, id);
                    } else {
                        *self = Self::Many(Box::new(Many::new(ids, id)));
                    }
                }
            }
            Self::Many(many) => many.add(id),
        }
    }

    /// Takes an id out; returns whether the set is empty now.
    pub(crate) fn remove(&mut self, id: u32) -> bool {
        match self {
            Self::Listed(ids) => {
                if let Ok(at) = ids.binary_search(&id) {
                    ids.remove(at);
                }
                ids.is_empty()
            }
            Self::Many(many) => {
                many.settle();
                many.bitmap.remove(id);
                many.bitmap.is_empty()
            }
        }
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Listed(ids) => ids.len() as u64,
            Self::Many(many) => many.settled().cardinality(),
        }
    }

    /// Whether an id is in both.
    pub(crate) fn intersects(&self, other: &Bitmap) -> bool {
        match self {
            Self::Listed(ids) => ids.iter().any(|id| other.contains(*id)),
            Self::Many(many) => {
                let mut runs = many.runs();
                runs.any(|run| other.range_cardinality(run.clone()) > 0)
                    || many.bitmap.intersect(other)
            }
        }
    }

    pub(crate) fn add_to(&self, target: &mut Bitmap) {
        match self {
            Self::Listed(ids) => target.add_many(ids),
            Self::Many(many) => {
                target.or_inplace(&many.bitmap);
                for run in many.runs() {
                    target.add_range(run.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_like_a_set(steps in prop::collection::vec((any::<bool>(), 0_u32..60), 0..200), appends in 0_usize..120) {
            let (mut postings, mut model) = (Postings::default(), BTreeSet::new());
            // Ascending with gaps, as new series come, before anything goes.
            let appended = (0..appends).map(|i| (true, (i * i % 7 + 8 * i) as u32 / 4));
            for (add, id) in appended.chain(steps) {
                if add {
                    postings.add(id);
                    model.insert(id);
                } else {
                    model.remove(&id);
                    prop_assert_eq!(postings.remove(id), model.is_empty());
                }
                prop_assert_eq!(postings.len(), model.len() as u64);
            }
            let mut bitmap = Bitmap::new();
            postings.add_to(&mut bitmap);
            prop_assert_eq!(postings.intersects(&Bitmap::of(&[3, 59])), model.contains(&3) || model.contains(&59));
            prop_assert_eq!(bitmap.to_vec(), model.into_iter().collect::<Vec<_>>());
        }
    }
}
