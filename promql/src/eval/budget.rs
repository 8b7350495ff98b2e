//! What one query may use: samples and bytes held at once, and time.
//!
//! Every operator charges what it holds and releases what it gives up; what a node returns stays
//! charged until its consumer releases it. The clock is read here and nowhere else in this crate.

use std::time::{Duration, Instant};

use tenbin_model::{Interrupt, StoreError};

use crate::engine::CancelToken;
use crate::error::EvalError;
use crate::eval::column::Series;
use crate::eval::meter::Meter;
use crate::options::EngineOptions;

/// The phase that timeouts and cancellations name.
const PHASE: &str = "expression evaluation";

/// Bytes that columns may take per sample allowed, and in any case.
const BYTES_PER_SAMPLE: u64 = 32;
const BYTES_AT_LEAST: u64 = 64 << 20;

/// Most bytes of results that are kept for another use.
const MOST_BYTES_KEPT: u64 = 256 << 20;

/// A state of the count of samples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    live: u64,
    peak: u64,
}

/// How the count of samples changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Samples held more than before.
    pub(crate) grown: i64,
    /// Most samples held at once meanwhile, beside those held before.
    pub(crate) peak: u64,
}

/// The limits of one query and what it uses of them.
#[derive(Debug)]
pub(crate) struct Budget {
    max_samples: u64,
    max_bytes: u64,
    live_samples: u64,
    live_bytes: u64,
    /// What columns hold.
    meter: Meter,
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
            meter: Meter::default(),
            peak_samples: 0,
            deadline: Instant::now().checked_add(timeout),
            cancel: cancel.clone(),
        }
    }

    /// Counts the bytes of columns.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// As [`Budget::check`], once in a while: for loops that do little per element.
    pub(crate) fn check_at(&self, element: usize) -> Result<(), EvalError> {
        const ELEMENTS_BETWEEN_LOOKS: usize = 1 << 10;
        if element.is_multiple_of(ELEMENTS_BETWEEN_LOOKS) {
            self.check()?;
        }
        Ok(())
    }

    /// When the query is out of time.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The switch that stops the query.
    pub(crate) fn cancel_token(&self) -> &CancelToken {
        &self.cancel
    }

    /// How the store asks whether the query goes on.
    pub(crate) fn interrupt(&self) -> Interrupt {
        let (cancel, deadline) = (self.cancel.clone(), self.deadline);
        Interrupt::new(move || {
            cancel.is_cancelled() || deadline.is_some_and(|at| Instant::now() >= at)
        })
    }

    /// The error of the query, where the store says no more than that it gave up.
    pub(crate) fn why(&self, error: EvalError) -> EvalError {
        match error {
            EvalError::Store(StoreError::Interrupted) => {
                self.check().err().unwrap_or(EvalError::Canceled(PHASE))
            }
            error => error,
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
        self.check_bytes()
    }

    /// Fails when columns and other buffers take more memory than allowed. Without a limit of their
    /// own they may take what the samples allowed would take if they stood wide apart.
    fn check_bytes(&self) -> Result<(), EvalError> {
        let held = self.held_bytes();
        if self.max_bytes > 0 && held > self.max_bytes {
            return Err(EvalError::too_much_memory(self.max_bytes));
        }
        let implied = self.max_samples.saturating_mul(BYTES_PER_SAMPLE);
        if held > implied.saturating_add(BYTES_AT_LEAST) {
            return Err(EvalError::too_many_samples());
        }
        Ok(())
    }

    /// Fails when a subquery has more steps than samples may be held.
    pub(crate) fn check_steps(&self, steps: usize) -> Result<(), EvalError> {
        if steps as u64 > self.max_samples {
            return Err(EvalError::too_many_samples());
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
        self.check_bytes()
    }

    /// Gives `samples` back.
    pub(crate) fn release(&mut self, samples: u64) {
        self.live_samples = self.live_samples.saturating_sub(samples);
    }

    /// Takes `samples` for a moment: what Prometheus holds beside what is held here.
    pub(crate) fn touch(&mut self, samples: u64) -> Result<(), EvalError> {
        self.charge(samples)?;
        self.release(samples);
        Ok(())
    }

    /// Replaces a charge of `before` samples by one of `after`.
    pub(crate) fn adjust(&mut self, before: u64, after: u64) -> Result<(), EvalError> {
        self.release(before);
        self.charge(after)
    }

    /// Takes `bytes` more, beside those of columns.
    pub(crate) fn charge_bytes(&mut self, bytes: u64) -> Result<(), EvalError> {
        self.live_bytes = self.live_bytes.saturating_add(bytes);
        self.check_bytes()
    }

    /// Gives `bytes` back.
    pub(crate) fn release_bytes(&mut self, bytes: u64) {
        self.live_bytes = self.live_bytes.saturating_sub(bytes);
    }

    /// Takes a series into the result of a node. Its bytes count by themselves.
    pub(crate) fn charge_series(&mut self, series: &Series) -> Result<(), EvalError> {
        self.charge(series.size())
    }

    /// Gives back series that were charged with [`Budget::charge_series`].
    pub(crate) fn release_series(&mut self, all: &[Series]) {
        for series in all {
            self.release(series.size());
        }
    }

    /// The state to compare with later. Until [`Budget::since`] the peak is that of the work at hand.
    pub(crate) fn mark(&mut self) -> Mark {
        let mark = Mark {
            live: self.live_samples,
            peak: self.peak_samples,
        };
        self.peak_samples = self.live_samples;
        mark
    }

    /// What happened since the mark.
    pub(crate) fn since(&mut self, mark: Mark) -> Usage {
        let usage = Usage {
            grown: self.live_samples.cast_signed() - mark.live.cast_signed(),
            peak: self.peak_samples.saturating_sub(mark.live),
        };
        self.peak_samples = self.peak_samples.max(mark.peak);
        usage
    }

    /// Lets happen what happened before.
    pub(crate) fn repeat(&mut self, usage: Usage) -> Result<(), EvalError> {
        self.touch(usage.peak)?;
        if usage.grown < 0 {
            self.release(usage.grown.unsigned_abs());
            return Ok(());
        }
        self.charge(usage.grown.unsigned_abs())
    }

    /// The least of the limits on bytes.
    fn limit_bytes(&self) -> u64 {
        let implied = self.max_samples.saturating_mul(BYTES_PER_SAMPLE);
        let implied = implied.saturating_add(BYTES_AT_LEAST);
        if self.max_bytes > 0 {
            implied.min(self.max_bytes)
        } else {
            implied
        }
    }

    /// Bytes that may be spent on saving time, when so many are spent on it: a part of what the
    /// query may have, and none when half of that is gone.
    pub(crate) fn may_keep(&self, bytes: u64) -> bool {
        let limit = self.limit_bytes();
        bytes <= (limit / 4).min(MOST_BYTES_KEPT) && self.held_bytes() <= limit / 2
    }

    /// Whether memory becomes scarce.
    pub(crate) fn is_tight(&self) -> bool {
        self.held_bytes() > self.limit_bytes() / 4 * 3
    }

    fn held_bytes(&self) -> u64 {
        self.live_bytes.saturating_add(self.meter.live_bytes())
    }

    /// Most samples held at once.
    pub(crate) fn peak_samples(&self) -> u64 {
        self.peak_samples
    }
}
