//! Every touch of a file goes through the traits of this module, so that tests can run the whole
//! store on a disk that loses, tears and refuses writes ([`SimVfs`]).
//!
//! Contract, as promised by the medium (reliability 3): after `sync_data` returned Ok a file's
//! bytes and length survive a power cut; after `sync_dir` the entries of a directory do; anything
//! else may reach the medium in any order or not at all.

mod direct;
mod mmap;
mod os;
mod sim;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use mmap::Mapped;
pub(crate) use mmap::prefetch;
pub use os::OsVfs;
pub use sim::{CrashMode, SimFault, SimVfs};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; reads only.
    Read,
    /// Must exist; reads and writes.
    Write,
    /// Must not exist; is created.
    Create,
}

/// A directory tree of files.
pub trait Vfs: Send + Sync {
    /// Makes a directory and its parents; existing ones are fine.
    ///
    /// # Errors
    /// As the medium says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Opens a file.
    ///
    /// # Errors
    /// As the medium says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>>;

    /// Opens a file for a log: writes go forward, each may turn what stands behind it, up to the next
    /// 4 KiB boundary, into zeros, and syncs are many.
    ///
    /// # Errors
    /// As the medium says.
    fn open_log(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        self.open(path, mode)
    }

    /// Renames a file, replacing the target at once, or a directory, whose target must not exist.
    ///
    /// # Errors
    /// As the medium says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the medium says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file that is never written again a second name, which must not exist; copies it where
    /// the medium has no second names.
    ///
    /// # Errors
    /// As the medium says.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As the medium says.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names of the files in a directory, sorted.
    ///
    /// # Errors
    /// As the medium says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// The names of the directories in a directory, sorted.
    ///
    /// # Errors
    /// As the medium says.
    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// As the medium says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// A read-only view of a file that is never written again.
    ///
    /// # Errors
    /// As the medium says.
    fn map_sealed(&self, path: &Path) -> io::Result<Mapped>;

    /// Takes the exclusive lock on a file, creating it; `None` when another holder exists. The lock
    /// ends when the returned guard is dropped or the process dies.
    ///
    /// # Errors
    /// As the medium says.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>>;

    /// Free bytes for an ordinary user on the medium of `dir`.
    ///
    /// # Errors
    /// As the medium says.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file. Positioned reads and writes only, so it can be shared.
pub trait VfsFile: Send + Sync {
    /// Fills `buffer` from `offset`; fails with `UnexpectedEof` when the file ends before.
    ///
    /// # Errors
    /// As the medium says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, growing the file where needed.
    ///
    /// # Errors
    /// As the medium says.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reserves space for the first `len` bytes and grows the file to that length.
    ///
    /// # Errors
    /// As the medium says.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts or grows the file to `len` bytes.
    ///
    /// # Errors
    /// As the medium says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes bytes and length durable.
    ///
    /// # Errors
    /// As the medium says. A failure is final for the file: what was written may be gone.
    fn sync_data(&self) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// As the medium says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// As the medium says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Holds a file lock until dropped.
pub trait FileLock: Send + Sync {}

/// Reads a whole file that may be at most `max_bytes` long.
///
/// # Errors
/// As the medium says, or `InvalidData` when the file is longer.
pub(crate) fn read_all(vfs: &dyn Vfs, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = vfs.open(path, OpenMode::Read)?;
    let len = file.len()?;
    if len > max_bytes {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("file of {len} bytes is larger than {max_bytes}"),
        ));
    }
    let len = usize::try_from(len).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}
