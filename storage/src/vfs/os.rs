//! Files of the operating system (Linux).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};

use super::direct::DirectFile;
use super::{FileLock, Mapped, OpenMode, Vfs, VfsFile};

/// The real file system.
#[derive(Debug, Default, Clone, Copy)]
pub struct OsVfs;

impl Vfs for OsVfs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true).create_new(true);
            }
        }
        Ok(Arc::new(OsFile(options.open(path)?)))
    }

    fn open_log(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        match DirectFile::open(path, mode) {
            Ok(file) => Ok(Arc::new(file)),
            // Not every file system can do it, and some say so only after creating the file.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                ) =>
            {
                if mode == OpenMode::Create {
                    let _ = fs::remove_file(path);
                }
                self.open(path, mode)
            }
            Err(e) => Err(e),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::hard_link(from, to) {
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::Unsupported
                        | io::ErrorKind::CrossesDevices
                        | io::ErrorKind::TooManyLinks
                        | io::ErrorKind::PermissionDenied
                ) =>
            {
                let mut source = File::open(from)?;
                let mut target = File::create_new(to)?;
                io::copy(&mut source, &mut target)?;
                target.sync_data()
            }
            linked => linked,
        }
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        entries(dir, fs::FileType::is_file)
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        entries(dir, fs::FileType::is_dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn map_sealed(&self, path: &Path) -> io::Result<Mapped> {
        Mapped::map(&File::open(path)?)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(OsLock(file)))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// The names of the entries of one kind, sorted.
fn entries(dir: &Path, wanted: fn(&fs::FileType) -> bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if wanted(&entry.file_type()?)
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Reserves space for the first `len` bytes.
pub(super) fn allocate(file: &File, len: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, len) {
        Ok(()) => Ok(()),
        // Not every file system can reserve; a sparse file then has to do.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(len),
        Err(errno) => Err(errno.into()),
    }
}

struct OsFile(File);

impl VfsFile for OsFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        allocate(&self.0, len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Holds the open file; the kernel releases the lock with it.
struct OsLock(#[expect(dead_code, reason = "kept open for its lock")] File);

impl FileLock for OsLock {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_mapped_listed_and_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = OsVfs.open(&path, OpenMode::Create).unwrap();
        assert!(OsVfs.open(&path, OpenMode::Create).is_err());
        file.allocate(4096).unwrap();
        file.write_at(10, b"abc").unwrap();
        file.sync_data().unwrap();
        let mut three = [0; 3];
        file.read_at(10, &mut three).unwrap();
        assert_eq!(&three, b"abc");
        assert!(file.read_at(4095, &mut three).is_err());
        file.truncate(13).unwrap();
        assert_eq!(OsVfs.map_sealed(&path).unwrap().len(), 13);
        assert_eq!(OsVfs.list(dir.path()).unwrap(), ["f"]);
        let link = dir.path().join("g");
        OsVfs.hard_link(&path, &link).unwrap();
        assert!(OsVfs.hard_link(&path, &link).is_err());
        OsVfs.remove(&path).unwrap();
        assert_eq!(OsVfs.map_sealed(&link).unwrap()[10..13], *b"abc");
        assert!(OsVfs.remove_dir(dir.path()).is_err(), "not empty");
        let lock = OsVfs.lock(&dir.path().join("LOCK")).unwrap();
        assert!(lock.is_some());
        assert!(OsVfs.lock(&dir.path().join("LOCK")).unwrap().is_none());
        drop(lock);
        assert!(OsVfs.lock(&dir.path().join("LOCK")).unwrap().is_some());
        assert!(OsVfs.free_bytes(dir.path()).unwrap() > 0);
    }
}
