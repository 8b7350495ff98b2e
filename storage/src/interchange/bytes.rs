//! What all files of a Prometheus block have in common: big-endian numbers, and checksums behind what
//! they cover. Varints are the same as in Tenbin's own files.

use crate::codec::Malformed;
use crate::codec::bytes::Cursor;
use crate::error::Corruption;

/// Bytes of a checksum.
pub(super) const CRC_BYTES: usize = 4;

/// A big-endian `u32` from the front.
pub(super) fn u32_be(cursor: &mut Cursor<'_>) -> Result<u32, Malformed> {
    let bytes = cursor.take(4)?;
    Ok(bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
}

/// A big-endian `u64` from the front.
pub(super) fn u64_be(cursor: &mut Cursor<'_>) -> Result<u64, Malformed> {
    let bytes = cursor.take(8)?;
    Ok(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

/// Names damage at an offset of a file.
pub(super) fn damage(
    file: &str,
    offset: usize,
    expected: &str,
    Malformed(found): Malformed,
) -> Corruption {
    Corruption::new(file, offset as u64, expected, found)
}

/// Whether a checksum is that of the content. Fuzz targets take it to be, so that changed bytes are decoded.
fn holds(stored: u32, computed: u32) -> bool {
    #[cfg(any(test, feature = "fuzzing"))]
    if crate::fuzzing::CHECKSUMS_IGNORED.get() {
        return true;
    }
    stored == computed
}

/// `len` bytes at `at` that a checksum follows, which must hold.
pub(super) fn checked<'a>(
    bytes: &'a [u8],
    file: &str,
    at: usize,
    len: usize,
    what: &str,
) -> Result<&'a [u8], Corruption> {
    let end = at
        .checked_add(len)
        .and_then(|end| end.checked_add(CRC_BYTES));
    let found = end.and_then(|end| bytes.get(at..end));
    let Some(found) = found else {
        let left = bytes.len().saturating_sub(at);
        let expected = format!("{what} of {len} bytes with its checksum");
        return Err(Corruption::new(
            file,
            at as u64,
            expected,
            format!("{left} bytes"),
        ));
    };
    let (content, stored) = found.split_at(len);
    let stored = stored.iter().fold(0, |n, b| n << 8 | u32::from(*b));
    let computed = crc32c::crc32c(content);
    if holds(stored, computed) {
        return Ok(content);
    }
    let expected = format!("{what} with checksum {stored:08x}");
    Err(Corruption::new(
        file,
        at as u64,
        expected,
        format!("{computed:08x}"),
    ))
}

/// A section: `u32 length, content, checksum of the content`.
pub(super) fn section<'a>(
    bytes: &'a [u8],
    file: &str,
    at: u64,
    what: &str,
) -> Result<&'a [u8], Corruption> {
    let start = usize::try_from(at).unwrap_or(usize::MAX);
    let mut cursor = Cursor::new(bytes.get(start..).unwrap_or_default());
    let len = u32_be(&mut cursor).map_err(|m| damage(file, start, what, m))?;
    checked(bytes, file, start + 4, len as usize, what)
}
