//! `--enable-feature`: Prometheus' names and what they switch on.

use std::sync::Arc;

use tenbin_promql::options::Features;

use crate::ingest::otlp::settings::Deltas;

/// Prometheus' text.
const BOTH_DELTAS: &str = "cannot enable otlp-deltatocumulative and otlp-native-delta-ingestion \
                           features at the same time (flag --enable-feature)";

/// What is on.
#[derive(Debug, Clone, Default)]
pub(super) struct Enabled {
    /// Parts of the query language.
    pub(super) promql: Features,
    /// `/api/v1/search`.
    pub(super) search: bool,
    /// What becomes of OTLP's delta values.
    pub(super) otlp_deltas: Deltas,
    /// The configuration file is read again when it has changed.
    pub(super) auto_reload: bool,
}

impl Enabled {
    /// Reads the names.
    ///
    /// # Errors
    /// A text that names the flag, when a name is unknown or two exclude each other.
    pub(super) fn from_names(names: &[String]) -> Result<Self, String> {
        let mut on = Self::default();
        for name in names {
            on.add(name)?;
        }
        Ok(on)
    }

    fn add(&mut self, name: &str) -> Result<(), String> {
        let promql = &mut self.promql;
        match name {
            "promql-experimental-functions" => promql.experimental_functions = true,
            "promql-extended-range-selectors" => promql.extended_range_selectors = true,
            "promql-binop-fill-modifiers" => promql.binop_fill_modifiers = true,
            "promql-delayed-name-removal" => promql.delayed_name_removal = true,
            "use-start-timestamps" => promql.use_start_timestamps = true,
            "type-and-unit-labels" => promql.type_and_unit_labels = true,
            "promql-per-step-stats" => promql.per_step_stats = true,
            "search-api" => self.search = true,
            "otlp-native-delta-ingestion" => match self.otlp_deltas {
                Deltas::Summed(_) => return Err(BOTH_DELTAS.to_owned()),
                _ => self.otlp_deltas = Deltas::AsTheyAre,
            },
            "otlp-deltatocumulative" => match self.otlp_deltas {
                Deltas::AsTheyAre => return Err(BOTH_DELTAS.to_owned()),
                _ => self.otlp_deltas = Deltas::Summed(Arc::default()),
            },
            "auto-reload-config" => self.auto_reload = true,
            // Always on.
            "promql-duration-expr"
            | "native-histograms"
            | "ooo-native-histograms"
            | "exemplar-storage"
            | "metadata-wal-records"
            | "st-storage" => {}
            unknown => {
                return Err(format!(
                    "unknown feature {unknown:?} (flag --enable-feature)"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_with_deltas_exclude_each_other() {
        let on = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Enabled::from_names(&names)
        };
        let (native, summed) = ("otlp-native-delta-ingestion", "otlp-deltatocumulative");
        assert!(matches!(
            on(&[native, native]).unwrap().otlp_deltas,
            Deltas::AsTheyAre
        ));
        assert!(matches!(
            on(&[summed]).unwrap().otlp_deltas,
            Deltas::Summed(_)
        ));
        assert!(matches!(on(&[]).unwrap().otlp_deltas, Deltas::Refused));
        for both in [[native, summed], [summed, native]] {
            assert_eq!(on(&both).unwrap_err(), BOTH_DELTAS);
        }
    }
}
