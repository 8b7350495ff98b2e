//! From WAL segments to a head: what was acknowledged and is not in blocks yet.
//!
//! In-order samples before the flushed time and late samples of segments before the cut are in
//! blocks and skipped. Damage costs what it hits: a gap is reported and the walk goes on behind it;
//! rows whose values would build on something lost are dropped, never guessed.
//!
//! Several threads walk the same segments in order, each applying the records of its lanes. Files
//! are changed only after all have ended.

mod apply;
mod sparse;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use self::apply::Applier;
use crate::error::{Corruption, IoContext, OpenError};
use crate::head::Head;
use crate::manifest::ManifestState;
use crate::vfs::{Mapped, OpenMode, Vfs};
use crate::wal::record::RecordReader;
use crate::wal::scan::{Scan, Step};
use crate::wal::segment::{self, HeaderError, SegmentHeader};
use crate::wal::writer::{ClosedSegment, WalPosition};

/// Below this much WAL a second thread is not worth its start.
const MIN_PARALLEL_BYTES: usize = 32 << 10;

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

/// A segment file with its header.
struct Segment {
    seq: u64,
    name: String,
    map: Mapped,
    header: Result<SegmentHeader, Corruption>,
}

/// What a walk over one segment found.
#[derive(Default)]
struct Walked {
    max_row_ms: i64,
    next_lsn: u64,
    damage: Vec<Corruption>,
    /// Where the log ends when more bytes follow, and whether these are a torn tail.
    end: Option<(usize, bool)>,
}

/// What one thread did.
struct Share {
    walked: Vec<Walked>,
    samples: u64,
    dropped: u64,
    newest_ms: i64,
}

/// Replays all segments below `dir` into `head`.
pub(crate) fn replay(
    vfs: &dyn Vfs,
    dir: &Path,
    state: &ManifestState,
    head: &Head,
    progress: &ReplayProgress,
) -> Result<Replayed, OpenError> {
    let names = vfs.list(dir).doing("listing", dir)?;
    let mut seqs: Vec<u64> = names
        .iter()
        .filter_map(|name| segment::parse_file_name(name))
        .collect();
    seqs.sort_unstable();
    progress
        .segments_total
        .store(seqs.len() as u64, Ordering::Relaxed);
    let mut segments = Vec::with_capacity(seqs.len());
    for seq in seqs {
        segments.push(open(vfs, dir, seq)?);
    }
    let shares = run(&segments, state, head, progress);
    let mut done = Replayed {
        position: WalPosition {
            next_seq: state.cut_seq.max(1),
            next_lsn: 1,
        },
        segments: Vec::new(),
        corruptions: Vec::new(),
        samples: shares.iter().map(|share| share.samples).sum(),
        dropped_samples: shares.iter().map(|share| share.dropped).sum(),
        torn_bytes: 0,
    };
    let nothing = |_| Walked {
        max_row_ms: i64::MIN,
        ..Walked::default()
    };
    let mut walked: Vec<Walked> = segments.iter().map(nothing).collect();
    for share in shares {
        head.raise_newest(share.newest_ms);
        for (all, mut one) in walked.iter_mut().zip(share.walked) {
            one.max_row_ms = one.max_row_ms.max(all.max_row_ms);
            // All threads see the same frames, but each decodes the records of its lanes only.
            for damage in std::mem::take(&mut all.damage) {
                if !one.damage.contains(&damage) {
                    one.damage.push(damage);
                }
            }
            *all = one;
        }
    }
    for (segment, walked) in segments.into_iter().zip(walked) {
        done.position.next_seq = done.position.next_seq.max(segment.seq + 1);
        settle(vfs, dir, segment, walked, &mut done)?;
    }
    Ok(done)
}

fn open(vfs: &dyn Vfs, dir: &Path, seq: u64) -> Result<Segment, OpenError> {
    let name = segment::file_name(seq);
    let path = dir.join(&name);
    let map = vfs.map_sealed(&path).doing("mapping", &path)?;
    let file = format!("wal/{name}");
    let header = match SegmentHeader::decode(&map, &file) {
        Ok(header) if header.seq == seq => Ok(header),
        Ok(header) => {
            let found = format!("segment {:016x}", header.seq);
            Err(Corruption::new(
                file,
                16,
                format!("segment {seq:016x}"),
                found,
            ))
        }
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

/// Walks all segments, in as many threads as pay.
fn run(
    segments: &[Segment],
    state: &ManifestState,
    head: &Head,
    progress: &ReplayProgress,
) -> Vec<Share> {
    let bytes: usize = segments.iter().map(|segment| segment.map.len()).sum();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if bytes < MIN_PARALLEL_BYTES {
        1
    } else {
        (cores as u32).min(head.lane_count())
    };
    let share = |number: u32| {
        let mut applier = Applier::new(head, state.flushed_ms, (number, threads));
        let walked = segments.iter().enumerate().map(|(at, segment)| {
            applier.begin_segment(segment.seq < state.cut_seq);
            if number == 0 {
                progress.current.store(segment.seq, Ordering::Relaxed);
            }
            let walked = walk(segment, segments.get(at + 1), &mut applier);
            if number == 0 {
                progress.segments_done.fetch_add(1, Ordering::Relaxed);
            }
            walked
        });
        Share {
            walked: walked.collect(),
            samples: applier.target.samples,
            dropped: applier.target.dropped,
            newest_ms: applier.target.newest_ms,
        }
    };
    std::thread::scope(|scope| {
        let share = &share;
        let others: Vec<_> = (1..threads)
            .map(|number| scope.spawn(move || share(number)))
            .collect();
        let mut shares = vec![share(0)];
        for other in others {
            match other.join() {
                Ok(done) => shares.push(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        shares
    })
}

/// Applies one segment.
fn walk(current: &Segment, next: Option<&Segment>, applier: &mut Applier<'_>) -> Walked {
    let mut walked = Walked {
        max_row_ms: i64::MIN,
        ..Walked::default()
    };
    let Ok(header) = current.header else {
        return walked;
    };
    walked.next_lsn = header.first_lsn;
    let sealed_at = next
        .filter(|next| next.seq == current.seq + 1)
        .and_then(|next| next.header.as_ref().ok())
        .map(|next| next.first_lsn);
    let file = format!("wal/{}", current.name);
    let mut damage = |offset: usize, found: String| {
        let expected = "a frame with a valid checksum";
        let damage = Corruption::new(&*file, offset as u64, expected, found);
        walked.damage.push(damage);
    };
    let mut records = RecordReader::default();
    let mut payload = Vec::new();
    let mut scan = Scan::new(&current.map, header, sealed_at);
    while let Some(step) = scan.step() {
        match step {
            Step::Frame(frame) => {
                walked.next_lsn = frame.lsn + 1;
                let read = frame
                    .payload_into(&mut payload)
                    .map(|()| records.read(&payload, applier));
                if !matches!(read, Some(Ok(()))) {
                    damage(frame.end, format!("an unreadable frame {}", frame.lsn));
                }
            }
            Step::Gap {
                offset,
                resume,
                lost,
            } => {
                walked.next_lsn = lost.end;
                let bytes = resume - offset;
                damage(offset, format!("{bytes} bytes without frames {lost:?}"));
            }
            Step::End { offset, torn } => {
                if torn && next.is_some() {
                    damage(offset, "something else".into());
                } else if offset < current.map.len() {
                    walked.end = Some((offset, torn));
                }
            }
        }
    }
    applier.end_segment();
    walked.max_row_ms = applier.max_row_ms;
    walked
}

/// Brings the file of a walked segment in order and lists it.
fn settle(
    vfs: &dyn Vfs,
    dir: &Path,
    segment: Segment,
    walked: Walked,
    done: &mut Replayed,
) -> Result<(), OpenError> {
    let path = dir.join(&segment.name);
    let mut closed = ClosedSegment {
        seq: segment.seq,
        bytes: segment.map.len() as u64,
        max_row_ms: walked.max_row_ms,
        damaged: !walked.damage.is_empty(),
    };
    // Header and end mark are durable before a segment gets its name.
    if let Err(damage) = segment.header {
        closed.damaged = true;
        done.corruptions.push(damage);
    }
    for damage in &walked.damage {
        tracing::error!(%damage, "write-ahead log is damaged");
    }
    done.corruptions.extend(walked.damage);
    done.position.next_lsn = done.position.next_lsn.max(walked.next_lsn);
    drop(segment.map);
    if let Some((offset, torn)) = walked.end {
        let file = vfs.open(&path, OpenMode::Write).doing("opening", &path)?;
        file.truncate(offset as u64).doing("truncating", &path)?;
        file.sync_data().doing("syncing", &path)?;
        if torn {
            done.torn_bytes += closed.bytes - offset as u64;
            tracing::warn!(file = %path.display(), offset, "torn tail of the write-ahead log cut off");
        }
        closed.bytes = offset as u64;
    }
    done.segments.push(closed);
    Ok(())
}
