//! Aggregations, simple functions and binary operators on instant vectors.

use tenbin_model::gomath;
use tenbin_model::kahan::add;
use tenbin_model::labels::LabelsBuilder;
use tenbin_model::{Labels, METRIC_NAME};
use tenbin_promql::ast::{AggregateOp, BinaryExpr, BinaryOp, MatchCardinality, VectorMatching};

use super::{Answer, Naive, Trouble, Vector, distinct};

/// Functions of single values; the second argument is the scalar parameter.
pub(super) fn simple(name: &str) -> Option<fn(f64, f64) -> f64> {
    Some(match name {
        "abs" => |v, _| v.abs(),
        "ceil" => |v, _| v.ceil(),
        "floor" => |v, _| v.floor(),
        "sqrt" => |v, _| v.sqrt(),
        "exp" => |v, _| gomath::exp(v),
        "ln" => |v, _| gomath::ln(v),
        "sgn" => |v, _| match v {
            v if v < 0.0 => -1.0,
            v if v > 0.0 => 1.0,
            v => v,
        },
        _ => return None,
    })
}

/// Linear interpolation between the two nearest ranks; NaN sorts first.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return q.signum() * f64::INFINITY;
    }
    values.sort_by(|a, b| {
        (!a.is_nan(), *a)
            .partial_cmp(&(!b.is_nan(), *b))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let n = values.len() as f64;
    let rank = q * (n - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(n - 1.0);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

/// The `k` best members; ties at the edge are not modelled.
pub(super) fn best(mut members: Vector, k: f64, greatest: bool) -> Result<Vector, Trouble> {
    let k = k.max(0.0) as usize;
    let worse = |value: f64| (value.is_nan(), if greatest { -value } else { value });
    members.sort_by(|a, b| {
        worse(a.1)
            .partial_cmp(&worse(b.1))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    if k > 0 && k < members.len() {
        let (last, next) = (members[k - 1].1, members[k].1);
        if last == next || (last.is_nan() && next.is_nan()) {
            return Err(Trouble::Skip);
        }
    }
    members.truncate(k);
    Ok(members)
}

/// The value of a group, in the order of its members.
pub(super) fn aggregated(op: AggregateOp, values: &[f64], param: f64) -> Result<f64, Trouble> {
    let first = values[0];
    let n = values.len() as f64;
    let fold = |better: fn(f64, f64) -> bool| {
        let keep = |best: f64, v: &f64| {
            if better(*v, best) || best.is_nan() {
                *v
            } else {
                best
            }
        };
        values.iter().fold(first, keep)
    };
    Ok(match op {
        AggregateOp::Count => n,
        AggregateOp::Group => 1.0,
        AggregateOp::Min => fold(|v, best| v < best),
        AggregateOp::Max => fold(|v, best| v > best),
        AggregateOp::Quantile => quantile(param, values.to_vec()),
        AggregateOp::Sum => {
            let start = (first, 0.0);
            let (sum, lost) = values[1..].iter().fold(start, |(s, c), v| add(*v, s, c));
            sum + lost
        }
        AggregateOp::Avg => average(values),
        AggregateOp::Stdvar => variance(values),
        AggregateOp::Stddev => variance(values).sqrt(),
        _ => return Err(Trouble::Skip),
    })
}

fn average(values: &[f64]) -> f64 {
    let (mut value, mut lost, mut incremental) = (values[0], 0.0, false);
    for (at, v) in values.iter().enumerate().skip(1) {
        let count = (at + 1) as f64;
        if !incremental {
            let (sum, new_lost) = add(*v, value, lost);
            if !sum.is_infinite() {
                (value, lost) = (sum, new_lost);
                continue;
            }
            incremental = true;
            value /= count - 1.0;
            lost /= count - 1.0;
        }
        let q = (count - 1.0) / count;
        (value, lost) = add(v / count, q * value, q * lost);
    }
    let count = values.len() as f64;
    if incremental {
        value + lost
    } else {
        value / count + lost / count
    }
}

fn variance(values: &[f64]) -> f64 {
    let mut mean = values[0];
    let mut squares = if mean.is_finite() { 0.0 } else { f64::NAN };
    for (at, value) in values.iter().enumerate().skip(1) {
        let delta = value - mean;
        mean += delta / (at + 1) as f64;
        squares += delta * (value - mean);
    }
    squares / values.len() as f64
}

fn signature(matching: &VectorMatching, labels: &Labels) -> Labels {
    labels.filter(|name| {
        let listed = matching.labels.iter().any(|label| label == name);
        if matching.on {
            listed
        } else {
            !listed && name != METRIC_NAME
        }
    })
}

/// An arithmetic operator's result, or whether a comparison holds.
fn operate(op: BinaryOp, a: f64, b: f64) -> Result<(f64, bool), Trouble> {
    let value = match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => gomath::pow(a, b),
        BinaryOp::Atan2 => gomath::atan2(a, b),
        BinaryOp::Equal => return Ok((a, a == b)),
        BinaryOp::NotEqual => return Ok((a, a != b)),
        BinaryOp::Less => return Ok((a, a < b)),
        BinaryOp::Greater => return Ok((a, a > b)),
        BinaryOp::LessEqual => return Ok((a, a <= b)),
        BinaryOp::GreaterEqual => return Ok((a, a >= b)),
        _ => return Err(Trouble::Skip),
    };
    Ok((value, true))
}

impl Naive<'_> {
    pub(super) fn binary(&self, binary: &BinaryExpr, at_ms: i64) -> Result<Answer, Trouble> {
        let lhs = self.eval(&binary.lhs, at_ms)?;
        let rhs = self.eval(&binary.rhs, at_ms)?;
        let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
        let drops = !binary.op.is_comparison() || binary.return_bool;
        match (lhs, rhs, &binary.matching) {
            (Answer::Scalar(a), Answer::Scalar(b), _) => {
                let (value, holds) = operate(binary.op, a, b)?;
                let compares = binary.op.is_comparison();
                Ok(Answer::Scalar(if compares { truth(holds) } else { value }))
            }
            (Answer::Vector(all), Answer::Scalar(b), _) => {
                let pairs = all.into_iter().map(|(labels, a)| (labels, a, b, a));
                with_scalar(binary, pairs, drops)
            }
            (Answer::Scalar(a), Answer::Vector(all), _) => {
                let pairs = all.into_iter().map(|(labels, b)| (labels, a, b, b));
                with_scalar(binary, pairs, drops)
            }
            (Answer::Vector(lhs), Answer::Vector(rhs), Some(matching)) => {
                let result = if binary.op.is_set() {
                    set(binary.op, matching, lhs, rhs)
                } else {
                    matched(binary, matching, lhs, rhs)
                };
                result.map(Answer::Vector)
            }
            _ => Err(Trouble::Skip),
        }
    }
}

/// An operation with a scalar: per element labels, both operands, and what a filter keeps.
fn with_scalar(
    binary: &BinaryExpr,
    all: impl Iterator<Item = (Labels, f64, f64, f64)>,
    drops: bool,
) -> Result<Answer, Trouble> {
    let mut result = Vec::new();
    for (labels, a, b, kept) in all {
        let (value, holds) = operate(binary.op, a, b)?;
        let labels = if drops {
            super::without_name(&labels)
        } else {
            labels
        };
        match (binary.op.is_comparison(), binary.return_bool) {
            (false, _) => result.push((labels, value)),
            (true, true) => result.push((labels, f64::from(u8::from(holds)))),
            (true, false) if holds => result.push((labels, kept)),
            _ => {}
        }
    }
    distinct(result).map(Answer::Vector)
}

fn set(
    op: BinaryOp,
    matching: &VectorMatching,
    lhs: Vector,
    rhs: Vector,
) -> Result<Vector, Trouble> {
    let has = |all: &Vector, labels: &Labels| {
        let wanted = signature(matching, labels);
        all.iter()
            .any(|(other, _)| signature(matching, other) == wanted)
    };
    let result = match op {
        BinaryOp::And => lhs.into_iter().filter(|(l, _)| has(&rhs, l)).collect(),
        BinaryOp::Unless => lhs.into_iter().filter(|(l, _)| !has(&rhs, l)).collect(),
        _ => {
            let mut all = lhs.clone();
            all.extend(rhs.into_iter().filter(|(l, _)| !has(&lhs, l)));
            all
        }
    };
    distinct(result)
}

fn matched(
    binary: &BinaryExpr,
    matching: &VectorMatching,
    lhs: Vector,
    rhs: Vector,
) -> Result<Vector, Trouble> {
    if lhs.is_empty() || rhs.is_empty() {
        return Ok(Vec::new());
    }
    let swapped = matching.cardinality == MatchCardinality::OneToMany;
    let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
    let signatures: Vec<Labels> = one.iter().map(|(l, _)| signature(matching, l)).collect();
    for (at, other) in signatures.iter().enumerate() {
        if signatures[..at].contains(other) {
            return Err(Trouble::Execution);
        }
    }
    let one_to_one = matching.cardinality == MatchCardinality::OneToOne;
    let (mut used, mut result) = (Vec::new(), Vec::new());
    for (labels, value) in &many {
        let own = signature(matching, labels);
        let Some(at) = signatures.iter().position(|other| *other == own) else {
            continue;
        };
        let (a, b) = if swapped {
            (one[at].1, *value)
        } else {
            (*value, one[at].1)
        };
        let (computed, holds) = operate(binary.op, a, b)?;
        let metric = result_labels(binary, matching, labels, &one[at].0);
        let key = (own, (!one_to_one).then(|| metric.clone()));
        if used.contains(&key) {
            return Err(Trouble::Execution);
        }
        used.push(key);
        if binary.return_bool {
            result.push((metric, f64::from(u8::from(holds))));
        } else if holds {
            result.push((metric, computed));
        }
    }
    distinct(result)
}

fn result_labels(
    binary: &BinaryExpr,
    matching: &VectorMatching,
    many: &Labels,
    one: &Labels,
) -> Labels {
    let drops = !binary.op.is_comparison() || binary.return_bool;
    let kept = many.filter(|name| {
        let listed = matching.labels.iter().any(|label| label == name);
        let fits = matching.cardinality != MatchCardinality::OneToOne || matching.on == listed;
        fits && !(drops && name == METRIC_NAME)
    });
    let mut builder = LabelsBuilder::from_labels(&kept);
    for name in &matching.include {
        builder.set(name, one.value_of(name));
    }
    builder.build()
}
