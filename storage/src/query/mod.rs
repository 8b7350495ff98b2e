//! One consistent view over head and blocks.
//!
//! A querier is a snapshot: the list of blocks and, of each lane, the position in a journal that
//! tells which samples came later. They are left out of what the head has, and out of blocks that a
//! flush listed meanwhile. (Label names and values come from the series that are there when asked.)
//!
//! A selection copies what it needs from the head (small, compressed) and then takes the list of
//! blocks. A flush publishes its block before it drops the same samples from the head, so in this
//! order nothing is missed; what is seen twice is merged, the first stored value winning.

pub(crate) mod matching;
pub(crate) mod merge;
pub(crate) mod querier;
mod records;
pub(crate) mod set;
