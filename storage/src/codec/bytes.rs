//! Little-endian numbers, LEB128 varints and zigzag: writing to a `Vec<u8>`, reading through a
//! bounds-checked cursor.

use super::Malformed;

/// Appends `value` as LEB128.
#[inline]
pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `value` as zigzag LEB128.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, zigzag(value));
}

/// Appends length and bytes.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// Small magnitudes of either sign become small numbers.
#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
pub(crate) fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// How many bytes [`put_uvarint`] takes.
pub(crate) fn uvarint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Reads from the front of a byte slice.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(Malformed("bytes end early"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self
            .rest
            .split_first()
            .ok_or(Malformed("bytes end early"))?;
        self.rest = rest;
        Ok(*first)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(Malformed("bytes end early"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn uvarint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (at, byte) in self.rest.iter().take(10).enumerate() {
            if at == 9 && *byte > 1 {
                return Err(Malformed("varint exceeds 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(Malformed("varint does not end"))
    }

    pub(crate) fn varint(&mut self) -> Result<i64, Malformed> {
        self.uvarint().map(unzigzag)
    }

    /// A varint that must fit `u32`.
    pub(crate) fn uvarint32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.uvarint()?).map_err(|_| Malformed("number exceeds 32 bits"))
    }

    /// A count of things of which each takes at least `min_bytes` of what remains (0: unchecked
    /// against the rest), and of which there are at most `max`.
    pub(crate) fn count(&mut self, min_bytes: usize, max: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.uvarint()?).map_err(|_| Malformed("count is absurd"))?;
        if count > max || count.saturating_mul(min_bytes) > self.remaining() {
            return Err(Malformed("count exceeds what is there"));
        }
        Ok(count)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let len = self.count(1, usize::MAX)?;
        std::str::from_utf8(self.take(len)?).map_err(|_| Malformed("text is no UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(values in prop::collection::vec(any::<i64>(), 0..50)) {
            let mut out = Vec::new();
            for value in &values {
                let before = out.len();
                put_varint(&mut out, *value);
                prop_assert_eq!(out.len() - before, uvarint_len(zigzag(*value)));
                put_uvarint(&mut out, *value as u64);
            }
            let mut cursor = Cursor::new(&out);
            for value in &values {
                prop_assert_eq!(cursor.varint(), Ok(*value));
                prop_assert_eq!(cursor.uvarint(), Ok(*value as u64));
            }
            prop_assert!(cursor.is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut cursor = Cursor::new(&bytes);
            while !cursor.is_empty() && cursor.uvarint().is_ok() {}
            let _ = Cursor::new(&bytes).text();
        }
    }
}
