//! All process-level tests in one program with its own runner, so that a test whose peer is missing
//! can say so and be counted as ignored.

mod admin;
mod compliance;
mod crash;
mod differential;
mod federation;
mod grafana;
mod http_cases;
mod http_contract;
mod http_counts;
mod http_reload;
mod http_security;
mod http_settings;
mod http_tls;
mod imports;
mod interchange;
mod native_histograms;
mod otlp;
mod otlp_deltas;
mod prometheus;
mod query_limits;
mod readers;
mod remote_read;
mod remote_write_v2;
mod result_cache;
mod senders;
mod write_compliance;

use std::path::PathBuf;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// The server under test: the one of this workspace, or another build that `TENBIN_UNDER_TEST` names.
fn tenbin() -> PathBuf {
    std::env::var_os("TENBIN_UNDER_TEST").map_or_else(
        || env!("CARGO_BIN_EXE_tenbin-under-test").into(),
        PathBuf::from,
    )
}

/// Turns a text error into a test failure.
fn failed(error: impl std::fmt::Display) -> Failed {
    Failed::from(error.to_string())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = http_contract::trials();
    trials.extend(grafana::peerless_trials());
    trials.extend(http_security::trials());
    trials.extend(http_counts::trials());
    trials.extend(http_reload::trials());
    trials.extend(http_settings::trials());
    trials.extend(http_tls::trials());
    trials.extend(admin::trials());
    trials.extend(crash::trials());
    trials.extend(interchange::peerless_trials());
    trials.extend(imports::trials());
    trials.extend(otlp::peerless_trials());
    trials.extend(otlp_deltas::trials());
    trials.extend(query_limits::trials());
    trials.extend(result_cache::trials());
    trials.extend(remote_read::peerless_trials());
    trials.extend(remote_write_v2::trials());
    trials.extend(write_compliance::trials());
    trials.extend(peer_trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The tests beside real peers: run where the peers are, ignored with the reason where they are
/// not, failed where they are required and missing.
fn peer_trials() -> Vec<Trial> {
    match tenbin_compat_tests::peers::find() {
        Ok(peers) => {
            let mut trials = prometheus::trials(&peers);
            trials.extend(grafana::trials(&peers));
            trials.extend(compliance::trials(&peers));
            trials.extend(http_cases::trials(&peers));
            trials.extend(differential::trials(&peers));
            trials.extend(federation::trials(&peers));
            trials.extend(interchange::trials(&peers));
            trials.extend(native_histograms::trials(&peers));
            trials.extend(otlp::trials());
            trials.extend(readers::trials(&peers));
            trials.extend(remote_read::trials(&peers));
            trials.extend(senders::trials(&peers));
            trials
        }
        Err(reason) if tenbin_compat_tests::peers::required() => {
            vec![Trial::test("peers are present", move || {
                Err(failed(&reason))
            })]
        }
        Err(reason) => {
            eprintln!("skipped: the tests beside a real Prometheus: {reason}");
            vec![
                Trial::test("prometheus::answers_are_equal", || Ok(()))
                    .with_kind("skipped: no peers")
                    .with_ignored_flag(true),
            ]
        }
    }
}
