//! One frame = one request: all of it is replayed or nothing.
//!
//! Layout, starting at a multiple of 8: `u32 stored_len, u32 crc, u64 lsn, u32 raw_len, u8 codec
//! (0 plain, 1 LZ4), u8 0, u16 0, u32 durable_lag, u32 0, payload, zeros to a multiple of 8`. The
//! CRC-32C covers the salt, the length, everything after the CRC field and the payload.
//! `lsn - durable_lag` is the highest LSN known durable when the frame was written: damage up to
//! it is rot, damage beyond may be a torn tail.

use super::segment::SegmentHeader;
use crate::codec::bytes::Cursor;

/// Bytes before a payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 32;

/// Largest payload that is written or believed.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 256 << 20;

const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// Payloads below this are not worth compressing.
const MIN_COMPRESSED_BYTES: usize = 64;

/// LZ4 cannot expand more than this.
const MAX_LZ4_RATIO: usize = 255;

/// Appends the frame of `payload` to `out`, which is a multiple of 8 long.
pub(crate) fn encode(out: &mut Vec<u8>, salt: u32, lsn: u64, durable_lsn: u64, payload: &[u8]) {
    debug_assert!(out.len().is_multiple_of(8) && payload.len() <= MAX_PAYLOAD_BYTES);
    let start = out.len();
    out.resize(start + FRAME_HEADER_BYTES, 0);
    let mut codec = PLAIN;
    if payload.len() >= MIN_COMPRESSED_BYTES {
        let room = lz4_flex::block::get_maximum_output_size(payload.len());
        out.resize(start + FRAME_HEADER_BYTES + room, 0);
        let target = &mut out[start + FRAME_HEADER_BYTES..];
        let len = lz4_flex::block::compress_into(payload, target).unwrap_or(usize::MAX);
        if len < payload.len() {
            codec = LZ4;
            out.truncate(start + FRAME_HEADER_BYTES + len);
        } else {
            out.truncate(start + FRAME_HEADER_BYTES);
        }
    }
    if codec == PLAIN {
        out.extend_from_slice(payload);
    }
    let stored_len = (out.len() - start - FRAME_HEADER_BYTES) as u32;
    let lag = u32::try_from(lsn.saturating_sub(durable_lsn)).unwrap_or(u32::MAX);
    let frame = &mut out[start..];
    frame[0..4].copy_from_slice(&stored_len.to_le_bytes());
    frame[8..16].copy_from_slice(&lsn.to_le_bytes());
    frame[16..20].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    frame[20] = codec;
    frame[24..28].copy_from_slice(&lag.to_le_bytes());
    let crc = checksum(salt, frame);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    out.resize(out.len().next_multiple_of(8), 0);
}

/// The checksum of a frame (header and payload without padding).
fn checksum(salt: u32, frame: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&salt.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &frame[..4]);
    crc32c::crc32c_append(crc, &frame[8..])
}

/// A frame whose checksum holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) lsn: u64,
    /// Highest LSN known durable when this was written.
    pub(crate) durable_lsn: u64,
    /// Offset of the frame after this one.
    pub(crate) end: usize,
    raw_len: usize,
    codec: u8,
    stored: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at `offset` of a segment, if one with a valid checksum stands there whose LSN is
    /// at least `min_lsn`.
    pub(crate) fn at(
        segment: &'a [u8],
        offset: usize,
        header: &SegmentHeader,
        min_lsn: u64,
    ) -> Option<Self> {
        let bytes = segment.get(offset..)?;
        let mut fields = Cursor::new(bytes);
        let stored_len = usize::try_from(fields.u32().ok()?).ok()?;
        let crc = fields.u32().ok()?;
        let lsn = fields.u64().ok()?;
        let raw_len = usize::try_from(fields.u32().ok()?).ok()?;
        let codec = fields.u8().ok()?;
        let zeros = fields.take(3).ok()?;
        let lag = fields.u32().ok()?;
        // Cheap tests first: a search tries many places where no frame begins.
        let farthest = min_lsn.saturating_add((segment.len() / FRAME_HEADER_BYTES) as u64);
        let plausible = stored_len > 0
            && (min_lsn..=farthest).contains(&lsn)
            && raw_len <= MAX_PAYLOAD_BYTES
            && codec <= LZ4
            && zeros == [0; 3]
            && fields.u32().ok()? == 0;
        if !plausible {
            return None;
        }
        let frame = bytes.get(..FRAME_HEADER_BYTES.checked_add(stored_len)?)?;
        if checksum(header.salt, frame) != crc {
            return None;
        }
        Some(Self {
            lsn,
            durable_lsn: lsn.saturating_sub(u64::from(lag)),
            end: (offset + frame.len()).next_multiple_of(8),
            raw_len,
            codec,
            stored: &frame[FRAME_HEADER_BYTES..],
        })
    }

    /// Replaces `out` by the payload; `None` when it does not decompress to its declared length.
    pub(crate) fn payload_into(&self, out: &mut Vec<u8>) -> Option<()> {
        out.clear();
        match self.codec {
            PLAIN => {
                out.extend_from_slice(self.stored);
                (self.stored.len() == self.raw_len).then_some(())
            }
            LZ4 if self.raw_len <= self.stored.len().saturating_mul(MAX_LZ4_RATIO) => {
                out.resize(self.raw_len, 0);
                let len = lz4_flex::block::decompress_into(self.stored, out).ok()?;
                (len == self.raw_len).then_some(())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: SegmentHeader = SegmentHeader {
        seq: 1,
        salt: 77,
        created_ms: 0,
        first_lsn: 1,
    };

    proptest! {
        #[test]
        fn frames_come_back_and_damage_is_seen(
            payload in prop::collection::vec(0_u8..4, 1..300),
            at in any::<prop::sample::Index>(),
            flip in 1_u8..=255,
        ) {
            let mut bytes = Vec::new();
            encode(&mut bytes, 77, 5, 3, &payload);
            let frame = Frame::at(&bytes, 0, &HEADER, 5).unwrap();
            let mut back = Vec::new();
            frame.payload_into(&mut back).unwrap();
            prop_assert_eq!(&back, &payload);
            prop_assert_eq!((frame.lsn, frame.durable_lsn, frame.end), (5, 3, bytes.len()));
            let salted = SegmentHeader { salt: 78, ..HEADER };
            prop_assert!(Frame::at(&bytes, 0, &salted, 5).is_none());
            let end = FRAME_HEADER_BYTES + frame.stored.len();
            let at = at.index(end);
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            prop_assert!(Frame::at(&damaged, 0, &HEADER, 4).is_none());
        }
    }
}
