//! How a store in the middle of its work learns that nobody waits for the answer any more.
//!
//! The consumer says how to ask; the store asks once in a few thousand items and gives up with
//! [`StoreError::Interrupted`]. Without a question there is no interruption.

use std::sync::Arc;

use crate::query::StoreError;

/// Items between two looks of a loop that does little per item.
const ITEMS_BETWEEN_LOOKS: usize = 1 << 10;

/// The question whether the work at hand was given up.
#[derive(Clone, Default)]
pub struct Interrupt(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Interrupt {
    /// Work that is given up when `is_given_up` says so. It is asked from any thread, and often.
    #[must_use]
    pub fn new(is_given_up: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_given_up)))
    }

    /// Looks up from work.
    ///
    /// # Errors
    /// [`StoreError::Interrupted`] when the work was given up.
    pub fn check(&self) -> Result<(), StoreError> {
        match &self.0 {
            Some(is_given_up) if is_given_up() => Err(StoreError::Interrupted),
            _ => Ok(()),
        }
    }

    /// As [`Interrupt::check`], once in a while: for loops that do little per item. `item` counts up.
    ///
    /// # Errors
    /// As for [`Interrupt::check`].
    pub fn check_at(&self, item: usize) -> Result<(), StoreError> {
        if item.is_multiple_of(ITEMS_BETWEEN_LOOKS) {
            self.check()?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "Interrupt(asks)"
        } else {
            "Interrupt(never)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn it_is_asked_now_and_then() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let third = Interrupt::new(move || count.fetch_add(1, Ordering::Relaxed) == 2);
        let stopped = (0..1_000_000).find(|item| third.check_at(*item).is_err());
        assert_eq!(stopped, Some(2 * ITEMS_BETWEEN_LOOKS));
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        assert!((0..1_000_000).all(|item| Interrupt::default().check_at(item).is_ok()));
    }
}
