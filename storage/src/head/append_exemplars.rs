//! Admission of exemplars and metadata.

use tenbin_model::Labels;
use tenbin_model::write::{ExemplarError, MetadataEntry, WriteRequest};

use super::append::Admission;
use super::count;
use super::lane::Lane;
use crate::exemplars::{StoredExemplar, Taken, check_length};

impl Admission<'_> {
    pub(super) fn exemplars<R: WriteRequest>(
        &mut self,
        lane: &mut Lane,
        entry: usize,
        id: u32,
        request: &R,
    ) {
        let mut sent = Vec::new();
        request.exemplars(entry, &mut sent);
        for exemplar in sent {
            let taken = match exemplar {
                Ok(exemplar) => self.exemplar(lane, id, &exemplar),
                Err(_) => Err(ExemplarError::Labels),
            };
            match taken {
                Ok(()) => self.report.exemplars_written += 1,
                Err(reason) => {
                    if reason == ExemplarError::OutOfOrder {
                        count(&self.head.counters.out_of_order_exemplars, 1);
                    }
                    self.report.reject_exemplar(entry, reason);
                }
            }
        }
    }

    fn exemplar(
        &mut self,
        lane: &mut Lane,
        id: u32,
        sent: &tenbin_model::write::Exemplar<'_>,
    ) -> Result<(), ExemplarError> {
        // Before the labels are copied.
        check_length(sent.labels.iter().copied())?;
        let exemplar = StoredExemplar {
            labels: Labels::from_sorted(&sent.labels),
            value: sent.value,
            timestamp_ms: sent.timestamp_ms,
        };
        let hash = lane.hash(id);
        let labels = || lane.labels(id);
        let taken = self.head.exemplars.add(hash, labels, exemplar.clone())?;
        if taken == Taken::New {
            lane.wal_base(id, self.epoch);
            lane.record.exemplar(id, &exemplar);
            count(&self.head.counters.exemplars, 1);
        }
        Ok(())
    }

    /// Takes what a request says about metric families; `lane` logs what is new.
    pub(super) fn metadata(&self, lane: &mut Lane, statements: &[MetadataEntry<'_>]) {
        for entry in statements {
            if self.head.metadata.note(entry) {
                lane.record.metadata(entry);
            }
        }
    }
}
