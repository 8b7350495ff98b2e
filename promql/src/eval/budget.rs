//! What one query may use: samples and bytes held at once, and time.
//!
//! Every operator charges what it holds and releases what it gives up; what a node returns stays
//! charged until its consumer releases it. The clock is read here and nowhere else in this crate.

use std::time::{Duration, Instant};

use crate::engine::CancelToken;
use crate::error::EvalError;
use crate::eval::column::Series;
use crate::options::EngineOptions;

/// The phase that timeouts and cancellations name.
const PHASE: &str = "expression evaluation";

/// The limits of one query and what it uses of them.
#[derive(Debug)]
pub(crate) struct Budget {
    max_samples: u64,
    max_bytes: u64,
    live_samples: u64,
    live_bytes: u64,
    peak_samples: u64,
    deadline: Option<Instant>,
    cancel: CancelToken,
}

impl Budget {
    pub(crate) fn new(options: &EngineOptions, cancel: &CancelToken) -> Self {
        let timeout = Duration::from_millis(options.timeout_ms);
        Self {
            max_samples: options.max_samples,
            max_bytes: options.max_memory_bytes,
            live_samples: 0,
            live_bytes: 0,
            peak_samples: 0,
            deadline: Instant::now().checked_add(timeout),
            cancel: cancel.clone(),
        }
    }

    /// Fails when the query was cancelled or is out of time.
    pub(crate) fn check(&self) -> Result<(), EvalError> {
        if self.cancel.is_cancelled() {
            return Err(EvalError::Canceled(PHASE));
        }
        if self.deadline.is_some_and(|at| Instant::now() >= at) {
            return Err(EvalError::Timeout(PHASE));
        }
        Ok(())
    }

    /// Takes `samples` more.
    pub(crate) fn charge(&mut self, samples: u64) -> Result<(), EvalError> {
        self.live_samples += samples;
        if self.live_samples > self.max_samples {
            return Err(EvalError::too_many_samples());
        }
        self.peak_samples = self.peak_samples.max(self.live_samples);
        Ok(())
    }

    /// Gives `samples` back.
    pub(crate) fn release(&mut self, samples: u64) {
        self.live_samples = self.live_samples.saturating_sub(samples);
    }

    /// Replaces a charge of `before` samples by one of `after`.
    pub(crate) fn adjust(&mut self, before: u64, after: u64) -> Result<(), EvalError> {
        self.release(before);
        self.charge(after)
    }

    /// Takes `bytes` more.
    pub(crate) fn charge_bytes(&mut self, bytes: u64) -> Result<(), EvalError> {
        self.live_bytes += bytes;
        if self.max_bytes > 0 && self.live_bytes > self.max_bytes {
            return Err(EvalError::Execution(format!(
                "query would hold more than {} bytes in memory (flag --query.max-memory)",
                self.max_bytes
            )));
        }
        Ok(())
    }

    /// Takes a series into the result of a node.
    pub(crate) fn charge_series(&mut self, series: &Series) -> Result<(), EvalError> {
        self.charge(series.size())?;
        self.charge_bytes(column_bytes(series))
    }

    /// Gives back series that were charged with [`Budget::charge_series`].
    pub(crate) fn release_series(&mut self, all: &[Series]) {
        for series in all {
            self.release(series.size());
            self.live_bytes = self.live_bytes.saturating_sub(column_bytes(series));
        }
    }

    /// Most samples held at once.
    pub(crate) fn peak_samples(&self) -> u64 {
        self.peak_samples
    }
}

/// Bytes of the columns of a series; histograms are shared and counted as samples.
fn column_bytes(series: &Series) -> u64 {
    let slots = if series.histograms.is_some() { 2 } else { 1 };
    (slots * 8 * series.steps() + size_of::<Series>()) as u64
}
