//! OTLP's JSON form to its binary form, field by field by a table of the messages.
//!
//! Names come in camel case or as in the schema; 64-bit numbers as numbers or strings; enums as numbers
//! or names; ids in hexadecimal, other bytes in base64. Unknown fields are passed over. Nesting is
//! bounded by the JSON reader. Source: opentelemetry.io `docs/specs/otlp/#json-protobuf-encoding`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::OtlpError;
use crate::ingest::protobuf_writer as put;

/// What a field holds.
#[derive(Clone, Copy)]
enum Kind {
    /// By reference to the table's name: the messages know each other in circles.
    Message(&'static &'static [Field]),
    Text,
    /// Bytes in hexadecimal.
    Hex,
    /// Bytes in base64.
    Base64,
    Double,
    /// Eight bytes, with or without a sign.
    Fixed64,
    /// A varint, with or without a sign, or a truth value.
    Varint,
    /// A signed number so that small negative ones are short.
    ZigZag,
    /// A number or one of these names, which stand for 0, 1 and so on.
    Enum(&'static [&'static str]),
}

/// A field: its name in camel case, number, what it holds.
#[derive(Clone, Copy)]
struct Field {
    name: &'static str,
    number: u32,
    kind: Kind,
}

impl Field {
    /// Whether `name` is its name, in camel case or as in the schema: `timeUnixNano`, `time_unix_nano`.
    fn is_called(&self, name: &str) -> bool {
        if self.name == name {
            return true;
        }
        let words = self.name.bytes().flat_map(|byte| {
            let begins_word = byte.is_ascii_uppercase().then_some(b'_');
            begins_word.into_iter().chain([byte.to_ascii_lowercase()])
        });
        words.eq(name.bytes())
    }
}

const fn field(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind }
}

use Kind::{Base64, Double, Enum, Fixed64, Hex, Message, Text, Varint, ZigZag};

static REQUEST: &[Field] = &[field("resourceMetrics", 1, Message(&RESOURCE_METRICS))];
/// Of resources and scopes.
const SCHEMA_URL: Field = field("schemaUrl", 3, Text);

static RESOURCE_METRICS: &[Field] = &[
    field("resource", 1, Message(&RESOURCE)),
    field("scopeMetrics", 2, Message(&SCOPE_METRICS)),
    SCHEMA_URL,
];
static RESOURCE: &[Field] = &[field("attributes", 1, Message(&KEY_VALUE))];
static SCOPE_METRICS: &[Field] = &[
    field("scope", 1, Message(&SCOPE)),
    field("metrics", 2, Message(&METRIC)),
    SCHEMA_URL,
];
static SCOPE: &[Field] = &[
    field("name", 1, Text),
    field("version", 2, Text),
    field("attributes", 3, Message(&KEY_VALUE)),
];
static KEY_VALUE: &[Field] = &[
    field("key", 1, Text),
    field("value", 2, Message(&ANY_VALUE)),
];
static ANY_VALUE: &[Field] = &[
    field("stringValue", 1, Text),
    field("boolValue", 2, Varint),
    field("intValue", 3, Varint),
    field("doubleValue", 4, Double),
    field("arrayValue", 5, Message(&ARRAY_VALUE)),
    field("kvlistValue", 6, Message(&KV_LIST)),
    field("bytesValue", 7, Base64),
];
static ARRAY_VALUE: &[Field] = &[field("values", 1, Message(&ANY_VALUE))];
static KV_LIST: &[Field] = &[field("values", 1, Message(&KEY_VALUE))];
static METRIC: &[Field] = &[
    field("name", 1, Text),
    field("description", 2, Text),
    field("unit", 3, Text),
    field("gauge", 5, Message(&NUMBERS)),
    field("sum", 7, Message(&NUMBERS)),
    field("histogram", 9, Message(&HISTOGRAMS)),
    field("exponentialHistogram", 10, Message(&EXPONENTIALS)),
    field("summary", 11, Message(&SUMMARIES)),
];
/// Of sums and both kinds of histograms.
const TEMPORALITY: Field = field(
    "aggregationTemporality",
    2,
    Enum(&[
        "AGGREGATION_TEMPORALITY_UNSPECIFIED",
        "AGGREGATION_TEMPORALITY_DELTA",
        "AGGREGATION_TEMPORALITY_CUMULATIVE",
    ]),
);
static NUMBERS: &[Field] = &[
    field("dataPoints", 1, Message(&NUMBER_POINT)),
    TEMPORALITY,
    field("isMonotonic", 3, Varint),
];
static HISTOGRAMS: &[Field] = &[
    field("dataPoints", 1, Message(&HISTOGRAM_POINT)),
    TEMPORALITY,
];
static EXPONENTIALS: &[Field] = &[
    field("dataPoints", 1, Message(&EXPONENTIAL_POINT)),
    TEMPORALITY,
];
static SUMMARIES: &[Field] = &[field("dataPoints", 1, Message(&SUMMARY_POINT))];
/// When the values began, and of when they are: of all points.
const START: Field = field("startTimeUnixNano", 2, Fixed64);
const TIME: Field = field("timeUnixNano", 3, Fixed64);

static NUMBER_POINT: &[Field] = &[
    START,
    TIME,
    field("asDouble", 4, Double),
    field("exemplars", 5, Message(&EXEMPLAR)),
    field("asInt", 6, Fixed64),
    field("attributes", 7, Message(&KEY_VALUE)),
    field("flags", 8, Varint),
];
static HISTOGRAM_POINT: &[Field] = &[
    START,
    TIME,
    field("count", 4, Fixed64),
    field("sum", 5, Double),
    field("bucketCounts", 6, Fixed64),
    field("explicitBounds", 7, Double),
    field("exemplars", 8, Message(&EXEMPLAR)),
    field("attributes", 9, Message(&KEY_VALUE)),
    field("flags", 10, Varint),
];
static EXPONENTIAL_POINT: &[Field] = &[
    field("attributes", 1, Message(&KEY_VALUE)),
    START,
    TIME,
    field("count", 4, Fixed64),
    field("sum", 5, Double),
    field("scale", 6, ZigZag),
    field("zeroCount", 7, Fixed64),
    field("positive", 8, Message(&BUCKETS)),
    field("negative", 9, Message(&BUCKETS)),
    field("flags", 10, Varint),
    field("exemplars", 11, Message(&EXEMPLAR)),
];
static BUCKETS: &[Field] = &[field("offset", 1, ZigZag), field("bucketCounts", 2, Varint)];
static SUMMARY_POINT: &[Field] = &[
    START,
    TIME,
    field("count", 4, Fixed64),
    field("sum", 5, Double),
    field("quantileValues", 6, Message(&QUANTILE)),
    field("attributes", 7, Message(&KEY_VALUE)),
    field("flags", 8, Varint),
];
static QUANTILE: &[Field] = &[field("quantile", 1, Double), field("value", 2, Double)];
static EXEMPLAR: &[Field] = &[
    field("timeUnixNano", 2, Fixed64),
    field("asDouble", 3, Double),
    field("spanId", 4, Hex),
    field("traceId", 5, Hex),
    field("asInt", 6, Fixed64),
    field("filteredAttributes", 7, Message(&KEY_VALUE)),
];

/// The binary form of a request in JSON.
///
/// # Errors
/// When it is no JSON, or a field has a value of the wrong kind.
pub fn to_binary(body: &[u8]) -> Result<Vec<u8>, OtlpError> {
    let mut out = Vec::with_capacity(body.len() / 2);
    let mut reader = serde_json::Deserializer::from_slice(body);
    let whole = Fields {
        fields: REQUEST,
        out: &mut out,
    };
    let read = whole.deserialize(&mut reader).and_then(|()| reader.end());
    read.map_err(|e| OtlpError::Decode(format!("JSON: {e}")))?;
    Ok(out)
}

/// Writes the fields of an object.
struct Fields<'o> {
    fields: &'static [Field],
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.fields.iter().find(|field| field.is_called(&name)) {
                Some(field) => map.next_value_seed(Value {
                    field,
                    out: self.out,
                })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Writes the value of a field, or all of a list.
struct Value<'o> {
    field: &'static Field,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

/// A signed or unsigned number as 64 bits.
fn number_of(text: &str) -> Option<u64> {
    let unsigned = text.parse::<u64>().ok();
    unsigned.or_else(|| text.parse::<i64>().ok().map(|n| n as u64))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) || bytes.len() > 64 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = bytes.chunks_exact(2);
    pairs
        .map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8))
        .collect()
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

impl Value<'_> {
    fn wrong<E: Error>(&self, what: fmt::Arguments<'_>) -> E {
        E::custom(format_args!("field {:?}: {what}", self.field.name))
    }

    /// A whole number as its bits.
    fn bits<E: Error>(self, bits: u64, float: f64) -> Result<(), E> {
        let number = self.field.number;
        match self.field.kind {
            Double => put::double_always(self.out, number, float),
            Fixed64 => put::double_always(self.out, number, f64::from_bits(bits)),
            Varint | Enum(_) => put::number_always(self.out, number, bits),
            ZigZag => put::number_always(self.out, number, put::zigzag(bits as i64)),
            _ => return Err(self.wrong(format_args!("a number is not expected"))),
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value for field {:?}", self.field.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<(), E> {
        match self.field.kind {
            Varint => self.bits(u64::from(flag), 0.0),
            _ => Err(self.wrong(format_args!("a truth value is not expected"))),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.bits(number, number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.bits(number as u64, number as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        match self.field.kind {
            Double => self.bits(0, number),
            _ if number.fract() == 0.0 && number.abs() < 9e15 => {
                self.bits(number as i64 as u64, number)
            }
            _ => Err(self.wrong(format_args!("{number} is no whole number"))),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let field = self.field.number;
        match self.field.kind {
            Text => put::bytes_always(self.out, field, text.as_bytes()),
            Hex | Base64 => {
                let bytes = match self.field.kind {
                    Hex => unhex(text),
                    _ => unbase64(text),
                };
                let Some(bytes) = bytes else {
                    return Err(self.wrong(format_args!("cannot decode {text:?}")));
                };
                put::bytes_always(self.out, field, &bytes);
            }
            Double => {
                let known = match text {
                    "NaN" => Some(f64::NAN),
                    "Infinity" => Some(f64::INFINITY),
                    "-Infinity" => Some(f64::NEG_INFINITY),
                    text => tenbin_model::text::float::parse_float(text),
                };
                let Some(value) = known else {
                    return Err(self.wrong(format_args!("{text:?} is no number")));
                };
                put::double_always(self.out, field, value);
            }
            Enum(names) => {
                let place = names.iter().position(|name| *name == text);
                let Some(place) = place else {
                    return Err(self.wrong(format_args!("{text:?} is not known")));
                };
                return self.bits(place as u64, 0.0);
            }
            Fixed64 | Varint | ZigZag => {
                let Some(number) = number_of(text) else {
                    return Err(self.wrong(format_args!("{text:?} is no whole number")));
                };
                return self.bits(number, 0.0);
            }
            Message(&_) => return Err(self.wrong(format_args!("a text is not expected"))),
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Message(fields) = self.field.kind else {
            return Err(self.wrong(format_args!("an object is not expected")));
        };
        let mut result = Ok(());
        put::message(self.out, self.field.number, |out| {
            result = Fields { fields, out }.visit_map(map);
        });
        result
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Value { field, out } = self;
        while list
            .next_element_seed(Value {
                field,
                out: &mut *out,
            })?
            .is_some()
        {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(json: &str) -> Vec<u8> {
        to_binary(json.as_bytes()).unwrap()
    }

    #[test]
    fn fields_become_binary() {
        let json = r#"{"resourceMetrics":[{"resource":{"attributes":[
            {"key":"a","value":{"stringValue":"x"}},{"key":"b","value":{"intValue":"-3"}}],
            "droppedAttributesCount":1},"unknown":{"deep":[1,{"x":null}]}}]}"#;
        let mut expected = Vec::new();
        put::message(&mut expected, 1, |out| {
            put::message(out, 1, |out| {
                put::message(out, 1, |out| {
                    put::bytes(out, 1, b"a");
                    put::message(out, 2, |out| put::bytes(out, 1, b"x"));
                });
                put::message(out, 1, |out| {
                    put::bytes(out, 1, b"b");
                    put::message(out, 2, |out| put::number(out, 3, (-3_i64) as u64));
                });
            });
        });
        assert_eq!(binary(json), expected);
        assert_eq!(
            binary(&json.replace("resourceMetrics", "resource_metrics")),
            expected
        );
    }

    #[test]
    fn names_come_in_two_forms() {
        assert!(TIME.is_called("timeUnixNano") && TIME.is_called("time_unix_nano"));
        for wrong in [
            "TimeUnixNano",
            "time_unixNano",
            "timeunixnano",
            "time_unix_nano_",
            "",
        ] {
            assert!(!TIME.is_called(wrong), "{wrong}");
        }
    }

    #[test]
    fn wrong_values_are_named() {
        let error = |metric: &str| {
            let json =
                format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#);
            to_binary(json.as_bytes()).map_err(|e| e.to_string())
        };
        let text = error(r#"{"name":3}"#).unwrap_err();
        assert!(
            text.contains("field \"name\": a number is not expected"),
            "{text}"
        );
        assert!(error(r#"{"sum":{"aggregationTemporality":"DELTA"}}"#).is_err());
        assert!(
            error(r#"{"sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA"}}"#).is_ok()
        );
        assert!(error(r#"{"gauge":{"dataPoints":[{"timeUnixNano":"x"}]}}"#).is_err());
        assert!(error(r#"{"gauge":{"dataPoints":[{"timeUnixNano":1.5}]}}"#).is_err());
        assert!(to_binary(b"{").is_err() && to_binary(b"{} x").is_err());
    }

    #[test]
    fn deep_nesting_is_refused() {
        let json = r#"{"resourceMetrics":[{"resource":{"attributes":[{"value":"#.to_owned()
            + &r#"{"arrayValue":{"values":["#.repeat(10_000);
        assert!(to_binary(json.as_bytes()).is_err());
    }
}
