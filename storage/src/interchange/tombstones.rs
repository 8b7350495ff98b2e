//! The file `tombstones` of a Prometheus block: which samples of which series were deleted.
//!
//! `u32 magic, u8 version 1`, entries `uvarint series, varint first ms, varint last ms` (both
//! inside), `u32 CRC-32C` of the entries. No file means no entries.

use std::io;
use std::path::Path;

use hashbrown::HashMap;

use super::bytes::{CRC_BYTES, checked, damage};
use crate::codec::bytes::Cursor;
use crate::error::{Corruption, DbError, IoContext};
use crate::vfs::{Vfs, read_all};

/// File name inside a block.
pub(super) const FILE_NAME: &str = "tombstones";

const HEADER: [u8; 5] = [0x01, 0x30, 0xba, 0x30, 1];

/// Longest file that is read.
const MAX_BYTES: u64 = 1 << 30;

/// Deleted ranges by series, both ends inside.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tombstones(HashMap<u64, Vec<(i64, i64)>>);

impl Tombstones {
    pub(super) fn open(vfs: &dyn Vfs, block: &Path, name: &str) -> Result<Self, DbError> {
        let path = block.join(FILE_NAME);
        match read_all(vfs, &path, MAX_BYTES) {
            Ok(bytes) => Ok(Self::parse(&bytes, &format!("{name}/{FILE_NAME}"))?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e).doing("reading", &path),
        }
    }

    fn parse(bytes: &[u8], file: &str) -> Result<Self, Corruption> {
        if !bytes.starts_with(&HEADER) {
            let found = format!("{:02x?}", bytes.get(..5).unwrap_or(bytes));
            let expected = "magic 0130ba30, version 1";
            return Err(Corruption::new(file, 0, expected, found));
        }
        let len = bytes.len().saturating_sub(HEADER.len() + CRC_BYTES);
        let entries = checked(bytes, file, HEADER.len(), len, "tombstones")?;
        let mut cursor = Cursor::new(entries);
        let mut series: HashMap<u64, Vec<(i64, i64)>> = HashMap::new();
        while !cursor.is_empty() {
            let at = HEADER.len() + len - cursor.remaining();
            let mut entry = || Ok((cursor.uvarint()?, cursor.varint()?, cursor.varint()?));
            let (id, from, to) = entry().map_err(|m| damage(file, at, "a tombstone", m))?;
            series.entry(id).or_default().push((from, to));
        }
        Ok(Self(series))
    }

    /// The deleted ranges of a series.
    pub(super) fn of(&self, series: u64) -> &[(i64, i64)] {
        self.0.get(&series).map_or(&[], Vec::as_slice)
    }
}

/// The file of a block in which nothing was deleted.
pub(super) fn empty() -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    bytes.extend_from_slice(&crc32c::crc32c(&[]).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bytes::{put_uvarint, put_varint};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_come_back_and_damage_is_seen(
            entries in prop::collection::vec((0_u64..9, any::<i64>(), any::<i64>()), 0..20),
            at in any::<prop::sample::Index>(),
            junk in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut body = Vec::new();
            for (id, from, to) in &entries {
                put_uvarint(&mut body, *id);
                put_varint(&mut body, *from);
                put_varint(&mut body, *to);
            }
            let mut bytes = HEADER.to_vec();
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
            let parsed = Tombstones::parse(&bytes, "t").unwrap();
            for id in 0..9 {
                let expected: Vec<_> = entries.iter().filter(|e| e.0 == id).map(|e| (e.1, e.2)).collect();
                prop_assert_eq!(parsed.of(id), &expected);
            }
            let at = at.index(bytes.len());
            bytes[at] ^= 1;
            prop_assert!(Tombstones::parse(&bytes, "t").is_err());
            let _ = Tombstones::parse(&junk, "t");
            let mut junk_body = HEADER.to_vec();
            junk_body.extend_from_slice(&junk);
            junk_body.extend_from_slice(&crc32c::crc32c(&junk).to_be_bytes());
            let _ = Tombstones::parse(&junk_body, "t");
        }
    }

    #[test]
    fn the_empty_file_has_no_entries() {
        assert_eq!(
            Tombstones::parse(&empty(), "t").unwrap(),
            Tombstones::default()
        );
    }
}
