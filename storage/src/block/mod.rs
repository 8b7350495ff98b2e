//! Blocks: immutable files of samples with their own index, mapped into memory.
//!
//! A block is written under a temporary name, synced, renamed, and only then named by the manifest.
//! Layout: `docs/format/block.md`. Every byte between header and page checksums is covered by a
//! CRC-32C per 64 KiB page, verified when the page is first touched.

pub(crate) mod format;
pub(crate) mod index;
mod matches;
pub(crate) mod pages;
pub(crate) mod pairs;
mod pending;
pub(crate) mod reader;
pub(crate) mod series;
pub(crate) mod side;
pub(crate) mod survey;
mod texts;
pub(crate) mod writer;
