//! A selection looks up from its work now and then, and gives up when it is told to; what it had found
//! is not kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tenbin_model::{
    Interrupt, MatchOp, Matcher, Queryable, Sample, SampleBuffer, SelectHints, StoreError,
    TimeRange,
};
use tenbin_storage::Db;
use tenbin_storage::vfs::SimVfs;

use crate::harness::*;

const SERIES: usize = 6_000;

/// Series that all have their own value of one label: `blocks` blocks with a sample of each and the
/// head with another.
fn filled(blocks: i64) -> Arc<Db> {
    let db = open(&SimVfs::new(), &options()).unwrap();
    for round in 0..=blocks {
        let entry = |number: usize| {
            let labels = pairs(&[("__name__", "m"), ("id", &format!("id-{number}"))]);
            (
                labels,
                vec![Sample::new(START_MS + round * 10_000, number as f64)],
            )
        };
        append(
            &db,
            &Request((0..SERIES).map(entry).collect(), vec![], Side::default()),
        );
        if round < blocks {
            db.flush().unwrap();
        }
    }
    db
}

/// Gives up at a look, and counts the looks.
fn at_look(limit: usize) -> (Arc<AtomicUsize>, Interrupt) {
    let looks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&looks);
    let interrupt = Interrupt::new(move || count.fetch_add(1, Ordering::Relaxed) + 1 >= limit);
    (looks, interrupt)
}

/// How many series a selection finds, and how often it looked up.
fn found(
    db: &Db,
    matcher: &Matcher,
    sorted: bool,
    limit: usize,
) -> (usize, Result<usize, StoreError>) {
    let (looks, interrupt) = at_look(limit);
    let hints = SelectHints {
        sorted,
        interrupt,
        ..SelectHints::default()
    };
    let querier = db.querier(TimeRange::ALL).unwrap();
    let result = querier.select(std::slice::from_ref(matcher), &hints);
    let result = result.map(|set| set.len());
    (looks.load(Ordering::Relaxed), result)
}

#[test]
fn a_selection_gives_up_at_any_look() {
    let matcher = |op, value| Matcher::new(op, "id", value).unwrap();
    for (blocks, sorted, matcher, expected) in [
        (0, false, matcher(MatchOp::Regex, ".*[0-4]"), SERIES / 2),
        (1, false, matcher(MatchOp::Regex, ".*[0-4]"), SERIES / 2),
        (1, true, matcher(MatchOp::NotRegex, ".*[0-4]"), SERIES / 2),
        (1, false, matcher(MatchOp::NotEqual, ""), SERIES),
    ] {
        let db = filled(blocks);
        let given_up = |limit| {
            let (looks, result) = found(&db, &matcher, sorted, limit);
            assert!(
                matches!(result, Err(StoreError::Interrupted)),
                "{matcher} at {limit}"
            );
            assert_eq!(looks, limit, "{matcher}");
        };
        // Before anything is known about the matcher: nothing half found is kept.
        (1..=5).for_each(given_up);
        let (cold, result) = found(&db, &matcher, sorted, usize::MAX);
        assert_eq!(result.ok(), Some(expected), "{matcher}");
        // Values that are matched, and slices of series that are copied.
        let values = SERIES.div_ceil(1 << 10);
        assert!(cold >= values + expected / 256, "{matcher}: {cold} looks");
        let (warm, result) = found(&db, &matcher, sorted, usize::MAX);
        assert_eq!(result.ok(), Some(expected), "{matcher}");
        (1..=warm).step_by(3).for_each(given_up);
        given_up(warm);
    }
}

#[test]
fn reading_a_series_looks_up_between_blocks() {
    const BLOCKS: i64 = 4;
    let db = open(&SimVfs::new(), &options()).unwrap();
    for round in 0..=BLOCKS {
        append(
            &db,
            &one(series(0), START_MS + round * 10_000, round as f64),
        );
        if round < BLOCKS {
            db.flush().unwrap();
        }
    }
    let any = Matcher::new(MatchOp::NotEqual, "job", "").unwrap();
    let read = |limit: usize| {
        let (looks, interrupt) = at_look(limit);
        let hints = SelectHints {
            interrupt,
            ..SelectHints::default()
        };
        let querier = db.querier(TimeRange::ALL).unwrap();
        let set = querier.select(std::slice::from_ref(&any), &hints).unwrap();
        let selecting = looks.load(Ordering::Relaxed);
        let mut samples = SampleBuffer::default();
        let result = set.read(0, TimeRange::ALL, &mut samples);
        (
            selecting,
            looks.load(Ordering::Relaxed),
            result.map(|()| samples.len()),
        )
    };
    // Blocks remember what a matcher finds.
    let _ = read(usize::MAX);
    let (selecting, all, result) = read(usize::MAX);
    assert_eq!(result.ok(), Some(1 + BLOCKS as usize));
    assert_eq!(all - selecting, BLOCKS as usize);
    for limit in selecting + 1..=all {
        let (_, looks, result) = read(limit);
        assert!(matches!(result, Err(StoreError::Interrupted)), "at {limit}");
        assert_eq!(looks, limit);
    }
}
