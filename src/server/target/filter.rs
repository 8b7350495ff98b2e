//! Follows the framing of the HTTP/1 requests of one connection and percent-encodes, in request lines
//! only, the bytes of the target that a URI may not hold.
//!
//! Go's server takes `GET /api/v1/query?query=up{job="x"}` as it comes; our HTTP library refuses it.
//! Encoding `"` as `%22` means the same and is legal.
//!
//! Invariants: bytes outside a request target are never changed; where the framing is anything but
//! plain, the filter gives up for the rest of the connection and changes nothing more, so that
//! the HTTP library sees, judges and refuses what the client really sent. Memory is constant, and the
//! result does not depend on how the bytes are cut into reads.

/// Of a header line this much is looked at; no line that decides on framing is longer.
const MAX_LINE_BYTES: usize = 128;

/// Chunk sizes have at most this many hexadecimal digits.
const MAX_CHUNK_DIGITS: u32 = 15;

/// Where in the stream of requests the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the method; empty lines are allowed there.
    Start,
    /// In the method.
    Method,
    /// In the request target.
    Target,
    /// In the version.
    Version,
    /// In a header line.
    Header,
    /// In a body, so many bytes before its end.
    Body(u64),
    /// In the line with the size of a chunk; digits read.
    ChunkSize(u64, u32),
    /// In the extension of that line.
    ChunkExtension(u64),
    /// In a chunk, so many bytes before its end.
    Chunk(u64),
    /// Behind a chunk, where CR and LF have to stand.
    ChunkEnd,
    /// In a line behind the last chunk; how long it is so far.
    Trailer(u64),
    /// Nothing is understood or to be changed any more.
    GivenUp,
}

/// The filter of one connection.
#[derive(Debug)]
pub struct TargetFilter {
    place: Place,
    /// The method, version or header line so far, at most [`MAX_LINE_BYTES`].
    line: Vec<u8>,
    line_overflows: bool,
    version_1_1: bool,
    body: Framing,
}

/// What the header lines of a request say about its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    None,
    Length(u64),
    Chunked,
    Unclear,
}

impl Default for TargetFilter {
    fn default() -> Self {
        Self {
            place: Place::Start,
            line: Vec::new(),
            line_overflows: false,
            version_1_1: false,
            body: Framing::None,
        }
    }
}

/// Whether Go's server takes the byte in a target, but a URI may not hold it. A `#` is no fragment there.
fn must_encode(byte: u8) -> bool {
    matches!(
        byte,
        b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80..
    )
}

impl TargetFilter {
    /// Follows bytes that are left as they are. Stops before the first one that has to be encoded, and
    /// says where that is; then [`Self::encode`] takes over from there.
    pub fn follow(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match self.place {
                Place::GivenUp => return None,
                Place::Body(left) | Place::Chunk(left) => at += self.skip(left, bytes.len() - at),
                Place::Target if must_encode(bytes[at]) => return Some(at),
                _ => {
                    self.step(bytes[at]);
                    at += 1;
                }
            }
        }
        None
    }

    /// Appends `bytes` to `out`, encoded where needed: at most three times as many.
    pub fn encode(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        while let Some(at) = self.follow(bytes) {
            out.extend_from_slice(&bytes[..at]);
            let byte = bytes[at];
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[b'%', DIGITS[high], DIGITS[low]]);
            bytes = &bytes[at + 1..];
        }
        out.extend_from_slice(bytes);
    }

    /// Passes over content, `left` bytes of it and `available` at hand; says how many it took.
    fn skip(&mut self, left: u64, available: usize) -> usize {
        let taken = left.min(available as u64);
        let left = left - taken;
        self.place = match self.place {
            Place::Body(_) if left == 0 => Place::Start,
            Place::Body(_) => Place::Body(left),
            _ if left == 0 => Place::ChunkEnd,
            _ => Place::Chunk(left),
        };
        taken as usize
    }

    fn step(&mut self, byte: u8) {
        self.place = match self.place {
            Place::Start if matches!(byte, b'\r' | b'\n') => Place::Start,
            Place::Start => {
                self.line.clear();
                self.line_overflows = false;
                self.body = Framing::None;
                self.step_method(byte)
            }
            Place::Method => self.step_method(byte),
            // A line without a version, or with control characters, is refused further on.
            Place::Target => match byte {
                b' ' => {
                    self.line.clear();
                    Place::Version
                }
                0..=0x1f | 0x7f => Place::GivenUp,
                _ => Place::Target,
            },
            Place::Version => self.step_version(byte),
            Place::Header => self.step_header(byte),
            Place::ChunkSize(size, digits) => step_chunk_size(size, digits, byte),
            Place::ChunkExtension(size) => match byte {
                b'\n' => chunk(size),
                _ => Place::ChunkExtension(size),
            },
            Place::ChunkEnd => match byte {
                b'\r' => Place::ChunkEnd,
                b'\n' => Place::ChunkSize(0, 0),
                _ => Place::GivenUp,
            },
            Place::Trailer(length) => match byte {
                b'\n' if length == 0 => Place::Start,
                b'\n' => Place::Trailer(0),
                b'\r' => Place::Trailer(length),
                _ => Place::Trailer(length.saturating_add(1)),
            },
            // Content is skipped, not stepped through.
            place @ (Place::Body(_) | Place::Chunk(_) | Place::GivenUp) => place,
        };
    }

    fn push(&mut self, byte: u8) {
        if self.line.len() < MAX_LINE_BYTES {
            self.line.push(byte);
        } else {
            self.line_overflows = true;
        }
    }

    fn step_method(&mut self, byte: u8) -> Place {
        match byte {
            // CONNECT makes a tunnel, and `PRI` opens HTTP/2.
            b' ' if self.line == b"CONNECT" || self.line == b"PRI" => Place::GivenUp,
            b' ' if !self.line.is_empty() && !self.line_overflows => Place::Target,
            b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' => {
                self.push(byte);
                Place::Method
            }
            _ => Place::GivenUp,
        }
    }

    fn step_version(&mut self, byte: u8) -> Place {
        if byte != b'\n' {
            self.push(byte);
            return Place::Version;
        }
        let version = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        self.version_1_1 = version == b"HTTP/1.1";
        let known = self.version_1_1 || version == b"HTTP/1.0";
        self.line.clear();
        if known { Place::Header } else { Place::GivenUp }
    }

    fn step_header(&mut self, byte: u8) -> Place {
        if byte != b'\n' {
            self.push(byte);
            return Place::Header;
        }
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if line.is_empty() {
            return match self.body {
                Framing::None | Framing::Length(0) => Place::Start,
                Framing::Length(length) => Place::Body(length),
                Framing::Chunked if self.version_1_1 => Place::ChunkSize(0, 0),
                Framing::Chunked | Framing::Unclear => Place::GivenUp,
            };
        }
        self.body = framing(self.body, line, self.line_overflows);
        self.line.clear();
        self.line_overflows = false;
        Place::Header
    }
}

/// What is known about the body after one more header line.
fn framing(known: Framing, line: &[u8], is_cut: bool) -> Framing {
    let colon = line.iter().position(|b| *b == b':');
    let Some(colon) = colon else {
        // Without a colon a line that was cut has just a long name.
        return if is_cut { known } else { Framing::Unclear };
    };
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    // Folded lines and blanks in names are where readers disagree.
    if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
        return Framing::Unclear;
    }
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
    let says = if is("content-length") {
        let is_number = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
        number
            .filter(|_| is_number)
            .map_or(Framing::Unclear, Framing::Length)
    } else if is("transfer-encoding") {
        if value.eq_ignore_ascii_case(b"chunked") {
            Framing::Chunked
        } else {
            Framing::Unclear
        }
    } else if is("upgrade") {
        Framing::Unclear
    } else {
        return known;
    };
    if known == Framing::None && !is_cut {
        says
    } else {
        Framing::Unclear
    }
}

fn step_chunk_size(size: u64, digits: u32, byte: u8) -> Place {
    let digit = char::from(byte).to_digit(16);
    match (byte, digit) {
        (_, Some(digit)) if digits < MAX_CHUNK_DIGITS => {
            Place::ChunkSize(size << 4 | u64::from(digit), digits + 1)
        }
        (b'\n', _) if digits > 0 => chunk(size),
        (b'\r' | b';' | b' ' | b'\t', _) if digits > 0 => Place::ChunkExtension(size),
        _ => Place::GivenUp,
    }
}

/// What follows the line with a chunk's size.
fn chunk(size: u64) -> Place {
    if size == 0 {
        Place::Trailer(0)
    } else {
        Place::Chunk(size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The output for `input` that arrives in pieces of the given lengths, the last repeated.
    fn filtered(input: &[u8], pieces: &[usize]) -> Vec<u8> {
        let (mut filter, mut out, mut rest) = (TargetFilter::default(), Vec::new(), input);
        let mut lengths = pieces.iter().copied().cycle();
        while !rest.is_empty() {
            let length = lengths.next().unwrap_or(rest.len()).clamp(1, rest.len());
            let (piece, after) = rest.split_at(length);
            filter.encode(piece, &mut out);
            rest = after;
        }
        out
    }

    fn text(input: &str) -> String {
        String::from_utf8(filtered(input.as_bytes(), &[])).unwrap()
    }

    #[test]
    fn only_targets_are_encoded() {
        assert_eq!(
            text("GET /q?query=up{job=\"x\"}|\\<>^`#é HTTP/1.1\r\nHost: {x}\r\n\r\n"),
            "GET /q?query=up%7Bjob=%22x%22%7D%7C%5C%3C%3E%5E%60%23%C3%A9 HTTP/1.1\r\nHost: {x}\r\n\r\n"
        );
        let body = "{\"a\": \"GET /{} HTTP/1.1\"}";
        let post = format!(
            "POST /{{ HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}GET /}} HTTP/1.1\r\n\r\n",
            body.len()
        );
        let expected = post.replace("/{ ", "/%7B ").replace("/} ", "/%7D ");
        assert_eq!(text(&post), expected);
        let chunked = "POST / HTTP/1.1\nTransfer-Encoding: Chunked\n\n\
                       A;x={\r\nGET /{} HT\r\n0\r\ntrailer: {}\r\n\r\n\r\nGET /{} HTTP/1.1\r\n\r\n";
        let expected = chunked.replace("\r\nGET /{} HTTP", "\r\nGET /%7B%7D HTTP");
        assert_eq!(text(chunked), expected);
    }

    #[test]
    fn unclear_framing_ends_the_filter() {
        for head in [
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Content-Length: +1",
            "Content-Length: 1, 1",
            "Content-Length: ",
            "Content-Length: 99999999999999999999",
            "Content-Length : 0",
            " folded: x",
            "no colon",
            "Upgrade: h2c",
        ] {
            let after = "GET /{} HTTP/1.1\r\n\r\n".repeat(2);
            let input = format!("GET / HTTP/1.1\r\n{head}\r\n\r\n{after}");
            assert_eq!(text(&input), input);
        }
        for input in [
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /{} HTTP/1.1\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\n\r\nGET /{} HTTP/1.1\r\n\r\n",
            "GET /a\r\nGET /{} HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /{} HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\nGET /{} HTTP/1.1\r\n\r\n",
            "\u{16}\u{3}\u{1}GET /{} HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(text(input), input);
        }
    }

    #[test]
    fn long_header_lines_are_passed_over() {
        let long = "x".repeat(100_000);
        let input =
            format!("GET / HTTP/1.1\r\na: {long}\r\n{long}: a\r\n\r\nGET /{{ HTTP/1.1\r\n\r\n");
        assert_eq!(text(&input), input.replace("/{", "/%7B"));
    }

    /// One request: its bytes and what is to come out.
    fn request() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let target = proptest::collection::vec(
            any::<u8>().prop_filter("legal in Go", |b| *b > b' ' && *b != 0x7f),
            0..40,
        );
        let body = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            Just(b"GET /{} HTTP/1.1\r\n\r\n".to_vec()),
        ];
        (target, body, 0..3_u8, 1..20_usize).prop_map(|(target, body, kind, chunk)| {
            let mut encoded = Vec::new();
            for byte in &target {
                match byte {
                    b'!'..=b'~' if !b"\"#<>\\^`{|}".contains(byte) => encoded.push(*byte),
                    byte => encoded.extend_from_slice(format!("%{byte:02X}").as_bytes()),
                }
            }
            let mut rest = b" HTTP/1.1\r\nHost: {}\r\n".to_vec();
            match kind {
                0 => rest.extend_from_slice(b"\r\n"),
                1 => {
                    rest.extend_from_slice(
                        format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(),
                    );
                    rest.extend_from_slice(&body);
                }
                _ => {
                    rest.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                    for part in body.chunks(chunk) {
                        rest.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                        rest.extend_from_slice(part);
                        rest.extend_from_slice(b"\r\n");
                    }
                    rest.extend_from_slice(b"0\r\n\r\n");
                }
            }
            let around = |target: &[u8]| [b"POST /".as_slice(), target, rest.as_slice()].concat();
            (around(&target), around(&encoded))
        })
    }

    proptest! {
        #[test]
        fn pipelined_requests_come_out_encoded(
            requests in proptest::collection::vec(request(), 1..6),
            pieces in proptest::collection::vec(1..50_usize, 1..5),
        ) {
            let input: Vec<u8> = requests.iter().flat_map(|(raw, _)| raw.clone()).collect();
            let expected: Vec<u8> = requests.iter().flat_map(|(_, out)| out.clone()).collect();
            prop_assert_eq!(filtered(&input, &pieces), expected);
        }

        #[test]
        fn cuts_make_no_difference_and_clean_bytes_none(
            input in proptest::collection::vec(prop_oneof![
                any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'{'), Just(b':'), Just(b'0'),
            ], 0..300),
            pieces in proptest::collection::vec(1..20_usize, 1..5),
            after_head in any::<bool>(),
        ) {
            let input = if after_head {
                [b"GET / HTTP/1.1\r\ntransfer-encoding:chunked\r\n".as_slice(), &input].concat()
            } else {
                input
            };
            let whole = filtered(&input, &[]);
            prop_assert_eq!(&filtered(&input, &pieces), &whole);
            prop_assert!(whole.len() <= input.len() * 3);
            let clean: Vec<u8> = input.iter().copied().filter(|b| !must_encode(*b)).collect();
            prop_assert_eq!(filtered(&clean, &pieces), clean);
        }
    }
}
