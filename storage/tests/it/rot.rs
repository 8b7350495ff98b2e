//! Damage everywhere in a directory that has everything: every byte flipped, files cut at every
//! length, frames dropped, repeated and swapped, pages swapped, files under another's name. What was
//! lost is named or a query fails; never another value, never a panic.
//!
//! A normal run takes a sample of the places; `TENBIN_ROT=1` takes all.

use std::path::{Path, PathBuf};

use tenbin_model::TimeRange;
use tenbin_storage::vfs::SimVfs;

use crate::harness::*;
use crate::rich::*;

/// Takes one of so many places in a normal run.
fn stride(usual: usize) -> usize {
    match std::env::var_os("TENBIN_ROT") {
        Some(_) => 1,
        None => usual,
    }
}

/// What files are called in messages.
fn name_of(path: &Path) -> String {
    let name = path.strip_prefix("data").unwrap();
    name.to_str().unwrap().to_owned()
}

/// Opens a copy with other bytes in one file, and judges what is read.
fn judge(rich: &Rich, path: &Path, bytes: Vec<u8>, case: &str) -> Verdict {
    let case = &format!("{}: {case}", name_of(path));
    let disk = rich.disk.copy();
    disk.overwrite(path, bytes);
    let db = open(&disk, &options()).unwrap_or_else(|e| panic!("{case}: {e}"));
    let found = contents(&db, &any(), TimeRange::ALL);
    let stats = db.stats();
    let named = stats.corruptions.iter().any(|c| c.file == name_of(path));
    let torn = stats.replay_torn_bytes > 0;
    let side_lost = exemplars(&db) != rich.exemplars || helps(&db) != rich.helps;
    assert!(exemplars(&db).is_subset(&rich.exemplars), "{case}");
    assert!(helps(&db).iter().all(|h| rich.helps.contains(h)), "{case}");
    let verdict = match found {
        Err(error) => {
            assert!(error.to_string().contains("blocks/"), "{case}: {error}");
            Verdict::QueryFails
        }
        Ok(found) => {
            for (labels, samples) in &found {
                for (at_ms, bits) in samples {
                    let known = rich.ever[labels].get(at_ms);
                    assert_eq!(known, Some(bits), "{case}: {labels} at {at_ms}");
                }
            }
            let lost = found != rich.visible || side_lost;
            assert!(
                !lost || named || torn,
                "{case}: something is lost without a word"
            );
            match (lost, named) {
                (true, _) => Verdict::Lost,
                (false, true) => Verdict::Named,
                (false, false) => Verdict::Unread,
            }
        }
    };
    // The store goes on, and a restart finds it in order but for what is damaged.
    append(&db, &one(series(9), START_MS + 9000, 1.0))
        .1
        .wait()
        .unwrap();
    db.close().unwrap();
    let _ = open(&disk, &options()).unwrap_or_else(|e| panic!("{case}: again: {e}"));
    verdict
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    QueryFails,
    Lost,
    Named,
    Unread,
}

/// The files of a directory by what they are, each with a usual stride.
fn parts(rich: &Rich) -> Vec<(PathBuf, usize)> {
    let mut parts = vec![
        (PathBuf::from("data/MANIFEST"), 3),
        (PathBuf::from("data/EXEMPLARS"), 97),
        (PathBuf::from("data/METADATA"), 97),
    ];
    let blocks = files(&rich.disk, "data/blocks", ".blk").into_iter();
    parts.extend(blocks.map(|path| (path, 41)));
    let segments = files(&rich.disk, "data/wal", ".wal").into_iter();
    parts.extend(segments.map(|path| (path, 61)));
    assert!(parts.len() >= 6);
    parts
}

#[test]
fn a_flip_of_any_byte_is_noticed_or_changes_nothing() {
    let rich = rich();
    for (path, usual) in parts(&rich) {
        let bytes = rich.disk.bytes(&path).unwrap();
        let mut verdicts = std::collections::BTreeMap::new();
        for at in (0..bytes.len()).step_by(stride(usual)) {
            for flip in [1_u8, 0x80, 0xff] {
                if flip != 1 && at % 5 != 0 {
                    continue;
                }
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                let verdict = judge(&rich, &path, damaged, &format!("byte {at} ^ {flip:02x}"));
                *verdicts.entry(verdict).or_insert(0) += 1;
            }
        }
        println!("{}, {} bytes: {verdicts:?}", path.display(), bytes.len());
        let block = path.extension().is_some_and(|e| e == "blk");
        let noticed = verdicts.keys().any(|v| *v != Verdict::Unread);
        assert!(noticed && (!block || verdicts.contains_key(&Verdict::QueryFails)));
    }
}

#[test]
fn a_file_cut_at_any_length_is_noticed_or_changes_nothing() {
    let rich = rich();
    for (path, usual) in parts(&rich) {
        let bytes = rich.disk.bytes(&path).unwrap();
        let is_manifest = path.ends_with("MANIFEST");
        let segment = path.extension().is_some_and(|e| e == "wal");
        for len in (0..bytes.len()).step_by(stride(usual)) {
            // A manifest or a log cut between frames is one that never had the rest.
            if is_manifest || segment {
                let disk = rich.disk.copy();
                disk.overwrite(&path, bytes[..len].to_vec());
                let db = open(&disk, &options()).unwrap();
                if let Ok(found) = contents(&db, &any(), TimeRange::ALL) {
                    for (labels, samples) in &found {
                        for (at_ms, bits) in samples {
                            assert_eq!(rich.ever[labels].get(at_ms), Some(bits), "{len}");
                        }
                    }
                }
                continue;
            }
            judge(
                &rich,
                &path,
                bytes[..len].to_vec(),
                &format!("length {len}"),
            );
        }
    }
}

/// Where the frames of a segment stand.
fn frames(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut at, mut found) = (64, Vec::new());
    while let Some(len) = bytes.get(at..at + 4) {
        let len = u32::from_le_bytes(len.try_into().unwrap()) as usize;
        if len == 0 {
            break;
        }
        let end = (at + 32 + len).next_multiple_of(8);
        found.push(at..end);
        at = end;
    }
    found
}

#[test]
fn frames_that_are_missing_twice_there_or_out_of_order_are_noticed() {
    let rich = rich();
    let path = files(&rich.disk, "data/wal", ".wal").remove(0);
    let bytes = rich.disk.bytes(&path).unwrap();
    let frames = frames(&bytes);
    assert!(frames.len() > 5, "{frames:?}");
    let with = |parts: Vec<&[u8]>| [&[&bytes[..64]], &parts[..]].concat().concat();
    let all = |skip: Option<usize>| -> Vec<&[u8]> {
        let kept = frames
            .iter()
            .enumerate()
            .filter(|(at, _)| Some(*at) != skip);
        kept.map(|(_, range)| &bytes[range.clone()]).collect()
    };
    for at in 0..frames.len() - 2 {
        let verdict = judge(
            &rich,
            &path,
            with(all(Some(at))),
            &format!("without frame {at}"),
        );
        assert!(verdict < Verdict::Unread);
        let mut twice = all(None);
        twice.insert(at, twice[at]);
        let verdict = judge(&rich, &path, with(twice), &format!("frame {at} twice"));
        assert!(verdict >= Verdict::Named, "nothing is lost");
        let mut swapped = all(None);
        swapped.swap(at, at + 1);
        judge(
            &rich,
            &path,
            with(swapped),
            &format!("frames from {at} swapped"),
        );
    }
}

#[test]
fn a_file_under_the_name_of_another_is_noticed() {
    let rich = rich();
    let blocks = files(&rich.disk, "data/blocks", ".blk");
    for (path, other) in [(0, 1), (1, 0)] {
        let bytes = rich.disk.bytes(&blocks[other]).unwrap();
        let verdict = judge(&rich, &blocks[path], bytes, "another block");
        assert_eq!(verdict, Verdict::QueryFails);
    }
    let segment = files(&rich.disk, "data/wal", ".wal").remove(0);
    for (path, other) in [
        (Path::new("data/EXEMPLARS"), Path::new("data/METADATA")),
        (Path::new("data/METADATA"), Path::new("data/EXEMPLARS")),
        (Path::new("data/MANIFEST"), &segment),
        (&segment, Path::new("data/MANIFEST")),
        (&blocks[0], Path::new("data/MANIFEST")),
    ] {
        let bytes = rich.disk.bytes(other).unwrap();
        let verdict = judge(&rich, path, bytes, &format!("{}", other.display()));
        assert!(verdict < Verdict::Unread);
    }
}

/// A block of several pages.
fn large() -> (SimVfs, Contents, PathBuf) {
    let disk = SimVfs::new();
    let db = open(&disk, &options()).unwrap();
    let mut random = Random::new(1);
    for i in 0..5000 {
        let mut request = Request::default();
        for number in 0..6 {
            let value = f64::from_bits(random.next() >> 2);
            request
                .0
                .extend(one(series(number), START_MS + i * 300, value).0);
        }
        drop(append(&db, &request));
    }
    db.flush().unwrap();
    let all = everything(&db);
    db.close().unwrap();
    let path = files(&disk, "data/blocks", ".blk").remove(0);
    (disk, all, path)
}

#[test]
fn pages_that_are_swapped_zero_or_of_another_place_are_noticed() {
    const PAGE: usize = 64 << 10;
    let (disk, all, path) = large();
    let bytes = disk.bytes(&path).unwrap();
    let pages = (bytes.len() - 64) / PAGE;
    assert!(pages >= 3, "{} bytes", bytes.len());
    let place = |page: usize| 64 + page * PAGE..64 + (page + 1) * PAGE;
    for page in 0..pages {
        let other = (page + 1) % pages;
        let mut swapped = bytes.clone();
        swapped[place(page)].copy_from_slice(&bytes[place(other)]);
        let copied = swapped.clone();
        swapped[place(other)].copy_from_slice(&bytes[place(page)]);
        let mut zero = bytes.clone();
        zero[place(page)].fill(0);
        for damaged in [swapped, copied, zero] {
            let copy = disk.copy();
            copy.overwrite(&path, damaged);
            let db = open(&copy, &options()).unwrap();
            let error = contents(&db, &any(), TimeRange::ALL).unwrap_err();
            assert!(error.to_string().contains("page checksum"), "{error}");
            // What does not need the page is answered.
            let early = TimeRange::new(START_MS, START_MS + 1000);
            if let Ok(found) = contents(&db, &any(), early) {
                for (labels, samples) in &found {
                    assert!(samples.iter().all(|(at, bits)| all[labels][at] == *bits));
                }
            }
        }
    }
}
