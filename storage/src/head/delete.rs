//! Deleting samples in memory, and saying so in the WAL.

use tenbin_model::{Matcher, TimeRange};

use super::Head;
use crate::error::{Corruption, DbError};
use crate::query::matching::select;
use crate::wal::commit::Commit;
use crate::wal::writer::Wal;

impl Head {
    /// Deletes the samples inside a range of the series that satisfy the matchers; returns how many
    /// went and what to wait for. The caller keeps flushes out.
    pub(crate) fn delete(
        &self,
        wal: &Wal,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<(u64, Commit), DbError> {
        wal.admit()?;
        let mut samples = 0;
        self.each_lane(|lane| {
            let ids = select(lane, matchers)?;
            let turn = wal.turn();
            // Segments with rows that the deletion hits must not outlive it.
            let mut newest_row_ms = i64::MIN;
            for id in ids.iter() {
                let deleted = lane
                    .delete(id, range)
                    .map_err(|m| Corruption::new("head (memory)", 0, "a chunk", m.0))?;
                if deleted.samples > 0 {
                    self.changes.note(range.min_ms);
                    lane.wal_base(id, turn.seq() as u32);
                    lane.record.tombstone(id, range);
                    samples += deleted.samples;
                    newest_row_ms = newest_row_ms.max(deleted.newest_row_ms);
                }
            }
            if !lane.record.is_empty() {
                let mut payload = Vec::new();
                lane.record.finish(lane.number, &mut payload);
                turn.submit(payload, newest_row_ms);
            }
            Ok::<_, DbError>(())
        })?;
        wal.rotate_if_full();
        Ok((samples, wal.commit_of_all()))
    }
}
