//! Runs scripts in the promqltest language: our own, which must pass entirely, and Prometheus'
//! where they are at hand, whose score must not drop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tenbin_promql::testkit::{ScriptReport, run_script, suite_options};

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// The scripts of a directory by file name.
fn scripts(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "test") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            found.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    found
}

fn print_failures(name: &str, report: &ScriptReport, most: usize) {
    for failure in report.failures.iter().take(most) {
        let reason: String = failure.reason.chars().take(600).collect();
        println!("  {name}:{}: {}\n    {reason}", failure.line, failure.what);
    }
}

#[test]
fn our_scripts_pass() {
    let mut failed = Vec::new();
    for (name, text) in scripts(&testdata()) {
        let report = run_script(&text, &suite_options());
        println!("{name} {}/{}", report.passed, report.total);
        assert!(report.total > 0, "{name} evaluates nothing");
        if !report.failures.is_empty() {
            print_failures(&name, &report, 20);
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "scripts failed: {failed:?}");
}

/// Where Prometheus' scripts are, if anywhere.
fn upstream_directory() -> Option<PathBuf> {
    let named = std::env::var_os("PROMQLTEST_DIR").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/promqltest");
    named.or(Some(beside)).filter(|path| path.is_dir())
}

/// The committed scores: `file passed` per line.
fn floors() -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(testdata().join("upstream_floor.txt")).unwrap();
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, floor) = line.split_once(' ').unwrap();
            (name.to_owned(), floor.trim().parse().unwrap())
        })
        .collect()
}

/// `PROMQLTEST_SHOW=<n>` prints the first n failures of each file, `PROMQLTEST_FILE=<name>` runs
/// one file only.
#[test]
fn upstream_scripts_keep_their_score() {
    let Some(directory) = upstream_directory() else {
        println!("skipped: no directory of Prometheus' scripts; set PROMQLTEST_DIR");
        return;
    };
    let show = std::env::var("PROMQLTEST_SHOW").map_or(0, |n| n.parse().unwrap());
    let only = std::env::var("PROMQLTEST_FILE").ok();
    let floors = floors();
    let (mut passed, mut total, mut dropped) = (0, 0, Vec::new());
    for (name, text) in scripts(&directory) {
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let report = run_script(&text, &suite_options());
        println!("{name} {}/{}", report.passed, report.total);
        print_failures(&name, &report, show);
        passed += report.passed;
        total += report.total;
        let floor = floors.get(&name).copied().unwrap_or(0);
        if report.passed < floor {
            dropped.push(format!("{name}: {} below {floor}", report.passed));
        }
    }
    println!("total {passed}/{total}");
    assert!(total > 0, "the directory holds no scripts");
    assert!(dropped.is_empty(), "scores dropped: {dropped:?}");
}
