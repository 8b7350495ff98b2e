//! Sums and means of the native histograms in a window.

use std::sync::Arc;

use tenbin_model::FloatHistogram;

use crate::error::EvalError;
use crate::eval::window::CallState;
use crate::value::SampleValue;

pub(crate) fn sum(
    _histograms: &[Arc<FloatHistogram>],
    _state: &mut CallState<'_>,
) -> Result<Option<SampleValue>, EvalError> {
    Err(super::unsupported("sums"))
}

pub(crate) fn average(
    _histograms: &[Arc<FloatHistogram>],
    _state: &mut CallState<'_>,
) -> Result<Option<SampleValue>, EvalError> {
    Err(super::unsupported("means"))
}
