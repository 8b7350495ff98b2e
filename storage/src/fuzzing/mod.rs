//! Entry points of the fuzz targets in `fuzz/`: each takes any bytes and panics when an invariant
//! breaks. **Unstable**, and no part of the store: behind the feature `fuzzing` only.
//!
//! Inputs describe files by their parts; lengths and checksums are put right here, so that changed
//! bytes reach the decoders behind them. `replay` runs what is committed under `fuzz/corpus` and
//! `fuzz/regressions` through the same functions in every test run.

mod blocks;
mod codecs;
mod index;
mod input;
#[cfg(test)]
mod replay;
mod wal;

use std::cell::Cell;

pub use crate::interchange::fuzzing::prometheus_block;
pub use blocks::block_file;
pub use codecs::{chunk_decode, chunk_roundtrip};
pub use index::index_sections;
pub use wal::wal_frames;

pub(crate) use input::Input;
#[cfg(test)]
pub(crate) use input::put_part;

thread_local! {
    /// Whether checksums of foreign files are taken to hold.
    pub(crate) static CHECKSUMS_IGNORED: Cell<bool> = const { Cell::new(false) };
}
