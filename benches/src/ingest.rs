//! The ingest benchmark: CPU, memory, disk, and what a `kill -9` leaves.
//!
//! Each system gets two fresh instances for each workload: one takes everything, settles and is
//! weighed; the other takes everything and is killed right after the last acknowledgement.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::IngestFlags;
use crate::figures::{Figures, Metric};
use crate::load::{self, Sent};
use crate::measure::{AnonymousPeak, cpu_s, median, status_bytes};
use crate::report::{self, Outcome, Report};
use crate::systems::{Installed, Running, System};
use crate::workload::{Plan, Workload};

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &IngestFlags) -> Result<(), String> {
    let systems = installed(flags);
    let mut report = Report::new(flags, &systems);
    println!("{}", report.head());
    for plan in flags.plans() {
        let now_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis() as i64);
        let title = plan.title();
        let workload = Workload::prepare(plan, now_ms).map_err(|e| format!("{title}: {e}"))?;
        let outcomes = measure_all(flags, &systems, &workload)?;
        println!("{}", report::table(&workload, &outcomes));
        report.add(&workload, &outcomes);
    }
    match &flags.json {
        Some(path) => report.write(path),
        None => Ok(()),
    }
}

fn installed(flags: &IngestFlags) -> Vec<Installed> {
    let wanted =
        |s: &System| flags.only.is_empty() || flags.only.iter().any(|only| only == s.name());
    let mut systems = Vec::new();
    for system in System::ALL.into_iter().filter(wanted) {
        let (peers, tenbin) = (flags.peers.as_deref(), flags.tenbin.as_deref());
        match Installed::find(system, peers, tenbin, &flags.wal_sync) {
            Ok(installed) => systems.push(installed),
            Err(reason) => println!("left out: {} ({reason})", system.name()),
        }
    }
    systems
}

/// All repetitions; the order of the systems moves on by one from repetition to repetition.
fn measure_all(
    flags: &IngestFlags,
    systems: &[Installed],
    workload: &Workload,
) -> Result<Vec<Outcome>, String> {
    let mut outcomes: Vec<Outcome> = systems
        .iter()
        .filter(|s| s.system.takes(workload.plan.protocol))
        .map(|s| Outcome::new(s.clone()))
        .collect();
    for repetition in 0..flags.repeat() {
        for position in 0..outcomes.len() {
            let number = (position + repetition) % outcomes.len();
            let outcome = &mut outcomes[number];
            let figures = measure(&outcome.installed, workload, flags.no_kill)?;
            outcome.runs.push(figures);
        }
    }
    Ok(outcomes)
}

fn measure(installed: &Installed, workload: &Workload, no_kill: bool) -> Result<Figures, String> {
    let mut figures = weigh(installed, workload)?;
    if !no_kill {
        figures.values.extend(kill(installed, workload)?);
    }
    Ok(figures)
}

/// Sends the whole workload; gives the CPU seconds that it took.
fn ingest(running: &Running, workload: &Workload) -> Result<(Sent, f64), String> {
    let before = cpu_s(running.process.id());
    let sent = load::send(workload, &running.url)?;
    let ingest_cpu_s = cpu_s(running.process.id()) - before;
    if let Some(refusal) = &sent.first_refusal {
        let name = running.system.name();
        println!(
            "{name}: {} requests refused, first: {refusal}",
            sent.refused
        );
    }
    Ok((sent, ingest_cpu_s))
}

/// Takes everything, settles, and says what it cost.
fn weigh(installed: &Installed, workload: &Workload) -> Result<Figures, String> {
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    let running = Running::start(installed, directory.path())?;
    let process_id = running.process.id();
    let watch = AnonymousPeak::watch(process_id);
    let (sent, ingest_cpu_s) = ingest(&running, workload)?;
    let ingest_rss = status_bytes(process_id, "VmHWM") as f64;
    let before_settle = cpu_s(process_id);
    running.settle()?;
    let total_cpu_s = ingest_cpu_s + cpu_s(process_id) - before_settle;
    let (peak_rss, peak_anon) = (
        status_bytes(process_id, "VmHWM") as f64,
        watch.bytes() as f64,
    );
    let parts = running.disk_parts();
    let settled_bytes: u64 = parts.iter().filter(|p| p.2).map(|p| p.1).sum();
    let stored = running.count_all(workload.sizes.span_ms.1, workload.range_s())?;
    let millions = workload.sizes.totals.samples as f64 / 1e6;
    let active = workload.sizes.totals.active as f64;
    Ok(Figures {
        values: vec![
            (Metric::IngestCpu, ingest_cpu_s / millions),
            (Metric::TotalCpu, total_cpu_s / millions),
            (Metric::Wall, sent.took.as_secs_f64()),
            (Metric::IngestRss, ingest_rss),
            (Metric::PeakRss, peak_rss),
            (Metric::PeakAnon, peak_anon),
            (Metric::RssPerSeries, peak_rss / active),
            (Metric::AnonPerSeries, peak_anon / active),
            (Metric::Disk, settled_bytes as f64 / stored.max(1.0)),
            (Metric::Missing, sent.acknowledged as f64 - stored),
        ],
        parts,
    })
}

/// Takes everything, is killed at once, and says how it came back.
fn kill(installed: &Installed, workload: &Workload) -> Result<Vec<(Metric, f64)>, String> {
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut running = Running::start(installed, directory.path())?;
    let (sent, _) = ingest(&running, workload)?;
    let end_ms = workload.sizes.span_ms.1;
    let (question, right) = workload.first_question();
    let (restart, answer) = running.kill_and_restart(&question, end_ms)?;
    let stored = running.count_all(end_ms, workload.range_s())?;
    Ok(vec![
        (Metric::Restart, restart.as_secs_f64()),
        (Metric::Lost, sent.acknowledged as f64 - stored),
        (Metric::FirstAnswerRight, f64::from(answer == right)),
    ])
}

/// The middle of the repetitions.
pub(crate) fn middle(runs: &[Figures], metric: Metric) -> Option<f64> {
    let values: Vec<f64> = runs.iter().filter_map(|run| run.get(metric)).collect();
    (!values.is_empty()).then(|| median(values))
}

impl IngestFlags {
    /// What is run, in order.
    pub(crate) fn plans(&self) -> Vec<Plan> {
        let names = self.workloads();
        let mut plans: Vec<Plan> = names
            .into_iter()
            .map(|(name, protocol)| {
                let mut plan = Plan::new(name, self.scale());
                plan.protocol = protocol;
                let fewer = self.scrapes_divisor();
                plan.scrapes = (plan.scrapes / fewer).max(6);
                plan.churn_per_hour *= fewer as f64;
                plan.samples_per_request = self.samples_per_request;
                plan.connections = self.connections();
                plan.shuffle = self.shuffle;
                plan.seed = self.seed;
                plan.start_ms = self.start_ms;
                plan.capture.clone_from(&self.capture);
                plan
            })
            .collect();
        for plan in &mut plans {
            plan.series = self.series.unwrap_or(plan.series);
            plan.scrapes = self.scrapes.unwrap_or(plan.scrapes);
            plan.interval_ms = self.interval_ms.unwrap_or(plan.interval_ms);
            plan.churn_per_hour = self.churn_per_hour.unwrap_or(plan.churn_per_hour);
            plan.replicas = self.replicas.unwrap_or(plan.replicas);
        }
        plans
    }
}
