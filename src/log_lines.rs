//! The form of log messages: logfmt or JSON, with Prometheus' keys (`time`, `level`, `msg`).
//!
//! What clients send may end up in a message, so that nothing in it can end a line or pretend to be a field:
//! control characters are escaped, and a value is cut at [`MAX_VALUE_BYTES`].

use std::fmt::{self, Write as _};

use tenbin_model::text::quote::quoted;
use tenbin_storage::{Clock as _, SystemClock};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::api::response::cut;
use crate::config::LogFormat;

/// The most of one value that is logged.
const MAX_VALUE_BYTES: usize = 2048;

/// Writes messages in one of the forms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogLines(pub(crate) LogFormat);

/// A message's text and fields.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: String) {
        let value = cut(value, MAX_VALUE_BYTES);
        match field.name() {
            "message" => self.message = value,
            name => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

impl<S, N> FormatEvent<S, N> for LogLines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = jiff::Timestamp::from_millisecond(SystemClock.now_ms()).unwrap_or_default();
        let level = event.metadata().level().as_str();
        let line = line(self.0, &format!("{time:.3}"), level, &fields);
        writeln!(writer, "{line}")
    }
}

fn line(format: LogFormat, time: &str, level: &str, fields: &Fields) -> String {
    let head = [("time", time), ("level", level), ("msg", &fields.message)];
    let others = fields
        .others
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let all = head.into_iter().chain(others);
    let mut out = String::new();
    for (i, (name, value)) in all.enumerate() {
        // Writing to a string does not fail.
        let _ = match format {
            LogFormat::Logfmt if i > 0 => write!(out, " {name}={}", logfmt(value)),
            LogFormat::Logfmt => write!(out, "{name}={}", logfmt(value)),
            LogFormat::Json => {
                let value = serde_json::Value::from(value);
                let before = if i > 0 { "," } else { "{" };
                write!(out, "{before}\"{name}\":{value}")
            }
        };
    }
    if format == LogFormat::Json {
        out.push('}');
    }
    out
}

/// A value as Go's text logger writes it: quoted unless it is a plain word.
fn logfmt(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '=';
    if !value.is_empty() && value.chars().all(is_plain) {
        value.to_owned()
    } else {
        quoted(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &str, value: &str) -> Fields {
        Fields {
            message: message.to_owned(),
            others: vec![("series", value.to_owned())],
        }
    }

    #[test]
    fn nothing_that_is_logged_can_end_a_line_or_be_a_field() {
        let injected = "x\nlevel=ERROR msg=\"a\" \u{1b}[31m\u{2028}";
        let text = line(
            LogFormat::Logfmt,
            "T",
            "INFO",
            &fields("all well", injected),
        );
        assert_eq!(
            text,
            "time=T level=INFO msg=\"all well\" \
             series=\"x\\nlevel=ERROR msg=\\\"a\\\" \\x1b[31m\\u2028\""
        );
        let text = line(LogFormat::Json, "T", "INFO", &fields("all well", injected));
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["series"], injected);
        assert!(!text.contains('\n') && !text.contains('\u{1b}'), "{text}");
    }
}
