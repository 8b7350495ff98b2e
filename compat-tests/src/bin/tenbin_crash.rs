//! Crash tests of a built server, for as long as one likes:
//!
//! ```text
//! tenbin-crash kill PROGRAM [ROUNDS] [SEED]
//! tenbin-crash power PROGRAM [ROUNDS] [SEED]       root; every policy on ext4 and XFS
//! tenbin-crash full-disk PROGRAM [ROUNDS]          root
//! tenbin-crash soak PROGRAM [HOURS] [SEED]
//! ```
#![allow(clippy::print_stdout, reason = "a command")]

use std::path::PathBuf;
use std::process::ExitCode;

use tenbin_compat_tests::crash::{full_disk, kill, power, soak};

const POLICIES: [&str; 3] = ["group", "interval=100ms", "segment"];

fn run(arguments: &[String]) -> Result<(), String> {
    let usage = "usage: tenbin-crash kill|power|full-disk|soak PROGRAM [ROUNDS or HOURS] [SEED]";
    let [what, program, rest @ ..] = arguments else {
        return Err(usage.into());
    };
    let program = PathBuf::from(program);
    let number = |at: usize, default: u64| match rest.get(at) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| usage.to_owned()),
    };
    let seed = number(1, 1)?;
    match &**what {
        "kill" => println!("{:?}", kill::run(&program, number(0, 500)? as usize, seed)?),
        "power" => {
            for kind in ["ext4", "xfs"] {
                for policy in POLICIES {
                    let rounds = number(0, 50)? as usize;
                    let report = power::run(&program, rounds, kind, policy, seed)?;
                    println!("{kind} {policy}: {report:?}");
                }
            }
        }
        "full-disk" => println!("{:?}", full_disk::run(&program, number(0, 12)? as usize)?),
        "soak" => {
            for (hour, state) in soak::run(&program, number(0, 24)? as usize, seed)?
                .iter()
                .enumerate()
            {
                println!("{hour:3} {state:?}");
            }
        }
        _ => return Err(usage.into()),
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
