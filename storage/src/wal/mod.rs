//! The write-ahead log: requests in the order in which the head took them, until a block has them.
//!
//! Invariants: frames carry consecutive LSNs across segments; every segment can be read without
//! the others (it repeats the symbols and series it uses, and values are XORed only against values
//! of the same segment); within one segment a series id of a lane means one series. Layout:
//! `docs/format/wal.md`.

pub(crate) mod commit;
pub(crate) mod frame;
mod histogram;
pub(crate) mod record;
pub(crate) mod row;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod thread;
pub(crate) mod writer;
