//! Write requests as real senders encode them: remote write 1.0 and 2.0, snappy blocks.
//!
//! Written by hand, since a benchmark sends tens of millions of samples; the tests compare with what
//! independent decoders read. 2.0: symbols in the order of their first use after the empty one,
//! packed references, and the metadata message that Prometheus always sends, empty.

use super::pool::{LabelId, Pool};
use super::wire;

/// The protocol of a stream of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// Remote write 1.0
    Rw1,
    /// Remote write 2.0
    Rw2,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rw1 => "remote write 1.0",
            Self::Rw2 => "remote write 2.0",
        }
    }

    /// The request's headers.
    pub(crate) fn headers(self) -> [(&'static str, &'static str); 3] {
        match self {
            Self::Rw1 => tenbin_compat_tests::sender::HEADERS,
            Self::Rw2 => [
                ("Content-Encoding", "snappy"),
                ("Content-Type", tenbin_compat_tests::sender_v2::CONTENT_TYPE),
                ("X-Prometheus-Remote-Write-Version", "2.0.0"),
            ],
        }
    }
}

/// Collects series with one sample each and gives out bodies.
pub(crate) struct Request {
    protocol: Protocol,
    /// The `timeseries` fields so far.
    series: Vec<u8>,
    /// 2.0: the `symbols` fields so far.
    symbols: Vec<u8>,
    symbol_count: u32,
    /// 2.0: per symbol of the pool, the number of the request that used it last and its place there.
    places: Vec<(u32, u32)>,
    number: u32,
    references: Vec<u8>,
    samples: usize,
    snappy: snap::raw::Encoder,
}

impl Request {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            series: Vec::new(),
            symbols: Vec::new(),
            symbol_count: 0,
            places: Vec::new(),
            number: 1,
            references: Vec::new(),
            samples: 0,
            snappy: snap::raw::Encoder::new(),
        }
    }

    /// Samples since the last body.
    pub(crate) fn samples(&self) -> usize {
        self.samples
    }

    /// Adds a series with one sample.
    pub(crate) fn push(&mut self, pool: &Pool, labels: &[LabelId], timestamp_ms: i64, value: f64) {
        match self.protocol {
            Protocol::Rw1 => self.push_v1(pool, labels, timestamp_ms, value),
            Protocol::Rw2 => self.push_v2(pool, labels, timestamp_ms, value),
        }
        self.samples += 1;
    }

    fn push_v1(&mut self, pool: &Pool, labels: &[LabelId], timestamp_ms: i64, value: f64) {
        let label_bytes: usize = labels.iter().map(|l| pool.encoded(*l).len()).sum();
        let length = label_bytes + wire::sample_len(timestamp_ms, value);
        self.series.push(1 << 3 | 2);
        wire::varint(&mut self.series, length as u64);
        for label in labels {
            self.series.extend_from_slice(pool.encoded(*label));
        }
        wire::sample(&mut self.series, timestamp_ms, value);
    }

    fn push_v2(&mut self, pool: &Pool, labels: &[LabelId], timestamp_ms: i64, value: f64) {
        self.references.clear();
        for label in labels {
            let (name, text) = pool.symbols(*label);
            for symbol in [name, text] {
                let place = self.place(pool, symbol);
                wire::varint(&mut self.references, u64::from(place));
            }
        }
        let references_len = self.references.len();
        let length = 1
            + wire::varint_len(references_len as u64)
            + references_len
            + wire::sample_len(timestamp_ms, value)
            + 2;
        self.series.push(5 << 3 | 2);
        wire::varint(&mut self.series, length as u64);
        wire::bytes(&mut self.series, 1, &self.references);
        wire::sample(&mut self.series, timestamp_ms, value);
        wire::bytes(&mut self.series, 5, &[]);
    }

    /// Where the symbol stands in the present request; adds it at its first use.
    fn place(&mut self, pool: &Pool, symbol: u32) -> u32 {
        if self.places.len() < pool.symbol_count() {
            self.places.resize(pool.symbol_count(), (0, 0));
        }
        let place = &mut self.places[symbol as usize];
        if place.0 != self.number {
            if self.symbol_count == 0 {
                wire::bytes(&mut self.symbols, 4, &[]);
                self.symbol_count = 1;
            }
            wire::bytes(&mut self.symbols, 4, pool.symbol_text(symbol).as_bytes());
            *place = (self.number, self.symbol_count);
            self.symbol_count += 1;
        }
        place.1
    }

    /// The body of what was pushed since the last one, with the length before compression.
    pub(crate) fn take(&mut self) -> Result<(Vec<u8>, usize), String> {
        let message = match self.protocol {
            Protocol::Rw1 => &self.series,
            Protocol::Rw2 => {
                self.symbols.extend_from_slice(&self.series);
                &self.symbols
            }
        };
        let body = self.snappy.compress_vec(message).map_err(|e| e.to_string());
        let length = message.len();
        self.series.clear();
        self.symbols.clear();
        self.symbol_count = 0;
        self.number += 1;
        self.samples = 0;
        Ok((body?, length))
    }
}
