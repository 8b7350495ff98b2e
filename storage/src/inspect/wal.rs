//! What is in a segment of the write-ahead log.

use std::collections::BTreeMap;
use std::path::Path;

use hashbrown::HashMap;
use tenbin_model::TimeRange;
use tenbin_model::write::MetadataEntry;

use super::InspectError;
use crate::codec::Malformed;
use crate::codec::bytes::Cursor;
use crate::error::{Corruption, IoContext, OpenError};
use crate::exemplars::StoredExemplar;
use crate::histogram::point::Point;
use crate::vfs::{Vfs, read_all};
use crate::wal::record::{RecordReader, RecordSink};
use crate::wal::row::Row;
use crate::wal::scan::{Scan, Step};
use crate::wal::segment::{HEADER_BYTES, HeaderError, SegmentHeader, VERSION};

/// Longest segment that is read.
const MAX_BYTES: u64 = 8 << 30;

/// Records of one type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordView {
    /// The type.
    pub name: String,
    /// Records.
    pub records: u64,
    /// Things in them: samples of rows, series of definitions, and so on.
    pub items: u64,
    /// Their bytes before compression.
    pub bytes: u64,
}

/// A segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentView {
    /// The file.
    pub file: String,
    /// Its bytes, what is reserved ahead included.
    pub file_bytes: u64,
    /// Bytes up to the end of the last frame.
    pub used_bytes: u64,
    /// Position in the log.
    pub seq: u64,
    /// When it was begun, milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// LSN that its first frame has or would have.
    pub first_lsn: u64,
    /// LSN of the last frame; `None` without frames.
    pub last_lsn: Option<u64>,
    /// Frames, each of which is a request.
    pub frames: u64,
    /// Oldest in-order sample.
    pub min_ms: Option<i64>,
    /// Newest in-order sample.
    pub max_ms: Option<i64>,
    /// Records by type.
    pub records: Vec<RecordView>,
    /// Bytes at the end that are no whole frame, as a crash (or a writer at work) leaves them.
    pub torn_bytes: u64,
    /// Samples that build on something that damage took.
    pub lost_samples: u64,
    /// Damage found.
    pub damage: Vec<Corruption>,
}

fn type_name(kind: u8) -> String {
    let name = match kind {
        1 => "symbols",
        2 => "series",
        3 => "rows of samples",
        5 => "late samples",
        6 => "histograms",
        7 => "exemplars",
        8 => "metadata",
        9 => "tombstones",
        10 => "start timestamps",
        other => return format!("type {other}"),
    };
    name.to_owned()
}

/// Decodes rows as the replay does: every value builds on the one before in the segment.
#[derive(Default)]
struct Checker {
    bases: HashMap<(u32, u32), u64>,
    lost: u64,
    histograms: u64,
    min_ms: Option<i64>,
    max_ms: Option<i64>,
}

impl RecordSink for Checker {
    fn symbol(&mut self, _: u32, _: u32, _: &str, _: &str) {}

    fn series(&mut self, lane: u32, id: u32, _: &[u32]) {
        self.bases.insert((lane, id), 0);
    }

    fn row(&mut self, row: &mut Row) {
        let lane = row.lane;
        let base = |id: &u32| self.bases.get(&(lane, *id)).copied();
        let bases: Option<Vec<u64>> = row.ids.iter().map(base).collect();
        if !bases.is_some_and(|bases| row.resolve(|i| bases[i])) {
            self.lost += row.ids.len() as u64;
            return;
        }
        for (id, bits) in row.ids.iter().zip(&row.xors) {
            self.bases.insert((lane, *id), *bits);
        }
        let times = || row.timestamps_ms.iter().copied();
        self.min_ms = times().chain(self.min_ms).min();
        self.max_ms = times().chain(self.max_ms).max();
    }

    fn late(&mut self, _: u32, _: u32, _: i64, _: u64) {}

    fn histogram(&mut self, _: u32, _: u32, late: bool, point: Point) {
        self.histograms += 1;
        if !late {
            self.min_ms = self.min_ms.into_iter().chain([point.at_ms]).min();
            self.max_ms = self.max_ms.into_iter().chain([point.at_ms]).max();
        }
    }

    fn start(&mut self, _: u32, _: u32, _: i64, _: i64, _: bool) {}

    fn tombstone(&mut self, _: u32, _: u32, _: TimeRange) {}

    fn exemplar(&mut self, _: u32, _: u32, _: StoredExemplar) {}

    fn metadata(&mut self, _: &MetadataEntry<'_>) {}
}

/// Counts the records of a frame by type.
fn count(payload: &[u8], types: &mut BTreeMap<u8, RecordView>) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(payload);
    while !cursor.is_empty() {
        let kind = cursor.u8()?;
        let len = cursor.count(1, usize::MAX)?;
        let body = cursor.take(len)?;
        let view = types.entry(kind).or_default();
        view.records += 1;
        view.bytes += len as u64;
        // Nearly all types begin with lane and count.
        let mut front = Cursor::new(body);
        if front.uvarint().is_ok()
            && let Ok(items) = front.uvarint()
        {
            view.items += items;
        }
    }
    Ok(())
}

/// Reads a segment that is called `name` in messages and that, if known, ends before an LSN. Also
/// says whether its header could be read.
pub(super) fn read(
    vfs: &dyn Vfs,
    path: &Path,
    name: &str,
    sealed_at: Option<u64>,
) -> Result<(SegmentView, bool), InspectError> {
    // A segment may be written while it is read, so it is copied, not mapped.
    let bytes = read_all(vfs, path, MAX_BYTES).doing("reading", path)?;
    let mut view = SegmentView {
        file: name.to_owned(),
        file_bytes: bytes.len() as u64,
        ..SegmentView::default()
    };
    let header = match SegmentHeader::decode(&bytes, name) {
        Ok(header) => header,
        Err(HeaderError::TooNew(found)) => {
            return Err(InspectError::Open(OpenError::TooNew {
                file: name.to_owned(),
                found,
                supported: VERSION,
            }));
        }
        Err(HeaderError::Corrupt(damage)) => {
            let frames = bytes.get(HEADER_BYTES..).unwrap_or_default();
            if frames.iter().all(|byte| *byte == 0) {
                // Begun, but nothing was ever in it.
                view.torn_bytes = view.file_bytes.min(HEADER_BYTES as u64);
            } else {
                view.damage.push(damage);
            }
            return Ok((view, false));
        }
    };
    view.seq = header.seq;
    view.created_ms = header.created_ms;
    view.first_lsn = header.first_lsn;
    walk(&bytes, header, sealed_at, &mut view);
    Ok((view, true))
}

fn walk(bytes: &[u8], header: SegmentHeader, sealed_at: Option<u64>, view: &mut SegmentView) {
    let mut types: BTreeMap<u8, RecordView> = BTreeMap::new();
    let mut checker = Checker::default();
    let mut records = RecordReader::default();
    let mut payload = Vec::new();
    let mut scan = Scan::new(bytes, header, sealed_at);
    view.used_bytes = HEADER_BYTES as u64;
    let file = view.file.clone();
    while let Some(step) = scan.step() {
        match step {
            Step::Frame(frame) => {
                view.frames += 1;
                view.last_lsn = Some(frame.lsn);
                let begin = view.used_bytes;
                view.used_bytes = frame.end as u64;
                let read = frame.payload_into(&mut payload).is_some();
                let decoded = if read {
                    count(&payload, &mut types).and_then(|()| records.read(&payload, &mut checker))
                } else {
                    Err(Malformed("a payload of another length"))
                };
                if let Err(Malformed(what)) = decoded {
                    let expected = format!("frame {} with records", frame.lsn);
                    view.damage
                        .push(Corruption::new(&*file, begin, expected, what));
                }
            }
            Step::Gap {
                offset,
                resume,
                lost,
            } => {
                let found = format!("{} bytes without frames {lost:?}", resume - offset);
                let expected = "a frame with a valid checksum";
                view.damage
                    .push(Corruption::new(&*file, offset as u64, expected, found));
                view.used_bytes = resume as u64;
            }
            Step::End { offset, torn } => {
                if torn {
                    view.torn_bytes = (bytes.len() - offset) as u64;
                }
            }
        }
    }
    // Their records begin with the count of layouts.
    if let Some(histograms) = types.get_mut(&6) {
        histograms.items = checker.histograms;
    }
    (view.min_ms, view.max_ms) = (checker.min_ms, checker.max_ms);
    view.lost_samples = checker.lost;
    if checker.lost > 0 && view.damage.is_empty() {
        let found = format!("{} samples on other ones", checker.lost);
        view.damage
            .push(Corruption::new(&*file, 0, "rows on known values", found));
    }
    view.records = types
        .into_iter()
        .map(|(kind, counts)| RecordView {
            name: type_name(kind),
            ..counts
        })
        .collect();
}
