//! Elementary functions whose results equal those of Go's `math` package on amd64, bit for bit.
//!
//! Queries must answer what Prometheus answers, and Prometheus answers what Go's library computes.
//! That library is deterministic but not correctly rounded, and differs from C's libraries in the
//! last bit of many results. Most of its algorithms are those of FreeBSD's msun (`e_log.c`,
//! `s_log1p.c`, `e_exp.c`, `e_pow.c`, `s_asinh.c`, `e_acosh.c`, `e_atanh.c`) and of Cephes
//! (`sin.c`, `tan.c`, `atan.c`, `tanh.c`); the amd64 assembly of `Exp` follows SLEEF.
//!
//! Invariants: the order of operations inside the functions is part of their result and must not
//! be changed; nothing is fused except where `mul_add` says so. `model/tests/gomath.txt` holds values
//! that a real Prometheus returned.

mod bits;
mod exponential;
mod hyperbolic;
mod inverse;
mod logarithm;
mod power;
mod reduction;
mod trigonometry;

pub use bits::{frexp, ldexp};
pub use exponential::{exp, exp2};
pub use hyperbolic::{acosh, asinh, atanh, cosh, sinh, tanh};
pub use inverse::{acos, asin, atan, atan2};
pub use logarithm::{ln, log1p, log2, log10};
pub use power::pow;
pub use trigonometry::{cos, sin, tan};
