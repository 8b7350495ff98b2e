//! Replays the committed inputs of the fuzz target `remote_write`.
//!
//! `TENBIN_FUZZ_SEEDS=1 cargo test -p tenbin --lib ingest::replay` writes the seeds anew.

use std::path::Path;

#[path = "../../fuzz/src/remote_write.rs"]
mod remote_write;

#[test]
fn committed_inputs_pass() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let corpus = fuzz.join("corpus/remote_write");
    let seeds = remote_write::seeds();
    if std::env::var_os("TENBIN_FUZZ_SEEDS").is_some() {
        std::fs::create_dir_all(&corpus).unwrap();
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(corpus.join(format!("seed-{number}")), seed).unwrap();
        }
    }
    let mut count = 0;
    for dir in [corpus, fuzz.join("regressions/remote_write")] {
        for file in std::fs::read_dir(dir).into_iter().flatten() {
            let path = file.unwrap().path();
            println!("{}", path.display());
            remote_write::target(&std::fs::read(path).unwrap());
            count += 1;
        }
    }
    assert!(count >= seeds.len());
}
