//! Results of subtrees that occur more than once in a query, kept from one occurrence to the next.
//!
//! What is kept is all that evaluating the subtree does: its series, its remarks, the samples that
//! it touched, and how many it held when. Another occurrence lets all that happen again, with the
//! remarks at its own place in the query, so that nobody can tell. Kept series count as bytes held
//! but not as samples. When memory becomes scarce they are forgotten and evaluated anew.

#[cfg(all(test, feature = "testkit"))]
mod tests;

use hashbrown::HashMap;

use crate::ast::Span;
use crate::error::EvalError;
use crate::eval::budget::Usage;
use crate::eval::column::{Data, Series};
use crate::eval::grid::Grid;
use crate::eval::notes::Notes;
use crate::eval::plan::Node;
use crate::eval::sharing::spans;
use crate::eval::stats::Tally;
use crate::eval::{Evaluator, Fate, Visit};

/// Outcomes by the class of their nodes.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    outcomes: HashMap<u32, Outcome>,
    /// Bytes of the series in all of them.
    bytes: u64,
}

/// What evaluating a node did.
#[derive(Debug)]
struct Outcome {
    /// The times of evaluation.
    grid: Grid,
    /// Further occurrences.
    uses_left: u32,
    result: Kind,
    bytes: u64,
    notes: Notes,
    /// The places that the notes may name.
    spans: Vec<Span>,
    tally: Tally,
}

#[derive(Debug)]
enum Kind {
    /// A result as a whole.
    Whole(Data, Usage),
    /// Series that were handed on one at a time, and what was held after the last one: all of them.
    Series(Vec<Handed>, Usage),
}

/// A series that was handed on.
#[derive(Debug, Clone)]
struct Handed {
    series: Series,
    /// What happened since the one before.
    usage: Usage,
}

impl Kept {
    fn put(&mut self, class: u32, outcome: Outcome) {
        self.bytes += outcome.bytes;
        self.outcomes.insert(class, outcome);
    }

    /// Takes out what is known for a node.
    fn take(&mut self, node: &Node<'_>, grid: &Grid) -> Option<Outcome> {
        let class = node.like.get().class;
        let mut outcome = self.outcomes.remove(&class)?;
        self.bytes -= outcome.bytes;
        if outcome.grid != *grid {
            return None;
        }
        outcome.uses_left -= 1;
        Some(outcome)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Outcome {
    /// The notes with the places of an equal node.
    fn notes_at(&self, node: &Node<'_>) -> Notes {
        let mut notes = self.notes.clone();
        if !notes.is_empty() {
            let places = self.spans.iter().copied().zip(spans(node)).collect();
            notes.relocate(&places);
        }
        notes
    }
}

/// Notes and counts from before a shared node, to be continued after it.
struct Outside {
    notes: Notes,
    tally: Tally,
}

impl<'a> Evaluator<'a> {
    /// Counts and remarks of what follows are kept apart.
    fn step_aside(&mut self) -> Outside {
        let part = self.tally.part();
        Outside {
            notes: std::mem::take(&mut self.notes),
            tally: std::mem::replace(&mut self.tally, part),
        }
    }

    /// Continues counts and remarks; returns those from in between.
    fn step_back(&mut self, outside: Outside) -> (Notes, Tally) {
        let notes = std::mem::replace(&mut self.notes, outside.notes);
        let tally = std::mem::replace(&mut self.tally, outside.tally);
        self.tally.add_part(&tally);
        if !notes.is_empty() {
            self.notes.append(notes.clone());
        }
        (notes, tally)
    }

    fn keep_outcome(
        &mut self,
        node: &Node<'_>,
        grid: &Grid,
        (result, bytes): (Kind, u64),
        (notes, tally): (Notes, Tally),
    ) {
        let like = node.like.get();
        let spans = if notes.is_empty() {
            Vec::new()
        } else {
            spans(node)
        };
        let outcome = Outcome {
            grid: *grid,
            uses_left: like.uses - 1,
            result,
            bytes,
            notes,
            spans,
            tally,
        };
        self.kept.put(like.class, outcome);
    }

    /// What is known for a node, after its counts and remarks were taken over.
    fn known(&mut self, node: &Node<'_>, grid: &Grid) -> Option<Outcome> {
        if self.budget.is_tight() {
            self.kept.clear();
        }
        let outcome = self.kept.take(node, grid)?;
        self.tally.add_part(&outcome.tally);
        self.notes.append(outcome.notes_at(node));
        Some(outcome)
    }

    /// Evaluates a node that has equals, or takes the result of one of them.
    pub(crate) fn eval_shared(&mut self, node: &Node<'_>, grid: &Grid) -> Result<Data, EvalError> {
        if let Some(mut outcome) = self.known(node, grid)
            && let Kind::Whole(data, usage) = outcome.result
        {
            self.budget.repeat(usage)?;
            if outcome.uses_left == 0 {
                return Ok(data);
            }
            outcome.result = Kind::Whole(data.clone(), usage);
            self.kept.put(node.like.get().class, outcome);
            return Ok(data);
        }
        let outside = self.step_aside();
        let mark = self.budget.mark();
        let data = self.eval_anew(node, grid)?;
        let usage = self.budget.since(mark);
        let apart = self.step_back(outside);
        let bytes = match &data {
            Data::Scalar(_) => 8 * grid.steps as u64,
            Data::Vector(all) => all.iter().map(Series::byte_len).sum(),
            Data::Text(text) => text.len() as u64,
        };
        if self.budget.may_keep(self.kept.bytes + bytes) {
            let result = Kind::Whole(data.clone(), usage);
            self.keep_outcome(node, grid, (result, bytes), apart);
        }
        Ok(data)
    }

    /// Hands on the series of a node that has equals, anew or as they were handed on before.
    pub(crate) fn visit_shared(
        &mut self,
        node: &Node<'_>,
        grid: &Grid,
        visit: Visit<'_, 'a>,
    ) -> Result<(), EvalError> {
        if let Some(mut outcome) = self.known(node, grid)
            && let Kind::Series(all, last) = outcome.result
        {
            if outcome.uses_left == 0 {
                return self.repeat(all.into_iter(), last, visit);
            }
            self.repeat(all.iter().cloned(), last, visit)?;
            outcome.result = Kind::Series(all, last);
            self.kept.put(node.like.get().class, outcome);
            return Ok(());
        }
        let outside = self.step_aside();
        let mut of_visitor = Notes::default();
        let mut all = Some(Vec::new());
        let (mut bytes, mut only_looked_at) = (0, 0);
        let mut mark = self.budget.mark();
        self.visit_anew(node, grid, &mut |evaluator, series| {
            let usage = evaluator.budget.since(mark);
            bytes += series.byte_len();
            if !evaluator.budget.may_keep(evaluator.kept.bytes + bytes) {
                all = None;
            }
            if let Some(all) = &mut all {
                let series = series.clone();
                all.push(Handed { series, usage });
            }
            let size = series.size();
            std::mem::swap(&mut evaluator.notes, &mut of_visitor);
            let fate = visit(evaluator, series)?;
            std::mem::swap(&mut evaluator.notes, &mut of_visitor);
            if let Fate::Done = fate {
                only_looked_at += size;
            }
            mark = evaluator.budget.mark();
            Ok(fate)
        })?;
        let mut last = self.budget.since(mark);
        last.grown += only_looked_at.cast_signed();
        let apart = self.step_back(outside);
        self.notes.append(of_visitor);
        if let Some(all) = all {
            self.keep_outcome(node, grid, (Kind::Series(all, last), bytes), apart);
        }
        Ok(())
    }

    /// Hands series on as they were handed on before.
    fn repeat(
        &mut self,
        all: impl Iterator<Item = Handed>,
        mut last: Usage,
        visit: Visit<'_, 'a>,
    ) -> Result<(), EvalError> {
        for Handed { mut series, usage } in all {
            self.budget.check()?;
            self.budget.repeat(usage)?;
            let size = series.size();
            if let Fate::Done = visit(self, &mut series)? {
                last.grown -= size.cast_signed();
            }
        }
        self.budget.repeat(last)
    }
}
