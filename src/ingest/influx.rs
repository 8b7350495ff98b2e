//! Influx line protocol into series, as VictoriaMetrics does it: one series per field, named
//! `measurement_field`; tags are labels, the database is label `db`.
//!
//! `measurement[,tag=value...] field=value[,field=value...] [time]`. A backslash takes the meaning from
//! comma, space, `=` and itself. Integers, unsigned numbers and truth values become floats; a text
//! does when it is a number, and is left out otherwise. A line that cannot be read is named and left
//! out as a whole. Source: docs.influxdata.com `reference/syntax/line-protocol`.

use std::borrow::Cow;

use tenbin_model::{METRIC_NAME, Sample};

use super::DecodeError;
use super::batch::Batch;
use super::lines::{Problems, check_parts};

/// What the lines are read with.
#[derive(Debug, Clone)]
pub struct Reading<'a> {
    /// What a time of 1 means, nanoseconds.
    pub unit_ns: i64,
    /// The time of lines without one, milliseconds.
    pub now_ms: i64,
    /// The database or bucket; empty for none.
    pub database: &'a str,
}

/// The nanoseconds of a precision; none where it is not known.
#[must_use]
pub fn precision_ns(name: &str) -> Option<i64> {
    match name {
        "" | "n" | "ns" => Some(1),
        "u" | "us" | "\u{b5}" | "\u{b5}s" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(1_000_000_000),
        "m" => Some(60_000_000_000),
        "h" => Some(3_600_000_000_000),
        _ => None,
    }
}

/// Reads all lines into the batch; says what is wrong with the others.
///
/// # Errors
/// When the request is too large.
pub fn read(
    text: &[u8],
    reading: &Reading<'_>,
    batch: &mut Batch<'_>,
) -> Result<Problems, DecodeError> {
    let mut problems = Problems::default();
    for (number, line) in (1_u32..).zip(text.split(|byte| *byte == b'\n')) {
        let Ok(line) = std::str::from_utf8(line) else {
            problems.add(number, "not valid UTF-8");
            continue;
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse(line, reading) {
            Ok(point) => push(&point, number, reading, batch)?,
            Err(reason) => problems.add(number, &reason),
        }
    }
    Ok(problems)
}

/// A line.
struct Point<'a> {
    measurement: Cow<'a, str>,
    tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    fields: Vec<(Cow<'a, str>, f64)>,
    time_ms: i64,
}

/// Where one of the bytes stands that is neither escaped nor, if asked, inside quotes.
fn find(text: &str, wanted: &[u8], quotes: bool) -> Option<usize> {
    let (mut escaped, mut quoted) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        if escaped {
            escaped = false;
        } else if byte == b'\\' {
            escaped = true;
        } else if quotes && byte == b'"' {
            quoted = !quoted;
        } else if !quoted && wanted.contains(&byte) {
            return Some(at);
        }
    }
    None
}

/// A backslash before comma, space, `=`, quote or itself goes; any other stays.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ (',' | ' ' | '=' | '"' | '\\')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn parse<'a>(line: &'a str, reading: &Reading<'_>) -> Result<Point<'a>, String> {
    let Some(space) = find(line, b" ", false) else {
        return Err("fields are missing".to_owned());
    };
    let (head, rest) = (&line[..space], line[space..].trim_start());
    let name_end = find(head, b",", false).unwrap_or(head.len());
    let measurement = unescaped(&head[..name_end]);
    if measurement.is_empty() {
        return Err("a measurement is missing".to_owned());
    }
    let mut tags = Vec::new();
    let mut left = head[name_end..].strip_prefix(',');
    while let Some(text) = left {
        check_parts(tags.len(), "tags")?;
        let end = find(text, b",", false).unwrap_or(text.len());
        let tag = &text[..end];
        let equals = find(tag, b"=", false).ok_or_else(|| format!("tag {tag:?} has no value"))?;
        let (name, value) = (unescaped(&tag[..equals]), unescaped(&tag[equals + 1..]));
        if name.is_empty() {
            return Err(format!("tag {tag:?} has no name"));
        }
        tags.push((name, value));
        left = text[end..].strip_prefix(',');
    }
    let fields_end = find(rest, b" ", true).unwrap_or(rest.len());
    let fields = fields(&rest[..fields_end])?;
    let time = rest[fields_end..].trim();
    let time_ms = if time.is_empty() {
        reading.now_ms
    } else {
        let ticks: i64 = time
            .parse()
            .map_err(|_| format!("{time:?} is no timestamp"))?;
        let nanoseconds = i128::from(ticks) * i128::from(reading.unit_ns);
        i64::try_from(nanoseconds.div_euclid(1_000_000))
            .map_err(|_| format!("timestamp {time} is out of range"))?
    };
    Ok(Point {
        measurement,
        tags,
        fields,
        time_ms,
    })
}

fn fields(text: &str) -> Result<Vec<(Cow<'_, str>, f64)>, String> {
    let mut found = Vec::new();
    let mut left = Some(text);
    while let Some(text) = left {
        check_parts(found.len(), "fields")?;
        let end = find(text, b",", true).unwrap_or(text.len());
        let field = &text[..end];
        let equals = find(field, b"=", false);
        let equals = equals.ok_or_else(|| format!("field {field:?} has no value"))?;
        let name = unescaped(&field[..equals]);
        if name.is_empty() {
            return Err(format!("field {field:?} has no name"));
        }
        if let Some(value) = value(&field[equals + 1..])? {
            found.push((name, value));
        }
        left = text[end..].strip_prefix(',');
    }
    Ok(found)
}

/// A field's value; none for a text that is no number.
fn value(text: &str) -> Result<Option<f64>, String> {
    let wrong = || format!("{text:?} is no field value");
    if let Some(quoted) = text.strip_prefix('"') {
        let inside = quoted.strip_suffix('"').ok_or_else(wrong)?;
        return Ok(inside.parse::<f64>().ok().filter(|v| v.is_finite()));
    }
    let value = match text {
        "t" | "T" | "true" | "True" | "TRUE" => 1.0,
        "f" | "F" | "false" | "False" | "FALSE" => 0.0,
        _ => {
            if let Some(digits) = text.strip_suffix('i') {
                digits.parse::<i64>().map_err(|_| wrong())? as f64
            } else if let Some(digits) = text.strip_suffix('u') {
                digits.parse::<u64>().map_err(|_| wrong())? as f64
            } else {
                let number = tenbin_model::text::float::parse_float(text);
                number.filter(|v| v.is_finite()).ok_or_else(wrong)?
            }
        }
    };
    Ok(Some(value))
}

fn push(
    point: &Point<'_>,
    number: u32,
    reading: &Reading<'_>,
    batch: &mut Batch<'_>,
) -> Result<(), DecodeError> {
    let has_database = point.tags.iter().any(|(name, _)| name == "db");
    let database = (!has_database).then_some(("db", reading.database));
    for (field, value) in &point.fields {
        let name = format!("{}_{field}", point.measurement);
        let named = std::iter::once((METRIC_NAME, name.as_str()));
        let tags = point.tags.iter().map(|(n, v)| (&**n, &**v));
        batch.series(number, named.chain(tags).chain(database))?;
        batch.sample(Sample::new(point.time_ms, *value))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::WriteLimits;
    use proptest::prelude::*;

    fn read_all(text: &str, database: &str, precision: &str) -> (Vec<String>, Vec<String>) {
        let limits = WriteLimits::default();
        let mut batch = Batch::new(&limits);
        let reading = Reading {
            unit_ns: precision_ns(precision).unwrap(),
            now_ms: 7,
            database,
        };
        let problems = read(text.as_bytes(), &reading, &mut batch).unwrap().lines();
        (batch.texts(), problems)
    }

    #[test]
    fn lines_are_read() {
        let text = "cpu,host=a,region=eu\\ west usage=0.5,count=3i,big=18446744073709551615u,ok=t 1700000000123456789\n\
                    # comment\n\
                    we\\,ird\\ name,t\\=1=v\\,2 f\\ 1=-1e3,s=\"a, \\\"b\\\" c=1\",n=\"12.5\"\r\n\
                    own,db=mine v=F -1\n";
        let (series, problems) = read_all(text, "telegraf", "");
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            series,
            [
                "__name__=cpu_usage,db=telegraf,host=a,region=eu west 0.5 1700000000123",
                "__name__=cpu_count,db=telegraf,host=a,region=eu west 3 1700000000123",
                "__name__=cpu_big,db=telegraf,host=a,region=eu west 18446744073709552000 1700000000123",
                "__name__=cpu_ok,db=telegraf,host=a,region=eu west 1 1700000000123",
                "__name__=we,ird name_f 1,db=telegraf,t=1=v,2 -1000 7",
                "__name__=we,ird name_n,db=telegraf,t=1=v,2 12.5 7",
                "__name__=own_v,db=mine 0 -1",
            ]
        );
        let (series, _) = read_all("a v=1 1700000000", "", "s");
        assert_eq!(series, ["__name__=a_v 1 1700000000000"]);
    }

    #[test]
    fn bad_lines_are_named() {
        let text = "good v=1\nnofields\n,a=b v=1\nm,tag v=1\nm,=x v=1\nm v\nm v=\nm v=1x\nm v=\"open\n\
                    m =1\nm v=1 soon\nm v=1i5\nm v=NaN\ngood v=2";
        let (series, problems) = read_all(text, "", "");
        assert_eq!(series, ["__name__=good_v 1 7", "__name__=good_v 2 7"]);
        assert_eq!(problems.len(), 12, "{problems:#?}");
        assert_eq!(problems[0], "line 2: fields are missing");
        assert!(precision_ns("d").is_none());
        let many = format!("m{} v=1", ",t=1".repeat(1001));
        assert!(read_all(&many, "", "").1[0].contains("1000 tags"));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[a-c=, \"\\\\\n0-9ié.]{0,60}") {
            let _ = read_all(&text, "x", "m");
        }
    }
}
