//! Sends a workload: each stream on its own connection, its bodies in order.
//!
//! Streams stay close together in time, as scrapes of real targets do: none runs more than a few
//! scrapes ahead of the slowest.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tenbin_compat_tests::http::Client;

use crate::bodies::{Body, BodyReader};
use crate::workload::Workload;

/// How many scrapes a stream may be ahead of the slowest.
const LEAD_ROUNDS: u32 = 8;

/// What sending gave.
pub(crate) struct Sent {
    pub(crate) took: Duration,
    pub(crate) refused: u64,
    /// Countable samples of the requests that were answered with success.
    pub(crate) acknowledged: u64,
    pub(crate) first_refusal: Option<String>,
}

/// What the connections share.
struct Shared<'w> {
    workload: &'w Workload,
    url: String,
    rounds: Vec<AtomicU32>,
    refused: AtomicU64,
    acknowledged: AtomicU64,
    first_refusal: Mutex<Option<String>>,
}

/// Sends everything to `url`.
pub(crate) fn send(workload: &Workload, url: &str) -> Result<Sent, String> {
    let shared = Shared {
        workload,
        url: format!("{url}/api/v1/write"),
        rounds: workload.streams.iter().map(|_| AtomicU32::new(0)).collect(),
        refused: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        first_refusal: Mutex::new(None),
    };
    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = workload
            .streams
            .iter()
            .enumerate()
            .map(|(number, path)| {
                let shared = &shared;
                scope.spawn(move || {
                    let outcome = stream(shared, number, path);
                    shared.rounds[number].store(u32::MAX, Ordering::Relaxed);
                    outcome
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|t| t.join().map_err(|_| "a sender panicked".to_owned())?)
    })?;
    Ok(Sent {
        took: started.elapsed(),
        refused: shared.refused.into_inner(),
        acknowledged: shared.acknowledged.into_inner(),
        first_refusal: shared.first_refusal.into_inner().unwrap_or_default(),
    })
}

fn stream(shared: &Shared<'_>, number: usize, path: &Path) -> Result<(), String> {
    let client = Client::default();
    let headers = shared.workload.plan.protocol.headers();
    let mut reader = BodyReader::open(path)?;
    let mut body = Body::default();
    while reader.next(&mut body)? {
        shared.rounds[number].store(body.round, Ordering::Relaxed);
        while body.round > slowest(shared).saturating_add(LEAD_ROUNDS) {
            std::thread::sleep(Duration::from_micros(200));
        }
        let answer = client.post(&shared.url, &headers, &body.bytes)?;
        if answer.status < 300 {
            shared
                .acknowledged
                .fetch_add(u64::from(body.samples), Ordering::Relaxed);
        } else {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            if let Ok(mut first) = shared.first_refusal.lock() {
                first.get_or_insert_with(|| format!("{} {}", answer.status, answer.text().trim()));
            }
        }
    }
    Ok(())
}

fn slowest(shared: &Shared<'_>) -> u32 {
    let rounds = shared.rounds.iter().map(|r| r.load(Ordering::Relaxed));
    rounds.min().unwrap_or(u32::MAX)
}
