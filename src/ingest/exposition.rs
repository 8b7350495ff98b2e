//! Exposition text and OpenMetrics into series, for imports: Prometheus' text 0.0.4 and 1.0.0 with quoted
//! names, OpenMetrics with exemplars and times in seconds.
//!
//! A line that cannot be read is named and left out; the others are taken. OpenMetrics has to end with
//! `# EOF`, since a number at a cut may be the beginning of another. Source: Prometheus
//! `model/textparse`, `docs/instrumenting/exposition_formats`.

use std::borrow::Cow;

use tenbin_model::text::float::parse_float;
use tenbin_model::write::MetricType;
use tenbin_model::{METRIC_NAME, Sample};

use super::DecodeError;
use super::batch::Batch;
use super::lines::{Problems, check_parts};

/// What the lines are read with.
#[derive(Debug, Clone)]
pub struct Reading<'a> {
    /// OpenMetrics: times are seconds, and the end is marked.
    pub open_metrics: bool,
    /// The time of samples without one, milliseconds.
    pub now_ms: i64,
    /// Labels for all series; they win over those of a line.
    pub extra_labels: &'a [(String, String)],
}

/// Whether the text is OpenMetrics by its last line.
#[must_use]
pub fn ends_as_open_metrics(text: &[u8]) -> bool {
    text.trim_ascii_end().ends_with(b"# EOF")
}

/// Reads all lines into the batch; says what is wrong with the others.
///
/// # Errors
/// When the request is too large, or OpenMetrics has no end.
pub fn read(
    text: &[u8],
    reading: &Reading<'_>,
    batch: &mut Batch<'_>,
) -> Result<Problems, DecodeError> {
    if reading.open_metrics && !ends_as_open_metrics(text) {
        let text = "data does not end with # EOF: it may be cut off, so nothing is taken";
        return Err(DecodeError::Limit(text.to_owned()));
    }
    let mut problems = Problems::default();
    let mut family = Family::default();
    let mut ended = false;
    for (number, line) in (1_u32..).zip(text.split(|byte| *byte == b'\n')) {
        let line = match std::str::from_utf8(line) {
            Ok(line) => line.trim_matches([' ', '\t', '\r']),
            Err(_) => {
                problems.add(number, "not valid UTF-8");
                continue;
            }
        };
        if line.is_empty() {
            continue;
        }
        if ended && reading.open_metrics {
            problems.add(number, "data after # EOF");
            continue;
        }
        if let Some(comment) = line.strip_prefix('#') {
            ended |= comment.trim() == "EOF";
            family.comment(comment.trim_start(), batch);
            continue;
        }
        match parse(line, reading.open_metrics) {
            Ok(parsed) => push(&parsed, number, reading, batch)?,
            Err(reason) => problems.add(number, &reason),
        }
    }
    family.end(batch);
    Ok(problems)
}

/// What comments say about a family; it is told once they speak of another one.
#[derive(Default)]
struct Family {
    name: String,
    kind: MetricType,
    help: String,
    unit: String,
}

impl Family {
    fn comment(&mut self, comment: &str, batch: &mut Batch<'_>) {
        let mut words = comment.splitn(2, [' ', '\t']);
        let keyword = words.next().unwrap_or("");
        if !matches!(keyword, "TYPE" | "HELP" | "UNIT") {
            return;
        }
        let rest = words.next().unwrap_or("").trim_start();
        let Some((name, rest)) = name_of_comment(rest) else {
            return;
        };
        if self.name != name {
            self.end(batch);
            self.name = name.into_owned();
        }
        match keyword {
            "TYPE" => self.kind = kind_of(rest),
            "HELP" => self.help = unescaped(rest).into_owned(),
            _ => self.unit = rest.to_owned(),
        }
    }

    fn end(&mut self, batch: &mut Batch<'_>) {
        if !self.name.is_empty() {
            batch.describe(&self.name, self.kind, &self.help, &self.unit);
        }
        *self = Self::default();
    }
}

fn name_of_comment(rest: &str) -> Option<(Cow<'_, str>, &str)> {
    if let Some(quoted) = rest.strip_prefix('"') {
        let (name, rest) = quoted_text(quoted)?;
        return Some((name, rest.trim_start()));
    }
    let (name, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    Some((Cow::Borrowed(name), rest.trim_start()))
}

fn kind_of(text: &str) -> MetricType {
    match text.trim() {
        "counter" => MetricType::Counter,
        "gauge" => MetricType::Gauge,
        "histogram" => MetricType::Histogram,
        "gaugehistogram" => MetricType::GaugeHistogram,
        "summary" => MetricType::Summary,
        "info" => MetricType::Info,
        "stateset" => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

/// `\\`, `\"` and `\n` mean something; a backslash before anything else is itself.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('\\' | '"')) => out.push(c),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}

/// The text up to the closing quote, and what follows it.
fn quoted_text(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut after_backslash = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !after_backslash => return Some((unescaped(&text[..at]), &text[at + 1..])),
            b'\\' => after_backslash = !after_backslash,
            _ => after_backslash = false,
        }
    }
    None
}

type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// A line of a sample.
struct Parsed<'a> {
    labels: Labels<'a>,
    value: f64,
    time_ms: Option<i64>,
    exemplar: Option<(Labels<'a>, f64, Option<i64>)>,
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

fn parse(line: &str, seconds: bool) -> Result<Parsed<'_>, String> {
    let name_end = line
        .bytes()
        .position(|b| !is_name_byte(b))
        .unwrap_or(line.len());
    let (name, rest) = line.split_at(name_end);
    let mut labels: Labels<'_> = Vec::new();
    if !name.is_empty() {
        if name.as_bytes()[0].is_ascii_digit() {
            return Err(format!("a metric name cannot begin with a digit: {name:?}"));
        }
        labels.push((METRIC_NAME.into(), name.into()));
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    let rest = match rest.strip_prefix('{') {
        Some(inside) => braces(inside, &mut labels)?,
        None => rest,
    };
    if !labels.iter().any(|(name, _)| name == METRIC_NAME) {
        return Err("a metric name is missing".to_owned());
    }
    let (sample, exemplar) = match rest.split_once('#') {
        Some((sample, exemplar)) => (sample, Some(exemplar)),
        None => (rest, None),
    };
    let (value, time_ms) = value_and_time(sample, seconds)?;
    let exemplar = exemplar.map(|text| {
        let text = text.trim_start_matches([' ', '\t']);
        let Some(inside) = text.strip_prefix('{') else {
            return Err("an exemplar begins with {".to_owned());
        };
        let mut labels = Vec::new();
        let rest = braces(inside, &mut labels)?;
        // Exemplars are known to OpenMetrics alone, so are their times.
        let (value, time_ms) = value_and_time(rest, true)?;
        Ok((labels, value, time_ms))
    });
    Ok(Parsed {
        labels,
        value,
        time_ms,
        exemplar: exemplar.transpose()?,
    })
}

/// Labels up to the closing brace; gives what follows it.
fn braces<'a>(mut rest: &'a str, labels: &mut Labels<'a>) -> Result<&'a str, String> {
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        check_parts(labels.len(), "labels")?;
        let (name, after, quoted) = match rest.strip_prefix('"') {
            Some(text) => {
                let (name, after) = quoted_text(text).ok_or("a quoted name has no end")?;
                (name, after, true)
            }
            None => {
                let end = rest.bytes().position(|b| !is_name_byte(b));
                let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
                (Cow::Borrowed(name), after, false)
            }
        };
        if name.is_empty() {
            return Err(format!("expected a label name at {:?}", short(rest)));
        }
        let after = after.trim_start_matches([' ', '\t']);
        let Some(value) = after.strip_prefix('=') else {
            if !quoted {
                return Err(format!("expected = after label {name:?}"));
            }
            // A quoted name alone is the metric's.
            if labels.iter().any(|(n, _)| n == METRIC_NAME) {
                return Err("the metric name is given twice".to_owned());
            }
            labels.push((METRIC_NAME.into(), name));
            rest = after;
            continue;
        };
        let value = value.trim_start_matches([' ', '\t']);
        let Some(text) = value.strip_prefix('"') else {
            return Err(format!("the value of label {name:?} is not quoted"));
        };
        let Some((value, after)) = quoted_text(text) else {
            return Err(format!("the value of label {name:?} has no end"));
        };
        labels.push((name, value));
        rest = after;
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

fn number(text: &str) -> Result<f64, String> {
    // Go's hexadecimal floats are not for expositions.
    let odd = text.contains(['x', 'X', 'p', 'P', '_']);
    let number = (!odd).then(|| parse_float(text)).flatten();
    let number = number.ok_or_else(|| format!("{:?} is no number", short(text)))?;
    // There is one NaN here; staleness cannot be imported.
    Ok(if number.is_nan() { f64::NAN } else { number })
}

fn value_and_time(text: &str, seconds: bool) -> Result<(f64, Option<i64>), String> {
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = number(words.next().ok_or("a value is missing")?)?;
    let time = words.next();
    if let Some(more) = words.next() {
        return Err(format!("unexpected {:?}", short(more)));
    }
    let time_ms = time.map(|text| {
        let wrong = || format!("{:?} is no timestamp", short(text));
        if !seconds {
            return text.parse::<i64>().map_err(|_| wrong());
        }
        let seconds = number(text)?;
        if !seconds.is_finite() || seconds.abs() > 1e13 {
            return Err(wrong());
        }
        Ok((seconds * 1000.0).round() as i64)
    });
    Ok((value, time_ms.transpose()?))
}

/// Puts a line into the batch.
fn push(
    parsed: &Parsed<'_>,
    number: u32,
    reading: &Reading<'_>,
    batch: &mut Batch<'_>,
) -> Result<(), DecodeError> {
    let extra = reading.extra_labels;
    let own = parsed.labels.iter().map(|(n, v)| (&**n, &**v));
    let own = own.filter(|(name, _)| !extra.iter().any(|(n, _)| n == name));
    let more = extra.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    batch.series(number, own.chain(more))?;
    let time_ms = parsed.time_ms.unwrap_or(reading.now_ms);
    batch.sample(Sample::new(time_ms, parsed.value))?;
    if let Some((labels, value, at_ms)) = &parsed.exemplar {
        let labels = labels
            .iter()
            .map(|(n, v)| (n.clone().into_owned(), v.clone().into_owned()));
        batch.exemplar(labels.collect(), *value, at_ms.unwrap_or(time_ms))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::WriteLimits;
    use proptest::prelude::*;
    use tenbin_model::write::WriteRequest;

    fn reading(open_metrics: bool) -> Reading<'static> {
        Reading {
            open_metrics,
            now_ms: 7,
            extra_labels: &[],
        }
    }

    /// Series with samples, and problems, as text.
    fn read_all(text: &str, reading: &Reading<'_>) -> (Vec<String>, Vec<String>) {
        let limits = WriteLimits::default();
        let mut batch = Batch::new(&limits);
        let problems = match read(text.as_bytes(), reading, &mut batch) {
            Ok(problems) => problems.lines(),
            Err(error) => vec![error.to_string()],
        };
        (batch.texts(), problems)
    }

    #[test]
    fn text_is_read() {
        let text = "# HELP up Is it \\\\ up?\n# TYPE up gauge\n\
                    up 1\n\
                    up{a=\"1\", b=\"q\\\"\\\\\\n\\x\",} 2.5e3 1700000000123\n\
                    \t {\"odd.name\",\"odd label\"=\"x\"}   +Inf -5 \r\n\
                    # a comment\n\
                    \n\
                    x{} NaN\n\
                    last -0";
        let (series, problems) = read_all(text, &reading(false));
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            series,
            [
                "__name__=up 1 7",
                "__name__=up,a=1,b=q\"\\\n\\x 2500 1700000000123",
                "__name__=odd.name,odd label=x inf -5",
                "__name__=x NaN 7",
                "__name__=last -0 7",
            ]
        );
    }

    #[test]
    fn open_metrics_is_read() {
        let text = "# TYPE a counter\n# UNIT a seconds\n\
                    a_total{l=\"x\"} 1 1700000000.1234 # {trace_id=\"t#1\"} 0.5 1700000000\n\
                    a_created 1.5\n# EOF\n";
        let limits = WriteLimits::default();
        let mut batch = Batch::new(&limits);
        assert!(
            read(text.as_bytes(), &reading(true), &mut batch)
                .unwrap()
                .is_empty()
        );
        assert_eq!(batch.samples(0)[0].timestamp_ms, 1_700_000_000_123);
        let mut exemplars = Vec::new();
        batch.exemplars(0, &mut exemplars);
        let exemplar = exemplars[0].as_ref().unwrap();
        assert_eq!(exemplar.labels, [("trace_id", "t#1")]);
        assert_eq!(
            (exemplar.value, exemplar.timestamp_ms),
            (0.5, 1_700_000_000_000)
        );
        let metadata = batch.metadata();
        assert_eq!((metadata[0].metric, metadata[0].unit), ("a", "seconds"));
        assert_eq!(metadata[0].kind, MetricType::Counter);
        let (series, problems) = read_all("a 1\na 12", &reading(true));
        assert!(
            series.is_empty() && problems[0].contains("# EOF"),
            "{problems:?}"
        );
        let (series, problems) = read_all("a 1\n# EOF\nb 1\n# EOF", &reading(true));
        assert_eq!((series.len(), problems.len()), (1, 2));
    }

    #[test]
    fn bad_lines_are_named_and_left_out() {
        let text = "good 1\nbad\n9x 1\n{a=\"b\"} 1\nx{a=b} 1\nx{a=\"b} 1\nx{a} 1\nx 1 2 3\nx 0x1\n\
                    x 1 soon\nx{\"a\",\"b\"} 1\nx 1 # 2\ngood 2";
        let (series, problems) = read_all(text, &reading(false));
        assert_eq!(series, ["__name__=good 1 7", "__name__=good 2 7"]);
        assert_eq!(problems.len(), 11, "{problems:#?}");
        assert_eq!(problems[0], "line 2: a value is missing");
        assert_eq!(problems[2], "line 4: a metric name is missing");
        let many = format!("x{{{}}} 1", "a=\"\",".repeat(1001));
        let (_, problems) = read_all(&many, &reading(false));
        assert!(problems[0].contains("1000 labels"), "{problems:?}");
    }

    #[test]
    fn extra_labels_win() {
        let extra = [("job".to_owned(), "import".to_owned())];
        let reading = Reading {
            extra_labels: &extra,
            ..reading(false)
        };
        let (series, _) = read_all("x{job=\"own\",l=\"1\"} 1", &reading);
        assert_eq!(series, ["__name__=x,job=import,l=1 1 7"]);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[a-z{}\"=,# \\\\\n0-9.é-]{0,80}", open in any::<bool>()) {
            let limits = WriteLimits::default();
            let mut batch = Batch::new(&limits);
            let _ = read(text.as_bytes(), &reading(open), &mut batch);
            let _ = read((text + "\n# EOF").as_bytes(), &reading(open), &mut batch);
        }
    }
}
