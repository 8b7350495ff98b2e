//! Scripts: lines to commands.
//!
//! A blank line or a comment ends a command. A command that cannot be read is kept as an error in
//! its place, so that one bad line costs one command and is reported with its line number.
//! Source: Prometheus 3.14 `promql/promqltest/test.go`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tenbin_model::text::duration::parse_duration_ms;
use tenbin_model::{Labels, Regex};

use crate::ast::Expr;
use crate::engine::QueryRange;
use crate::options::Features;
use crate::parser::literal::{number, unquote};
use crate::parser::parse as parse_expr;

use super::series::{SequenceValue, StartOffset, parse_series, parse_start_line};

/// One command of a script.
#[derive(Debug)]
pub(super) enum Command {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

/// A line that could not be read.
#[derive(Debug)]
pub(super) struct ScriptError {
    /// From 1.
    pub(super) line: usize,
    pub(super) reason: String,
    /// The command was an evaluation.
    pub(super) in_eval: bool,
}

/// Samples for the store.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) line: usize,
    pub(super) step_ms: i64,
    pub(super) with_nhcb: bool,
    pub(super) series: Vec<LoadedSeries>,
}

#[derive(Debug)]
pub(super) struct LoadedSeries {
    pub(super) labels: Labels,
    pub(super) values: Vec<SequenceValue>,
    /// As many as values, or none.
    pub(super) start_offsets: Vec<StartOffset>,
}

/// A query and what is expected of it.
#[derive(Debug)]
pub(super) struct Eval {
    /// From 1.
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) expr: Expr,
    /// Times that expected values belong to. For an instant query that is expected to return a
    /// range vector, those of that vector.
    pub(super) range: QueryRange,
    pub(super) is_range: bool,
    pub(super) ordered: bool,
    /// The query must fail, with a text that satisfies this.
    pub(super) fail: Option<TextMatch>,
    pub(super) warn: AnnotationRule,
    pub(super) info: AnnotationRule,
    pub(super) expected: Expected,
    /// The result has no counterpart in a range query.
    pub(super) instant_only: bool,
}

/// What an evaluation should return.
#[derive(Debug)]
pub(super) enum Expected {
    Series(Vec<(Labels, Vec<SequenceValue>)>),
    Scalar(f64),
    String(String),
}

/// A condition on an error or annotation text.
#[derive(Debug)]
pub(super) enum TextMatch {
    Any,
    Exact(String),
    Regex(Regex),
}

impl TextMatch {
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(expected) => expected == text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    fn regex(pattern: &str) -> Result<Self, String> {
        // Patterns of scripts may match anywhere in the text.
        let anywhere = format!(".*(?:{pattern}).*");
        Regex::new(&anywhere)
            .map(Self::Regex)
            .map_err(|e| format!("invalid regex {pattern}: {e}"))
    }
}

/// What is expected of the annotations of one severity. Without any rule they do not matter.
#[derive(Debug, Default)]
pub(super) struct AnnotationRule {
    /// At least one, whatever its text (`eval_warn`, `eval_info`).
    pub(super) some: bool,
    /// None at all.
    pub(super) none: bool,
    /// Each text satisfies one of these, and each of these is satisfied.
    pub(super) texts: Vec<TextMatch>,
}

/// Reads a whole script.
pub(super) fn parse(text: &str) -> Vec<Result<Command, ScriptError>> {
    let lines: Vec<&str> = text
        .lines()
        .map(|line| {
            let line = line.trim();
            if line.starts_with('#') { "" } else { line }
        })
        .collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].is_empty() {
            at += 1;
            continue;
        }
        let word = lines[at].split([' ', '\t']).next().unwrap_or("");
        let word = word.to_ascii_lowercase();
        if word == "clear" {
            // The only command that needs no blank line after it.
            commands.push(Ok(Command::Clear));
            at += 1;
            continue;
        }
        let length = lines[at..].iter().take_while(|l| !l.is_empty()).count();
        let block = &lines[at..at + length];
        let in_eval = word.starts_with("eval");
        let (command, used) = if word.starts_with("load") {
            (load(block, at + 1).map(Command::Load), length)
        } else if in_eval {
            match eval(block, at + 1) {
                Ok((eval, used)) => (Ok(Command::Eval(Box::new(eval))), used),
                Err(e) => (Err(e), length),
            }
        } else {
            (Err((0, format!("invalid command {:?}", lines[at]))), 1)
        };
        commands.push(command.map_err(|(offset, reason)| ScriptError {
            line: at + 1 + offset,
            reason,
            in_eval,
        }));
        at += used;
    }
    commands
}

/// A reason and the line that it is about, counted from the start of the block.
type BlockError = (usize, String);

fn duration_ms(text: &str) -> Result<i64, String> {
    parse_duration_ms(text).map_err(|e| e.to_string())
}

fn load(block: &[&str], line: usize) -> Result<Load, BlockError> {
    let mut words = block[0].split_whitespace();
    let with_nhcb = match words.next() {
        Some("load") => false,
        Some("load_with_nhcb") => true,
        _ => return Err((0, "invalid load command".to_owned())),
    };
    let (Some(step), None) = (words.next(), words.next()) else {
        return Err((
            0,
            "invalid load command: load[_with_nhcb] <step>".to_owned(),
        ));
    };
    let step_ms = duration_ms(step).map_err(|e| (0, e))?;
    let mut load = Load {
        line,
        step_ms,
        with_nhcb,
        series: Vec::new(),
    };
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut pending: Option<(usize, Labels, Vec<StartOffset>)> = None;
    for (offset, text) in block.iter().enumerate().skip(1) {
        if let Some(start_line) = parse_start_line(text) {
            if let Some((at, ..)) = pending {
                return Err((at, "@st line has no following sample line".to_owned()));
            }
            let (labels, offsets) = start_line.map_err(|e| (offset, e))?;
            pending = Some((offset, labels, offsets));
            continue;
        }
        let series = parse_series(text).map_err(|e| (offset, e))?;
        let start_offsets = match pending.take() {
            None => Vec::new(),
            Some((at, labels, _)) if labels != series.labels => {
                return Err((at, "@st metric does not match the next line's".to_owned()));
            }
            Some((at, _, offsets)) if offsets.len() != series.values.len() => {
                let (got, want) = (offsets.len(), series.values.len());
                return Err((at, format!("@st line has {got} values, samples are {want}")));
            }
            Some((_, _, offsets)) => offsets,
        };
        let loaded = LoadedSeries {
            labels: series.labels,
            values: series.values,
            start_offsets,
        };
        // Of several lines for one series the last counts.
        match known.entry(loaded.labels.clone()) {
            Entry::Occupied(at) => load.series[*at.get()] = loaded,
            Entry::Vacant(new) => {
                new.insert(load.series.len());
                load.series.push(loaded);
            }
        }
    }
    match pending {
        Some((at, ..)) => Err((at, "@st line has no following sample line".to_owned())),
        None => Ok(load),
    }
}

/// Splits the first word off.
fn word(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}

/// Consumes `keyword` and the word after it.
fn keyword_value<'t>(text: &'t str, keyword: &str) -> Result<(&'t str, &'t str), String> {
    let (found, rest) = word(text);
    if found != keyword {
        return Err(format!("expected {keyword:?}, found {found:?}"));
    }
    Ok(word(rest))
}

/// `from <a> to <b> step <c>` at the front of `text`, and the rest.
fn time_range(text: &str) -> Result<(QueryRange, &str), String> {
    let (from, rest) = keyword_value(text, "from")?;
    let (to, rest) = keyword_value(rest, "to")?;
    let (step, rest) = keyword_value(rest, "step")?;
    let range = QueryRange {
        start_ms: duration_ms(from)?,
        end_ms: duration_ms(to)?,
        step_ms: duration_ms(step)?,
    };
    if range.end_ms < range.start_ms {
        return Err(format!(
            "end timestamp ({to}) is before start timestamp ({from})"
        ));
    }
    Ok((range, rest))
}

/// The evaluation and how many lines of the block belong to it.
fn eval(block: &[&str], line: usize) -> Result<(Eval, usize), BlockError> {
    let mut eval = eval_head(block[0], line).map_err(|e| (0, e))?;
    let mut range_vector = false;
    for (offset, text) in block.iter().enumerate().skip(1) {
        let fail = |reason: String| (offset, reason);
        if let Some(rest) = text.strip_prefix("expected_fail_message") {
            eval.fail = Some(TextMatch::Exact(rest.trim().to_owned()));
            return Ok((eval, offset + 1));
        }
        if let Some(rest) = text.strip_prefix("expected_fail_regexp") {
            eval.fail = Some(TextMatch::regex(rest.trim()).map_err(fail)?);
            return Ok((eval, offset + 1));
        }
        if let Some(rest) = text.strip_prefix("expect range vector") {
            (eval.range, _) = time_range(rest.trim_start()).map_err(fail)?;
            eval.instant_only = true;
            range_vector = true;
        } else if let Some(rest) = text.strip_prefix("expect string") {
            let string = unquote(rest.trim_start());
            let string = string.ok_or_else(|| fail("expected a quoted string".to_owned()))?;
            eval.expected = Expected::String(string);
            eval.instant_only = true;
        } else if word(text).0 == "expect" {
            expectation(&mut eval, word(text).1).map_err(fail)?;
        } else if let Some(value) = lone_number(text) {
            eval.expected = Expected::Scalar(value);
            return Ok((eval, offset + 1));
        } else {
            let series = parse_series(text).map_err(fail)?;
            if series.values.len() > 1 && !eval.is_range && !range_vector {
                return Err(fail("several values in an instant evaluation".to_owned()));
            }
            match &mut eval.expected {
                Expected::Series(list) => list.push((series.labels, series.values)),
                other => *other = Expected::Series(vec![(series.labels, series.values)]),
            }
        }
    }
    Ok((eval, block.len()))
}

/// A number with nothing else on the line: a scalar result.
fn lone_number(text: &str) -> Option<f64> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = number(magnitude).ok()?;
    Some(if negative { -value } else { value })
}

/// `eval instant at <t> <expr>` or `eval range from <a> to <b> step <c> <expr>`.
fn eval_head(text: &str, line: usize) -> Result<Eval, String> {
    let (command, rest) = word(text);
    let (kind, rest) = word(rest);
    let (range, is_range, query) = match kind {
        "instant" => {
            let (at, query) = keyword_value(rest, "at")?;
            (QueryRange::instant(duration_ms(at)?), false, query)
        }
        "range" => {
            let (range, query) = time_range(rest)?;
            (range, true, query)
        }
        _ => return Err(format!("expected instant or range, found {kind:?}")),
    };
    let expr = parse_expr(query, &Features::all_for_tests()).map_err(|e| e.to_string())?;
    let mut eval = Eval {
        line,
        text: query.to_owned(),
        expr,
        range,
        is_range,
        ordered: false,
        fail: None,
        warn: AnnotationRule::default(),
        info: AnnotationRule::default(),
        expected: Expected::Series(Vec::new()),
        instant_only: false,
    };
    match command {
        "eval" => {}
        "eval_fail" => eval.fail = Some(TextMatch::Any),
        "eval_warn" => eval.warn.some = true,
        "eval_info" => eval.info.some = true,
        "eval_ordered" => eval.ordered = true,
        _ => return Err(format!("invalid command {command:?}")),
    }
    Ok(eval)
}

/// What follows the word `expect`: `fail msg: text`, `no_warn`, ...
fn expectation(eval: &mut Eval, text: &str) -> Result<(), String> {
    let (kind, rest) = word(text);
    let condition = if rest.is_empty() {
        TextMatch::Any
    } else if let Some(message) = rest.strip_prefix("msg:") {
        TextMatch::Exact(message.trim().to_owned())
    } else if let Some(pattern) = rest.strip_prefix("regex:") {
        TextMatch::regex(pattern.trim())?
    } else {
        return Err(format!("expected msg: or regex:, found {rest:?}"));
    };
    match kind {
        "ordered" => eval.ordered = true,
        "fail" if eval.fail.is_some() => return Err("several expect fail lines".to_owned()),
        "fail" => eval.fail = Some(condition),
        "warn" => eval.warn.texts.push(condition),
        "info" => eval.info.texts.push(condition),
        "no_warn" => eval.warn.none = true,
        "no_info" => eval.info.none = true,
        _ => return Err(format!("invalid expectation {kind:?}")),
    }
    let contradicts = |rule: &AnnotationRule| rule.none && !rule.texts.is_empty();
    if contradicts(&eval.warn) || contradicts(&eval.info) {
        return Err("annotations are expected and forbidden at once".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_end_at_blank_lines_and_comments() {
        let commands = parse(
            "load 10s\n  a 1 2\n\n# note\neval instant at 10s a\n  a 2\n  # ends the block\n  b 3\n\
             clear\neval range from 0 to 1m step 30s a + b\n",
        );
        let show = |c: &Result<Command, ScriptError>| match c {
            Ok(Command::Clear) => "clear".to_owned(),
            Ok(Command::Load(l)) => format!("load {} of {}", l.series.len(), l.line),
            Ok(Command::Eval(e)) => format!("eval {} at line {}", e.text, e.line),
            Err(e) => format!("error in line {}: {}", e.line, e.reason),
        };
        let shown: Vec<String> = commands.iter().map(show).collect();
        assert_eq!(
            shown,
            [
                "load 1 of 1",
                "eval a at line 5",
                "error in line 8: invalid command \"b 3\"",
                "clear",
                "eval a + b at line 10",
            ]
        );
    }

    #[test]
    fn expectations_are_read() {
        let commands = parse(
            "eval instant at 5m a\n expect fail msg: some text\n\n\
             eval_fail instant at 5m a\n expected_fail_regexp b.d\n\n\
             eval instant at 5m a[1m]\n expect range vector from 10s to 1m step 10s\n \
             expect warn regex: w+\n expect no_info\n a 1 2\n\n\
             eval instant at 5m a\n expect warn\n expect no_warn\n",
        );
        let evals: Vec<&Eval> = commands[..3]
            .iter()
            .map(|c| match c {
                Ok(Command::Eval(e)) => &**e,
                other => panic!("{other:?}"),
            })
            .collect();
        let fails = |i: usize, text: &str| evals[i].fail.as_ref().unwrap().matches(text);
        assert!(fails(0, "some text") && !fails(0, "some texts"));
        assert!(fails(1, "a bad one") && !fails(1, "good"));
        assert_eq!(evals[2].range.step_ms, 10_000);
        assert!(evals[2].instant_only && evals[2].info.none);
        assert!(evals[2].warn.texts[0].matches("www"));
        assert!(commands[3].is_err());
    }

    #[test]
    fn start_lines_need_their_samples() {
        let reason = |text: &str| match parse(text).remove(0) {
            Err(e) => e.reason,
            Ok(command) => panic!("{command:?}"),
        };
        assert!(reason("load 1m\n a@st 0s").contains("no following"));
        assert!(reason("load 1m\n a@st 0s\n b 1").contains("does not match"));
        assert!(reason("load 1m\n a@st 0s\n a 1 2").contains("has 1 values"));
        assert!(matches!(
            parse("load 1m\n a@st -1s _\n a 1 2").remove(0),
            Ok(Command::Load(_))
        ));
    }
}
