//! A borrowed walk over protobuf wire format.
//!
//! Only what the decoders need: varints, fixed 64-bit, length-delimited, and skipping the rest.
//! Every length is checked against the remaining bytes before it is used; groups (a deprecated wire
//! type that nests) are refused, so there is no recursion.
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

/// Why bytes are no protobuf message. `Display` names the offset inside the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The message ends inside a field.
    #[error("protobuf: unexpected end of message at byte {0}")]
    Truncated(usize),
    /// A varint is longer than ten bytes.
    #[error("protobuf: varint too long at byte {0}")]
    Varint(usize),
    /// A field number of zero.
    #[error("protobuf: illegal tag at byte {0}")]
    Tag(usize),
    /// A field has a wire type that the schema does not allow.
    #[error("protobuf: wrong wire type {wire_type} for field {field} at byte {at}")]
    WireType {
        /// The field number.
        field: u32,
        /// The wire type found.
        wire_type: u8,
        /// Where.
        at: usize,
    },
}

/// The wire types.
pub mod wire {
    /// A base-128 number.
    pub const VARINT: u8 = 0;
    /// Eight bytes, little endian.
    pub const FIXED64: u8 = 1;
    /// A length and as many bytes.
    pub const BYTES: u8 = 2;
    /// Four bytes, little endian.
    pub const FIXED32: u8 = 5;
}

/// A field's number and wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// The field number, at least 1.
    pub field: u32,
    /// One of [`wire`].
    pub wire_type: u8,
}

/// A position in a message.
#[derive(Debug, Clone, Copy)]
pub struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walker<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next byte.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether all bytes are consumed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The next varint.
    ///
    /// # Errors
    /// When it is cut off or too long.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let start = self.at;
        let mut value = 0_u64;
        for shift in 0..10 {
            let Some(byte) = self.bytes.get(self.at) else {
                return Err(WireError::Truncated(start));
            };
            self.at += 1;
            // Bits beyond 64 are dropped, as every protobuf library does.
            value |= u64::from(byte & 0x7f).wrapping_shl(7 * shift);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Varint(start))
    }

    /// The next field's tag.
    ///
    /// # Errors
    /// When it is cut off or its number is zero or beyond 2^29.
    #[inline]
    pub fn tag(&mut self) -> Result<Tag, WireError> {
        let at = self.at;
        let raw = self.varint()?;
        let field = raw >> 3;
        if field == 0 || field >= 1 << 29 {
            return Err(WireError::Tag(at));
        }
        Ok(Tag {
            field: field as u32,
            wire_type: (raw & 7) as u8,
        })
    }

    /// The next eight bytes.
    ///
    /// # Errors
    /// When fewer remain.
    #[inline]
    pub fn fixed64(&mut self) -> Result<u64, WireError> {
        let Some(bytes) = self.bytes[self.at..].first_chunk::<8>() else {
            return Err(WireError::Truncated(self.at));
        };
        self.at += 8;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// The next length-delimited field's bytes.
    ///
    /// # Errors
    /// When fewer remain than the length says.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let at = self.at;
        let length = self.varint()?;
        let rest = self.bytes.len() - self.at;
        if length > rest as u64 {
            return Err(WireError::Truncated(at));
        }
        let start = self.at;
        self.at += length as usize;
        Ok(&self.bytes[start..self.at])
    }

    /// Passes over fields with this one-byte tag and less than 128 bytes, as long as there are any.
    /// What it leaves, whole or not, is for the other methods.
    #[inline]
    pub fn skip_short_fields(&mut self, tag: u8) {
        while let Some([next, length]) = self.bytes[self.at..].first_chunk::<2>()
            && *next == tag
            && *length < 0x80
        {
            let after = self.at + 2 + usize::from(*length);
            if after > self.bytes.len() {
                return;
            }
            self.at = after;
        }
    }

    /// Passes over the value of an unknown field.
    ///
    /// # Errors
    /// When it is cut off or of a wire type that does not exist any more.
    pub fn skip(&mut self, tag: Tag) -> Result<(), WireError> {
        match tag.wire_type {
            wire::VARINT => self.varint().map(|_| ()),
            wire::FIXED64 => self.fixed64().map(|_| ()),
            wire::BYTES => self.bytes().map(|_| ()),
            wire::FIXED32 => {
                if self.bytes.len() - self.at < 4 {
                    return Err(WireError::Truncated(self.at));
                }
                self.at += 4;
                Ok(())
            }
            _ => Err(self.wrong_type(tag)),
        }
    }

    /// The error for a known field of the wrong wire type.
    #[must_use]
    pub fn wrong_type(&self, tag: Tag) -> WireError {
        WireError::WireType {
            field: tag.field,
            wire_type: tag.wire_type,
            at: self.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_fields_are_passed_over_while_they_are_whole() {
        let long = [&[0x0a, 0x80, 1][..], &[7; 128]].concat();
        for (bytes, expected) in [
            (&[][..], 0),
            (&[0x0a], 0),
            (&[0x0a, 0], 2),
            (&[0x0a, 1, 9, 0x0a, 2, 1, 2, 0x12, 0], 7),
            (&[0x0a, 1, 9, 0x0a, 2, 1], 3),
            (&[0x12, 0, 0x0a, 0], 0),
            (&long, 0),
        ] {
            let mut walker = Walker::new(bytes);
            walker.skip_short_fields(0x0a);
            assert_eq!(walker.position(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn reads_each_wire_type() {
        let mut walker = Walker::new(&[0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x19]);
        assert_eq!(
            walker.tag(),
            Ok(Tag {
                field: 1,
                wire_type: wire::VARINT
            })
        );
        assert_eq!(walker.varint(), Ok(150));
        assert_eq!(
            walker.tag(),
            Ok(Tag {
                field: 2,
                wire_type: wire::BYTES
            })
        );
        assert_eq!(walker.bytes(), Ok(&b"hi"[..]));
        assert_eq!(
            walker.tag(),
            Ok(Tag {
                field: 3,
                wire_type: wire::FIXED64
            })
        );
        assert_eq!(walker.fixed64(), Err(WireError::Truncated(8)));
    }

    #[test]
    fn refuses_what_is_no_message() {
        assert_eq!(Walker::new(&[0x80]).varint(), Err(WireError::Truncated(0)));
        assert_eq!(Walker::new(&[0xff; 11]).varint(), Err(WireError::Varint(0)));
        assert_eq!(Walker::new(&[0x00]).tag(), Err(WireError::Tag(0)));
        assert_eq!(
            Walker::new(&[0x05, 1]).bytes(),
            Err(WireError::Truncated(0))
        );
        let group = Tag {
            field: 1,
            wire_type: 3,
        };
        assert!(matches!(
            Walker::new(&[]).skip(group),
            Err(WireError::WireType { wire_type: 3, .. })
        ));
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Walker::new(&huge).bytes(), Err(WireError::Truncated(0)));
    }
}
