//! The label benchmark: names, values and series, with and without matchers, over many series, once
//! while they are in memory and once when they are settled on disk.
//!
//! Prometheus keeps its head in memory in both parts: it writes a block of it after hours only.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tenbin_compat_tests::http::form;

use crate::client::Encoded;
use crate::costs::{self, Costs, MEASURES, Rounds, ask_all, middles, ours_and_best};
use crate::goals::{self, Goal};
use crate::load;
use crate::query::answers::compare_lists;
use crate::setup::{Preset, Programs, print_floor};
use crate::systems::{Running, System};
use crate::workload::{Name, Plan, Workload};

/// Settings of the label benchmark.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LabelFlags {
    /// `quick` has 20,000 series, `full` a million.
    #[arg(long, default_value = "quick")]
    pub(crate) preset: Preset,
    /// Series, instead of the preset's.
    #[arg(long)]
    pub(crate) series: Option<usize>,
    /// Rounds, instead of the preset's; medians over them are printed.
    #[arg(long)]
    pub(crate) repeat: Option<usize>,
    #[command(flatten)]
    pub(crate) programs: Programs,
}

/// What is asked: a class, a path below `/api/v1/`, and a selector or nothing.
const QUESTIONS: [(&str, &str, &str); 11] = [
    ("label names", "labels", ""),
    ("label names, matcher", "labels", "node_cpu_seconds_total"),
    ("label names, matcher", "labels", "{job=~\"kube-.*\"}"),
    ("label values", "label/__name__/values", ""),
    ("label values", "label/pod/values", ""),
    ("label values", "label/namespace/values", ""),
    (
        "label values, matcher",
        "label/pod/values",
        "{namespace=\"team-3\"}",
    ),
    (
        "label values, matcher",
        "label/instance/values",
        "{job=~\"node-.*\"}",
    ),
    (
        "label values, matcher",
        "label/pod/values",
        "kube_pod_info{namespace=~\"team-[12]\"}",
    ),
    (
        "series, matcher",
        "series",
        "kube_pod_info{namespace=\"team-3\"}",
    ),
    (
        "series, matcher",
        "series",
        "kube_pod_status_phase{phase=\"Running\",namespace=~\"team-[0-4]\"}",
    ),
];

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &LabelFlags) -> Result<(), String> {
    let (_, reached) = run_with_goals(flags)?;
    println!("{}", goals::table(&reached));
    Ok(())
}

/// Runs the benchmark, prints its tables, and gives figures and goals.
pub(crate) fn run_with_goals(flags: &LabelFlags) -> Result<(Value, Vec<Goal>), String> {
    let series = flags.series.unwrap_or(match flags.preset {
        Preset::Quick => 20_000,
        Preset::Full => 1_000_000,
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.map_or(0, |d| d.as_millis() as i64);
    let plan = Plan {
        series,
        scrapes: 2,
        ..Plan::new(Name::Newseries, 1.0)
    };
    let workload = Workload::prepare(plan, now_ms)?;
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    let systems = flags.programs.start(directory.path())?;
    for running in &systems {
        let sent = load::send(&workload, &running.url)?;
        if let Some(refusal) = sent.first_refusal {
            return Err(format!("{}: {refusal}", running.system.name()));
        }
        running.make_visible()?;
    }
    println!("\n### Labels at {} series\n", workload.sizes.totals.series);
    let mut figures = json!({
        "series": workload.sizes.totals.series,
        "floor": print_floor(&systems)?,
    });
    let mut reached = Vec::new();
    for place in ["head", "blocks"] {
        if place == "blocks" {
            for running in systems.iter().filter(|r| r.system != System::Prometheus) {
                running.settle()?;
            }
        }
        let (part, goals) = part(flags, &systems, &workload, place)?;
        figures[place] = part;
        reached.extend(goals);
    }
    Ok((figures, reached))
}

fn target(path: &str, selector: &str, workload: &Workload) -> String {
    let (start, end) = workload.sizes.span_ms;
    let (start, end) = (
        (start / 1000 - 60).to_string(),
        (end / 1000 + 60).to_string(),
    );
    let mut parameters = vec![("start", start.as_str()), ("end", &end), ("nocache", "1")];
    if !selector.is_empty() {
        parameters.push(("match[]", selector));
    }
    format!("/api/v1/{path}?{}", form(&parameters))
}

fn part(
    flags: &LabelFlags,
    systems: &[Running],
    workload: &Workload,
    place: &str,
) -> Result<(Value, Vec<Goal>), String> {
    let (rounds, least_ms, most) = match flags.preset {
        Preset::Quick => (1, 4, 20),
        Preset::Full => (5, 100, 40),
    };
    let rounds = Rounds {
        rounds: flags.repeat.unwrap_or(rounds),
        least: Duration::from_millis(least_ms),
        most,
    };
    let names: Vec<System> = systems.iter().map(|r| r.system).collect();
    println!("\n{}", costs::head(&names, &format!("{place}: question")));
    let (mut all, mut figures): (Vec<(&str, Costs)>, Vec<Value>) = (Vec::new(), Vec::new());
    for (class, path, selector) in QUESTIONS {
        let target = target(path, selector, workload);
        compare_lists(systems, &target)?;
        let request = Encoded::get(&target);
        let costs = ask_all(systems, rounds, &|_| request.clone())?;
        println!(
            "{}",
            costs::line(&format!("{path} `{selector}`"), &[&costs])
        );
        figures.push(json!({"path": path, "selector": selector, "costs": costs::to_json(&costs)}));
        all.push((class, costs));
    }
    let mut reached = Vec::new();
    let mut classes: Vec<&str> = all.iter().map(|(class, _)| *class).collect();
    classes.dedup();
    for class in classes {
        let of_class: Vec<&Costs> = all
            .iter()
            .filter(|(c, _)| *c == class)
            .map(|(_, costs)| costs)
            .collect();
        let (ours, best) = ours_and_best(&middles(&of_class, MEASURES[0].1));
        reached.push(Goal::new(
            format!("{class}, {place}, p50 ms"),
            0.5,
            ours,
            best,
        ));
    }
    Ok((Value::Array(figures), reached))
}
