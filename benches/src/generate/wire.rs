//! The few protobuf fields that write requests are made of.

/// A base-128 number.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`varint`] takes.
pub(crate) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// A field of bytes: a string or a message.
pub(crate) fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A `Sample` as field 2 of a series, in both versions: value=1, timestamp=2. A value of zero is
/// left out, as protobuf does with fields at their default.
pub(crate) fn sample(out: &mut Vec<u8>, timestamp_ms: i64, value: f64) {
    out.extend_from_slice(&[2 << 3 | 2, sample_message_len(timestamp_ms, value) as u8]);
    if value.to_bits() != 0 {
        out.push(1 << 3 | 1);
        out.extend_from_slice(&value.to_le_bytes());
    }
    out.push(2 << 3);
    varint(out, timestamp_ms.cast_unsigned());
}

/// How many bytes [`sample`] takes.
pub(crate) fn sample_len(timestamp_ms: i64, value: f64) -> usize {
    2 + sample_message_len(timestamp_ms, value)
}

fn sample_message_len(timestamp_ms: i64, value: f64) -> usize {
    let value_len = if value.to_bits() == 0 { 0 } else { 9 };
    value_len + 1 + varint_len(timestamp_ms.cast_unsigned())
}
