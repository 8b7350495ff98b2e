//! What log messages look like, and which there are.

use clap::ValueEnum;

/// Severity of log messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What an operator wants to read.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
}

/// Form of log messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text with `key=value` fields.
    Logfmt,
    /// One JSON object a line.
    Json,
}
