//! Lists that keep their memory from request to request, per thread: fresh pages for every request
//! would cost more than filling them.

use std::cell::RefCell;
use std::thread::LocalKey;

/// A list that grew beyond this many bytes is given back.
const KEEP_BYTES: usize = 1 << 20;

/// Takes the list that the thread keeps, empty.
pub(super) fn take<T>(kept: &'static LocalKey<RefCell<Vec<T>>>) -> Vec<T> {
    kept.try_with(RefCell::take).unwrap_or_default()
}

/// Leaves a list to the thread for its next request.
pub(super) fn keep<T>(kept: &'static LocalKey<RefCell<Vec<T>>>, mut list: Vec<T>) {
    if list.capacity() * size_of::<T>() <= KEEP_BYTES {
        list.clear();
        // While the thread ends there is nobody to keep it for.
        let _ = kept.try_with(|kept| kept.replace(list));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static KEPT: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }

    #[test]
    fn memory_comes_back_empty_and_bounded() {
        let mut list = take(&KEPT);
        list.extend(0..1000);
        let capacity = list.capacity();
        keep(&KEPT, list);
        let list = take(&KEPT);
        assert!(list.is_empty() && list.capacity() == capacity);
        assert_eq!(take(&KEPT).capacity(), 0, "it is taken once");
        keep(&KEPT, Vec::with_capacity(KEEP_BYTES));
        assert_eq!(take(&KEPT).capacity(), 0);
    }
}
