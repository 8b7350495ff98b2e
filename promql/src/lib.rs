//! PromQL: language and engine.
//!
//! Text goes through `lexer` -> `parser` -> `check` into an [`ast::Expr`]; the engine evaluates it
//! over anything that implements [`tenbin_model::Queryable`].
//!
//! Invariants: knows no storage and no HTTP; bounded in depth, nodes and bytes. The clock is read
//! for timeouts and for the times in the statistics only.
#![forbid(unsafe_code)]

pub mod ast;
pub mod engine;
pub mod error;
#[allow(dead_code, reason = "native histograms will use the rest")]
mod eval;
#[allow(dead_code, reason = "native histograms will use the rest")]
mod functions;
pub mod options;
pub mod parser;
pub mod signatures;
pub mod value;

pub use engine::{CancelToken, QueryRange, evaluate};
pub use error::{EvalError, ParseError};
pub use parser::parse;
