//! The query log (`global.query_log_file`): one JSON object a line for each query that was evaluated, in
//! Prometheus' fields.
//!
//! Opened with the configuration file and anew at each reload, so that a rotated file is let go. A line is one
//! write to a file opened for appending: lines of several queries do not mix. One that cannot be written is
//! counted, never the query's fault. Source: Prometheus `promql/engine.go` (`exec`), `util/logging/file.go`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use axum::extract::{ConnectInfo, FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use serde_json::{Value, json};
use tenbin_promql::QueryRange;

use super::Peer;

/// An open log.
#[derive(Debug)]
pub struct QueryLog {
    file: File,
}

/// Who asked.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    client_ip: String,
    method: String,
    path: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let extensions = &parts.extensions;
        let peer = extensions.get::<ConnectInfo<Peer>>();
        let uri = extensions.get::<OriginalUri>();
        Ok(Self {
            client_ip: peer.map_or_else(String::new, |peer| peer.0.address.ip().to_string()),
            method: parts.method.to_string(),
            path: uri.map_or(parts.uri.path(), |uri| uri.0.path()).to_owned(),
        })
    }
}

/// A query that ended.
#[derive(Debug)]
pub struct LoggedQuery<'q> {
    /// Its text.
    pub text: &'q str,
    /// Its times.
    pub range: &'q QueryRange,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// `stats` of Prometheus' answers, as JSON.
    pub stats: &'q [u8],
    /// Who asked.
    pub origin: &'q Origin,
}

impl QueryLog {
    /// Opens the log, and makes it if need be.
    ///
    /// # Errors
    /// A text that names key and file.
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            // What people ask is nobody else's business.
            .mode(0o640)
            .open(path)
            .map_err(|e| format!("global: query_log_file: opening {}: {e}", path.display()))?;
        Ok(Self { file })
    }

    /// Appends a query.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, query: &LoggedQuery<'_>, now_ms: i64) -> std::io::Result<()> {
        let mut line = line(query, now_ms).into_bytes();
        line.push(b'\n');
        (&self.file).write_all(&line)
    }
}

/// The fields in Prometheus' order, which serde's maps do not keep.
fn line(query: &LoggedQuery<'_>, now_ms: i64) -> String {
    let range = query.range;
    let params = json!({
        "end": date(range.end_ms),
        "query": query.text,
        "start": date(range.start_ms),
        "step": range.step_ms / 1000,
    });
    let error = match &query.error {
        Some(error) => format!(",\"error\":{}", Value::from(error.as_str())),
        None => String::new(),
    };
    let origin = query.origin;
    let request = json!({
        "clientIP": origin.client_ip,
        "method": origin.method,
        "path": origin.path,
    });
    format!(
        "{{\"time\":\"{}\",\"level\":\"INFO\",\"source\":\"query_log.rs\",\
         \"msg\":\"promql query logged\",\"params\":{params}{error},\"stats\":{},\
         \"spanID\":\"{:016}\",\"traceID\":\"{:032}\",\"httpRequest\":{request}}}",
        date(now_ms),
        String::from_utf8_lossy(query.stats),
        // As without tracing.
        0,
        0,
    )
}

/// RFC 3339 with milliseconds; the number itself where no calendar reaches.
fn date(time_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(time_ms)
        .map_or_else(|_| time_ms.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_prometheus_fields_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queries.log");
        let log = QueryLog::open(&path).unwrap();
        let origin = Origin {
            client_ip: "127.0.0.1".into(),
            method: "GET".into(),
            path: "/api/v1/query_range".into(),
        };
        let range = QueryRange {
            start_ms: 1_500,
            end_ms: 100_250,
            step_ms: 2_500,
        };
        let mut query = LoggedQuery {
            text: "up\n<\"",
            range: &range,
            error: None,
            stats: b"{\"timings\":{}}",
            origin: &origin,
        };
        log.write(&query, 7).unwrap();
        query.error = Some("no".into());
        log.write(&query, i64::MAX).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "{\"time\":\"1970-01-01T00:00:00.007Z\",\"level\":\"INFO\",\"source\":\"query_log.rs\",\
             \"msg\":\"promql query logged\",\"params\":{\"end\":\"1970-01-01T00:01:40.250Z\",\
             \"query\":\"up\\n<\\\"\",\"start\":\"1970-01-01T00:00:01.500Z\",\"step\":2},\
             \"stats\":{\"timings\":{}},\"spanID\":\"0000000000000000\",\
             \"traceID\":\"00000000000000000000000000000000\",\
             \"httpRequest\":{\"clientIP\":\"127.0.0.1\",\"method\":\"GET\",\
             \"path\":\"/api/v1/query_range\"}}"
        );
        let failed: Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!(failed["error"], "no");
        let missing = QueryLog::open(&folder.path().join("no/such")).unwrap_err();
        assert!(
            missing.starts_with("global: query_log_file: opening "),
            "{missing}"
        );
    }
}
