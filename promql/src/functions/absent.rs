//! `absent` and `absent_over_time`: one where nothing is.
//!
//! The labels come from the equality matchers of a plain selector. Source: Prometheus
//! `createLabelsForAbsentFunction`.

use hashbrown::HashSet;
use tenbin_model::labels::LabelsBuilder;
use tenbin_model::{Labels, METRIC_NAME, MatchOp, Matcher};

use crate::error::EvalError;
use crate::eval::Evaluator;
use crate::eval::binary::totals;
use crate::eval::column::{Data, Presence, Series};
use crate::eval::grid::Grid;
use crate::eval::plan::{Call, Kind, Node};

/// The labels that every series of a selector has by its equality matchers. A label that is
/// matched twice or otherwise is left out, and so is the name.
fn labels_of(node: &Node<'_>) -> Labels {
    let matchers = match &node.kind {
        Kind::Selector(selector) => selector.matchers,
        Kind::Range(range) => range.selector.matchers,
        _ => return Labels::empty(),
    };
    let mut builder = LabelsBuilder::default();
    let mut seen = HashSet::new();
    for matcher in in_order_of_selection(matchers) {
        if matcher.name() == METRIC_NAME {
            continue;
        }
        if matcher.op() == MatchOp::Equal && !seen.contains(matcher.name()) {
            builder.set(matcher.name(), matcher.value());
            seen.insert(matcher.name());
        } else {
            builder.remove(matcher.name());
        }
    }
    builder.build()
}

/// The matchers as Prometheus' store leaves them after a selection, which sorts them in place:
/// first those that intersect, then those that subtract, else in the order written. The order
/// matters here when a label has several matchers. Source: Prometheus `tsdb/querier.go`,
/// `PostingsForMatchers`.
fn in_order_of_selection(matchers: &[Matcher]) -> impl Iterator<Item = &Matcher> {
    let subtracts = |matcher: &Matcher| {
        let must_be_set = |m: &Matcher| m.name() == matcher.name() && !m.matches_empty();
        !matchers.iter().any(must_be_set) || (matcher.op().is_negative() && matcher.matches_empty())
    };
    let (last, first): (Vec<_>, Vec<_>) = matchers.iter().partition(|m| subtracts(m));
    first.into_iter().chain(last)
}

/// A series of ones at all steps where none of `all` has a sample.
pub(crate) fn absence(all: &[Series], call: &Call<'_>, grid: &Grid) -> Vec<Series> {
    let mut gaps = Presence::all(grid.steps);
    for series in all {
        gaps.subtract(&series.occupied());
    }
    if gaps.is_empty() {
        return Vec::new();
    }
    let mut absent = Series::new(labels_of(&call.args[0]), grid.steps);
    absent.values.fill(1.0);
    absent.floats = gaps;
    vec![absent]
}

pub(crate) fn absent(
    evaluator: &mut Evaluator<'_>,
    call: &Call<'_>,
    grid: &Grid,
) -> Result<Data, EvalError> {
    let all = evaluator.eval_vector(&call.args[0], grid)?;
    let gaps = absence(&all, call, grid);
    evaluator.budget.touch(totals(&all, grid).1)?;
    evaluator.budget.release_series(&all);
    for series in &gaps {
        evaluator.budget.charge_series(series)?;
    }
    Ok(Data::Vector(gaps))
}
