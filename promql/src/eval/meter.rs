//! How many bytes the columns of the running query hold.
//!
//! Every series carries a [`Weight`]; what all weights alive on a thread add up to is what the
//! memory limit is compared with, so nothing has to be released by hand. A query is evaluated on
//! one thread.

use std::cell::Cell;

thread_local! {
    static LIVE: Cell<u64> = const { Cell::new(0) };
}

/// Bytes held by all weights of this thread.
pub(crate) fn live_bytes() -> u64 {
    LIVE.get()
}

/// Bytes that count as held until the weight is dropped. A clone counts once more.
#[derive(Debug)]
pub(crate) struct Weight(u64);

impl Weight {
    pub(crate) fn new(bytes: usize) -> Self {
        let mut weight = Self(0);
        weight.grow(bytes);
        weight
    }

    /// Counts `bytes` more.
    pub(crate) fn grow(&mut self, bytes: usize) {
        self.0 += bytes as u64;
        LIVE.set(LIVE.get() + bytes as u64);
    }
}

impl Clone for Weight {
    fn clone(&self) -> Self {
        Self::new(self.0 as usize)
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        LIVE.set(LIVE.get().saturating_sub(self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up_while_they_live() {
        let before = live_bytes();
        let mut a = Weight::new(100);
        let b = a.clone();
        a.grow(50);
        assert_eq!(live_bytes() - before, 250);
        drop(a);
        assert_eq!(live_bytes() - before, 100);
        drop(b);
        assert_eq!(live_bytes(), before);
    }
}
