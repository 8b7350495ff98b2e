//! The query benchmark: latency (median and 99th percentile) and CPU of the same 118 queries over
//! the same data, with result caches off and on, and cost against size.
//!
//! All systems run at once and rest while another one is asked. Before any time counts, answers are
//! compared ([`answers`]). With caches on, every request ends one step after the one before, as a
//! dashboard that refreshes asks.

pub(crate) mod answers;
mod data;
mod mix;
mod scaling;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tenbin_compat_tests::sender::{HEADERS, body};

use crate::client::{Connection, Encoded};
use crate::costs::{self, Costs, MEASURES, Rounds, ask_all, middles, ours_and_best, ratio};
use crate::goals::{self, Goal};
use crate::measure::{status_bytes, wait_quiet};
use crate::setup::{Preset, Programs, machine, print_floor};
use crate::systems::{Running, System};
use data::Data;
use mix::{Query, Size, Span, queries};

/// Settings of the query benchmark.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct QueryFlags {
    /// A ready-made set.
    #[arg(long, default_value = "quick")]
    pub(crate) preset: Preset,
    /// Series of each big metric, instead of the preset's.
    #[arg(long)]
    pub(crate) series: Option<usize>,
    /// Milliseconds that each query is repeated for in a round, instead of the preset's.
    #[arg(long)]
    pub(crate) repeat_ms: Option<u64>,
    /// Rounds, instead of the preset's; medians over them are printed.
    #[arg(long)]
    pub(crate) repeat: Option<usize>,
    /// Which result caches: one pass for each.
    #[arg(long, value_delimiter = ',', default_value = "off,on")]
    pub(crate) caches: Vec<Caches>,
    /// Leaves out the part about cost against size.
    #[arg(long)]
    pub(crate) no_scaling: bool,
    /// Runs only queries that contain this text.
    #[arg(long, default_value = "")]
    pub(crate) filter: String,
    /// Prints every query.
    #[arg(long)]
    pub(crate) all: bool,
    /// Writes all figures to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) programs: Programs,
}

/// Whether answers may come from a cache of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Caches {
    /// Every request says `nocache=1`.
    Off,
    /// As users have them.
    On,
}

/// A query and what it cost in each system.
struct Measured {
    query: Query,
    costs: Costs,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &QueryFlags) -> Result<(), String> {
    let (figures, reached) = run_with_goals(flags)?;
    println!("{}", goals::table(&reached));
    let Some(path) = &flags.json else {
        return Ok(());
    };
    let all = json!({"machine": machine(), "query": figures, "goals": goals::to_json(&reached)});
    std::fs::write(path, format!("{all:#}\n")).map_err(|e| format!("{}: {e}", path.display()))
}

/// Runs the benchmark, prints its tables, and gives figures and goals.
pub(crate) fn run_with_goals(flags: &QueryFlags) -> Result<(Value, Vec<Goal>), String> {
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    let systems = flags.programs.start(directory.path())?;
    for running in &systems {
        println!("{}: {}", running.system.title(), running.version());
    }
    let end_ms = load(flags, &systems)?;
    let floor = print_floor(&systems)?;
    let (mut reached, mut differences) = (Vec::new(), Vec::new());
    let mut figures = json!({ "floor": floor });
    for caches in &flags.caches {
        let measured = pass(flags, &systems, *caches, end_ms, &mut differences)?;
        report(flags, &systems, &measured, *caches);
        reached.extend(goals_of(&measured, *caches));
        let name = format!("caches_{caches:?}").to_lowercase();
        figures[name] = measured.iter().map(to_json).collect();
    }
    if !flags.no_scaling {
        let (scaling, goals) = scaling::run(&systems, rounds(flags), end_ms)?;
        figures["scaling"] = scaling;
        reached.extend(goals);
    }
    println!();
    for running in &systems {
        let peak = status_bytes(running.process.id(), "VmHWM") as f64 / 1e6;
        println!("- peak RSS of {}: {peak:.0} MB", running.system.title());
    }
    if differences.is_empty() {
        return Ok((figures, reached));
    }
    Err(differences.join("\n\n"))
}

fn rounds(flags: &QueryFlags) -> Rounds {
    let (rounds, least_ms, most) = match flags.preset {
        Preset::Quick => (1, 4, 20),
        Preset::Full => (5, 50, 40),
    };
    Rounds {
        rounds: flags.repeat.unwrap_or(rounds),
        least: Duration::from_millis(flags.repeat_ms.unwrap_or(least_ms)),
        most: if flags.repeat_ms.is_some() {
            usize::MAX
        } else {
            most
        },
    }
}

/// One pass over all queries.
fn pass(
    flags: &QueryFlags,
    systems: &[Running],
    caches: Caches,
    end_ms: i64,
    differences: &mut Vec<String>,
) -> Result<Vec<Measured>, String> {
    const WINDOWS: usize = 40;
    let mut measured = Vec::new();
    for query in queries()
        .into_iter()
        .filter(|q| q.text.contains(&flags.filter))
    {
        let agreed = match caches {
            Caches::Off => answers::compare(systems, &query, end_ms),
            Caches::On if query.metadata.is_some() => continue,
            Caches::On => match systems.iter().find(|r| r.system == System::Tenbin) {
                Some(tenbin) => answers::compare_cached(tenbin, &query, end_ms),
                None => Ok(()),
            },
        };
        if let Err(difference) = agreed {
            differences.push(difference);
            continue;
        }
        let costs = match caches {
            Caches::Off => {
                let request = Encoded::get(&query.target(end_ms, 0, true));
                ask_all(systems, rounds(flags), &|_| request.clone())?
            }
            Caches::On => ask_all(systems, rounds(flags), &|number| {
                let back = (WINDOWS - 1 - number % WINDOWS) as i64;
                Encoded::get(&query.target(end_ms, back, false))
            })?,
        };
        measured.push(Measured { query, costs });
    }
    Ok(measured)
}

/// Brings the data into all systems; returns the time of its end.
fn load(flags: &QueryFlags, systems: &[Running]) -> Result<i64, String> {
    let (big, small_interval_ms) = match flags.preset {
        Preset::Quick => (100, 60_000),
        Preset::Full => (3_000, 15_000),
    };
    let big = flags.series.unwrap_or(big);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let end_ms = now.map_or(0, |d| d.as_millis() as i64) / 60_000 * 60_000;
    let started = Instant::now();
    let mut connections = Vec::new();
    for running in systems {
        connections.push((running.system.name(), Connection::open(&running.url)?));
    }
    let mut data = Data::new(big, small_interval_ms);
    for start_ms in Data::starts(end_ms) {
        for request in data.window(start_ms) {
            let post = Encoded::post("/api/v1/write", &HEADERS, &body(request));
            for (name, connection) in &mut connections {
                let reply = connection.ask(&post)?;
                if reply.status >= 300 {
                    let text = String::from_utf8_lossy(reply.body).into_owned();
                    return Err(format!("{name}: {} {text}", reply.status));
                }
            }
        }
    }
    for running in systems {
        match running.system {
            System::Prometheus => wait_quiet(running.process.id(), Duration::from_secs(120)),
            _ => running.settle()?,
        }
    }
    let (samples, took) = (data.samples, started.elapsed().as_secs_f64());
    println!("{samples} samples, {big} series in big metrics, loaded in {took:.0} s\n");
    Ok(end_ms)
}

fn to_json(measured: &Measured) -> Value {
    json!({
        "kind": measured.query.kind,
        "query": measured.query.text,
        "path": measured.query.metadata,
        "size": measured.query.size.title(),
        "span": measured.query.span.title(),
        "costs": costs::to_json(&measured.costs),
    })
}

fn kinds(measured: &[Measured]) -> Vec<&'static str> {
    let mut kinds: Vec<&str> = measured.iter().map(|m| m.query.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn of_kind<'m>(measured: &'m [Measured], kind: &str) -> Vec<&'m Costs> {
    let all = measured.iter().filter(|m| m.query.kind == kind);
    all.map(|m| &m.costs).collect()
}

/// Caches off: every class by every measure, and the worst single query; caches on: the latter.
fn goals_of(measured: &[Measured], caches: Caches) -> Vec<Goal> {
    let mut all = Vec::new();
    if caches == Caches::Off {
        for (measure, of) in MEASURES {
            for kind in kinds(measured) {
                let (ours, best) = ours_and_best(&middles(&of_kind(measured, kind), of));
                all.push(Goal::new(
                    format!("queries, {kind}, {measure}"),
                    0.5,
                    ours,
                    best,
                ));
            }
        }
    }
    let latency = |m: &Measured| middles(&[&m.costs], |c| c.p50);
    let worst = measured
        .iter()
        .max_by(|a, b| ratio(&latency(a)).total_cmp(&ratio(&latency(b))));
    if let Some(worst) = worst {
        let (ours, best) = ours_and_best(&latency(worst));
        let state = if caches == Caches::Off { "off" } else { "on" };
        let line = format!(
            "slowest query beside a peer, caches {state}: {}",
            worst.query.title()
        );
        all.push(Goal::new(line, 1.0, ours, best));
    }
    all
}

/// Prints medians by kind and by size and span, and the queries that are slower than half of a
/// peer's time.
fn report(flags: &QueryFlags, systems: &[Running], measured: &[Measured], caches: Caches) {
    let systems: Vec<System> = systems.iter().map(|r| r.system).collect();
    let state = if caches == Caches::Off { "off" } else { "on" };
    println!(
        "\n### Queries, result caches {state}\n\n{}",
        costs::head(&systems, "kind")
    );
    for kind in kinds(measured) {
        println!("{}", costs::line(kind, &of_kind(measured, kind)));
    }
    println!("\n{}", costs::head(&systems, "size, span"));
    for size in Size::ALL {
        for span in Span::ALL {
            let inside = |m: &&Measured| m.query.size == size && m.query.span == span;
            let title = format!("{}, {}", size.title(), span.title());
            let costs: Vec<&Costs> = measured.iter().filter(inside).map(|m| &m.costs).collect();
            if !costs.is_empty() {
                println!("{}", costs::line(&title, &costs));
            }
        }
    }
    let limit = if caches == Caches::Off { 0.5 } else { 1.0 };
    let what = match (flags.all, caches) {
        (true, _) => "query",
        (false, Caches::Off) => "query slower than half of a peer's",
        (false, Caches::On) => "query slower than a peer's",
    };
    println!("\n{}", costs::head(&systems, what));
    for one in measured {
        if flags.all || ratio(&middles(&[&one.costs], |c| c.p50)) > limit {
            println!("{}", costs::line(&one.query.title(), &[&one.costs]));
        }
    }
    let spread = |m: &Measured| m.costs.iter().map(|(_, c)| c.spread).fold(0.0, f64::max);
    let mut spreads: Vec<f64> = measured.iter().map(spread).collect();
    println!(
        "\nHalf the distance between the rounds' extreme medians: ±{:.0} % for half of the queries, ±{:.0} % for nine in ten.",
        crate::measure::quantile(&mut spreads, 0.5),
        crate::measure::quantile(&mut spreads, 0.9)
    );
}
