//! The chunk files of a Prometheus block, `chunks/000001` and on.
//!
//! A file is `u32 magic, u8 version 1, 3 zero bytes`, then chunks: `uvarint data length, u8 encoding,
//! data, u32 CRC-32C of encoding and data`. A chunk is named by the number of its file (0 for
//! 000001) in the high 32 bits and the offset of its length in the low ones. Files stay below 512 MiB.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bytes::{checked, damage};
use super::chunk::{EncodedChunk, Encoding};
use crate::codec::bytes::{Cursor, put_uvarint};
use crate::error::{Corruption, DbError, IoContext};
use crate::vfs::{Mapped, OpenMode, Vfs, VfsFile};

/// Folder of the files inside a block.
pub(super) const DIRECTORY: &str = "chunks";

const HEADER: [u8; 8] = [0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0];

/// Longest file that is written.
const MAX_SEGMENT_BYTES: u64 = 512 << 20;

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// The name of file `number`, from 0.
fn file_name(number: usize) -> String {
    format!("{:06}", number + 1)
}

/// The open chunk files of a block.
pub(super) struct Segments {
    /// Each with its name for messages.
    files: Vec<(String, Mapped)>,
}

impl Segments {
    /// Opens the files below `block`, which is called `name` in messages.
    pub(super) fn open(vfs: &dyn Vfs, block: &Path, name: &str) -> Result<Self, DbError> {
        let dir = block.join(DIRECTORY);
        let mut files = Vec::new();
        for number in 0.. {
            let file = file_name(number);
            let path = dir.join(&file);
            let map = match vfs.map_sealed(&path) {
                Ok(map) => map,
                Err(e) if e.kind() == io::ErrorKind::NotFound => break,
                Err(e) => return Err(e).doing("mapping", &path),
            };
            let name = format!("{name}/{DIRECTORY}/{file}");
            if !map.starts_with(&HEADER[..5]) {
                let found = format!("{:02x?}", map.get(..5).unwrap_or(&map));
                let expected = "a chunk file: magic 85bd40dd, version 1";
                return Err(Corruption::new(name, 0, expected, found).into());
            }
            files.push((name, map));
        }
        Ok(Self { files })
    }

    /// The chunk that a series names.
    pub(super) fn chunk(&self, reference: u64) -> Result<(Encoding, &[u8]), Corruption> {
        let (number, at) = (
            (reference >> 32) as usize,
            (reference & 0xffff_ffff) as usize,
        );
        let Some((file, bytes)) = self.files.get(number) else {
            let file = format!("{DIRECTORY}/{}", file_name(number));
            return Err(Corruption::new(file, at as u64, "a chunk", "no file"));
        };
        let mut cursor = Cursor::new(bytes.get(at..).unwrap_or_default());
        let before = cursor.remaining();
        let len = cursor.uvarint32();
        let len = len.map_err(|m| damage(file, at, "a chunk's length", m))? as usize;
        let start = at + before - cursor.remaining();
        let content = checked(bytes, file, start, len.saturating_add(1), "a chunk")?;
        let (code, data) = (content[0], &content[1..]);
        let encoding = Encoding::from_byte(code).ok_or_else(|| {
            let found = format!("encoding {code}");
            Corruption::new(file, start as u64, "a chunk encoding from 1 to 6", found)
        })?;
        Ok((encoding, data))
    }

    /// Names a chunk that cannot be decoded.
    pub(super) fn undecodable(&self, reference: u64, found: crate::codec::Malformed) -> Corruption {
        let file = self.files.get((reference >> 32) as usize);
        let file = file.map_or("chunks", |(name, _)| name.as_str());
        damage(
            file,
            (reference & 0xffff_ffff) as usize,
            "a decodable chunk",
            found,
        )
    }
}

/// Writes chunk files.
pub(super) struct SegmentWriter {
    dir: PathBuf,
    current: Option<Arc<dyn VfsFile>>,
    /// Files begun.
    count: usize,
    written: u64,
    buffer: Vec<u8>,
    max_bytes: u64,
    total: u64,
}

impl SegmentWriter {
    /// A writer into an existing folder.
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            current: None,
            count: 0,
            written: 0,
            buffer: Vec::new(),
            max_bytes: MAX_SEGMENT_BYTES,
            total: 0,
        }
    }

    /// Appends a chunk and returns its name.
    pub(super) fn put(&mut self, vfs: &dyn Vfs, chunk: &EncodedChunk) -> Result<u64, DbError> {
        let mut bytes = Vec::with_capacity(chunk.data.len() + 10);
        put_uvarint(&mut bytes, chunk.data.len() as u64);
        let covered = bytes.len();
        bytes.push(chunk.encoding as u8);
        bytes.extend_from_slice(&chunk.data);
        let crc = crc32c::crc32c(&bytes[covered..]);
        bytes.extend_from_slice(&crc.to_be_bytes());
        let position = self.written + self.buffer.len() as u64;
        if self.current.is_none() || position + bytes.len() as u64 > self.max_bytes {
            self.next(vfs)?;
        }
        let at = self.written + self.buffer.len() as u64;
        self.buffer.extend_from_slice(&bytes);
        self.total += bytes.len() as u64;
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(((self.count - 1) as u64) << 32 | at)
    }

    fn path(&self) -> PathBuf {
        self.dir.join(file_name(self.count.saturating_sub(1)))
    }

    fn next(&mut self, vfs: &dyn Vfs) -> Result<(), DbError> {
        self.finish_file()?;
        self.count += 1;
        let path = self.path();
        let file = vfs.open(&path, OpenMode::Create).doing("creating", &path)?;
        self.current = Some(file);
        self.written = 0;
        self.buffer.extend_from_slice(&HEADER);
        self.total += HEADER.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DbError> {
        if let Some(file) = &self.current {
            file.write_at(self.written, &self.buffer)
                .doing("writing", &self.path())?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    fn finish_file(&mut self) -> Result<(), DbError> {
        self.flush()?;
        if let Some(file) = self.current.take() {
            file.sync_data().doing("syncing", &self.path())?;
        }
        Ok(())
    }

    /// Syncs what was written and returns its bytes.
    pub(super) fn finish(mut self, vfs: &dyn Vfs) -> Result<u64, DbError> {
        self.finish_file()?;
        vfs.sync_dir(&self.dir).doing("syncing", &self.dir)?;
        Ok(self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::SimVfs;

    fn chunk(byte: u8, len: usize) -> EncodedChunk {
        EncodedChunk {
            encoding: Encoding::Xor,
            min_ms: 0,
            max_ms: 0,
            samples: 1,
            data: vec![byte; len],
        }
    }

    #[test]
    fn chunks_come_back_from_several_files_and_damage_is_named() {
        let vfs = SimVfs::new();
        let block = Path::new("b");
        let mut writer = SegmentWriter::new(&block.join(DIRECTORY));
        writer.max_bytes = 1000;
        let lens = [0_usize, 1, 300, 500, 400, 200, 900];
        let mut names = Vec::new();
        for (at, len) in lens.iter().enumerate() {
            names.push(writer.put(&vfs, &chunk(at as u8, *len)).unwrap());
        }
        writer.finish(&vfs).unwrap();
        assert!(names.is_sorted() && names[6] >> 32 == 2);
        let open = || Segments::open(&vfs, block, "b").unwrap();
        for (at, (name, len)) in names.iter().zip(lens).enumerate() {
            let segments = open();
            let (encoding, data) = segments.chunk(*name).unwrap();
            assert_eq!((encoding, data), (Encoding::Xor, &vec![at as u8; len][..]));
        }
        let path = block.join("chunks/000001");
        let bytes = vfs.bytes(&path).unwrap();
        for at in 8..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            vfs.overwrite(&path, damaged);
            let segments = open();
            assert!(
                names[..4].iter().any(|name| segments.chunk(*name).is_err()),
                "byte {at}"
            );
        }
        for len in 8..bytes.len() {
            vfs.overwrite(&path, bytes[..len].to_vec());
            assert!(open().chunk(names[3]).is_err());
        }
        vfs.overwrite(&path, vec![1, 2, 3]);
        assert!(Segments::open(&vfs, block, "b").is_err());
        assert!(open_missing(&vfs).chunk(5 << 32).is_err());
    }

    fn open_missing(vfs: &SimVfs) -> Segments {
        Segments::open(vfs, Path::new("nothing"), "nothing").unwrap()
    }
}
