//! Encoded request bodies in a file, one file for each connection.
//!
//! Bodies are made once, before any system starts, so that every system gets the same bytes and
//! making them counts towards none. A record: u32 round, u32 samples, u32 length (little-endian),
//! body. The round says which scrape the body's first sample belongs to; samples are those that a
//! query can count, so no staleness markers.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// What a file of bodies holds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BodyTotals {
    pub(crate) requests: u64,
    /// As sent.
    pub(crate) body_bytes: u64,
    /// Before compression.
    pub(crate) message_bytes: u64,
}

/// Writes bodies.
pub(crate) struct BodyWriter {
    path: PathBuf,
    out: BufWriter<File>,
    totals: BodyTotals,
}

impl BodyWriter {
    pub(crate) fn create(path: &Path) -> Result<Self, String> {
        let file = File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            out: BufWriter::with_capacity(1 << 20, file),
            totals: BodyTotals::default(),
        })
    }

    pub(crate) fn push(
        &mut self,
        round: u32,
        samples: u32,
        body: &[u8],
        message_bytes: usize,
    ) -> Result<(), String> {
        let mut record = [0; 12];
        record[..4].copy_from_slice(&round.to_le_bytes());
        record[4..8].copy_from_slice(&samples.to_le_bytes());
        record[8..].copy_from_slice(&(body.len() as u32).to_le_bytes());
        self.totals.requests += 1;
        self.totals.body_bytes += body.len() as u64;
        self.totals.message_bytes += message_bytes as u64;
        self.out
            .write_all(&record)
            .and_then(|()| self.out.write_all(body))
            .map_err(|e| format!("{}: {e}", self.path.display()))
    }

    pub(crate) fn finish(mut self) -> Result<BodyTotals, String> {
        self.out
            .flush()
            .map_err(|e| format!("{}: {e}", self.path.display()))?;
        Ok(self.totals)
    }
}

/// Reads bodies in their order.
pub(crate) struct BodyReader {
    input: BufReader<File>,
}

/// One request.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) round: u32,
    pub(crate) samples: u32,
    pub(crate) bytes: Vec<u8>,
}

impl BodyReader {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self {
            input: BufReader::with_capacity(1 << 18, file),
        })
    }

    /// Reads the next body into `into`; false at the end.
    pub(crate) fn next(&mut self, into: &mut Body) -> Result<bool, String> {
        let mut record = [0; 12];
        let first = self
            .input
            .read(&mut record[..1])
            .map_err(|e| e.to_string())?;
        if first == 0 {
            return Ok(false);
        }
        let mut rest = || {
            self.input.read_exact(&mut record[1..])?;
            let number = |at: usize| {
                u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
            };
            (into.round, into.samples) = (number(0), number(4));
            into.bytes.resize(number(8) as usize, 0);
            self.input.read_exact(&mut into.bytes)
        };
        rest().map_err(|e| format!("bodies are cut off: {e}"))?;
        Ok(true)
    }
}
