//! Warnings and infos that accompany a query result.
//!
//! Two annotations are the same when severity and text are; the position in the query is added when
//! they are rendered, so one text keeps the position where it first arose. Source: Prometheus
//! `util/annotations`.

use std::ops::Range;

/// How much an annotation should worry the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The result may be wrong or incomplete.
    Warning,
    /// The result is right but perhaps not what was meant.
    Info,
}

/// One remark on a query result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// Warning or info.
    pub severity: Severity,
    /// The full text, with its `PromQL warning: ` or `PromQL info: ` prefix where it has one.
    pub text: String,
    /// Byte range in the query that the remark is about.
    pub position: Option<Range<usize>>,
}

/// A set of annotations in order of first appearance.
#[derive(Debug, Clone, Default)]
pub struct Annotations {
    list: Vec<Annotation>,
}

/// At most this many of each severity are rendered; Prometheus' limit.
pub const MAX_RENDERED: usize = 10;

impl Annotations {
    /// Adds an annotation unless one with the same severity and text is there.
    pub fn add(&mut self, annotation: Annotation) {
        let known = |a: &Annotation| a.severity == annotation.severity && a.text == annotation.text;
        if !self.list.iter().any(known) {
            self.list.push(annotation);
        }
    }

    /// Adds a warning without a position.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.add(Annotation {
            severity: Severity::Warning,
            text: text.into(),
            position: None,
        });
    }

    /// Adds everything from `other`.
    pub fn merge(&mut self, other: Self) {
        for annotation in other.list {
            self.add(annotation);
        }
    }

    /// True without annotations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All annotations in order of appearance.
    pub fn iter(&self) -> impl Iterator<Item = &Annotation> {
        self.list.iter()
    }

    /// The texts of one severity for display: each with its ` (line:col)` in `query`, at most
    /// `limit` of them (0 = all), and then one line that counts the rest.
    #[must_use]
    pub fn render(&self, severity: Severity, query: &str, limit: usize) -> Vec<String> {
        let of_kind: Vec<_> = self
            .list
            .iter()
            .filter(|a| a.severity == severity)
            .collect();
        let shown = if limit == 0 {
            of_kind.len()
        } else {
            limit.min(of_kind.len())
        };
        let mut texts: Vec<String> = of_kind[..shown]
            .iter()
            .map(|a| match &a.position {
                Some(range) => format!("{} ({})", a.text, line_and_column(query, range.start)),
                None => a.text.clone(),
            })
            .collect();
        if shown < of_kind.len() {
            let kind = match severity {
                Severity::Warning => "warning",
                Severity::Info => "info",
            };
            texts.push(format!(
                "{} more {kind} annotations omitted",
                of_kind.len() - shown
            ));
        }
        texts
    }
}

/// The `line:col` (from 1, columns in bytes) of a byte offset in `query`, as Prometheus counts it.
#[must_use]
pub fn line_and_column(query: &str, offset: usize) -> String {
    if offset > query.len() {
        return "invalid position".to_owned();
    }
    let before = &query.as_bytes()[..offset];
    let line = 1 + before.iter().filter(|b| **b == b'\n').count();
    let line_start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    format!("{line}:{}", 1 + offset - line_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_positions_and_counts_the_rest() {
        let mut all = Annotations::default();
        for i in 0..12 {
            all.add(Annotation {
                severity: Severity::Info,
                text: format!("PromQL info: {i}"),
                position: Some(7..8),
            });
        }
        all.warn("w");
        all.warn("w");
        assert_eq!(all.render(Severity::Warning, "", 10), ["w"]);
        let infos = all.render(Severity::Info, "sum(\n  x)", MAX_RENDERED);
        assert_eq!(infos[0], "PromQL info: 0 (2:3)");
        assert_eq!(infos[10], "2 more info annotations omitted");
    }
}
