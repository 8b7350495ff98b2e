//! PromQL: language and engine.
//!
//! Text goes through `lexer` -> `parser` -> `check` into an [`ast::Expr`]; the engine evaluates it
//! over anything that implements [`tenbin_model::Queryable`].
//!
//! Invariants: knows no storage, no HTTP, no clock; bounded in depth, nodes and bytes.
#![forbid(unsafe_code)]

pub mod ast;
pub mod engine;
pub mod error;
pub mod options;
pub mod parser;
pub mod signatures;
pub mod value;

pub use engine::{CancelToken, QueryRange, evaluate};
pub use error::{EvalError, ParseError};
pub use parser::parse;
