//! The files beside blocks and log, `EXEMPLARS` and `METADATA`: each holds all that was known at the
//! last flush, and is replaced as a whole.
//!
//! Layout: `"TBNSID01", u16 version to read, u16 version that wrote, u64 bytes of the content, u32
//! CRC-32C of the 20 bytes before and the content`, content. A damaged one is set aside and named;
//! what the log still has comes back.

use std::path::Path;

use crate::db::Store;
use crate::error::{Corruption, DbError, IoContext, OpenError};
use crate::head::Head;
use crate::vfs::{OpenMode, Vfs, read_all};

/// File names in the data directory.
pub(crate) const EXEMPLARS: &str = "EXEMPLARS";
pub(crate) const METADATA: &str = "METADATA";

const MAGIC: &[u8; 8] = b"TBNSID01";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 24;
const MAX_BYTES: u64 = 4 << 30;

fn encode(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + content.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(content.len() as u64).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out), content);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(content);
    out
}

/// Why a file cannot be used.
#[derive(Debug)]
enum Unusable {
    TooNew(u16),
    Damaged(&'static str),
}

fn decode(bytes: &[u8]) -> Result<&[u8], Unusable> {
    let Some((header, content)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Unusable::Damaged("a header of 24 bytes"));
    };
    if !header.starts_with(MAGIC) {
        return Err(Unusable::Damaged("magic TBNSID01"));
    }
    let stored = u32::from_le_bytes([header[20], header[21], header[22], header[23]]);
    let computed = crc32c::crc32c_append(crc32c::crc32c(&header[..20]), content);
    if stored != computed {
        return Err(Unusable::Damaged("a valid checksum"));
    }
    let version = u16::from_le_bytes([header[8], header[9]]);
    if version > VERSION {
        return Err(Unusable::TooNew(version));
    }
    Ok(content)
}

fn write(vfs: &dyn Vfs, dir: &Path, name: &str, content: &[u8]) -> Result<(), DbError> {
    let (path, fresh) = (dir.join(name), dir.join(format!("{name}.tmp")));
    let _ = vfs.remove(&fresh);
    let file = vfs.open(&fresh, OpenMode::Create);
    let file = file.doing("creating", &fresh)?;
    file.write_at(0, &encode(content))
        .doing("writing", &fresh)?;
    file.sync_data().doing("syncing", &fresh)?;
    vfs.rename(&fresh, &path).doing("renaming", &fresh)?;
    vfs.sync_dir(dir).doing("syncing", dir)
}

/// Reads both files into the head; returns the damage found.
pub(crate) fn load(vfs: &dyn Vfs, dir: &Path, head: &Head) -> Result<Vec<Corruption>, OpenError> {
    let mut damage = Vec::new();
    for name in [EXEMPLARS, METADATA] {
        let path = dir.join(name);
        let bytes = match read_all(vfs, &path, MAX_BYTES) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            read => read.doing("reading", &path)?,
        };
        let expected = match decode(&bytes) {
            Ok(content) => {
                let read = match name {
                    EXEMPLARS => head.exemplars.decode(content),
                    _ => head.metadata.decode(content),
                };
                match read {
                    Ok(()) => continue,
                    Err(malformed) => malformed.0,
                }
            }
            Err(Unusable::TooNew(found)) => {
                return Err(OpenError::TooNew {
                    file: name.to_owned(),
                    found,
                    supported: VERSION,
                });
            }
            Err(Unusable::Damaged(expected)) => expected,
        };
        let found = Corruption::new(name, 0, expected, "something else");
        tracing::error!(damage = %found, "a file is damaged and set aside");
        damage.push(found);
        let aside = dir.join(format!("{name}.damaged"));
        vfs.rename(&path, &aside).doing("renaming", &path)?;
    }
    Ok(damage)
}

impl Store {
    /// Writes what the log is about to lose. Called by a flush after its cut of the log and before
    /// segments go.
    pub(crate) fn write_sidecars(&self) -> Result<(), DbError> {
        let head = &self.head;
        let (exemplars, metadata) = (head.exemplars.encode(), head.metadata.encode());
        let written = self.write_changed(exemplars.as_deref(), metadata.as_deref());
        if written.is_err() {
            head.exemplars.mark_changed();
            head.metadata.mark_changed();
        }
        written
    }

    fn write_changed(
        &self,
        exemplars: Option<&[u8]>,
        metadata: Option<&[u8]>,
    ) -> Result<(), DbError> {
        if exemplars.is_none() && metadata.is_none() {
            return Ok(());
        }
        // Requests under way hand over their records before they let go of their lanes; what is in
        // the files is then no less durable than its request.
        drop(self.head.all_lanes());
        self.wal.sync().wait()?;
        for (name, content) in [(EXEMPLARS, exemplars), (METADATA, metadata)] {
            if let Some(content) = content {
                write(&*self.vfs, &self.options.data_dir, name, content)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_comes_back_and_every_flip_is_seen() {
        let file = encode(b"content");
        assert_eq!(decode(&file).unwrap(), b"content");
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 4;
            assert!(decode(&damaged).is_err(), "byte {at}");
            assert!(decode(&file[..at]).is_err(), "length {at}");
        }
    }
}
