//! A value that shares its cache line with nothing: threads that change neighbours do not wait for
//! each other's caches.

use std::ops::Deref;

/// Aligned to a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct OwnLine<T>(pub(crate) T);

impl<T> Deref for OwnLine<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}
