//! Memory of the open chunks: slots of a few sizes, in pages per size, reused through free lists.

use crate::vfs::prefetch;

/// Slot sizes in bytes; each a multiple of 16.
const CLASSES: [usize; 17] = [
    32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192,
];

/// A power of two, so that finding a slot takes no division.
const SLOTS_PER_PAGE: usize = 64;

/// Class number that means "no slot".
pub(crate) const NO_CLASS: u8 = u8::MAX;

#[derive(Debug, Default)]
struct Pool {
    pages: Vec<Box<[u8]>>,
    used: u32,
    free: Vec<u32>,
}

impl Pool {
    fn place(size: usize, slot: u32) -> (usize, usize) {
        let slot = slot as usize;
        (slot / SLOTS_PER_PAGE, slot % SLOTS_PER_PAGE * size)
    }

    fn slot(&self, size: usize, slot: u32) -> &[u8] {
        let (page, at) = Self::place(size, slot);
        &self.pages[page][at..at + size]
    }

    fn slot_mut(&mut self, size: usize, slot: u32) -> &mut [u8] {
        let (page, at) = Self::place(size, slot);
        &mut self.pages[page][at..at + size]
    }
}

/// All pools of a lane.
#[derive(Debug)]
pub(crate) struct Slab {
    pools: Vec<Pool>,
}

impl Default for Slab {
    fn default() -> Self {
        Self {
            pools: CLASSES.iter().map(|_| Pool::default()).collect(),
        }
    }
}

/// The size of a class.
#[inline]
pub(crate) fn class_bytes(class: u8) -> usize {
    CLASSES.get(usize::from(class)).copied().unwrap_or(0)
}

/// The class above, unless it is the largest.
pub(crate) fn next_class(class: u8) -> Option<u8> {
    let next = class.checked_add(1)?;
    (usize::from(next) < CLASSES.len()).then_some(next)
}

impl Slab {
    /// A slot of zeros.
    pub(crate) fn alloc(&mut self, class: u8) -> u32 {
        let size = class_bytes(class);
        let pool = &mut self.pools[usize::from(class)];
        if let Some(slot) = pool.free.pop() {
            self.get_mut(class, slot).fill(0);
            return slot;
        }
        if pool.used as usize == pool.pages.len() * SLOTS_PER_PAGE {
            pool.pages
                .push(vec![0; SLOTS_PER_PAGE * size].into_boxed_slice());
        }
        pool.used += 1;
        pool.used - 1
    }

    pub(crate) fn free(&mut self, class: u8, slot: u32) {
        self.pools[usize::from(class)].free.push(slot);
    }

    #[inline]
    pub(crate) fn get(&self, class: u8, slot: u32) -> &[u8] {
        self.pools[usize::from(class)].slot(class_bytes(class), slot)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, class: u8, slot: u32) -> &mut [u8] {
        self.pools[usize::from(class)].slot_mut(class_bytes(class), slot)
    }

    /// Brings the place of bit `bit` of a slot into the cache.
    #[inline]
    pub(crate) fn prefetch(&self, class: u8, slot: u32, bit: u32) {
        if let Some(pool) = self.pools.get(usize::from(class)) {
            prefetch(pool.slot(class_bytes(class), slot), bit as usize / 8);
        }
    }

    /// Moves a slot's bytes to a larger slot.
    pub(crate) fn grow(&mut self, class: u8, slot: u32, larger: u8) -> u32 {
        debug_assert!(class < larger);
        let moved = self.alloc(larger);
        let (lower, upper) = self.pools.split_at_mut(usize::from(larger));
        let from = lower[usize::from(class)].slot(class_bytes(class), slot);
        let to = upper[0].slot_mut(class_bytes(larger), moved);
        to[..from.len()].copy_from_slice(from);
        self.free(class, slot);
        moved
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> u64 {
        let pages = self.pools.iter().flat_map(|p| &p.pages);
        pages.map(|page| page.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_zeroed_grown_and_reused() {
        let mut slab = Slab::default();
        let first = slab.alloc(0);
        slab.get_mut(0, first).fill(7);
        let grown = slab.grow(0, first, 1);
        assert_eq!(slab.get(1, grown)[..32], [7; 32]);
        assert_eq!(slab.get(1, grown)[32..], [0; 16]);
        assert_eq!(slab.alloc(0), first, "freed slots come first");
        assert_eq!(slab.get(0, first), [0; 32]);
        for _ in 0..3000 {
            slab.alloc(0);
        }
        assert_eq!(slab.bytes(), 47 * 2048 + 3072);
        assert_eq!(next_class(16), None);
    }
}
