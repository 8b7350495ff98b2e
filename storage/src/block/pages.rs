//! The bytes of a mapped block, handed out only after the checksums of their pages held.

use std::sync::atomic::{AtomicU64, Ordering};

use super::format::{
    BlockHeader, FormatError, HEADER_BYTES, PAGE_BYTES, PAGE_CHECKSUMS, Section, decode_footer,
};
use crate::codec::Malformed;
use crate::error::Corruption;
use crate::vfs::Mapped;

/// A mapped block whose header and footer are valid.
pub(crate) struct Pages {
    /// Relative to the data directory.
    pub(crate) file: String,
    pub(crate) header: BlockHeader,
    map: Mapped,
    sections: Vec<Section>,
    checksums: Section,
    /// A bit per page that was verified.
    verified: Vec<AtomicU64>,
}

/// Why a block cannot be opened.
#[derive(Debug)]
pub(crate) enum PagesError {
    Corrupt(Corruption),
    TooNew(u16),
}

impl Pages {
    pub(crate) fn open(map: Mapped, file: String) -> Result<Self, PagesError> {
        let corrupt = |offset: u64, expected: &str| {
            PagesError::Corrupt(Corruption::new(&*file, offset, expected, "something else"))
        };
        let explain = |error| match error {
            FormatError::Malformed(offset, Malformed(what)) => corrupt(offset, what),
            FormatError::TooNew(version) => PagesError::TooNew(version),
        };
        let header = BlockHeader::decode(&map).map_err(explain)?;
        let sections = decode_footer(&map).map_err(explain)?;
        let checksums = *sections
            .iter()
            .find(|s| s.id == PAGE_CHECKSUMS)
            .ok_or_else(|| corrupt(0, "page checksums"))?;
        let start = checksums.offset as usize;
        let stored = &map[start..start + checksums.len as usize];
        if crc32c::crc32c(stored) != checksums.crc {
            return Err(corrupt(checksums.offset, "a valid checksum of checksums"));
        }
        let pages = (start - HEADER_BYTES).div_ceil(PAGE_BYTES);
        if stored.len() != pages * 4 {
            return Err(corrupt(checksums.offset, "a checksum for each page"));
        }
        let verified = (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self {
            file,
            header,
            map,
            sections,
            checksums,
            verified,
        })
    }

    /// Bytes of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    pub(crate) fn section_len(&self, id: u32) -> usize {
        let section = self.sections.iter().find(|s| s.id == id);
        section.map_or(0, |s| s.len as usize)
    }

    /// Names the place of damage inside a section.
    pub(crate) fn damage(&self, id: u32, at: usize, Malformed(what): Malformed) -> Corruption {
        let section = self.sections.iter().find(|s| s.id == id);
        let offset = section.map_or(0, |s| s.offset).saturating_add(at as u64);
        Corruption::new(&*self.file, offset, "a well-formed block", what)
    }

    /// A whole section.
    pub(crate) fn section(&self, id: u32) -> Result<&[u8], Corruption> {
        self.bytes(id, 0, self.section_len(id))
    }

    /// `len` bytes of a section from `at` on, verified.
    pub(crate) fn bytes(&self, id: u32, at: usize, len: usize) -> Result<&[u8], Corruption> {
        let beyond = || self.damage(id, at, Malformed("a reference beyond its section"));
        let section = self
            .sections
            .iter()
            .find(|s| s.id == id && s.offset + s.len <= self.checksums.offset)
            .ok_or_else(beyond)?;
        let end = at.checked_add(len).ok_or_else(beyond)?;
        if end as u64 > section.len {
            return Err(beyond());
        }
        let start = section.offset as usize + at;
        self.verify(start, start + len)?;
        Ok(&self.map[start..start + len])
    }

    /// At most `len` bytes of a section from `at` on.
    pub(crate) fn bytes_up_to(&self, id: u32, at: usize, len: usize) -> Result<&[u8], Corruption> {
        let left = self.section_len(id).saturating_sub(at);
        self.bytes(id, at, len.min(left))
    }

    fn verify(&self, start: usize, end: usize) -> Result<(), Corruption> {
        if start == end {
            return Ok(());
        }
        let first = (start - HEADER_BYTES) / PAGE_BYTES;
        let last = (end - 1 - HEADER_BYTES) / PAGE_BYTES;
        for page in first..=last {
            let bit = 1 << (page % 64);
            // Verifying twice is harmless, so the order of these accesses does not matter.
            if self.verified[page / 64].load(Ordering::Relaxed) & bit == 0 {
                self.verify_page(page)?;
                self.verified[page / 64].fetch_or(bit, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn verify_page(&self, page: usize) -> Result<(), Corruption> {
        let start = HEADER_BYTES + page * PAGE_BYTES;
        let end = (start + PAGE_BYTES).min(self.checksums.offset as usize);
        let found = crc32c::crc32c(&self.map[start..end]);
        let at = self.checksums.offset as usize + page * 4;
        let expected = self.map[at..at + 4]
            .iter()
            .rev()
            .fold(0, |crc, byte| crc << 8 | u32::from(*byte));
        if found == expected {
            return Ok(());
        }
        Err(Corruption::new(
            &*self.file,
            start as u64,
            format!("page checksum {expected:08x}"),
            format!("{found:08x}"),
        ))
    }

    /// The section table.
    pub(crate) fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Verifies every page and hands the damage of each to `each`.
    pub(crate) fn verify_each(&self, each: &mut dyn FnMut(Corruption)) {
        let bytes = self.checksums.offset as usize - HEADER_BYTES;
        for page in 0..bytes.div_ceil(PAGE_BYTES) {
            if let Err(damage) = self.verify_page(page) {
                each(damage);
            }
        }
    }

    /// Verifies every page.
    pub(crate) fn verify_all(&self) -> Result<(), Corruption> {
        self.verify(HEADER_BYTES, self.checksums.offset as usize)
    }
}
