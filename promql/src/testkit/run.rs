//! Runs a script: loads, evaluates, compares, and evaluates again in every way that must give the
//! same result. One evaluation's failure or panic does not end the script.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tenbin_model::{Annotations, Queryable, Severity};

use crate::ast::Expr;
use crate::engine::{CancelToken, QueryRange, evaluate};
use crate::error::EvalError;
use crate::options::{EngineOptions, Features};
use crate::parser::parse;
use crate::print::print;
use crate::value::{QueryResult, SampleValue, Value, VectorSample};

use super::script::{AnnotationRule, Command, Eval, parse as parse_script};
use super::store::TestStore;
use super::{compare, rerun};

/// The engine settings of Prometheus' own suite.
#[must_use]
pub fn suite_options() -> EngineOptions {
    EngineOptions {
        lookback_ms: 300_000,
        max_samples: 10_000,
        timeout_ms: 100_000,
        max_memory_bytes: 0,
        threads: 0,
        default_subquery_step_ms: 60_000,
        features: Features::all_for_tests(),
    }
}

/// What came of a script.
#[derive(Debug, Default)]
pub struct ScriptReport {
    /// Evaluations that gave what was expected, also when run again.
    pub passed: usize,
    /// All evaluations.
    pub total: usize,
    /// What went wrong, load commands included.
    pub failures: Vec<Failure>,
}

/// A command that did not do what it should.
#[derive(Debug)]
pub struct Failure {
    /// Line of the script, from 1.
    pub line: usize,
    /// The query, or what the line is.
    pub what: String,
    /// Why it failed.
    pub reason: String,
}

/// Something that evaluates queries; the engine, or a double in the tests of the runner.
pub(super) type Evaluator<'e> =
    &'e dyn Fn(&dyn Queryable, &str, &Expr, &QueryRange) -> Result<QueryResult, EvalError>;

/// Runs a script with the engine.
#[must_use]
pub fn run_script(text: &str, options: &EngineOptions) -> ScriptReport {
    let engine = |store: &dyn Queryable, text: &str, expr: &Expr, range: &QueryRange| {
        evaluate(store, text, expr, range, options, &CancelToken::default())
    };
    run_script_with(text, &engine)
}

pub(super) fn run_script_with(text: &str, evaluator: Evaluator<'_>) -> ScriptReport {
    let store = TestStore::default();
    let mut report = ScriptReport::default();
    for command in parse_script(text) {
        let failure = match command {
            Ok(Command::Clear) => {
                store.clear();
                continue;
            }
            Ok(Command::Load(load)) => store.load(&load).err().map(|reason| Failure {
                line: load.line,
                what: "load".to_owned(),
                reason,
            }),
            Ok(Command::Eval(eval)) => {
                report.total += 1;
                let runner = Runner {
                    store: &store,
                    eval: &eval,
                    evaluator,
                };
                let outcome = catch_unwind(AssertUnwindSafe(|| runner.run()));
                let outcome = outcome.unwrap_or_else(|_| Err("panicked".to_owned()));
                report.passed += usize::from(outcome.is_ok());
                outcome.err().map(|reason| Failure {
                    line: eval.line,
                    what: eval.text.clone(),
                    reason,
                })
            }
            Err(error) => {
                report.total += usize::from(error.in_eval);
                Some(Failure {
                    line: error.line,
                    what: "script".to_owned(),
                    reason: error.reason,
                })
            }
        };
        report.failures.extend(failure);
    }
    report
}

struct Runner<'r> {
    store: &'r TestStore,
    eval: &'r Eval,
    evaluator: Evaluator<'r>,
}

/// How a query ended that was allowed to fail.
enum Outcome {
    /// With the error that was expected.
    FailedAsExpected,
    Result(QueryResult),
}

impl Runner<'_> {
    fn run(&self) -> Result<(), String> {
        let eval = self.eval;
        if eval.is_range {
            if let Outcome::Result(result) = self.query(&eval.text, &eval.expr, &eval.range)? {
                check_annotations(eval, &eval.text, &result.annotations)?;
                compare::check(eval, &result.value)?;
            }
            return Ok(());
        }
        let time_ms = eval.range.end_ms;
        self.instant(&eval.text, &eval.expr, time_ms)?;
        let Some(pinned) = rerun::pinned(&eval.expr, time_ms) else {
            return Ok(());
        };
        // Through the printer and the parser: what is printed must mean the same.
        let text = print(&pinned);
        let expr = parse(&text, &Features::all_for_tests())
            .map_err(|e| format!("printed as {text}, which cannot be parsed: {e}"))?;
        for time_ms in rerun::times(time_ms) {
            self.instant(&text, &expr, time_ms)
                .map_err(|e| format!("run again as {text} at {time_ms} ms: {e}"))?;
        }
        Ok(())
    }

    /// Evaluates, and compares an error with what is expected.
    fn query(&self, text: &str, expr: &Expr, range: &QueryRange) -> Result<Outcome, String> {
        match (
            (self.evaluator)(self.store, text, expr, range),
            &self.eval.fail,
        ) {
            (Ok(_), Some(_)) => Err("expected an error but got none".to_owned()),
            (Ok(result), None) => Ok(Outcome::Result(result)),
            // Missing support is never what a script expects.
            (Err(error @ EvalError::Unsupported(_)), _) => Err(error.to_string()),
            (Err(error), Some(expected)) if expected.matches(&error.to_string()) => {
                Ok(Outcome::FailedAsExpected)
            }
            (Err(error), Some(expected)) => Err(format!("expected {expected:?}, got: {error}")),
            (Err(error), None) => Err(format!("error evaluating: {error}")),
        }
    }

    /// Evaluates at one time, and in the middle of a range query around it.
    fn instant(&self, text: &str, expr: &Expr, time_ms: i64) -> Result<(), String> {
        let eval = self.eval;
        let range = QueryRange::instant(time_ms);
        let Outcome::Result(result) = self.query(text, expr, &range)? else {
            return Ok(());
        };
        check_annotations(eval, text, &result.annotations)?;
        compare::check(eval, &result.value)?;
        let depends_on_range = ["start()", "end()", "range()", "step()"];
        if eval.instant_only || depends_on_range.iter().any(|call| text.contains(call)) {
            return Ok(());
        }
        let around = QueryRange {
            start_ms: time_ms - 60_000,
            end_ms: time_ms + 60_000,
            step_ms: 60_000,
        };
        self.middle_of_range(text, expr, &around, &result.value)
            .map_err(|e| format!("in range mode: {e}"))
    }

    fn middle_of_range(
        &self,
        text: &str,
        expr: &Expr,
        around: &QueryRange,
        instant: &Value,
    ) -> Result<(), String> {
        let result = (self.evaluator)(self.store, text, expr, around).map_err(|e| e.to_string())?;
        if self.eval.ordered {
            return Ok(());
        }
        let Value::Matrix(series) = &result.value else {
            return Err("the result is no matrix".to_owned());
        };
        compare::sorted(series)?;
        let time_ms = around.start_ms + around.step_ms;
        let mut samples = Vec::new();
        for one in series {
            let float = one.floats.iter().find(|(t, _)| *t == time_ms);
            let histogram = one.histograms.iter().find(|(t, _)| *t == time_ms);
            let float = float.map(|(_, value)| SampleValue::Float(*value));
            let histogram = histogram.map(|(_, h)| SampleValue::Histogram(h.clone()));
            samples.extend(
                float
                    .into_iter()
                    .chain(histogram)
                    .map(|value| VectorSample {
                        labels: one.labels.clone(),
                        timestamp_ms: time_ms,
                        value,
                    }),
            );
        }
        let value = match instant {
            Value::Scalar { .. } => match samples.first().map(|s| &s.value) {
                Some(SampleValue::Float(value)) => Value::Scalar {
                    timestamp_ms: time_ms,
                    value: *value,
                },
                other => return Err(format!("expected a scalar, got {other:?}")),
            },
            _ => Value::Vector(samples),
        };
        compare::check(self.eval, &value)
    }
}

fn check_annotations(eval: &Eval, text: &str, actual: &Annotations) -> Result<(), String> {
    let of = |severity| actual.render(severity, text, 0);
    check_rule(&eval.warn, "warning", &of(Severity::Warning))?;
    check_rule(&eval.info, "info", &of(Severity::Info))
}

fn check_rule(rule: &AnnotationRule, kind: &str, actual: &[String]) -> Result<(), String> {
    if rule.none && !actual.is_empty() {
        return Err(format!("unexpected {kind} annotations: {actual:?}"));
    }
    if (rule.some || !rule.texts.is_empty()) && actual.is_empty() {
        return Err(format!("expected {kind} annotations, got none"));
    }
    if rule.texts.is_empty() {
        return Ok(());
    }
    if let Some(expected) = rule
        .texts
        .iter()
        .find(|e| !actual.iter().any(|a| e.matches(a)))
    {
        return Err(format!(
            "no {kind} annotation matches {expected:?}: {actual:?}"
        ));
    }
    match actual
        .iter()
        .find(|a| !rule.texts.iter().any(|e| e.matches(a)))
    {
        Some(unexpected) => Err(format!("unexpected {kind} annotation: {unexpected}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{MatrixSeries, QueryStats};
    use std::cell::RefCell;
    use tenbin_model::Labels;

    fn result(value: Value) -> QueryResult {
        QueryResult {
            value,
            annotations: Annotations::default(),
            stats: QueryStats::default(),
        }
    }

    /// An evaluator that knows only numbers: instant queries give a scalar, range queries a matrix.
    fn numbers_only(expr: &Expr, range: &QueryRange) -> Result<QueryResult, EvalError> {
        let Expr::Number(number) = expr else {
            return Err(EvalError::Execution("only numbers".to_owned()));
        };
        let value = number.value;
        Ok(result(if range.step_ms == 0 {
            Value::Scalar {
                timestamp_ms: range.start_ms,
                value,
            }
        } else {
            let steps = (range.end_ms - range.start_ms) / range.step_ms;
            let times = (0..=steps).map(|i| range.start_ms + i * range.step_ms);
            Value::Matrix(vec![MatrixSeries {
                labels: Labels::empty(),
                floats: times.map(|t| (t, value)).collect(),
                histograms: Vec::new(),
            }])
        }))
    }

    #[test]
    fn evaluations_are_run_again_and_counted() {
        let seen = RefCell::new(Vec::new());
        let evaluator = |_: &dyn Queryable, _: &str, expr: &Expr, range: &QueryRange| {
            seen.borrow_mut().push((range.start_ms, range.step_ms));
            numbers_only(expr, range)
        };
        let script = "eval instant at 10s 7\n 7\n\neval instant at 10s 7\n 8\n\n\
                      eval range from 0 to 2m step 1m 3\n {} 3 3 3\n\n\
                      eval instant at 0 a\n expect fail msg: only numbers\n\n\
                      eval instant at 0 a\n expect fail msg: something else\n\n\
                      eval instant at 0 1 +\n";
        let report = run_script_with(script, &evaluator);
        assert_eq!(
            (report.passed, report.total),
            (3, 6),
            "{:?}",
            report.failures
        );
        let lines: Vec<usize> = report.failures.iter().map(|f| f.line).collect();
        assert_eq!(lines, [4, 13, 16]);
        let first: Vec<_> = seen.borrow()[..12].to_vec();
        let times = [10_000, 10_000, -100_000, 0, 2_000, 10_000, 100_000];
        for (i, (start_ms, step_ms)) in first.into_iter().enumerate() {
            // Every instant query is followed by a range query around it.
            let time_ms = if i < 2 { times[0] } else { times[1 + i / 2] };
            let expected = if i % 2 == 0 {
                (time_ms, 0)
            } else {
                (time_ms - 60_000, 60_000)
            };
            assert_eq!((start_ms, step_ms), expected, "evaluation {i}");
        }
    }

    #[test]
    fn a_panic_or_missing_support_fails_one_evaluation_only() {
        let evaluator = |_: &dyn Queryable, text: &str, expr: &Expr, range: &QueryRange| match text
        {
            "1" => panic!("as if by mistake"),
            "2" => Err(EvalError::Unsupported("it".to_owned())),
            _ => numbers_only(expr, range),
        };
        let script = "eval instant at 0 1\n 1\n\neval instant at 0 2\n expect fail\n\n\
                      eval instant at 0 3\n 3\n";
        let report = run_script_with(script, &evaluator);
        assert_eq!((report.passed, report.total), (1, 3));
        assert_eq!(report.failures[0].reason, "panicked");
        assert!(report.failures[1].reason.contains("not supported"));
    }

    #[test]
    fn a_result_that_changes_when_run_again_fails() {
        let fails = |wrong: fn(&QueryRange) -> bool| {
            let evaluator = |_: &dyn Queryable, _: &str, expr: &Expr, range: &QueryRange| {
                let mut outcome = numbers_only(expr, range)?;
                if wrong(range) {
                    outcome.value = Value::Matrix(Vec::new());
                }
                Ok(outcome)
            };
            run_script_with("eval instant at 10s 7\n 7\n", &evaluator).passed == 0
        };
        assert!(!fails(|_| false));
        assert!(fails(|range| range.step_ms == 0 && range.start_ms == 2_000));
        assert!(fails(|range| range.step_ms != 0 && range.start_ms == 40_000));
    }

    #[test]
    fn annotations_are_held_against_every_rule() {
        let evaluator = |_: &dyn Queryable, _: &str, expr: &Expr, range: &QueryRange| {
            let mut outcome = numbers_only(expr, range)?;
            outcome.annotations.warn("PromQL warning: a");
            outcome.annotations.warn("PromQL warning: b");
            Ok(outcome)
        };
        for (rules, passes) in [
            ("", true),
            ("expect warn\n expect no_info\n", true),
            (
                "expect warn msg: PromQL warning: a\n expect warn regex: b$\n",
                true,
            ),
            ("expect warn msg: PromQL warning: a\n", false),
            ("expect warn regex: .\n expect warn msg: c\n", false),
            ("expect no_warn\n", false),
            ("expect info\n", false),
        ] {
            let script = format!("eval range from 0 to 0 step 1s 1\n {rules} {{}} 1\n");
            let report = run_script_with(&script, &evaluator);
            assert_eq!(report.passed == 1, passes, "{rules}: {:?}", report.failures);
        }
    }
}
