//! From WAL segments to a head: what was acknowledged and is not in blocks yet.
//!
//! In-order samples before the flushed time and late samples of segments before the cut are in
//! blocks and skipped. Damage costs what it hits: a gap is reported and the walk goes on behind it;
//! rows whose values would build on something lost are dropped, never guessed.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::MutexGuard;
use tenbin_model::Labels;

use crate::error::{Corruption, IoContext, OpenError};
use crate::head::lane::Lane;
use crate::head::series::HAS_SAMPLES;
use crate::head::{Head, SeriesRef};
use crate::manifest::ManifestState;
use crate::vfs::{Mapped, OpenMode, Vfs};
use crate::wal::record::{RecordReader, RecordSink};
use crate::wal::row::Row;
use crate::wal::scan::{Scan, Step};
use crate::wal::segment::{self, HEADER_BYTES, HeaderError, SegmentHeader};
use crate::wal::writer::{ClosedSegment, WalPosition};

/// How far the replay at start is. Shared with whoever shows it.
#[derive(Debug, Default)]
pub struct ReplayProgress {
    /// Segments to be read.
    pub segments_total: AtomicU64,
    /// Segments read.
    pub segments_done: AtomicU64,
    /// Number of the segment being read.
    pub current: AtomicU64,
}

/// What the replay found.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) position: WalPosition,
    pub(crate) segments: Vec<ClosedSegment>,
    pub(crate) corruptions: Vec<Corruption>,
    pub(crate) samples: u64,
    /// Samples whose base was lost to damage.
    pub(crate) dropped_samples: u64,
    pub(crate) torn_bytes: u64,
}

/// A series as one segment defines it.
struct Slot {
    pairs: Box<[u32]>,
    at: Option<SeriesRef>,
    /// Value bits that the next row is XORed with.
    base: u64,
}

type ByLane<T> = HashMap<(u32, u32), T, foldhash::fast::RandomState>;

/// Applies the records of one segment.
struct Replay<'a> {
    head: &'a Head,
    flushed_ms: i64,
    skip_late: bool,
    symbols: ByLane<(Box<str>, Box<str>)>,
    series: ByLane<Slot>,
    locked: Option<MutexGuard<'a, Lane>>,
    samples: u64,
    dropped: u64,
    max_row_ms: i64,
    newest_ms: i64,
}

impl<'a> Replay<'a> {
    /// The series of a slot, created when it is needed first.
    fn resolve(&mut self, lane: u32, id: u32) -> Option<SeriesRef> {
        let slot = self.series.get_mut(&(lane, id))?;
        if slot.at.is_none() {
            let mut pairs = Vec::with_capacity(slot.pairs.len());
            for pair in &slot.pairs {
                let (name, value) = self.symbols.get(&(lane, *pair))?;
                pairs.push((&**name, &**value));
            }
            let ascending = pairs.windows(2).all(|w| w[0].0 < w[1].0);
            if !ascending || pairs.iter().any(|(_, value)| value.is_empty()) {
                return None;
            }
            let hash = Labels::from_sorted(&pairs).hash128();
            self.locked = None;
            slot.at = Some(self.head.replay_series(lane, &pairs, hash));
        }
        slot.at
    }

    fn lane(&mut self, number: u32) -> &mut Lane {
        if self.locked.as_ref().is_some_and(|l| l.number != number) {
            self.locked = None;
        }
        let head = self.head;
        self.locked.get_or_insert_with(|| head.lane(number))
    }

    fn sample(&mut self, at: SeriesRef, timestamp_ms: i64, bits: u64) {
        self.samples += 1;
        self.newest_ms = self.newest_ms.max(timestamp_ms);
        let lane = self.lane(at.lane);
        let series = &lane.series[at.id as usize];
        if !series.has(HAS_SAMPLES) || timestamp_ms > series.last_ms {
            lane.push(at.id, timestamp_ms, bits);
        } else if lane.stored_at(at.id, timestamp_ms).is_none() {
            lane.push_late(at.id, timestamp_ms, bits);
        }
    }
}

impl RecordSink for Replay<'_> {
    fn symbol(&mut self, lane: u32, pair: u32, name: &str, value: &str) {
        self.symbols
            .insert((lane, pair), (name.into(), value.into()));
    }

    fn series(&mut self, lane: u32, id: u32, pairs: &[u32]) {
        let slot = Slot {
            pairs: pairs.into(),
            at: None,
            base: 0,
        };
        self.series.insert((lane, id), slot);
    }

    fn row(&mut self, row: &mut Row) {
        let lane = row.lane;
        let series = &self.series;
        if !row.resolve(|id| series.get(&(lane, id)).map(|slot| slot.base)) {
            self.dropped += row.ids.len() as u64;
            return;
        }
        for ((id, at_ms), bits) in row.ids.iter().zip(&row.timestamps_ms).zip(&row.xors) {
            if let Some(slot) = self.series.get_mut(&(lane, *id)) {
                slot.base = *bits;
            }
            self.max_row_ms = self.max_row_ms.max(*at_ms);
            if *at_ms < self.flushed_ms {
                self.newest_ms = self.newest_ms.max(*at_ms);
                continue;
            }
            match self.resolve(lane, *id) {
                Some(at) => self.sample(at, *at_ms, *bits),
                None => self.dropped += 1,
            }
        }
    }

    fn late(&mut self, lane: u32, id: u32, timestamp_ms: i64, bits: u64) {
        if self.skip_late {
            return;
        }
        let Some(at) = self.resolve(lane, id) else {
            self.dropped += 1;
            return;
        };
        self.samples += 1;
        self.lane(at.lane).push_late(at.id, timestamp_ms, bits);
    }
}

/// A segment file with its header.
struct Segment {
    seq: u64,
    name: String,
    map: Mapped,
    header: Result<SegmentHeader, Corruption>,
}

/// Replays all segments below `dir` into `head`.
pub(crate) fn replay(
    vfs: &dyn Vfs,
    dir: &Path,
    state: &ManifestState,
    head: &Head,
    progress: &ReplayProgress,
) -> Result<Replayed, OpenError> {
    let mut seqs: Vec<u64> = vfs
        .list(dir)
        .doing("listing", dir)?
        .iter()
        .filter_map(|name| segment::parse_file_name(name))
        .collect();
    seqs.sort_unstable();
    progress
        .segments_total
        .store(seqs.len() as u64, Ordering::Relaxed);
    let mut done = Replayed {
        position: WalPosition {
            next_seq: state.cut_seq.max(1),
            next_lsn: 1,
        },
        segments: Vec::new(),
        corruptions: Vec::new(),
        samples: 0,
        dropped_samples: 0,
        torn_bytes: 0,
    };
    let mut upcoming = seqs.first().map(|seq| open(vfs, dir, *seq)).transpose()?;
    for at in 0..seqs.len() {
        let Some(current) = upcoming.take() else {
            break;
        };
        upcoming = seqs
            .get(at + 1)
            .map(|seq| open(vfs, dir, *seq))
            .transpose()?;
        progress.current.store(current.seq, Ordering::Relaxed);
        done.position.next_seq = done.position.next_seq.max(current.seq + 1);
        replay_segment(vfs, dir, state, head, current, upcoming.as_ref(), &mut done)?;
        progress.segments_done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(done)
}

fn open(vfs: &dyn Vfs, dir: &Path, seq: u64) -> Result<Segment, OpenError> {
    let name = segment::file_name(seq);
    let path = dir.join(&name);
    let map = vfs.map_sealed(&path).doing("mapping", &path)?;
    let file = format!("wal/{name}");
    let header = match SegmentHeader::decode(&map, &file) {
        Ok(header) => Ok(header),
        Err(HeaderError::Corrupt(damage)) => Err(damage),
        Err(HeaderError::TooNew(found)) => {
            return Err(OpenError::TooNew {
                file,
                found,
                supported: segment::VERSION,
            });
        }
    };
    Ok(Segment {
        seq,
        name,
        map,
        header,
    })
}

fn replay_segment(
    vfs: &dyn Vfs,
    dir: &Path,
    state: &ManifestState,
    head: &Head,
    current: Segment,
    next: Option<&Segment>,
    done: &mut Replayed,
) -> Result<(), OpenError> {
    let path = dir.join(&current.name);
    let header = match &current.header {
        Ok(header) => *header,
        Err(damage) => {
            let frames = current.map.get(HEADER_BYTES..).unwrap_or_default();
            if next.is_none() && frames.iter().all(|byte| *byte == 0) {
                // The crash came before the header was durable: nothing was ever in it.
                vfs.remove(&path).doing("removing", &path)?;
                return Ok(());
            }
            done.corruptions.push(damage.clone());
            done.segments.push(ClosedSegment {
                seq: current.seq,
                bytes: current.map.len() as u64,
                max_row_ms: i64::MIN,
                damaged: true,
            });
            return Ok(());
        }
    };
    let sealed_at = next
        .filter(|next| next.seq == current.seq + 1)
        .and_then(|next| next.header.as_ref().ok())
        .map(|next| next.first_lsn);
    let mut replay = Replay {
        head,
        flushed_ms: state.flushed_ms,
        skip_late: current.seq < state.cut_seq,
        symbols: HashMap::default(),
        series: HashMap::default(),
        locked: None,
        samples: 0,
        dropped: 0,
        max_row_ms: i64::MIN,
        newest_ms: i64::MIN,
    };
    let file = format!("wal/{}", current.name);
    let mut closed = ClosedSegment {
        seq: current.seq,
        bytes: current.map.len() as u64,
        max_row_ms: i64::MIN,
        damaged: false,
    };
    let mut damage = |offset: usize, found: String| {
        let damage = Corruption::new(
            &*file,
            offset as u64,
            "a frame with a valid checksum",
            found,
        );
        tracing::error!(%damage, "write-ahead log is damaged");
        done.corruptions.push(damage);
        closed.damaged = true;
    };
    let mut records = RecordReader::default();
    let mut payload = Vec::new();
    let mut next_lsn = header.first_lsn;
    let mut torn_at = None;
    let mut scan = Scan::new(&current.map, header, sealed_at);
    while let Some(step) = scan.step() {
        match step {
            Step::Frame(frame) => {
                next_lsn = frame.lsn + 1;
                let read = frame
                    .payload_into(&mut payload)
                    .map(|()| records.read(&payload, &mut replay));
                if !matches!(read, Some(Ok(()))) {
                    damage(frame.end, format!("an unreadable frame {}", frame.lsn));
                }
            }
            Step::Gap {
                offset,
                resume,
                lost,
            } => {
                next_lsn = lost.end;
                damage(
                    offset,
                    format!("{} bytes without frames {lost:?}", resume - offset),
                );
            }
            Step::End { offset, torn } => {
                if torn && next.is_some() {
                    damage(offset, "something else".into());
                } else {
                    closed.bytes = offset as u64;
                    torn_at = (offset < current.map.len()).then_some((offset, torn));
                }
            }
        }
    }
    replay.locked = None;
    closed.max_row_ms = replay.max_row_ms;
    head.raise_newest(replay.newest_ms);
    done.samples += replay.samples;
    done.dropped_samples += replay.dropped;
    done.position.next_lsn = done.position.next_lsn.max(next_lsn);
    let len = current.map.len();
    drop(current);
    if let Some((offset, torn)) = torn_at {
        let file = vfs.open(&path, OpenMode::Write).doing("opening", &path)?;
        file.truncate(offset as u64).doing("truncating", &path)?;
        file.sync_data().doing("syncing", &path)?;
        if torn {
            done.torn_bytes += (len - offset) as u64;
            tracing::warn!(file = %path.display(), offset, "torn tail of the write-ahead log cut off");
        }
    }
    done.segments.push(closed);
    Ok(())
}
