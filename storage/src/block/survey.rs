//! A whole block looked at: what its bytes are spent on, and whether every unit of it decodes.

use croaring::Bitmap;
use hashbrown::HashSet;

use super::format::stored_hash;
use super::format::{
    HASHES, LAYOUTS, ORDER, PAGE_CHECKSUMS, PAIRS, POSTINGS, POSTINGS_DIRECTORY, SERIES,
    SERIES_STARTS, SIDE, SIDE_INDEX, TIMES, VALUES,
};
use super::reader::{Block, ColumnCache};
use crate::codec::values::MAX_RUN;
use crate::error::Corruption;
use crate::query::matching::LabelIndex;
use crate::query::merge::Samples;

/// What one codec is used for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CodecUse {
    pub(crate) runs: u64,
    pub(crate) values: u64,
    pub(crate) bytes: u64,
}

/// What a label name takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameUse {
    pub(crate) name: String,
    pub(crate) values: u64,
    pub(crate) bytes: u64,
}

/// The name of a section.
pub(crate) fn section_name(id: u32) -> String {
    let name = match id {
        VALUES => "values",
        TIMES => "timestamps",
        SERIES => "series",
        SERIES_STARTS => "series starts",
        HASHES => "label hashes",
        PAIRS => "label pairs",
        POSTINGS_DIRECTORY => "postings directory",
        POSTINGS => "postings",
        ORDER => "order",
        SIDE => "histograms and starts",
        SIDE_INDEX => "histogram index",
        LAYOUTS => "histogram layouts",
        PAGE_CHECKSUMS => "page checksums",
        other => return format!("section {other}"),
    };
    name.to_owned()
}

/// The name of a codec of values by the first byte of a run.
pub(crate) fn codec_name(code: u8) -> String {
    let name = match code {
        0 => "constant",
        1 => "integers",
        2 => "decimal constant",
        4 => "last digits",
        5 => "XOR",
        6 => "raw",
        7 => "bits",
        32..64 => return format!("plain integers, scale {}", code - 32),
        64..128 => return format!("plain constant, scale {}", code - 64),
        128.. => return format!("constant {}", code - 128),
        other => return format!("codec {other}"),
    };
    name.to_owned()
}

impl Block {
    /// Sections with their bytes, in the order of the file.
    pub(crate) fn sections(&self) -> Vec<(u32, u64)> {
        let mut sections = self.pages.sections().to_vec();
        sections.sort_by_key(|section| section.offset);
        sections.iter().map(|s| (s.id, s.len)).collect()
    }

    /// How often each codec of values is used, by its code; reads all series records.
    pub(crate) fn codec_uses(&self) -> Result<Vec<(u8, CodecUse)>, Corruption> {
        let mut uses = vec![CodecUse::default(); 256];
        for ordinal in 0..self.header().series_count {
            let record = self.record(ordinal)?;
            let (mut at, mut left) = (record.values_at, record.sample_count);
            for bytes in &record.run_bytes {
                let values = left.min(MAX_RUN);
                let code = self.pages.bytes(VALUES, at, (*bytes).min(1))?;
                let used = &mut uses[usize::from(code.first().copied().unwrap_or(0))];
                used.runs += 1;
                used.values += values as u64;
                used.bytes += *bytes as u64;
                at += bytes;
                left -= values;
            }
        }
        let coded = (0..=u8::MAX).zip(uses);
        Ok(coded.filter(|(_, used)| used.runs > 0).collect())
    }

    /// Every label name, those with the most bytes of values first.
    pub(crate) fn name_uses(&self) -> Vec<NameUse> {
        let names = self.names.iter().map(|name| NameUse {
            name: name.text.clone(),
            values: u64::from(name.pairs.end - name.pairs.start),
            bytes: name.dictionary.len() as u64,
        });
        let mut names: Vec<NameUse> = names.collect();
        names.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        names
    }

    /// Reads everything and hands each damage to `each`, once.
    pub(crate) fn check(&self, each: &mut dyn FnMut(Corruption)) {
        let mut seen: HashSet<(u64, String)> = HashSet::new();
        let mut damaged = |damage: Corruption| {
            if seen.insert((damage.offset, damage.expected.clone())) {
                each(damage);
            }
        };
        self.pages.verify_each(&mut damaged);
        let (samples, pairs) = self.check_series(&mut damaged);
        self.check_postings(pairs, &mut damaged);
        let stated = self.header().sample_count;
        if seen.is_empty() && samples != stated {
            let expected = format!("{stated} samples, as the header says");
            let found = format!("{samples}");
            each(Corruption::new(&*self.pages.file, 0, expected, found));
        }
    }

    /// Reads every series; returns the samples and label pairs of those that could be read.
    fn check_series(&self, damaged: &mut dyn FnMut(Corruption)) -> (u64, u64) {
        let (mut samples, mut pairs) = (0, 0);
        let mut samples_read = Samples::default();
        let mut cache = ColumnCache::default();
        for ordinal in 0..self.header().series_count {
            match self.check_one(ordinal, &mut cache, &mut samples_read) {
                Ok(pair_count) => {
                    samples += samples_read.floats.times.len() as u64;
                    samples += samples_read.histograms.len() as u64;
                    pairs += pair_count;
                }
                Err(damage) => damaged(damage),
            }
        }
        (samples, pairs)
    }

    fn check_one(
        &self,
        ordinal: u32,
        cache: &mut ColumnCache,
        read: &mut Samples,
    ) -> Result<u64, Corruption> {
        let record = self.record(ordinal)?;
        let labels = self.labels_of(&record.pairs)?;
        let hash = self.hash(ordinal)?;
        let own = stored_hash(labels.hash128());
        if own != hash {
            let expected = format!("label hash {own:020x} of {labels}");
            let found = format!("{hash:020x}");
            return Err(Corruption::new(&*self.pages.file, 0, expected, found));
        }
        self.read_cached(ordinal, (i64::MIN, i64::MAX), cache, read)?;
        let header = self.header();
        let inside = read
            .extent()
            .is_none_or(|(first, last)| header.min_ms <= first && last <= header.max_ms);
        let ascending = read.floats.times.is_sorted_by(|a, b| a < b)
            && read.histograms.is_sorted_by(|a, b| a.at_ms < b.at_ms);
        if !ascending || !inside {
            let (min_ms, max_ms) = (header.min_ms, header.max_ms);
            let expected = format!("ascending timestamps from {min_ms} to {max_ms} of {labels}");
            return Err(Corruption::new(&*self.pages.file, 0, expected, "others"));
        }
        Ok(record.pairs.len() as u64)
    }

    /// Reads the postings of every label pair, which name each series as often as it has pairs.
    fn check_postings(&self, pairs: u64, damaged: &mut dyn FnMut(Corruption)) {
        let mut found = 0;
        for name in &self.names {
            let mut values = Vec::new();
            let read =
                LabelIndex::values(self, &name.text, None, &mut |v| values.push(v.to_owned()));
            if let Err(damage) = read {
                damaged(self.unreadable(&damage));
                return;
            }
            for value in values {
                let mut series = Bitmap::new();
                if let Err(damage) = self.add_pair(&name.text, &value, &mut series) {
                    damaged(self.unreadable(&damage));
                    return;
                }
                found += series.cardinality();
            }
        }
        if found != pairs {
            let expected = format!("{pairs} entries of postings, as the series have label pairs");
            damaged(Corruption::new(
                &*self.pages.file,
                0,
                expected,
                found.to_string(),
            ));
        }
    }

    fn unreadable(&self, error: &tenbin_model::StoreError) -> Corruption {
        let offset = match error {
            tenbin_model::StoreError::Corrupt { offset, .. } => *offset,
            _ => 0,
        };
        Corruption::new(
            &*self.pages.file,
            offset,
            "readable postings",
            error.to_string(),
        )
    }
}
