//! A log file that bypasses the page cache: a sync then has nothing to write back, which takes half
//! the processor time and a fraction of the latency.
//!
//! The kernel takes whole, aligned blocks only, so the block that the log ends in is kept and written
//! again with what follows. Contract: writes go forward, and what stands between the end of a write
//! and the next block boundary becomes zeros.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use parking_lot::Mutex;
use rustix::fs::OFlags;

use super::{OpenMode, VfsFile};

/// Alignment of offset, length and memory; enough for every common device.
const BLOCK: usize = 4096;

/// Memory that is kept between writes.
const KEEP_BYTES: usize = 1 << 20;

/// Aligned memory without unsafe code: a list with room to begin at an aligned place.
#[derive(Debug, Default)]
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    /// `len` bytes of unknown content.
    fn slice(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < len + BLOCK {
            self.bytes = vec![0; len + BLOCK];
            self.start = self.bytes.as_ptr().align_offset(BLOCK);
        }
        &mut self.bytes[self.start..self.start + len]
    }
}

/// What is known of the end of the log.
#[derive(Debug, Default)]
struct Tail {
    /// Where the block begins that is kept.
    at: u64,
    /// What was written of it.
    bytes: Vec<u8>,
    memory: Aligned,
}

/// See the module page.
#[derive(Debug)]
pub(super) struct DirectFile {
    file: File,
    tail: Mutex<Tail>,
}

impl DirectFile {
    /// Opens a file for direct writing.
    pub(super) fn open(path: &Path, mode: OpenMode) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        options.create_new(mode == OpenMode::Create);
        let direct = i32::try_from(OFlags::DIRECT.bits()).map_err(io::Error::other)?;
        Ok(Self {
            file: options.custom_flags(direct).open(path)?,
            tail: Mutex::default(),
        })
    }

    /// The `len` bytes of a block that stand before a write, from what is kept or from the file.
    fn front(&self, tail: &mut Tail, at: u64, len: usize) -> io::Result<Vec<u8>> {
        if len == 0 {
            return Ok(Vec::new());
        }
        if tail.at == at && tail.bytes.len() >= len {
            return Ok(tail.bytes[..len].to_vec());
        }
        let block = tail.memory.slice(BLOCK);
        let read = self.file.read_at(block, at)?;
        block[read..].fill(0);
        Ok(block[..len].to_vec())
    }
}

impl VfsFile for DirectFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut memory = Aligned::default();
        let start = offset - offset % BLOCK as u64;
        let skip = (offset - start) as usize;
        let whole = memory.slice((skip + buffer.len()).next_multiple_of(BLOCK));
        let mut filled = 0;
        while filled < skip + buffer.len() {
            match self
                .file
                .read_at(&mut whole[filled..], start + filled as u64)?
            {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        buffer.copy_from_slice(&whole[skip..skip + buffer.len()]);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let tail = &mut *self.tail.lock();
        let start = offset - offset % BLOCK as u64;
        let skip = (offset - start) as usize;
        let front = self.front(tail, start, skip)?;
        let end = skip + bytes.len();
        let whole = tail.memory.slice(end.next_multiple_of(BLOCK));
        whole[..skip].copy_from_slice(&front);
        whole[skip..end].copy_from_slice(bytes);
        whole[end..].fill(0);
        self.file.write_all_at(whole, start)?;
        let last = end - end % BLOCK;
        tail.at = start + last as u64;
        tail.bytes.clear();
        tail.bytes.extend_from_slice(&whole[last..end]);
        if tail.memory.bytes.len() > KEEP_BYTES + BLOCK {
            tail.memory = Aligned::default();
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        super::os::allocate(&self.file, len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        *self.tail.lock() = Tail::default();
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_holds_what_was_written(
            writes in prop::collection::vec((0_usize..20_000, any::<u8>(), 0_usize..64), 1..12),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            // Where the medium cannot do it there is nothing to test.
            let Ok(file) = DirectFile::open(&path, OpenMode::Create) else { return Ok(()) };
            let mut model = Vec::new();
            let mut file = file;
            for (len, byte, back) in writes {
                // The log's end marker is written over by what follows.
                let from = model.len() - back.min(model.len());
                model.truncate(from);
                model.extend(vec![byte; len]);
                file.write_at(from as u64, &model[from..]).unwrap();
                let mut found = vec![0; model.len()];
                file.read_at(0, &mut found).unwrap();
                prop_assert_eq!(&found, &model);
                if byte % 4 == 0 {
                    drop(file);
                    file = DirectFile::open(&path, OpenMode::Write).unwrap();
                }
            }
            file.truncate(model.len() as u64).unwrap();
            prop_assert_eq!(std::fs::read(&path).unwrap(), model);
        }
    }
}
