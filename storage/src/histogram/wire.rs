//! Layouts and fields as bytes, for the log and for blocks.
//!
//! Layout: `u8 form (1: float), varint schema, u64 bits of the zero threshold`, the positive and the
//! negative spans (`uvarint n, n x (varint offset, uvarint length)`), `uvarint n, n x u64` bits of
//! the custom bounds.
//! Fields alone: integer counts as `uvarint`, sums as `u64`, integer buckets as `varint` difference
//! to the bucket before; floats as `uvarint` of the reversed bytes of the XOR with the field before.

use tenbin_model::BucketSpan;

use super::{HEAD_FIELDS, Layout, MAX_BUCKETS, SUM};
use crate::codec::Malformed;
use crate::codec::bytes::{Cursor, put_uvarint, put_varint};

fn put_spans(out: &mut Vec<u8>, spans: &[BucketSpan]) {
    put_uvarint(out, spans.len() as u64);
    for span in spans {
        put_varint(out, i64::from(span.offset));
        put_uvarint(out, u64::from(span.length));
    }
}

/// Appends a layout.
pub(crate) fn put_layout(out: &mut Vec<u8>, layout: &Layout) {
    out.push(u8::from(layout.float));
    put_varint(out, i64::from(layout.schema));
    out.extend_from_slice(&layout.zero_threshold.to_le_bytes());
    put_spans(out, &layout.positive_spans);
    put_spans(out, &layout.negative_spans);
    put_uvarint(out, layout.custom_values.len() as u64);
    for bound in &layout.custom_values {
        out.extend_from_slice(&bound.to_le_bytes());
    }
}

fn read_spans(cursor: &mut Cursor<'_>) -> Result<Vec<BucketSpan>, Malformed> {
    let count = cursor.count(2, MAX_BUCKETS)?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let offset = i32::try_from(cursor.varint()?);
        spans.push(BucketSpan {
            offset: offset.map_err(|_| Malformed("span offset exceeds 32 bits"))?,
            length: cursor.uvarint32()?,
        });
    }
    Ok(spans)
}

/// Reads a layout.
pub(crate) fn read_layout(cursor: &mut Cursor<'_>) -> Result<Layout, Malformed> {
    let form = cursor.u8()?;
    if form > 1 {
        return Err(Malformed("unknown form of histogram"));
    }
    let schema = i32::try_from(cursor.varint()?).map_err(|_| Malformed("schema is absurd"))?;
    let zero_threshold = cursor.u64()?;
    let positive_spans = read_spans(cursor)?;
    let negative_spans = read_spans(cursor)?;
    let spans = positive_spans.iter().chain(&negative_spans);
    let buckets: u64 = spans.map(|span| u64::from(span.length)).sum();
    if buckets > MAX_BUCKETS as u64 {
        return Err(Malformed("histogram has too many buckets"));
    }
    let count = cursor.count(8, MAX_BUCKETS)?;
    let mut custom_values = Vec::with_capacity(count);
    for _ in 0..count {
        custom_values.push(cursor.u64()?);
    }
    Ok(Layout {
        float: form == 1,
        schema,
        zero_threshold,
        positive_spans,
        negative_spans,
        custom_values,
    })
}

/// Appends the fields of a histogram, which is understood without any other.
pub(crate) fn put_fields(out: &mut Vec<u8>, layout: &Layout, fields: &[u64]) {
    let mut before = 0;
    for (at, field) in fields.iter().enumerate() {
        if at == SUM {
            out.extend_from_slice(&field.to_le_bytes());
        } else if layout.float {
            put_uvarint(out, (field ^ before).swap_bytes());
            before = *field;
        } else if at < HEAD_FIELDS {
            put_uvarint(out, *field);
        } else {
            put_varint(out, field.wrapping_sub(before) as i64);
            before = *field;
        }
    }
}

/// Reads the fields of a histogram.
pub(crate) fn read_fields(
    cursor: &mut Cursor<'_>,
    layout: &Layout,
) -> Result<Box<[u64]>, Malformed> {
    let width = layout.width();
    // Each field takes a byte at least.
    if width > cursor.remaining() {
        return Err(Malformed("histogram ends early"));
    }
    let mut fields = Vec::with_capacity(width);
    let mut before = 0;
    for at in 0..width {
        let field = if at == SUM {
            cursor.u64()?
        } else if layout.float {
            before ^= cursor.uvarint()?.swap_bytes();
            before
        } else if at < HEAD_FIELDS {
            cursor.uvarint()?
        } else {
            before = before.wrapping_add(cursor.varint()? as u64);
            before
        };
        fields.push(field);
    }
    Ok(fields.into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_spans() -> impl Strategy<Value = Vec<BucketSpan>> {
        let span = (any::<i32>(), 0_u32..5);
        let span = span.prop_map(|(offset, length)| BucketSpan { offset, length });
        prop::collection::vec(span, 0..4)
    }

    /// Any layout, valid or not.
    pub(crate) fn any_layout() -> impl Strategy<Value = Layout> {
        (
            any::<bool>(),
            any::<i32>(),
            any::<u64>(),
            any_spans(),
            any_spans(),
            prop::collection::vec(any::<u64>(), 0..4),
        )
            .prop_map(
                |(float, schema, zero_threshold, positive, negative, custom)| Layout {
                    float,
                    schema,
                    zero_threshold,
                    positive_spans: positive,
                    negative_spans: negative,
                    custom_values: custom,
                },
            )
    }

    /// Any fields of a layout.
    pub(crate) fn any_fields(layout: &Layout) -> impl Strategy<Value = Vec<u64>> + use<> {
        let field = prop_oneof![
            any::<u64>(),
            0_u64..100,
            any::<f64>().prop_map(f64::to_bits)
        ];
        let width = layout.width();
        prop::collection::vec(field, width..=width)
    }

    proptest! {
        #[test]
        fn any_histogram_survives(
            (layout, fields) in any_layout().prop_flat_map(|l| {
                let fields = any_fields(&l);
                (Just(l), fields)
            }),
        ) {
            let mut bytes = Vec::new();
            put_layout(&mut bytes, &layout);
            put_fields(&mut bytes, &layout, &fields);
            let mut cursor = Cursor::new(&bytes);
            let back = read_layout(&mut cursor).unwrap();
            prop_assert_eq!(&back, &layout);
            prop_assert_eq!(&*read_fields(&mut cursor, &back).unwrap(), &fields[..]);
            prop_assert!(cursor.is_empty());
            let value = super::super::to_value(&layout, &fields, super::super::point::hint_of(2));
            prop_assert_eq!(&Layout::of(&value), &layout);
            prop_assert!(layout.fits(&value));
            let mut again = Vec::new();
            super::super::fields_into(&value, &mut again);
            prop_assert_eq!(again, fields);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut cursor = Cursor::new(&bytes);
            if let Ok(layout) = read_layout(&mut cursor) {
                let _ = read_fields(&mut cursor, &layout);
            }
        }
    }
}
