//! How many bytes the columns of the running query hold.
//!
//! Every series carries a [`Weight`]; what all weights of a query add up to is what the memory
//! limit is compared with, so nothing has to be released by hand. A weight counts in the meter
//! that its thread had entered when it was made, wherever it is dropped.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static CURRENT: RefCell<Meter> = RefCell::default();
}

/// The bytes held by all weights of one query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<AtomicU64>);

impl Meter {
    /// Bytes held now.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Weights made on this thread count here until the result is dropped.
    pub(crate) fn enter(&self) -> Entered {
        Entered(CURRENT.replace(self.clone()))
    }
}

/// Goes back to the meter before when dropped.
#[derive(Debug)]
pub(crate) struct Entered(Meter);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.replace(std::mem::take(&mut self.0));
    }
}

/// Bytes that count as held until the weight is dropped. A clone counts once more.
#[derive(Debug)]
pub(crate) struct Weight {
    bytes: u64,
    meter: Meter,
}

impl Weight {
    pub(crate) fn new(bytes: usize) -> Self {
        let mut weight = Self {
            bytes: 0,
            meter: CURRENT.with_borrow(Meter::clone),
        };
        weight.grow(bytes);
        weight
    }

    /// Bytes counted.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts `bytes` more.
    pub(crate) fn grow(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.meter.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Clone for Weight {
    fn clone(&self) -> Self {
        Self::new(self.bytes as usize)
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.meter.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up_while_they_live() {
        let meter = Meter::default();
        let entered = meter.enter();
        let mut a = Weight::new(100);
        let b = a.clone();
        a.grow(50);
        assert_eq!(meter.live_bytes(), 250);
        drop(a);
        drop(entered);
        let _elsewhere = Weight::new(10);
        assert_eq!(meter.live_bytes(), 100);
        std::thread::spawn(move || drop(b)).join().unwrap();
        assert_eq!(meter.live_bytes(), 0);
    }
}
