//! Switches of the language and the engine, as `--enable-feature` and `--query.*` set them.

/// Which experimental parts of the language are on. The default is Prometheus' default: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// `promql-experimental-functions`: functions and aggregators marked experimental.
    pub experimental_functions: bool,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left`, `fill_right`.
    pub binop_fill_modifiers: bool,
    /// `promql-delayed-name-removal`.
    pub delayed_name_removal: bool,
    /// `use-start-timestamps`.
    pub use_start_timestamps: bool,
    /// `type-and-unit-labels`.
    pub type_and_unit_labels: bool,
    /// `promql-per-step-stats`.
    pub per_step_stats: bool,
}

impl Features {
    /// Everything on, as Prometheus' own test suite runs (except type-and-unit labels).
    #[must_use]
    pub fn all_for_tests() -> Self {
        Self {
            experimental_functions: true,
            extended_range_selectors: true,
            binop_fill_modifiers: true,
            delayed_name_removal: true,
            use_start_timestamps: true,
            type_and_unit_labels: false,
            per_step_stats: true,
        }
    }
}

/// Limits and defaults of query evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// `--query.lookback-delta`, milliseconds.
    pub lookback_ms: i64,
    /// `--query.max-samples`: samples that one query may hold in memory.
    pub max_samples: u64,
    /// `--query.timeout`, milliseconds.
    pub timeout_ms: u64,
    /// `--query.max-memory`: bytes that one query's buffers may hold; 0 = unlimited.
    pub max_memory_bytes: u64,
    /// Threads that may work on one query; 0 = one per core.
    pub threads: usize,
    /// Step of a subquery that names none, milliseconds (global evaluation interval).
    pub default_subquery_step_ms: i64,
    /// Language switches.
    pub features: Features,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            max_samples: 50_000_000,
            timeout_ms: 120_000,
            max_memory_bytes: 1 << 30,
            threads: 0,
            default_subquery_step_ms: 60_000,
            features: Features::default(),
        }
    }
}
