//! A disk in memory that behaves as badly as a real one may: un-synced writes, lengths and
//! directory entries are lost, kept or torn at a crash as a seed says, and any operation can be
//! made to fail.
//!
//! Each file is its durable bytes plus the operations since its last `sync_data`; the directory is
//! its durable entries plus the entry operations since the last `sync_dir`. Reads before a crash
//! see everything. After [`SimVfs::crash`] all handles are dead and the locks are free.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::{FileLock, Mapped, OpenMode, Vfs, VfsFile};

/// A torn write keeps or loses whole sectors.
const SECTOR_BYTES: usize = 512;

/// What happens at a crash to what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashMode {
    /// Everything un-synced is gone.
    DropAll,
    /// Everything reached the medium.
    KeepAll,
    /// Each operation, and each sector of a write, is kept, lost or garbled as the seed says.
    Random,
}

/// Which operations fail, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimFault {
    /// The write or sync with this number (counted from the start of the disk) fails with EIO.
    EioAt(u64),
    /// Every write or sync from this number on fails with EIO.
    EioFrom(u64),
    /// Operations that take space fail with ENOSPC.
    NoSpace,
    /// The change with this number fails with ENOSPC if it takes space.
    NoSpaceAt(u64),
    /// Every change from this number on that takes space fails with ENOSPC.
    NoSpaceFrom(u64),
    /// The read, mapping or listing with this number (counted from the start of the disk) fails with
    /// EIO.
    ReadEioAt(u64),
    /// Every read, mapping or listing from this number on fails with EIO.
    ReadEioFrom(u64),
}

#[derive(Clone)]
enum FileOp {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Default)]
struct Inode {
    durable: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<FileOp>,
}

#[derive(Clone)]
enum EntryOp {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Default)]
struct Disk {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    durable: BTreeMap<PathBuf, u64>,
    current: BTreeMap<PathBuf, u64>,
    pending: Vec<EntryOp>,
    locks: Vec<PathBuf>,
    generation: u64,
    write_count: u64,
    read_count: u64,
    fault: Option<SimFault>,
}

/// A machine's view of the simulated disk. Clones share it; after a crash only the view that
/// [`SimVfs::crash`] returned works.
#[derive(Clone, Default)]
pub struct SimVfs {
    disk: Arc<Mutex<Disk>>,
    generation: u64,
}

/// A small deterministic generator (splitmix64), so that a seed names one crash exactly.
struct Seed(u64);

impl Seed {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn set_len(bytes: &mut Vec<u8>, len: u64) -> io::Result<()> {
    bytes.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
    Ok(())
}

fn write_into(bytes: &mut Vec<u8>, offset: u64, from: &[u8]) -> io::Result<()> {
    let start = usize::try_from(offset).map_err(io::Error::other)?;
    if bytes.len() < start + from.len() {
        bytes.resize(start + from.len(), 0);
    }
    bytes[start..start + from.len()].copy_from_slice(from);
    Ok(())
}

fn apply_entry(entries: &mut BTreeMap<PathBuf, u64>, op: &EntryOp) {
    match op {
        EntryOp::Link(path, inode) => {
            entries.insert(path.clone(), *inode);
        }
        EntryOp::Unlink(path) => {
            entries.remove(path);
        }
        EntryOp::Rename(from, to) => {
            if let Some(inode) = entries.remove(from) {
                entries.insert(to.clone(), inode);
            }
        }
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl Disk {
    /// Counts an operation that changes the medium and fails it when a fault says so.
    fn change(&mut self, takes_space: bool) -> io::Result<()> {
        let number = self.write_count;
        self.write_count += 1;
        let eio = || Err(io::Error::from_raw_os_error(5));
        match self.fault {
            Some(SimFault::EioAt(at)) if at == number => eio(),
            Some(SimFault::EioFrom(from)) if from <= number => eio(),
            Some(SimFault::NoSpace) if takes_space => Err(io::Error::from_raw_os_error(28)),
            Some(SimFault::NoSpaceAt(at)) if takes_space && at == number => {
                Err(io::Error::from_raw_os_error(28))
            }
            Some(SimFault::NoSpaceFrom(from)) if takes_space && from <= number => {
                Err(io::Error::from_raw_os_error(28))
            }
            _ => Ok(()),
        }
    }

    /// Counts an operation that only looks, and fails it when a fault says so.
    fn look(&mut self) -> io::Result<()> {
        let number = self.read_count;
        self.read_count += 1;
        match self.fault {
            Some(SimFault::ReadEioAt(at)) if at == number => Err(io::Error::from_raw_os_error(5)),
            Some(SimFault::ReadEioFrom(from)) if from <= number => {
                Err(io::Error::from_raw_os_error(5))
            }
            _ => Ok(()),
        }
    }

    fn entry(&mut self, op: EntryOp) {
        apply_entry(&mut self.current, &op);
        self.pending.push(op);
    }

    fn crash(&mut self, mode: CrashMode, seed: &mut Seed) -> io::Result<()> {
        for inode in self.inodes.values_mut() {
            for op in std::mem::take(&mut inode.pending) {
                crash_op(&mut inode.durable, &op, mode, seed)?;
            }
            inode.current.clone_from(&inode.durable);
        }
        for op in std::mem::take(&mut self.pending) {
            let keep = match mode {
                CrashMode::DropAll => false,
                CrashMode::KeepAll => true,
                CrashMode::Random => seed.next().is_multiple_of(2),
            };
            if keep {
                apply_entry(&mut self.durable, &op);
            }
        }
        self.current.clone_from(&self.durable);
        self.locks.clear();
        self.generation += 1;
        self.fault = None;
        Ok(())
    }
}

/// Applies one un-synced operation to the durable bytes as a crash leaves it.
fn crash_op(
    durable: &mut Vec<u8>,
    op: &FileOp,
    mode: CrashMode,
    seed: &mut Seed,
) -> io::Result<()> {
    match (mode, op) {
        (CrashMode::DropAll, _) => Ok(()),
        (CrashMode::KeepAll, FileOp::Write(offset, bytes)) => write_into(durable, *offset, bytes),
        (CrashMode::KeepAll, FileOp::SetLen(len)) => set_len(durable, *len),
        (CrashMode::Random, FileOp::SetLen(len)) => {
            if seed.next().is_multiple_of(2) {
                set_len(durable, *len)?;
            }
            Ok(())
        }
        (CrashMode::Random, FileOp::Write(offset, bytes)) => match seed.next() % 4 {
            0 => Ok(()),
            1 => write_into(durable, *offset, bytes),
            _ => tear(durable, *offset, bytes, seed),
        },
    }
}

/// Writes some sectors of `bytes`, loses some and garbles some, aligned to the file's sectors.
fn tear(durable: &mut Vec<u8>, offset: u64, bytes: &[u8], seed: &mut Seed) -> io::Result<()> {
    let mut at = 0;
    while at < bytes.len() {
        let position = offset + at as u64;
        let in_sector = SECTOR_BYTES - (position % SECTOR_BYTES as u64) as usize;
        let end = bytes.len().min(at + in_sector);
        match seed.next() % 8 {
            0..=3 => write_into(durable, position, &bytes[at..end])?,
            4 => {
                let half = at + (end - at) / 2;
                write_into(durable, position, &bytes[at..half])?;
            }
            5 => {
                let garbage: Vec<u8> = (at..end).map(|_| seed.next() as u8).collect();
                write_into(durable, position, &garbage)?;
            }
            _ => {}
        }
        at = end;
    }
    Ok(())
}

impl SimVfs {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power: un-synced operations meet the fate that `mode` and `seed` choose. Returns the
    /// view of the machine that boots next.
    ///
    /// # Panics
    /// When a file is larger than memory can address.
    #[must_use]
    pub fn crash(&self, mode: CrashMode, seed: u64) -> Self {
        let mut disk = self.disk.lock();
        let done = disk.crash(mode, &mut Seed(seed));
        assert!(done.is_ok(), "a simulated file outgrew memory");
        Self {
            disk: Arc::clone(&self.disk),
            generation: disk.generation,
        }
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk.lock();
        if disk.generation == self.generation {
            Ok(disk)
        } else {
            Err(io::Error::other("the machine crashed"))
        }
    }

    /// Sets or clears the fault.
    pub fn set_fault(&self, fault: Option<SimFault>) {
        self.disk.lock().fault = fault;
    }

    /// How many operations that change the medium were tried so far.
    #[must_use]
    pub fn write_count(&self) -> u64 {
        self.disk.lock().write_count
    }

    /// How many operations that only look were tried so far.
    #[must_use]
    pub fn read_count(&self) -> u64 {
        self.disk.lock().read_count
    }

    /// The bytes of a file as a reader sees them now.
    #[must_use]
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk.lock();
        let inode = disk.current.get(path)?;
        disk.inodes.get(inode).map(|i| i.current.clone())
    }

    /// The paths of all files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.disk.lock().current.keys().cloned().collect()
    }

    /// A disk of its own with the same files, all durable.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        for path in self.paths() {
            let bytes = self.bytes(&path).unwrap_or_default();
            let mut disk = copy.disk.lock();
            let number = disk.next_inode;
            disk.next_inode += 1;
            let inode = Inode {
                durable: bytes.clone(),
                current: bytes,
                pending: Vec::new(),
            };
            disk.inodes.insert(number, inode);
            disk.durable.insert(path.clone(), number);
            disk.current.insert(path, number);
        }
        copy
    }

    /// Replaces the bytes of a file durably: bit rot, for tests.
    pub fn overwrite(&self, path: &Path, bytes: Vec<u8>) {
        let mut disk = self.disk.lock();
        if let Some(inode) = disk.current.get(path).copied()
            && let Some(inode) = disk.inodes.get_mut(&inode)
        {
            inode.durable.clone_from(&bytes);
            inode.current = bytes;
            inode.pending.clear();
        }
    }
}

impl Vfs for SimVfs {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let mut disk = self.alive()?;
        let inode = match (disk.current.get(path).copied(), mode) {
            (Some(_), OpenMode::Create) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(inode), _) => {
                disk.look()?;
                inode
            }
            (None, OpenMode::Create) => {
                disk.change(true)?;
                let inode = disk.next_inode;
                disk.next_inode += 1;
                disk.inodes.insert(inode, Inode::default());
                disk.entry(EntryOp::Link(path.to_owned(), inode));
                inode
            }
            (None, _) => return Err(not_found(path)),
        };
        let generation = disk.generation;
        Ok(Arc::new(SimFile {
            disk: Arc::clone(&self.disk),
            inode,
            generation,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.alive()?;
        disk.change(false)?;
        if !disk.current.contains_key(from) {
            return Err(not_found(from));
        }
        disk.entry(EntryOp::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.alive()?;
        disk.change(false)?;
        if !disk.current.contains_key(path) {
            return Err(not_found(path));
        }
        disk.entry(EntryOp::Unlink(path.to_owned()));
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.alive()?;
        disk.change(true)?;
        let Some(inode) = disk.current.get(from).copied() else {
            return Err(not_found(from));
        };
        if disk.current.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.entry(EntryOp::Link(to.to_owned(), inode));
        Ok(())
    }

    fn remove_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut disk = self.alive()?;
        disk.look()?;
        let inside = disk.current.keys().filter(|p| p.parent() == Some(dir));
        Ok(inside
            .filter_map(|p| p.file_name()?.to_str().map(str::to_owned))
            .collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.alive()?;
        disk.change(false)?;
        let concerns = |op: &EntryOp| match op {
            EntryOp::Link(path, _) | EntryOp::Unlink(path) => path.parent() == Some(dir),
            EntryOp::Rename(_, to) => to.parent() == Some(dir),
        };
        let (done, rest) = std::mem::take(&mut disk.pending)
            .into_iter()
            .partition(concerns);
        disk.pending = rest;
        let done: Vec<EntryOp> = done;
        for op in &done {
            apply_entry(&mut disk.durable, op);
        }
        Ok(())
    }

    fn map_sealed(&self, path: &Path) -> io::Result<Mapped> {
        self.alive()?.look()?;
        self.bytes(path)
            .map(Mapped::owned)
            .ok_or_else(|| not_found(path))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        let mut disk = self.alive()?;
        if disk.locks.iter().any(|held| held == path) {
            return Ok(None);
        }
        disk.locks.push(path.to_owned());
        Ok(Some(Box::new(SimLock {
            disk: Arc::clone(&self.disk),
            path: path.to_owned(),
            generation: disk.generation,
        })))
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let disk = self.alive()?;
        let full = match disk.fault {
            Some(SimFault::NoSpace) => true,
            Some(SimFault::NoSpaceFrom(from)) => from <= disk.write_count,
            _ => false,
        };
        Ok(if full { 0 } else { 1 << 40 })
    }
}

struct SimFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    generation: u64,
}

impl SimFile {
    fn with<T>(&self, f: impl FnOnce(&mut Disk, u64) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock();
        if disk.generation != self.generation {
            return Err(io::Error::other("the machine crashed"));
        }
        f(&mut disk, self.inode)
    }

    fn change(&self, takes_space: bool, op: FileOp) -> io::Result<()> {
        self.with(|disk, inode| {
            disk.change(takes_space)?;
            let inode = disk.inodes.entry(inode).or_default();
            match &op {
                FileOp::Write(offset, bytes) => write_into(&mut inode.current, *offset, bytes)?,
                FileOp::SetLen(len) => set_len(&mut inode.current, *len)?,
            }
            inode.pending.push(op);
            Ok(())
        })
    }
}

impl VfsFile for SimFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.with(|disk, inode| {
            disk.look()?;
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let inode = disk.inodes.entry(inode).or_default();
            let bytes = start
                .checked_add(buffer.len())
                .and_then(|end| inode.current.get(start..end))
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(true, FileOp::Write(offset, bytes.to_vec()))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let now = self.len()?;
        self.change(true, FileOp::SetLen(now.max(len)))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(false, FileOp::SetLen(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|disk, inode| {
            disk.change(false)?;
            let inode = disk.inodes.entry(inode).or_default();
            inode.pending.clear();
            inode.durable.clone_from(&inode.current);
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|disk, inode| Ok(disk.inodes.entry(inode).or_default().current.len() as u64))
    }
}

struct SimLock {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
    generation: u64,
}

impl FileLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.disk.lock();
        if disk.generation == self.generation {
            disk.locks.retain(|held| held != &self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_loses_what_was_not_synced() {
        let disk = SimVfs::new();
        let (dir, path) = (Path::new("d"), Path::new("d/f"));
        let file = disk.open(path, OpenMode::Create).unwrap();
        file.write_at(0, b"durable").unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(dir).unwrap();
        file.write_at(0, b"DURABLE, more").unwrap();
        let after = disk.crash(CrashMode::DropAll, 0);
        assert!(file.len().is_err(), "handles die with the machine");
        assert!(disk.list(dir).is_err(), "and so does its view");
        assert_eq!(after.bytes(path).unwrap(), b"durable");
    }

    #[test]
    fn an_entry_without_directory_sync_is_lost() {
        let disk = SimVfs::new();
        let file = disk.open(Path::new("d/f"), OpenMode::Create).unwrap();
        file.write_at(0, b"x").unwrap();
        file.sync_data().unwrap();
        let disk = disk.crash(CrashMode::DropAll, 0);
        assert_eq!(disk.bytes(Path::new("d/f")), None);
    }

    #[test]
    fn faults_hit_the_chosen_operation() {
        let disk = SimVfs::new();
        let file = disk.open(Path::new("d/f"), OpenMode::Create).unwrap();
        disk.set_fault(Some(SimFault::EioAt(disk.write_count() + 1)));
        file.write_at(0, b"x").unwrap();
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
        file.sync_data().unwrap();
        disk.set_fault(Some(SimFault::NoSpace));
        let full = file.write_at(0, b"x").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }
}
