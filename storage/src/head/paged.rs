//! A growing array whose elements never move: pages of a fixed size instead of one allocation that
//! doubles. Growing touches no memory twice and needs no second copy for a moment, which is most of
//! what a million new series used to cost.

use std::ops::{Index, IndexMut};

/// Elements in pages of `PAGE`, a power of two.
#[derive(Debug)]
pub(crate) struct Paged<T, const PAGE: usize> {
    /// All but the last are full.
    pages: Vec<Vec<T>>,
}

impl<T, const PAGE: usize> Default for Paged<T, PAGE> {
    fn default() -> Self {
        const { assert!(PAGE.is_power_of_two()) };
        Self { pages: Vec::new() }
    }
}

impl<T, const PAGE: usize> Paged<T, PAGE> {
    pub(crate) fn len(&self) -> usize {
        match self.pages.split_last() {
            Some((last, full)) => full.len() * PAGE + last.len(),
            None => 0,
        }
    }

    pub(crate) fn push(&mut self, element: T) {
        match self.pages.last_mut() {
            Some(last) if last.len() < PAGE => last.push(element),
            _ => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(element);
                self.pages.push(page);
            }
        }
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.pages.get(at / PAGE)?.get(at % PAGE)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pages.iter_mut().flatten()
    }
}

impl<T, const PAGE: usize> Index<usize> for Paged<T, PAGE> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.pages[at / PAGE][at % PAGE]
    }
}

impl<T, const PAGE: usize> IndexMut<usize> for Paged<T, PAGE> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.pages[at / PAGE][at % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_where_they_are() {
        let mut paged = Paged::<u64, 8>::default();
        assert_eq!((paged.len(), paged.get(0)), (0, None));
        paged.push(0);
        let first: *const u64 = &raw const paged[0];
        for i in 1..100 {
            assert_eq!(paged.len(), i);
            paged.push(i as u64);
        }
        assert!(std::ptr::eq(first, &raw const paged[0]));
        paged[17] = 1000;
        paged.iter_mut().for_each(|e| *e += 1);
        assert_eq!((paged[16], paged[17], paged[99]), (17, 1001, 100));
        assert_eq!((paged.get(99), paged.get(100)), (Some(&100), None));
    }
}
