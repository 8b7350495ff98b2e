//! What is in a data directory.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::block;
use super::wal;
use super::{BlockView, InspectError, SegmentView};
use crate::block::format;
use crate::error::{Corruption, DbError, IoContext};
use crate::manifest::{self, Found, ManifestState};
use crate::vfs::Vfs;
use crate::wal::segment;

/// Blocks of one level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LevelView {
    /// The level.
    pub level: u8,
    /// Blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their series; one counts once per block.
    pub series: u64,
    /// Their samples.
    pub samples: u64,
    /// Oldest sample.
    pub min_ms: i64,
    /// Newest sample.
    pub max_ms: i64,
}

/// What a manifest says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestView {
    /// Blocks that it names: number, oldest and newest sample, deletions.
    pub blocks: Vec<(u64, i64, i64, u64)>,
    /// In-order samples before this are in blocks; `None` before the first flush.
    pub flushed_ms: Option<i64>,
    /// Late samples of log segments before this are in blocks.
    pub cut_seq: u64,
    /// Number of the next block.
    pub next_seq: u64,
    /// Damage that keeps it from being read.
    pub damage: Option<Corruption>,
    /// Whether there is a manifest.
    pub present: bool,
}

/// A data directory.
#[derive(Debug, Clone)]
pub struct DirectoryView {
    /// The directory.
    pub directory: String,
    /// Its manifest.
    pub manifest: ManifestView,
    /// Levels in use.
    pub levels: Vec<LevelView>,
    /// Blocks, oldest first.
    pub blocks: Vec<BlockView>,
    /// Segments of the write-ahead log in order.
    pub segments: Vec<SegmentView>,
    /// Files that no manifest names, leftovers, and what was set aside.
    pub notes: Vec<String>,
    /// Blocks and segments that cannot be shown.
    pub damage: Vec<Corruption>,
}

/// Reads the manifest of a directory.
pub(super) fn manifest_view(vfs: &dyn Vfs, dir: &Path) -> Result<ManifestView, InspectError> {
    Ok(match manifest::read(vfs, dir)? {
        Found::Intact(state) => intact(&state),
        Found::Missing => ManifestView::default(),
        Found::Damaged(damage) => ManifestView {
            damage: Some(damage),
            present: true,
            ..ManifestView::default()
        },
    })
}

fn intact(state: &ManifestState) -> ManifestView {
    let deletions = |seq: &u64| state.tombstones.get(seq).map_or(0, Vec::len) as u64;
    let blocks = state.blocks.values();
    let blocks = blocks.map(|b| (b.seq, b.min_ms, b.max_ms, deletions(&b.seq)));
    ManifestView {
        blocks: blocks.collect(),
        flushed_ms: (state.flushed_ms > i64::MIN).then_some(state.flushed_ms),
        cut_seq: state.cut_seq,
        next_seq: state.next_seq,
        damage: None,
        present: true,
    }
}

/// The numbers of the block files that are to be read, and notes on the others.
pub(super) fn block_files(
    vfs: &dyn Vfs,
    dir: &Path,
    manifest: &ManifestView,
) -> Result<(Vec<u64>, Vec<String>), DbError> {
    let blocks_dir = dir.join("blocks");
    let names = list(vfs, &blocks_dir)?;
    let readable = manifest.present && manifest.damage.is_none();
    let mut seqs: Vec<u64> = manifest.blocks.iter().map(|b| b.0).collect();
    let mut notes = Vec::new();
    for name in names {
        match format::parse_file_name(&name) {
            Some(seq) if readable && !seqs.contains(&seq) => {
                notes.push(format!("blocks/{name}: no manifest names it"));
            }
            Some(seq) if !readable => seqs.push(seq),
            Some(_) => {}
            None => notes.push(format!("blocks/{name}: a leftover")),
        }
    }
    seqs.sort_unstable();
    Ok((seqs, notes))
}

/// The numbers of the log segments, and notes on the other files beside them.
pub(super) fn segment_files(vfs: &dyn Vfs, dir: &Path) -> Result<(Vec<u64>, Vec<String>), DbError> {
    let (mut seqs, mut notes) = (Vec::new(), Vec::new());
    for name in list(vfs, &dir.join("wal"))? {
        match segment::parse_file_name(&name) {
            Some(seq) => seqs.push(seq),
            None if name == segment::SPARE_NAME || name == segment::TEMPORARY_NAME => {}
            None => notes.push(format!("wal/{name}: set aside")),
        }
    }
    seqs.sort_unstable();
    Ok((seqs, notes))
}

fn list(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<String>, DbError> {
    match vfs.list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.doing("listing", dir),
    }
}

/// Whether a file is simply gone: a running server may have replaced it.
pub(super) fn is_gone(error: &InspectError) -> bool {
    matches!(error, InspectError::Io(DbError::Io { source, .. })
        if source.kind() == io::ErrorKind::NotFound)
}

/// Reads the segments of a directory in order. Those that a server removes meanwhile are left out.
pub(super) fn segments(
    vfs: &dyn Vfs,
    dir: &Path,
    seqs: &[u64],
) -> Result<Vec<SegmentView>, InspectError> {
    let mut views: Vec<SegmentView> = Vec::new();
    // From the back, since the next one tells where a segment ends.
    let mut next: Option<(u64, u64)> = None;
    for seq in seqs.iter().rev() {
        let name = segment::file_name(*seq);
        let path = dir.join("wal").join(&name);
        let sealed_at = next.filter(|(at, _)| *at == seq + 1).map(|(_, lsn)| lsn);
        match wal::read(vfs, &path, &format!("wal/{name}"), sealed_at) {
            Ok((mut view, readable)) => {
                let is_last = views.is_empty();
                if !is_last && view.torn_bytes > 0 {
                    let found = format!("{} bytes of something else", view.torn_bytes);
                    let expected = "a frame with a valid checksum";
                    let damage = Corruption::new(&*view.file, view.used_bytes, expected, found);
                    view.damage.push(damage);
                }
                next = readable.then_some((*seq, view.first_lsn));
                views.push(view);
            }
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    views.reverse();
    Ok(views)
}

/// Reads what there is to say about a directory.
pub(super) fn view(vfs: &dyn Vfs, dir: &Path) -> Result<DirectoryView, InspectError> {
    let manifest = manifest_view(vfs, dir)?;
    let (seqs, mut notes) = block_files(vfs, dir, &manifest)?;
    let (segment_seqs, more) = segment_files(vfs, dir)?;
    notes.extend(more);
    let mut damage: Vec<Corruption> = manifest.damage.iter().cloned().collect();
    let mut blocks = Vec::new();
    for seq in seqs {
        let name = format::file_name(seq);
        let path = dir.join("blocks").join(&name);
        let opened = block::open(vfs, &path, &format!("blocks/{name}"));
        match opened.and_then(|block| block::view(&block)) {
            Ok(view) => blocks.push(view),
            Err(InspectError::Corrupt(found)) => damage.push(found),
            Err(error) if is_gone(&error) => notes.push(format!("blocks/{name}: not there")),
            Err(error) => return Err(error),
        }
    }
    blocks.sort_by_key(|block| (block.min_ms, block.seq));
    let segments = segments(vfs, dir, &segment_seqs)?;
    damage.extend(segments.iter().flat_map(|s| s.damage.iter().cloned()));
    Ok(DirectoryView {
        directory: dir.display().to_string(),
        levels: levels(&blocks),
        manifest,
        blocks,
        segments,
        notes,
        damage,
    })
}

fn levels(blocks: &[BlockView]) -> Vec<LevelView> {
    let mut levels: BTreeMap<u8, LevelView> = BTreeMap::new();
    for block in blocks {
        let level = levels.entry(block.level).or_insert(LevelView {
            level: block.level,
            min_ms: i64::MAX,
            max_ms: i64::MIN,
            ..LevelView::default()
        });
        level.blocks += 1;
        level.bytes += block.file_bytes;
        level.series += block.series;
        level.samples += block.samples;
        level.min_ms = level.min_ms.min(block.min_ms);
        level.max_ms = level.max_ms.max(block.max_ms);
    }
    levels.into_values().collect()
}
