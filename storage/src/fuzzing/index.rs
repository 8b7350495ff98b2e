//! Label sets to an index and matchers over it, beside a look at every series.

use std::collections::BTreeSet;
use std::path::Path;

use tenbin_model::{Labels, MatchOp, Matcher};

use super::Input;
use crate::block::reader::Block;
use crate::block::writer::BlockWriter;
use crate::query::matching::{LabelIndex, select};
use crate::query::merge::Samples;
use crate::vfs::{SimVfs, Vfs};

const NAMES: [&str; 5] = ["__name__", "a", "instance", "job", "é"];
const PATTERNS: [&str; 8] = ["", ".*", ".+", "a|b", "a.*", "(|a)", "[^a]", "x1|x2|x3"];

fn value(input: &mut Input<'_>) -> String {
    match input.u8() {
        0 => String::new(),
        byte @ 1..=40 => char::from(b'a' + byte % 3).to_string(),
        byte @ 41..=120 => format!("x{}", byte % 40),
        byte @ 121..=127 => "long value ".repeat(usize::from(byte)),
        _ => String::from_utf8_lossy(input.take(3)).into_owned(),
    }
}

fn write(sets: &BTreeSet<Vec<(&'static str, String)>>) -> Block {
    let disk = SimVfs::new();
    let path = Path::new("blocks/fuzz.blk");
    let mut writer = BlockWriter::create(&disk, path).expect("a fresh file");
    let mut samples = Samples::default();
    samples.floats.times.push(1);
    samples.floats.values.push(1.0);
    for set in sets {
        let pairs: Vec<u32> = set.iter().map(|(n, v)| writer.pair(n, v)).collect();
        let borrowed: Vec<(&str, &str)> = set.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let hash = Labels::from_sorted(&borrowed).hash128();
        writer.series(hash, &pairs, &samples).expect("a write");
    }
    writer.finish(0, 1, 0).expect("a whole block");
    let map = disk.map_sealed(path).expect("a file");
    Block::open(map, "blocks/fuzz.blk".into()).expect("what this program wrote")
}

/// Series and matchers of the input: the index finds what a look at every series finds.
pub fn index_sections(data: &[u8]) {
    let mut input = Input::new(data);
    let mut sets = BTreeSet::new();
    for _ in 0..input.u8() {
        let present = input.u8();
        let names = NAMES.iter().enumerate();
        let names = names.filter(|(at, _)| present & 1 << at != 0);
        let set = names.map(|(_, name)| (*name, value(&mut input)));
        let set: Vec<_> = set.filter(|(_, value)| !value.is_empty()).collect();
        sets.insert(set);
    }
    if sets.is_empty() {
        return;
    }
    let block = write(&sets);
    let labels: Vec<Labels> = (0..sets.len() as u32)
        .map(|ordinal| {
            let record = block.record(ordinal).expect("a record");
            block.labels_of(&record.pairs).expect("labels")
        })
        .collect();
    for _ in 0..8 {
        let mut matchers = Vec::new();
        for _ in 0..=input.u8() % 3 {
            let choice = input.u8();
            let name = NAMES[usize::from(choice) % NAMES.len()];
            let pattern = PATTERNS[usize::from(choice / 5) % PATTERNS.len()];
            let matcher = match choice >> 6 {
                0 => Matcher::new(MatchOp::Equal, name, value(&mut input)),
                1 => Matcher::new(MatchOp::NotEqual, name, value(&mut input)),
                2 => Matcher::new(MatchOp::Regex, name, pattern),
                _ => Matcher::new(MatchOp::NotRegex, name, pattern),
            };
            matchers.push(matcher.expect("a matcher"));
        }
        let found = select(&block, &matchers).expect("an intact index");
        let naive = labels.iter().enumerate().filter(|(_, labels)| {
            let fits = |m: &Matcher| m.matches(labels.get(m.name()).unwrap_or(""));
            matchers.iter().all(fits)
        });
        let naive: Vec<u32> = naive.map(|(ordinal, _)| ordinal as u32).collect();
        assert_eq!(found.to_vec(), naive, "{matchers:?}");
        let mut values = BTreeSet::new();
        LabelIndex::values(&block, "job", Some(&found), &mut |v| {
            values.insert(v.to_owned());
        })
        .expect("an intact index");
        let of_naive = naive
            .iter()
            .filter_map(|at| labels[*at as usize].get("job"));
        assert_eq!(values, of_naive.map(str::to_owned).collect());
    }
    block.check(&mut |damage| panic!("{damage}"));
}
