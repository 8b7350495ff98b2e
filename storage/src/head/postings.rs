//! The series that have a label pair: a short sorted list, or a bitmap when there are many.

use croaring::Bitmap;

/// Lists longer than this become bitmaps.
const MAX_LISTED: usize = 16;

/// A set of series ids.
#[derive(Debug)]
pub(crate) enum Postings {
    Listed(Vec<u32>),
    Bitmap(Bitmap),
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
                        let mut bitmap = Bitmap::of(ids);
                        bitmap.add(id);
                        *self = Self::Bitmap(bitmap);
                    }
                }
            }
            Self::Bitmap(bitmap) => bitmap.add(id),
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
            Self::Bitmap(bitmap) => {
                bitmap.remove(id);
                bitmap.is_empty()
            }
        }
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Listed(ids) => ids.len() as u64,
            Self::Bitmap(bitmap) => bitmap.cardinality(),
        }
    }

    /// Whether an id is in both.
    pub(crate) fn intersects(&self, other: &Bitmap) -> bool {
        match self {
            Self::Listed(ids) => ids.iter().any(|id| other.contains(*id)),
            Self::Bitmap(bitmap) => bitmap.intersect(other),
        }
    }

    pub(crate) fn add_to(&self, target: &mut Bitmap) {
        match self {
            Self::Listed(ids) => target.add_many(ids),
            Self::Bitmap(bitmap) => target.or_inplace(bitmap),
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
