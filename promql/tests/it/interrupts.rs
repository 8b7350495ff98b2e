//! Where a query looks up from its work: a switch goes on at a look, and the query has to end there.

use std::time::{Duration, Instant};

use tenbin_model::{Labels, SampleBuffer, SeriesSet, StoreError, TimeRange};
use tenbin_promql::options::EngineOptions;
use tenbin_promql::{CancelToken, EvalError, QueryRange, evaluate, parse};

use crate::store::{only, store};

const CANCELED: &str = "query was canceled in expression evaluation";

/// Series with one sample each, in no order.
#[derive(Clone, Copy)]
struct Crowd(usize);

impl SeriesSet for Crowd {
    fn len(&self) -> usize {
        self.0
    }

    fn labels(&self, series: usize) -> Result<Labels, StoreError> {
        let number = (series * 7919 % self.0).to_string();
        Ok(Labels::from_pairs(&[("__name__", "m"), ("n", &number)]))
    }

    fn read(
        &self,
        series: usize,
        _range: TimeRange,
        out: &mut SampleBuffer,
    ) -> Result<(), StoreError> {
        out.clear();
        out.timestamps_ms.push(1_000);
        out.values.push((series * 104_729 % self.0) as f64);
        Ok(())
    }
}

/// How a query over the crowd ends, and how often it looked up before.
fn looks(text: &str, at_look: u64) -> (u64, Result<(), EvalError>) {
    let options = EngineOptions {
        features: tenbin_promql::options::Features::all_for_tests(),
        threads: 1,
        ..EngineOptions::default()
    };
    let expr = parse(text, &options.features).unwrap();
    let cancel = CancelToken::at_look(at_look);
    let crowd = only(Crowd(9_000));
    let range = QueryRange::instant(1_000);
    let result = evaluate(&crowd, text, &expr, &range, &options, &cancel);
    (at_look - cancel.looks_left(), result.map(|_| ()))
}

#[test]
fn sorting_and_picking_look_up() {
    const NEVER: u64 = u64::MAX;
    for (text, without) in [
        ("sort(m)", "m"),
        ("sort_desc(m)", "m"),
        ("sort_by_label(m, \"n\")", "m"),
        ("sort_by_label_desc(m, \"n\")", "m"),
        ("topk(8500, m)", "m"),
        ("bottomk(8500, m)", "m"),
        ("quantile(0.5, m)", "max(m)"),
    ] {
        let (reading, result) = looks(without, NEVER);
        assert!(result.is_ok(), "{without}");
        let (all, result) = looks(text, NEVER);
        assert!(result.is_ok(), "{text}");
        // 9,000 values are sorted in two runs, which are merged.
        assert!(all >= reading + 3, "{text}: {all} after {reading}");
        for at in [all - 2, all] {
            let (looked, result) = looks(text, at);
            assert_eq!(result.unwrap_err().to_string(), CANCELED, "{text} at {at}");
            assert_eq!(looked, at, "{text}");
        }
    }
}

/// One series with a sample every millisecond.
#[derive(Clone, Copy)]
struct Dense(i64);

impl SeriesSet for Dense {
    fn len(&self) -> usize {
        1
    }

    fn labels(&self, _: usize) -> Result<Labels, StoreError> {
        Ok(Labels::from_pairs(&[("__name__", "m")]))
    }

    fn read(&self, _: usize, _: TimeRange, out: &mut SampleBuffer) -> Result<(), StoreError> {
        out.clear();
        out.timestamps_ms.extend(0..self.0);
        out.values
            .extend((0..self.0).map(|at| (at * 7919 % self.0) as f64));
        Ok(())
    }
}

/// How a query over one window of `samples` ends, and how often it looked up before.
fn looks_in_window(text: &str, samples: i64, at_look: u64) -> (u64, Result<(), EvalError>) {
    let options = EngineOptions {
        features: tenbin_promql::options::Features::all_for_tests(),
        threads: 1,
        ..EngineOptions::default()
    };
    let expr = parse(text, &options.features).unwrap();
    let cancel = CancelToken::at_look(at_look);
    let (store, range) = (only(Dense(samples)), QueryRange::instant(samples));
    let result = evaluate(&store, text, &expr, &range, &options, &cancel);
    (at_look - cancel.looks_left(), result.map(|_| ()))
}

/// Each of these looks up so much more often than a mere pass over the window, and ends at any look.
fn look_up(texts: &[&str], samples: i64, more: u64) {
    let (reading, _) = looks_in_window("max_over_time(m[10m])", samples, u64::MAX);
    for text in texts {
        let (all, result) = looks_in_window(text, samples, u64::MAX);
        assert!(result.is_ok(), "{text}");
        assert!(all >= reading + more, "{text}: {all} after {reading}");
        for at in 1..=all {
            let (_, result) = looks_in_window(text, samples, at);
            assert_eq!(result.unwrap_err().to_string(), CANCELED, "{text} at {at}");
        }
    }
}

#[test]
fn sorting_a_wide_window_looks_up() {
    let sorting = ["quantile_over_time(0.5, m[10m])", "mad_over_time(m[10m])"];
    look_up(&sorting, 40_000, 8);
}

#[test]
fn slow_kernels_look_up_in_a_wide_window() {
    let slow = [
        "stddev_over_time(m[10m])",
        "stdvar_over_time(m[10m])",
        "deriv(m[10m])",
        "predict_linear(m[10m], 60)",
    ];
    look_up(&slow, 200_000, 3);
}

#[test]
fn a_store_is_told_when_to_give_up() {
    let endless = store(|_, hints| {
        loop {
            hints.interrupt.check()?;
        }
    });
    let run = |text: &str, timeout_ms: u64, cancel: &CancelToken| {
        let options = EngineOptions {
            timeout_ms,
            ..EngineOptions::default()
        };
        let expr = parse(text, &options.features).unwrap();
        let range = QueryRange::instant(1_000);
        let result = evaluate(&endless, text, &expr, &range, &options, cancel);
        result.unwrap_err().to_string()
    };
    for text in [
        "m",
        "sum(rate(m[5m]))",
        "m[5m]",
        "absent(m)",
        "max_over_time(m[5m:1m])",
    ] {
        for at in [1, 2, 1_000] {
            assert_eq!(
                run(text, 60_000, &CancelToken::at_look(at)),
                CANCELED,
                "{text}"
            );
        }
        let started = Instant::now();
        let timed_out = run(text, 20, &CancelToken::default());
        assert_eq!(
            timed_out, "query timed out in expression evaluation",
            "{text}"
        );
        assert!(started.elapsed() < Duration::from_secs(2), "{text}");
    }
}

#[test]
fn a_store_may_give_up_while_it_is_read() {
    #[derive(Clone)]
    struct Slow(tenbin_model::Interrupt);
    impl SeriesSet for Slow {
        fn len(&self) -> usize {
            1
        }
        fn labels(&self, _: usize) -> Result<Labels, StoreError> {
            Ok(Labels::empty())
        }
        fn read(&self, _: usize, _: TimeRange, _: &mut SampleBuffer) -> Result<(), StoreError> {
            loop {
                self.0.check()?;
            }
        }
    }
    let slow = store(|_, hints| Ok(Box::new(Slow(hints.interrupt.clone()))));
    let options = EngineOptions::default();
    for text in ["m", "rate(m[5m])", "m[5m]", "stddev_over_time(m[5m])"] {
        let expr = parse(text, &options.features).unwrap();
        let cancel = CancelToken::at_look(50);
        let range = QueryRange::instant(1_000);
        let error = evaluate(&slow, text, &expr, &range, &options, &cancel).unwrap_err();
        assert_eq!(error.to_string(), CANCELED, "{text}");
    }
}
