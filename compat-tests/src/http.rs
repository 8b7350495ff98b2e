//! A small blocking HTTP client that returns every status as an answer, not as an error.

use std::time::Duration;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: String,
    /// The `Retry-After` header, empty if absent.
    pub retry_after: String,
    /// What a remote-write 2.0 receiver says it wrote: samples, histograms, exemplars.
    pub written: Option<(u64, u64, u64)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// The client.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
}

impl Default for Client {
    fn default() -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self {
            agent: config.into(),
        }
    }
}

/// Percent-encodes a parameter value.
#[must_use]
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(b).to_string()
            }
            b => format!("%{b:02X}"),
        })
        .collect()
}

/// Encodes parameters as a query string.
#[must_use]
pub fn form(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}

impl Client {
    /// GET.
    ///
    /// # Errors
    /// When there is no answer at all.
    pub fn get(&self, url: &str) -> Result<Answer, String> {
        let response = self
            .agent
            .get(url)
            .call()
            .map_err(|e| format!("GET {url}: {e}"))?;
        read(response)
    }

    /// GET with headers.
    ///
    /// # Errors
    /// When there is no answer at all.
    pub fn get_with(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
        let mut request = self.agent.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.call().map_err(|e| format!("GET {url}: {e}"))?)
    }

    /// POST with headers.
    ///
    /// # Errors
    /// When there is no answer at all.
    pub fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, String> {
        let mut request = self.agent.post(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.send(body).map_err(|e| format!("POST {url}: {e}"))?)
    }

    /// POST of a form.
    ///
    /// # Errors
    /// When there is no answer at all.
    pub fn post_form(&self, url: &str, parameters: &[(&str, &str)]) -> Result<Answer, String> {
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        self.post(url, &headers, form(parameters).as_bytes())
    }
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, String> {
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("")
            .to_owned()
    };
    let (content_type, retry_after) = (header("content-type"), header("retry-after"));
    let count = |kind: &str| {
        header(&format!("x-prometheus-remote-write-{kind}-written"))
            .parse::<u64>()
            .ok()
    };
    let written = match (count("samples"), count("histograms"), count("exemplars")) {
        (Some(samples), Some(histograms), Some(exemplars)) => {
            Some((samples, histograms, exemplars))
        }
        _ => None,
    };
    let status = response.status().as_u16();
    let body = response
        .body_mut()
        .with_config()
        .limit(1 << 30)
        .read_to_vec()
        .map_err(|e| format!("reading an answer: {e}"))?;
    Ok(Answer {
        status,
        content_type,
        retry_after,
        written,
        body,
    })
}
