//! Names: how those of OpenTelemetry become names of metrics, labels and units.
//!
//! With escaping, a metric's name is cut into words at odd characters, and the words joined by `_`;
//! suffixes say unit and type. Source: prometheus/otlptranslator.

/// What kind of metric a name is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A gauge.
    Gauge,
    /// A sum that only grows.
    Counter,
    /// Anything else.
    Other,
}

const UNITS: [(&str, &str); 26] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

const PER_UNITS: [(&str, &str); 7] = [
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

fn mapped<'t>(unit: &'t str, table: &[(&str, &'t str)]) -> &'t str {
    let found = table.iter().find(|(short, _)| *short == unit);
    found.map_or(unit, |(_, long)| *long)
}

/// The suffixes of a unit: of itself, and of what stands behind a `/`.
fn unit_suffixes(unit: &str) -> (String, String) {
    let braced = |text: &str| text.contains(['{', '}']);
    let (main, per) = match unit.split_once('/') {
        Some((main, per)) => (main.trim(), per.trim()),
        None => (unit.trim(), ""),
    };
    let main = if braced(main) {
        ""
    } else {
        mapped(main, &UNITS)
    };
    let per = if braced(per) {
        ""
    } else {
        mapped(per, &PER_UNITS)
    };
    let per = match per {
        "" => String::new(),
        per => format!("per_{per}"),
    };
    (main.to_owned(), per)
}

/// A character that names of metrics may have, `_` aside.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

/// A unit as part of a name: odd characters become `_`, several of them one.
fn cleaned(unit: &str) -> String {
    let mut out = String::new();
    for c in unit.chars() {
        let c = if is_plain(c) { c } else { '_' };
        if c != '_' || !out.ends_with('_') {
            out.push(c);
        }
    }
    out.strip_prefix('_').map(str::to_owned).unwrap_or(out)
}

/// A unit as metadata has it.
#[must_use]
pub fn unit_name(unit: &str) -> String {
    let (main, per) = unit_suffixes(unit);
    let (main, per) = (cleaned(&main), cleaned(&per));
    let name = match (main.is_empty(), per.is_empty()) {
        (false, false) => format!("{main}_{per}"),
        (false, true) => main,
        _ => per,
    };
    let name = name.strip_prefix('_').unwrap_or(&name);
    name.strip_suffix('_').unwrap_or(name).to_owned()
}

/// Builds names of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricNamer {
    /// Odd characters become `_`.
    pub escape: bool,
    /// Unit and type become suffixes.
    pub suffixes: bool,
}

impl MetricNamer {
    /// The name of a metric's family.
    ///
    /// # Errors
    /// When nothing of the name is left.
    pub fn build(&self, name: &str, unit: &str, kind: NameKind) -> Result<String, String> {
        if !self.escape {
            return Ok(self.kept(name, unit, kind));
        }
        let built = if self.suffixes {
            joined(name, unit, kind)
        } else {
            let odd = |c| !is_plain(c) && c != '_';
            let words: Vec<&str> = name.split(odd).filter(|w| !w.is_empty()).collect();
            prefixed(words.join("_"))
        };
        let quoted = tenbin_model::text::quote::quoted;
        if built.is_empty() {
            let name = quoted(name);
            return Err(format!(
                "normalization for metric {name} resulted in empty name"
            ));
        }
        if built != name && built.chars().all(|c| c == '_') {
            return Err(format!(
                "normalization for metric {} resulted in invalid name {}",
                quoted(name),
                quoted(&built)
            ));
        }
        Ok(built)
    }

    /// The name as it is, with suffixes at its end.
    fn kept(&self, name: &str, unit: &str, kind: NameKind) -> String {
        let mut name = name.to_owned();
        if !self.suffixes {
            return name;
        }
        let (main, per) = unit_suffixes(unit);
        let mut ends: Vec<&str> = Vec::new();
        if unit == "1" && kind == NameKind::Gauge {
            trim_end(&mut name, "ratio");
            ends.push("ratio");
        }
        if kind == NameKind::Counter {
            trim_end(&mut name, "total");
            ends.push("total");
        }
        if !per.is_empty() {
            trim_end(&mut name, &per);
            ends.push(&per);
        }
        if !main.is_empty() && !name.ends_with(&main) {
            name = format!("{name}_{main}");
        }
        for end in ends.iter().rev() {
            name = format!("{name}_{end}");
        }
        name
    }
}

/// Takes a suffix off, with one character before it.
fn trim_end(name: &mut String, suffix: &str) {
    if !name.ends_with(suffix) || name.len() <= suffix.len() + 1 {
        return;
    }
    let mut end = name.len() - suffix.len() - 1;
    // A longer character than the usual separators goes as a whole.
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
}

/// A leading digit gets a `_`.
fn prefixed(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return format!("_{name}");
    }
    name
}

/// The words of a name with those of its unit and type, joined.
fn joined(name: &str, unit: &str, kind: NameKind) -> String {
    let words = name.split(|c| !is_plain(c)).filter(|w| !w.is_empty());
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    let (main, per) = unit_suffixes(unit);
    let (mut main, mut per) = (cleaned(&main), cleaned(&per));
    if words.contains(&main) {
        main.clear();
    }
    if per == "per_" {
        per.clear();
    } else {
        per = per.strip_suffix('_').map(str::to_owned).unwrap_or(per);
        if words.contains(&per) {
            per.clear();
        }
    }
    if !per.is_empty() {
        main = main.strip_suffix('_').map(str::to_owned).unwrap_or(main);
    }
    words.extend([main, per].into_iter().filter(|word| !word.is_empty()));
    let mut last = |word: &str| {
        words.retain(|w| w != word);
        words.push(word.to_owned());
    };
    if kind == NameKind::Counter {
        last("total");
    }
    if unit == "1" && kind == NameKind::Gauge {
        last("ratio");
    }
    prefixed(words.join("_"))
}

/// Builds names of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelNamer {
    /// Odd characters become `_`.
    pub escape: bool,
    /// A single `_` at the front becomes `key_`.
    pub prefix_underscore: bool,
    /// Several `_` in a row stay.
    pub keep_underscores: bool,
}

impl LabelNamer {
    /// The label for an attribute.
    ///
    /// # Errors
    /// When the name is empty or nothing of it is left.
    pub fn build(&self, name: &str) -> Result<String, String> {
        if name.is_empty() {
            return Err("label name is empty".to_owned());
        }
        let quoted = tenbin_model::text::quote::quoted;
        let hollow = |name: &str| name.chars().all(|c| c == '_');
        if !self.escape {
            if hollow(name) {
                return Err(format!(
                    "label name {} contains only underscores",
                    quoted(name)
                ));
            }
            return Ok(name.to_owned());
        }
        let mut built = self.escaped(name);
        if built.starts_with(|c: char| c.is_ascii_digit()) {
            built = format!("key_{built}");
        } else if self.prefix_underscore && built.starts_with('_') && !built.starts_with("__") {
            built = format!("key{built}");
        }
        if hollow(&built) {
            return Err(format!(
                "normalization for label name {} resulted in invalid name {}",
                quoted(name),
                quoted(&built)
            ));
        }
        Ok(built)
    }

    fn escaped(&self, name: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        if self.keep_underscores {
            return name.chars().map(plain).collect();
        }
        let reserved = name.strip_prefix("__").and_then(|n| n.strip_suffix("__"));
        let (edge, body) = match reserved {
            Some(body) if !body.is_empty() => ("__", body),
            _ => ("", name),
        };
        let mut out = edge.to_owned();
        let mut after_underscore = false;
        for c in body.chars().map(plain) {
            if c != '_' || !after_underscore {
                out.push(c);
            }
            after_underscore = c == '_';
        }
        out + edge
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NameKind::{Counter, Gauge, Other};

    #[test]
    fn metrics_get_suffixes() {
        let namer = MetricNamer {
            escape: true,
            suffixes: true,
        };
        for (name, unit, kind, expected) in [
            (
                "system.io",
                "foo/bar",
                Counter,
                "system_io_foo_per_bar_total",
            ),
            (
                "http.server.duration",
                "s",
                Other,
                "http_server_duration_seconds",
            ),
            ("requests.count", "1", Counter, "requests_count_total"),
            ("memory.usage", "By", Gauge, "memory_usage_bytes"),
            ("memory.bytes.used", "By", Gauge, "memory_bytes_used"),
            ("cpu.ratio.now", "1", Gauge, "cpu_now_ratio"),
            ("total.requests", "{request}", Counter, "requests_total"),
            ("speed", "m/s", Gauge, "speed_meters_per_second"),
            ("speed", "{x}/s", Gauge, "speed_per_second"),
            ("__a..b__", "", Other, "a_b"),
            ("2xx", "", Other, "_2xx"),
            ("a:b", "%", Gauge, "a:b_percent"),
            ("x", "$/s", Other, "x_per_second"),
        ] {
            assert_eq!(
                namer.build(name, unit, kind).as_deref(),
                Ok(expected),
                "{name}"
            );
        }
        assert_eq!(
            namer.build("\u{e9}", "", Other),
            Err("normalization for metric \"\u{e9}\" resulted in empty name".into())
        );
        let plain = MetricNamer {
            suffixes: false,
            ..namer
        };
        assert_eq!(
            plain.build("a.b__c/d", "s", Counter).as_deref(),
            Ok("a_b__c_d")
        );
        assert_eq!(plain.build("9a", "s", Gauge).as_deref(), Ok("_9a"));
        assert!(plain.build("...", "s", Gauge).is_err());
    }

    #[test]
    fn names_may_stay() {
        let namer = MetricNamer {
            escape: false,
            suffixes: true,
        };
        for (name, unit, kind, expected) in [
            ("http.requests", "1", Counter, "http.requests_total"),
            ("http.requests.total", "", Counter, "http.requests_total"),
            ("io", "By/s", Counter, "io_bytes_per_second_total"),
            ("mem.bytes", "By", Gauge, "mem.bytes"),
            ("share.ratio", "1", Gauge, "share_ratio"),
        ] {
            assert_eq!(
                namer.build(name, unit, kind).as_deref(),
                Ok(expected),
                "{name}"
            );
        }
        let kept = MetricNamer {
            suffixes: false,
            ..namer
        };
        assert_eq!(kept.build("a.b", "s", Counter).as_deref(), Ok("a.b"));
    }

    #[test]
    fn labels_and_units() {
        let namer = LabelNamer {
            escape: true,
            prefix_underscore: true,
            keep_underscores: true,
        };
        for (name, expected) in [
            ("http.method", "http_method"),
            ("1st", "key_1st"),
            ("_private", "key_private"),
            ("__reserved__", "__reserved__"),
            ("a..b", "a__b"),
            ("\u{e9}", "key_"),
        ] {
            assert_eq!(namer.build(name).as_deref(), Ok(expected), "{name}");
        }
        assert!(namer.build("__").is_err() && namer.build("").is_err());
        let tight = LabelNamer {
            keep_underscores: false,
            prefix_underscore: false,
            ..namer
        };
        assert_eq!(tight.build("a..b__c").as_deref(), Ok("a_b_c"));
        assert_eq!(
            tight.build("__re__served__").as_deref(),
            Ok("__re_served__")
        );
        assert_eq!(tight.build("_x").as_deref(), Ok("_x"));
        for (unit, expected) in [
            ("s", "seconds"),
            ("By/s", "bytes_per_second"),
            ("1", ""),
            ("{x}", ""),
        ] {
            assert_eq!(unit_name(unit), expected);
        }
    }
}
