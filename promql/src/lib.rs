//! PromQL: language and engine.
//!
//! Text goes through `lexer` -> `parser` -> `check` into an [`ast::Expr`]; the engine evaluates it
//! over anything that implements [`tenbin_model::Queryable`].
//!
//! Invariants: knows no storage and no HTTP; bounded in depth, nodes and bytes. The clock is read
//! for timeouts and for the times in the statistics only.
#![forbid(unsafe_code)]

pub mod ast;
pub mod ast_json;
pub mod cache;
mod check;
pub mod duration;
pub mod engine;
pub mod error;
mod eval;
mod functions;
mod lexer;
pub mod options;
pub mod parser;
pub mod prettify;
pub mod print;
mod selectors;
pub mod signatures;
#[cfg(feature = "testkit")]
pub mod testkit;
mod token;
pub mod value;

pub use ast_json::ast_json;
pub use cache::{CacheCounts, ResultCache};
pub use duration::resolve;
pub use engine::{CancelToken, QueryRange, evaluate};
pub use error::{EvalError, ParseError};
pub use parser::{ParseLimits, parse, parse_matchers, parse_with_limits};
pub use prettify::prettify;
pub use print::print;
pub use selectors::selectors;

/// Every function of the language, and whether it is experimental; sorted by name.
pub fn function_names() -> impl Iterator<Item = (&'static str, bool)> {
    signatures::FUNCTIONS
        .iter()
        .map(|signature| (signature.name, signature.experimental))
}
