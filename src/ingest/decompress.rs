//! Snappy block decompression, bounded: the declared length is checked before anything is
//! allocated.

/// Why a body cannot be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The body declares more bytes than allowed.
    #[error(
        "decompressed body of {declared} bytes exceeds the limit of {limit} bytes \
         (flag --web.max-decoded-body-bytes)"
    )]
    TooLarge {
        /// What the body declares.
        declared: usize,
        /// The limit.
        limit: usize,
    },
    /// The body is no snappy block.
    #[error("snappy: corrupt input: {0}")]
    Corrupt(String),
}

/// Decompresses a snappy block into `out`, which keeps its memory between calls.
///
/// # Errors
/// When the declared length is above `limit`, or the block is damaged.
pub fn snappy(body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    let corrupt = |e: snap::Error| DecompressError::Corrupt(e.to_string());
    let declared = snap::raw::decompress_len(body).map_err(corrupt)?;
    if declared > limit {
        return Err(DecompressError::TooLarge { declared, limit });
    }
    out.resize(declared, 0);
    let written = snap::raw::Decoder::new()
        .decompress(body, out)
        .map_err(corrupt)?;
    out.truncate(written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_within_the_limit_only() {
        let body = snap::raw::Encoder::new().compress_vec(&[7; 1000]).unwrap();
        let mut out = Vec::new();
        snappy(&body, 1000, &mut out).unwrap();
        assert_eq!(out, [7; 1000]);
        assert_eq!(
            snappy(&body, 999, &mut out),
            Err(DecompressError::TooLarge {
                declared: 1000,
                limit: 999
            })
        );
    }

    #[test]
    fn a_bomb_is_refused_before_allocation() {
        // Declares 4 GiB - 1 in five bytes.
        let mut out = Vec::new();
        let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f];
        assert!(matches!(
            snappy(&bomb, 1 << 25, &mut out),
            Err(DecompressError::TooLarge { .. })
        ));
        assert_eq!(out.capacity(), 0);
        assert!(matches!(
            snappy(b"", 100, &mut out),
            Err(DecompressError::Corrupt(_)) | Ok(())
        ));
        assert!(snappy(&[0xff; 40], 100, &mut out).is_err());
    }
}
