//! `kill -9` in the middle of ingesting: every acknowledged sample must be there after the restart,
//! with its exact value. The senders' own ledger says what was acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::http::{Client, form};
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::sender::{send, series};

use super::{failed, tenbin};

const SENDERS: usize = 4;
const SERIES_PER_SENDER: usize = 25;
const ROUNDS: usize = 4;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("crash::acknowledged_samples_survive_kill_9", survive_kill),
        Trial::test("crash::a_graceful_stop_loses_nothing", graceful_stop),
    ]
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64)
}

/// Acknowledged samples: `(sender, series) -> [(timestamp_ms, value)]`.
type Ledger = BTreeMap<(usize, usize), Vec<(i64, f64)>>;

/// Sends until told to stop; one sample per series and request. Returns what was acknowledged.
fn sender(url: &str, number: usize, first_ms: i64, stop: &AtomicBool) -> Ledger {
    let client = Client::default();
    let mut ledger = Ledger::new();
    for request in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let timestamp_ms = first_ms + request;
        let value = |index: usize| (request as f64) * 0.1 + index as f64;
        let batch = (0..SERIES_PER_SENDER).map(|index| {
            let labels = [
                ("__name__", "ledger"),
                ("sender", &number.to_string()),
                ("series", &index.to_string()),
            ];
            series(&labels, &[(timestamp_ms, value(index))])
        });
        if send(&client, url, batch.collect()).is_ok_and(|answer| answer.status == 204) {
            for index in 0..SERIES_PER_SENDER {
                ledger
                    .entry((number, index))
                    .or_default()
                    .push((timestamp_ms, value(index)));
            }
        }
    }
    ledger
}

/// All stored samples of the ledger's metric.
fn stored(url: &str, time_ms: i64) -> Result<Ledger, String> {
    let time = format!("{}.{:03}", time_ms / 1000, time_ms % 1000);
    let query = form(&[("query", "ledger[1h]"), ("time", &time)]);
    let answer = Client::default().get(&format!("{url}/api/v1/query?{query}"))?;
    let body = answer.json();
    let result = body["data"]["result"]
        .as_array()
        .ok_or_else(|| answer.text())?;
    let mut ledger = Ledger::new();
    for series in result {
        let number = |name: &str| {
            series["metric"][name]
                .as_str()
                .and_then(|n| n.parse::<usize>().ok())
                .unwrap_or(9999)
        };
        let values = series["values"].as_array().cloned().unwrap_or_default();
        let points = values.iter().map(|point| {
            let seconds = point[0].as_f64().unwrap_or(0.0);
            let value = point[1]
                .as_str()
                .and_then(|v| v.parse().ok())
                .unwrap_or(f64::NAN);
            ((seconds * 1000.0).round() as i64, value)
        });
        ledger.insert((number("sender"), number("series")), points.collect());
    }
    Ok(ledger)
}

/// Every acknowledged sample is stored once with its value, in order.
fn check(acknowledged: &Ledger, stored: &Ledger) -> Result<usize, String> {
    let mut count = 0;
    for (key, samples) in acknowledged {
        let found = stored
            .get(key)
            .ok_or_else(|| format!("series {key:?} is gone"))?;
        if !found.windows(2).all(|w| w[0].0 < w[1].0) {
            return Err(format!("series {key:?} is out of order"));
        }
        for (timestamp_ms, value) in samples {
            let at = found
                .binary_search_by_key(timestamp_ms, |(t, _)| *t)
                .map_err(|_| format!("lost: series {key:?} at {timestamp_ms}"))?;
            if found[at].1.to_bits() != value.to_bits() {
                return Err(format!(
                    "series {key:?} at {timestamp_ms}: {} != {value}",
                    found[at].1
                ));
            }
            count += 1;
        }
    }
    Ok(count)
}

fn survive_kill() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let mut acknowledged = Ledger::new();
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let first_ms = now_ms() - 60_000;
        let senders: Vec<_> = (0..SENDERS)
            .map(|number| {
                let (url, stop) = (server.url.clone(), Arc::clone(&stop));
                std::thread::spawn(move || sender(&url, round * SENDERS + number, first_ms, &stop))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(400 + 150 * round as u64));
        server.process.kill();
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            acknowledged.extend(sender.join().map_err(|_| failed("a sender panicked"))?);
        }
        let took = server.restart().map_err(failed)?;
        let stored = stored(&server.url, now_ms() + 3_600_000 / 2).map_err(failed)?;
        let count = check(&acknowledged, &stored).map_err(failed)?;
        eprintln!("round {round}: {count} acknowledged samples, all there; ready after {took:?}");
        if count < 100 {
            return Err(failed(format!(
                "only {count} samples were acknowledged: proves nothing"
            )));
        }
    }
    Ok(())
}

fn graceful_stop() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let time_ms = now_ms();
    let labels = [("__name__", "ledger"), ("sender", "0"), ("series", "0")];
    let answer = send(
        &Client::default(),
        &server.url,
        vec![series(&labels, &[(time_ms, 1.5)])],
    );
    assert_eq!(answer.map_err(failed)?.status, 204);
    if !server.process.terminate() {
        return Err(failed(format!(
            "SIGTERM: no success\n{}",
            server.process.output()
        )));
    }
    server.restart().map_err(failed)?;
    let stored = stored(&server.url, time_ms).map_err(failed)?;
    assert_eq!(stored.get(&(0, 0)), Some(&vec![(time_ms, 1.5)]));
    Ok(())
}
