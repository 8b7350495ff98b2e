//! The records of what stands beside samples.
//!
//! EXEMPLAR: `uvarint lane, uvarint n`, n times `varint id - id before, varint time - time before, u64
//! value bits, uvarint labels, labels x (text name, text value)`.
//! METADATA: `uvarint lane, uvarint n`, n times `text metric, uvarint type, text help, text unit`; the
//! lane only says who replays it.

use tenbin_model::write::MetadataEntry;

use crate::codec::Malformed;
use crate::codec::bytes::{Cursor, put_varint};
use crate::exemplars::{StoredExemplar, put_labels, read_labels};
use crate::metadata::{put_entry, read_entry};

/// Collects exemplars and metadata of a record.
#[derive(Debug, Default)]
pub(crate) struct SideBuilder {
    pub(crate) exemplars: Vec<u8>,
    pub(crate) exemplar_count: u64,
    last: (u32, i64),
    pub(crate) metadata: Vec<u8>,
    pub(crate) metadata_count: u64,
}

impl SideBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.exemplar_count == 0 && self.metadata_count == 0
    }

    pub(crate) fn exemplar(&mut self, id: u32, exemplar: &StoredExemplar) {
        let out = &mut self.exemplars;
        put_varint(out, i64::from(id) - i64::from(self.last.0));
        put_varint(out, exemplar.timestamp_ms.wrapping_sub(self.last.1));
        out.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        put_labels(out, exemplar.labels.iter());
        self.last = (id, exemplar.timestamp_ms);
        self.exemplar_count += 1;
    }

    pub(crate) fn metadata(&mut self, entry: &MetadataEntry<'_>) {
        put_entry(&mut self.metadata, entry);
        self.metadata_count += 1;
    }

    /// Forgets what the next exemplar would refer to.
    pub(crate) fn reset(&mut self) {
        self.last = (0, 0);
    }
}

/// Hands lane, id and exemplar to `each`.
pub(crate) fn read_exemplars(
    body: &[u8],
    mut each: impl FnMut(u32, u32, StoredExemplar),
) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(body);
    let lane = cursor.uvarint32()?;
    let (mut id, mut timestamp_ms) = (0_i64, 0_i64);
    for _ in 0..cursor.count(11, usize::MAX)? {
        id = id.wrapping_add(cursor.varint()?);
        timestamp_ms = timestamp_ms.wrapping_add(cursor.varint()?);
        let value = f64::from_bits(cursor.u64()?);
        let labels = read_labels(&mut cursor)?;
        let id = u32::try_from(id).map_err(|_| Malformed("series id leaves 32 bits"))?;
        let exemplar = StoredExemplar {
            labels,
            value,
            timestamp_ms,
        };
        each(lane, id, exemplar);
    }
    Ok(())
}

/// Hands each statement to `each`.
pub(crate) fn read_metadata(
    body: &[u8],
    mut each: impl FnMut(&MetadataEntry<'_>),
) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(body);
    cursor.uvarint32()?;
    for _ in 0..cursor.count(4, usize::MAX)? {
        each(&read_entry(&mut cursor)?);
    }
    Ok(())
}
