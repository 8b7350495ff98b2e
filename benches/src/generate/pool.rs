//! Labels in the form that requests need them: every distinct label once, with its encoded 1.0
//! bytes and its two symbols for 2.0.

use std::collections::HashMap;

use super::wire;

/// Names one label (a name with a value) of a [`Pool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LabelId(u32);

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    end: u32,
    name: u32,
    value: u32,
}

/// All labels of one stream of requests.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    entries: Vec<Entry>,
    /// The labels as `TimeSeries.labels` fields of a 1.0 message, back to back.
    encoded: Vec<u8>,
    by_symbols: HashMap<(u32, u32), LabelId>,
    symbols: Vec<Box<str>>,
    by_text: HashMap<Box<str>, u32>,
}

impl Pool {
    /// The label's name in this pool.
    pub(crate) fn label(&mut self, name: &str, value: &str) -> LabelId {
        let symbols = (self.symbol(name), self.symbol(value));
        if let Some(known) = self.by_symbols.get(&symbols) {
            return *known;
        }
        let start = self.encoded.len() as u32;
        let mut message = Vec::new();
        wire::bytes(&mut message, 1, name.as_bytes());
        wire::bytes(&mut message, 2, value.as_bytes());
        wire::bytes(&mut self.encoded, 1, &message);
        let id = LabelId(self.entries.len() as u32);
        self.entries.push(Entry {
            start,
            end: self.encoded.len() as u32,
            name: symbols.0,
            value: symbols.1,
        });
        self.by_symbols.insert(symbols, id);
        id
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if let Some(known) = self.by_text.get(text) {
            return *known;
        }
        let id = self.symbols.len() as u32;
        self.symbols.push(text.into());
        self.by_text.insert(text.into(), id);
        id
    }

    /// The label as a field of a 1.0 `TimeSeries`.
    pub(crate) fn encoded(&self, label: LabelId) -> &[u8] {
        let entry = self.entries[label.0 as usize];
        &self.encoded[entry.start as usize..entry.end as usize]
    }

    /// The symbols of the label's name and value.
    pub(crate) fn symbols(&self, label: LabelId) -> (u32, u32) {
        let entry = self.entries[label.0 as usize];
        (entry.name, entry.value)
    }

    pub(crate) fn symbol_text(&self, symbol: u32) -> &str {
        &self.symbols[symbol as usize]
    }

    pub(crate) fn symbol_count(&self) -> usize {
        self.symbols.len()
    }
}
