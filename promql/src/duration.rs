//! What an expression can only say once the query's time range is known: duration expressions
//! become milliseconds, and calls of `start()`, `end()`, `step()`, `range()` become numbers.
//!
//! Duration expressions are computed in float seconds and cut to whole milliseconds. The
//! expressions stay in the tree beside their values, for printing.
//! Source: Prometheus 3.14 `promql/durations.go` and `foldQueryContextFunctions` in `engine.go`.

use crate::ast::{
    BinaryOp, CallExpr, DurationExpr, Expr, NumberLiteral, Span, TimeModifiers, UnaryOp,
};
use crate::error::EvalError;

/// The time range that an expression is resolved for, in seconds where it becomes a number.
struct Context {
    start_s: f64,
    end_s: f64,
    /// What `range()` is, in durations and as a scalar.
    range_s: f64,
    /// What `step()` is in durations.
    duration_step_s: f64,
    /// What `step()` is as a scalar: 0 where there is but one evaluation.
    scalar_step_s: f64,
}

/// Resolves everything in `expr` that depends on the query's time range. An instant query has
/// equal start and end and the step 0.
///
/// # Errors
/// [`EvalError::BadQuery`] with Prometheus' text, when a duration cannot be computed or is not
/// positive where it must be.
pub fn resolve(expr: &mut Expr, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<(), EvalError> {
    let step_s = seconds(step_ms);
    let context = Context {
        start_s: start_ms as f64 / 1000.0,
        end_s: end_ms as f64 / 1000.0,
        range_s: seconds(end_ms.saturating_sub(start_ms)),
        duration_step_s: step_s,
        scalar_step_s: if start_ms == end_ms { 0.0 } else { step_s },
    };
    context.expression(expr)
}

/// Go's `Duration.Seconds`: whole seconds and the rest are converted apart.
fn seconds(duration_ms: i64) -> f64 {
    let nanoseconds = (duration_ms % 1000) * 1_000_000;
    (duration_ms / 1000) as f64 + nanoseconds as f64 / 1e9
}

impl Context {
    /// Parents before children, so that the first error is Prometheus'.
    fn expression(&self, expr: &mut Expr) -> Result<(), EvalError> {
        match expr {
            Expr::Aggregate(e) => {
                self.expression(&mut e.expr)?;
                e.param.as_mut().map_or(Ok(()), |p| self.expression(p))
            }
            Expr::Binary(_) => {
                let (mut first, mut operations) = expr.take_chain();
                let mut terms =
                    std::iter::once(&mut first).chain(operations.iter_mut().map(|e| &mut e.rhs));
                let result = terms.try_for_each(|term| self.expression(term));
                *expr = Expr::rejoin(first, operations);
                result
            }
            Expr::Call(e) => {
                if let Some(value) = self.context_value(e) {
                    *expr = Expr::Number(NumberLiteral {
                        value,
                        duration: false,
                        span: e.span,
                    });
                    return Ok(());
                }
                e.args.iter_mut().try_for_each(|a| self.expression(a))
            }
            Expr::MatrixSelector(e) => {
                if let Some(range) = &e.range_expr {
                    e.range_ms = self.positive_ms(range)?;
                }
                self.offset(&mut e.selector.time)
            }
            Expr::Subquery(e) => {
                self.offset(&mut e.time)?;
                if let Some(step) = &e.step_expr {
                    e.step_ms = self.positive_ms(step)?;
                }
                if let Some(range) = &e.range_expr {
                    e.range_ms = self.positive_ms(range)?;
                }
                self.expression(&mut e.expr)
            }
            Expr::Paren(e) => self.expression(&mut e.expr),
            Expr::Unary(e) => self.expression(&mut e.expr),
            Expr::VectorSelector(e) => self.offset(&mut e.time),
            Expr::Number(_) | Expr::String(_) => Ok(()),
        }
    }

    /// The value of a call that depends on nothing but the time range.
    fn context_value(&self, call: &CallExpr) -> Option<f64> {
        match call.function.name {
            "start" => Some(self.start_s),
            "end" => Some(self.end_s),
            "range" => Some(self.range_s),
            "step" => Some(self.scalar_step_s),
            _ => None,
        }
    }

    fn offset(&self, time: &mut TimeModifiers) -> Result<(), EvalError> {
        if let Some(offset) = &time.offset_expr {
            time.offset_ms = to_ms(offset.span(), self.seconds_of(offset)?, true)?;
        }
        Ok(())
    }

    fn positive_ms(&self, expr: &DurationExpr) -> Result<i64, EvalError> {
        to_ms(expr.span(), self.seconds_of(expr)?, false)
    }

    fn seconds_of(&self, expr: &DurationExpr) -> Result<f64, EvalError> {
        Ok(match expr {
            DurationExpr::Number(number) => number.value,
            DurationExpr::Step(_) => self.duration_step_s,
            DurationExpr::Range(_) => self.range_s,
            DurationExpr::Paren { expr, .. } => self.seconds_of(expr)?,
            DurationExpr::Unary { op, expr, .. } => {
                let value = self.seconds_of(expr)?;
                match op {
                    UnaryOp::Plus => value,
                    UnaryOp::Minus => -value,
                }
            }
            DurationExpr::MinOf { lhs, rhs, .. } => {
                go_min(self.seconds_of(lhs)?, self.seconds_of(rhs)?)
            }
            DurationExpr::MaxOf { lhs, rhs, .. } => {
                -go_min(-self.seconds_of(lhs)?, -self.seconds_of(rhs)?)
            }
            DurationExpr::Binary { op, lhs, rhs, span } => {
                let (lhs, rhs) = (self.seconds_of(lhs)?, self.seconds_of(rhs)?);
                match op {
                    BinaryOp::Sub => lhs - rhs,
                    BinaryOp::Mul => lhs * rhs,
                    BinaryOp::Div if rhs == 0.0 => return Err(bad(*span, "division by zero")),
                    BinaryOp::Div => lhs / rhs,
                    BinaryOp::Mod if rhs == 0.0 => return Err(bad(*span, "modulo by zero")),
                    BinaryOp::Mod => lhs % rhs,
                    BinaryOp::Pow => tenbin_model::gomath::pow(lhs, rhs),
                    // The parser makes no other operators here.
                    _ => lhs + rhs,
                }
            }
        })
    }
}

/// Go's `math.Min`: a NaN wins, unless the other is -Inf.
fn go_min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.min(b)
    }
}

/// An error with the byte range that Prometheus puts in front (not line and column).
fn bad(span: Span, reason: &str) -> EvalError {
    EvalError::BadQuery(format!("{}:{}: {reason}", span.start, span.end))
}

fn to_ms(span: Span, seconds: f64, may_be_negative: bool) -> Result<i64, EvalError> {
    // What Go's 64-bit nanoseconds hold.
    const MAX_S: f64 = 9_223_372_036.854_776;
    if !seconds.is_finite() {
        return Err(bad(span, "duration is NaN or infinite"));
    }
    if seconds <= 0.0 && !may_be_negative {
        return Err(bad(span, "duration must be greater than 0"));
    }
    if seconds.abs() > MAX_S {
        return Err(bad(span, "duration is out of range"));
    }
    Ok((seconds * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::MatrixSelector;
    use crate::options::Features;
    use crate::parser::parse;

    /// Range and offset of a matrix selector in a range query from 100 s to 200 s, step 10 s.
    fn resolved(text: &str) -> Result<(i64, i64), String> {
        let mut expr = parse(text, &Features::all_for_tests()).unwrap();
        resolve(&mut expr, 100_000, 200_000, 10_000).map_err(|e| e.to_string())?;
        match expr {
            Expr::MatrixSelector(e) => {
                let MatrixSelector {
                    range_ms, selector, ..
                } = *e;
                Ok((range_ms, selector.time.offset_ms))
            }
            Expr::Subquery(e) => Ok((e.range_ms, e.step_ms)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn durations_are_computed_in_seconds_and_cut_to_milliseconds() {
        assert_eq!(resolved("x[5m+1]"), Ok((301_000, 0)));
        assert_eq!(resolved("x[(1+2)*3^2]"), Ok((27_000, 0)));
        assert_eq!(resolved("x[10s/3]"), Ok((3_333, 0)));
        assert_eq!(
            resolved("x[range()+step()] offset -step()"),
            Ok((110_000, -10_000))
        );
        assert_eq!(
            resolved("x[max_of(step(), 1m)] offset min_of(1,2)"),
            Ok((60_000, 1_000))
        );
        assert_eq!(resolved("x[7 % 4] offset (-(5m))"), Ok((3_000, -300_000)));
        assert_eq!(resolved("x[2*step():step()/2]"), Ok((20_000, 5_000)));
    }

    #[test]
    fn bad_durations_carry_byte_positions() {
        for (text, expected) in [
            ("x[5m-10m]", "2:8: duration must be greater than 0"),
            ("x[5m/(1-1)]", "2:9: division by zero"),
            ("x[5m%(1-1)]", "2:9: modulo by zero"),
            ("x[(-1)^0.5]", "2:10: duration is NaN or infinite"),
            ("x[10^300]", "2:8: duration is out of range"),
            ("x[1m] offset (10^10)", "14:19: duration is out of range"),
        ] {
            assert_eq!(resolved(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn calls_that_ask_for_the_time_range_become_numbers() {
        let fold = |start_ms, end_ms, step_ms| {
            let text = "vector(start() + end()) * -(step()) - range()";
            let mut expr = parse(text, &Features::all_for_tests()).unwrap();
            resolve(&mut expr, start_ms, end_ms, step_ms).unwrap();
            crate::print::print(&expr)
        };
        assert_eq!(
            fold(1_500, 61_500, 15_000),
            "vector(1.5 + 61.5) * -(15) - 60"
        );
        assert_eq!(fold(1_500, 1_500, 15_000), "vector(1.5 + 1.5) * -(0) - 0");
    }
}
