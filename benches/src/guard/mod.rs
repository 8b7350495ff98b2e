//! The regression guard: it counts instead of timing, so that a busy machine changes nothing.
//!
//! Each hot path runs in a process of its own on the same data; instructions (callgrind),
//! allocations, allocated bytes and bytes written are compared with `benches/guard.json`. More than
//! the tolerance above it fails; less than that is named, so that the file can follow.

mod count;
mod data;
mod paths;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use count::{Counted, has_callgrind, run_child};
use paths::{HotPath, PATHS};

/// By how much a count may exceed the file.
const TOLERANCE: f64 = 0.03;
/// By how much allocations may exceed it: all threads are counted, and tables grow by random seeds.
const ALLOCATION_TOLERANCE: f64 = 0.5;
/// Allocations per run that come and go with threads.
const ALLOCATIONS_SLACK: f64 = 8.0;
/// Setting this variable writes the file anew.
const ACCEPT: &str = "TENBIN_GUARD_ACCEPT";

/// Settings of the guard.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GuardFlags {
    /// The committed counts.
    #[arg(long, default_value = "benches/guard.json")]
    baseline: PathBuf,
    /// Only paths whose name contains this.
    #[arg(long, default_value = "")]
    filter: String,
    /// Fails when instructions cannot be counted, instead of leaving them out.
    #[arg(long)]
    require_valgrind: bool,
    /// Runs one path and prints its counts: what the guard starts for each.
    #[arg(long, hide = true)]
    child: Option<String>,
    /// Where the data of `--child` stands.
    #[arg(long, hide = true)]
    data: Option<PathBuf>,
}

/// Runs the guard.
pub(crate) fn run(flags: &GuardFlags) -> Result<(), String> {
    if let (Some(name), Some(data)) = (&flags.child, &flags.data) {
        let path = PATHS.iter().find(|p| p.name == name);
        let path = path.ok_or_else(|| format!("no path {name:?}"))?;
        println!("{}", (path.run)(data)?.to_json());
        return Ok(());
    }
    let instructions = has_callgrind();
    if !instructions {
        let reason = "valgrind is not installed: instructions are not counted";
        if flags.require_valgrind {
            return Err(reason.to_owned());
        }
        println!("SKIPPED: {reason}; allocations and bytes are.");
    }
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    data::prepare(directory.path())?;
    let mut found = Map::new();
    for path in PATHS.iter().filter(|p| p.name.contains(&flags.filter)) {
        let counted = one(path, directory.path(), instructions)?;
        found.insert(path.name.to_owned(), per_unit(path, &counted));
    }
    let accept = std::env::var_os(ACCEPT).is_some_and(|v| !v.is_empty() && v != "0");
    if accept {
        return write(&flags.baseline, found, instructions);
    }
    compare(&flags.baseline, &found)
}

fn one(path: &HotPath, prepared: &Path, instructions: bool) -> Result<Counted, String> {
    let scratch = tempfile::tempdir().map_err(|e| e.to_string())?;
    let data = scratch.path().join("data");
    if let Some(from) = path.from {
        data::copy(&prepared.join(from), &data)?;
    }
    run_child(path.name, &data, scratch.path(), instructions, path.whole)
}

/// Counts by unit, and the unit itself.
fn per_unit(path: &HotPath, counted: &Counted) -> Value {
    let by = |value: f64| (value / counted.units * 1e4).round() / 1e4;
    let mut counts = json!({
        "unit": path.unit,
        "units": counted.units,
        "allocations": by(counted.allocations),
        "allocated_bytes": by(counted.allocated_bytes),
    });
    if let Some(bytes) = counted.stored_bytes {
        counts["stored_bytes"] = json!(by(bytes));
    }
    if let Some(instructions) = counted.instructions {
        counts["instructions"] = json!(by(instructions));
    }
    counts
}

fn read(baseline: &Path) -> Result<Map<String, Value>, String> {
    let text = std::fs::read_to_string(baseline);
    let text = text.map_err(|e| {
        format!(
            "{}: {e}; run from the repository's root, or write it with {ACCEPT}=1",
            baseline.display()
        )
    })?;
    let value: Value =
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", baseline.display()))?;
    Ok(value["paths"].as_object().cloned().unwrap_or_default())
}

/// Writes the counts; those of paths that did not run stay.
fn write(baseline: &Path, found: Map<String, Value>, instructions: bool) -> Result<(), String> {
    if !instructions {
        return Err("the file needs instructions: install valgrind".to_owned());
    }
    let mut paths = read(baseline).unwrap_or_default();
    paths.retain(|name, _| PATHS.iter().any(|p| p.name == name));
    paths.extend(found);
    let all = json!({ "tolerance": TOLERANCE, "paths": paths });
    std::fs::write(baseline, format!("{all:#}\n"))
        .map_err(|e| format!("{}: {e}", baseline.display()))?;
    println!("{}: {} paths written", baseline.display(), paths.len());
    Ok(())
}

/// Prints every count beside the file's; fails on those that grew.
fn compare(baseline: &Path, found: &Map<String, Value>) -> Result<(), String> {
    let expected = read(baseline)?;
    let (mut worse, mut better) = (Vec::new(), 0);
    for (name, counts) in found {
        let unit = counts["unit"].as_str().unwrap_or_default();
        let Some(before) = expected.get(name) else {
            worse.push(format!("{name}: not in {}", baseline.display()));
            continue;
        };
        for count in [
            "instructions",
            "allocations",
            "allocated_bytes",
            "stored_bytes",
        ] {
            let (Some(now), Some(was)) = (counts[count].as_f64(), before[count].as_f64()) else {
                continue;
            };
            println!("{name}: {now} {count} a {unit} (file: {was})");
            let change = judge(count, now, was, counts["units"].as_f64().unwrap_or(1.0));
            if change > 0 {
                let percent = (now / was - 1.0) * 100.0;
                worse.push(format!(
                    "{name}: {count} a {unit}: found {now}, expected about {was} ({percent:+.1} %)"
                ));
            } else if change < 0 {
                better += 1;
            }
        }
    }
    if better > 0 {
        println!(
            "{better} counts fell by more than the tolerance: {ACCEPT}=1 lets the file follow."
        );
    }
    if worse.is_empty() {
        println!(
            "{} hot paths: instructions and bytes within {:.0} %, allocations within {:.0} %",
            found.len(),
            TOLERANCE * 100.0,
            ALLOCATION_TOLERANCE * 100.0
        );
        return Ok(());
    }
    Err(format!(
        "a hot path costs more than {}:\n  {}\nIf that is on purpose, accept it and commit the file, saying why:\n  \
         {ACCEPT}=1 CARGO_INCREMENTAL=0 cargo run --profile perf -p tenbin-bench -- guard",
        baseline.display(),
        worse.join("\n  ")
    ))
}

/// 1 when the count grew beyond the tolerance, -1 when it fell below it.
fn judge(count: &str, now: f64, was: f64, units: f64) -> i32 {
    let room = match count {
        "allocations" => was * ALLOCATION_TOLERANCE + ALLOCATIONS_SLACK / units,
        "allocated_bytes" => was * ALLOCATION_TOLERANCE + 4096.0 / units,
        _ => was * TOLERANCE,
    };
    i32::from(now > was + room) - i32::from(now < was - room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_beyond_the_tolerance_fails() {
        assert_eq!(judge("instructions", 104.0, 100.0, 1.0), 1);
        assert_eq!(judge("instructions", 102.0, 100.0, 1.0), 0);
        assert_eq!(judge("instructions", 96.0, 100.0, 1.0), -1);
        assert_eq!(judge("allocations", 150.0, 100.0, 1.0), 0);
        assert_eq!(judge("allocations", 159.0, 100.0, 1.0), 1);
    }

    #[test]
    fn a_failure_names_path_found_expected_and_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("guard.json");
        let counts = |n: f64| {
            let mut all = Map::new();
            all.insert(
                "flush".to_owned(),
                json!({"unit": "sample", "units": 1.0, "instructions": n}),
            );
            all
        };
        write(&file, counts(100.0), true).unwrap();
        assert!(compare(&file, &counts(101.0)).is_ok());
        let error = compare(&file, &counts(110.0)).unwrap_err();
        for part in ["flush", "110", "100", ACCEPT] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn every_path_counts_the_same_twice() {
        let directory = tempfile::tempdir().unwrap();
        data::prepare(directory.path()).unwrap();
        for path in PATHS {
            let run = |number: usize| {
                let data = directory.path().join(format!("{}-{number}", path.name));
                if let Some(from) = path.from {
                    data::copy(&directory.path().join(from), &data).unwrap();
                }
                (path.run)(&data).unwrap()
            };
            let (a, b) = (run(1), run(2));
            assert!(a.units > 0.0 && a.units == b.units, "{}", path.name);
            assert_eq!(a.stored_bytes, b.stored_bytes, "{}", path.name);
        }
    }
}
