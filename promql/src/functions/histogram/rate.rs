//! Growth of native histograms.

use crate::error::EvalError;
use crate::eval::window::{CallState, MixedWindow};
use crate::functions::rate::Growth;
use crate::value::SampleValue;

pub(crate) fn growth(
    _window: &MixedWindow<'_>,
    _state: &mut CallState<'_>,
    _growth: Growth,
) -> Result<Option<SampleValue>, EvalError> {
    Err(super::unsupported("rates"))
}

pub(crate) fn instant(
    _window: &MixedWindow<'_>,
    _state: &mut CallState<'_>,
    _per_second: bool,
) -> Result<Option<SampleValue>, EvalError> {
    Err(super::unsupported("rates"))
}
