//! Where the server is seen from outside (`--web.external-url`) and under which path its routes are
//! (`--web.route-prefix`).
//!
//! Prefixes begin with a slash and have none at the end; the root is the empty prefix. Source:
//! Prometheus `cmd/prometheus/main.go`, `computeExternalURL`.

/// The two as settled at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalUrl {
    /// The whole URL.
    pub url: String,
    /// Its path: what redirects begin with.
    pub path: String,
    /// What all routes begin with.
    pub route_prefix: String,
}

fn prefix(path: &str) -> Result<String, String> {
    let trimmed = path.trim_matches('/');
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b);
    if !trimmed.bytes().all(is_plain) || trimmed.contains("//") {
        return Err(format!("{path:?} is no path of plain segments"));
    }
    Ok(if trimmed.is_empty() {
        String::new()
    } else {
        format!("/{trimmed}")
    })
}

impl ExternalUrl {
    /// From the two flags; `port` is that of the first listen address.
    ///
    /// # Errors
    /// A text that names the flag.
    pub fn new(url: Option<&str>, route_prefix: Option<&str>, port: u16) -> Result<Self, String> {
        let hostname = crate::telemetry::process::hostname();
        let url = url
            .filter(|url| !url.is_empty())
            .map_or_else(|| format!("http://{hostname}:{port}/"), str::to_owned);
        let wrong = |text: &str| format!("{url:?}: {text} (flag --web.external-url)");
        let rest = url
            .strip_prefix("http://")
            .or_else(|| url.strip_prefix("https://"))
            .ok_or_else(|| wrong("must begin with http:// or https://"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() || host.contains(['"', '\'', ' ']) {
            return Err(wrong("has no host"));
        }
        let path = prefix(path).map_err(|e| wrong(&e))?;
        let route_prefix = match route_prefix {
            Some(text) => prefix(text).map_err(|e| format!("{e} (flag --web.route-prefix)"))?,
            None => path.clone(),
        };
        Ok(Self {
            url,
            path,
            route_prefix,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_come_from_the_url_unless_given() {
        let of = |url: Option<&str>, route: Option<&str>| {
            ExternalUrl::new(url, route, 9090).map(|e| (e.path, e.route_prefix))
        };
        let pair = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(of(None, None), pair("", ""));
        assert_eq!(
            of(Some("http://a.example/x/y/"), None),
            pair("/x/y", "/x/y")
        );
        assert_eq!(of(Some("https://a.example/x"), Some("/")), pair("/x", ""));
        assert_eq!(of(None, Some("x")), pair("", "/x"));
        assert!(of(Some("ftp://a"), None).is_err());
        assert!(of(Some("http:///x"), None).is_err());
        assert!(of(None, Some("/a/{b}")).is_err());
        assert!(of(None, Some("/a//b")).is_err());
    }
}
