//! One consistent view over head and blocks.
//!
//! A selection copies what it needs from the head (small, compressed) and then takes the list of
//! blocks. A flush publishes its block before it drops the same samples from the head, so in this
//! order nothing is missed; what is seen twice is merged, the first stored value winning.

pub(crate) mod matching;
pub(crate) mod merge;
pub(crate) mod querier;
pub(crate) mod set;
