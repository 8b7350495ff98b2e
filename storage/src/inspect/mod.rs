//! Looking into files without changing them: what is there, and whether all of it is intact.
//!
//! Nothing here takes the lock or opens a file for writing, so it works beside a running server:
//! blocks never change, and of a log that is being written the part that is complete is shown. A file
//! that a server replaces meanwhile is passed over.

mod block;
mod directory;
mod verify;
mod wal;

use std::path::{Path, PathBuf};

pub use block::{BlockView, CodecView, LabelView, SectionView};
pub use directory::{DirectoryView, LevelView, ManifestView};
pub use verify::{VerifyReport, verify};
pub use wal::{RecordView, SegmentView};

use crate::error::{Corruption, DbError, IoContext, OpenError};
use crate::manifest;
use crate::vfs::{OpenMode, Vfs};

/// What a path turned out to be.
#[derive(Debug, Clone)]
pub enum View {
    /// A data directory.
    Directory(Box<DirectoryView>),
    /// A block file.
    Block(Box<BlockView>),
    /// A segment of the write-ahead log.
    Segment(Box<SegmentView>),
    /// A manifest.
    Manifest(Box<ManifestView>),
}

/// Why a path cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It is nothing that Tenbin writes.
    #[error(
        "{} is neither a data directory nor a block, log segment or manifest of Tenbin",
        .0.display()
    )]
    Unknown(PathBuf),
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] DbError),
    /// A file is of a newer version.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file is too damaged to be shown.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
}

/// Kinds of files, by their first bytes or else by their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    Block,
    Segment,
    Manifest,
}

fn kind_of(vfs: &dyn Vfs, path: &Path) -> Result<Kind, InspectError> {
    if let Ok(names) = vfs.list(path) {
        let is_data = names.iter().any(|name| name == manifest::FILE_NAME)
            || vfs
                .list_dirs(path)
                .is_ok_and(|dirs| dirs.iter().any(|d| d == "blocks"));
        // The simulated disk lists anything.
        if is_data {
            return Ok(Kind::Directory);
        }
    }
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let mut magic = [0; 8];
    let file = match vfs.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Err::<(), _>(e)
                .doing("opening", path)
                .err()
                .map_or_else(|| InspectError::Unknown(path.to_owned()), InspectError::Io));
        }
        Err(_) => return Err(InspectError::Unknown(path.to_owned())),
    };
    let _ = file.read_at(0, &mut magic);
    let ends = |end: &str| name.ends_with(end);
    if &magic == b"TBNBLK01" || ends(".blk") {
        Ok(Kind::Block)
    } else if &magic == b"TBNWAL01" || ends(".wal") || ends(".wal.damaged") {
        Ok(Kind::Segment)
    } else if name == manifest::FILE_NAME {
        Ok(Kind::Manifest)
    } else {
        Err(InspectError::Unknown(path.to_owned()))
    }
}

/// Shows what is at a path.
///
/// # Errors
/// When it is nothing of Tenbin's, cannot be read, or is too damaged to say anything about it.
pub fn inspect(vfs: &dyn Vfs, path: &Path) -> Result<View, InspectError> {
    let name = path.display().to_string();
    Ok(match kind_of(vfs, path)? {
        Kind::Directory => View::Directory(Box::new(directory::view(vfs, path)?)),
        Kind::Block => View::Block(Box::new(block::view(&block::open(vfs, path, &name)?)?)),
        Kind::Segment => {
            let (view, _) = wal::read(vfs, path, &name, None)?;
            View::Segment(Box::new(view))
        }
        Kind::Manifest => {
            let dir = path.parent().unwrap_or(Path::new("."));
            View::Manifest(Box::new(directory::manifest_view(vfs, dir)?))
        }
    })
}
