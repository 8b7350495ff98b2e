//! A second evaluator for floats, as plain as possible: one step at a time, every selector read
//! anew, written from the documentation and independent of the engine's columns. `property`
//! compares the two over random queries and data.
//!
//! What it leaves out it answers with `Trouble::Skip`, and the case is not compared.

mod cached;
mod generate;
mod operators;
mod property;
mod windows;

use tenbin_model::{Labels, METRIC_NAME, Matcher, is_stale};
use tenbin_promql::ast::{AggregateOp, Expr, StartOrEnd, TimeModifiers, UnaryOp, VectorSelector};

/// Samples of one series in time order.
pub(super) type Samples = Vec<(i64, f64)>;

/// The series of a store, sorted by labels.
pub(super) type Data = Vec<(Labels, Samples)>;

/// An instant vector.
pub(super) type Vector = Vec<(Labels, f64)>;

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The evaluation fails.
    Execution,
    /// Outside what is modelled here.
    Skip,
}

/// The value of an expression at one time.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Scalar(f64),
    Vector(Vector),
}

impl Answer {
    pub(super) fn vector(self) -> Result<Vector, Trouble> {
        match self {
            Self::Vector(vector) => Ok(vector),
            Self::Scalar(_) => Err(Trouble::Skip),
        }
    }

    pub(super) fn scalar(self) -> Result<f64, Trouble> {
        match self {
            Self::Scalar(value) => Ok(value),
            Self::Vector(_) => Err(Trouble::Skip),
        }
    }
}

/// What an evaluation looks at.
pub(super) struct Naive<'d> {
    pub(super) data: &'d Data,
    pub(super) lookback_ms: i64,
    /// First and last evaluation time of the query.
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
}

pub(super) fn without_name(labels: &Labels) -> Labels {
    labels.filter(|name| name != METRIC_NAME)
}

/// Fails when two elements have equal labels.
pub(super) fn distinct(vector: Vector) -> Result<Vector, Trouble> {
    for (at, (labels, _)) in vector.iter().enumerate() {
        if vector[..at].iter().any(|(other, _)| other == labels) {
            return Err(Trouble::Execution);
        }
    }
    Ok(vector)
}

impl Naive<'_> {
    fn time(&self, time: &TimeModifiers, at_ms: i64) -> i64 {
        let fixed = time.at_ms.or(match time.at_boundary {
            Some(StartOrEnd::Start) => Some(self.start_ms),
            Some(StartOrEnd::End) => Some(self.end_ms),
            None => None,
        });
        fixed.unwrap_or(at_ms) - time.offset_ms
    }

    fn matching(&self, matchers: &[Matcher]) -> impl Iterator<Item = &(Labels, Samples)> {
        self.data.iter().filter(move |(labels, _)| {
            matchers
                .iter()
                .all(|matcher| matcher.matches(labels.value_of(matcher.name())))
        })
    }

    /// The newest sample of each series inside the lookback, with its time.
    fn newest(&self, selector: &VectorSelector, at_ms: i64) -> Vec<(Labels, i64, f64)> {
        let at = self.time(&selector.time, at_ms);
        let mut found = Vec::new();
        for (labels, samples) in self.matching(&selector.matchers) {
            let newest = samples.iter().rfind(|(t, _)| *t <= at);
            if let Some((t, value)) = newest
                && *t > at - self.lookback_ms
                && !is_stale(*value)
            {
                found.push((labels.clone(), *t, *value));
            }
        }
        found
    }

    /// The windows of a range vector at a time: labels and samples, and the window's edges.
    pub(super) fn windows(&self, expr: &Expr, at_ms: i64) -> Result<(Data, i64, i64), Trouble> {
        match expr {
            Expr::MatrixSelector(matrix) => {
                let end = self.time(&matrix.selector.time, at_ms);
                let start = end - matrix.range_ms;
                let inside = |samples: &Samples| -> Samples {
                    let kept = samples.iter();
                    kept.filter(|(t, v)| start < *t && *t <= end && !is_stale(*v))
                        .copied()
                        .collect()
                };
                let all = self.matching(&matrix.selector.matchers);
                let windows = all.map(|(labels, samples)| (labels.clone(), inside(samples)));
                let filled = windows.filter(|(_, samples)| !samples.is_empty());
                Ok((filled.collect(), start, end))
            }
            Expr::Subquery(subquery) => {
                let end = self.time(&subquery.time, at_ms);
                let start = end - subquery.range_ms;
                let step = if subquery.step_ms == 0 {
                    60_000
                } else {
                    subquery.step_ms
                };
                let mut windows = Data::new();
                let mut t = start.div_euclid(step) * step + step;
                while t <= end {
                    let vector = match self.eval(&subquery.expr, t)? {
                        Answer::Scalar(value) => vec![(Labels::empty(), value)],
                        Answer::Vector(vector) => vector,
                    };
                    for (labels, value) in vector {
                        match windows.iter_mut().find(|(other, _)| *other == labels) {
                            Some((_, samples)) => samples.push((t, value)),
                            None => windows.push((labels, vec![(t, value)])),
                        }
                    }
                    t += step;
                }
                Ok((windows, start, end))
            }
            Expr::Paren(paren) => self.windows(&paren.expr, at_ms),
            _ => Err(Trouble::Skip),
        }
    }

    /// The value of `expr` at a time.
    pub(super) fn eval(&self, expr: &Expr, at_ms: i64) -> Result<Answer, Trouble> {
        match expr {
            Expr::Number(number) => Ok(Answer::Scalar(number.value)),
            Expr::Paren(paren) => self.eval(&paren.expr, at_ms),
            Expr::VectorSelector(selector) => {
                let found = self.newest(selector, at_ms).into_iter();
                Ok(Answer::Vector(found.map(|(l, _, v)| (l, v)).collect()))
            }
            Expr::Unary(unary) => {
                let value = self.eval(&unary.expr, at_ms)?;
                match (unary.op, value) {
                    (UnaryOp::Plus, value) => Ok(value),
                    (UnaryOp::Minus, Answer::Scalar(value)) => Ok(Answer::Scalar(-value)),
                    (UnaryOp::Minus, Answer::Vector(vector)) => {
                        let all = vector.iter().map(|(l, v)| (without_name(l), -v));
                        distinct(all.collect()).map(Answer::Vector)
                    }
                }
            }
            Expr::Binary(binary) => self.binary(binary, at_ms),
            Expr::Aggregate(aggregate) => {
                let input = self.eval(&aggregate.expr, at_ms)?.vector()?;
                let param = match &aggregate.param {
                    Some(param) => self.eval(param, at_ms)?.scalar()?,
                    None => 0.0,
                };
                let picks = matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk);
                if picks && param.is_nan() {
                    return Err(Trouble::Execution);
                }
                let group_of = |labels: &Labels| {
                    labels.filter(|name| {
                        let listed = aggregate.grouping.iter().any(|g| g == name);
                        listed != aggregate.without && (name != METRIC_NAME || !aggregate.without)
                    })
                };
                let mut groups: Vec<(Labels, Vector)> = Vec::new();
                for (labels, value) in input {
                    let key = group_of(&labels);
                    match groups.iter_mut().find(|(other, _)| *other == key) {
                        Some((_, members)) => members.push((labels, value)),
                        None => groups.push((key, vec![(labels, value)])),
                    }
                }
                let mut result = Vec::new();
                for (key, members) in groups {
                    match aggregate.op {
                        AggregateOp::Topk | AggregateOp::Bottomk => {
                            let greatest = aggregate.op == AggregateOp::Topk;
                            result.extend(operators::best(members, param, greatest)?);
                        }
                        op => {
                            let values: Vec<f64> = members.iter().map(|(_, v)| *v).collect();
                            result.push((key, operators::aggregated(op, &values, param)?));
                        }
                    }
                }
                Ok(Answer::Vector(result))
            }
            Expr::Call(call) => self.call(call.function.name, &call.args, at_ms),
            _ => Err(Trouble::Skip),
        }
    }

    fn call(&self, name: &str, args: &[Expr], at_ms: i64) -> Result<Answer, Trouble> {
        match (name, args) {
            ("time", []) => return Ok(Answer::Scalar(at_ms as f64 / 1000.0)),
            ("vector", [value]) => {
                let value = self.eval(value, at_ms)?.scalar()?;
                return Ok(Answer::Vector(vec![(Labels::empty(), value)]));
            }
            ("scalar", [vector]) => {
                let vector = self.eval(vector, at_ms)?.vector()?;
                let single = vector.len() == 1;
                return Ok(Answer::Scalar(if single { vector[0].1 } else { f64::NAN }));
            }
            ("timestamp", [Expr::VectorSelector(selector)]) => {
                let found = self.newest(selector, at_ms).into_iter();
                let all = found.map(|(l, t, _)| (without_name(&l), t as f64 / 1000.0));
                return distinct(all.collect()).map(Answer::Vector);
            }
            _ => {}
        }
        if let Some(f) = operators::simple(name) {
            let vector = self.eval(&args[0], at_ms)?.vector()?;
            let param = match args.get(1) {
                Some(param) => self.eval(param, at_ms)?.scalar()?,
                None => 0.0,
            };
            let all = vector.iter().map(|(l, v)| (without_name(l), f(*v, param)));
            return distinct(all.collect()).map(Answer::Vector);
        }
        let (range, param) = match args {
            [range] => (range, 0.0),
            [param, range] => (range, self.eval(param, at_ms)?.scalar()?),
            _ => return Err(Trouble::Skip),
        };
        let (all, start, end) = self.windows(range, at_ms)?;
        let mut result = Vec::new();
        for (labels, samples) in all {
            let window = windows::Window {
                samples: &samples,
                start,
                end,
                param,
            };
            if let Some(value) = windows::function(name).ok_or(Trouble::Skip)?(&window) {
                let keeps = matches!(name, "last_over_time" | "first_over_time");
                result.push((if keeps { labels } else { without_name(&labels) }, value));
            }
        }
        // Whether series that lose their names collide is decided over all steps.
        distinct(result)
            .map(Answer::Vector)
            .map_err(|_| Trouble::Skip)
    }
}
