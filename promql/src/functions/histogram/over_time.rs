//! Sums and means of the native histograms in a window.
//!
//! Source: Prometheus `funcSumOverTime`, `funcAvgOverTime`.

use std::sync::Arc;

use tenbin_model::histogram::IncompatibleSchemas;
use tenbin_model::{CounterResetHint, FloatHistogram};

use crate::error::EvalError;
use crate::eval::notes::HistogramOperation::Aggregation;
use crate::eval::window::CallState;
use crate::value::SampleValue;

/// What is known about counter resets in a window.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct HintsSeen {
    reset: bool,
    not_reset: bool,
}

impl HintsSeen {
    pub(crate) fn add(&mut self, histogram: &FloatHistogram) {
        match histogram.counter_reset_hint {
            CounterResetHint::Reset => self.reset = true,
            CounterResetHint::NotReset => self.not_reset = true,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
    }

    /// Both that there was a reset and that there was none.
    pub(crate) fn collide(self) -> bool {
        self.reset && self.not_reset
    }
}

/// A running mean: of the compensated sum while that does not overflow, incremental from there on.
#[derive(Debug, Clone)]
pub(crate) struct RunningMean {
    /// The sum, or the mean once `incremental`.
    value: FloatHistogram,
    lost: Option<FloatHistogram>,
    count: f64,
    incremental: bool,
}

impl RunningMean {
    pub(crate) fn new(first: &FloatHistogram) -> Self {
        Self {
            value: first.clone(),
            lost: None,
            count: 1.0,
            incremental: false,
        }
    }

    /// Adds a histogram; true when custom bounds had to be reconciled.
    pub(crate) fn add(&mut self, next: &FloatHistogram) -> Result<bool, IncompatibleSchemas> {
        self.count += 1.0;
        if !self.incremental {
            let (mut value, mut lost) = (self.value.clone(), self.lost.clone());
            let combined = value.add_compensated(next, &mut lost)?;
            if !value.has_overflow() {
                (self.value, self.lost) = (value, lost);
                return Ok(combined.bounds_reconciled);
            }
            self.incremental = true;
            self.value.div(self.count - 1.0);
            if let Some(lost) = &mut self.lost {
                lost.div(self.count - 1.0);
            }
        }
        let weight = (self.count - 1.0) / self.count;
        if let Some(lost) = &mut self.lost {
            lost.mul(weight);
        }
        let mut part = next.clone();
        part.div(self.count);
        self.value.mul(weight);
        let combined = self.value.add_compensated(&part, &mut self.lost)?;
        Ok(combined.bounds_reconciled)
    }

    pub(crate) fn finish(mut self) -> Result<FloatHistogram, IncompatibleSchemas> {
        if !self.incremental {
            self.value.div(self.count);
            if let Some(lost) = &mut self.lost {
                lost.div(self.count);
            }
        }
        if let Some(lost) = &self.lost {
            self.value.add(lost)?;
        }
        Ok(self.value)
    }
}

/// Remarks as the outcome demands and wraps the result.
fn outcome(
    result: Result<FloatHistogram, IncompatibleSchemas>,
    hints: HintsSeen,
    reconciled: bool,
    state: &mut CallState<'_>,
) -> Result<Option<SampleValue>, EvalError> {
    let Ok(histogram) = result else {
        state.notes.mixed_bucket_schemas(state.metric, state.span);
        return Ok(None);
    };
    if hints.collide() {
        state.notes.counter_reset_collision(Aggregation, state.span);
    }
    if reconciled {
        state
            .notes
            .custom_buckets_reconciled(Aggregation, state.span);
    }
    Ok(Some(SampleValue::Histogram(Arc::new(histogram))))
}

pub(crate) fn sum(
    histograms: &[Arc<FloatHistogram>],
    state: &mut CallState<'_>,
) -> Result<Option<SampleValue>, EvalError> {
    let Some((first, others)) = histograms.split_first() else {
        return Ok(None);
    };
    let mut hints = HintsSeen::default();
    hints.add(first);
    let mut reconciled = false;
    let mut total = (**first).clone();
    let mut lost = None;
    let mut run = || {
        for histogram in others {
            hints.add(histogram);
            reconciled |= total
                .add_compensated(histogram, &mut lost)?
                .bounds_reconciled;
        }
        if let Some(lost) = &lost {
            reconciled |= total.add(lost)?.bounds_reconciled;
        }
        Ok(())
    };
    let result = run();
    outcome(result.map(|()| total), hints, reconciled, state)
}

pub(crate) fn average(
    histograms: &[Arc<FloatHistogram>],
    state: &mut CallState<'_>,
) -> Result<Option<SampleValue>, EvalError> {
    let Some((first, others)) = histograms.split_first() else {
        return Ok(None);
    };
    let mut hints = HintsSeen::default();
    hints.add(first);
    let mut reconciled = false;
    let mut mean = RunningMean::new(first);
    let mut run = || {
        for histogram in others {
            hints.add(histogram);
            reconciled |= mean.add(histogram)?;
        }
        Ok(())
    };
    let result = run();
    let result = result.and_then(|()| mean.finish());
    outcome(result, hints, reconciled, state)
}
