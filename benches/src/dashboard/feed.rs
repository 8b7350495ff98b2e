//! Sends a workload in two parts: what comes before as fast as it is taken, then at a fixed rate,
//! by the clock and not by the answers (open loop), so that falling behind shows.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tenbin_compat_tests::sender::HEADERS;

use crate::bodies::{Body, BodyReader};
use crate::client::{Connection, Encoded};
use crate::workload::Workload;

/// What the senders and the dashboard share.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) sent: AtomicU64,
    /// Scrape that the newest request belongs to.
    pub(super) round: AtomicI64,
    /// Longest time that a request was sent after it was due, microseconds.
    pub(super) most_late_us: AtomicU64,
    /// The same of the newest request of any stream.
    pub(super) now_late_us: AtomicU64,
    /// The bodies ended before the time did.
    pub(super) ran_out: AtomicBool,
}

/// One stream of a workload on its connection.
pub(super) struct Stream {
    reader: BodyReader,
    connection: Connection,
    next: Body,
    is_done: bool,
}

impl Stream {
    /// One for each of the workload's streams.
    pub(super) fn open_all(workload: &Workload, url: &str) -> Result<Vec<Self>, String> {
        let streams = workload.streams.iter().map(|path| {
            let mut stream = Self {
                reader: BodyReader::open(path)?,
                connection: Connection::open(url)?,
                next: Body::default(),
                is_done: false,
            };
            stream.advance()?;
            Ok(stream)
        });
        streams.collect()
    }

    fn advance(&mut self) -> Result<(), String> {
        self.is_done = !self.reader.next(&mut self.next)?;
        Ok(())
    }

    fn send(&mut self) -> Result<(), String> {
        let reply =
            self.connection
                .ask(&Encoded::post("/api/v1/write", &HEADERS, &self.next.bytes))?;
        if reply.status >= 300 {
            let text = String::from_utf8_lossy(reply.body).into_owned();
            return Err(format!("a request was refused: {} {text}", reply.status));
        }
        Ok(())
    }

    /// Sends all scrapes before `round`.
    pub(super) fn preload(&mut self, round: u32) -> Result<(), String> {
        while !self.is_done && self.next.round < round {
            self.send()?;
            self.advance()?;
        }
        Ok(())
    }

    /// Sends `rate` samples a second until `stop`.
    pub(super) fn at_rate(
        &mut self,
        rate: f64,
        progress: &Progress,
        stop: &AtomicBool,
    ) -> Result<(), String> {
        let (started, mut sent) = (Instant::now(), 0_u64);
        while !stop.load(Ordering::Relaxed) {
            if self.is_done {
                progress.ran_out.store(true, Ordering::Relaxed);
                return Ok(());
            }
            let due = started + Duration::from_secs_f64(sent as f64 / rate);
            let now = Instant::now();
            if due > now {
                std::thread::sleep((due - now).min(Duration::from_millis(50)));
                continue;
            }
            let late = (now - due).as_micros() as u64;
            progress.now_late_us.store(late, Ordering::Relaxed);
            progress.most_late_us.fetch_max(late, Ordering::Relaxed);
            self.send()?;
            sent += u64::from(self.next.samples);
            progress
                .sent
                .fetch_add(u64::from(self.next.samples), Ordering::Relaxed);
            progress
                .round
                .fetch_max(i64::from(self.next.round), Ordering::Relaxed);
            self.advance()?;
        }
        Ok(())
    }
}
