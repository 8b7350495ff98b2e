//! The header of a WAL segment and its file name.
//!
//! The salt is random per segment and goes into every frame's checksum, so that bytes of another
//! segment can never verify here.

use crate::codec::bytes::Cursor;
use crate::error::Corruption;

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 64;

/// File name of a segment in the making.
pub(crate) const TEMPORARY_NAME: &str = "next.tmp";

/// File name of a former segment whose space the next one takes over.
pub(crate) const SPARE_NAME: &str = "spare";

const MAGIC: &[u8; 8] = b"TBNWAL01";

/// The version that this program writes, and the newest it reads. 2 has records of histograms,
/// start timestamps, exemplars and metadata.
pub(crate) const VERSION: u16 = 2;

/// What stands at the front of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Position in the log, from 1.
    pub(crate) seq: u64,
    pub(crate) salt: u32,
    pub(crate) created_ms: i64,
    /// LSN of the first frame.
    pub(crate) first_lsn: u64,
}

/// Why a segment's header cannot be used.
#[derive(Debug)]
pub(crate) enum HeaderError {
    Corrupt(Corruption),
    TooNew(u16),
}

/// The file name of segment `seq`.
pub(crate) fn file_name(seq: u64) -> String {
    format!("{seq:016x}.wal")
}

/// The segment number in a file name.
pub(crate) fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    (digits.len() == 16)
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.first_lsn.to_le_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        out.resize(HEADER_BYTES - 4, 0);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&out);
        header
    }

    pub(crate) fn decode(bytes: &[u8], file: &str) -> Result<Self, HeaderError> {
        let corrupt = |expected: &str, found: String| {
            Err(HeaderError::Corrupt(Corruption::new(
                file, 0, expected, found,
            )))
        };
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return corrupt("a header of 64 bytes", format!("{} bytes", bytes.len()));
        };
        if !header.starts_with(MAGIC) {
            return corrupt("magic TBNWAL01", format!("{:02x?}", &header[..8]));
        }
        let mut fields = Cursor::new(&header[8..]);
        let mut parse = || {
            let read_version = fields.u16()?;
            let _write_version = fields.u16()?;
            let salt = fields.u32()?;
            let header = Self {
                salt,
                seq: fields.u64()?,
                first_lsn: fields.u64()?,
                created_ms: fields.i64()?,
            };
            Ok::<_, crate::codec::Malformed>((read_version, header))
        };
        let Ok((read_version, decoded)) = parse() else {
            return corrupt("a header of 64 bytes", "less".into());
        };
        let stored = u32::from_le_bytes([header[60], header[61], header[62], header[63]]);
        let computed = crc32c::crc32c(&header[..60]);
        if stored != computed {
            return corrupt(
                &format!("header checksum {computed:08x}"),
                format!("{stored:08x}"),
            );
        }
        if read_version > VERSION {
            return Err(HeaderError::TooNew(read_version));
        }
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_and_every_flip_is_seen() {
        let header = SegmentHeader {
            seq: 7,
            salt: 0xdead_beef,
            created_ms: -5,
            first_lsn: 99,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes, "x").unwrap(), header);
        for at in 0..bytes.len() {
            let mut damaged = bytes;
            damaged[at] ^= 1;
            assert!(SegmentHeader::decode(&damaged, "x").is_err(), "byte {at}");
        }
        let mut former = bytes;
        former[8] = 1;
        let crc = crc32c::crc32c(&former[..60]).to_le_bytes();
        former[60..].copy_from_slice(&crc);
        assert_eq!(SegmentHeader::decode(&former, "x").unwrap(), header);
        assert_eq!(parse_file_name(&file_name(255)), Some(255));
        assert_eq!(parse_file_name("x.wal"), None);
    }
}
