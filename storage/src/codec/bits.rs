//! Bit streams, most significant bit first.
//!
//! [`put_bits`] writes into a caller-owned buffer at a bit position (the open chunks of the head
//! live in a slab); [`BitReader`] reads untrusted bits.

use super::Malformed;

/// Writes the low `count` bits (at most 64) of `value` at bit `at` of `buffer`, whose bits from `at`
/// on must be zero, and returns the position after them. The caller has made sure they fit.
#[inline]
pub(crate) fn put_bits(buffer: &mut [u8], at: usize, value: u64, count: u32) -> usize {
    if count == 0 {
        return at;
    }
    let value = if count == 64 {
        value
    } else {
        value & ((1 << count) - 1)
    };
    let (byte, bit) = (at / 8, (at % 8) as u32);
    if bit + count <= 64
        && let Some(eight) = buffer[byte..].first_chunk_mut::<8>()
    {
        let word = u64::from_be_bytes(*eight) | value << (64 - bit - count);
        *eight = word.to_be_bytes();
        return at + count as usize;
    }
    // The value, moved to where it starts inside a window of 72 bits from `byte` on.
    let window = u128::from(value) << (128 - count - bit);
    let bytes = window.to_be_bytes();
    let used = ((bit + count) as usize).div_ceil(8);
    for (target, source) in buffer[byte..byte + used].iter_mut().zip(bytes) {
        *target |= source;
    }
    at + count as usize
}

/// Reads bits from the front.
#[derive(Debug, Clone)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> BitReader<'a> {
    /// A reader of the first `bit_count` bits of `bytes`.
    pub(crate) fn new(bytes: &'a [u8], bit_count: usize) -> Self {
        Self {
            bytes,
            at: 0,
            end: bit_count.min(bytes.len() * 8),
        }
    }

    #[inline]
    pub(crate) fn bits(&mut self, count: u32) -> Result<u64, Malformed> {
        let after = self.at + count as usize;
        if after > self.end || count > 64 {
            return Err(Malformed("bit stream ends early"));
        }
        if count == 0 {
            return Ok(0);
        }
        let (byte, bit) = (self.at / 8, (self.at % 8) as u32);
        self.at = after;
        if let Some(eight) = self.bytes[byte..].first_chunk::<8>() {
            let word = u64::from_be_bytes(*eight) << bit;
            if bit + count <= 64 {
                return Ok(word >> (64 - count));
            }
            let low = u64::from(self.bytes[byte + 8]) << bit >> 8;
            return Ok((word | low) >> (64 - count));
        }
        let mut window = [0; 16];
        let tail = &self.bytes[byte..];
        window[..tail.len()].copy_from_slice(tail);
        Ok(((u128::from_be_bytes(window) << bit) >> (128 - count)) as u64)
    }

    #[inline]
    pub(crate) fn bit(&mut self) -> Result<bool, Malformed> {
        Ok(self.bits(1)? == 1)
    }

    /// The next bits, the first one highest: at least [`PEEKED`] of them, with zeros behind the end of the
    /// stream. Nothing is consumed, see [`BitReader::skip`].
    #[inline]
    pub(crate) fn peek(&self) -> u64 {
        let (byte, bit) = (self.at / 8, (self.at % 8) as u32);
        match self.bytes[byte..].first_chunk::<8>() {
            Some(eight) => u64::from_be_bytes(*eight) << bit,
            None => {
                let (mut window, tail) = ([0; 8], &self.bytes[byte..]);
                window[..tail.len()].copy_from_slice(tail);
                u64::from_be_bytes(window) << bit
            }
        }
    }

    /// Consumes bits that were peeked at.
    #[inline]
    pub(crate) fn skip(&mut self, count: u32) -> Result<(), Malformed> {
        let after = self.at + count as usize;
        if after > self.end {
            return Err(Malformed("bit stream ends early"));
        }
        self.at = after;
        Ok(())
    }
}

/// Bits that a look ahead shows at least.
pub(crate) const PEEKED: u32 = 57;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_back(fields in prop::collection::vec((any::<u64>(), 0_u32..=64), 0..80)) {
            let mut buffer = vec![0; fields.len() * 8 + 9];
            let mut at = 0;
            for (value, count) in &fields {
                at = put_bits(&mut buffer, at, *value, *count);
            }
            buffer.truncate(at.div_ceil(8));
            let mut reader = BitReader::new(&buffer, at);
            for (value, count) in &fields {
                let mask = if *count == 64 { u64::MAX } else { (1 << count) - 1 };
                if (1..=PEEKED).contains(count) {
                    let mut ahead = reader.clone();
                    prop_assert_eq!(ahead.peek() >> (64 - count), value & mask);
                    ahead.skip(*count).unwrap();
                    prop_assert_eq!(ahead.at, reader.at + *count as usize);
                }
                prop_assert_eq!(reader.bits(*count), Ok(value & mask));
            }
            prop_assert!(reader.bits(1).is_err());
        }
    }
}
