//! Writing protobuf wire format: the counterpart of `protobuf.rs`.
//!
//! Fields of value zero are left out, as proto3 does, except by the functions whose names say
//! otherwise. Nested messages are written in place; their length is put in front afterwards.

use super::protobuf::wire;

/// Appends a base-128 number.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_tag(out: &mut Vec<u8>, field: u32, wire_type: u8) {
    put_varint(out, u64::from(field << 3 | u32::from(wire_type)));
}

/// A number so that small negative ones are short.
#[must_use]
pub fn zigzag(value: i64) -> u64 {
    (value.wrapping_shl(1) ^ (value >> 63)) as u64
}

/// A number, also when it is zero.
pub fn number_always(out: &mut Vec<u8>, field: u32, value: u64) {
    put_tag(out, field, wire::VARINT);
    put_varint(out, value);
}

/// A number.
pub fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        number_always(out, field, value);
    }
}

/// A double, also when it is zero.
pub fn double_always(out: &mut Vec<u8>, field: u32, value: f64) {
    put_tag(out, field, wire::FIXED64);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// A double; -0 is not zero.
pub fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    if value.to_bits() != 0 {
        double_always(out, field, value);
    }
}

/// Bytes or a text, also when empty.
pub fn bytes_always(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    put_tag(out, field, wire::BYTES);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Bytes or a text.
pub fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    if !value.is_empty() {
        bytes_always(out, field, value);
    }
}

/// A nested message, also when empty.
pub fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put_tag(out, field, wire::BYTES);
    length_prefixed(out, write);
}

/// What `write` appends, behind its length.
pub fn length_prefixed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    let mut length = Vec::with_capacity(10);
    put_varint(&mut length, (out.len() - start) as u64);
    let end = out.len();
    out.extend_from_slice(&length);
    out.copy_within(start..end, start + length.len());
    out[start..start + length.len()].copy_from_slice(&length);
}

/// Numbers in one field, packed.
pub fn packed_numbers(out: &mut Vec<u8>, field: u32, values: impl ExactSizeIterator<Item = u64>) {
    if values.len() > 0 {
        message(out, field, |out| values.for_each(|v| put_varint(out, v)));
    }
}

/// Doubles in one field, packed.
pub fn packed_doubles(out: &mut Vec<u8>, field: u32, values: &[f64]) {
    if !values.is_empty() {
        message(out, field, |out| {
            for value in values {
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    struct Outer {
        #[prost(message, repeated, tag = "1")]
        inner: Vec<Inner>,
        #[prost(double, tag = "2")]
        value: f64,
        #[prost(sint64, repeated, tag = "3")]
        deltas: Vec<i64>,
        #[prost(double, repeated, tag = "16")]
        doubles: Vec<f64>,
        #[prost(uint64, optional, tag = "5")]
        always: Option<u64>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Inner {
        #[prost(string, tag = "1")]
        text: String,
        #[prost(int64, tag = "2")]
        number: i64,
    }

    #[test]
    fn writes_what_prost_writes() {
        let inner = |text: &str, number| Inner {
            text: text.into(),
            number,
        };
        let outer = Outer {
            inner: vec![inner(&"long".repeat(100), -1), inner("", 0)],
            value: 1.5,
            deltas: vec![1, -1, i64::MIN, 300],
            doubles: vec![0.0, f64::NAN],
            always: Some(0),
        };
        let mut out = Vec::new();
        for one in &outer.inner {
            message(&mut out, 1, |out| {
                bytes(out, 1, one.text.as_bytes());
                number(out, 2, one.number as u64);
            });
        }
        double(&mut out, 2, outer.value);
        packed_numbers(&mut out, 3, outer.deltas.iter().map(|d| zigzag(*d)));
        number_always(&mut out, 5, 0);
        packed_doubles(&mut out, 16, &outer.doubles);
        assert_eq!(out, outer.encode_to_vec());
        let mut out = Vec::new();
        double(&mut out, 1, -0.0);
        double(&mut out, 1, 0.0);
        assert_eq!(out, [9, 0, 0, 0, 0, 0, 0, 0, 0x80]);
    }
}
