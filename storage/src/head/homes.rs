//! Where the new series of a connection go: into one lane for a long run, so that the series of one
//! target stay neighbours, then into the lane with the fewest series, so that one busy sender does
//! not keep all its series behind one lock and one core.

use hashbrown::HashMap;
use parking_lot::Mutex;

/// Series that a connection puts into one lane before another is chosen.
const RUN: usize = 16 << 10;

/// Connections remembered; beyond, all are forgotten, which costs nothing but a new choice.
const MAX_CONNECTIONS: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Home {
    lane: u32,
    left: usize,
}

/// The lanes that connections fill.
#[derive(Debug)]
pub(super) struct Homes {
    lanes: u32,
    by_connection: Mutex<HashMap<u64, Home>>,
}

impl Homes {
    pub(super) fn new(lanes: u32) -> Self {
        Self {
            lanes,
            by_connection: Mutex::default(),
        }
    }

    /// The lane for up to `series` new series of a connection; `filled` knows how many series a lane
    /// has.
    pub(super) fn lane(&self, connection: u64, series: usize, filled: impl Fn(u32) -> u64) -> u32 {
        let mut homes = self.by_connection.lock();
        if homes.len() >= MAX_CONNECTIONS && !homes.contains_key(&connection) {
            homes.clear();
        }
        let home = homes.entry(connection).or_insert(Home { lane: 0, left: 0 });
        if home.left == 0 {
            // Of equally full lanes the first from a place that differs between connections.
            let start = (connection.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
            let turned = (0..self.lanes).map(|i| (start % self.lanes + i) % self.lanes);
            let lane = turned.min_by_key(|lane| filled(*lane)).unwrap_or(0);
            *home = Home { lane, left: RUN };
        }
        home.left = home.left.saturating_sub(series);
        home.lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_stays_for_a_run_and_then_goes_where_there_is_room() {
        let homes = Homes::new(4);
        let filled = |lane| u64::from(lane != 2);
        let first = homes.lane(7, RUN - 1, |_| 0);
        assert_eq!(homes.lane(7, 5, filled), first);
        assert_eq!(homes.lane(7, 5, filled), 2);
        assert_eq!(homes.lane(7, 5, |_| 0), 2);
        let spread: std::collections::BTreeSet<u32> = (0..20)
            .map(|connection| homes.lane(connection, 1, |_| 0))
            .collect();
        assert!(spread.len() > 1);
        for connection in 0..2 * MAX_CONNECTIONS as u64 {
            homes.lane(connection, 1, filled);
        }
        assert!(homes.by_connection.lock().len() <= MAX_CONNECTIONS);
    }
}
