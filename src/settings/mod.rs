//! Settings that come from YAML files: reading them strictly, and what must never be shown.
//!
//! Invariants: an unknown key is an error that names line and column; files are bounded before they are
//! parsed; a [`Secret`] has no way into a log, an answer or an error text.

pub mod file;
pub mod secret;

use std::path::Path;

use serde::de::DeserializeOwned;

pub use secret::Secret;

/// The largest settings file, bytes.
const MAX_FILE_BYTES: usize = 1 << 20;

/// Reads a file.
///
/// # Errors
/// A text that names the file.
pub fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("reading {}: {e}", path.display()))
}

/// Parses YAML; an empty document is the default.
///
/// # Errors
/// A text with line and column, without any content of the file but names of keys and types.
pub fn parse<T: DeserializeOwned + Default>(text: &str) -> Result<T, String> {
    if text.len() > MAX_FILE_BYTES {
        return Err(format!(
            "{} bytes are more than a settings file may have ({MAX_FILE_BYTES})",
            text.len()
        ));
    }
    if text.contains('\0') {
        return Err("a NUL byte in a settings file".to_owned());
    }
    let is_empty = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---"
    };
    if text.lines().all(is_empty) {
        return Ok(T::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        // The error's own text may show the lines around the place, and so a secret.
        let message = error.without_snippet().to_string();
        let message = message.lines().next().unwrap_or_default();
        match error.location() {
            Some(at) if !message.contains("line ") => {
                format!("line {}, column {}: {message}", at.line(), at.column())
            }
            _ => message.to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        number: Option<u64>,
        secret: Option<Secret>,
    }

    #[test]
    fn mistakes_are_named_with_their_place_and_without_their_value() {
        assert_eq!(parse::<Sample>("# nothing\n"), Ok(Sample::default()));
        let unknown = parse::<Sample>("number: 1\nnope: canary\n").unwrap_err();
        assert!(
            unknown.contains("nope") && unknown.contains("line 2"),
            "{unknown}"
        );
        assert!(!unknown.contains("canary"), "{unknown}");
        for wrong in [
            "number: [1",
            "number: 1\nnumber: 2",
            "secret: {canary: x}",
            "a: \0",
            "- x",
        ] {
            let error = parse::<Sample>(wrong).unwrap_err();
            assert!(!error.contains("canary"), "{error}");
        }
        assert!(parse::<Sample>(&"#".repeat(MAX_FILE_BYTES + 1)).is_err());
    }

    #[test]
    fn alias_bombs_are_refused() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..12 {
            let list = vec![format!("*a{}", i - 1); 10].join(",");
            text.push_str(&format!("a{i}: &a{i} [{list}]\n"));
        }
        let started = std::time::Instant::now();
        assert!(parse::<std::collections::BTreeMap<String, serde_json::Value>>(&text).is_err());
        assert!(started.elapsed().as_secs() < 5);
    }
}
