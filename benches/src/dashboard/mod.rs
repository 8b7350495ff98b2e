//! The dashboard benchmark: twenty panels at once, idle and while samples come in at a fixed rate.
//!
//! One system at a time. The data is the generated fleet; its time runs faster than the clock, so
//! that the rate is reached with fewer series than one scrape in 15 s would need. While samples come
//! in, a dashboard refreshes once a second (or as soon as it can) and ends at the newest scrape.

mod feed;
mod panels;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tenbin_compat_tests::answers::{first_difference, normalised, same};
use tenbin_compat_tests::http::{Answer, Client};

use crate::client::{Connection, Encoded};
use crate::goals::{self, Goal};
use crate::measure::{cpu_s, quantile};
use crate::query::answers::ask;
use crate::setup::{Preset, Programs};
use crate::systems::{Installed, Running, System};
use crate::workload::{Name, Plan, Workload};
use feed::{Progress, Stream};
use panels::{PANELS, target};

/// Settings of the dashboard benchmark.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DashboardFlags {
    /// `quick` has 5,000 series and 3 s of each part, `full` 50,000 series and 30 s.
    #[arg(long, default_value = "quick")]
    pub(crate) preset: Preset,
    /// Series, instead of the preset's.
    #[arg(long)]
    pub(crate) series: Option<usize>,
    /// Samples a second that come in meanwhile.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) rate: u32,
    /// Seconds of each part, instead of the preset's.
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
    /// How often everything is repeated; medians are printed.
    #[arg(long, default_value_t = 1)]
    pub(crate) repeat: usize,
    #[command(flatten)]
    pub(crate) programs: Programs,
}

/// The parts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    IdleUncached,
    Idle,
    Ingesting,
}

impl Part {
    const ALL: [Self; 3] = [Self::IdleUncached, Self::Idle, Self::Ingesting];

    fn title(self) -> &'static str {
        match self {
            Self::IdleUncached => "idle, caches off",
            Self::Idle => "idle, caches on",
            Self::Ingesting => "while ingesting, caches on",
        }
    }
}

/// What one part of one system gave: name, unit and value.
type Figures = Vec<(&'static str, f64)>;

/// One system's figures of all repetitions.
struct Outcome {
    system: System,
    durability: String,
    parts: Vec<(Part, Vec<Figures>)>,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &DashboardFlags) -> Result<(), String> {
    let (_, reached) = run_with_goals(flags)?;
    println!("{}", goals::table(&reached));
    Ok(())
}

/// Sizes of a run.
struct Setting {
    workload: Workload,
    preload: u32,
    length_s: i64,
    seconds: u64,
    rate: u32,
}

impl Setting {
    fn new(flags: &DashboardFlags) -> Result<Self, String> {
        let (series, preload, seconds) = match flags.preset {
            Preset::Quick => (5_000, 40, 3),
            Preset::Full => (50_000, 240, 30),
        };
        let (series, seconds) = (
            flags.series.unwrap_or(series),
            flags.seconds.unwrap_or(seconds),
        );
        // an eighth more than the rate needs, since a fleet has whole targets
        let live = (u64::from(flags.rate) * (seconds + 3) * 9 / 8 / series as u64) as usize + 4;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let plan = Plan {
            series,
            scrapes: preload + live,
            ..Plan::new(Name::Steady, 1.0)
        };
        Ok(Self {
            workload: Workload::prepare(plan, now.map_or(0, |d| d.as_millis() as i64))?,
            preload: preload as u32,
            length_s: preload as i64 * 15,
            seconds,
            rate: flags.rate,
        })
    }

    /// Time of the beginning of a scrape.
    fn time_ms(&self, round: i64) -> i64 {
        self.workload.sizes.span_ms.0 + round * self.workload.plan.interval_ms
    }
}

/// Runs the benchmark, prints its table, and gives figures and goals.
pub(crate) fn run_with_goals(flags: &DashboardFlags) -> Result<(Value, Vec<Goal>), String> {
    let setting = Setting::new(flags)?;
    let installed = flags.programs.installed("group");
    let mut outcomes: Vec<Outcome> = installed
        .iter()
        .map(|i| Outcome {
            system: i.system,
            durability: i.durability(),
            parts: Part::ALL.map(|part| (part, Vec::new())).into(),
        })
        .collect();
    let mut ours: Option<Vec<Answer>> = None;
    for _ in 0..flags.repeat.max(1) {
        for (installed, outcome) in installed.iter().zip(&mut outcomes) {
            let figures = one_system(&setting, installed, &mut ours)?;
            for ((_, all), figures) in outcome.parts.iter_mut().zip(figures) {
                all.push(figures);
            }
        }
    }
    print(&setting, &outcomes);
    Ok((to_json(&outcomes), reached(flags, &outcomes)))
}

fn one_system(
    setting: &Setting,
    installed: &Installed,
    ours: &mut Option<Vec<Answer>>,
) -> Result<Vec<Figures>, String> {
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    let running = Running::start(&installed.with_caches(), directory.path())?;
    let mut streams = Stream::open_all(&setting.workload, &running.url)?;
    all_streams(&mut streams, |stream| stream.preload(setting.preload))?;
    running.make_visible()?;
    agree(setting, &running, ours)?;
    let mut figures = Vec::new();
    for part in [Part::IdleUncached, Part::Idle] {
        let progress = Progress::default();
        figures.push(refresh(setting, &running, part, &progress)?);
    }
    figures.push(while_ingesting(setting, &running, &mut streams)?);
    Ok(figures)
}

fn all_streams(
    streams: &mut [Stream],
    work: impl Fn(&mut Stream) -> Result<(), String> + Sync,
) -> Result<(), String> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = streams
            .iter_mut()
            .map(|s| scope.spawn(move || work(s)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|t| t.join().map_err(|_| "a sender panicked".to_owned())?)
    })
}

/// Every panel has an answer, and that of Prometheus is ours but for last digits.
fn agree(
    setting: &Setting,
    running: &Running,
    ours: &mut Option<Vec<Answer>>,
) -> Result<(), String> {
    let (client, mut answers) = (Client::default(), Vec::new());
    let end_ms = setting.time_ms(i64::from(setting.preload));
    for query in PANELS {
        let answer = ask(
            &client,
            running,
            &target(query, end_ms, setting.length_s, true),
        )?;
        let series = answer.json()["data"]["result"]
            .as_array()
            .map_or(0, Vec::len);
        if series == 0 {
            return Err(format!("{}: {query} found nothing", running.system.name()));
        }
        answers.push(answer);
    }
    if let (Some(ours), System::Prometheus) = (&*ours, running.system) {
        for ((query, a), b) in PANELS.iter().zip(ours).zip(&answers) {
            let (a, b) = (normalised(a), normalised(b));
            // which of several equal values are picked depends on the order of series
            if !query.starts_with("topk") && !same(&a, &b) {
                return Err(format!(
                    "prometheus disagrees on {query}\n{}",
                    first_difference(&a, &b)
                ));
            }
        }
    }
    if running.system == System::Tenbin {
        *ours = Some(answers);
    }
    Ok(())
}

fn while_ingesting(
    setting: &Setting,
    running: &Running,
    streams: &mut [Stream],
) -> Result<Figures, String> {
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    progress
        .round
        .store(i64::from(setting.preload), Ordering::Relaxed);
    let rate = f64::from(setting.rate) / streams.len() as f64;
    std::thread::scope(|scope| {
        let (progress, stop) = (&progress, &stop);
        let senders =
            scope.spawn(move || all_streams(streams, |s| s.at_rate(rate, progress, stop)));
        let started = Instant::now();
        let figures = refresh(setting, running, Part::Ingesting, progress);
        let seconds = started.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        senders
            .join()
            .map_err(|_| "a sender panicked".to_owned())??;
        if progress.ran_out.load(Ordering::Relaxed) {
            println!(
                "{}: the prepared samples ended early",
                running.system.name()
            );
        }
        let mut figures = figures?;
        let seconds_of =
            |us: &std::sync::atomic::AtomicU64| us.load(Ordering::Relaxed) as f64 / 1e6;
        figures.extend([
            (
                "samples / s taken",
                progress.sent.load(Ordering::Relaxed) as f64 / seconds,
            ),
            ("most behind, s", seconds_of(&progress.most_late_us)),
            ("behind at the end, s", seconds_of(&progress.now_late_us)),
        ]);
        Ok(figures)
    })
}

/// Refreshes the dashboard for the part's time: once a second while ingesting, else as fast as it
/// goes.
fn refresh(
    setting: &Setting,
    running: &Running,
    part: Part,
    progress: &Progress,
) -> Result<Figures, String> {
    let idle_round = i64::from(setting.preload);
    let (barrier, stop) = (Barrier::new(PANELS.len() + 1), AtomicBool::new(false));
    let end_ms = AtomicI64::new(setting.time_ms(idle_round));
    let (latencies, failure) = (Mutex::new(Vec::new()), Mutex::new(None));
    let mut connections = Vec::new();
    for _ in PANELS {
        connections.push(Connection::open(&running.url)?);
    }
    let (mut whole, before) = (Vec::new(), cpu_s(running.process.id()));
    std::thread::scope(|scope| {
        for (query, mut connection) in PANELS.iter().zip(connections) {
            let (barrier, stop, end_ms) = (&barrier, &stop, &end_ms);
            let (latencies, failure) = (&latencies, &failure);
            scope.spawn(move || {
                loop {
                    barrier.wait();
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let no_cache = part == Part::IdleUncached;
                    let end_ms = end_ms.load(Ordering::Relaxed);
                    let request = Encoded::get(&target(query, end_ms, setting.length_s, no_cache));
                    let begun = Instant::now();
                    let outcome = connection.ask(&request).map(|reply| reply.status);
                    let took = begun.elapsed().as_secs_f64() * 1e3;
                    match outcome {
                        Ok(200) => push(latencies, took),
                        other => set(failure, format!("{query}: {other:?}")),
                    }
                    barrier.wait();
                }
            });
        }
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(setting.seconds) || whole.len() < 3 {
            if part == Part::Ingesting {
                let round = progress.round.load(Ordering::Relaxed);
                end_ms.store(setting.time_ms(round), Ordering::Relaxed);
            }
            let begun = Instant::now();
            barrier.wait();
            barrier.wait();
            whole.push(begun.elapsed().as_secs_f64() * 1e3);
            if part == Part::Ingesting {
                std::thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
            }
        }
        stop.store(true, Ordering::Relaxed);
        barrier.wait();
    });
    if let Some(failure) = failure.into_inner().unwrap_or_default() {
        return Err(format!("{}: {failure}", running.system.name()));
    }
    let cpu_ms = (cpu_s(running.process.id()) - before) * 1e3 / whole.len() as f64;
    let mut latencies = latencies.into_inner().unwrap_or_default();
    Ok(vec![
        ("panel p50 ms", quantile(&mut latencies, 0.5)),
        ("panel p99 ms", quantile(&mut latencies, 0.99)),
        ("dashboard p50 ms", quantile(&mut whole, 0.5)),
        ("dashboard p99 ms", quantile(&mut whole, 0.99)),
        ("CPU ms of a refresh", cpu_ms),
    ])
}

fn push(latencies: &Mutex<Vec<f64>>, took: f64) {
    if let Ok(mut latencies) = latencies.lock() {
        latencies.push(took);
    }
}

fn set(failure: &Mutex<Option<String>>, text: String) {
    if let Ok(mut failure) = failure.lock() {
        failure.get_or_insert(text);
    }
}

/// Median over the repetitions.
fn middle(outcome: &Outcome, part: Part, name: &str) -> Option<f64> {
    let (_, runs) = outcome.parts.iter().find(|(p, _)| *p == part)?;
    let values: Vec<f64> = runs
        .iter()
        .filter_map(|run| run.iter().find(|(n, _)| *n == name).map(|(_, v)| *v))
        .collect();
    (!values.is_empty()).then(|| crate::measure::median(values))
}

fn names(outcomes: &[Outcome], part: Part) -> Vec<&'static str> {
    let runs = outcomes
        .iter()
        .flat_map(|o| &o.parts)
        .filter(|(p, _)| *p == part);
    let first = runs.flat_map(|(_, runs)| runs.first()).next();
    first.map_or(Vec::new(), |run| {
        run.iter().map(|(name, _)| *name).collect()
    })
}

fn ours_and_best(outcomes: &[Outcome], part: Part, name: &str) -> (f64, f64) {
    let values = outcomes
        .iter()
        .filter_map(|o| Some((o.system, middle(o, part, name)?)));
    crate::costs::ours_and_best(&values.collect::<Vec<_>>())
}

fn print(setting: &Setting, outcomes: &[Outcome]) {
    let titles: Vec<&str> = outcomes.iter().map(|o| o.system.title()).collect();
    println!(
        "\n### Twenty panels at once\n\n{} series, {} s in 240 steps, {} samples / s while ingesting, {} s of each part\n",
        setting.workload.sizes.totals.series, setting.length_s, setting.rate, setting.seconds
    );
    println!(
        "| | {} | ratio |\n|---|{}",
        titles.join(" | "),
        "---|".repeat(titles.len() + 1)
    );
    for part in Part::ALL {
        for name in names(outcomes, part) {
            let cell =
                |o: &Outcome| middle(o, part, name).map_or("-".into(), |v| format!("{v:.2}"));
            let cells: Vec<String> = outcomes.iter().map(cell).collect();
            let (ours, best) = ours_and_best(outcomes, part, name);
            let ratio = if name.ends_with("ms") || name.starts_with("CPU") {
                format!("{:.2}", ours / best)
            } else {
                String::new()
            };
            println!(
                "| {}: {name} | {} | {ratio} |",
                part.title(),
                cells.join(" | ")
            );
        }
    }
    let durability: Vec<&str> = outcomes.iter().map(|o| o.durability.as_str()).collect();
    println!(
        "| acknowledged samples survive | {} | |",
        durability.join(" | ")
    );
}

fn reached(flags: &DashboardFlags, outcomes: &[Outcome]) -> Vec<Goal> {
    let mut all: Vec<Goal> = ["panel p99 ms", "dashboard p99 ms"]
        .into_iter()
        .map(|name| {
            let (ours, best) = ours_and_best(outcomes, Part::Ingesting, name);
            Goal::new(
                format!("20 panels at {} samples / s, {name}", flags.rate),
                0.5,
                ours,
                best,
            )
        })
        .collect();
    let tenbin = outcomes.iter().find(|o| o.system == System::Tenbin);
    if let Some(behind) = tenbin.and_then(|o| middle(o, Part::Ingesting, "behind at the end, s")) {
        let line = format!("ingest at {} samples / s: behind at the end, s", flags.rate);
        all.push(Goal::absolute(line, 0.5, behind));
    }
    all
}

fn to_json(outcomes: &[Outcome]) -> Value {
    let systems = outcomes.iter().map(|outcome| {
        let parts = outcome.parts.iter().map(|(part, runs)| {
            let runs: Vec<Value> = runs
                .iter()
                .map(|run| {
                    run.iter()
                        .map(|(n, v)| ((*n).to_owned(), json!(v)))
                        .collect()
                })
                .collect();
            (part.title().to_owned(), Value::Array(runs))
        });
        let value = json!({
            "durability": outcome.durability,
            "parts": parts.collect::<serde_json::Map<String, Value>>(),
        });
        (outcome.system.name().to_owned(), value)
    });
    Value::Object(systems.collect())
}
