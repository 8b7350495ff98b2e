//! Replays the committed inputs of the fuzz targets `remote_write` and `protocols`.
//!
//! `TENBIN_FUZZ_SEEDS=1 cargo test -p tenbin --lib ingest::replay` writes the seeds anew.

use std::path::Path;

#[path = "../../fuzz/src/protocols.rs"]
mod protocols;
#[path = "../../fuzz/src/remote_write.rs"]
mod remote_write;

fn replay(name: &str, seeds: &[Vec<u8>], target: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let corpus = fuzz.join("corpus").join(name);
    if std::env::var_os("TENBIN_FUZZ_SEEDS").is_some() {
        std::fs::create_dir_all(&corpus).unwrap();
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(corpus.join(format!("seed-{number}")), seed).unwrap();
        }
    }
    let mut count = 0;
    for dir in [corpus, fuzz.join("regressions").join(name)] {
        for file in std::fs::read_dir(dir).into_iter().flatten() {
            let path = file.unwrap().path();
            println!("{}", path.display());
            target(&std::fs::read(path).unwrap());
            count += 1;
        }
    }
    assert!(count >= seeds.len());
}

#[test]
fn committed_inputs_pass() {
    let seeds = remote_write::seeds();
    replay("remote_write", &seeds, remote_write::target);
    replay("protocols", &protocols::seeds(), protocols::target);
}
