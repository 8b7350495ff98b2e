//! A segment with valid frames around any payloads: the store opens, says the same before and after
//! a flush, and again after a restart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tenbin_model::write::HistogramValue;
use tenbin_model::{
    CounterResetHint, MatchOp, Matcher, Queryable, RawSamples, SelectHints, TimeRange,
};

use super::Input;
use crate::vfs::{OpenMode, SimVfs, Vfs};
use crate::wal::frame;
use crate::wal::segment::{SegmentHeader, file_name};
use crate::{Clock, Db, Options, ReplayProgress};

const SALT: u32 = 7;

/// The frame after this one is written over by zeros in part.
const BROKEN: u8 = 1;
/// A number is left out.
const SKIPPED: u8 = 2;
/// The frame does not know the one before to be durable.
const UNMARKED: u8 = 4;

struct NoTime;

impl Clock for NoTime {
    fn now_ms(&self) -> i64 {
        1_700_000_000_000
    }
}

/// The segment that an input describes: per frame a byte of flags and a payload.
fn segment(data: &[u8]) -> Vec<u8> {
    let header = SegmentHeader {
        seq: 1,
        salt: SALT,
        created_ms: 0,
        first_lsn: 1,
    };
    let mut bytes = header.encode().to_vec();
    let mut input = Input::new(data);
    let mut lsn = 1;
    while !input.is_empty() {
        let (flags, payload) = (input.u8(), input.part());
        if payload.is_empty() {
            continue;
        }
        lsn += u64::from(flags & SKIPPED != 0);
        let durable = if flags & UNMARKED == 0 { lsn - 1 } else { 0 };
        let at = bytes.len();
        frame::encode(&mut bytes, SALT, lsn, durable, payload);
        if flags & BROKEN != 0 {
            bytes[at + 4] ^= 1;
        }
        lsn += 1;
    }
    bytes.resize(bytes.len() + 64, 0);
    bytes
}

type Samples = (Vec<(i64, u64, i64)>, Vec<String>);

/// All series with their samples.
fn contents(db: &Arc<Db>) -> BTreeMap<String, Samples> {
    let any = Matcher::new(MatchOp::NotEqual, "no such label", "x").expect("a matcher");
    let querier = db.querier(TimeRange::ALL).expect("a snapshot");
    let set = querier.select(&[any], &SelectHints::default());
    let set = set.expect("nothing on disk is damaged");
    let mut found = BTreeMap::new();
    let mut raw = RawSamples::default();
    for series in 0..set.len() {
        set.read_raw(series, TimeRange::ALL, &mut raw)
            .expect("nothing on disk is damaged");
        assert!(raw.timestamps_ms.is_sorted_by(|a, b| a < b));
        let floats = raw.timestamps_ms.iter().zip(&raw.values).enumerate();
        let floats = floats.map(|(at, (at_ms, value))| {
            let start_ms = raw.start_timestamps_ms.get(at).copied().unwrap_or(0);
            (*at_ms, value.to_bits(), start_ms)
        });
        let floats: Vec<_> = floats.collect();
        let histograms = raw.histograms.iter().map(|sample| {
            let mut sample = sample.clone();
            // What stands before a histogram decides about a reset, and a flush moves it.
            match &mut sample.histogram {
                HistogramValue::Integer(h) => h.counter_reset_hint = CounterResetHint::Unknown,
                HistogramValue::Float(h) => h.counter_reset_hint = CounterResetHint::Unknown,
            }
            format!("{sample:?}")
        });
        let histograms: Vec<_> = histograms.collect();
        if !floats.is_empty() || !histograms.is_empty() {
            let labels = set.labels(series).expect("labels").to_string();
            let before = found.insert(labels, (floats, histograms));
            assert!(before.is_none(), "a series comes once");
        }
    }
    found
}

fn open(disk: &SimVfs) -> Option<Arc<Db>> {
    let options = Options {
        data_dir: PathBuf::from("data"),
        retention_ms: 0,
        max_future_ms: 0,
        flush_interval_ms: 1 << 50,
        // Small files are cheap to simulate.
        wal_segment_bytes: 8192,
        ..Options::default()
    };
    let progress = Arc::new(ReplayProgress::default());
    Db::open_with(Arc::new(disk.clone()), Arc::new(NoTime), options, progress).ok()
}

/// Frames around the payloads of the input are replayed: never a panic, and what was read from the log
/// is the same in a block and after a restart.
pub fn wal_frames(data: &[u8]) {
    let disk = SimVfs::new();
    let path = Path::new("data/wal").join(file_name(1));
    let file = disk.open(&path, OpenMode::Create).expect("a fresh file");
    file.write_at(0, &segment(data)).expect("a write");
    drop(file);
    let Some(db) = open(&disk) else {
        return;
    };
    let before = contents(&db);
    db.flush().expect("a flush");
    assert_eq!(contents(&db), before, "a flush changes no answer");
    db.close().expect("a clean end");
    drop(db);
    let db = open(&disk).expect("what this program wrote");
    assert_eq!(contents(&db), before, "nor does a restart");
    assert_eq!(db.verify(), []);
}
