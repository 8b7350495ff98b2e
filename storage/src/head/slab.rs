//! Memory of the open chunks: slots of a few sizes in pages of one size, so that a page that got
//! empty serves any other slot size, or goes back to the allocator after a flush.
//!
//! A slot is named by page and place inside it; it stays where it is until it is freed.

use crate::vfs::prefetch;

/// Slot sizes in bytes; each a multiple of 16. The smallest holds a series that never changed.
const CLASSES: [usize; 22] = [
    16, 32, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024, 1536, 2048, 3072,
    4096, 6144, 8192,
];

const PAGE_BYTES: usize = 24 << 10;

/// Bits of a slot's name that are the place in its page.
const PLACE_BITS: u32 = 11;

/// Class number that means "no slot".
pub(crate) const NO_CLASS: u8 = u8::MAX;

/// The class of the largest slots.
pub(crate) const LARGEST_CLASS: u8 = CLASSES.len() as u8 - 1;

/// Place that means "none" in lists of free slots.
const NO_PLACE: u16 = u16::MAX;

const _: () = assert!(PAGE_BYTES / CLASSES[0] <= 1 << PLACE_BITS);

#[derive(Debug)]
struct Page {
    bytes: Box<[u8]>,
    class: u8,
    /// Slots in use.
    used: u16,
    /// Slots from here on were never used for this class.
    fresh: u16,
    /// Free slots below `fresh`: the first two bytes of each name the next.
    free: u16,
    /// Place in the list of pages of its class that have room.
    listed_at: u32,
}

impl Page {
    fn is_full(&self) -> bool {
        self.free == NO_PLACE && usize::from(self.fresh) == slots_of(self.class)
    }

    fn slot(&self, size: usize, place: usize) -> &[u8] {
        &self.bytes[place * size..(place + 1) * size]
    }

    fn slot_mut(&mut self, size: usize, place: usize) -> &mut [u8] {
        &mut self.bytes[place * size..(place + 1) * size]
    }

    fn take(&mut self) -> u16 {
        self.used += 1;
        if self.free == NO_PLACE {
            self.fresh += 1;
            return self.fresh - 1;
        }
        let place = self.free;
        let slot = self.slot(class_bytes(self.class), usize::from(place));
        self.free = u16::from_le_bytes([slot[0], slot[1]]);
        place
    }

    fn give_back(&mut self, place: u16) {
        let next = self.free.to_le_bytes();
        let slot = self.slot_mut(class_bytes(self.class), usize::from(place));
        slot[..2].copy_from_slice(&next);
        self.free = place;
        self.used -= 1;
    }
}

/// All slots of a lane.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    pages: Vec<Page>,
    /// Per class: pages with slots in use and room for more.
    roomy: [Vec<u32>; CLASSES.len()],
    /// Pages without a slot in use, with their memory and without.
    empty: Vec<u32>,
    bare: Vec<u32>,
}

/// The size of a class.
#[inline]
pub(crate) fn class_bytes(class: u8) -> usize {
    CLASSES.get(usize::from(class)).copied().unwrap_or(0)
}

/// The smallest class with at least so many bytes.
pub(crate) fn class_for(bytes: usize) -> Option<u8> {
    let class = CLASSES.partition_point(|size| *size < bytes);
    (class < CLASSES.len()).then_some(class as u8)
}

fn slots_of(class: u8) -> usize {
    PAGE_BYTES / class_bytes(class)
}

fn place_of(slot: u32) -> (usize, usize) {
    let mask = (1 << PLACE_BITS) - 1;
    ((slot >> PLACE_BITS) as usize, (slot & mask) as usize)
}

impl Slab {
    /// A slot of zeros.
    pub(crate) fn alloc(&mut self, class: u8) -> u32 {
        let number = match self.roomy[usize::from(class)].last() {
            Some(number) => *number,
            None => self.start_page(class),
        };
        let page = &mut self.pages[number as usize];
        let place = page.take();
        page.slot_mut(class_bytes(class), usize::from(place))
            .fill(0);
        if page.is_full() {
            self.unlist(number);
        }
        number << PLACE_BITS | u32::from(place)
    }

    fn start_page(&mut self, class: u8) -> u32 {
        let new = |class| Page {
            bytes: vec![0; PAGE_BYTES].into_boxed_slice(),
            class,
            used: 0,
            fresh: 0,
            free: NO_PLACE,
            listed_at: 0,
        };
        let number = if let Some(number) = self.empty.pop() {
            let page = &mut self.pages[number as usize];
            (page.class, page.fresh, page.free) = (class, 0, NO_PLACE);
            number
        } else if let Some(number) = self.bare.pop() {
            self.pages[number as usize] = new(class);
            number
        } else {
            self.pages.push(new(class));
            self.pages.len() as u32 - 1
        };
        self.list(number);
        number
    }

    fn list(&mut self, number: u32) {
        let page = &mut self.pages[number as usize];
        let roomy = &mut self.roomy[usize::from(page.class)];
        page.listed_at = roomy.len() as u32;
        roomy.push(number);
    }

    fn unlist(&mut self, number: u32) {
        let page = &self.pages[number as usize];
        let at = page.listed_at;
        let roomy = &mut self.roomy[usize::from(page.class)];
        roomy.swap_remove(at as usize);
        if let Some(moved) = roomy.get(at as usize) {
            self.pages[*moved as usize].listed_at = at;
        }
    }

    pub(crate) fn free(&mut self, class: u8, slot: u32) {
        let (number, place) = place_of(slot);
        let page = &mut self.pages[number];
        debug_assert_eq!(page.class, class);
        let was_full = page.is_full();
        page.give_back(place as u16);
        let is_empty = page.used == 0;
        match (was_full, is_empty) {
            (true, false) => self.list(number as u32),
            (false, true) => self.unlist(number as u32),
            _ => {}
        }
        if is_empty {
            self.empty.push(number as u32);
        }
    }

    #[inline]
    pub(crate) fn get(&self, class: u8, slot: u32) -> &[u8] {
        let (page, place) = place_of(slot);
        self.pages[page].slot(class_bytes(class), place)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, class: u8, slot: u32) -> &mut [u8] {
        let (page, place) = place_of(slot);
        self.pages[page].slot_mut(class_bytes(class), place)
    }

    /// Brings the place of bit `bit` of a slot into the cache.
    #[inline]
    pub(crate) fn prefetch(&self, class: u8, slot: u32, bit: u32) {
        if class != NO_CLASS {
            prefetch(self.get(class, slot), bit as usize / 8);
        }
    }

    /// Moves a slot's bytes to a larger slot.
    pub(crate) fn grow(&mut self, class: u8, slot: u32, larger: u8) -> u32 {
        debug_assert!(class < larger);
        let moved = self.alloc(larger);
        let ((from, from_place), (to, to_place)) = (place_of(slot), place_of(moved));
        let (from_bytes, to_bytes) = (class_bytes(class), class_bytes(larger));
        // Different classes are in different pages.
        if let Ok([from, to]) = self.pages.get_disjoint_mut([from, to]) {
            let target = to.slot_mut(to_bytes, to_place);
            target[..from_bytes].copy_from_slice(from.slot(from_bytes, from_place));
        }
        self.free(class, slot);
        moved
    }

    /// Gives the memory of most empty pages back.
    pub(crate) fn shrink(&mut self) {
        let kept = (self.pages.len() - self.bare.len()) / 16;
        for number in self.empty.drain(kept.min(self.empty.len())..) {
            self.pages[number as usize].bytes = Box::default();
            self.bare.push(number);
        }
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> u64 {
        self.pages.iter().map(|page| page.bytes.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slots_are_zeroed_grown_and_reused() {
        let mut slab = Slab::default();
        let first = slab.alloc(1);
        slab.get_mut(1, first).fill(7);
        let grown = slab.grow(1, first, 2);
        assert_eq!(slab.get(2, grown)[..32], [7; 32]);
        assert_eq!(slab.get(2, grown)[32..], [0; 16]);
        assert_eq!(slab.alloc(1) & 0x7ff, first & 0x7ff);
        assert_eq!(
            slab.bytes(),
            2 * PAGE_BYTES as u64,
            "the empty page serves again"
        );
        let many: Vec<u32> = (0..10 * slots_of(0)).map(|_| slab.alloc(0)).collect();
        assert_eq!(slab.bytes(), 12 * PAGE_BYTES as u64);
        for slot in many {
            slab.free(0, slot);
        }
        assert_eq!(slab.bytes(), 12 * PAGE_BYTES as u64);
        slab.shrink();
        assert_eq!(slab.bytes(), 2 * PAGE_BYTES as u64);
        slab.alloc(21);
        assert_eq!(
            (slab.bytes(), slab.pages.len()),
            (3 * PAGE_BYTES as u64, 12)
        );
    }

    #[test]
    fn classes_are_found_by_size() {
        assert_eq!((class_for(0), class_for(16)), (Some(0), Some(0)));
        assert_eq!((class_for(17), class_for(8192)), (Some(1), Some(21)));
        assert_eq!(class_for(8193), None);
    }

    proptest! {
        #[test]
        fn no_two_slots_overlap(
            steps in prop::collection::vec((0..4_u8, 0..22_u8, any::<prop::sample::Index>()), 0..600),
        ) {
            let mut slab = Slab::default();
            let mut model: Vec<(u8, u32, u8)> = Vec::new();
            for (n, (step, class, which)) in steps.into_iter().enumerate() {
                let mark = n as u8;
                if step < 2 || model.is_empty() {
                    let slot = slab.alloc(class);
                    prop_assert!(slab.get(class, slot).iter().all(|b| *b == 0));
                    slab.get_mut(class, slot).fill(mark);
                    model.push((class, slot, mark));
                    continue;
                }
                let at = which.index(model.len());
                let (old, slot, mark) = model.swap_remove(at);
                if step == 2 && class > old {
                    let moved = slab.grow(old, slot, class);
                    prop_assert!(slab.get(class, moved)[..class_bytes(old)].iter().all(|b| *b == mark));
                    slab.get_mut(class, moved).fill(mark);
                    model.push((class, moved, mark));
                } else {
                    slab.free(old, slot);
                }
                if n % 50 == 0 {
                    slab.shrink();
                }
            }
            for (class, slot, mark) in model {
                prop_assert!(slab.get(class, slot).iter().all(|b| *b == mark));
            }
        }
    }
}
