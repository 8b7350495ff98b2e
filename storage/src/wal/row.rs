//! The ROW record: one float sample for each of many series, as columns.
//!
//! Body: `uvarint lane, uvarint n`, id runs until `n` ids are named (`varint start - previous end,
//! uvarint length`), timestamp runs until `n` are named (`varint difference, uvarint length`), `u32
//! base check`, a bitmap of the changed values (LSB first), and for each changed value a control
//! byte (high nibble: leading zero bytes, low nibble: significant bytes of the XOR), then all
//! significant bytes, most significant first.
//!
//! Values are XORed with the series' last value in the same segment (0 at first). A lost frame would
//! shift that base, so the record carries a checksum of all bases: a reader whose bases differ
//! drops the record and never invents a value.

use crate::codec::Malformed;
use crate::codec::bytes::{Cursor, put_uvarint, put_varint};

/// More samples than this are split over several records.
pub(crate) const MAX_ROW: usize = 1 << 20;

/// Collects the samples of one ROW record.
#[derive(Debug, Default)]
pub(crate) struct RowBuilder {
    count: usize,
    ids: Vec<u8>,
    id_start: u32,
    id_end: u32,
    last_end: u32,
    timestamps: Vec<u8>,
    last_ms: i64,
    run_difference: i64,
    run_len: u64,
    check: u32,
    changed: Vec<u8>,
    controls: Vec<u8>,
    xors: Vec<u8>,
}

/// Folds a base into the check. Order matters, so a shifted id shows too.
#[inline]
fn fold(check: u32, id: u32, base: u64) -> u32 {
    let mixed = (base ^ (base >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    check.rotate_left(5).wrapping_mul(0x85eb_ca6b) ^ ((mixed >> 32) as u32) ^ id
}

impl RowBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count >= MAX_ROW
    }

    /// Adds a sample of series `id` whose last value in this segment was `base`.
    #[inline]
    pub(crate) fn push(&mut self, id: u32, timestamp_ms: i64, bits: u64, base: u64) {
        if self.count > 0 && id == self.id_end {
            self.id_end += 1;
        } else {
            self.close_ids();
            self.id_start = id;
            self.id_end = id + 1;
        }
        let difference = timestamp_ms.wrapping_sub(self.last_ms);
        self.last_ms = timestamp_ms;
        if self.run_len > 0 && difference == self.run_difference {
            self.run_len += 1;
        } else {
            self.close_timestamps();
            self.run_difference = difference;
            self.run_len = 1;
        }
        self.check = fold(self.check, id, base);
        let (byte, bit) = (self.count / 8, self.count % 8);
        if bit == 0 {
            self.changed.push(0);
        }
        let xor = bits ^ base;
        if xor != 0 {
            self.changed[byte] |= 1 << bit;
            let lead = xor.leading_zeros() / 8;
            let trail = xor.trailing_zeros() / 8;
            let significant = 8 - lead - trail;
            self.controls.push((lead << 4 | significant) as u8);
            let bytes = xor.to_be_bytes();
            self.xors
                .extend_from_slice(&bytes[lead as usize..(lead + significant) as usize]);
        }
        self.count += 1;
    }

    fn close_ids(&mut self) {
        if self.id_end > self.id_start {
            let gap = i64::from(self.id_start) - i64::from(self.last_end);
            put_varint(&mut self.ids, gap);
            put_uvarint(&mut self.ids, u64::from(self.id_end - self.id_start));
            self.last_end = self.id_end;
        }
    }

    fn close_timestamps(&mut self) {
        if self.run_len > 0 {
            put_varint(&mut self.timestamps, self.run_difference);
            put_uvarint(&mut self.timestamps, self.run_len);
        }
    }

    /// Appends the body to `out` and empties the builder.
    pub(crate) fn finish(&mut self, lane: u32, out: &mut Vec<u8>) {
        self.close_ids();
        self.close_timestamps();
        put_uvarint(out, u64::from(lane));
        put_uvarint(out, self.count as u64);
        out.extend_from_slice(&self.ids);
        out.extend_from_slice(&self.timestamps);
        out.extend_from_slice(&self.check.to_le_bytes());
        out.extend_from_slice(&self.changed);
        out.extend_from_slice(&self.controls);
        out.extend_from_slice(&self.xors);
        self.clear();
    }

    /// Empties the builder and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.count = 0;
        self.ids.clear();
        (self.id_start, self.id_end, self.last_end) = (0, 0, 0);
        self.timestamps.clear();
        (self.last_ms, self.run_difference, self.run_len) = (0, 0, 0);
        self.check = 0;
        self.changed.clear();
        self.controls.clear();
        self.xors.clear();
    }
}

/// A decoded ROW record; the XORs still lack their bases.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) lane: u32,
    pub(crate) ids: Vec<u32>,
    pub(crate) timestamps_ms: Vec<i64>,
    pub(crate) xors: Vec<u64>,
    check: u32,
}

impl Row {
    /// Replaces the content by the record with this body.
    pub(crate) fn decode(&mut self, body: &[u8]) -> Result<(), Malformed> {
        self.ids.clear();
        self.timestamps_ms.clear();
        self.xors.clear();
        let mut cursor = Cursor::new(body);
        self.lane = cursor.uvarint32()?;
        let count = cursor.count(0, MAX_ROW)?;
        // The bitmap alone takes a bit per sample.
        if count.div_ceil(8) > cursor.remaining() {
            return Err(Malformed("row is longer than its bytes"));
        }
        let mut end = 0_i64;
        while self.ids.len() < count {
            let start = end.saturating_add(cursor.varint()?);
            let len = cursor.count(0, count - self.ids.len())?;
            end = start.saturating_add(len as i64);
            let valid = u32::try_from(start).is_ok() && u32::try_from(end).is_ok() && len > 0;
            if !valid {
                return Err(Malformed("series ids leave 32 bits"));
            }
            self.ids.extend(start as u32..end as u32);
        }
        let mut at_ms = 0_i64;
        while self.timestamps_ms.len() < count {
            let difference = cursor.varint()?;
            let len = cursor.count(0, count - self.timestamps_ms.len())?;
            if len == 0 {
                return Err(Malformed("empty run of timestamps"));
            }
            for _ in 0..len {
                at_ms = at_ms.wrapping_add(difference);
                self.timestamps_ms.push(at_ms);
            }
        }
        self.check = cursor.u32()?;
        self.decode_xors(&mut cursor, count)
    }

    fn decode_xors(&mut self, cursor: &mut Cursor<'_>, count: usize) -> Result<(), Malformed> {
        let changed = cursor.take(count.div_ceil(8))?;
        let changed_count = changed.iter().map(|b| b.count_ones() as usize).sum();
        let mut controls = cursor.take(changed_count)?.iter();
        for i in 0..count {
            if changed[i / 8] & (1 << (i % 8)) == 0 {
                self.xors.push(0);
                continue;
            }
            let control = *controls.next().ok_or(Malformed("bitmap exceeds the row"))?;
            let (lead, significant) = (usize::from(control >> 4), usize::from(control & 15));
            if lead + significant > 8 {
                return Err(Malformed("value control exceeds 8 bytes"));
            }
            let mut bytes = [0; 8];
            bytes[lead..lead + significant].copy_from_slice(cursor.take(significant)?);
            self.xors.push(u64::from_be_bytes(bytes));
        }
        if cursor.is_empty() {
            Ok(())
        } else {
            Err(Malformed("bytes after the row"))
        }
    }

    /// Turns the XORs into value bits, asking `base` for the last value of the series with an index;
    /// returns whether all bases are those of the writer. Nothing may be used when they are not.
    pub(crate) fn resolve(&mut self, mut base: impl FnMut(usize) -> u64) -> bool {
        let mut check = 0;
        // A series may occur several times: later occurrences build on the earlier ones.
        let mut previous: Option<(u32, u64)> = None;
        let mut seen = hashbrown::HashMap::new();
        let ascending = self.ids.windows(2).all(|w| w[0] < w[1]);
        for (i, (id, xor)) in self.ids.iter().zip(&mut self.xors).enumerate() {
            let known = match previous {
                Some((last, bits)) if last == *id => bits,
                _ if ascending => base(i),
                _ => seen.get(id).copied().unwrap_or_else(|| base(i)),
            };
            check = fold(check, *id, known);
            *xor ^= known;
            previous = Some((*id, *xor));
            if !ascending {
                seen.insert(*id, *xor);
            }
        }
        check == self.check
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn rows_come_back(samples in prop::collection::vec(
            (0_u32..60, any::<i32>(), prop_oneof![Just(0_u64), any::<u64>(), 0_u64..300]), 1..150)) {
            let mut bases: HashMap<u32, u64> = HashMap::new();
            let mut builder = RowBuilder::default();
            for (id, t, bits) in &samples {
                let base = bases.insert(*id, *bits).unwrap_or(0);
                builder.push(*id, i64::from(*t), *bits, base);
            }
            let mut body = Vec::new();
            builder.finish(3, &mut body);
            prop_assert!(builder.is_empty());
            let mut row = Row::default();
            row.decode(&body).unwrap();
            prop_assert!(row.resolve(|_| 0));
            prop_assert_eq!(row.lane, 3);
            let back: Vec<_> = row.ids.iter().zip(&row.timestamps_ms).zip(&row.xors)
                .map(|((id, t), bits)| (*id, *t as i32, *bits)).collect();
            prop_assert_eq!(back, samples.clone());
            row.decode(&body).unwrap();
            prop_assert!(!row.resolve(|i| u64::from(i == 0)), "another base is noticed");
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Row::default().decode(&bytes);
        }
    }
}
