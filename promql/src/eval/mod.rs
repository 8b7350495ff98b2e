//! Evaluation of a planned query, column by column.
//!
//! A node evaluates to a set of series, each with a value slot for every step of its grid; nothing
//! is evaluated step by step over whole vectors except where the language demands it. What is
//! decided by labels alone (groups, matches, names) is decided once per series. Selectors and
//! functions over windows hand their series on one at a time, so that aggregations over them never
//! hold all series.

pub(crate) mod aggregate;
pub(crate) mod arithmetic;
pub(crate) mod binary;
pub(crate) mod budget;
pub(crate) mod column;
pub(crate) mod grid;
pub(crate) mod grouping;
pub(crate) mod histogram_stats;
pub(crate) mod histogram_sum;
pub(crate) mod kept;
pub(crate) mod matching;
pub(crate) mod meter;
pub(crate) mod names;
pub(crate) mod notes;
pub(crate) mod parallel;
pub(crate) mod pick;
pub(crate) mod plan;
pub(crate) mod range_call;
pub(crate) mod result;
pub(crate) mod selector;
pub(crate) mod set_ops;
pub(crate) mod sharing;
pub(crate) mod smoothed;
pub(crate) mod stats;
pub(crate) mod window;

#[cfg(test)]
mod tests;

use tenbin_model::{Querier, SampleBuffer};

use crate::error::EvalError;
use crate::functions;
use crate::options::EngineOptions;
use budget::Budget;
use column::{Data, Presence, Scalars, Series};
use grid::Grid;
use kept::Kept;
use notes::Notes;
use plan::{Kind, Node};
use stats::Tally;

/// What became of a series that was handed on.
pub(crate) enum Fate {
    /// It was taken, and stays charged.
    Kept,
    /// It was looked at only.
    Done,
}

/// Receives series one at a time. Whoever keeps one takes it out of its place.
pub(crate) type Visit<'v, 'a> =
    &'v mut dyn FnMut(&mut Evaluator<'a>, &mut Series) -> Result<Fate, EvalError>;

/// The state of one evaluation.
pub(crate) struct Evaluator<'a> {
    pub(crate) querier: &'a dyn Querier,
    pub(crate) options: &'a EngineOptions,
    pub(crate) budget: Budget,
    pub(crate) notes: Notes,
    pub(crate) tally: Tally,
    /// Memory for decoded samples, reused from series to series.
    pub(crate) buffer: SampleBuffer,
    /// Results that will be used again.
    pub(crate) kept: Kept,
}

impl<'a> Evaluator<'a> {
    /// Whether names are dropped at the end of the query only.
    pub(crate) fn delayed_name_removal(&self) -> bool {
        self.options.features.delayed_name_removal
    }

    /// Drops the name of a series, or marks it for dropping.
    pub(crate) fn drop_name(&self, series: &mut Series) {
        if !self.delayed_name_removal() {
            series.labels = names::without_name(&series.labels);
        }
        series.drop_name = true;
    }

    /// Evaluates a node over all steps. The result is charged to the budget.
    pub(crate) fn eval(&mut self, node: &Node<'_>, grid: &Grid) -> Result<Data, EvalError> {
        self.budget.check()?;
        if !node.is_shared() {
            return self.eval_anew(node, grid);
        }
        if self.hands_on(node) {
            return self.collect(node, grid).map(Data::Vector);
        }
        self.eval_shared(node, grid)
    }

    /// As [`Evaluator::eval`], whether or not the result is known.
    pub(crate) fn eval_anew(&mut self, node: &Node<'_>, grid: &Grid) -> Result<Data, EvalError> {
        match &node.kind {
            Kind::Number(value) => {
                // Prometheus holds a sample per step.
                self.budget.touch(grid.steps as u64)?;
                Ok(Data::Scalar(Scalars::Same(*value)))
            }
            Kind::Text(text) => Ok(Data::Text(text.value.clone())),
            Kind::Selector(_) => self.collect(node, grid).map(Data::Vector),
            Kind::Call(call) => functions::call(self, call, grid),
            Kind::Aggregate(aggregate) => self.aggregate(aggregate, grid).map(Data::Vector),
            Kind::Binary(binary) => self.binary(binary, grid),
            Kind::Negate(inner) => self.negate(inner, grid),
            Kind::Same(inner) => self.eval(inner, grid),
            Kind::Once(inner) => self.once(inner, grid),
            Kind::Range(_) | Kind::Subquery(_) => Err(EvalError::BadQuery(
                "range vector where an instant vector is needed".to_owned(),
            )),
        }
    }

    /// Evaluates a node of vector type.
    pub(crate) fn eval_vector(
        &mut self,
        node: &Node<'_>,
        grid: &Grid,
    ) -> Result<Vec<Series>, EvalError> {
        match self.eval(node, grid)? {
            Data::Vector(all) => Ok(all),
            Data::Scalar(_) | Data::Text(_) => {
                Err(EvalError::BadQuery("instant vector expected".to_owned()))
            }
        }
    }

    /// Evaluates a node of scalar type.
    pub(crate) fn eval_scalar(
        &mut self,
        node: &Node<'_>,
        grid: &Grid,
    ) -> Result<Scalars, EvalError> {
        match self.eval(node, grid)? {
            Data::Scalar(scalars) => Ok(scalars),
            Data::Vector(_) | Data::Text(_) => {
                Err(EvalError::BadQuery("scalar expected".to_owned()))
            }
        }
    }

    /// Evaluates a vector while Prometheus holds so many scalar arguments.
    pub(crate) fn eval_beside(
        &mut self,
        scalars: usize,
        node: &Node<'_>,
        grid: &Grid,
    ) -> Result<Vec<Series>, EvalError> {
        let held = (scalars * grid.steps) as u64;
        self.budget.charge(held)?;
        let result = self.eval_vector(node, grid);
        self.budget.release(held);
        result
    }

    /// Hands the series of a vector node to `visit` one at a time: straight from the store where
    /// the node allows it, else from its finished result.
    pub(crate) fn for_each_series(
        &mut self,
        node: &Node<'_>,
        grid: &Grid,
        visit: Visit<'_, 'a>,
    ) -> Result<(), EvalError> {
        if node.is_shared() && self.hands_on(node) {
            return self.visit_shared(node, grid, visit);
        }
        self.visit_anew(node, grid, visit)
    }

    /// As [`Evaluator::for_each_series`], whether or not the series are known.
    pub(crate) fn visit_anew(
        &mut self,
        node: &Node<'_>,
        grid: &Grid,
        visit: Visit<'_, 'a>,
    ) -> Result<(), EvalError> {
        match &node.kind {
            Kind::Selector(selector) => self.visit_selector(selector, grid, visit),
            Kind::Call(call) => match &call.function.implementation {
                functions::Implementation::Window(function) if !function.makes_absence => {
                    self.visit_window_call(call, function, grid, visit)
                }
                _ => self.visit_result(node, grid, visit),
            },
            _ => self.visit_result(node, grid, visit),
        }
    }

    /// Whether a node's series come one at a time, rather than from a finished result.
    pub(crate) fn hands_on(&self, node: &Node<'_>) -> bool {
        match &node.kind {
            Kind::Selector(_) => true,
            Kind::Call(call) => matches!(
                &call.function.implementation,
                functions::Implementation::Window(function) if !function.makes_absence
            ),
            _ => false,
        }
    }

    fn visit_result(
        &mut self,
        node: &Node<'_>,
        grid: &Grid,
        visit: Visit<'_, 'a>,
    ) -> Result<(), EvalError> {
        let mut all = self.eval_vector(node, grid)?;
        let mut held = 0;
        for series in &mut all {
            let size = series.size();
            if let Fate::Done = visit(self, series)? {
                held += size;
            }
        }
        self.budget.release(held);
        Ok(())
    }

    /// All series of a node that hands them on one at a time.
    pub(crate) fn collect(
        &mut self,
        node: &Node<'_>,
        grid: &Grid,
    ) -> Result<Vec<Series>, EvalError> {
        let mut all = Vec::new();
        self.for_each_series(node, grid, &mut |_, series| {
            all.push(series.keep());
            Ok(Fate::Kept)
        })?;
        Ok(all)
    }

    fn negate(&mut self, inner: &Node<'_>, grid: &Grid) -> Result<Data, EvalError> {
        let mut all = match self.eval(inner, grid)? {
            Data::Scalar(scalars) => return Ok(Data::Scalar(scalars.map(|v| -v))),
            Data::Text(text) => return Ok(Data::Text(text)),
            Data::Vector(all) => all,
        };
        for series in &mut all {
            self.budget.check()?;
            self.drop_name(series);
            for value in &mut series.values {
                *value = -*value;
            }
            for slot in series.histograms.iter_mut().flatten() {
                if let Some(histogram) = slot {
                    *slot = Some(arithmetic::scaled(histogram, -1.0));
                }
            }
        }
        // Unlike what works step by step, unary minus looks at whole series: equal labels are an
        // error also where the series never meet.
        if !self.delayed_name_removal() && names::has_duplicates(&all, &self.budget)? {
            return Err(names::same_labelset());
        }
        Ok(Data::Vector(all))
    }

    /// Evaluates at the first step only and takes the result for all steps.
    fn once(&mut self, inner: &Node<'_>, grid: &Grid) -> Result<Data, EvalError> {
        let nested = self.tally.nested();
        let outer = std::mem::replace(&mut self.tally, nested);
        let result = self.eval(inner, &grid.first_step());
        let once = std::mem::replace(&mut self.tally, outer);
        for step in 0..grid.steps {
            self.tally.window(step, once.total, 0);
        }
        self.tally.read += once.read;
        let all = match result? {
            Data::Vector(all) if grid.steps > 1 => all,
            Data::Scalar(scalars) => {
                self.budget.touch(grid.steps as u64)?;
                return Ok(Data::Scalar(Scalars::Same(scalars.at(0))));
            }
            other => return Ok(other),
        };
        let mut spread = Vec::with_capacity(all.len());
        for series in all {
            self.budget.check()?;
            self.budget.release(series.size());
            let mut full = Series::new(series.labels.clone(), grid.steps);
            full.drop_name = series.drop_name;
            if let Some(value) = series.float(0) {
                full.values.fill(value);
                full.floats = Presence::all(grid.steps);
            } else if let Some(histogram) = series.histogram(0) {
                full.histograms = Some(vec![Some(std::sync::Arc::clone(histogram)); grid.steps]);
            }
            self.budget.charge_series(&full)?;
            spread.push(full);
        }
        Ok(Data::Vector(spread))
    }
}
