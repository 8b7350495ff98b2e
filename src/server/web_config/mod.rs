//! `--web.config.file` in the schema of Prometheus' exporter-toolkit: TLS, basic authentication, response
//! headers.
//!
//! Invariants: a file that is wrong in any part is refused as a whole; secrets stay in [`Secret`]; what
//! is in force is one immutable [`WebConfig`] that [`live::LiveWebConfig`] replaces.

pub mod basic_auth;
pub mod client_names;
pub mod guard;
pub mod live;
pub mod tls;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::settings::{self, Secret};
use basic_auth::Users;
use tls::TlsFile;

/// The file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WebConfigFile {
    tls_server_config: Option<TlsFile>,
    http_server_config: HttpFile,
    basic_auth_users: Option<BTreeMap<String, Secret>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpFile {
    http2: bool,
    headers: BTreeMap<String, String>,
}

impl Default for HttpFile {
    fn default() -> Self {
        Self {
            http2: true,
            headers: BTreeMap::new(),
        }
    }
}

/// What is in force.
#[derive(Debug, Default)]
pub struct WebConfig {
    /// Set when connections are encrypted.
    pub tls: Option<tls::Tls>,
    /// Headers of every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Who may ask; without users everybody.
    pub users: Option<Arc<Users>>,
}

impl WebConfig {
    /// Reads and checks a file with all that it names; paths in it are relative to its folder.
    ///
    /// # Errors
    /// A text that names what is wrong, without secrets.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = settings::read(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::from_text(&text, folder).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn from_text(text: &str, folder: &Path) -> Result<Self, String> {
        let file: WebConfigFile = settings::parse(text)?;
        let http2 = file.http_server_config.http2;
        let tls = file
            .tls_server_config
            .map(|tls| tls.load(folder, http2))
            .transpose()
            .map_err(|e| format!("tls_server_config: {e}"))?;
        let headers = file
            .http_server_config
            .headers
            .iter()
            .map(|(name, value)| response_header(name, value))
            .collect::<Result<_, _>>()
            .map_err(|e| format!("http_server_config: headers: {e}"))?;
        let users = file
            .basic_auth_users
            .map(Users::new)
            .transpose()
            .map_err(|e| format!("basic_auth_users: {e}"))?;
        Ok(Self {
            tls,
            headers,
            users: users.map(Arc::new),
        })
    }
}

/// A header that the file may set, with the values that make sense.
fn response_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let one_of = |allowed: &[&str]| {
        if allowed.iter().any(|a| a.eq_ignore_ascii_case(value)) {
            Ok(())
        } else {
            Err(format!("{name} must be one of {}", allowed.join(", ")))
        }
    };
    match name {
        "X-Frame-Options" => one_of(&["deny", "sameorigin"])?,
        "X-Content-Type-Options" => one_of(&["nosniff"])?,
        "X-XSS-Protection" | "Strict-Transport-Security" | "Content-Security-Policy" => {}
        _ => return Err(format!("{name:?} is none that can be set here")),
    }
    let value = HeaderValue::from_str(value).map_err(|_| format!("{name}: not a header value"))?;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| e.to_string())?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<WebConfig, String> {
        WebConfig::from_text(text, Path::new("/nonexistent"))
    }

    #[test]
    fn headers_are_those_of_the_toolkit() {
        let text = "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    \
                    Strict-Transport-Security: max-age=31536000\n";
        assert_eq!(load(text).unwrap().headers.len(), 2);
        for (wrong, says) in [
            ("X-Frame-Options: maybe", "must be one of deny, sameorigin"),
            ("Server: x", "\"Server\" is none that can be set here"),
            ("X-XSS-Protection: \"a\\nb\"", "not a header value"),
        ] {
            let text = format!("http_server_config:\n  headers:\n    {wrong}\n");
            assert!(load(&text).unwrap_err().contains(says), "{wrong}");
        }
    }

    #[test]
    fn wrong_files_are_refused_with_the_place() {
        let canary = "$2y$10$canarycanarycanarycanarycanary";
        let cases = [
            "basic_auth_users: {}",
            "basic_auth_users:\n  bob: \"\"",
            "basic_auth_users: [bob]",
            "basic_auth_users:\n  bob: $2y$10$canarycanarycanarycanarycanary",
            "basic_auth_users:\n  bob: [$2y$10$canarycanarycanarycanarycanary]",
            "basic_auth_user:\n  bob: x",
            "tls_server_config: {}",
            "tls_server_config:\n  cert_file: a.pem",
            "tls_server_config:\n  key_file: a.pem",
            "tls_server_config:\n  cert_file: a.pem\n  key_file: b.pem",
            "tls_server_config:\n  cert: canary\n  key: canary",
            "tls_server_config:\n  cert: x\n  cert_file: y\n  key_file: z",
            "tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS14",
            "tls_server_config:\n  cert_file: a\n  key_file: b\n  cipher_suites: [TLS_INVENTED]",
            "tls_server_config:\n  cert_file: a\n  key_file: b\n  client_auth_type: Maybe",
            "tls_server_config:\n  cert_file: a\n  key_file: b\n  unknown: 1",
            "http_server_config:\n  http2: maybe",
            "junk",
        ];
        for text in cases {
            let error = load(text).unwrap_err();
            assert!(
                !error.contains("canary") && !error.contains(canary),
                "{error}"
            );
            assert!(!error.is_empty());
        }
        assert!(load(cases[5]).unwrap_err().contains("line 1"));
        assert!(load("").unwrap().users.is_none());
    }
}
