//! Bytes to numbers and back. Pure: no file, no clock, no thread. Decoders take untrusted bytes:
//! they never panic, never loop without consuming, and never allocate more than the caller allowed.

pub(crate) mod bits;
mod blocks;
pub(crate) mod bytes;
mod chooser;
pub(crate) mod integers;
mod packer;
#[cfg(test)]
mod reference;
mod rice;
pub(crate) mod timestamps;
mod unpack;
pub(crate) mod values;
mod xor;

/// Bytes that no encoder writes; the text says which rule they break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);
