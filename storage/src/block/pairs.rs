//! The label dictionary of a block: names, and per name the sorted values, front-coded.
//!
//! Section: `uvarint names`, per name `text, uvarint values, uvarint dictionary bytes`, then the
//! dictionaries one after another. A dictionary is `u32 offset` of every 16th entry (from the end of
//! these offsets), then entries: every 16th is `text`, the others `uvarint shared, text rest`. The id
//! of a pair is the number of pairs of all names before plus its rank.

use std::ops::Range;

use crate::codec::Malformed;
use crate::codec::bytes::{Cursor, put_text, put_uvarint};

const RESTART: usize = 16;

/// Longest value that is believed.
const MAX_TEXT_BYTES: usize = 1 << 24;

/// Appends the section for `names` (sorted), each with its sorted values.
pub(crate) fn encode(out: &mut Vec<u8>, names: &[(&str, Vec<&str>)]) {
    put_uvarint(out, names.len() as u64);
    let mut dictionaries = Vec::new();
    for (name, values) in names {
        let before = dictionaries.len();
        encode_values(&mut dictionaries, values);
        put_text(out, name.as_bytes());
        put_uvarint(out, values.len() as u64);
        put_uvarint(out, (dictionaries.len() - before) as u64);
    }
    out.extend_from_slice(&dictionaries);
}

fn encode_values(out: &mut Vec<u8>, values: &[&str]) {
    let mut entries = Vec::new();
    let mut previous = "";
    for (rank, value) in values.iter().enumerate() {
        if rank % RESTART == 0 {
            out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
            put_text(&mut entries, value.as_bytes());
        } else {
            let pairs = previous.bytes().zip(value.bytes());
            let shared = pairs.take_while(|(a, b)| a == b).count();
            put_uvarint(&mut entries, shared as u64);
            put_text(&mut entries, &value.as_bytes()[shared..]);
        }
        previous = value;
    }
    out.extend_from_slice(&entries);
}

/// A label name of a block.
#[derive(Debug, Clone)]
pub(crate) struct NameEntry {
    pub(crate) text: String,
    /// Ids of its pairs.
    pub(crate) pairs: Range<u32>,
    /// Place of its dictionary inside the section.
    pub(crate) dictionary: Range<usize>,
}

/// Reads the table of names at the front of the section.
pub(crate) fn decode_names(section: &[u8]) -> Result<Vec<NameEntry>, Malformed> {
    let mut cursor = Cursor::new(section);
    let mut names: Vec<NameEntry> = Vec::new();
    let mut lens = Vec::new();
    let mut next_pair = 0_u32;
    for _ in 0..cursor.count(3, usize::MAX)? {
        let text = cursor.text()?.to_owned();
        if names.last().is_some_and(|before| before.text >= text) {
            return Err(Malformed("label names do not ascend"));
        }
        let values = cursor.uvarint32()?;
        lens.push(cursor.count(0, section.len())?);
        let end = next_pair
            .checked_add(values)
            .ok_or(Malformed("pair ids exceed 32 bits"))?;
        names.push(NameEntry {
            text,
            pairs: next_pair..end,
            dictionary: 0..0,
        });
        next_pair = end;
    }
    let mut at = section.len() - cursor.remaining();
    for (name, len) in names.iter_mut().zip(lens) {
        name.dictionary = at..at + len;
        at += len;
    }
    if at != section.len() {
        return Err(Malformed("dictionaries do not fill their section"));
    }
    Ok(names)
}

/// The sorted values of one name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    offsets: &'a [u8],
    entries: &'a [u8],
    count: usize,
}

impl<'a> Values<'a> {
    pub(crate) fn new(dictionary: &'a [u8], count: usize) -> Result<Self, Malformed> {
        let (offsets, entries) = dictionary
            .split_at_checked(count.div_ceil(RESTART) * 4)
            .ok_or(Malformed("dictionary is shorter than its offsets"))?;
        Ok(Self {
            offsets,
            entries,
            count,
        })
    }

    fn restart(&self, number: usize) -> Result<Cursor<'a>, Malformed> {
        let mut offset = Cursor::new(self.offsets.get(number * 4..).unwrap_or_default());
        let at = offset.u32()? as usize;
        let rest = self.entries.get(at..);
        Ok(Cursor::new(
            rest.ok_or(Malformed("offset beyond dictionary"))?,
        ))
    }

    /// Calls `each` with rank and value from `rank` on until it returns false.
    pub(crate) fn scan(
        &self,
        rank: usize,
        mut each: impl FnMut(usize, &str) -> bool,
    ) -> Result<(), Malformed> {
        let mut text: Vec<u8> = Vec::new();
        let mut at = rank / RESTART * RESTART;
        if at >= self.count {
            return Ok(());
        }
        let mut cursor = self.restart(at / RESTART)?;
        while at < self.count {
            let shared = if at.is_multiple_of(RESTART) {
                0
            } else {
                cursor.count(0, text.len())?
            };
            let len = cursor.count(1, MAX_TEXT_BYTES)?;
            text.truncate(shared);
            text.extend_from_slice(cursor.take(len)?);
            if at >= rank {
                let value =
                    std::str::from_utf8(&text).map_err(|_| Malformed("value is no UTF-8"))?;
                if !each(at, value) {
                    return Ok(());
                }
            }
            at += 1;
        }
        Ok(())
    }

    /// The value of a rank.
    pub(crate) fn get(&self, rank: usize) -> Result<String, Malformed> {
        let mut found = None;
        self.scan(rank, |_, value| {
            found = Some(value.to_owned());
            false
        })?;
        found.ok_or(Malformed("pair id beyond its dictionary"))
    }

    /// A rank at most 15 before the first value that is not below `wanted`.
    pub(crate) fn rank_before(&self, wanted: &str) -> Result<usize, Malformed> {
        Ok(self.last_restart(wanted)?.unwrap_or(0) * RESTART)
    }

    /// The last restart whose text is not above the wanted one.
    fn last_restart(&self, wanted: &str) -> Result<Option<usize>, Malformed> {
        let (mut low, mut high) = (0, self.count.div_ceil(RESTART));
        while low < high {
            let middle = low + (high - low) / 2;
            let mut cursor = self.restart(middle)?;
            if cursor.text()? <= wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.checked_sub(1))
    }

    /// The rank of a value.
    pub(crate) fn find(&self, wanted: &str) -> Result<Option<usize>, Malformed> {
        let Some(restart) = self.last_restart(wanted)? else {
            return Ok(None);
        };
        let mut found = None;
        self.scan(restart * RESTART, |rank, value| {
            if value == wanted {
                found = Some(rank);
            }
            value < wanted && rank + 1 < (restart + 1) * RESTART
        })?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn values_are_found_by_text_and_rank(values in prop::collection::btree_set("[a-c]{0,6}", 1..80), wanted in "[a-c]{0,6}") {
            let sorted: Vec<&str> = values.iter().map(String::as_str).collect();
            let mut section = Vec::new();
            encode(&mut section, &[("a", vec!["x"]), ("b", sorted.clone())]);
            let names = decode_names(&section).unwrap();
            prop_assert_eq!(&names[1].text, "b");
            prop_assert_eq!(names[1].pairs.clone(), 1..1 + sorted.len() as u32);
            let dictionary = Values::new(&section[names[1].dictionary.clone()], sorted.len()).unwrap();
            for (rank, value) in sorted.iter().enumerate() {
                prop_assert_eq!(dictionary.get(rank), Ok((*value).to_owned()));
                prop_assert_eq!(dictionary.find(value), Ok(Some(rank)));
            }
            prop_assert_eq!(dictionary.find(&wanted).unwrap().is_some(), values.contains(&wanted));
            let mut seen = BTreeSet::new();
            dictionary.scan(0, |_, v| seen.insert(v.to_owned())).unwrap();
            prop_assert_eq!(seen, values);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), count in 0_usize..50) {
            let _ = decode_names(&bytes);
            if let Ok(values) = Values::new(&bytes, count) {
                let _ = values.find("abc");
                let _ = values.scan(0, |_, _| true);
                let _ = values.get(count / 2);
            }
        }
    }
}
