//! Calls of functions over windows: on a range selector, one series after the other straight from
//! the store; on a subquery, on the result of the inner expression.
//!
//! Source: the range-vector part of Prometheus' `eval` for calls in `promql/engine.go`.

use std::sync::Arc;

use hashbrown::HashSet;
use tenbin_model::{CounterResetHint, Labels, SampleBuffer, SeriesSet, TimeRange};

use crate::error::EvalError;
use crate::eval::column::{Data, Scalars, Series};
use crate::eval::grid::Grid;
use crate::eval::histogram_stats::keep_stats;
use crate::eval::names;
use crate::eval::notes::Notes;
use crate::eval::parallel::Work;
use crate::eval::plan::{Call, Kind, Node, RangeSelector, Subquery};
use crate::eval::stats::Tally;
use crate::eval::window::{CallState, Frame, remove_stale, slide_mixed};
use crate::eval::{Evaluator, Fate, Visit};
use crate::functions::WindowFunction;

/// The series that a call works on.
pub(crate) enum RangeInput {
    /// Read from the store series by series.
    Stored(Box<dyn SeriesSet>),
    /// The result of a subquery, with the grid that it was evaluated on.
    Evaluated(Vec<Series>, Grid),
}

impl RangeInput {
    fn len(&self) -> usize {
        match self {
            Self::Stored(set) => set.len(),
            Self::Evaluated(all, _) => all.len(),
        }
    }

    fn labels(&self, at: usize) -> Result<Labels, EvalError> {
        match self {
            Self::Stored(set) => Ok(set.labels(at)?),
            Self::Evaluated(all, _) => Ok(all[at].labels.clone()),
        }
    }

    /// Whether the name of a series is already marked for dropping.
    fn drops_name(&self, at: usize) -> bool {
        match self {
            Self::Stored(_) => false,
            Self::Evaluated(all, _) => all[at].drop_name,
        }
    }

    fn read(
        &self,
        at: usize,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Result<(), EvalError> {
        match self {
            Self::Stored(set) => set.read(at, range, samples)?,
            Self::Evaluated(all, grid) => samples_of(&all[at], grid, samples),
        }
        Ok(())
    }
}

/// Turns a column into samples. Hints about counter resets are forgotten: they speak of the sample
/// before in the store, which need not be the one before in the subquery's result.
fn samples_of(series: &Series, grid: &Grid, samples: &mut SampleBuffer) {
    samples.clear();
    if series.floats.is_full() {
        let times = (0..series.steps()).map(|step| grid.time(step));
        samples.timestamps_ms.extend(times);
        samples.values.extend_from_slice(&series.values);
    } else {
        for step in series.floats.iter() {
            samples.timestamps_ms.push(grid.time(step));
            samples.values.push(series.values[step]);
        }
    }
    for (step, slot) in series.histograms.iter().flatten().enumerate() {
        let Some(histogram) = slot else { continue };
        samples.histogram_timestamps_ms.push(grid.time(step));
        let explicit = matches!(
            histogram.counter_reset_hint,
            CounterResetHint::Reset | CounterResetHint::NotReset
        );
        samples.histograms.push(if explicit {
            let mut unknown = (**histogram).clone();
            unknown.counter_reset_hint = CounterResetHint::Unknown;
            Arc::new(unknown)
        } else {
            Arc::clone(histogram)
        });
    }
}

/// Grids with more steps are worked on by one thread: every thread has several columns at hand.
const MOST_STEPS_SHARED: usize = 50_000;

/// What a thread needs to compute series.
struct Hands {
    samples: SampleBuffer,
    scratch: Vec<f64>,
    tally: Tally,
}

impl Hands {
    fn new(tally: Tally) -> Self {
        Self {
            samples: SampleBuffer::default(),
            scratch: Vec::new(),
            tally,
        }
    }
}

/// What became of one series, and what it took.
struct Slot {
    out: Series,
    /// The name is already marked for dropping.
    drops_name: bool,
    notes: Notes,
    /// Samples of the widest window.
    widest: u64,
    /// Samples touched and read.
    total: u64,
    read: u64,
    /// Bytes of the decoded samples.
    read_bytes: u64,
}

impl Slot {
    fn new(steps: usize) -> Self {
        Self {
            out: Series::new(Labels::empty(), steps),
            drops_name: false,
            notes: Notes::default(),
            widest: 0,
            total: 0,
            read: 0,
            read_bytes: 0,
        }
    }
}

/// A call of a function over windows, ready to compute any of its series.
struct Kernel<'k> {
    input: &'k RangeInput,
    frame: &'k Frame,
    function: &'static WindowFunction,
    params: &'k [Scalars],
    span: crate::ast::Span,
}

impl Kernel<'_> {
    /// Computes all windows of one series.
    fn compute(&self, at: usize, hands: &mut Hands, slot: &mut Slot) -> Result<(), EvalError> {
        let frame = self.frame;
        let samples = &mut hands.samples;
        slot.out.reset();
        (slot.widest, slot.total, slot.read, slot.read_bytes) = (0, 0, 0, 0);
        if hands.tally.is_stopped() {
            return Ok(());
        }
        self.input.read(at, frame.covers(), samples)?;
        if frame.stats_only && !samples.histograms.is_empty() {
            let buffered = frame.buffered();
            keep_stats(samples, &frame.grid, frame.time, frame.after_ms, buffered);
        }
        remove_stale(samples);
        if samples.is_empty() {
            return Ok(());
        }
        slot.read_bytes = 16 * samples.len() as u64;
        slot.out.labels = self.input.labels(at)?;
        slot.drops_name = self.input.drops_name(at);
        let tally = &mut hands.tally;
        let (total, read) = (tally.total, tally.read);
        tally.widest = 0;
        // The kernels fill the series and look at its name.
        let labels = slot.out.labels.clone();
        let mut state = CallState {
            notes: &mut slot.notes,
            tally,
            metric: labels.metric_name(),
            span: self.span,
            params: self.params,
            scratch: &mut hands.scratch,
        };
        if samples.histograms.is_empty() {
            (self.function.floats)(samples, frame, &mut state, &mut slot.out)?;
        } else {
            let mixed = self.function.mixed;
            slide_mixed(samples, frame, &mut state, &mut slot.out, mixed)?;
        }
        slot.widest = tally.widest;
        slot.total = tally.total - total;
        slot.read = tally.read - read;
        Ok(())
    }
}

impl<'a> Evaluator<'a> {
    /// Evaluates a call of a function over windows.
    pub(crate) fn window_call(
        &mut self,
        call: &Call<'_>,
        function: &'static WindowFunction,
        grid: &Grid,
    ) -> Result<Data, EvalError> {
        let mut all = Vec::new();
        self.visit_window_call(call, function, grid, &mut |_, series| {
            all.push(series.keep());
            Ok(Fate::Kept)
        })?;
        if function.makes_absence {
            let gaps = crate::functions::absent::absence(&all, call, grid);
            self.budget.release_series(&all);
            for series in &gaps {
                self.budget.charge_series(series)?;
            }
            return Ok(Data::Vector(gaps));
        }
        Ok(Data::Vector(all))
    }

    /// Hands on the result series of a call of a function over windows.
    pub(crate) fn visit_window_call(
        &mut self,
        call: &Call<'_>,
        function: &'static WindowFunction,
        grid: &Grid,
        visit: Visit<'_, 'a>,
    ) -> Result<(), EvalError> {
        let is_range = |arg: &&Node<'_>| matches!(arg.kind, Kind::Range(_) | Kind::Subquery(_));
        let Some(range) = call.args.iter().find(is_range) else {
            let text = format!("expected a range vector in the call of {}", call.name);
            return Err(EvalError::BadQuery(text));
        };
        let mut params = Vec::new();
        let (input, frame) = match &range.kind {
            Kind::Subquery(subquery) => {
                let evaluated = self.subquery(subquery, grid)?;
                for arg in call.args.iter().filter(|arg| !is_range(arg)) {
                    params.push(self.eval_scalar(arg, grid)?);
                }
                evaluated
            }
            Kind::Range(selector) => {
                for arg in call.args.iter().filter(|arg| !is_range(arg)) {
                    params.push(self.eval_scalar(arg, grid)?);
                }
                self.stored_input(call, function, selector, grid)?
            }
            _ => return Ok(()),
        };
        // Prometheus puts the evaluated subquery in place of the argument, without a position.
        let span = match call.args[0].kind {
            Kind::Subquery(_) => crate::ast::Span::default(),
            _ => call.args[0].span,
        };
        self.tally.nothing_read = matches!(input, RangeInput::Evaluated(..));
        // Prometheus holds a sample per step of each scalar meanwhile.
        let held = (params.len() * grid.steps) as u64;
        self.budget.charge(held)?;
        let result = self.window_series(&input, &frame, function, &params, span, visit);
        self.budget.release(held);
        self.tally.nothing_read = false;
        if let RangeInput::Evaluated(all, _) = &input {
            self.budget.release_series(all);
        }
        result
    }

    fn stored_input(
        &mut self,
        call: &Call<'_>,
        function: &WindowFunction,
        range: &RangeSelector<'_>,
        grid: &Grid,
    ) -> Result<(RangeInput, Frame), EvalError> {
        let selector = &range.selector;
        function.check_modifiers(call.name, selector.anchored, selector.smoothed)?;
        let lookback_ms = self.options.lookback_ms;
        let frame = Frame {
            grid: *grid,
            time: selector.time,
            range_ms: range.range_ms,
            before_ms: if selector.anchored || selector.smoothed {
                lookback_ms
            } else {
                0
            },
            after_ms: if selector.smoothed { lookback_ms } else { 0 },
            anchored: selector.anchored,
            smoothed: selector.smoothed,
            start_times: function.start_times && self.options.features.use_start_timestamps,
            stats_only: selector.stats_only,
        };
        let set = self.select(selector, grid, range.range_ms)?;
        Ok((RangeInput::Stored(set), frame))
    }

    /// Evaluates the inner expression of a subquery over all its steps.
    fn subquery(
        &mut self,
        subquery: &Subquery<'_>,
        grid: &Grid,
    ) -> Result<(RangeInput, Frame), EvalError> {
        let frame = Frame {
            grid: *grid,
            time: subquery.time,
            range_ms: subquery.range_ms,
            before_ms: 0,
            after_ms: 0,
            anchored: false,
            smoothed: false,
            start_times: false,
            stats_only: false,
        };
        let (all, inner) = self.eval_subquery(subquery, grid)?;
        Ok((RangeInput::Evaluated(all, inner), frame))
    }

    /// The result of a subquery's inner expression and the grid it was evaluated on: multiples of
    /// its step inside the windows of all outer steps.
    pub(crate) fn eval_subquery(
        &mut self,
        subquery: &Subquery<'_>,
        grid: &Grid,
    ) -> Result<(Vec<Series>, Grid), EvalError> {
        let open_start = subquery
            .time
            .apply(grid.start_ms)
            .saturating_sub(subquery.range_ms);
        let end = subquery.time.apply(grid.last());
        let step = subquery.step_ms;
        let start = open_start
            .div_euclid(step)
            .saturating_mul(step)
            .saturating_add(step);
        let Some(inner) = Grid::new(start, end, step)? else {
            return Ok((Vec::new(), *grid));
        };
        self.budget.check_steps(inner.steps)?;
        let nested = self.tally.nested();
        let outer = std::mem::replace(&mut self.tally, nested);
        let result = self.eval(&subquery.inner, &inner);
        let inside = std::mem::replace(&mut self.tally, outer);
        self.tally.read += inside.read;
        let all = match result? {
            Data::Vector(all) => all,
            Data::Scalar(scalars) => vec![series_of(&scalars, &inner)],
            Data::Text(_) => return Err(EvalError::BadQuery("string in a subquery".to_owned())),
        };
        Ok((all, inner))
    }

    fn window_series(
        &mut self,
        input: &RangeInput,
        frame: &Frame,
        function: &'static WindowFunction,
        params: &[Scalars],
        span: crate::ast::Span,
        visit: Visit<'_, 'a>,
    ) -> Result<(), EvalError> {
        let kernel = Kernel {
            input,
            frame,
            function,
            params,
            span,
        };
        let counts_steps = self.tally.per_step.is_some();
        let tally = self.tally.part();
        let helper_tally = self.tally.part();
        let meter = self.budget.meter().clone();
        let work = Work {
            count: input.len(),
            // Steps are counted in one place, and wide columns must not lie about.
            threads: if counts_steps || frame.grid.steps > MOST_STEPS_SHARED {
                1
            } else {
                self.options.threads
            },
            meter: &meter,
            state: &|| Hands::new(helper_tally.part()),
            slot: &|| Slot::new(frame.grid.steps),
            compute: &|at, hands, slot| kernel.compute(at, hands, slot),
        };
        let mut hands = Hands {
            samples: std::mem::take(&mut self.buffer),
            ..Hands::new(tally)
        };
        // Series may become equal by losing their names at once. Absence has no series to compare.
        let names_may_clash = !self.delayed_name_removal() && !function.makes_absence;
        let mut unique = names_may_clash.then(HashSet::new);
        let mut held = 0;
        work.run(&mut hands, &mut |slot| {
            self.take_counts(slot)?;
            if function.is_for_counters && !slot.out.floats.is_empty() {
                self.check_counter_name(&slot.out.labels, span);
            }
            if slot.out.is_empty() {
                return Ok(());
            }
            if !function.keeps_name || slot.drops_name {
                self.drop_name(&mut slot.out);
            }
            if let Some(unique) = &mut unique
                && !unique.insert(slot.out.labels.clone())
            {
                return Err(names::same_labelset());
            }
            self.budget.charge(slot.widest)?;
            held += self.hand_on(&mut slot.out, visit)?;
            self.budget.release(slot.widest);
            Ok(())
        })?;
        self.budget.release(held);
        self.buffer = hands.samples;
        if let (Some(all), Some(part)) = (&mut self.tally.per_step, hands.tally.per_step) {
            for (slot, counted) in all.iter_mut().zip(part) {
                *slot += counted;
            }
        }
        Ok(())
    }

    /// Counts what computing a series took.
    fn take_counts(&mut self, slot: &mut Slot) -> Result<(), EvalError> {
        self.budget.check()?;
        self.budget.charge_bytes(slot.read_bytes)?;
        self.budget.release_bytes(slot.read_bytes);
        self.tally.add(slot.total, slot.read);
        if !slot.notes.is_empty() {
            self.notes.append(std::mem::take(&mut slot.notes));
        }
        // Of the samples, Prometheus holds a window at a time.
        self.budget.touch(slot.widest)
    }

    /// Remarks on a series that does not look like a counter.
    fn check_counter_name(&mut self, labels: &Labels, span: crate::ast::Span) {
        let name = labels.metric_name();
        if name.is_empty() {
            return;
        }
        if self.options.features.type_and_unit_labels {
            let kind = labels.value_of("__type__");
            if kind != "counter" && kind != "histogram" {
                self.notes.type_not_counter(name, kind, span);
            }
            return;
        }
        let suffixes = ["_total", "_sum", "_count", "_bucket"];
        if !suffixes.iter().any(|suffix| name.ends_with(suffix)) {
            self.notes.maybe_not_counter(name, span);
        }
    }
}

/// A scalar as a series without labels.
pub(crate) fn series_of(scalars: &Scalars, grid: &Grid) -> Series {
    let mut series = Series::new(Labels::empty(), grid.steps);
    for step in 0..grid.steps {
        series.set_float(step, scalars.at(step));
    }
    series
}
