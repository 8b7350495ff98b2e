//! Everything in one run: ingest, queries, dashboards, labels, and the table of goals.

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser as _;
use serde_json::{Map, Value, json};

use crate::dashboard::{self, DashboardFlags};
use crate::flags::IngestFlags;
use crate::goals::{self, Goal};
use crate::ingest;
use crate::labels::{self, LabelFlags};
use crate::query::{self, QueryFlags};
use crate::setup::{Preset, Programs, machine};

/// Settings of the whole benchmark.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AllFlags {
    /// `quick` shows whether everything works; `full` has the sizes of the goals.
    #[arg(long, default_value = "quick")]
    preset: Preset,
    /// Only these parts.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "ingest,query,dashboard,labels"
    )]
    parts: Vec<Part>,
    /// How often each part is repeated, instead of its preset; medians are printed.
    #[arg(long)]
    repeat: Option<usize>,
    /// Writes all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    programs: Programs,
}

/// The parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Ingest,
    Query,
    Dashboard,
    Labels,
}

/// The settings of one part, as its own command would have them.
#[derive(Debug, clap::Parser)]
struct Defaults<A: clap::Args> {
    #[command(flatten)]
    flags: A,
}

fn defaults<A: clap::Args>() -> Result<A, String> {
    Ok(Defaults::<A>::try_parse_from([""])
        .map_err(|e| e.to_string())?
        .flags)
}

/// Runs all parts and prints the goals. A part that fails does not take the others with it.
pub(crate) fn run(flags: &AllFlags) -> Result<(), String> {
    let machine = machine();
    let (mut figures, mut reached, mut failures) = (Map::new(), Vec::new(), Vec::new());
    let started = Instant::now();
    for part in &flags.parts {
        let begun = Instant::now();
        match run_part(flags, *part) {
            Ok((value, goals)) => {
                figures.insert(format!("{part:?}").to_lowercase(), value);
                reached.extend(goals);
            }
            Err(failure) => {
                println!("\n{part:?} failed: {failure}");
                failures.push(format!("{part:?}: {failure}"));
            }
        }
        println!("\n({part:?} took {:.0} s)", begun.elapsed().as_secs_f64());
    }
    println!("{}", goals::table(&reached));
    println!("{:.0} s in all.", started.elapsed().as_secs_f64());
    if let Some(path) = &flags.json {
        figures.insert("machine".to_owned(), machine);
        figures.insert("preset".to_owned(), json!(format!("{:?}", flags.preset)));
        figures.insert("goals".to_owned(), goals::to_json(&reached));
        let text = format!("{:#}\n", Value::Object(figures));
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n"))
    }
}

fn run_part(flags: &AllFlags, part: Part) -> Result<(Value, Vec<Goal>), String> {
    let programs = flags.programs.clone();
    match part {
        Part::Ingest => {
            let mut ingest: IngestFlags = defaults()?;
            (ingest.preset, ingest.repeat) = (Some(flags.preset), flags.repeat);
            (ingest.brief, ingest.programs) = (true, programs);
            ingest::run_with_goals(&ingest)
        }
        Part::Query => {
            let defaults: QueryFlags = defaults()?;
            query::run_with_goals(&QueryFlags {
                preset: flags.preset,
                repeat: flags.repeat,
                programs,
                ..defaults
            })
        }
        Part::Dashboard => {
            let defaults: DashboardFlags = defaults()?;
            dashboard::run_with_goals(&DashboardFlags {
                preset: flags.preset,
                repeat: flags.repeat.unwrap_or(1),
                programs,
                ..defaults
            })
        }
        Part::Labels => {
            let defaults: LabelFlags = defaults()?;
            labels::run_with_goals(&LabelFlags {
                preset: flags.preset,
                repeat: flags.repeat,
                programs,
                ..defaults
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_defaults() {
        assert!(defaults::<IngestFlags>().is_ok());
        assert!(defaults::<QueryFlags>().is_ok());
        assert!(defaults::<DashboardFlags>().is_ok());
        assert!(defaults::<LabelFlags>().is_ok());
    }
}
