//! Results as Markdown tables and as JSON, with the ratio to the better peer and the goal.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::IngestFlags;
use crate::figures::{Figures, Metric};
use crate::ingest::middle;
use crate::setup::machine;
use crate::systems::{Installed, System};
use crate::workload::Workload;

/// What one system did with one workload.
pub(crate) struct Outcome {
    pub(crate) installed: Installed,
    pub(crate) runs: Vec<Figures>,
}

impl Outcome {
    pub(crate) fn new(installed: Installed) -> Self {
        Self {
            installed,
            runs: Vec::new(),
        }
    }
}

/// One line of a table.
struct Line {
    metric: Metric,
    /// Per system, in the order of [`System::ALL`].
    values: Vec<Option<f64>>,
    /// Ours by the better peer's.
    ratio: Option<f64>,
    goal: Option<f64>,
}

impl Line {
    fn new(metric: Metric, workload: &Workload, outcomes: &[Outcome]) -> Self {
        let of = |system: System| {
            let outcome = outcomes.iter().find(|o| o.installed.system == system)?;
            middle(&outcome.runs, metric)
        };
        let values: Vec<Option<f64>> = System::ALL.into_iter().map(of).collect();
        let ours = of(System::Tenbin);
        let best = values[1..].iter().flatten().copied().reduce(f64::min);
        let ratio = match (ours, best) {
            (Some(ours), Some(best)) if metric.is_cost() && best > 0.0 => Some(ours / best),
            _ => None,
        };
        Self {
            metric,
            values,
            ratio,
            goal: metric.goal(&workload.plan),
        }
    }

    fn is_met(&self) -> Option<bool> {
        Some(self.values[0]? <= self.goal?)
    }

    fn markdown(&self) -> String {
        let cells: Vec<String> = self
            .values
            .iter()
            .map(|v| v.map_or("-".to_owned(), |v| self.metric.text(v)))
            .collect();
        let ratio = self.ratio.map_or(String::new(), |r| format!("{r:.2}"));
        let goal = self.goal.map_or(String::new(), |g| format!("<= {g}"));
        let met = match self.is_met() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        format!(
            "| {} | {} | {ratio} | {goal} | {met} |",
            self.metric.title(),
            cells.join(" | ")
        )
    }
}

/// The table of one workload.
pub(crate) fn table(workload: &Workload, outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "\n### {}\n\n{}\n\n| | Tenbin | Prometheus | VictoriaMetrics | ratio to the better peer | goal | met |\n\
         |---|---|---|---|---|---|---|\n",
        workload.plan.title(),
        workload.description()
    );
    for metric in Metric::ALL {
        let line = Line::new(metric, workload, outcomes);
        if line.values.iter().any(Option::is_some) {
            text += &line.markdown();
            text.push('\n');
        }
    }
    let cell = |system: System, of: &dyn Fn(&Outcome) -> String| {
        let found = outcomes.iter().find(|o| o.installed.system == system);
        found.map_or("-".to_owned(), of)
    };
    let row = |title: &str, of: &dyn Fn(&Outcome) -> String| {
        let cells: Vec<String> = System::ALL.into_iter().map(|s| cell(s, of)).collect();
        format!("| {title} | {} | | | |\n", cells.join(" | "))
    };
    text += &row("disk bytes / sample by part", &|o| parts(o, workload));
    text += &row("acknowledged samples survive", &|o| {
        o.installed.durability()
    });
    text
}

/// `wal 0.10, blocks 0.45`; in parentheses what repeats samples of the settled form.
fn parts(outcome: &Outcome, workload: &Workload) -> String {
    let Some(run) = outcome.runs.last() else {
        return String::new();
    };
    let samples = workload.countable().max(1) as f64;
    let mut text = String::new();
    for (number, (name, bytes, settled)) in run.parts.iter().enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        let share = *bytes as f64 / samples;
        let _ = if *settled {
            write!(text, "{comma}{name} {share:.3}")
        } else {
            write!(text, "{comma}({name} {share:.3})")
        };
    }
    text
}

/// All workloads.
pub(crate) struct Report {
    machine: Value,
    versions: Vec<(&'static str, String)>,
    workloads: Vec<Value>,
    repeat: usize,
}

impl Report {
    pub(crate) fn new(flags: &IngestFlags, systems: &[Installed]) -> Self {
        Self {
            machine: machine(),
            versions: systems
                .iter()
                .map(|s| (s.system.title(), s.version()))
                .collect(),
            workloads: Vec::new(),
            repeat: flags.repeat(),
        }
    }

    /// What stands above the tables.
    pub(crate) fn head(&self) -> String {
        let versions: Vec<String> = self
            .versions
            .iter()
            .map(|(name, version)| format!("- {name}: {version}"))
            .collect();
        format!(
            "Machine: {}\n\n{}\n\nMedians of {}. CPU includes: Tenbin flush and full compaction, \
             Prometheus its own compactions and a snapshot (the head written as a block), \
             VictoriaMetrics force_flush and force_merge; each until the process rests.",
            self.machine,
            versions.join("\n"),
            self.repeat
        )
    }

    pub(crate) fn add(&mut self, workload: &Workload, outcomes: &[Outcome]) {
        let (totals, bodies) = (workload.sizes.totals, workload.sizes.bodies);
        let lines: Vec<Line> = Metric::ALL
            .into_iter()
            .map(|m| Line::new(m, workload, outcomes))
            .collect();
        let goals: serde_json::Map<String, Value> = lines
            .iter()
            .filter(|line| line.goal.is_some() || line.ratio.is_some())
            .map(|line| {
                let value = json!({"goal": line.goal, "met": line.is_met(), "ratio": line.ratio});
                (line.metric.key().to_owned(), value)
            })
            .collect();
        let systems: serde_json::Map<String, Value> = outcomes
            .iter()
            .map(|o| (o.installed.system.name().to_owned(), system(o)))
            .collect();
        self.workloads.push(json!({
            "name": workload.plan.title(),
            "description": workload.description(),
            "samples": totals.samples,
            "staleness_markers": totals.stale_markers,
            "series": totals.series,
            "active_series": totals.active,
            "requests": bodies.requests,
            "body_bytes": bodies.body_bytes,
            "message_bytes": bodies.message_bytes,
            "seed": workload.plan.seed,
            "span_ms": [workload.sizes.span_ms.0, workload.sizes.span_ms.1],
            "systems": systems,
            "tenbin": goals,
        }));
    }

    /// Everything as JSON.
    pub(crate) fn to_json(&self) -> Value {
        let versions: serde_json::Map<String, Value> = self
            .versions
            .iter()
            .map(|(name, version)| ((*name).to_owned(), json!(version)))
            .collect();
        json!({
            "machine": self.machine,
            "versions": versions,
            "repeat": self.repeat,
            "workloads": self.workloads,
        })
    }
}

fn system(outcome: &Outcome) -> Value {
    let medians: serde_json::Map<String, Value> = Metric::ALL
        .into_iter()
        .filter_map(|m| Some((m.key().to_owned(), json!(middle(&outcome.runs, m)?))))
        .collect();
    let runs: Vec<Value> = outcome
        .runs
        .iter()
        .map(|run| {
            let mut values: serde_json::Map<String, Value> = run
                .values
                .iter()
                .map(|(m, value)| (m.key().to_owned(), json!(value)))
                .collect();
            let parts: serde_json::Map<String, Value> = run
                .parts
                .iter()
                .map(|(name, bytes, _)| ((*name).to_owned(), json!(bytes)))
                .collect();
            values.insert("disk_bytes_by_part".to_owned(), Value::Object(parts));
            Value::Object(values)
        })
        .collect();
    json!({"durability": outcome.installed.durability(), "medians": medians, "runs": runs})
}
