//! Lines for people: standard output and error, numbers, sizes, times, progress.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Writes a result. A reader that went away (`| head`) ends nothing.
pub(super) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
}

/// Writes a word on progress or trouble.
pub(super) fn tell(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "{text}");
}

/// Tells why a command failed.
pub(super) fn fail(error: impl std::fmt::Display) -> ExitCode {
    tell(&format!("error: {error}"));
    ExitCode::FAILURE
}

/// Lets through one word a second.
pub(super) struct Ticker(Instant);

impl Ticker {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// Writes the text when the last one was a second ago.
    pub(super) fn tick(&mut self, text: impl FnOnce() -> String) {
        if self.0.elapsed() >= PROGRESS_INTERVAL {
            self.0 = Instant::now();
            tell(&text());
        }
    }
}

/// `1,234,567`
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 MiB`
pub(super) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut amount, mut unit) = (bytes as f64, 0);
    while amount >= 1024.0 && unit + 1 < units.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{amount:.1} {}", units[unit])
    }
}

/// `2026-01-02T03:04:05.678Z`, or the milliseconds where no calendar reaches.
pub(super) fn time(time_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(time_ms)
        .map_or_else(|_| format!("{time_ms} ms"), |time| time.to_string())
}

/// Lines of a table, columns padded; numbers are set to the right.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let is_number = |column: usize| {
        let starts_so = |row: &Vec<String>| {
            let cell = row.get(column).map_or("", String::as_str);
            cell.is_empty() || cell == "-" || cell.starts_with(|c: char| c.is_ascii_digit())
        };
        !rows.is_empty() && column > 0 && rows.iter().all(starts_so)
    };
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        text.push(' ');
        for (column, (cell, width)) in cells.zip(&widths).enumerate() {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) = if is_number(column) {
                (pad.as_str(), "")
            } else {
                ("", pad.as_str())
            };
            text.push_str(&format!(" {before}{cell}{after} "));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    };
    line(&mut head.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(i64::MAX), format!("{} ms", i64::MAX));
        let rows = [
            vec!["a".to_owned(), "5".to_owned()],
            vec!["bcd".to_owned(), "12".to_owned()],
        ];
        assert_eq!(
            table(&["name", "n"], &rows),
            "  name   n\n  a      5\n  bcd   12\n"
        );
    }
}
