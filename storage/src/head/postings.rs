//! The series that have a label pair: a short sorted list, or a bitmap when there are many.

use std::ops::Range;

use croaring::Bitmap;

/// Lists longer than this become bitmaps.
const MAX_LISTED: usize = 16;

/// A set of series ids.
#[derive(Debug)]
pub(crate) enum Postings {
    Listed(Vec<u32>),
    Many(Box<Many>),
}

/// A bitmap, and ids that came one behind the other since: the series of a target share most of
/// their pairs and come together, so most ids only move the end of the run.
#[derive(Debug)]
pub(crate) struct Many {
    bitmap: Bitmap,
    run: Range<u32>,
}

impl Many {
    /// Puts the run into the bitmap.
    fn settle(&mut self) {
        self.bitmap.add_range(self.run.clone());
        self.run = 0..0;
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
                        let many = Many {
                            bitmap: Bitmap::of(ids),
                            run: id..id + 1,
                        };
                        *self = Self::Many(Box::new(many));
                    }
                }
            }
            Self::Many(many) if many.run.end == id => many.run.end += 1,
            Self::Many(many) => {
                many.settle();
                many.run = id..id + 1;
            }
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
            Self::Many(many) => {
                // An id may be in both.
                let twice = many.bitmap.range_cardinality(many.run.clone());
                many.bitmap.cardinality() + many.run.len() as u64 - twice
            }
        }
    }

    /// Whether an id is in both.
    pub(crate) fn intersects(&self, other: &Bitmap) -> bool {
        match self {
            Self::Listed(ids) => ids.iter().any(|id| other.contains(*id)),
            Self::Many(many) => {
                many.bitmap.intersect(other) || other.range_cardinality(many.run.clone()) > 0
            }
        }
    }

    pub(crate) fn add_to(&self, target: &mut Bitmap) {
        match self {
            Self::Listed(ids) => target.add_many(ids),
            Self::Many(many) => {
                target.or_inplace(&many.bitmap);
                target.add_range(many.run.clone());
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
        fn behaves_like_a_set(steps in prop::collection::vec((any::<bool>(), 0_u32..60), 0..200)) {
            let (mut postings, mut model) = (Postings::default(), BTreeSet::new());
            for (add, id) in steps {
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
