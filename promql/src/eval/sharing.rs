//! Which subtrees of a plan are the same, so that they are evaluated once.
//!
//! Two nodes are the same when they have the same operators, functions, matchers, times and
//! operands, wherever they stand in the query, and are evaluated at the same times: directly, inside
//! equal subqueries, or at the first step only. Marked are the largest such subtrees that select
//! series; what is computed from constants costs less than keeping it.
//!
//! Invariant: nothing here recurses along the left sides of a chain of operators, which may be a
//! thousand terms long.

use std::fmt::Write as _;

use hashbrown::HashMap;
use tenbin_model::Matcher;

use crate::ast::{Span, VectorMatching};
use crate::eval::plan::{Binary, BinaryShape, Kind, Node, RangeSelector, Selector};

/// The place of a node among its likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Likeness {
    /// Equal for nodes that have the same value.
    pub(crate) class: u32,
    /// How often nodes of the class will be evaluated; 0 and 1 for those not worth keeping.
    pub(crate) uses: u32,
}

/// What is known of a class.
#[derive(Default)]
struct Class {
    /// A selector is somewhere inside.
    selects: bool,
    /// Of a selector: some occurrence needs values.
    needs_values: bool,
    uses: u32,
}

/// Numbers the classes and gathers what is to know of each.
#[derive(Default)]
struct Census {
    /// Classes by description.
    numbers: HashMap<String, u32>,
    classes: Vec<Class>,
}

/// Marks the subtrees that occur more than once.
pub(crate) fn mark(root: &Node<'_>) {
    let mut census = Census::default();
    let top = census.number("top".to_owned(), &[]);
    census.visit(root, top);
    census.count(root);
    census.settle(root);
}

/// The places in the query of a subtree's parts, in an order that is the same for equal subtrees.
pub(crate) fn spans(root: &Node<'_>) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        spans.push(node.span);
        if let Kind::Range(range) = &node.kind {
            spans.push(range.selector.span);
        }
        operands(node, &mut |operand| open.push(operand));
    }
    spans
}

/// Calls `f` for every direct operand of a node.
fn operands<'n, 'q>(node: &'n Node<'q>, f: &mut dyn FnMut(&'n Node<'q>)) {
    match &node.kind {
        Kind::Number(_) | Kind::Text(_) | Kind::Selector(_) | Kind::Range(_) => {}
        Kind::Subquery(subquery) => f(&subquery.inner),
        Kind::Call(call) => call.args.iter().for_each(f),
        Kind::Aggregate(aggregate) => {
            f(&aggregate.input);
            aggregate.param.iter().for_each(f);
        }
        Kind::Binary(binary) => {
            f(&binary.lhs);
            f(&binary.rhs);
        }
        Kind::Negate(inner) | Kind::Same(inner) | Kind::Once(inner) => f(inner),
    }
}

/// Calls `f` for the operands that are evaluated as nodes: some functions read selectors themselves.
fn evaluated<'n, 'q>(node: &'n Node<'q>, f: &mut dyn FnMut(&'n Node<'q>)) {
    match &node.kind {
        Kind::Call(call) if call.name == "info" => call.args.iter().take(1).for_each(f),
        Kind::Call(call) if matches!(call.name, "timestamp" | "start_timestamp") => {
            let nodes = call.args.iter();
            nodes
                .filter(|arg| !matches!(arg.kind, Kind::Selector(_)))
                .for_each(f);
        }
        _ => operands(node, f),
    }
}

impl Census {
    /// The class of what is described, made of operands of the classes given.
    fn number(&mut self, mut description: String, parts: &[u32]) -> u32 {
        for part in parts {
            let _ = write!(description, " #{part}");
        }
        let selects = parts.iter().any(|part| self.class(*part).selects);
        let next = self.classes.len() as u32;
        let number = *self.numbers.entry(description).or_insert(next);
        if number == next {
            self.classes.push(Class {
                selects,
                ..Class::default()
            });
        }
        number
    }

    fn class(&mut self, number: u32) -> &mut Class {
        &mut self.classes[number as usize]
    }

    /// Numbers the nodes of a subtree that is evaluated at the times that `at` stands for.
    fn visit(&mut self, node: &Node<'_>, at: u32) -> u32 {
        let mut chain: Vec<(&Node<'_>, &Binary<'_>)> = Vec::new();
        let mut first = node;
        while let Kind::Binary(binary) = &first.kind {
            chain.push((first, binary));
            first = &binary.lhs;
        }
        let mut class = self.visit_term(first, at);
        first.set_class(class);
        for (node, binary) in chain.into_iter().rev() {
            let rhs = self.visit(&binary.rhs, at);
            let mut text = format!("{at} {} {}", binary.op.as_str(), binary.return_bool);
            match binary.shape {
                BinaryShape::Vectors(matching) => describe_matching(matching, &mut text),
                BinaryShape::Scalars => text.push_str(" scalars"),
                BinaryShape::VectorScalar => text.push_str(" with scalar"),
                BinaryShape::ScalarVector => text.push_str(" of scalar"),
            }
            class = self.number(text, &[class, rhs]);
            node.set_class(class);
        }
        class
    }

    /// As [`Census::visit`] for what is no binary operation.
    fn visit_term(&mut self, node: &Node<'_>, at: u32) -> u32 {
        match &node.kind {
            Kind::Number(value) => self.number(format!("number {:x}", value.to_bits()), &[]),
            Kind::Text(text) => {
                self.number(format!("{:?} {:?}", text.value, text.invalid_bytes), &[])
            }
            Kind::Selector(selector) => self.selector(selector, 0, at),
            Kind::Range(range) => self.selector(&range.selector, range.range_ms, at),
            Kind::Subquery(subquery) => {
                let (range, step, time) = (subquery.range_ms, subquery.step_ms, subquery.time);
                let text = format!("{at} subquery {range} {step} {time:?}");
                let inside = self.number(text, &[]);
                let inner = self.visit(&subquery.inner, inside);
                self.number("subquery of".to_owned(), &[inner])
            }
            Kind::Call(call) => {
                let parts: Vec<u32> = call.args.iter().map(|arg| self.visit(arg, at)).collect();
                let text = format!("{at} call {} {:?}", call.name, call.info_time);
                self.number(text, &parts)
            }
            Kind::Aggregate(aggregate) => {
                let mut parts = vec![self.visit(&aggregate.input, at)];
                if let Some(param) = &aggregate.param {
                    parts.push(self.visit(param, at));
                }
                let (op, names) = (aggregate.op.as_str(), &aggregate.grouping);
                let text = format!("{at} {op} {} {names:?}", aggregate.without);
                self.number(text, &parts)
            }
            Kind::Negate(inner) => {
                let inner = self.visit(inner, at);
                self.number("minus".to_owned(), &[inner])
            }
            Kind::Same(inner) => {
                let inner = self.visit(inner, at);
                self.number("plus".to_owned(), &[inner])
            }
            Kind::Once(inner) => {
                let first = self.number(format!("{at} first step"), &[]);
                let inner = self.visit(inner, first);
                self.number(format!("{at} all steps"), &[inner])
            }
            Kind::Binary(_) => self.visit(node, at),
        }
    }

    fn selector(&mut self, selector: &Selector<'_>, range_ms: i64, at: u32) -> u32 {
        let mut text = format!("{at} select {range_ms} {:?}", selector.time);
        let modes = (selector.anchored, selector.smoothed, selector.stats_only);
        let _ = write!(text, " {modes:?}");
        for matcher in selector.matchers {
            describe_matcher(matcher, &mut text);
        }
        let number = self.number(text, &[]);
        let class = self.class(number);
        class.selects = true;
        class.needs_values |= !selector.presence_only.get();
        number
    }

    /// Counts how often each class is evaluated when what came before is taken from memory.
    fn count(&mut self, root: &Node<'_>) {
        let mut open = vec![root];
        while let Some(node) = open.pop() {
            let class = self.class(node.like.get().class);
            // Range vectors are no results: only what is inside a subquery is.
            if !matches!(node.kind, Kind::Range(_) | Kind::Subquery(_)) {
                class.uses += 1;
                if class.uses > 1 && class.selects {
                    continue;
                }
            }
            evaluated(node, &mut |operand| open.push(operand));
        }
    }

    /// Writes into the nodes what was found.
    fn settle(&mut self, root: &Node<'_>) {
        let mut open = vec![root];
        while let Some(node) = open.pop() {
            let mut like = node.like.get();
            let class = self.class(like.class);
            like.uses = if class.selects { class.uses } else { 0 };
            node.like.set(like);
            let (Kind::Selector(selector) | Kind::Range(RangeSelector { selector, .. })) =
                &node.kind
            else {
                operands(node, &mut |operand| open.push(operand));
                continue;
            };
            let unused = selector.presence_only.get() && !class.needs_values;
            selector.presence_only.set(unused);
        }
    }
}

fn describe_matcher(matcher: &Matcher, text: &mut String) {
    let (name, op, value) = (matcher.name(), matcher.op().as_str(), matcher.value());
    let _ = write!(text, " {name:?}{op}{value:?}");
}

fn describe_matching(matching: &VectorMatching, text: &mut String) {
    let fills = [matching.fill_left, matching.fill_right].map(|fill| fill.map(f64::to_bits));
    let _ = write!(
        text,
        " {:?} {} {:?} {:?} {fills:?}",
        matching.cardinality, matching.on, matching.labels, matching.include
    );
}
