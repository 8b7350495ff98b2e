//! Remote read: `prometheus.ReadRequest`.
//!
//! Schema (field numbers): ReadRequest{queries=1, accepted_response_types=2}, Query{start_ms=1,
//! end_ms=2, matchers=3, hints=4}, LabelMatcher{type=1, name=2, value=3}, ReadHints{step_ms=1, func=2,
//! start_ms=3, end_ms=4, grouping=5, by=6, range_ms=7}. Source: Prometheus `prompb/remote.proto`.

use super::DecodeError;
use super::protobuf::{Tag, Walker, WireError, wire};

/// Most queries in a request, and most matchers in all of them together: a senseless request must
/// not grow to many times its size.
pub const MAX_PARTS: usize = 10_000;

/// A decoded request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadRequest {
    /// The queries.
    pub queries: Vec<ReadQuery>,
    /// Numbers of the forms of answers that the client takes, the best first: 0 = samples,
    /// 1 = streamed chunks.
    pub accepted: Vec<u64>,
}

/// One query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadQuery {
    /// First timestamp, milliseconds.
    pub start_ms: i64,
    /// Last timestamp, milliseconds.
    pub end_ms: i64,
    /// The matchers: number of the kind (0 `=`, 1 `!=`, 2 `=~`, 3 `!~`), name, value.
    pub matchers: Vec<(u64, String, String)>,
    /// What the client will do with the samples.
    pub hints: Option<ReadHints>,
}

/// What a client will do with the samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadHints {
    /// Milliseconds between steps; 0 for an instant query.
    pub step_ms: i64,
    /// The function around the selector.
    pub function: String,
    /// First timestamp needed, milliseconds.
    pub start_ms: i64,
    /// Last timestamp needed, milliseconds.
    pub end_ms: i64,
    /// Window of the range selector, milliseconds.
    pub range_ms: i64,
}

fn varint(walker: &mut Walker<'_>, tag: Tag) -> Result<u64, WireError> {
    if tag.wire_type != wire::VARINT {
        return Err(walker.wrong_type(tag));
    }
    walker.varint()
}

fn bytes<'a>(walker: &mut Walker<'a>, tag: Tag) -> Result<&'a [u8], WireError> {
    if tag.wire_type != wire::BYTES {
        return Err(walker.wrong_type(tag));
    }
    walker.bytes()
}

fn text(walker: &mut Walker<'_>, tag: Tag) -> Result<String, DecodeError> {
    let bytes = bytes(walker, tag)?;
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned)
        .map_err(|_| DecodeError::Limit("a name, value or function is not valid UTF-8".into()))
}

fn too_many(what: &str) -> DecodeError {
    DecodeError::Limit(format!(
        "read request holds more than {MAX_PARTS} {what}, which is the limit"
    ))
}

impl ReadRequest {
    /// Decodes the decompressed body.
    ///
    /// # Errors
    /// When it is no `ReadRequest` or has too many parts.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut request = Self::default();
        let mut matchers = 0;
        let mut walker = Walker::new(body);
        while !walker.is_done() {
            let tag = walker.tag()?;
            match tag.field {
                1 => {
                    if request.queries.len() >= MAX_PARTS {
                        return Err(too_many("queries"));
                    }
                    let message = bytes(&mut walker, tag)?;
                    request.queries.push(query(message, &mut matchers)?);
                }
                2 => accepted(&mut walker, tag, &mut request.accepted)?,
                _ => walker.skip(tag)?,
            }
        }
        Ok(request)
    }
}

/// Response types, packed or single.
fn accepted(walker: &mut Walker<'_>, tag: Tag, out: &mut Vec<u64>) -> Result<(), DecodeError> {
    let mut push = |number| {
        if out.len() >= MAX_PARTS {
            return Err(too_many("response types"));
        }
        out.push(number);
        Ok(())
    };
    if tag.wire_type != wire::BYTES {
        return push(varint(walker, tag)?);
    }
    let mut packed = Walker::new(walker.bytes()?);
    while !packed.is_done() {
        push(packed.varint()?)?;
    }
    Ok(())
}

fn query(message: &[u8], matchers: &mut usize) -> Result<ReadQuery, DecodeError> {
    let mut found = ReadQuery::default();
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        match tag.field {
            1 => found.start_ms = varint(&mut walker, tag)? as i64,
            2 => found.end_ms = varint(&mut walker, tag)? as i64,
            3 => {
                *matchers += 1;
                if *matchers > MAX_PARTS {
                    return Err(too_many("matchers"));
                }
                found.matchers.push(matcher(bytes(&mut walker, tag)?)?);
            }
            4 => found.hints = Some(hints(bytes(&mut walker, tag)?)?),
            _ => walker.skip(tag)?,
        }
    }
    Ok(found)
}

fn matcher(message: &[u8]) -> Result<(u64, String, String), DecodeError> {
    let mut found = (0, String::new(), String::new());
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        match tag.field {
            1 => found.0 = varint(&mut walker, tag)?,
            2 => found.1 = text(&mut walker, tag)?,
            3 => found.2 = text(&mut walker, tag)?,
            _ => walker.skip(tag)?,
        }
    }
    Ok(found)
}

fn hints(message: &[u8]) -> Result<ReadHints, DecodeError> {
    let mut found = ReadHints::default();
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        match tag.field {
            1 => found.step_ms = varint(&mut walker, tag)? as i64,
            2 => found.function = text(&mut walker, tag)?,
            3 => found.start_ms = varint(&mut walker, tag)? as i64,
            4 => found.end_ms = varint(&mut walker, tag)? as i64,
            7 => found.range_ms = varint(&mut walker, tag)? as i64,
            _ => walker.skip(tag)?,
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::protobuf_writer as write;
    use proptest::prelude::*;

    #[test]
    fn requests_are_read() {
        let mut body = Vec::new();
        write::message(&mut body, 1, |out| {
            write::number(out, 1, (-5_i64) as u64);
            write::number(out, 2, 10);
            write::message(out, 3, |out| {
                write::number(out, 1, 2);
                write::bytes(out, 2, b"job");
                write::bytes(out, 3, b"a|b");
            });
            write::message(out, 4, |out| {
                write::number(out, 1, 15);
                write::bytes(out, 2, b"rate");
                write::number(out, 3, 1);
                write::number(out, 4, 9);
                write::bytes(out, 5, b"grouping");
                write::number(out, 7, 300);
            });
        });
        write::packed_numbers(&mut body, 2, [1, 0].into_iter());
        write::number_always(&mut body, 2, 7);
        let hints = ReadHints {
            step_ms: 15,
            function: "rate".into(),
            start_ms: 1,
            end_ms: 9,
            range_ms: 300,
        };
        let query = ReadQuery {
            start_ms: -5,
            end_ms: 10,
            matchers: vec![(2, "job".into(), "a|b".into())],
            hints: Some(hints),
        };
        let expected = ReadRequest {
            queries: vec![query],
            accepted: vec![1, 0, 7],
        };
        assert_eq!(ReadRequest::decode(&body), Ok(expected));
    }

    #[test]
    fn many_small_parts_are_refused() {
        let mut body = Vec::new();
        for _ in 0..=MAX_PARTS {
            write::message(&mut body, 1, |_| ());
        }
        let error = ReadRequest::decode(&body).unwrap_err().to_string();
        assert!(error.contains("10000 queries"), "{error}");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ReadRequest::decode(&body);
        }
    }
}
