//! Text forms that must equal Go's to the byte: floats, quoted strings, durations.
//!
//! Prometheus' answers, error texts and label values carry them, and clients compare them.

pub mod duration;
pub mod float;
pub mod quote;
