//! `--enable-feature`: Prometheus' names and what they switch on.

use tenbin_promql::options::Features;

/// What is on.
#[derive(Debug, Clone, Default)]
pub(super) struct Enabled {
    /// Parts of the query language.
    pub(super) promql: Features,
    /// `/api/v1/search`.
    pub(super) search: bool,
    /// OTLP's delta values are stored as they are.
    pub(super) otlp_native_delta: bool,
    /// The configuration file is read again when it has changed.
    pub(super) auto_reload: bool,
}

impl Enabled {
    /// Reads the names.
    ///
    /// # Errors
    /// A text that names the flag, when a name is unknown.
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
            "otlp-native-delta-ingestion" => self.otlp_native_delta = true,
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
