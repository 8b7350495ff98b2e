//! Counts what one piece of work does: allocations in this process, instructions under callgrind.
//!
//! Callgrind switches its counting at entry and exit of [`guard_measured_region`], by that name, on
//! the thread that calls it: preparation and background threads count nothing. The allocator counts
//! on all threads.

use std::alloc::System;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What callgrind's option names; see [`guard_measured_region`].
const REGION: &str = "*guard_measured_region*";

/// What one path did.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted {
    /// By how much the counts are divided: samples, series, points.
    pub(super) units: f64,
    pub(super) allocations: f64,
    pub(super) allocated_bytes: f64,
    /// Bytes written, of paths that write.
    pub(super) stored_bytes: Option<f64>,
    pub(super) instructions: Option<f64>,
}

/// The only place that callgrind counts in. Neither generic nor with closures of its own, so that
/// one symbol, and only one, bears the name.
#[inline(never)]
fn guard_measured_region(work: &mut dyn FnMut()) {
    work();
    std::hint::black_box(&work);
}

/// Runs `work` counted.
pub(super) fn measure<T>(units: f64, work: impl FnOnce() -> T) -> (Counted, T) {
    let (mut work, mut result) = (Some(work), None);
    let region = Region::new(ALLOCATOR);
    guard_measured_region(&mut || result = work.take().map(|work| work()));
    let change = region.change();
    let counted = Counted {
        units,
        allocations: (change.allocations + change.reallocations) as f64,
        allocated_bytes: change.bytes_allocated as f64,
        ..Counted::default()
    };
    let Some(result) = result else {
        unreachable!("the region runs its work");
    };
    (counted, result)
}

impl Counted {
    /// As a child process prints it.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "units": self.units,
            "allocations": self.allocations,
            "allocated_bytes": self.allocated_bytes,
            "stored_bytes": self.stored_bytes,
        })
    }

    fn from_json(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|e| format!("{e}: {text}"))?;
        let number = |name: &str| {
            value[name]
                .as_f64()
                .ok_or_else(|| format!("no {name}: {text}"))
        };
        Ok(Self {
            units: number("units")?,
            allocations: number("allocations")?,
            allocated_bytes: number("allocated_bytes")?,
            stored_bytes: value["stored_bytes"].as_f64(),
            instructions: None,
        })
    }
}

/// Whether instructions can be counted here.
pub(super) fn has_callgrind() -> bool {
    let version = Command::new("valgrind").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// Runs this program's path `name` on the prepared `data` in a process of its own. `whole` counts
/// the instructions of the whole process: what runs on several threads.
pub(super) fn run_child(
    name: &str,
    data: &Path,
    scratch: &Path,
    instructions: bool,
    whole: bool,
) -> Result<Counted, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let out = scratch.join("callgrind.out");
    let mut command = if instructions {
        let mut command = Command::new("valgrind");
        command
            .args(["--quiet", "--tool=callgrind"])
            .arg(format!("--callgrind-out-file={}", out.display()));
        if !whole {
            command
                .arg("--collect-atstart=no")
                .arg(format!("--toggle-collect={REGION}"));
        }
        command.arg(own);
        command
    } else {
        Command::new(own)
    };
    command
        .args(["guard", "--child", name])
        .arg("--data")
        .arg(data);
    let output = command.output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{name}: {}: {text}", output.status));
    }
    let mut counted = Counted::from_json(&String::from_utf8_lossy(&output.stdout))?;
    if instructions {
        counted.instructions = Some(total(&out)?);
    }
    Ok(counted)
}

/// The sum that callgrind wrote.
fn total(path: &Path) -> Result<f64, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let totals: Vec<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("totals: "))
        .collect();
    let sum: f64 = totals
        .iter()
        .filter_map(|t| t.trim().parse::<f64>().ok())
        .sum();
    if sum > 0.0 {
        Ok(sum)
    } else {
        Err(
            "callgrind counted nothing: the program has no symbols, or the region was inlined"
                .into(),
        )
    }
}
