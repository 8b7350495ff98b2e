//! `tenbin inspect`: tables of what is in a file or directory.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use tenbin_storage::Corruption;
use tenbin_storage::inspect::{BlockView, DirectoryView, ManifestView, SegmentView, View, inspect};
use tenbin_storage::vfs::OsVfs;

use super::output::{count, fail, say, size, table, time};

/// Label names that a table shows.
const MAX_LABELS: usize = 15;

/// What to look at.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A data directory, or a block, log segment or MANIFEST of one.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Write JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// Shows what is there.
pub(super) fn run(arguments: &InspectArgs) -> ExitCode {
    let view = match inspect(&OsVfs, &arguments.path) {
        Ok(view) => view,
        Err(error) => return fail(error),
    };
    if arguments.json {
        let value = match &view {
            View::Directory(view) => directory_json(view),
            View::Block(view) => block_json(view),
            View::Segment(view) => segment_json(view),
            View::Manifest(view) => manifest_json(view),
        };
        say(&format!("{value:#}"));
    } else {
        let text = match &view {
            View::Directory(view) => directory_text(view),
            View::Block(view) => block_text(view),
            View::Segment(view) => segment_text(view),
            View::Manifest(view) => manifest_text(view),
        };
        say(text.trim_end());
    }
    ExitCode::SUCCESS
}

fn share(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / whole.max(1) as f64)
}

fn per_value(bytes: u64, values: u64) -> String {
    format!("{:.2}", bytes as f64 / values.max(1) as f64)
}

/// Damage as lines.
pub(super) fn damage_text(damage: &[Corruption]) -> String {
    let rows: Vec<Vec<String>> = damage
        .iter()
        .map(|d| {
            vec![
                d.file.clone(),
                d.offset.to_string(),
                d.expected.clone(),
                d.found.clone(),
            ]
        })
        .collect();
    table(&["file", "offset", "expected", "found"], &rows)
}

/// Damage as JSON.
pub(super) fn damage_json(damage: &[Corruption]) -> Value {
    let list = damage.iter().map(
        |d| json!({"file": d.file, "offset": d.offset, "expected": d.expected, "found": d.found}),
    );
    list.collect()
}

fn block_text(view: &BlockView) -> String {
    let mut text = format!(
        "block {} (level {}, order {}), {}\n\
         written {}, samples from {} to {}\n\
         {} series, {} samples, {} bytes a sample\n",
        view.file,
        view.level,
        view.order,
        size(view.file_bytes),
        time(view.created_ms),
        time(view.min_ms),
        time(view.max_ms),
        count(view.series),
        count(view.samples),
        per_value(view.file_bytes, view.samples)
    );
    let rows: Vec<Vec<String>> = view
        .sections
        .iter()
        .map(|s| {
            let share = share(s.bytes, view.file_bytes);
            vec![s.name.clone(), count(s.bytes), share]
        })
        .collect();
    text += &format!(
        "\nsections\n{}",
        table(&["section", "bytes", "share"], &rows)
    );
    let rows: Vec<Vec<String>> = view
        .codecs
        .iter()
        .map(|c| {
            vec![
                c.name.clone(),
                count(c.runs),
                count(c.values),
                count(c.bytes),
                per_value(c.bytes, c.values),
            ]
        })
        .collect();
    let head = ["codec", "runs", "values", "bytes", "bytes a value"];
    text += &format!("\ncodecs of values\n{}", table(&head, &rows));
    let rows: Vec<Vec<String>> = view
        .labels
        .iter()
        .take(MAX_LABELS)
        .map(|l| vec![l.name.clone(), count(l.values), count(l.bytes)])
        .collect();
    let (shown, all) = (rows.len(), view.labels.len());
    text += &format!(
        "\nbiggest label names ({shown} of {all})\n{}",
        table(&["name", "values", "bytes"], &rows)
    );
    text
}

fn block_json(view: &BlockView) -> Value {
    let sections = view.sections.iter();
    let codecs = view.codecs.iter();
    let labels = view.labels.iter();
    json!({
        "kind": "block",
        "file": view.file,
        "bytes": view.file_bytes,
        "number": view.seq,
        "order": view.order,
        "level": view.level,
        "created_ms": view.created_ms,
        "min_ms": view.min_ms,
        "max_ms": view.max_ms,
        "series": view.series,
        "samples": view.samples,
        "sections": sections.map(|s| json!({"name": s.name, "bytes": s.bytes})).collect::<Value>(),
        "codecs": codecs.map(|c| json!({
            "name": c.name, "runs": c.runs, "values": c.values, "bytes": c.bytes,
        })).collect::<Value>(),
        "labels": labels.map(|l| json!({
            "name": l.name, "values": l.values, "bytes": l.bytes,
        })).collect::<Value>(),
    })
}

fn segment_text(view: &SegmentView) -> String {
    let lsns = match view.last_lsn {
        Some(last) => format!("{} to {last}", view.first_lsn),
        None => format!("none yet, {} next", view.first_lsn),
    };
    let mut text = format!(
        "log segment {} (number {}), {} of {} in use\n\
         written from {} on\n{} frames, LSN {lsns}\n",
        view.file,
        view.seq,
        size(view.used_bytes),
        size(view.file_bytes),
        time(view.created_ms),
        count(view.frames)
    );
    if let (Some(min_ms), Some(max_ms)) = (view.min_ms, view.max_ms) {
        text += &format!(
            "in-order samples from {} to {}\n",
            time(min_ms),
            time(max_ms)
        );
    }
    let rows: Vec<Vec<String>> = view
        .records
        .iter()
        .map(|r| {
            vec![
                r.name.clone(),
                count(r.records),
                count(r.items),
                count(r.bytes),
            ]
        })
        .collect();
    let head = ["records", "count", "items", "bytes before compression"];
    text += &format!("\n{}", table(&head, &rows));
    if view.torn_bytes > 0 {
        let bytes = count(view.torn_bytes);
        text += &format!("\ntorn tail: {bytes} bytes at the end are no whole frame\n");
    }
    if view.lost_samples > 0 {
        let lost = count(view.lost_samples);
        text += &format!("\n{lost} samples build on what damage took\n");
    }
    if !view.damage.is_empty() {
        text += &format!("\nDAMAGE\n{}", damage_text(&view.damage));
    }
    text
}

fn segment_json(view: &SegmentView) -> Value {
    let records = view.records.iter();
    json!({
        "kind": "segment",
        "file": view.file,
        "bytes": view.file_bytes,
        "used_bytes": view.used_bytes,
        "number": view.seq,
        "created_ms": view.created_ms,
        "first_lsn": view.first_lsn,
        "last_lsn": view.last_lsn,
        "frames": view.frames,
        "min_ms": view.min_ms,
        "max_ms": view.max_ms,
        "records": records.map(|r| json!({
            "name": r.name, "records": r.records, "items": r.items, "bytes": r.bytes,
        })).collect::<Value>(),
        "torn_bytes": view.torn_bytes,
        "lost_samples": view.lost_samples,
        "damage": damage_json(&view.damage),
    })
}

fn manifest_text(view: &ManifestView) -> String {
    if let Some(damage) = &view.damage {
        return format!("DAMAGE\n{}", damage_text(std::slice::from_ref(damage)));
    }
    if !view.present {
        return "no manifest".to_owned();
    }
    let flushed = view.flushed_ms.map_or("never".to_owned(), time);
    let rows: Vec<Vec<String>> = view
        .blocks
        .iter()
        .map(|(seq, min_ms, max_ms, deletions)| {
            vec![
                format!("{seq:016x}"),
                time(*min_ms),
                time(*max_ms),
                deletions.to_string(),
            ]
        })
        .collect();
    format!(
        "manifest: {} blocks, the next gets number {}\n\
         flushed up to {flushed}, log cut at segment {}\n\n{}",
        view.blocks.len(),
        view.next_seq,
        view.cut_seq,
        table(&["block", "from", "to", "deletions"], &rows)
    )
}

fn manifest_json(view: &ManifestView) -> Value {
    let blocks = view.blocks.iter();
    json!({
        "kind": "manifest",
        "present": view.present,
        "blocks": blocks.map(|(seq, min_ms, max_ms, deletions)| json!({
            "number": seq, "min_ms": min_ms, "max_ms": max_ms, "deletions": deletions,
        })).collect::<Value>(),
        "flushed_ms": view.flushed_ms,
        "cut_segment": view.cut_seq,
        "next_number": view.next_seq,
        "damage": view.damage.as_ref().map(|d| damage_json(std::slice::from_ref(d))),
    })
}

fn directory_text(view: &DirectoryView) -> String {
    let bytes: u64 = view.blocks.iter().map(|b| b.file_bytes).sum();
    let samples: u64 = view.blocks.iter().map(|b| b.samples).sum();
    let log: u64 = view.segments.iter().map(|s| s.used_bytes).sum();
    let mut text = format!(
        "data directory {}\n{} blocks with {} samples in {} ({} bytes a sample), {} of log\n",
        view.directory,
        view.blocks.len(),
        count(samples),
        size(bytes),
        per_value(bytes, samples),
        size(log)
    );
    let level_row = |first: String, series, samples, bytes, min_ms, max_ms| {
        let times = [time(min_ms), time(max_ms)];
        let [from, to] = times;
        vec![first, count(series), count(samples), size(bytes), from, to]
    };
    let rows: Vec<Vec<String>> = view
        .levels
        .iter()
        .map(|l| {
            let first = format!("{} ({} blocks)", l.level, l.blocks);
            level_row(first, l.series, l.samples, l.bytes, l.min_ms, l.max_ms)
        })
        .collect();
    let head = ["level", "series", "samples", "size", "from", "to"];
    text += &format!("\n{}", table(&head, &rows));
    let rows: Vec<Vec<String>> = view
        .blocks
        .iter()
        .map(|b| {
            let first = format!("{:016x} (level {})", b.seq, b.level);
            level_row(first, b.series, b.samples, b.file_bytes, b.min_ms, b.max_ms)
        })
        .collect();
    let head = ["block", "series", "samples", "size", "from", "to"];
    text += &format!("\n{}", table(&head, &rows));
    let rows: Vec<Vec<String>> = view
        .segments
        .iter()
        .map(|s| {
            let items = |name: &str| {
                let record = s.records.iter().find(|r| r.name == name);
                count(record.map_or(0, |r| r.items))
            };
            vec![
                s.file.clone(),
                size(s.used_bytes),
                count(s.frames),
                s.last_lsn.map_or("-".to_owned(), |lsn| lsn.to_string()),
                items("rows of samples"),
                items("late samples"),
                count(s.torn_bytes),
            ]
        })
        .collect();
    let head = [
        "segment", "used", "frames", "last LSN", "samples", "late", "torn",
    ];
    text += &format!("\n{}", table(&head, &rows));
    for note in &view.notes {
        text += &format!("\nnote: {note}");
    }
    if !view.damage.is_empty() {
        text += &format!("\nDAMAGE\n{}", damage_text(&view.damage));
    }
    text
}

fn directory_json(view: &DirectoryView) -> Value {
    let levels = view.levels.iter();
    json!({
        "kind": "directory",
        "directory": view.directory,
        "manifest": manifest_json(&view.manifest),
        "levels": levels.map(|l| json!({
            "level": l.level, "blocks": l.blocks, "bytes": l.bytes, "series": l.series,
            "samples": l.samples, "min_ms": l.min_ms, "max_ms": l.max_ms,
        })).collect::<Value>(),
        "blocks": view.blocks.iter().map(block_json).collect::<Value>(),
        "segments": view.segments.iter().map(segment_json).collect::<Value>(),
        "notes": view.notes,
        "damage": damage_json(&view.damage),
    })
}
