//! Buffers for request bodies that keep their memory from request to request.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::Mutex;

/// Buffers kept at most.
const MAX_KEPT: usize = 64;

/// A buffer that grew beyond this many bytes is given back.
const KEEP_BYTES: usize = 256 << 10;

/// The buffers that nobody uses now.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// An empty buffer.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Buffer {
        Buffer {
            bytes: self.0.lock().pop().unwrap_or_default(),
            home: Arc::clone(self),
        }
    }
}

/// A buffer on loan; its memory goes back when it is dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: Arc<Buffers>,
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut kept = self.home.0.lock();
        if bytes.capacity() <= KEEP_BYTES && kept.len() < MAX_KEPT {
            bytes.clear();
            kept.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_lent_again_empty_and_bounded() {
        let buffers = Arc::new(Buffers::default());
        let mut first = buffers.take();
        first.extend([1; 1000]);
        drop(first);
        let again = buffers.take();
        assert!(again.is_empty() && again.capacity() >= 1000);
        let mut large = buffers.take();
        large.reserve(KEEP_BYTES + 1);
        drop(large);
        assert_eq!(buffers.take().capacity(), 0);
        let many: Vec<Buffer> = (0..2 * MAX_KEPT).map(|_| buffers.take()).collect();
        drop(many);
        assert_eq!(buffers.0.lock().len(), MAX_KEPT);
    }
}
