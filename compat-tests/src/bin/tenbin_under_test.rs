//! The `tenbin` program once more, built with the tests so that they always run the current code.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tenbin::cli::main()
}
