//! Exemplars: labels `trace_id` and `span_id`, and attributes as long as all of it is short.
//!
//! Exemplar{time_unix_nano=2, as_double=3, span_id=4, trace_id=5, as_int=6, filtered_attributes=7}.

use std::fmt::Write as _;

use tenbin_model::write::MAX_EXEMPLAR_LABEL_CHARS;

use super::any_value::{self, attribute};
use super::labels::Failure;
use super::point::to_ms;
use super::{MAX_ATTRIBUTES, check_room};
use crate::ingest::protobuf::{Walker, wire};

/// A translated exemplar.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exemplar {
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
    /// 0 when it says none.
    pub(super) time_ms: i64,
}

/// An id in hexadecimal, none when it is all zeros.
fn hex(id: &[u8]) -> Option<String> {
    if id.iter().all(|byte| *byte == 0) {
        return None;
    }
    let mut out = String::new();
    for byte in id.iter().take(16) {
        // A string takes all that is written to it.
        let _ = write!(out, "{byte:02x}");
    }
    Some(out)
}

/// Translates the exemplars of a point.
pub(super) fn exemplars(messages: &[&[u8]]) -> Result<Vec<Exemplar>, Failure> {
    messages.iter().map(|message| exemplar(message)).collect()
}

fn exemplar(message: &[u8]) -> Result<Exemplar, Failure> {
    let (mut value, mut time_ms) = (None, 0);
    let (mut trace, mut span): (&[u8], &[u8]) = (b"", b"");
    let mut attributes = Vec::new();
    let mut walker = Walker::new(message);
    while !walker.is_done() {
        let tag = walker.tag()?;
        match (tag.field, tag.wire_type) {
            (2, wire::FIXED64) => time_ms = to_ms(walker.fixed64()?),
            (3, wire::FIXED64) => value = Some(f64::from_bits(walker.fixed64()?)),
            (4, wire::BYTES) => span = walker.bytes()?,
            (5, wire::BYTES) => trace = walker.bytes()?,
            (6, wire::FIXED64) => value = Some(walker.fixed64()? as i64 as f64),
            (7, wire::BYTES) => {
                check_room(attributes.len(), MAX_ATTRIBUTES, "attributes")?;
                attributes.push(attribute(walker.bytes()?)?);
            }
            (2..=7, _) => return Err(walker.wrong_type(tag).into()),
            _ => walker.skip(tag)?,
        }
    }
    let Some(value) = value else {
        let text = "unsupported exemplar value type: Empty".to_owned();
        return Err(Failure::Part(text));
    };
    let mut labels = Vec::new();
    for (name, id) in [("trace_id", trace), ("span_id", span)] {
        labels.extend(hex(id).map(|id| (name.to_owned(), id)));
    }
    let mut more = Vec::with_capacity(attributes.len());
    for (name, value) in attributes {
        more.push((name.to_owned(), any_value::text(value)?));
    }
    let all = labels.iter().chain(&more);
    let chars: usize = all
        .map(|(n, v)| n.chars().count() + v.chars().count())
        .sum();
    if chars <= MAX_EXEMPLAR_LABEL_CHARS {
        labels.extend(more);
    }
    Ok(Exemplar {
        labels,
        value,
        time_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::protobuf_writer as put;

    fn made(attribute_length: usize) -> Exemplar {
        let mut message = Vec::new();
        put::bytes(&mut message, 5, &[0xab; 16]);
        put::bytes(&mut message, 4, &[0; 8]);
        put::double(&mut message, 3, 2.5);
        put::message(&mut message, 7, |out| {
            put::bytes(out, 1, b"k");
            put::message(out, 2, |out| {
                put::bytes(out, 1, "v".repeat(attribute_length).as_bytes());
            });
        });
        match exemplars(&[&message]) {
            Ok(mut all) => all.remove(0),
            Err(_) => panic!("no exemplar"),
        }
    }

    #[test]
    fn attributes_stay_while_they_are_short() {
        let short = made(87);
        assert_eq!(short.labels.len(), 2);
        assert_eq!(short.labels[0], ("trace_id".into(), "ab".repeat(16)));
        assert_eq!((short.value, short.time_ms), (2.5, 0));
        assert_eq!(made(88).labels.len(), 1);
        assert!(matches!(exemplars(&[b""]), Err(Failure::Part(_))));
    }
}
