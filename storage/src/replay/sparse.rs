//! Values by 32-bit number, small for dense numbers and bounded for any: 16 neighbours are kept
//! together, found through regions of 4096.
//!
//! A place stays valid as long as the array.

use hashbrown::HashMap;

use crate::head::paged::Paged;

/// Values that are found together.
const PAGE: u32 = 16;

/// Numbers whose pages are found together; few, since numbers may be anything.
const REGION: u32 = 1 << 12;

/// Pages of a region.
const PAGES: usize = (REGION / PAGE) as usize;

/// No page.
const NONE: u32 = u32::MAX;

/// A value that can say that it is none.
pub(super) trait Absent: Copy {
    /// What stands where nothing was put.
    const ABSENT: Self;

    fn is_absent(&self) -> bool;
}

/// Where the value of a number stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u32);

/// See the module page.
pub(super) struct Sparse<T> {
    /// By number / [`REGION`]: place in `regions`.
    region_places: HashMap<u32, usize, foldhash::fast::RandomState>,
    last_region: Option<(u32, usize)>,
    /// Places in `pages` of the pages of a region, or [`NONE`].
    regions: Vec<[u32; PAGES]>,
    pages: Paged<[T; PAGE as usize], 256>,
}

impl<T> Default for Sparse<T> {
    fn default() -> Self {
        Self {
            region_places: HashMap::default(),
            last_region: None,
            regions: Vec::new(),
            pages: Paged::default(),
        }
    }
}

impl<T: Absent> Sparse<T> {
    /// Where the value of a number is, if there is one.
    #[inline]
    pub(super) fn place(&mut self, number: u32) -> Option<Place> {
        let region = match self.last_region {
            Some((last, at)) if last == number / REGION => at,
            _ => {
                let at = *self.region_places.get(&(number / REGION))?;
                self.last_region = Some((number / REGION, at));
                at
            }
        };
        let page = self.regions[region][(number % REGION / PAGE) as usize];
        if page == NONE {
            return None;
        }
        let place = Place(page * PAGE + number % PAGE);
        (!self.at(place).is_absent()).then_some(place)
    }

    #[inline]
    pub(super) fn at(&self, place: Place) -> &T {
        &self.pages[(place.0 / PAGE) as usize][(place.0 % PAGE) as usize]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, place: Place) -> &mut T {
        &mut self.pages[(place.0 / PAGE) as usize][(place.0 % PAGE) as usize]
    }

    pub(super) fn put(&mut self, number: u32, value: T) {
        let regions = &mut self.regions;
        let region = self.region_places.entry(number / REGION);
        let region = *region.or_insert_with(|| {
            regions.push([NONE; PAGES]);
            regions.len() - 1
        });
        let page = &mut regions[region][(number % REGION / PAGE) as usize];
        if *page == NONE {
            *page = self.pages.len() as u32;
            self.pages.push([T::ABSENT; PAGE as usize]);
        }
        self.pages[*page as usize][(number % PAGE) as usize] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    impl Absent for u64 {
        const ABSENT: Self = 0;

        fn is_absent(&self) -> bool {
            *self == 0
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(puts in prop::collection::vec(
            (prop_oneof![0_u32..70, 4090_u32..4100, any::<u32>()], 1_u64..100), 0..60)) {
            let (mut sparse, mut model) = (Sparse::default(), BTreeMap::new());
            for (number, value) in puts {
                sparse.put(number, value);
                model.insert(number, value);
                for near in [number, number.wrapping_add(1), number ^ 16, number / 2] {
                    let found = sparse.place(near).map(|place| *sparse.at(place));
                    prop_assert_eq!(found, model.get(&near).copied());
                }
            }
        }
    }
}
