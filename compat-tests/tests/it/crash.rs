//! A few rounds of every crash on the real server; `tenbin-crash` does as many as one likes.

use libtest_mimic::{Failed, Trial};
use tenbin_compat_tests::crash::ledger::{Load, check};
use tenbin_compat_tests::crash::mount::Mount;
use tenbin_compat_tests::crash::{full_disk, kill, power};
use tenbin_compat_tests::process::Tenbin;

use super::{failed, tenbin};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("crash::acknowledged_samples_survive_kill_9", survive_kill),
        Trial::test("crash::a_graceful_stop_loses_nothing", graceful_stop),
    ];
    let mountable = {
        let directory = std::env::temp_dir().join(format!("tenbin-mount-{}", std::process::id()));
        let mounted = Mount::tmpfs(&directory, 1);
        let reason = mounted.as_ref().err().cloned();
        drop(mounted);
        let _ = std::fs::remove_dir(&directory);
        reason
    };
    let full = Trial::test("crash::a_full_disk_refuses_and_resumes", full_disk);
    trials.push(match &mountable {
        None => full,
        Some(reason) => skipped(full, reason),
    });
    let power = Trial::test("crash::a_power_cut_takes_what_the_policy_says", power_cut);
    let switch = tenbin_compat_tests::crash::mount::shell("xfs_io", &["-V"]).err();
    trials.push(match mountable.or(switch) {
        None => power,
        Some(reason) => skipped(power, &reason),
    });
    trials
}

/// Counted as ignored, with the reason.
fn skipped(trial: Trial, reason: &str) -> Trial {
    eprintln!("skipped: {}: {reason}", trial.name());
    trial.with_kind("skipped").with_ignored_flag(true)
}

fn survive_kill() -> Result<(), Failed> {
    let report = kill::run(&tenbin(), 8, 1).map_err(failed)?;
    eprintln!("{report:?}");
    if report.samples < 1000 {
        return Err(failed("too few samples were acknowledged: proves nothing"));
    }
    Ok(())
}

fn full_disk() -> Result<(), Failed> {
    let report = full_disk::run(&tenbin(), 3).map_err(failed)?;
    eprintln!("{report:?}");
    Ok(())
}

fn power_cut() -> Result<(), Failed> {
    for policy in ["group", "interval=100ms", "segment"] {
        let report = power::run(&tenbin(), 2, "ext4", policy, 1).map_err(failed)?;
        eprintln!("{policy}: {report:?}");
    }
    Ok(())
}

fn graceful_stop() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let mut server = Tenbin::start(&tenbin(), directory.path(), &[]).map_err(failed)?;
    let load = Load::start(&server.url, 0..2);
    std::thread::sleep(std::time::Duration::from_millis(300));
    if !server.process.terminate() {
        return Err(failed(format!(
            "SIGTERM: no success\n{}",
            server.process.output()
        )));
    }
    let ledger = load.finish().map_err(failed)?;
    server.restart().map_err(failed)?;
    let checked = check(&server.url, &ledger).map_err(failed)?;
    assert!(checked.samples > 100 && checked.lost.is_empty());
    Ok(())
}
