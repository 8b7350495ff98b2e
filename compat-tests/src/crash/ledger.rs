//! Senders that note what was acknowledged, and the check against what is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http::{Client, form};
use crate::sender::{TimeSeries, send, series};

/// Series of a sender; each request has one sample of each.
pub const SERIES_PER_SENDER: usize = 25;

/// What one sender did.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// Timestamps of the acknowledged requests, ascending, and when the answer came.
    pub acknowledged: Vec<(i64, Instant)>,
    /// Timestamps of requests without a 2xx.
    pub unknown: BTreeSet<i64>,
    /// Answers 503, which ask to come again.
    pub refused: usize,
}

/// By number of the sender.
pub type Ledger = BTreeMap<u64, Sent>;

/// Milliseconds since the epoch.
#[must_use]
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64)
}

/// The value of a sample, so that the check needs no copy of it.
fn value(sender: u64, index: usize, timestamp_ms: i64) -> f64 {
    let mixed = (timestamp_ms as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(sender * 1000 + index as u64);
    (mixed >> 20) as f64 * 0.1
}

fn batch(sender: u64, timestamp_ms: i64) -> Vec<TimeSeries> {
    (0..SERIES_PER_SENDER)
        .map(|index| {
            let labels = [
                ("__name__", "ledger"),
                ("sender", &*sender.to_string()),
                ("series", &*index.to_string()),
            ];
            series(
                &labels,
                &[(timestamp_ms, value(sender, index, timestamp_ms))],
            )
        })
        .collect()
}

/// Senders at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    senders: Vec<(u64, JoinHandle<Sent>)>,
}

impl Load {
    /// Starts a sender for each number.
    #[must_use]
    pub fn start(url: &str, numbers: std::ops::Range<u64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let senders = numbers
            .map(|number| {
                let (url, stop) = (url.to_owned(), Arc::clone(&stop));
                let work = move || run(&url, number, &stop);
                (number, std::thread::spawn(work))
            })
            .collect();
        Self { stop, senders }
    }

    /// Ends the senders.
    ///
    /// # Errors
    /// When a sender panicked.
    pub fn finish(self) -> Result<Ledger, String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut ledger = Ledger::new();
        for (number, sender) in self.senders {
            let sent = sender.join().map_err(|_| "a sender panicked".to_owned())?;
            ledger.insert(number, sent);
        }
        Ok(ledger)
    }
}

fn run(url: &str, number: u64, stop: &AtomicBool) -> Sent {
    let client = Client::default();
    let mut sent = Sent::default();
    let mut timestamp_ms = now_ms() - 30_000;
    while !stop.load(Ordering::Relaxed) {
        timestamp_ms += 1;
        match send(&client, url, batch(number, timestamp_ms)) {
            Ok(answer) if answer.status == 204 => {
                sent.acknowledged.push((timestamp_ms, Instant::now()));
            }
            Ok(answer) => {
                sent.unknown.insert(timestamp_ms);
                if answer.status == 503 {
                    sent.refused += 1;
                    std::thread::sleep(Duration::from_millis(20));
                } else {
                    // No other answer is fine: the check will not find it acknowledged.
                    eprintln!("sender {number}: {} {}", answer.status, answer.text());
                }
            }
            Err(_) => {
                sent.unknown.insert(timestamp_ms);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    sent
}

/// What the check found.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// Acknowledged samples that are there.
    pub samples: usize,
    /// Acknowledged requests that are not, by sender; the newest ones of each.
    pub lost: Vec<(u64, i64, Instant)>,
}

/// Compares what is stored with the ledger. Lost requests are reported, everything else that is not
/// as it must be is an error.
///
/// # Errors
/// A value, an order, a sample or a part of a request that cannot be.
pub fn check(url: &str, ledger: &Ledger) -> Result<Checked, String> {
    let client = Client::default();
    let mut checked = Checked::default();
    for (sender, sent) in ledger {
        let stored = stored(&client, url, *sender)?;
        let mut times: Option<Vec<i64>> = None;
        for (index, samples) in &stored {
            let own: Vec<i64> = samples.iter().map(|s| s.0).collect();
            if !own.is_sorted_by(|a, b| a < b) {
                return Err(format!("sender {sender}, series {index}: out of order"));
            }
            for (at_ms, found) in samples {
                let expected = value(*sender, *index, *at_ms);
                if found.to_bits() != expected.to_bits() {
                    return Err(format!(
                        "sender {sender}, series {index} at {at_ms}: {found}, sent {expected}"
                    ));
                }
            }
            if times.as_ref().is_some_and(|first| *first != own) {
                return Err(format!("sender {sender}: a request is there in parts"));
            }
            times = Some(own);
        }
        let times = times.unwrap_or_default();
        if !times.is_empty() && stored.len() != SERIES_PER_SENDER {
            return Err(format!(
                "sender {sender}: {} series are there",
                stored.len()
            ));
        }
        let known = |at: &i64| sent.acknowledged.binary_search_by_key(at, |s| s.0).is_ok();
        let invented = |at: &&i64| !known(at) && !sent.unknown.contains(at);
        if let Some(at_ms) = times.iter().find(invented) {
            return Err(format!("sender {sender}: {at_ms} was never sent"));
        }
        for (at_ms, when) in &sent.acknowledged {
            if times.binary_search(at_ms).is_ok() {
                checked.samples += SERIES_PER_SENDER;
            } else {
                checked.lost.push((*sender, *at_ms, *when));
            }
        }
    }
    Ok(checked)
}

/// The stored samples of a sender by series.
fn stored(
    client: &Client,
    url: &str,
    sender: u64,
) -> Result<BTreeMap<usize, Vec<(i64, f64)>>, String> {
    let selector = format!("ledger{{sender=\"{sender}\"}}[6h]");
    let time = format!("{}", now_ms() / 1000 + 600);
    let query = form(&[("query", &selector), ("time", &time)]);
    let answer = client.get(&format!("{url}/api/v1/query?{query}"))?;
    let body = answer.json();
    let result = body["data"]["result"]
        .as_array()
        .ok_or_else(|| answer.text())?;
    let mut stored = BTreeMap::new();
    for one in result {
        let index = one["metric"]["series"].as_str().unwrap_or("").parse();
        let index = index.map_err(|_| "a series without a number".to_owned())?;
        let points = one["values"].as_array().cloned().unwrap_or_default();
        let points = points.iter().map(|point| {
            let seconds = point[0].as_f64().unwrap_or(0.0);
            let text = point[1].as_str().unwrap_or("");
            let value = text.parse().unwrap_or(f64::NAN);
            ((seconds * 1000.0).round() as i64, value)
        });
        stored.insert(index, points.collect());
    }
    Ok(stored)
}
