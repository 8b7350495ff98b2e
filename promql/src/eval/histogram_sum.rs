//! `sum` and `avg` of native histograms, per group and step.
//!
//! Source: the histogram parts of `aggregation` in Prometheus' `promql/engine.go`.

use crate::ast::{AggregateOp, Span};
use crate::error::EvalError;
use crate::eval::column::{Presence, Series};
use crate::eval::notes::Notes;

/// The histograms of one group.
#[derive(Debug)]
pub(crate) struct HistogramSums {}

impl HistogramSums {
    pub(crate) fn new(_op: AggregateOp, _steps: usize) -> Self {
        Self {}
    }

    pub(crate) fn add(
        &mut self,
        _series: &Series,
        _floats_seen: &Presence,
        _span: Span,
        _notes: &mut Notes,
    ) -> Result<(), EvalError> {
        Err(EvalError::Unsupported(
            "the aggregation of native histograms".to_owned(),
        ))
    }

    pub(crate) fn finish(
        self,
        _series: &mut Series,
        _span: Span,
        _notes: &mut Notes,
    ) -> Result<(), EvalError> {
        Ok(())
    }
}
