//! Sends a workload: each copy stays on one connection, its bodies in order, copies interleaved.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tenbin_compat_tests::http::Client;
use tenbin_compat_tests::sender::HEADERS;

use crate::capture::Workload;

/// What sending gave.
pub(crate) struct Sent {
    pub(crate) took: Duration,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) first_refusal: Option<String>,
}

/// Sends everything to `url`.
pub(crate) fn send(workload: &Workload, url: &str, connections: usize) -> Result<Sent, String> {
    let url = format!("{url}/api/v1/write");
    let (accepted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let first_refusal = std::sync::Mutex::new(None);
    let started = Instant::now();
    let connection = |number: usize| -> Result<(), String> {
        let client = Client::default();
        let mine: Vec<_> = workload
            .replicas
            .iter()
            .skip(number)
            .step_by(connections)
            .collect();
        let requests = mine.iter().map(|r| r.bodies.len()).max().unwrap_or(0);
        for request in 0..requests {
            for replica in &mine {
                let Some(body) = replica.bodies.get(request) else {
                    continue;
                };
                let answer = client.post(&url, &HEADERS, body)?;
                if answer.status < 300 {
                    accepted.fetch_add(1, Ordering::Relaxed);
                } else {
                    refused.fetch_add(1, Ordering::Relaxed);
                    if let Ok(mut first) = first_refusal.lock() {
                        first.get_or_insert_with(|| {
                            format!("{} {}", answer.status, answer.text().trim())
                        });
                    }
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|number| scope.spawn(move || connection(number)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|t| t.join().map_err(|_| "a sender panicked".to_owned())?)
    })?;
    Ok(Sent {
        took: started.elapsed(),
        accepted: accepted.into_inner(),
        refused: refused.into_inner(),
        first_refusal: first_refusal.into_inner().unwrap_or_default(),
    })
}
