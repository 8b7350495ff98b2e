//! What a crash must not take: senders with a ledger of their own, and the ways to crash.
//!
//! The ledger is outside the server. After every crash the standard check holds: what was
//! acknowledged is visible, what is visible was sent, every value has its bits, every request is there
//! whole or not at all.

pub mod full_disk;
pub mod kill;
pub mod ledger;
pub mod mount;
pub mod power;
pub mod soak;
