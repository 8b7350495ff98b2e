//! HTTP/1.1 by hand: the request goes out byte for byte as given, and every header of the answer is kept.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer with all its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawAnswer {
    /// The status code.
    pub status: u16,
    /// Header values by lower-case name; several of one name in their order.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The body, without its transfer encoding.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The values of a header, joined by `, `.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        self.headers
            .get(name)
            .map_or_else(String::new, |values| values.join(", "))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One request, sent as it is, with `Host` and `Connection: close` added.
///
/// # Errors
/// When the server cannot be reached or answers no HTTP.
pub fn request(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<RawAnswer, String> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        head.push_str(&format!("Host: {address}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    let answered = exchange(address, &bytes)?;
    let (answer, _) = parse(&answered, method == "HEAD").map_err(|e| {
        format!(
            "{method} {target}: {e}: {:?}",
            String::from_utf8_lossy(&answered)
        )
    })?;
    Ok(answer)
}

/// Sends bytes and reads until the server closes.
///
/// # Errors
/// When the server cannot be reached or does not close in time.
pub fn exchange(address: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut stream = TcpStream::connect(address).map_err(|e| format!("{address}: {e}"))?;
    let timeout = Some(Duration::from_secs(30));
    stream
        .set_read_timeout(timeout)
        .map_err(|e| e.to_string())?;
    stream.write_all(bytes).map_err(|e| e.to_string())?;
    let mut answered = Vec::new();
    match stream.read_to_end(&mut answered) {
        Ok(_) => Ok(answered),
        // A server that refuses a request may close before it has read all of it.
        Err(_) if !answered.is_empty() => Ok(answered),
        Err(error) => Err(format!("{address}: {error}")),
    }
}

/// Reads one answer; says how many bytes it took.
///
/// # Errors
/// When it is none.
pub fn parse(bytes: &[u8], is_head: bool) -> Result<(RawAnswer, usize), String> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.ok_or("no end of the head")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| format!("no status in {status_line:?}"))?;
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("header without a colon")?;
        let values = headers.entry(name.to_ascii_lowercase()).or_default();
        values.push(value.trim().to_owned());
    }
    let rest = &bytes[end + 4..];
    let first = |name: &str| headers.get(name).and_then(|v| v.first()).cloned();
    let (body, taken) = if is_head || matches!(status, 204 | 304) {
        (Vec::new(), 0)
    } else if first("transfer-encoding").is_some_and(|v| v == "chunked") {
        unchunk(rest)?
    } else if let Some(length) = first("content-length") {
        let length: usize = length.parse().map_err(|_| "bad content-length")?;
        let body = rest.get(..length).ok_or("body is cut")?;
        (body.to_vec(), length)
    } else {
        (rest.to_vec(), rest.len())
    };
    let answer = RawAnswer {
        status,
        headers,
        body,
    };
    Ok((answer, end + 4 + taken))
}

fn unchunk(bytes: &[u8]) -> Result<(Vec<u8>, usize), String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = bytes[at..].windows(2).position(|w| w == b"\r\n");
        let line = line.ok_or("chunk size is cut")?;
        let text = String::from_utf8_lossy(&bytes[at..at + line]).into_owned();
        let size = usize::from_str_radix(text.trim(), 16).map_err(|e| e.to_string())?;
        at += line + 2;
        body.extend_from_slice(bytes.get(at..at + size).ok_or("chunk is cut")?);
        at += size + 2;
        if size == 0 {
            return Ok((body, at));
        }
    }
}
