//! The query benchmark: latency and CPU of the same 100 queries over the same data.
//!
//! All systems run at once and rest while another one is asked. Before any time counts, answers are
//! compared: those of Prometheus must be ours, but for the last digits; VictoriaMetrics calculates
//! otherwise by design, so that it only must have an answer where we have one. Caches of results are
//! off everywhere.

mod data;
mod mix;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tenbin_compat_tests::answers::{first_difference, normalised, same};
use tenbin_compat_tests::http::{Answer, Client, form};
use tenbin_compat_tests::sender::send;

use crate::measure::{cpu_s, median, status_bytes, wait_quiet};
use crate::systems::{Installed, Running, System};
use data::Data;
use mix::{Query, Size, Span, queries};

/// Ready-made sets of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Preset {
    /// 1,000 series of each big metric: one to three minutes.
    Quick,
    /// 10,000 series of each big metric.
    Full,
}

/// Settings of the query benchmark.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct QueryFlags {
    /// A ready-made set.
    #[arg(long, default_value = "quick")]
    preset: Preset,
    /// Series of each big metric, instead of the preset's.
    #[arg(long)]
    series: Option<usize>,
    /// Milliseconds that each query is repeated for, instead of the preset's.
    #[arg(long)]
    repeat_ms: Option<u64>,
    /// Runs only queries that contain this text.
    #[arg(long, default_value = "")]
    filter: String,
    /// Prints every query.
    #[arg(long)]
    all: bool,
    /// Folder with the peers' programs; peers that are missing are left out and named.
    #[arg(long, env = "TENBIN_PEERS")]
    peers: Option<PathBuf>,
    /// The server; by default the one beside this program.
    #[arg(long)]
    tenbin: Option<PathBuf>,
    /// Only these systems (tenbin, prometheus, victoriametrics).
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Latency and CPU of one query, milliseconds.
#[derive(Debug, Clone, Copy)]
struct Cost {
    latency_ms: f64,
    cpu_ms: f64,
}

/// A query and what it cost in each system.
struct Measured {
    query: Query,
    costs: Vec<(System, Cost)>,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &QueryFlags) -> Result<(), String> {
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut systems = Vec::new();
    for system in System::ALL {
        if !flags.only.is_empty() && !flags.only.iter().any(|only| only == system.name()) {
            continue;
        }
        let (peers, tenbin) = (flags.peers.as_deref(), flags.tenbin.as_deref());
        match Installed::find(system, peers, tenbin, "group") {
            Ok(installed) => {
                let directory = directory.path().join(system.name());
                std::fs::create_dir_all(&directory).map_err(|e| e.to_string())?;
                println!("{}: {}", system.title(), installed.version());
                systems.push(Running::start(&installed, &directory)?);
            }
            Err(reason) => println!("left out: {} ({reason})", system.name()),
        }
    }
    let end_ms = load(flags, &systems)?;
    let (mut measured, mut differences) = (Vec::new(), Vec::new());
    for query in queries()
        .into_iter()
        .filter(|q| q.text.contains(&flags.filter))
    {
        if let Err(difference) = compare(&systems, &query, end_ms) {
            differences.push(difference);
            continue;
        }
        measured.push(measure(flags, &systems, query, end_ms)?);
    }
    report(flags, &systems, &measured);
    if differences.is_empty() {
        return Ok(());
    }
    Err(differences.join("\n\n"))
}

/// Brings the data into all systems; returns the time of its end.
fn load(flags: &QueryFlags, systems: &[Running]) -> Result<i64, String> {
    let big = flags.series.unwrap_or(match flags.preset {
        Preset::Quick => 1_000,
        Preset::Full => 10_000,
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let end_ms = now.map_or(0, |d| d.as_millis() as i64) / 60_000 * 60_000;
    let client = Client::default();
    let started = Instant::now();
    let mut data = Data::new(big);
    for start_ms in Data::starts(end_ms) {
        for request in data.window(start_ms) {
            for running in systems {
                let answer = send(&client, &running.url, request.clone())?;
                if answer.status >= 300 {
                    let (name, text) = (running.system.name(), answer.text());
                    return Err(format!("{name}: {} {text}", answer.status));
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

/// Path and parameters of a query.
fn request(query: &Query, end_ms: i64) -> (&'static str, String) {
    let end_s = end_ms / 1000;
    let end = end_s.to_string();
    let mut parameters = vec![("query", query.text.as_str()), ("nocache", "1")];
    let Some((length, step)) = query.span.seconds() else {
        parameters.push(("time", &end));
        return ("query", form(&parameters));
    };
    let (start, step) = ((end_s - length).to_string(), step.to_string());
    parameters.extend([("start", start.as_str()), ("end", &end), ("step", &step)]);
    ("query_range", form(&parameters))
}

fn ask(client: &Client, running: &Running, query: &Query, end_ms: i64) -> Result<Answer, String> {
    let (path, parameters) = request(query, end_ms);
    let answer = client.get(&format!("{}/api/v1/{path}?{parameters}", running.url))?;
    if answer.status == 200 {
        return Ok(answer);
    }
    let (name, text) = (running.system.name(), answer.text());
    Err(format!("{name}: {}: {} {text}", query.text, answer.status))
}

/// Fails when systems do not agree as far as they should.
fn compare(systems: &[Running], query: &Query, end_ms: i64) -> Result<(), String> {
    let client = Client::default();
    let mut ours: Option<Answer> = None;
    for running in systems {
        let answer = ask(&client, running, query, end_ms)?;
        let Some(ours) = &ours else {
            ours = Some(answer);
            continue;
        };
        let count = |answer: &Answer| {
            let series = &answer.json()["data"]["result"];
            series.as_array().map_or(0, Vec::len)
        };
        let (a, b) = (without_remarks(ours), without_remarks(&answer));
        let agree = match running.system {
            System::VictoriaMetrics => (count(ours) == 0) == (count(&answer) == 0),
            // Which of several equal values are picked depends on the order of series.
            _ if query.kind == "topk" => points(ours) == points(&answer),
            _ => same(&a, &b),
        };
        if !agree {
            let (name, text) = (running.system.name(), &query.text);
            return Err(format!(
                "{name} disagrees on {text}\n{}",
                first_difference(&a, &b)
            ));
        }
    }
    Ok(())
}

/// The values of all series with their times, sorted.
fn points(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    let series = body["data"]["result"].as_array().into_iter().flatten();
    let mut points: Vec<String> = series
        .flat_map(|series| {
            let many = series["values"].as_array().into_iter().flatten();
            let one = series.get("value").into_iter();
            many.chain(one).map(ToString::to_string).collect::<Vec<_>>()
        })
        .collect();
    points.sort_unstable();
    points
}

/// The answer without infos and warnings, in comparable form.
fn without_remarks(answer: &Answer) -> String {
    let mut answer = answer.clone();
    let mut body = answer.json();
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|name, _| name != "infos" && name != "warnings");
    }
    answer.body = body.to_string().into_bytes();
    normalised(&answer)
}

fn measure(
    flags: &QueryFlags,
    systems: &[Running],
    query: Query,
    end_ms: i64,
) -> Result<Measured, String> {
    let repeat = Duration::from_millis(flags.repeat_ms.unwrap_or(match flags.preset {
        Preset::Quick => 60,
        Preset::Full => 400,
    }));
    let client = Client::default();
    let mut costs = Vec::new();
    for running in systems {
        let process_id = running.process.id();
        let mut latencies = Vec::new();
        let (before, started) = (cpu_s(process_id), Instant::now());
        while latencies.len() < 3 || started.elapsed() < repeat {
            let asked = Instant::now();
            ask(&client, running, &query, end_ms)?;
            latencies.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        let cpu_ms = (cpu_s(process_id) - before) * 1e3 / latencies.len() as f64;
        let latency_ms = median(latencies);
        costs.push((running.system, Cost { latency_ms, cpu_ms }));
    }
    Ok(Measured { query, costs })
}

/// The middle of a cost over queries, by system.
fn middles(measured: &[&Measured], of: fn(&Cost) -> f64) -> Vec<(System, f64)> {
    let systems = measured.first().map_or(&[][..], |m| &m.costs);
    let middle = |system: System| {
        let costs = measured.iter().flat_map(|m| &m.costs);
        median(
            costs
                .filter(|(s, _)| *s == system)
                .map(|(_, c)| of(c))
                .collect(),
        )
    };
    systems.iter().map(|(s, _)| (*s, middle(*s))).collect()
}

/// Ours by the better peer's.
fn ratio(values: &[(System, f64)]) -> f64 {
    let ours = values.iter().find(|(s, _)| *s == System::Tenbin);
    let peers = values.iter().filter(|(s, _)| *s != System::Tenbin);
    let best = peers.map(|(_, v)| *v).fold(f64::INFINITY, f64::min);
    ours.map_or(f64::NAN, |(_, v)| v / best)
}

fn line(title: &str, measured: &[&Measured]) {
    if measured.is_empty() {
        return;
    }
    let mut text = format!("| {title} | {} |", measured.len());
    for of in [|c: &Cost| c.latency_ms, |c: &Cost| c.cpu_ms] {
        let values = middles(measured, of);
        for (_, value) in &values {
            text += &format!(" {value:.2} |");
        }
        text += &format!(" **{:.2}** |", ratio(&values));
    }
    println!("{text}");
}

fn head(systems: &[Running], what: &str) {
    let names: Vec<&str> = systems.iter().map(|r| r.system.title()).collect();
    let (mut text, mut rule) = (format!("| {what} | queries |"), "|---|---|".to_owned());
    for cost in ["ms", "CPU ms"] {
        for name in &names {
            text += &format!(" {name} {cost} |");
            rule += "---|";
        }
        text += " ratio |";
        rule += "---|";
    }
    println!("{text}\n{rule}");
}

/// Prints medians by kind and by size and span, the queries that are slower than a peer's, and memory.
fn report(flags: &QueryFlags, systems: &[Running], measured: &[Measured]) {
    head(systems, "kind");
    let mut kinds: Vec<&str> = measured.iter().map(|m| m.query.kind).collect();
    kinds.dedup();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let of_kind = |m: &&Measured| m.query.kind == kind;
        line(kind, &measured.iter().filter(of_kind).collect::<Vec<_>>());
    }
    println!();
    head(systems, "size, span");
    for size in Size::ALL {
        for span in Span::ALL {
            let inside = |m: &&Measured| m.query.size == size && m.query.span == span;
            let title = format!("{}, {}", size.title(), span.title());
            line(&title, &measured.iter().filter(inside).collect::<Vec<_>>());
        }
    }
    println!();
    head(
        systems,
        if flags.all {
            "query"
        } else {
            "query slower than half of a peer's"
        },
    );
    for one in measured {
        let latency: Vec<_> = one.costs.iter().map(|(s, c)| (*s, c.latency_ms)).collect();
        if flags.all || ratio(&latency) > 0.5 {
            let (text, span) = (&one.query.text, one.query.span.title());
            line(&format!("`{text}` {span}"), &[one]);
        }
    }
    for running in systems {
        let peak = status_bytes(running.process.id(), "VmHWM") as f64 / 1e6;
        println!("\npeak RSS of {}: {peak:.0} MB", running.system.title());
    }
}
