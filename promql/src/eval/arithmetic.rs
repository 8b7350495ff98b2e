//! Binary operators on single values and on columns.
//!
//! Source: Prometheus `scalarBinop`, `vectorElemBinop`.

use std::sync::Arc;

use tenbin_model::FloatHistogram;
use tenbin_model::histogram::Keep;

use crate::ast::{BinaryOp, Span};
use crate::error::EvalError;
use crate::eval::column::{Presence, Series};
use crate::eval::notes::Notes;
use crate::functions::math;
use crate::value::SampleValue;

/// An operator on two numbers. Comparisons give 0 or 1; `None` for operators that have no meaning
/// between scalars.
pub(crate) fn on_scalars(op: BinaryOp) -> Option<fn(f64, f64) -> f64> {
    Some(match op {
        BinaryOp::Equal => |a, b| f64::from(u8::from(a == b)),
        BinaryOp::NotEqual => |a, b| f64::from(u8::from(a != b)),
        BinaryOp::Less => |a, b| f64::from(u8::from(a < b)),
        BinaryOp::Greater => |a, b| f64::from(u8::from(a > b)),
        BinaryOp::LessEqual => |a, b| f64::from(u8::from(a <= b)),
        BinaryOp::GreaterEqual => |a, b| f64::from(u8::from(a >= b)),
        BinaryOp::Add => |a, b| a + b,
        BinaryOp::Sub => |a, b| a - b,
        BinaryOp::Mul => |a, b| a * b,
        BinaryOp::Div => |a, b| a / b,
        BinaryOp::Mod => |a, b| a % b,
        BinaryOp::Pow => math::pow,
        BinaryOp::Atan2 => math::atan2,
        BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Unless
        | BinaryOp::TrimLower
        | BinaryOp::TrimUpper => return None,
    })
}

/// Whether the result of an operator is no longer what the metric's name says.
pub(crate) fn changes_meaning(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Mod
            | BinaryOp::Pow
            | BinaryOp::Atan2
    )
}

/// One side of an operation on columns.
#[derive(Clone, Copy)]
pub(crate) enum Operand<'s> {
    /// A series.
    Column(&'s Series),
    /// A scalar.
    Scalars(&'s crate::eval::column::Scalars),
    /// A fill value.
    Fill(f64),
}

impl Operand<'_> {
    #[inline]
    fn float(&self, step: usize) -> f64 {
        match self {
            Self::Column(series) => series.values[step],
            Self::Scalars(scalars) => scalars.at(step),
            Self::Fill(value) => *value,
        }
    }

    fn histogram(&self, step: usize) -> Option<&Arc<FloatHistogram>> {
        match self {
            Self::Column(series) => series.histogram(step),
            _ => None,
        }
    }

    fn has_histograms(&self) -> bool {
        matches!(self, Self::Column(series) if series.histograms.is_some())
    }
}

/// An operation on columns, and which of its values a filter keeps.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) op: BinaryOp,
    pub(crate) return_bool: bool,
    /// A filter keeps the right value: the left one is a scalar.
    pub(crate) keep_right: bool,
    pub(crate) span: Span,
}

impl Operation {
    /// Applies the operation at all steps of `mask`, at which both sides have a value, and puts the
    /// result into `out`. Returns the steps at which the operation was not possible.
    pub(crate) fn apply(
        &self,
        left: Operand<'_>,
        right: Operand<'_>,
        mask: &Presence,
        out: &mut Series,
        notes: &mut Notes,
    ) -> Result<Option<Presence>, EvalError> {
        let trims = matches!(self.op, BinaryOp::TrimLower | BinaryOp::TrimUpper);
        if left.has_histograms() || right.has_histograms() || trims {
            return self.apply_mixed(left, right, mask, out, notes).map(Some);
        }
        match self.op {
            BinaryOp::Add => compute(left, right, mask, out, |a, b| a + b),
            BinaryOp::Sub => compute(left, right, mask, out, |a, b| a - b),
            BinaryOp::Mul => compute(left, right, mask, out, |a, b| a * b),
            BinaryOp::Div => compute(left, right, mask, out, |a, b| a / b),
            BinaryOp::Mod => compute(left, right, mask, out, |a, b| a % b),
            BinaryOp::Pow => compute(left, right, mask, out, math::pow),
            BinaryOp::Atan2 => compute(left, right, mask, out, math::atan2),
            BinaryOp::Equal => self.compare(left, right, mask, out, |a, b| a == b),
            BinaryOp::NotEqual => self.compare(left, right, mask, out, |a, b| a != b),
            BinaryOp::Less => self.compare(left, right, mask, out, |a, b| a < b),
            BinaryOp::Greater => self.compare(left, right, mask, out, |a, b| a > b),
            BinaryOp::LessEqual => self.compare(left, right, mask, out, |a, b| a <= b),
            BinaryOp::GreaterEqual => self.compare(left, right, mask, out, |a, b| a >= b),
            _ => {}
        }
        Ok(None)
    }

    #[inline]
    fn compare(
        &self,
        left: Operand<'_>,
        right: Operand<'_>,
        mask: &Presence,
        out: &mut Series,
        holds: impl Fn(f64, f64) -> bool,
    ) {
        for step in mask.iter() {
            let (a, b) = (left.float(step), right.float(step));
            let kept = holds(a, b);
            if self.return_bool {
                out.set_float(step, f64::from(u8::from(kept)));
            } else if kept {
                out.set_float(step, if self.keep_right { b } else { a });
            }
        }
    }

    fn apply_mixed(
        &self,
        left: Operand<'_>,
        right: Operand<'_>,
        mask: &Presence,
        out: &mut Series,
        notes: &mut Notes,
    ) -> Result<Presence, EvalError> {
        let mut failed = Presence::none(out.steps());
        for step in mask.iter() {
            notes.set_step(step);
            let value = |operand: &Operand<'_>| match operand.histogram(step) {
                Some(histogram) => SampleValue::Histogram(Arc::clone(histogram)),
                None => SampleValue::Float(operand.float(step)),
            };
            let (a, b) = (value(&left), value(&right));
            let other = self.keep_right.then_some(&b);
            let Some((result, kept)) = on_values(self.op, &a, &b, self.span, notes)? else {
                failed.set(step);
                continue;
            };
            if self.return_bool {
                out.set_float(step, f64::from(u8::from(kept)));
            } else if kept {
                let filtered = self.op.is_comparison();
                out.set(step, other.filter(|_| filtered).cloned().unwrap_or(result));
            }
        }
        Ok(failed)
    }
}

#[inline]
fn compute(
    left: Operand<'_>,
    right: Operand<'_>,
    mask: &Presence,
    out: &mut Series,
    f: impl Fn(f64, f64) -> f64,
) {
    if mask.is_full() {
        match (left, right) {
            (Operand::Column(a), Operand::Column(b)) => {
                for ((slot, a), b) in out.values.iter_mut().zip(&a.values).zip(&b.values) {
                    *slot = f(*a, *b);
                }
            }
            _ => {
                for (step, slot) in out.values.iter_mut().enumerate() {
                    *slot = f(left.float(step), right.float(step));
                }
            }
        }
        out.floats = mask.clone();
        return;
    }
    for step in mask.iter() {
        out.set_float(step, f(left.float(step), right.float(step)));
    }
}

/// A histogram with everything multiplied by `factor`.
pub(crate) fn scaled(histogram: &FloatHistogram, factor: f64) -> Arc<FloatHistogram> {
    let mut result = histogram.clone();
    result.mul(factor);
    Arc::new(result)
}

/// An operator on two values of either kind: the result and whether a filter keeps it. `None` when
/// the operator has no meaning for the kinds, after a remark on it.
fn on_values(
    op: BinaryOp,
    left: &SampleValue,
    right: &SampleValue,
    span: Span,
    notes: &mut Notes,
) -> Result<Option<(SampleValue, bool)>, EvalError> {
    match (left, right) {
        (SampleValue::Float(a), SampleValue::Float(b)) => {
            if let Some(f) = on_scalars(op) {
                let result = f(*a, *b);
                return Ok(Some(if op.is_comparison() {
                    (left.clone(), result == 1.0)
                } else {
                    (SampleValue::Float(result), true)
                }));
            }
            notes.incompatible_types("float", op.as_str(), "float", span);
        }
        (SampleValue::Float(a), SampleValue::Histogram(b)) => {
            if op == BinaryOp::Mul {
                return Ok(Some((
                    SampleValue::Histogram(compacted(b, |h| h.mul(*a))),
                    true,
                )));
            }
            notes.incompatible_types("float", op.as_str(), "histogram", span);
        }
        (SampleValue::Histogram(a), SampleValue::Float(b)) => {
            let result = match op {
                BinaryOp::Mul => compacted(a, |h| h.mul(*b)),
                BinaryOp::Div => compacted(a, |h| h.div(*b)),
                BinaryOp::TrimUpper => changed(a, |h| h.trim(*b, Keep::Below, math::log2)),
                BinaryOp::TrimLower => changed(a, |h| h.trim(*b, Keep::Above, math::log2)),
                _ => {
                    notes.incompatible_types("histogram", op.as_str(), "float", span);
                    return Ok(None);
                }
            };
            return Ok(Some((SampleValue::Histogram(result), true)));
        }
        (SampleValue::Histogram(a), SampleValue::Histogram(b)) => {
            return Ok(on_histograms(op, a, b, span, notes));
        }
    }
    Ok(None)
}

fn changed(
    histogram: &FloatHistogram,
    change: impl FnOnce(&mut FloatHistogram),
) -> Arc<FloatHistogram> {
    let mut result = histogram.clone();
    change(&mut result);
    Arc::new(result)
}

fn compacted(
    histogram: &FloatHistogram,
    change: impl FnOnce(&mut FloatHistogram),
) -> Arc<FloatHistogram> {
    changed(histogram, |h| {
        change(h);
        h.compact();
    })
}

fn on_histograms(
    op: BinaryOp,
    left: &Arc<FloatHistogram>,
    right: &Arc<FloatHistogram>,
    span: Span,
    notes: &mut Notes,
) -> Option<(SampleValue, bool)> {
    use crate::eval::notes::HistogramOperation::{Addition, Subtraction};
    use tenbin_model::CounterResetHint;
    let kept = |kept| Some((SampleValue::Histogram(Arc::clone(left)), kept));
    let mut result = (**left).clone();
    let (outcome, operation) = match op {
        BinaryOp::Equal => return kept(left.equals(right)),
        BinaryOp::NotEqual => return kept(!left.equals(right)),
        BinaryOp::Add => (result.add(right), Addition),
        BinaryOp::Sub => (result.sub(right), Subtraction),
        _ => {
            notes.incompatible_types("histogram", op.as_str(), "histogram", span);
            return None;
        }
    };
    let Ok(outcome) = outcome else {
        notes.incompatible_bucket_layout(op.as_str(), span);
        return None;
    };
    if op == BinaryOp::Sub {
        result.counter_reset_hint = CounterResetHint::Gauge;
    }
    if outcome.reset_collision {
        notes.counter_reset_collision(operation, span);
        return None;
    }
    if outcome.bounds_reconciled {
        notes.custom_buckets_reconciled(operation, span);
    }
    result.compact();
    Some((SampleValue::Histogram(Arc::new(result)), true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::column::Scalars;
    use tenbin_model::Labels;

    fn column(values: &[f64]) -> Series {
        let mut series = Series::new(Labels::empty(), values.len());
        for (step, value) in values.iter().enumerate() {
            series.set_float(step, *value);
        }
        series
    }

    fn apply(op: BinaryOp, return_bool: bool, keep_right: bool) -> Series {
        let left = column(&[1.0, 2.0, f64::NAN]);
        let right = Scalars::Same(2.0);
        let operation = Operation {
            op,
            return_bool,
            keep_right,
            span: Span::default(),
        };
        let mut out = Series::new(Labels::empty(), 3);
        let mut notes = Notes::default();
        let operands = (Operand::Column(&left), Operand::Scalars(&right));
        let result = operation.apply(
            operands.0,
            operands.1,
            &Presence::all(3),
            &mut out,
            &mut notes,
        );
        assert!(result.is_ok_and(|failed| failed.is_none()));
        out
    }

    #[test]
    fn filters_keep_values_and_bool_makes_them_numbers() {
        let kept = apply(BinaryOp::Less, false, false);
        assert_eq!(
            (kept.float(0), kept.float(1), kept.float(2)),
            (Some(1.0), None, None)
        );
        let swapped = apply(BinaryOp::Less, false, true);
        assert_eq!(swapped.float(0), Some(2.0));
        let flags = apply(BinaryOp::NotEqual, true, false);
        assert_eq!(flags.values, [1.0, 0.0, 1.0]);
        assert_eq!(apply(BinaryOp::Add, false, false).values[..2], [3.0, 4.0]);
    }
}
