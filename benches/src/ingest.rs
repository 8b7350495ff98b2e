//! The ingest benchmark: CPU, memory, disk, and what a `kill -9` leaves.
//!
//! Each system gets two fresh instances for each workload: one takes everything, settles and is
//! weighed; the other takes everything and is killed right after the last acknowledgement.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::IngestFlags;
use crate::figures::{Figures, Metric};
use crate::generate::Protocol;
use crate::goals::{self, Goal};
use crate::load::{self, Sent};
use crate::measure::{AnonymousPeak, cpu_s, median, status_bytes};
use crate::report::{self, Outcome, Report};
use crate::systems::{Installed, Running, System};
use crate::workload::{Name, Plan, Workload};

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &IngestFlags) -> Result<(), String> {
    let (figures, reached) = run_with_goals(flags)?;
    println!("{}", goals::table(&reached));
    let Some(path) = &flags.json else {
        return Ok(());
    };
    let mut all = figures;
    all["goals"] = goals::to_json(&reached);
    std::fs::write(path, format!("{all:#}\n")).map_err(|e| format!("{}: {e}", path.display()))
}

/// Runs the benchmark, prints its tables, and gives figures and goals.
pub(crate) fn run_with_goals(flags: &IngestFlags) -> Result<(Value, Vec<Goal>), String> {
    let systems = flags.programs.installed(&flags.wal_sync);
    let mut report = Report::new(flags, &systems);
    let mut reached = Vec::new();
    println!("{}", report.head());
    for plan in flags.plans() {
        let now_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis() as i64);
        let title = plan.title();
        if plan.name == Name::Capture && !plan.capture.exists() {
            println!("left out: capture ({} not found)", plan.capture.display());
            continue;
        }
        let workload = Workload::prepare(plan, now_ms).map_err(|e| format!("{title}: {e}"))?;
        let outcomes = measure_all(flags, &systems, &workload)?;
        println!("{}", report::table(&workload, &outcomes));
        report.add(&workload, &outcomes);
        reached.extend(goals_of(&workload, &outcomes));
    }
    Ok((report.to_json(), reached))
}

/// The lines of the table of goals that a workload has; ratios to VictoriaMetrics, which is the
/// better peer in all of them.
fn goals_of(workload: &Workload, outcomes: &[Outcome]) -> Vec<Goal> {
    use Metric::{Disk, Lost, Restart, RssPerSeries, TotalCpu};
    let lines: &[(Metric, f64)] = match (workload.plan.name, workload.plan.protocol) {
        (Name::Steady, Protocol::Rw1) => &[(TotalCpu, 1.0 / 6.0), (Disk, 0.55)],
        (Name::Churn, Protocol::Rw1) => &[(TotalCpu, 0.25), (Disk, 0.55)],
        (Name::Newseries, Protocol::Rw1) => &[(TotalCpu, 1.0 / 6.0), (RssPerSeries, 0.4)],
        (Name::Capture, _) => &[(Disk, 0.55)],
        _ => &[],
    };
    let of = |system: System, metric: Metric| {
        let outcome = outcomes.iter().find(|o| o.installed.system == system)?;
        middle(&outcome.runs, metric)
    };
    let title = workload.plan.title();
    let mut all = Vec::new();
    for (metric, at_most) in lines {
        let ours = of(System::Tenbin, *metric).unwrap_or(f64::NAN);
        let peer = of(System::VictoriaMetrics, *metric).unwrap_or(f64::NAN);
        all.push(Goal::new(
            format!("{title}: {}", metric.title()),
            *at_most,
            ours,
            peer,
        ));
    }
    if workload.plan.name == Name::Newseries {
        for (metric, at_most) in [(Restart, 1.0), (Lost, 0.0)] {
            let ours = of(System::Tenbin, metric).unwrap_or(f64::NAN);
            all.push(Goal::absolute(
                format!("{title}: {}", metric.title()),
                at_most,
                ours,
            ));
        }
    }
    all
}

/// All repetitions; the order of the systems moves on by one from repetition to repetition.
fn measure_all(
    flags: &IngestFlags,
    systems: &[Installed],
    workload: &Workload,
) -> Result<Vec<Outcome>, String> {
    let is_native = workload.plan.name == Name::Histograms;
    let mut outcomes: Vec<Outcome> = systems
        .iter()
        .filter(|s| s.system.takes(workload.plan.protocol, is_native))
        .map(|s| {
            Outcome::new(if is_native {
                s.with_histograms()
            } else {
                s.clone()
            })
        })
        .collect();
    for repetition in 0..flags.repeat() {
        for position in 0..outcomes.len() {
            let number = (position + repetition) % outcomes.len();
            let outcome = &mut outcomes[number];
            let figures = measure(
                &outcome.installed,
                workload,
                flags.kills(workload.plan.name),
            )?;
            outcome.runs.push(figures);
        }
    }
    Ok(outcomes)
}

fn measure(installed: &Installed, workload: &Workload, kills: bool) -> Result<Figures, String> {
    let mut figures = weigh(installed, workload)?;
    if kills {
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
                let mut plan = Plan::new(name, self.scale(name));
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
