//! The manifest: which blocks exist and how far the WAL is in them. An append-only file of edits.
//!
//! Layout: `"TBNMAN01", u16 read version, u16 write version, u32 crc of these`, then frames `u32
//! length, u32 crc32c, edits`. A frame is applied whole or not at all; only the last can be torn.
//! It is rewritten at every start (temporary name, fsync, rename, directory fsync).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tenbin_model::TimeRange;

use crate::codec::Malformed;
use crate::codec::bytes::{Cursor, put_text, put_uvarint, put_varint};
use crate::error::{Corruption, DbError, IoContext, OpenError};
use crate::tombstones::Tombstone;
use crate::vfs::{OpenMode, Vfs, VfsFile, read_all};

/// File name inside the data directory.
pub(crate) const FILE_NAME: &str = "MANIFEST";

const MAGIC: &[u8; 8] = b"TBNMAN01";
/// 2 since deletions are edits.
const VERSION: u16 = 2;
const HEADER_BYTES: usize = 16;
const MAX_BYTES: u64 = 1 << 30;

const ADD: u8 = 1;
const DROP: u8 = 2;
const FLUSHED: u8 = 3;
const NEXT: u8 = 4;
const ADD_AT: u8 = 5;
const DELETE: u8 = 6;

/// Time range of a named block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockEntry {
    pub(crate) seq: u64,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
    /// Where it stands in the order in which samples were stored: its number, or for a merged block
    /// the order of its first input.
    pub(crate) order: u64,
}

/// A change of the manifest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Edit {
    Add(BlockEntry),
    Drop(u64),
    /// In-order samples before `until_ms` and late samples of WAL segments before `cut_seq` are in
    /// blocks.
    Flushed {
        until_ms: i64,
        cut_seq: u64,
    },
    /// Blocks get numbers from here on.
    Next(u64),
    /// Samples of a block were deleted.
    Delete {
        seq: u64,
        tombstone: Tombstone,
    },
}

/// What the edits amount to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ManifestState {
    pub(crate) blocks: BTreeMap<u64, BlockEntry>,
    /// Deletions in the blocks that had some.
    pub(crate) tombstones: BTreeMap<u64, Vec<Tombstone>>,
    pub(crate) flushed_ms: i64,
    pub(crate) cut_seq: u64,
    pub(crate) next_seq: u64,
}

impl Default for ManifestState {
    fn default() -> Self {
        Self {
            blocks: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            flushed_ms: i64::MIN,
            cut_seq: 0,
            next_seq: 1,
        }
    }
}

impl ManifestState {
    fn apply(&mut self, edit: Edit) {
        match edit {
            Edit::Add(block) => {
                self.blocks.insert(block.seq, block);
                self.next_seq = self.next_seq.max(block.seq.saturating_add(1));
            }
            Edit::Drop(seq) => {
                self.blocks.remove(&seq);
                self.tombstones.remove(&seq);
            }
            Edit::Flushed { until_ms, cut_seq } => {
                self.flushed_ms = self.flushed_ms.max(until_ms);
                self.cut_seq = self.cut_seq.max(cut_seq);
            }
            Edit::Next(seq) => self.next_seq = self.next_seq.max(seq),
            Edit::Delete { seq, tombstone } => {
                if self.blocks.contains_key(&seq) {
                    self.tombstones.entry(seq).or_default().push(tombstone);
                }
            }
        }
    }

    /// Edits that lead from nothing to this state.
    fn edits(&self) -> Vec<Edit> {
        let mut edits = vec![Edit::Next(self.next_seq)];
        if self.flushed_ms > i64::MIN || self.cut_seq > 0 {
            edits.push(Edit::Flushed {
                until_ms: self.flushed_ms,
                cut_seq: self.cut_seq,
            });
        }
        edits.extend(self.blocks.values().map(|block| Edit::Add(*block)));
        for (seq, tombstones) in &self.tombstones {
            edits.extend(tombstones.iter().cloned().map(|tombstone| Edit::Delete {
                seq: *seq,
                tombstone,
            }));
        }
        edits
    }
}

fn encode_frame(edits: &[Edit], out: &mut Vec<u8>) {
    let mut payload = Vec::new();
    for edit in edits {
        match edit {
            Edit::Add(block) => {
                let moved = block.order != block.seq;
                payload.push(if moved { ADD_AT } else { ADD });
                put_uvarint(&mut payload, block.seq);
                put_varint(&mut payload, block.min_ms);
                put_varint(&mut payload, block.max_ms);
                if moved {
                    put_uvarint(&mut payload, block.order);
                }
            }
            Edit::Drop(seq) => {
                payload.push(DROP);
                put_uvarint(&mut payload, *seq);
            }
            Edit::Flushed { until_ms, cut_seq } => {
                payload.push(FLUSHED);
                put_varint(&mut payload, *until_ms);
                put_uvarint(&mut payload, *cut_seq);
            }
            Edit::Next(seq) => {
                payload.push(NEXT);
                put_uvarint(&mut payload, *seq);
            }
            Edit::Delete { seq, tombstone } => {
                payload.push(DELETE);
                put_uvarint(&mut payload, *seq);
                put_varint(&mut payload, tombstone.range.min_ms);
                put_varint(&mut payload, tombstone.range.max_ms);
                put_text(&mut payload, &tombstone.series_bytes());
            }
        }
    }
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
    out.extend_from_slice(&payload);
}

fn decode_edits(payload: &[u8], mut each: impl FnMut(Edit)) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(payload);
    while !cursor.is_empty() {
        each(match cursor.u8()? {
            kind @ (ADD | ADD_AT) => {
                let seq = cursor.uvarint()?;
                Edit::Add(BlockEntry {
                    seq,
                    min_ms: cursor.varint()?,
                    max_ms: cursor.varint()?,
                    order: if kind == ADD_AT {
                        cursor.uvarint()?
                    } else {
                        seq
                    },
                })
            }
            DROP => Edit::Drop(cursor.uvarint()?),
            FLUSHED => Edit::Flushed {
                until_ms: cursor.varint()?,
                cut_seq: cursor.uvarint()?,
            },
            NEXT => Edit::Next(cursor.uvarint()?),
            DELETE => {
                let seq = cursor.uvarint()?;
                let range = TimeRange::new(cursor.varint()?, cursor.varint()?);
                let len = cursor.count(1, usize::MAX)?;
                let tombstone = Tombstone::decode(range, cursor.take(len)?);
                let tombstone = tombstone.ok_or(Malformed("a deletion without a bitmap"))?;
                Edit::Delete { seq, tombstone }
            }
            _ => return Err(Malformed("unknown manifest edit")),
        });
    }
    Ok(())
}

/// The payload of the frame at `at` and where it ends.
fn frame_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let mut cursor = Cursor::new(bytes.get(at..)?);
    let len = cursor.u32().ok()? as usize;
    let crc = cursor.u32().ok()?;
    let payload = cursor.take(len).ok()?;
    (len > 0 && crc32c::crc32c(payload) == crc).then_some((payload, at + 8 + len))
}

fn header() -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&VERSION.to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Why the bytes are no manifest.
#[derive(Debug)]
enum ReadError {
    Corrupt(Corruption),
    TooNew(u16),
}

fn parse(bytes: &[u8]) -> Result<ManifestState, ReadError> {
    let corrupt = |at: usize, expected: &str, found: &str| {
        ReadError::Corrupt(Corruption::new(FILE_NAME, at as u64, expected, found))
    };
    let mut fields = Cursor::new(bytes);
    let mut parse_header = || Ok::<_, Malformed>((fields.take(12)?, fields.u32()?));
    match parse_header() {
        Ok((front, crc)) if front.starts_with(MAGIC) && crc32c::crc32c(front) == crc => {
            let read_version = u16::from_le_bytes([front[8], front[9]]);
            if read_version > VERSION {
                return Err(ReadError::TooNew(read_version));
            }
        }
        _ => return Err(corrupt(0, "a manifest header", "something else")),
    }
    let mut state = ManifestState::default();
    let mut at = HEADER_BYTES;
    while let Some((payload, end)) = frame_at(bytes, at) {
        decode_edits(payload, |edit| state.apply(edit))
            .map_err(|Malformed(what)| corrupt(at, "known edits", what))?;
        at = end;
    }
    // A crash can tear only the last frame; a good frame behind a bad one means damage. The first one
    // was durable before the file got its name.
    let behind = (at + 1..bytes.len()).find(|later| frame_at(bytes, *later).is_some());
    if behind.is_some() || at == HEADER_BYTES {
        return Err(corrupt(
            at,
            "a frame with a valid checksum",
            "another checksum",
        ));
    }
    Ok(state)
}

/// The open manifest.
pub(crate) struct Manifest {
    path: PathBuf,
    file: Arc<dyn VfsFile>,
    len: u64,
    pub(crate) state: ManifestState,
    /// A sync failed: what stands in the file is not known any more.
    broken: bool,
}

/// What was found at start.
pub(crate) enum Found {
    Intact(ManifestState),
    /// No manifest is there.
    Missing,
    Damaged(Corruption),
}

/// Reads the manifest of a data directory.
pub(crate) fn read(vfs: &dyn Vfs, dir: &Path) -> Result<Found, OpenError> {
    let path = dir.join(FILE_NAME);
    let bytes = match read_all(vfs, &path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Found::Missing),
        Err(source) => {
            return Err(OpenError::Io {
                what: "reading",
                path,
                source,
            });
        }
    };
    match parse(&bytes) {
        Ok(state) => Ok(Found::Intact(state)),
        Err(ReadError::Corrupt(damage)) => Ok(Found::Damaged(damage)),
        Err(ReadError::TooNew(found)) => Err(OpenError::TooNew {
            file: FILE_NAME.into(),
            found,
            supported: VERSION,
        }),
    }
}

impl Manifest {
    /// Writes a fresh manifest of `state` in place of the old one.
    pub(crate) fn create(vfs: &dyn Vfs, dir: &Path, state: ManifestState) -> Result<Self, DbError> {
        let path = dir.join(FILE_NAME);
        let fresh = dir.join("MANIFEST.tmp");
        let mut bytes = header();
        encode_frame(&state.edits(), &mut bytes);
        let _ = vfs.remove(&fresh);
        let file = vfs
            .open(&fresh, OpenMode::Create)
            .doing("creating", &fresh)?;
        file.write_at(0, &bytes).doing("writing", &fresh)?;
        file.sync_data().doing("syncing", &fresh)?;
        // A leftover of that name must be gone for good before the name is moved.
        vfs.sync_dir(dir).doing("syncing", dir)?;
        vfs.rename(&fresh, &path).doing("renaming", &fresh)?;
        vfs.sync_dir(dir).doing("syncing", dir)?;
        Ok(Self {
            path,
            file,
            len: bytes.len() as u64,
            state,
            broken: false,
        })
    }

    /// A number for a new block; used up even if the block is never named.
    pub(crate) fn allocate(&mut self) -> u64 {
        let seq = self.state.next_seq;
        self.state.next_seq += 1;
        seq
    }

    /// Fails when what stands in the file is not known any more.
    pub(crate) fn check(&self) -> Result<(), DbError> {
        if self.broken {
            let error = std::io::Error::other("an earlier sync failed");
            return Err(error).doing("writing", &self.path);
        }
        Ok(())
    }

    /// Makes edits durable, then applies them.
    pub(crate) fn commit(&mut self, edits: &[Edit]) -> Result<(), DbError> {
        self.check()?;
        let mut frame = Vec::new();
        encode_frame(edits, &mut frame);
        // A failed write leaves a torn frame that the next one overwrites.
        self.file
            .write_at(self.len, &frame)
            .doing("writing", &self.path)?;
        if let Err(error) = self.file.sync_data() {
            self.broken = true;
            return Err(error).doing("syncing", &self.path);
        }
        self.len += frame.len() as u64;
        for edit in edits {
            self.state.apply(edit.clone());
        }
        // A frame that says nothing new shows that this one was durable, so that its damage is no torn
        // tail. It may get lost; the next frame overwrites it.
        frame.clear();
        encode_frame(&[Edit::Next(self.state.next_seq)], &mut frame);
        let _ = self.file.write_at(self.len, &frame);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::SimVfs;

    fn entry(seq: u64) -> BlockEntry {
        BlockEntry {
            seq,
            min_ms: -5,
            max_ms: 10,
            order: seq.min(2),
        }
    }

    fn sample() -> (SimVfs, ManifestState) {
        let vfs = SimVfs::new();
        let dir = Path::new("d");
        let mut manifest = Manifest::create(&vfs, dir, ManifestState::default()).unwrap();
        manifest
            .commit(&[
                Edit::Add(entry(1)),
                Edit::Flushed {
                    until_ms: 7,
                    cut_seq: 3,
                },
            ])
            .unwrap();
        manifest.commit(&[Edit::Add(entry(2))]).unwrap();
        let delete = |seq| Edit::Delete {
            seq,
            tombstone: Tombstone {
                range: TimeRange::new(-3, 4),
                series: [1, 70_000].into_iter().collect(),
            },
        };
        manifest.commit(&[delete(1), delete(2)]).unwrap();
        manifest.commit(&[Edit::Drop(1)]).unwrap();
        (vfs, manifest.state)
    }

    #[test]
    fn edits_come_back() {
        let (vfs, state) = sample();
        assert_eq!((state.next_seq, state.blocks.len()), (3, 1));
        assert_eq!(state.tombstones.keys().collect::<Vec<_>>(), [&2]);
        let Found::Intact(found) = read(&vfs, Path::new("d")).unwrap() else {
            panic!("intact");
        };
        assert_eq!(found, state);
        let again = Manifest::create(&vfs, Path::new("d"), found).unwrap();
        assert_eq!(again.state, state);
        let Found::Intact(found) = read(&vfs, Path::new("d")).unwrap() else {
            panic!("intact");
        };
        assert_eq!(found, state);
    }

    #[test]
    fn a_torn_tail_is_dropped_and_damage_is_reported() {
        let (vfs, state) = sample();
        let path = Path::new("d/MANIFEST");
        let bytes = vfs.bytes(path).unwrap();
        let (_, first_end) = frame_at(&bytes, HEADER_BYTES).unwrap();
        // The mark at the end: length, checksum, NEXT and a number.
        let content = bytes.len() - 10;
        for len in 0..bytes.len() {
            match parse(&bytes[..len]) {
                Ok(found) => assert!(len >= first_end && (found != state || len >= content)),
                Err(ReadError::Corrupt(_)) => assert!(len < first_end),
                Err(ReadError::TooNew(_)) => panic!("length {len}"),
            }
        }
        for at in 0..content {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(parse(&damaged).is_err(), "byte {at}");
        }
    }
}
