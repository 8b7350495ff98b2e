//! What a lane took since its oldest open snapshot, so that a snapshot can leave it out.
//!
//! A snapshot is a position in the journal. In-order samples of a series ascend, so the earliest one
//! taken behind that position cuts the series; late samples are left out one by one. Nothing is
//! kept while no snapshot is open. An entry stands for neighbours with one timestamp, the usual
//! slice of a request, so a journal is short.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;

/// Entries kept at most; beyond, the open snapshots are given up.
const MAX_ENTRIES: usize = 1 << 20;

/// Samples at one timestamp of the series `start .. start + len`.
#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    len: u32,
    at_ms: i64,
    /// For late samples how many flushes had begun, else [`IN_ORDER`].
    flushes: u32,
}

const IN_ORDER: u32 = u32::MAX;

/// A series that left memory.
#[derive(Debug)]
struct Evicted {
    position: u64,
    id: u32,
    hash: u128,
}

/// The samples of a series that a snapshot does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// In-order samples behind this are newer than the snapshot.
    pub(crate) last_ms: i64,
    /// So are the late samples at these timestamps, each with the number of flushes that had begun:
    /// what those flushes wrote at the same timestamp was there before.
    pub(crate) late: Vec<(i64, u32)>,
}

impl Default for Cut {
    fn default() -> Self {
        Self {
            last_ms: i64::MAX,
            late: Vec::new(),
        }
    }
}

impl Cut {
    /// Whether the snapshot has the sample at a timestamp that the block of a flush (by number)
    /// or the head (the largest number) holds.
    pub(crate) fn keeps(&self, at_ms: i64, flush: u32) -> bool {
        let newer = |late: &(i64, u32)| late.0 == at_ms && late.1 < flush;
        at_ms <= self.last_ms && !self.late.iter().any(newer)
    }

    fn note(&mut self, entry: &Entry) {
        if entry.flushes == IN_ORDER {
            self.last_ms = self.last_ms.min(entry.at_ms.saturating_sub(1));
        } else {
            self.late.push((entry.at_ms, entry.flushes));
        }
    }
}

/// The snapshot is too old: the journal had to be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooOld;

/// The journal of a lane.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: VecDeque<Entry>,
    /// Position of the first entry.
    first: u64,
    /// How many snapshots are open at each position.
    open: BTreeMap<u64, usize>,
    /// Whether the last entry may grow.
    growing: bool,
    evicted: Vec<Evicted>,
    /// Flushes begun since start.
    pub(crate) flushes: u32,
}

impl Journal {
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Opens a snapshot of now.
    pub(crate) fn open(&mut self) -> u64 {
        self.growing = false;
        let position = self.end();
        *self.open.entry(position).or_default() += 1;
        position
    }

    /// Ends the snapshot at a position.
    pub(crate) fn close(&mut self, position: u64) {
        if let Some(count) = self.open.get_mut(&position) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&position);
            }
        }
        let needed = self.open.keys().next().copied().unwrap_or(u64::MAX);
        let surplus = needed.saturating_sub(self.first);
        let surplus = self.entries.len().min(surplus as usize);
        self.entries.drain(..surplus);
        self.first += surplus as u64;
        self.evicted.retain(|e| e.position > needed);
        if self.open.is_empty() {
            // A busy moment's memory is not kept.
            self.entries.shrink_to(64);
            self.growing = false;
        }
    }

    /// Notes an in-order sample.
    #[inline]
    pub(crate) fn sample(&mut self, id: u32, at_ms: i64) {
        if !self.open.is_empty() {
            self.note(id, at_ms, IN_ORDER);
        }
    }

    /// Notes a late sample.
    pub(crate) fn late(&mut self, id: u32, at_ms: i64) {
        if !self.open.is_empty() {
            self.note(id, at_ms, self.flushes);
        }
    }

    fn note(&mut self, id: u32, at_ms: i64, flushes: u32) {
        if self.growing
            && let Some(last) = self.entries.back_mut()
            && (last.start + last.len, last.at_ms, last.flushes) == (id, at_ms, flushes)
        {
            last.len += 1;
            return;
        }
        if self.entries.len() >= MAX_ENTRIES {
            self.first = self.end();
            self.entries.clear();
            self.evicted.clear();
        }
        self.entries.push_back(Entry {
            start: id,
            len: 1,
            at_ms,
            flushes,
        });
        self.growing = true;
    }

    /// Notes that an id is free for another series.
    pub(crate) fn evict(&mut self, id: u32, hash: u128) {
        if !self.open.is_empty() {
            self.growing = false;
            let position = self.end();
            self.evicted.push(Evicted { position, id, hash });
        }
    }

    fn since(&self, position: u64) -> Result<impl Iterator<Item = (u64, &Entry)>, TooOld> {
        let skip = position.checked_sub(self.first).ok_or(TooOld)? as usize;
        Ok((position..).zip(self.entries.iter().skip(skip)))
    }

    /// Adds to `cuts`, which belong to the ascending `ids`, what came from `position` on. Returns
    /// the position to go on from.
    pub(crate) fn cut(
        &self,
        position: u64,
        ids: &[u32],
        cuts: &mut HashMap<u32, Cut>,
    ) -> Result<u64, TooOld> {
        for (_, entry) in self.since(position)? {
            let from = ids.partition_point(|id| *id < entry.start);
            let inside = ids[from..]
                .iter()
                .take_while(|id| **id - entry.start < entry.len);
            for id in inside {
                cuts.entry(*id).or_default().note(entry);
            }
        }
        // The last entry may still grow.
        Ok(self.end().saturating_sub(1).max(position))
    }

    /// Adds what came from `position` on to `cuts` by label hash; `hash` knows the series in use.
    pub(crate) fn cut_hashes(
        &self,
        position: u64,
        hash: impl Fn(u32) -> u128,
        cuts: &mut HashMap<u128, Cut>,
    ) -> Result<(), TooOld> {
        let mut evicted: HashMap<u32, Vec<(u64, u128)>> = HashMap::new();
        for gone in &self.evicted {
            let of_id = evicted.entry(gone.id).or_default();
            of_id.push((gone.position, gone.hash));
        }
        for (at, entry) in self.since(position)? {
            for id in entry.start..entry.start + entry.len {
                let former = evicted.get(&id).into_iter().flatten();
                let former = former.clone().find(|(gone_at, _)| *gone_at > at);
                let hash = former.map_or_else(|| hash(id), |(_, hash)| *hash);
                cuts.entry(hash).or_default().note(entry);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(journal: &Journal, position: u64, ids: &[u32]) -> HashMap<u32, Cut> {
        let mut cuts = HashMap::new();
        journal.cut(position, ids, &mut cuts).unwrap();
        cuts
    }

    #[test]
    fn each_snapshot_leaves_out_what_came_later() {
        let mut journal = Journal::default();
        journal.sample(1, 5);
        assert_eq!(journal.end(), 0, "nobody asks, nothing is kept");
        let first = journal.open();
        for id in 1..5 {
            journal.sample(id, 10);
        }
        let second = journal.open();
        journal.sample(5, 10);
        journal.sample(2, 20);
        journal.late(2, 3);
        assert_eq!(journal.entries.len(), 4, "neighbours share an entry");
        let seen = cuts(&journal, first, &[0, 2, 5, 9]);
        assert_eq!(seen.len(), 2);
        assert_eq!((seen[&2].last_ms, &*seen[&2].late), (9, &[(3, 0)][..]));
        assert!(seen[&2].keeps(9, 9) && !seen[&2].keeps(10, 9) && !seen[&2].keeps(3, 9));
        assert!(
            seen[&2].keeps(3, 0),
            "an earlier flush wrote another sample"
        );
        let seen = cuts(&journal, second, &[1, 2]);
        assert_eq!((seen.len(), seen[&2].last_ms), (1, 19));
        journal.close(first);
        assert_eq!(cuts(&journal, second, &[2])[&2].last_ms, 19);
        journal.close(second);
        assert_eq!(journal.entries.len(), 0);
    }

    #[test]
    fn evicted_ids_keep_their_old_meaning() {
        let mut journal = Journal::default();
        let position = journal.open();
        journal.sample(7, 10);
        journal.evict(7, 700);
        journal.sample(7, 30);
        let mut by_hash = HashMap::new();
        journal.cut_hashes(position, |_| 701, &mut by_hash).unwrap();
        assert_eq!((by_hash[&700].last_ms, by_hash[&701].last_ms), (9, 29));
    }

    #[test]
    fn a_journal_is_bounded() {
        let mut journal = Journal::default();
        let position = journal.open();
        for i in 0..=MAX_ENTRIES as i64 {
            journal.sample(1, i);
        }
        assert_eq!(
            journal.cut(position, &[1], &mut HashMap::new()),
            Err(TooOld)
        );
        let fresh = journal.open();
        journal.close(position);
        assert!(journal.cut(fresh, &[1], &mut HashMap::new()).is_ok());
    }
}
