//! Start timestamps of the float samples of a lane. Most series have one for all of their life, so
//! in-order samples share an entry from the first that has it on; late samples have their own.
//! Series without start timestamps are not here at all. 0 = unknown.

use hashbrown::HashMap;
use tenbin_model::TimeRange;

/// `(timestamp of a sample, start timestamp)`, ascending.
type Entries = Vec<(i64, i64)>;
type BySeries = HashMap<u32, Entries, foldhash::fast::RandomState>;

/// The start timestamps of one series, copied.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeriesStarts {
    /// Each holds from its sample on.
    pub(crate) in_order: Entries,
    /// Each holds for its sample.
    pub(crate) late: Entries,
}

impl SeriesStarts {
    /// The start timestamps of in-order samples, none when all are unknown.
    pub(crate) fn of(&self, times: &[i64], out: &mut Vec<i64>) {
        out.clear();
        if self.in_order.is_empty() {
            return;
        }
        let (mut next, mut start_ms) = (0, 0);
        for at_ms in times {
            while let Some((from_ms, start)) = self.in_order.get(next)
                && from_ms <= at_ms
            {
                (start_ms, next) = (*start, next + 1);
            }
            out.push(start_ms);
        }
        if out.iter().all(|start| *start == 0) {
            out.clear();
        }
    }

    /// The start timestamps of late samples, none when all are unknown.
    pub(crate) fn of_late(&self, times: &[i64], out: &mut Vec<i64>) {
        out.clear();
        if !self.late.is_empty() {
            out.extend(times.iter().map(|at_ms| find(&self.late, *at_ms)));
        }
    }
}

fn find(entries: &[(i64, i64)], at_ms: i64) -> i64 {
    let at = entries.binary_search_by_key(&at_ms, |e| e.0);
    at.map_or(0, |at| entries[at].1)
}

fn insert(entries: &mut Entries, at_ms: i64, start_ms: i64) {
    if let Err(at) = entries.binary_search_by_key(&at_ms, |e| e.0) {
        entries.insert(at, (at_ms, start_ms));
    }
}

/// The start timestamps of a lane.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    in_order: BySeries,
    late: BySeries,
    flushing_late: BySeries,
}

impl Starts {
    /// Notes the start timestamp of an in-order sample.
    pub(crate) fn push(&mut self, id: u32, at_ms: i64, start_ms: i64) {
        let entries = self.in_order.entry(id).or_default();
        let last = entries.last().map_or(0, |entry| entry.1);
        if last != start_ms {
            entries.push((at_ms, start_ms));
        }
    }

    pub(crate) fn push_late(&mut self, id: u32, at_ms: i64, start_ms: i64) {
        insert(self.late.entry(id).or_default(), at_ms, start_ms);
    }

    /// Whether a series has any.
    pub(crate) fn has(&self, id: u32) -> bool {
        self.in_order.contains_key(&id)
            || self.late.contains_key(&id)
            || self.flushing_late.contains_key(&id)
    }

    /// Forgets those of late samples inside a range.
    pub(crate) fn remove_late(&mut self, id: u32, range: TimeRange) {
        for late in [&mut self.late, &mut self.flushing_late] {
            if let Some(entries) = late.get_mut(&id) {
                entries.retain(|entry| !range.contains(entry.0));
            }
        }
    }

    /// The start timestamps of a series for a reader: late samples that a flush is writing were
    /// stored first.
    pub(crate) fn copy(&self, id: u32) -> SeriesStarts {
        let mut copy = self.copy_flushing(id);
        for (at_ms, start_ms) in self.late.get(&id).into_iter().flatten() {
            insert(&mut copy.late, *at_ms, *start_ms);
        }
        copy
    }

    /// What a flush takes of a series.
    pub(crate) fn copy_flushing(&self, id: u32) -> SeriesStarts {
        SeriesStarts {
            in_order: self.in_order.get(&id).cloned().unwrap_or_default(),
            late: self.flushing_late.get(&id).cloned().unwrap_or_default(),
        }
    }

    pub(crate) fn begin_flush(&mut self) {
        for (id, entries) in std::mem::take(&mut self.late) {
            let flushing = self.flushing_late.entry(id).or_default();
            for (at_ms, start_ms) in entries {
                insert(flushing, at_ms, start_ms);
            }
        }
    }

    pub(crate) fn end_flush(&mut self) {
        self.flushing_late.clear();
    }

    /// Forgets what only in-order samples before `before_ms` need.
    pub(crate) fn drop_before(&mut self, id: u32, before_ms: i64) {
        if let Some(entries) = self.in_order.get_mut(&id) {
            let gone = entries.partition_point(|entry| entry.0 < before_ms);
            entries.drain(..gone.saturating_sub(1));
        }
    }

    pub(crate) fn remove(&mut self, id: u32) {
        self.in_order.remove(&id);
        self.late.remove(&id);
        self.flushing_late.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_start_is_one_entry() {
        let mut starts = Starts::default();
        for at_ms in 10..20 {
            starts.push(1, at_ms, 5);
        }
        starts.push(1, 20, 0);
        starts.push(1, 21, 15);
        starts.push_late(1, 12, 4);
        let copy = starts.copy(1);
        assert_eq!(copy.in_order, [(10, 5), (20, 0), (21, 15)]);
        let mut out = Vec::new();
        copy.of(&[9, 10, 19, 20, 30], &mut out);
        assert_eq!(out, [0, 5, 5, 0, 15]);
        copy.of_late(&[11, 12], &mut out);
        assert_eq!(out, [0, 4]);
        copy.of(&[1, 2], &mut out);
        assert!(out.is_empty(), "unknown costs nothing");
        starts.drop_before(1, 21);
        assert_eq!(starts.copy(1).in_order, [(20, 0), (21, 15)]);
        assert_eq!(starts.copy_flushing(1).late, []);
        starts.push_late(1, 14, 4);
        starts.remove_late(1, TimeRange::new(13, 20));
        assert!(starts.has(1) && !starts.has(2));
        starts.begin_flush();
        assert_eq!(starts.copy_flushing(1).late, [(12, 4)]);
        starts.end_flush();
        assert_eq!(starts.copy(1).late, []);
        starts.remove(1);
        assert!(starts.copy(1).in_order.is_empty());
    }
}
