//! Read-only maps of sealed files. The only `unsafe` of the crate.
//!
//! Only files that are never written again are mapped: a store into a sparse map on a full disk, or
//! a load past a truncated end, is a signal and not an error.

use std::fs::File;
use std::io;
use std::ops::Deref;

/// The bytes of a sealed file: mapped, or a copy on media without maps.
#[derive(Debug)]
pub struct Mapped(Bytes);

#[derive(Debug)]
enum Bytes {
    Map(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Mapped {
    /// Maps an open file.
    pub(super) fn map(file: &File) -> io::Result<Self> {
        // An empty file cannot be mapped.
        if file.metadata()?.len() == 0 {
            return Ok(Self::owned(Vec::new()));
        }
        // SAFETY: the map is read-only and private to this process' view; the store maps only
        // sealed files (published blocks, closed WAL segments), which no code path of it writes or
        // truncates afterwards, and the directory lock keeps other instances of it away. A file
        // that somebody else truncates ends the process with SIGBUS, which is documented.
        #[expect(unsafe_code, reason = "memory maps have no safe constructor")]
        let map = unsafe { memmap2::Mmap::map(file)? };
        Ok(Self(Bytes::Map(map)))
    }

    /// Wraps bytes in memory.
    #[must_use]
    pub fn owned(bytes: Vec<u8>) -> Self {
        Self(Bytes::Owned(bytes))
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Map(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

/// Asks the processor to bring the cache line at `at` of `bytes`; only a hint.
#[inline]
pub(crate) fn prefetch(bytes: &[u8], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(byte) = bytes.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and never faults; besides, the byte exists.
        #[expect(unsafe_code, reason = "an instruction without a safe wrapper")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_map_shows_the_file_even_after_unlink() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealed");
        File::create(&path).unwrap().write_all(b"sealed").unwrap();
        let map = Mapped::map(&File::open(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(&map[..], b"sealed");
    }

    #[test]
    fn an_empty_file_maps_to_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty");
        File::create(&path).unwrap();
        assert!(Mapped::map(&File::open(&path).unwrap()).unwrap().is_empty());
    }
}
