//! Series descriptions: `metric{a="b"} 1 2+3x4 _ stale {{count:5}}`, and the start-timestamp lines
//! `metric@st -1m _x3`.
//!
//! The metric is read with the lexer of PromQL, the values by hand. Repetition counts are capped,
//! so that a script cannot ask for more memory than a test should need.

use std::sync::Arc;

use tenbin_model::text::duration::parse_duration_ms;
use tenbin_model::{FloatHistogram, Labels, METRIC_NAME, stale_nan};

use crate::lexer::Lexer;
use crate::parser::literal::{number, unquote};
use crate::token::{Token, TokenKind};

use super::histogram::{self, Described};

/// Most values that one item may stand for.
const MAX_REPEAT: u64 = 1_000_000;

/// One position of a series description.
#[derive(Debug, Clone)]
pub(super) enum SequenceValue {
    /// No sample here.
    Omitted,
    Float(f64),
    Histogram {
        histogram: Arc<FloatHistogram>,
        /// The description names a counter reset hint, so comparisons look at it.
        hint_given: bool,
    },
}

/// A parsed series line.
#[derive(Debug)]
pub(super) struct SeriesLine {
    pub(super) labels: Labels,
    pub(super) values: Vec<SequenceValue>,
}

/// Parses `metric{labels} values`.
pub(super) fn parse_series(line: &str) -> Result<SeriesLine, String> {
    let (labels, rest) = parse_metric(line)?;
    let values = parse_values(rest)?;
    Ok(SeriesLine { labels, values })
}

/// A start timestamp relative to its sample's, or nothing.
pub(super) type StartOffset = Option<i64>;

/// Parses `metric{labels}@st offsets`; `None` when the line is no such line.
pub(super) fn parse_start_line(line: &str) -> Option<Result<(Labels, Vec<StartOffset>), String>> {
    let (head, rest) = line.split_once([' ', '\t'])?;
    let metric = head.strip_suffix("@st")?;
    let parse = || {
        let (labels, _) = parse_metric(metric)?;
        let mut offsets = Vec::new();
        for item in rest.split_whitespace() {
            start_item(item, &mut offsets).map_err(|e| format!("invalid ST item {item:?}: {e}"))?;
        }
        Ok((labels, offsets))
    };
    Some(parse())
}

fn next<'l>(lexer: &mut Lexer<'l>) -> Result<Token<'l>, String> {
    lexer.next_token().map_err(|e| e.message)
}

/// The labels at the front of a line, and what follows them.
fn parse_metric(line: &str) -> Result<(Labels, &str), String> {
    let mut lexer = Lexer::new(line);
    let mut pairs: Vec<(String, String)> = Vec::new();
    if !line.starts_with('{') {
        let name = next(&mut lexer)?;
        if !name.kind.is_metric_name() {
            return Err(format!("unexpected {}", name.description()));
        }
        pairs.push((METRIC_NAME.to_owned(), name.text.to_owned()));
    }
    // Only a brace that directly follows belongs to the metric.
    if line[lexer.position()..].starts_with('{') && !line[lexer.position()..].starts_with("{{") {
        next(&mut lexer)?;
        loop {
            let token = next(&mut lexer)?;
            match token.kind {
                TokenKind::RightBrace => break,
                TokenKind::Comma => {}
                _ => pairs.push(label_pair(&token, &mut lexer)?),
            }
        }
    }
    Ok((Labels::from_pairs(&pairs), &line[lexer.position()..]))
}

/// `name="value"`, or a quoted metric name alone.
fn label_pair(first: &Token<'_>, lexer: &mut Lexer<'_>) -> Result<(String, String), String> {
    let unexpected = |token: &Token<'_>| format!("unexpected {} in label set", token.description());
    let text = |token: &Token<'_>| unquote(token.text).ok_or_else(|| unexpected(token));
    let name = match first.kind {
        TokenKind::Identifier => first.text.to_owned(),
        TokenKind::String => text(first)?,
        _ => return Err(unexpected(first)),
    };
    let mut after = lexer.clone();
    let op = next(&mut after)?;
    if op.kind != TokenKind::Assign {
        return if first.kind == TokenKind::String {
            Ok((METRIC_NAME.to_owned(), name))
        } else {
            Err(unexpected(&op))
        };
    }
    *lexer = after;
    let value = next(lexer)?;
    if value.kind != TokenKind::String {
        return Err(unexpected(&value));
    }
    Ok((name, text(&value)?))
}

fn parse_values(text: &str) -> Result<Vec<SequenceValue>, String> {
    let mut values = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        rest = if rest.starts_with("{{") {
            histogram_item(rest, &mut values)?
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            number_item(&rest[..end], &mut values)
                .map_err(|e| format!("invalid series value {:?}: {e}", &rest[..end]))?;
            &rest[end..]
        };
        rest = rest.trim_start();
    }
    Ok(values)
}

fn repeat_count(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(count) if count <= MAX_REPEAT => Ok(count),
        _ => Err(format!("invalid repetition {text:?}")),
    }
}

/// `_`, `_x3`, `5`, `5x3`, `5+2x3`, `stale`
fn number_item(item: &str, values: &mut Vec<SequenceValue>) -> Result<(), String> {
    if let Some(after) = item.strip_prefix('_') {
        let count = match after.strip_prefix('x') {
            Some(count) => repeat_count(count)?,
            None if after.is_empty() => 1,
            None => return Err("unexpected text after _".to_owned()),
        };
        values.extend((0..count).map(|_| SequenceValue::Omitted));
        return Ok(());
    }
    let (mut value, rest) = number_prefix(item)?;
    if rest.is_empty() {
        values.push(SequenceValue::Float(value));
        return Ok(());
    }
    let (step, rest) = if rest.starts_with('x') {
        (None, rest)
    } else {
        let (step, rest) = number_prefix(rest)?;
        (Some(step), rest)
    };
    let count = repeat_count(rest.strip_prefix('x').ok_or("expected a repetition")?)?;
    for _ in 0..=count {
        values.push(SequenceValue::Float(value));
        // Adding nothing is not the same as adding zero: -0 would become 0.
        if let Some(step) = step {
            value += step;
        }
    }
    Ok(())
}

/// A number with an optional sign at the front of `text`, and the rest.
fn number_prefix(text: &str) -> Result<(f64, &str), String> {
    let (negative, body) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let bytes = body.as_bytes();
    let mut end = 0;
    while end < bytes.len() {
        let exponent_sign = end > 0 && matches!(bytes[end - 1], b'e' | b'E');
        match bytes[end] {
            b'x' => break,
            b'+' | b'-' if !exponent_sign || !bytes[0].is_ascii_digit() => break,
            _ => end += 1,
        }
    }
    let word = &body[..end];
    let magnitude = match word {
        "stale" => stale_nan(),
        _ => number(word)?,
    };
    let value = if negative { -magnitude } else { magnitude };
    Ok((value, &body[end..]))
}

/// `{{...}}`, `{{...}}x3`, `{{...}}+{{...}}x3`; returns what follows.
fn histogram_item<'t>(text: &'t str, values: &mut Vec<SequenceValue>) -> Result<&'t str, String> {
    let (base, rest) = histogram_prefix(text)?;
    let (end, tail_start) = match rest.as_bytes().first() {
        Some(b'+' | b'-') if rest[1..].starts_with("{{") => {
            let (increment, after) = histogram_prefix(&rest[1..])?;
            let (count, after) = repetition(after)?;
            let count = count.ok_or("expected a repetition")?;
            let sign = if rest.starts_with('-') { -1.0 } else { 1.0 };
            push_progression(base, &increment, sign, count, values)?;
            return Ok(after);
        }
        _ => repetition(rest)?,
    };
    let value = sequence_value(base);
    for _ in 0..=end.unwrap_or(0) {
        values.push(value.clone());
    }
    Ok(tail_start)
}

fn sequence_value(described: Described) -> SequenceValue {
    SequenceValue::Histogram {
        histogram: Arc::new(described.histogram),
        hint_given: described.hint_given,
    }
}

fn push_progression(
    base: Described,
    increment: &Described,
    sign: f64,
    count: u64,
    values: &mut Vec<SequenceValue>,
) -> Result<(), String> {
    // Prometheus takes whether a hint was given from the histogram it read last.
    let hint_given = increment.hint_given;
    let mut current = base.histogram;
    for step in 0..=count {
        if step > 0 {
            current = histogram::add(&current, &increment.histogram, sign)?;
        }
        values.push(SequenceValue::Histogram {
            histogram: Arc::new(current.clone()),
            hint_given,
        });
    }
    Ok(())
}

fn histogram_prefix(text: &str) -> Result<(Described, &str), String> {
    let body = text.strip_prefix("{{").ok_or("expected {{")?;
    let (description, rest) = body.split_once("}}").ok_or("missing }}")?;
    Ok((histogram::parse(description)?, rest))
}

/// `x3` at the front of `text`, and the rest.
fn repetition(text: &str) -> Result<(Option<u64>, &str), String> {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (item, rest) = text.split_at(end);
    match item.strip_prefix('x') {
        Some(count) => Ok((Some(repeat_count(count)?), rest)),
        None if item.is_empty() => Ok((None, rest)),
        None => Err(format!("unexpected {item:?} after a histogram")),
    }
}

/// `_`, `_x3`, `-1m`, `-1mx3`, `-1m+5sx3`
fn start_item(item: &str, offsets: &mut Vec<StartOffset>) -> Result<(), String> {
    if let Some(after) = item.strip_prefix('_') {
        let count = match after.strip_prefix('x') {
            Some(count) => repeat_count(count)?,
            None => 1,
        };
        offsets.extend((0..count).map(|_| None));
        return Ok(());
    }
    let (mut offset_ms, rest) = duration_prefix(item)?;
    let (step_ms, rest) = if rest.starts_with(['+', '-']) {
        duration_prefix(rest)?
    } else {
        (0, rest)
    };
    let count = match rest.strip_prefix('x') {
        Some(count) => repeat_count(count)?,
        None if rest.is_empty() && step_ms == 0 => 0,
        None => return Err("expected a repetition".to_owned()),
    };
    for _ in 0..=count {
        offsets.push(Some(offset_ms));
        offset_ms = offset_ms.saturating_add(step_ms);
    }
    Ok(())
}

/// A signed duration of one unit at the front of `text`, and the rest.
fn duration_prefix(text: &str) -> Result<(i64, &str), String> {
    let (sign, body) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    let digits = body.bytes().take_while(u8::is_ascii_digit).count();
    let unit = body[digits..]
        .bytes()
        .take_while(|b| b.is_ascii_alphabetic() && *b != b'x');
    let end = digits + unit.count();
    let duration_ms = parse_duration_ms(&body[..end]).map_err(|e| e.to_string())?;
    Ok((sign * duration_ms, &body[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(line: &str) -> Vec<String> {
        let values = parse_series(line).unwrap().values;
        let show = |value: &SequenceValue| match value {
            SequenceValue::Omitted => "_".to_owned(),
            SequenceValue::Float(value) => value.to_string(),
            SequenceValue::Histogram { histogram, .. } => format!("h{}", histogram.count),
        };
        values.iter().map(show).collect()
    }

    #[test]
    fn numbers_repeat_and_progress() {
        assert_eq!(floats("a 1 -2 _ 1e-3"), ["1", "-2", "_", "0.001"]);
        assert_eq!(floats("a 5x2 _x3"), ["5", "5", "5", "_", "_", "_"]);
        assert_eq!(floats("a 1+2x2 3-1x1"), ["1", "3", "5", "3", "2"]);
        assert_eq!(floats("a -1-2x1 0+0.5x1"), ["-1", "-3", "0", "0.5"]);
        assert_eq!(
            floats("a Inf -Inf NaN -0x1"),
            ["inf", "-inf", "NaN", "-0", "-0"]
        );
        assert!(parse_series("a 5xx").is_err());
        assert!(parse_series("a 1x99999999999").is_err());
        let stale = parse_series("a stale").unwrap();
        let [SequenceValue::Float(value)] = stale.values[..] else {
            panic!("{stale:?}");
        };
        assert!(tenbin_model::is_stale(value));
    }

    #[test]
    fn metrics_have_names_of_every_form() {
        let labels = |line: &str| parse_series(line).unwrap().labels.to_string();
        assert_eq!(labels("a{b=\"c d\"} 1"), "{__name__=\"a\", b=\"c d\"}");
        assert_eq!(
            labels("{\"x.y\", \"l m\"='1',} 1"),
            "{__name__=\"x.y\", \"l m\"=\"1\"}"
        );
        assert_eq!(labels("{} 1"), "{}");
        assert_eq!(labels("sum 1"), "{__name__=\"sum\"}");
        assert!(parse_series("a{b} 1").is_err());
    }

    #[test]
    fn histograms_repeat_and_progress() {
        assert_eq!(floats("a {{count:5}}x1 {{}}"), ["h5", "h5", "h0"]);
        assert_eq!(
            floats("a {{count:5 sum:1}}+{{count:2}}x2 7"),
            ["h5", "h7", "h9", "7"]
        );
    }

    #[test]
    fn start_lines_give_offsets() {
        let (labels, offsets) = parse_start_line("a{b=\"c\"}@st -30s _ -1mx1 0s-1sx2")
            .unwrap()
            .unwrap();
        assert_eq!(labels.value_of("b"), "c");
        assert_eq!(
            offsets,
            [
                Some(-30_000),
                None,
                Some(-60_000),
                Some(-60_000),
                Some(0),
                Some(-1_000),
                Some(-2_000)
            ]
        );
        assert!(parse_start_line("a 1 2").is_none());
    }
}
