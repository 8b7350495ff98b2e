//! A lean HTTP/1.1 client for timed requests: one connection kept alive, no delay of small packets,
//! requests encoded before the clock starts, and nothing of an answer looked at but its length.
//!
//! It asks for no compression. What it costs itself is shown by [`floor_us`], and is the same for
//! every system.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::measure::{cpu_s, quantile};

/// One kept connection.
pub(crate) struct Connection {
    address: String,
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A request as it goes over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Encoded(Vec<u8>);

impl Encoded {
    pub(crate) fn get(path: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes())
    }

    pub(crate) fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        Self(bytes)
    }
}

/// Status and body of an answer; the body stays in the connection's buffer.
#[derive(Debug)]
pub(crate) struct Reply<'c> {
    pub(crate) status: u16,
    pub(crate) body: &'c [u8],
}

impl Connection {
    /// Connects to `url` (`http://host:port`).
    pub(crate) fn open(url: &str) -> Result<Self, String> {
        let address = url.trim_start_matches("http://").to_owned();
        Ok(Self {
            stream: connect(&address)?,
            address,
            buffer: Vec::new(),
        })
    }

    /// Sends and reads the whole answer. A connection that the server closed meanwhile is opened
    /// once more.
    pub(crate) fn ask(&mut self, request: &Encoded) -> Result<Reply<'_>, String> {
        let exchanged = match self.exchange(request) {
            Ok(reply) => Ok(reply),
            Err(_) => {
                self.stream = connect(&self.address)?;
                self.exchange(request)
            }
        };
        let (status, start, end) = exchanged.map_err(|e| format!("{}: {e}", self.address))?;
        Ok(Reply {
            status,
            body: &self.buffer[start..end],
        })
    }

    fn exchange(&mut self, request: &Encoded) -> Result<(u16, usize, usize), String> {
        self.stream
            .write_all(&request.0)
            .map_err(|e| e.to_string())?;
        self.buffer.clear();
        let head_end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n", 0) {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or("no status line")?;
        let field = |name: &str| {
            let line = head.lines().find_map(|l| l.strip_prefix(name));
            line.map(|rest| rest.trim_start_matches(':').trim().to_owned())
        };
        let end = if let Some(length) = field("content-length") {
            let length: usize = length.parse().map_err(|_| "no length")?;
            while self.buffer.len() < head_end + length {
                self.more()?;
            }
            head_end + length
        } else if field("transfer-encoding").is_some_and(|t| t == "chunked") {
            self.chunks(head_end)?
        } else {
            head_end
        };
        Ok((status, head_end, end))
    }

    fn more(&mut self) -> Result<(), String> {
        let filled = self.buffer.len();
        // as much as arrived so far at once: large answers need few calls
        self.buffer
            .resize(filled + filled.clamp(1 << 16, 1 << 22), 0);
        let read = self.stream.read(&mut self.buffer[filled..]);
        let read = read.map_err(|e| e.to_string())?;
        self.buffer.truncate(filled + read);
        if read == 0 {
            return Err("closed in an answer".to_owned());
        }
        Ok(())
    }

    /// Joins the chunks from `start` on in place; gives the end of the body.
    fn chunks(&mut self, start: usize) -> Result<usize, String> {
        let (mut from, mut to) = (start, start);
        loop {
            let line_end = loop {
                if let Some(at) = find(&self.buffer, b"\r\n", from) {
                    break at;
                }
                self.more()?;
            };
            let size = String::from_utf8_lossy(&self.buffer[from..line_end]).into_owned();
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|e| e.to_string())?;
            let data = line_end + 2;
            while self.buffer.len() < data + size + 2 {
                self.more()?;
            }
            self.buffer.copy_within(data..data + size, to);
            (from, to) = (data + size + 2, to + size);
            if size == 0 {
                return Ok(to);
            }
        }
    }
}

fn connect(address: &str) -> Result<TcpStream, String> {
    let failed = |e: std::io::Error| format!("{address}: {e}");
    let stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(300)))
        .map_err(failed)?;
    Ok(stream)
}

fn find(bytes: &[u8], what: &[u8], from: usize) -> Option<usize> {
    let found = bytes
        .get(from..)?
        .windows(what.len())
        .position(|w| w == what);
    found.map(|at| from + at)
}

/// Median latency of a request that does nothing, and the server's CPU for it: microseconds.
pub(crate) fn floor_us(url: &str, path: &str, process_id: u32) -> Result<(f64, f64), String> {
    const TIMES: usize = 400;
    let (mut connection, request) = (Connection::open(url)?, Encoded::get(path));
    for _ in 0..TIMES / 4 {
        connection.ask(&request)?;
    }
    let (mut latencies, before) = (Vec::new(), cpu_s(process_id));
    for _ in 0..TIMES {
        let started = Instant::now();
        connection.ask(&request)?;
        latencies.push(started.elapsed().as_secs_f64() * 1e6);
    }
    let cpu_us = (cpu_s(process_id) - before) * 1e6 / TIMES as f64;
    Ok((quantile(&mut latencies, 0.5), cpu_us))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn both_framings_of_a_body_are_read() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 1024];
            for answer in [
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
                "HTTP/1.1 204 No Content\r\n\r\n",
            ] {
                assert!(stream.read(&mut buffer).unwrap() > 0);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut connection = Connection::open(&url).unwrap();
        let request = Encoded::get("/");
        for (status, body) in [(200, "hello"), (404, "abcde"), (204, "")] {
            let reply = connection.ask(&request).unwrap();
            assert_eq!((reply.status, reply.body), (status, body.as_bytes()));
        }
        server.join().unwrap();
    }
}
