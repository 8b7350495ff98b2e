//! The ingest benchmark: CPU, memory, disk, and what a `kill -9` leaves.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::IngestFlags;
use crate::capture::{self, Workload};
use crate::load;
use crate::measure::{cpu_s, median, status_bytes};
use crate::report::{Row, print_table};
use crate::systems::{Running, System, program};

/// The question whose answer shows that a restarted system is back.
const FIRST_QUESTION: &str = "sum(count_over_time(up[3h]))";

/// One system's figures of one repetition.
struct Figures {
    ingest_cpu_s: f64,
    total_cpu_s: f64,
    wall_s: f64,
    peak_rss: f64,
    bytes: f64,
    restart_s: f64,
    stored: f64,
    after_kill: f64,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(flags: &IngestFlags) -> Result<(), String> {
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64);
    let workload = capture::load(&flags.capture, flags.replicas, now_ms)?;
    println!(
        "workload: {} copies of {}: {} samples, {} series, {:.1} MB of bodies, {} connections",
        flags.replicas,
        flags
            .capture
            .file_name()
            .unwrap_or_default()
            .to_string_lossy(),
        workload.samples,
        workload.series,
        workload.body_bytes as f64 / 1e6,
        flags.connections,
    );
    let mut rows = Vec::new();
    let wanted =
        |s: &System| flags.only.is_empty() || flags.only.iter().any(|only| only == s.name());
    for system in System::ALL.into_iter().filter(wanted) {
        match program(system, flags.peers.as_deref(), flags.tenbin.as_deref()) {
            Ok(path) => {
                let mut all = Vec::new();
                for _ in 0..flags.repeat {
                    all.push(measure(system, &path, &workload, flags.connections)?);
                }
                rows.push(row(system, &workload, &all));
            }
            Err(reason) => println!("left out: {} ({reason})", system.name()),
        }
    }
    print_table(&rows);
    Ok(())
}

/// A fresh instance that has taken the whole workload.
fn ingested(
    system: System,
    path: &Path,
    directory: &Path,
    workload: &Workload,
    connections: usize,
) -> Result<(Running, f64, f64), String> {
    let running = Running::start(system, path, directory)?;
    let before = cpu_s(running.process.id());
    let sent = load::send(workload, &running.url, connections)?;
    if let Some(refusal) = &sent.first_refusal {
        println!(
            "{}: {} requests taken, {} refused, first: {refusal}",
            system.name(),
            sent.accepted,
            sent.refused
        );
    }
    let ingest_cpu_s = cpu_s(running.process.id()) - before;
    Ok((running, ingest_cpu_s, sent.took.as_secs_f64()))
}

/// Two instances: one is settled and weighed, one is killed right after the last acknowledgement.
fn measure(
    system: System,
    path: &Path,
    workload: &Workload,
    connections: usize,
) -> Result<Figures, String> {
    let temporary = || tempfile::tempdir().map_err(|e| e.to_string());
    let end_ms = workload.span_ms.1;
    let directory = temporary()?;
    let (running, ingest_cpu_s, wall_s) =
        ingested(system, path, directory.path(), workload, connections)?;
    let before_settle = cpu_s(running.process.id());
    running.settle()?;
    let settle_cpu_s = cpu_s(running.process.id()) - before_settle;
    let peak_rss = status_bytes(running.process.id(), "VmHWM") as f64;
    let bytes = running.settled_bytes() as f64;
    let stored = running.count_all(end_ms)?;
    drop(running);

    let directory = temporary()?;
    let (mut running, _, _) = ingested(system, path, directory.path(), workload, connections)?;
    let (restart, answer) = running.kill_and_restart(FIRST_QUESTION, end_ms)?;
    let after_kill = running.count_all(end_ms)?;
    if answer == 0.0 {
        println!(
            "{}: {FIRST_QUESTION} finds nothing after kill -9",
            system.name()
        );
    }
    Ok(Figures {
        ingest_cpu_s,
        total_cpu_s: ingest_cpu_s + settle_cpu_s,
        wall_s,
        peak_rss,
        bytes,
        restart_s: restart.as_secs_f64(),
        stored,
        after_kill,
    })
}

fn row(system: System, workload: &Workload, all: &[Figures]) -> Row {
    let middle = |figure: fn(&Figures) -> f64| median(all.iter().map(figure).collect());
    let millions = workload.samples as f64 / 1e6;
    let stored = middle(|f| f.stored);
    Row {
        system: system.name(),
        durability: system.durability(),
        columns: vec![
            (
                "CPU-s / M samples, ingest",
                middle(|f| f.ingest_cpu_s) / millions,
            ),
            (
                "CPU-s / M samples, with flush and merge",
                middle(|f| f.total_cpu_s) / millions,
            ),
            ("wall s", middle(|f| f.wall_s)),
            ("peak RSS MB", middle(|f| f.peak_rss) / 1e6),
            (
                "peak RSS bytes / series",
                middle(|f| f.peak_rss) / workload.series as f64,
            ),
            ("disk bytes / sample", middle(|f| f.bytes) / stored),
            ("kill -9 to first answer, s", middle(|f| f.restart_s)),
            ("samples stored", stored),
            ("samples after kill -9", middle(|f| f.after_kill)),
        ],
    }
}
