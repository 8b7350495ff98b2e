//! Unpacks whole mini-blocks of packed integers (64 of equal width, least significant bit first), one loop
//! for each width, in which every place and shift is known to the compiler.
//!
//! Eight values of any width end at a whole byte, so that the loop is the same eight steps eight times.
//! [`super::integers::unpack`] says value by value what comes out.

use super::integers::MINI;

/// Widest packing with a loop of its own; wider ones are rare and take the general way.
pub(super) const MAX_WIDTH: u32 = 40;

/// Bytes behind the packed ones that are looked at, whatever they are.
pub(super) const BEYOND: usize = 8;

fn unpack_width<const WIDTH: usize>(packed: &[u8], values: &mut [u64; MINI]) {
    let mask = (1_u64 << WIDTH) - 1;
    // One check instead of one at every value.
    let Some(packed) = packed.get(..MINI / 8 * WIDTH + BEYOND) else {
        return;
    };
    for (number, values) in values.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let eight = &packed[number * WIDTH..number * WIDTH + WIDTH + BEYOND];
        for (place, value) in values.iter_mut().enumerate() {
            let bit = place * WIDTH;
            let word = eight[bit / 8..].first_chunk::<8>();
            *value = word.map_or(0, |word| u64::from_le_bytes(*word)) >> (bit % 8) & mask;
        }
    }
}

macro_rules! widths {
    ($($width:literal)*) => {
        [$(unpack_width::<$width>),*]
    };
}

type Unpack = fn(&[u8], &mut [u64; MINI]);

/// By width, from 1.
const BY_WIDTH: [Unpack; MAX_WIDTH as usize] = widths!(
    1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20
    21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40
);

/// Unpacks 64 values of `width` bits (1 to [`MAX_WIDTH`]) at the front of `packed`, which has at least
/// [`BEYOND`] bytes more than they take; does nothing otherwise.
#[inline]
pub(super) fn unpack_64(packed: &[u8], width: u32, values: &mut [u64; MINI]) {
    if let Some(unpack) = BY_WIDTH.get((width as usize).wrapping_sub(1)) {
        unpack(packed, values);
    }
}

#[cfg(test)]
mod tests {
    use super::super::integers::{pack, unpack};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_width_unpacks_as_value_by_value(values in prop::collection::vec(any::<u64>(), MINI)) {
            for width in 1..=MAX_WIDTH {
                let mut packed = Vec::new();
                pack(&mut packed, values.iter().copied(), width);
                packed.extend([0xff; BEYOND]);
                let mut block = [7; MINI];
                unpack_64(&packed, width, &mut block);
                let single: Vec<u64> = (0..MINI).map(|i| unpack(&packed, i, width)).collect();
                prop_assert_eq!(&block[..], &single[..]);
            }
        }
    }
}
